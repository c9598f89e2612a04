"""A dead letter as a Kafka record: the original bytes of the message, and headers with its origin and the reason.

The key is the MQTT topic. A payload above the limit is cut to its first `CUT_TO` bytes; `payload.size` and
`payload.sha256` then describe the whole. A JSON pointer holds names of members, which may be as long as the payload: it
is cut as well, so that the record stays below Kafka's limit.

The MQTT 5 properties of a stream that makes headers of some are kept too, in one header, as they were in the packet: so
a replay gives the record that the reading should have become.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

from gateway.core.codec.event_time import RecordTime
from gateway.core.reading import DeadLetter, Headers, Reading, Record

CUT_TO = 65_536
MAX_POINTER = 1_024  # characters
TOPIC_HEADER, TIME_HEADER = "mqtt.topic", "gateway.received_at"
QOS_HEADER, RETAIN_HEADER, PROPERTIES_HEADER = "mqtt.qos", "mqtt.retain", "mqtt.properties"
CLOCK_HEADER, UNSYNCHRONISED = "gateway.clock", b"unsynchronised"
SOURCE_HEADER = "time.source"


NO_LIMITS = RecordTime()


def dead_letter_record(
    reading: Reading, dead_letter: DeadLetter, topic: str, payload_limit: int, record_time: RecordTime = NO_LIMITS
) -> Record:
    """Make the dead letter's record; a payload above the limit (bytes), alone or with its properties, is cut.

    The record is below the limit plus a few hundred bytes of headers. Its time is that of the arrival, if
    `record_time` takes it.
    """
    headers: Headers = [
        (TOPIC_HEADER, reading.topic),
        (QOS_HEADER, b"%d" % reading.qos),
        (RETAIN_HEADER, flag(is_set=reading.retain)),
        (TIME_HEADER, iso(reading.received_at)),
        ("error.reason", dead_letter.reason.encode()),
        ("error.pointer", _cut(dead_letter.pointer).encode(errors="backslashreplace")),
        ("error.detail", dead_letter.detail.encode(errors="backslashreplace")),
        ("error.operation", reading.stream.encode()),
    ]
    payload = reading.payload
    if reading.properties:
        headers.append((PROPERTIES_HEADER, reading.properties))
    if reading.is_unsynchronised:
        headers.append((CLOCK_HEADER, UNSYNCHRONISED))
    if reading.size > len(payload) or len(payload) + len(reading.properties) > payload_limit:
        headers.append(("payload.size", b"%d" % max(reading.size, len(payload))))
        headers.append(("payload.sha256", (reading.sha256 or sha256(payload).digest()).hex().encode()))
        payload = payload[:CUT_TO]
    return Record(topic, reading.topic, payload, headers, record_time(None, reading.received_at))


def _cut(pointer: str) -> str:
    return pointer if len(pointer) <= MAX_POINTER else pointer[:MAX_POINTER] + "..."


def flag(*, is_set: bool) -> bytes:
    """Write a flag as text."""
    return b"true" if is_set else b"false"


@lru_cache(maxsize=16)  # readings that arrived together have the same time
def iso(milliseconds: int) -> bytes:
    """Write a time in milliseconds since 1970 as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
