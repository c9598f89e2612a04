"""The time of a record in Kafka: that of the event, read out of the record itself, or that of its arrival.

It is read from the Avro bytes and not from the JSON, because the record says what the event's time has become: a
member under another name, text turned into a number, a default. Everything before the field is passed over, nothing is
decoded; fastavro, asked for that one field, takes three times as long.

A record keeps its own time only where that does no harm in Kafka. It is dated by its arrival when the field is null,
and when Kafka would not take the time or not keep the record:

    until 1970       Kafka knows no time before, and 0 is for librdkafka "now"
    too old          by the topic's `retention.ms` it would be deleted as soon as Kafka looks
    in the future    beyond `message.timestamp.after.max.ms`, an hour where the topic does not say, Kafka refuses it; it
                     would also keep what lies around it from ever being deleted

What the device said stays in the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.codec.precise_encoder import normal_form
from gateway.core.codec.validation_error import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Skip = Callable[[bytes, int], int]  # the bytes, and where a value begins, to where it ends

PER_MILLISECOND = {"timestamp-millis": 1, "timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}
AHEAD = 3_600_000  # milliseconds; the default of Kafka 4
_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class EventTime:
    """Dates the records of a route.

    Args:
        schema: the record's Avro schema.
        pointer: JSON pointer into the record, to a timestamp that may be null.
        start: where in a record's value its Avro bytes begin.
        configuration: the topic's settings.
    """

    def __init__(self, schema: Any, pointer: str, start: int, configuration: Mapping[str, str]) -> None:
        self._start = start
        self._before: list[Skip] = []
        self._null_index = -1
        named: dict[str, Skip] = {}
        kind: Any = normal_form(schema)
        for token in tokens(pointer):
            kind = self._go_to(token, kind, named)
        if isinstance(kind, list):
            self._null_index = kind.index("null")
            kind = kind[1 - self._null_index]
        self._per_millisecond = PER_MILLISECOND[kind["logicalType"]]
        self._ahead = _setting(configuration, "message.timestamp.after.max.ms", AHEAD)
        is_deleted = "delete" in configuration.get("cleanup.policy", "delete")
        self._kept = _setting(configuration, "retention.ms", -1) if is_deleted else -1

    def _go_to(self, name: str, record: Any, named: dict[str, Skip]) -> Any:
        """Pass over the fields before this one; give its type."""
        for field in record["fields"]:
            if field["name"] == name:
                return field["type"]
            self._before.append(_skip(field["type"], named))
        raise KeyError(name)

    def __call__(self, value: bytes, received_at: int) -> int:
        """Date a record.

        Args:
            value: of the record.
            received_at: when its reading came, milliseconds since 1970 UTC.

        Returns:
            Milliseconds since 1970 UTC.
        """
        moment = self._of(value)
        is_kept = self._kept < 0 or moment > received_at - self._kept
        return moment if 0 < moment <= received_at + self._ahead and is_kept else received_at

    def _of(self, value: bytes) -> int:
        """Read the event's time; 0 when it is null."""
        at = self._start
        for skip in self._before:
            at = skip(value, at)
        if self._null_index >= 0:
            index, at = _long(value, at)
            if index == self._null_index:
                return 0
        return _long(value, at)[0] // self._per_millisecond


def _setting(configuration: Mapping[str, str], name: str, otherwise: int) -> int:
    told = configuration.get(name, "")
    return int(told) if told.removeprefix("-").isdecimal() else otherwise


def _long(data: bytes, at: int) -> tuple[int, int]:
    """Read an Avro int or long, zigzag in seven bits a byte; give also where it ends."""
    value = shift = 0
    if (byte := data[at]) < 0x80:  # most lengths and indexes
        return (byte >> 1) ^ -(byte & 1), at + 1
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    value |= byte << shift
    return (value >> 1) ^ -(value & 1), at + 1


def _skip(schema: Any, named: dict[str, Skip]) -> Skip:
    """Make what passes over a value; named types are looked up when there is one, so recursive ones find themselves."""
    if isinstance(schema, list):
        return _skip_union([_skip(branch, named) for branch in schema])
    if isinstance(schema, str):
        return _skip_by_name(schema, named)
    match schema["type"]:
        case "record" | "error":
            skip = _skip_all([_skip(field["type"], named) for field in schema["fields"]])
        case "enum":
            skip = _skip_long
        case "fixed":
            skip = _skip_bytes(schema["size"])
        case "array":
            skip = _skip_blocks([_skip(schema["items"], named)])
        case "map":
            skip = _skip_blocks([_skip_text, _skip(schema["values"], named)])
        case other:
            skip = _skip(other, named)
    if "name" in schema:
        named[schema["name"]] = skip
    return skip


def _skip_by_name(name: str, named: dict[str, Skip]) -> Skip:
    if name in _SIZES:
        return _skip_bytes(_SIZES[name])
    if name in {"string", "bytes"}:
        return _skip_text
    return _skip_long if name in {"int", "long"} else _skip_named(name, named)


def _skip_named(name: str, named: dict[str, Skip]) -> Skip:
    def skip(data: bytes, at: int) -> int:
        return named[name](data, at)

    return skip


def _skip_bytes(size: int) -> Skip:
    return lambda _data, at: at + size


def _skip_long(data: bytes, at: int) -> int:
    while data[at] & 0x80:
        at += 1
    return at + 1


def _skip_text(data: bytes, at: int) -> int:
    size, at = _long(data, at)
    return at + size


def _skip_all(parts: list[Skip]) -> Skip:
    def skip(data: bytes, at: int) -> int:
        for part in parts:
            at = part(data, at)
        return at

    return skip


def _skip_union(branches: list[Skip]) -> Skip:
    def skip(data: bytes, at: int) -> int:
        index, at = _long(data, at)
        return branches[index](data, at)

    return skip


def _skip_blocks(item: list[Skip]) -> Skip:
    """Pass over an array or map: blocks of a count and so many items, until a count of 0.

    The encoder never writes a count below 0, with which Avro would tell the bytes of a block as well.
    """

    def skip(data: bytes, at: int) -> int:
        count, at = _long(data, at)
        while count:
            for part in item * count:
                at = part(data, at)
            count, at = _long(data, at)
        return at

    return skip
