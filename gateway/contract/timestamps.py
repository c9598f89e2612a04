"""`x-timestamp` of a Kafka message: what dates its records in Kafka.

Either one field of the record, or a list of times that are tried in order (`core/dating.py`):

    x-timestamp:
      - {location: $message.payload#/measured_at, within: 1d}
      - {location: $message.payload#/running, clock: uptime}
      - arrival

`location` is a field of the record that has one of Avro's timestamp types, or, with `clock: uptime`, a number of
seconds since the device started. Both may be null. A plain `long` is no timestamp, as its unit is unknown: seconds,
read as milliseconds, would date the record to 1970, and Kafka's retention would delete it. A local timestamp has no
zone. `within` is the largest difference to the arrival; an uptime without it has a day. An entry may be an expression
alone. `arrival` says what holds in any case, so it is the last entry or left out.

Without `retention.ms` the contract does not show which records are dated by their arrival instead.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.contract.document import quoted
from gateway.contract.pointers import checked, fields, no_field
from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.event_time import TimeSource
from gateway.documents.spelling import suggestion
from gateway.text import duration

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.expression import Expression
    from gateway.contract.findings import Findings
    from gateway.contract.schema import Record
    from gateway.core.avro_schema import AvroType
    from gateway.core.codec.event_time import DatedBy
    from gateway.core.model import Topic

TIMESTAMP = '{"type": "long", "logicalType": "timestamp-millis"}'
FIX, UPTIME_FIX = f"Point at a field whose type is {TIMESTAMP}.", 'Point at a field whose type is "double" or "long".'
ARRIVAL, UPTIME = "arrival", "uptime"
WORDS = ("location", "within", "clock")
UPTIME_WITHIN = 86_400_000  # milliseconds
NUMBERS = {"int", "long", "float", "double"}


def timestamp(message: Node, record: Record, topic: Topic, channel: Node, findings: Findings) -> DatedBy | None:
    """Read `x-timestamp` of a Kafka message; None when it is absent, invalid, or only `arrival`."""
    stated = message.at("x-timestamp")
    if stated.is_absent:
        return None
    is_one = not isinstance(stated.value, list | dict) and stated.text != ARRIVAL
    dated_by: DatedBy | None = (_field if is_one else _several)(stated, record, findings)
    if dated_by and topic.configuration.get("message.timestamp.type") == "LogAppendTime":
        setting = channel.at("bindings", "kafka", "topicConfiguration", "message.timestamp.type")
        warning = "With LogAppendTime Kafka overwrites the timestamp, so x-timestamp has no effect."
        findings.warning(setting, warning, "Write CreateTime.")
    elif dated_by and "retention.ms" not in topic.configuration and not _is_only_compacted(topic):
        warning = "The contract does not state how long Kafka keeps the records, by their timestamps."
        fix = "Add topicConfiguration: {retention.ms: 604800000} to the topic's Kafka binding, or -1 for no limit."
        findings.warning(stated, warning, fix)
    return dated_by


def _is_only_compacted(topic: Topic) -> bool:
    return topic.is_compacted and "delete" not in topic.configuration["cleanup.policy"]


def _several(stated: Node, record: Record, findings: Findings) -> tuple[TimeSource, ...]:
    """Read the times of a list, or only one; entries that are wrong are left out."""
    entries = stated.entries() if isinstance(stated.value, list) else [stated]
    words = [one.text for one in entries]
    if not set(words) - {ARRIVAL} and words.count(None) == 0:
        findings.error(
            stated, "It has no effect: without x-timestamp, records get the time of arrival, too.", "Remove it."
        )
        return ()
    if ARRIVAL in words[:-1]:
        for one in entries[words.index(ARRIVAL) + 1 :]:
            findings.error(one, "It is never used: the arrival stands before it, and always fits.", "Remove it.")
        entries = entries[: words.index(ARRIVAL)]
    sources = [_source(one, record, findings) for one in entries if one.text != ARRIVAL]
    return tuple(one for one in sources if one is not None)


def _source(entry: Node, record: Record, findings: Findings) -> TimeSource | None:
    if not entry.is_mapping:
        pointer = _field(entry, record, findings)
        return None if pointer is None else TimeSource(pointer)
    for key in entry.value:
        if key not in WORDS:
            message = f"An entry of x-timestamp has no member {key!r}."
            findings.error(entry.own(key), message, suggestion(key, WORDS) or "Remove it.")
    is_uptime = _is_uptime(entry.at("clock"), findings)
    within = _within(entry.at("within"), findings)
    if entry.at("location").is_absent:
        fix = f"Add location: {PAYLOAD}/field, a field of the record."
        findings.error(entry, "An entry of x-timestamp needs the field that has the time.", fix)
        return None
    fix = "Point at a timestamp, or add clock: uptime to a number of seconds since the start of the device."
    fix = UPTIME_FIX if is_uptime else fix
    pointer = _field(entry.at("location"), record, findings, is_uptime=is_uptime, fix=fix)
    if within is None and is_uptime:
        within = UPTIME_WITHIN
    return None if pointer is None else TimeSource(pointer, within, is_uptime)


def _is_uptime(clock: Node, findings: Findings) -> bool:
    if not clock.is_absent and clock.text != UPTIME:
        message = f"The only clock that needs a name is {UPTIME}, not {quoted(clock.value)}."
        findings.error(clock, message, f"Write clock: {UPTIME}.")
    return not clock.is_absent


def _within(stated: Node, findings: Findings) -> int | None:
    """Read a bound, in milliseconds; None when it is absent or invalid."""
    seconds = duration(stated.value)
    if not stated.is_absent and not seconds:
        message = f"{quoted(stated.value)} is not a time with a unit, such as 90s, 1h or 1d."
        findings.error(stated, message, "Write within: 1d.")
    return round(seconds * 1000) if seconds else None


def _field(node: Node, record: Record, findings: Findings, *, is_uptime: bool = False, fix: str = FIX) -> str | None:
    return checked(node, fields(record), partial(_fault, record=record, is_uptime=is_uptime), fix, findings)


def _fault(expression: Expression, record: Record, *, is_uptime: bool) -> str:
    if expression.part != "payload" or not expression.tokens:
        return f"The timestamp must be a field of the record: {PAYLOAD}/field."
    avro_type = record.type_at(expression.tokens)
    if avro_type is None:
        return no_field(record, expression)
    if is_uptime:
        fault = f"The field at {expression.pointer!r} is not a number of seconds since the start: int, long or double."
        return "" if _is_uptime_type(avro_type) else fault
    return "" if _is_timestamp(avro_type) else f"The field at {expression.pointer!r} is not an Avro timestamp."


def _has_one(avro_type: AvroType) -> bool:
    """Whether a type is no union, or a union of null and one type."""
    return len(avro_type.non_null) == 1 and (avro_type.kind != "union" or avro_type.is_nullable)


def _is_timestamp(avro_type: AvroType) -> bool:
    return _has_one(avro_type) and avro_type.non_null[0].is_timestamp


def _is_uptime_type(avro_type: AvroType) -> bool:
    return _has_one(avro_type) and avro_type.non_null[0].kind in NUMBERS and not avro_type.non_null[0].logical
