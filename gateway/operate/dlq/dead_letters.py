"""Dead letters read back: where they lie, what they say, and how they group by cause.

`core/dead_letter.py` writes them; this reads its headers again. A topic may hold records of others: what has no
`error.reason` and `mqtt.topic` is counted as foreign, shown, and never replayed.

They come oldest first over all partitions of all dead-letter topics: the partitions are merged by time. Within one
partition the order is Kafka's own.

Causes are bounded: an `extra_field` names its member, so a hostile device can make a million pointers. Beyond
`MAX_CAUSES` all further ones of a stream and reason are counted together.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gateway.core.dead_letter import PROPERTIES_HEADER
from gateway.core.reading import Reading
from gateway.errors import GatewayError
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from confluent_kafka import Message

    from gateway.core.model import Contract
    from gateway.kafka.partitions import Partitions, Span

FOREIGN = "foreign"  # the reason given to records that no gateway of ours wrote
MAX_CAUSES = 1_000
OTHER_POINTERS = "(others)"
SHOWN_BYTES = 65_536

_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})", re.ASCII)


class Place(NamedTuple):
    """Where a dead letter lies.

    Args:
        topic: the dead-letter topic.
        partition: of the topic.
        offset: in the partition.
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As `dlq show` takes it, without the topic."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as Kafka keeps it.

    Args:
        place: where it lies.
        timestamp: the record's, milliseconds since 1970 UTC.
        headers: all of them, as they are.
        reading: the MQTT message that did not fit, as it arrived; of a cut one its beginning.
        reason: a `Reason`, or FOREIGN.
        pointer: JSON pointer to the place in the payload.
        detail: one sentence.
        is_cut: True when the payload is not whole.
    """

    place: Place
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]
    reading: Reading
    reason: str
    pointer: str
    detail: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """Dead letters that have the same thing wrong with them.

    Args:
        stream: that refused them.
        reason: which rule they broke.
        pointer: where in the payload.
        count: how many.
        replayed: how many of them were replayed.
        first: when the oldest was received, milliseconds since 1970 UTC.
        last: when the newest was.
        example: MQTT topic of the newest.
        place: of the newest.
    """

    stream: str
    reason: str
    pointer: str
    count: int
    replayed: int
    first: int
    last: int
    example: str
    place: Place

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
    """The dead-letter topics as they were when this was made.

    Args:
        partitions: reads them.
        topics: their names.

    Attributes:
        spans: their partitions, with the ends of that moment.

    Raises:
        GatewayError: when Kafka does not answer, or a topic is not there.
    """

    def __init__(self, partitions: Partitions, topics: Iterable[str]) -> None:
        self._partitions = partitions
        self.spans: Sequence[Span] = partitions.spans(topics)

    def __iter__(self) -> Iterator[Letter]:
        """Read all of them, oldest first.

        Raises:
            GatewayError: when Kafka stops answering.
        """
        return heapq.merge(*map(self._of, self.spans), key=lambda letter: (letter.timestamp, letter.place))

    def _of(self, span: Span) -> Iterator[Letter]:
        return map(letter_of, self._partitions.records(span))

    def find(self, partition: int, offset: int) -> Letter:
        """Read one.

        Raises:
            GatewayError: when it is not there, with what is.
        """
        spans = [span for span in self.spans if span.partition == partition]
        if len(spans) > 1:
            names = ", ".join(printable(span.topic) for span in spans)
            raise GatewayError(f"There are several dead-letter topics: {names}.", "Name one with --topic.")
        for span in spans:
            only = span._replace(first=max(span.first, offset), until=min(span.until, offset + 1))
            for letter in self._of(only):
                return letter
        held = ", ".join(
            f"{s.partition}:{s.first} to {s.partition}:{s.until - 1}" for s in self.spans if s.until > s.first
        )
        raise GatewayError(f"There is no dead letter at {partition}:{offset}.", f"There are: {held or 'none'}.")


def topics_of(contract: Contract) -> list[str]:
    """List the dead-letter topics of a contract."""
    return list(dict.fromkeys(stream.dead_letters.topic.name for stream in contract.streams.values()))


def parse_place(text: str) -> tuple[int, int]:
    """Read `PARTITION:OFFSET`.

    Raises:
        GatewayError: when it is something else.
    """
    if not (match := _PLACE.fullmatch(text)):
        raise GatewayError(
            f"{printable(cut(text))} is no place.", "Write PARTITION:OFFSET, as `gateway dlq list` shows."
        )
    return int(match[1]), int(match[2])


def letter_of(record: Message) -> Letter:
    """Read a record of a dead-letter topic. It never raises on data."""
    headers = headers_of(record)
    facts = dict(headers)
    place = Place(record.topic() or "", record.partition() or 0, record.offset() or 0)
    timestamp = record.timestamp()[1]
    size = _number(facts.get("payload.size", b""), -1)
    reading = Reading(
        _text(facts.get("error.operation", b"")),
        facts.get("mqtt.topic", b""),
        record.value() or b"",
        _milliseconds(facts.get("gateway.received_at", b""), timestamp),
        _number(facts.get("mqtt.qos", b""), 0),
        facts.get("mqtt.retain") == b"true",
        size=size,
        properties=facts.get(PROPERTIES_HEADER, b""),
    )
    is_ours = "error.reason" in facts and "mqtt.topic" in facts
    reason, pointer, detail = (_text(facts.get(f"error.{name}", b"")) for name in ("reason", "pointer", "detail"))
    is_cut = "payload.size" in facts or "payload.sha256" in facts
    return Letter(place, timestamp, headers, reading, reason if is_ours else FOREIGN, pointer, detail, is_cut)


def headers_of(record: Message) -> tuple[tuple[str, bytes], ...]:
    """Read a record's headers; one without a value has none of its bytes."""
    # The library's types know a message before it is sent, too: one that was read has pairs of text and bytes.
    headers = cast("list[tuple[str, bytes | None]]", record.headers() or [])
    return tuple((name, value or b"") for name, value in headers)


def causes(letters: Iterable[tuple[Letter, bool]]) -> list[Cause]:
    """Group dead letters by stream, reason and pointer.

    Args:
        letters: each with whether it was replayed.

    Returns:
        The most frequent first.
    """
    found: dict[tuple[str, str, str], Cause] = {}
    for letter, is_replayed in letters:
        key = (letter.reading.stream, letter.reason, letter.pointer)
        if key not in found and len(found) >= MAX_CAUSES:
            key = (*key[:2], OTHER_POINTERS)
        former = found.get(key)
        found[key] = _added(former, letter, is_replayed) if former else _begun(key, letter, is_replayed)
    return sorted(found.values(), key=lambda cause: (-cause.count, cause.stream, cause.reason, cause.pointer))


def _begun(key: tuple[str, str, str], letter: Letter, is_replayed: bool) -> Cause:  # noqa: FBT001 - one of a pair
    at = letter.reading.received_at
    return Cause(*key, 1, int(is_replayed), at, at, _text(letter.reading.topic), letter.place)


def _added(cause: Cause, letter: Letter, is_replayed: bool) -> Cause:  # noqa: FBT001 - one of a pair
    at = letter.reading.received_at
    cause = replace(cause, count=cause.count + 1, replayed=cause.replayed + is_replayed, first=min(cause.first, at))
    if at < cause.last:
        return cause
    return replace(cause, last=at, example=_text(letter.reading.topic), place=letter.place)


def shown(letter: Letter) -> str:
    """Write a dead letter for people: place, headers, and its bytes as escaped text."""
    headers = (f"{printable(name)}: {printable(cut(value, 1_024))}" for name, value in letter.headers)
    payload = letter.reading.payload
    told = f"payload: {len(payload)} bytes" + (", only the beginning of what was published" if letter.is_cut else "")
    return "\n".join(
        [
            f"{printable(letter.place.topic)} {letter.place}",
            f"timestamp: {iso(letter.timestamp)}",
            *headers,
            told,
            printable(cut(payload, SHOWN_BYTES)),
        ]
    )


def iso(milliseconds: int) -> str:
    """Write a time as ISO 8601; one that no calendar holds as its number."""
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
