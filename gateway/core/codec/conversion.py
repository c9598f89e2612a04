"""What a codec is made from, and what it gives: how readings of one stream become records of one route."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.event_time import DatedBy, Moment
from gateway.core.codec.unread import Unread, unread
from gateway.core.codec.validation_error import tokens
from gateway.core.reading import Counts

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.counter_rules import CounterRule

Unknown = Literal["reject", "ignore"]
Content = Literal["json", "text", "telegram", "msgpack"]

# The record's key and value; its time in milliseconds since 1970, the reading's sequence number and the counters, where
# the contract declares them and the payload has them. A plain tuple, because one is made and taken apart per reading.
Encoded = tuple[bytes, bytes, Moment, int | None, Counts | None]
Prepared = tuple[Any, ...]  # what a topic contributes, as the compiled encoder takes it
Encode = Callable[[bytes, Prepared], Encoded]
EncodeParsed = Callable[[bytes, Prepared, Any], Encoded]  # the same with the parsed payload


class Conversion(NamedTuple):
    """What the contract says of a stream's payload and a route's record."""

    record: AvroType
    keys: tuple[str | int, ...]  # JSON pointers into the record, and places among `parameters`
    # For each text that the topic contributes a JSON pointer into the payload, or None. The member there is filled in
    # when it is absent, and must be equal when it is present.
    parameters: tuple[str | None, ...] = ()
    unknown: Unknown = "reject"  # what to do with members that no field reads
    prefix: bytes = b""  # bytes before the Avro body in the record's value
    content: Content = "json"
    event_time: DatedBy | None = None  # a timestamp of the record that may be null, or several times
    sequence: str | None = None  # JSON pointer into the payload, to the sequence number
    counters: tuple[CounterRule, ...] = ()  # the fields that count
    separator: str | None = None  # joins all keys; None when the first one that is not empty is the key
    schema: Any = None  # JSON Schema of the payload as it is sent, if it has its own, references written out
    # True when the payload is an object also where one field takes a value as a whole: that is its member PAYLOAD.
    is_wrapped: bool = False

    @property
    def whole_field(self) -> Field | None:
        """The field that takes the payload as a whole."""
        return None if self.is_wrapped else self.record.whole_field

    def tied(self, path: Path) -> int | None:
        """Which of the topic's texts is always the member at a path of the payload; None when there is none."""
        places = (place for place, pointer in enumerate(self.parameters) if pointer and tokens(pointer) == path)
        return next(places, None)

    @property
    def unread(self) -> Unread:
        """What happens to members that no field reads, in each object of the payload."""
        schema = {"properties": {PAYLOAD: self.schema}} if self.whole_field else self.schema
        return unread(schema, ignores=self.unknown == "ignore")
