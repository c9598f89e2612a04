"""Dead letters read from Kafka, and grouped by cause.

`core/dead_letter.py` writes the headers that are read here. A dead-letter topic may hold records of other programs: a
record without `error.reason` or `mqtt.topic` is counted as foreign, can be shown, and is never replayed.

Dead letters come oldest first: the partitions of all dead-letter topics are merged by timestamp. Within a partition
the order is Kafka's.

The number of causes is bounded, because the pointer of an `extra_field` is chosen by the device: beyond `MAX_CAUSES`
all further pointers of a stream and reason are counted together.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gateway.core.dead_letter import CLOCK_HEADER, PROPERTIES_HEADER, UNSYNCHRONISED
from gateway.core.reading import Reading
from gateway.errors import GatewayError
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from confluent_kafka import Message

    from gateway.core.model import Contract
    from gateway.kafka.partitions import Partitions, Span

FOREIGN = "foreign"  # the reason of records that this gateway did not write
MAX_CAUSES = 1_000
OTHER_POINTERS = "(others)"
SHOWN_BYTES = 65_536
SHOWN_HEADER_BYTES = 1_024

_PLACE = re.compile(r"(?:([\w.-]+)[ :])?(\d{1,9}):(\d{1,18})", re.ASCII)


class Place(NamedTuple):
    """Topic, partition and offset of a dead letter."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As `dlq show` takes it, without the topic."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter as it is in Kafka."""

    place: Place
    timestamp: int  # of the record, milliseconds since 1970 UTC
    headers: tuple[tuple[str, bytes], ...]  # all of them, unchanged
    reading: Reading  # the MQTT message as it arrived; of a cut payload only the beginning
    reason: str  # a `Reason`, or FOREIGN
    pointer: str  # JSON pointer to the place in the payload
    detail: str  # one sentence
    is_cut: bool  # the payload is not complete


@dataclass(slots=True)
class Cause:
    """Dead letters with the same stream, reason and pointer."""

    stream: str  # the operation that rejected them
    reason: str
    pointer: str
    first: int  # when the oldest was received, milliseconds since 1970 UTC
    last: int  # when the newest was received
    example: str  # MQTT topic of the newest
    place: Place  # of the newest
    count: int = 0
    replayed: int = 0

    def add(self, dead_letter: StoredDeadLetter, *, is_replayed: bool) -> None:
        """Count one."""
        received_at = dead_letter.reading.received_at
        self.count += 1
        self.replayed += is_replayed
        self.first = min(self.first, received_at)
        if received_at >= self.last:
            self.last = received_at
            self.example, self.place = _text(dead_letter.reading.topic), dead_letter.place

    def as_json(self) -> dict[str, Any]:
        """Facts for machines."""
        return {
            "stream": self.stream,
            "reason": self.reason,
            "pointer": self.pointer,
            "count": self.count,
            "replayed": self.replayed,
            "first": iso(self.first),
            "last": iso(self.last),
            "example": {"mqtt_topic": self.example, "topic": self.place.topic, "place": str(self.place)},
        }


class DeadLetters:
    """The dead letters that the topics hold when this object is made; iterable, oldest first.

    GatewayError when Kafka does not answer or a topic does not exist, also while iterating.
    """

    def __init__(self, partitions: Partitions, topics: Iterable[str]) -> None:
        self._partitions = partitions
        self.spans: Sequence[Span] = partitions.spans(topics)

    def __iter__(self) -> Iterator[StoredDeadLetter]:
        return heapq.merge(*map(self._of, self.spans), key=lambda each: (each.timestamp, each.place))

    def _of(self, span: Span) -> Iterator[StoredDeadLetter]:
        return map(stored_dead_letter, self._partitions.records(span))

    def find(self, partition: int, offset: int) -> StoredDeadLetter:
        """Read one; a GatewayError lists the offsets that exist."""
        spans = [span for span in self.spans if span.partition == partition]
        if len(spans) > 1:
            names = ", ".join(printable(span.topic) for span in spans)
            raise GatewayError(f"There are several dead-letter topics: {names}.", "Name one with --topic.")
        for span in spans:
            only = span._replace(first=max(span.first, offset), until=min(span.until, offset + 1))
            for dead_letter in self._of(only):
                return dead_letter
        ranges = [f"{s.partition}:{s.first} to {s.partition}:{s.until - 1}" for s in self.spans if s.until > s.first]
        raise GatewayError(
            f"There is no dead letter at {partition}:{offset}.", f"There are: {', '.join(ranges) or 'none'}."
        )


def topics_of(contract: Contract) -> list[str]:
    """List the dead-letter topics of a contract."""
    return list(dict.fromkeys(stream.dead_letters.topic.name for stream in contract.streams.values()))


def parse_place(text: str) -> tuple[str, int, int]:
    """Read `PARTITION:OFFSET`, after a topic or none, which is ""; GatewayError when it is something else."""
    if not (match := _PLACE.fullmatch(text)):
        raise GatewayError(
            f"{printable(cut(text))} is not a partition and an offset.",
            "Write PARTITION:OFFSET, as `gateway dlq list -c FILE` shows it.",
        )
    return match[1] or "", int(match[2]), int(match[3])


def stored_dead_letter(record: Message) -> StoredDeadLetter:
    """Read a record of a dead-letter topic. It never raises on data."""
    headers = headers_of(record)
    values = dict(headers)
    timestamp = record.timestamp()[1]
    reason, pointer, detail, operation = (
        _text(values.get(f"error.{name}", b"")) for name in ("reason", "pointer", "detail", "operation")
    )
    reading = Reading(
        operation,
        values.get("mqtt.topic", b""),
        record.value() or b"",
        _milliseconds(values.get("gateway.received_at", b""), timestamp),
        _number(values.get("mqtt.qos", b""), 0),
        values.get("mqtt.retain") == b"true",
        size=_number(values.get("payload.size", b""), -1),
        properties=values.get(PROPERTIES_HEADER, b""),
        is_unsynchronised=values.get(CLOCK_HEADER) == UNSYNCHRONISED,
    )
    return StoredDeadLetter(
        Place(record.topic() or "", record.partition() or 0, record.offset() or 0),
        timestamp,
        headers,
        reading,
        reason if {"error.reason", "mqtt.topic"} <= values.keys() else FOREIGN,
        pointer,
        detail,
        is_cut="payload.size" in values or "payload.sha256" in values,
    )


def headers_of(record: Message) -> tuple[tuple[str, bytes], ...]:
    """Read a record's headers; a header without a value has an empty one."""
    # The library's types also cover messages that were not sent yet; a consumed one has pairs of text and bytes.
    headers = cast("list[tuple[str, bytes | None]]", record.headers() or [])
    return tuple((name, value or b"") for name, value in headers)


def causes(dead_letters: Iterable[tuple[StoredDeadLetter, bool]]) -> list[Cause]:
    """Group dead letters, each with whether it was replayed, by stream, reason and pointer; the most frequent first."""
    by_key: dict[tuple[str, str, str], Cause] = {}
    for dead_letter, is_replayed in dead_letters:
        reading = dead_letter.reading
        key = (reading.stream, dead_letter.reason, dead_letter.pointer)
        if key not in by_key and len(by_key) >= MAX_CAUSES:
            key = (*key[:2], OTHER_POINTERS)
        if key not in by_key:
            by_key[key] = Cause(*key, reading.received_at, reading.received_at, "", dead_letter.place)
        by_key[key].add(dead_letter, is_replayed=is_replayed)
    return sorted(by_key.values(), key=lambda cause: (-cause.count, cause.stream, cause.reason, cause.pointer))


def shown(dead_letter: StoredDeadLetter) -> str:
    """Write a dead letter for people: place, headers, and the payload as escaped text."""
    headers = (f"{printable(name)}: {printable(cut(value, SHOWN_HEADER_BYTES))}" for name, value in dead_letter.headers)
    payload = dead_letter.reading.payload
    return "\n".join(
        [
            f"{printable(dead_letter.place.topic)} {dead_letter.place}",
            f"timestamp: {iso(dead_letter.timestamp)}",
            *headers,
            f"payload: {len(payload)} bytes{', only the beginning of the message' if dead_letter.is_cut else ''}",
            printable(cut(payload, SHOWN_BYTES)),
        ]
    )


def iso(milliseconds: int) -> str:
    """Write a time as ISO 8601; one outside the calendar as its number."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _number(text: bytes, otherwise: int) -> int:
    return int(text) if text.isdigit() and len(text) < 16 else otherwise


def _milliseconds(text: bytes, otherwise: int) -> int:
    try:
        return round(datetime.fromisoformat(text.decode()).timestamp() * 1000)
    except (ValueError, OverflowError):
        return otherwise
