"""The closed set of values that cross the gateway: a Reading goes in; a Record or a DeadLetter comes out.

They are msgspec structs rather than dataclasses because one of each is made per reading: a frozen dataclass
costs seven times as much to make, and structs without cycles need no garbage collection.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from msgspec import Struct

from gateway.core.native import READING, RECORD, show_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


# The counters of a record, in the order of its fields: of each the value, and the number of its meter. A value is None
# when it is null or no number; a meter is None when the contract, or the payload, does not name it.
Counts = tuple[Any, ...]
Headers = list[tuple[str, str | bytes | None]]  # the shape confluent-kafka takes


class Reading(Struct, frozen=True, gc=False):
    """An MQTT message as it arrived, with its stream."""

    stream: str  # name of the receive operation whose filter matched
    topic: bytes  # bytes, because the transform refuses invalid UTF-8
    payload: bytes
    received_at: int  # milliseconds since 1970 UTC
    qos: int = 0  # as delivered: 0, 1 or 2
    retain: bool = False  # the broker sent it because it was retained
    dup: bool = False  # the broker marked it as sent before
    size: int = -1  # bytes as published, when the source had to cut the payload; else -1
    sha256: bytes = b""  # of the whole payload when it was cut
    properties: bytes = b""  # MQTT 5 properties as in the packet; empty unless the contract makes headers of some
    is_unsynchronised: bool = False  # the gateway's clock was not synchronised, so `received_at` is in doubt


class Record(Struct, frozen=True, gc=False):
    """A Kafka record, framed and ready to be produced."""

    topic: str
    key: bytes  # UTF-8 of the contract's key field
    value: bytes | None  # framing and Avro body; None is a tombstone, which ends its key in a compacted topic
    headers: Headers
    timestamp: int  # milliseconds since 1970 UTC
    number: int | None = None  # the sequence number, where the contract declares one and the payload has it
    counts: Counts | None = None  # the values of its counters, where the contract declares some


show_class(READING, Reading, "topic", "payload", "received_at", "size", "properties")
show_class(RECORD, Record, "key", "value", "headers", "timestamp")


class Reason(StrEnum):
    """Why a reading became a dead letter. The set is closed: consumers and dashboards use it as a label."""

    EMPTY = "empty"  # no payload at all
    NOT_JSON = "not_json"  # RFC 8259 does not allow it, NaN and Infinity included
    BAD_ENCODING = "bad_encoding"  # invalid UTF-8, a byte order mark, a lone surrogate; not base64 where it must be
    TOO_DEEP = "too_deep"  # nested beyond `json_text.MAX_DEPTH`
    WRONG_TYPE = "wrong_type"  # another JSON type than the schema asks for
    MISSING = "missing"  # a field without default is absent
    EXTRA_FIELD = "extra_field"  # a member that no field reads
    OUT_OF_RANGE = "out_of_range"  # a number that its Avro type cannot hold, or a number or size beyond the schema's
    NOT_EXACT = "not_exact"  # a number that would be rounded where it must not be
    BAD_FORMAT = "bad_format"  # text that is not a timestamp, uuid, enum symbol, fixed of this size ...
    NOT_DECODED = "not_decoded"  # no MessagePack, CBOR or gzip, or a value that JSON does not have
    BAD_TELEGRAM = "bad_telegram"  # cut or damaged, or no P1 telegram of a meter
    NO_MESSAGE = "no_message"  # none of the operation's messages fits
    NOT_ALLOWED = "not_allowed"  # a value that enum, const, pattern, multipleOf or uniqueItems excludes
    TOPIC_MISMATCH = "topic_mismatch"  # payload and topic name different machines
    BAD_TOPIC = "bad_topic"  # topic with empty or non-UTF-8 levels
    NO_KEY = "no_key"  # the key field is null or empty
    FELL = "fell"  # a counter is lower than before
    JUMPED = "jumped"  # a counter rose faster than the contract allows
    UNMAPPED_TOPIC = "unmapped_topic"  # no stream of the contract describes it
    TOO_LARGE = "too_large"  # above the packet or record limit
    REFUSED = "refused"  # Kafka refused this very record
    FAULT = "fault"  # the gateway itself failed on it: a bug


class DeadLetter(Struct, frozen=True, gc=False):
    """Why a reading does not fit; it goes to the dead-letter topic."""

    reason: Reason
    pointer: str  # RFC 6901, to the place in the payload; "" for the whole
    detail: str  # one sentence for people; it quotes at most the beginning of a value


def fault(error: Exception) -> DeadLetter:
    """Make the dead letter of a reading on which the gateway failed."""
    return DeadLetter(Reason.FAULT, "", f"the gateway failed on this reading, please report it: {error!r}")


class IgnoredReading(Struct, frozen=True, gc=False):
    """The contract says that a message is not wanted: it is dropped and counted."""


IGNORED = IgnoredReading()
Result = Record | list[Record] | DeadLetter | IgnoredReading  # of one reading

Made = TypeVar("Made", Record, list[Record], Record | list[Record])


MANY_RECORDS = 10_000  # of readings with several records each; then these are handed over before more are made


class TransformResults(NamedTuple, Generic[Made]):
    """The results for readings, from the first on."""

    records: list[Made]  # of those that fit, in order: one of each, or a list of several of each
    dead_letters: dict[int, DeadLetter]  # place among the readings -> why that one does not fit
    ignored: tuple[int, ...] = ()  # the places of those that the contract ignores

    @property
    def readings(self) -> int:
        """How many readings have been transformed."""
        return len(self.records) + len(self.dead_letters) + len(self.ignored)


def transform_each(
    transform_one: Callable[[Reading], Result], readings: Iterable[Reading]
) -> TransformResults[list[Record]]:
    """Transform readings one by one, from the first on, until they have made `MANY_RECORDS`."""
    records: list[list[Record]] = []
    dead_letters: dict[int, DeadLetter] = {}
    ignored: list[int] = []
    made = 0
    for number, reading in enumerate(readings):
        result = transform_one(reading)
        if isinstance(result, DeadLetter):
            dead_letters[number] = result
        elif isinstance(result, IgnoredReading):
            ignored.append(number)
        else:
            records.append([result] if isinstance(result, Record) else result)
            made += len(records[-1])
            if made >= MANY_RECORDS:
                break
    return TransformResults(records, dead_letters, tuple(ignored))
