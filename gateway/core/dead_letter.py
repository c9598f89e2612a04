"""A dead letter as a Kafka record: the message's bytes as they came, and headers that say where from and why.

Key: the MQTT topic. A payload above the limit is cut to its first `CUT_TO` bytes; `payload.size` and `payload.sha256`
then tell of the whole. A JSON pointer holds names of members, which may be as long as the payload: it is cut as well,
so that the record stays below Kafka's limit.

MQTT 5 properties that a stream makes headers of are kept too, in one header as they stood in the packet: so a replay
gives the record that it ought to have been.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

from gateway.core.reading import DeadLetter, Headers, Reading, Record

CUT_TO = 65_536
MAX_POINTER = 1_024  # characters
TOPIC_HEADER, TIME_HEADER = "mqtt.topic", "gateway.received_at"
QOS_HEADER, RETAIN_HEADER, PROPERTIES_HEADER = "mqtt.qos", "mqtt.retain", "mqtt.properties"


def dead_letter_record(reading: Reading, letter: DeadLetter, topic: str, payload_limit: int) -> Record:
    """Make the record that tells of a reading that does not fit.

    Args:
        reading: as it arrived.
        letter: what is wrong with it.
        topic: the Kafka topic of the stream's dead letters.
        payload_limit: bytes; a payload that is longer, or would be together with its properties, is cut.

    Returns:
        The record, below the limit plus a few hundred bytes of headers.
    """
    headers: Headers = [
        (TOPIC_HEADER, reading.topic),
        (QOS_HEADER, b"%d" % reading.qos),
        (RETAIN_HEADER, flag(is_set=reading.retain)),
        (TIME_HEADER, iso(reading.received_at)),
        ("error.reason", letter.reason.encode()),
        ("error.pointer", _cut(letter.pointer).encode(errors="backslashreplace")),
        ("error.detail", letter.detail.encode(errors="backslashreplace")),
        ("error.operation", reading.stream.encode()),
    ]
    payload = reading.payload
    if reading.properties:
        headers.append((PROPERTIES_HEADER, reading.properties))
    if reading.size > len(payload) or len(payload) + len(reading.properties) > payload_limit:
        headers.append(("payload.size", b"%d" % max(reading.size, len(payload))))
        headers.append(("payload.sha256", (reading.sha256 or sha256(payload).digest()).hex().encode()))
        payload = payload[:CUT_TO]
    return Record(topic, reading.topic, payload, headers, reading.received_at)


def _cut(pointer: str) -> str:
    return pointer if len(pointer) <= MAX_POINTER else pointer[:MAX_POINTER] + "..."


def flag(*, is_set: bool) -> bytes:
    """Write a flag as text."""
    return b"true" if is_set else b"false"


@lru_cache(maxsize=16)  # readings that came together have one time
def iso(milliseconds: int) -> bytes:
    """Write a time in milliseconds since 1970 as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
