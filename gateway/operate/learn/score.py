"""The score: each message that was received is transformed by the proposal, once, as the gateway would do it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.core.reading import DeadLetter, IgnoredReading, Record
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.operate.learn.evidence import Unread, parse
from gateway.operate.learn.redaction import redacted
from gateway.operate.learn.types import pascal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.model import Contract
    from gateway.core.reading import Reading
    from gateway.operate.learn.proposal import Stream

PAYLOAD_LIMIT = 1_000_000
EXAMPLES = 3  # of a message
MAX_EXAMPLE = 4_096  # bytes
MAX_REASONS = 50  # of a stream; further ones are counted together
BUCKETS = 24  # of the time that was listened


@dataclass(slots=True)
class StreamScore:
    """How the messages of one stream fare."""

    received: int = 0
    accepted: int = 0
    ignored: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # reason and JSON pointer of the rest
    details: dict[tuple[str, str], str] = field(default_factory=dict)  # of each reason, the first in words
    times: Counter[int] = field(default_factory=Counter)  # messages by bucket

    @property
    def fit(self) -> int:
        """Messages that would not be dead letters."""
        return self.accepted + self.ignored


def score(
    contract: Contract,
    readings: Iterable[Reading],
    span: tuple[int, int],
    keep: Callable[[str, Reading, str], None],
    *,
    shows_values: bool = True,
) -> dict[str, StreamScore]:
    """Transform all readings, the first and the last of which arrived at `span`; the result is by stream.

    `keep` gets each reading that a stream accepts, with the topic of its record.
    """
    stream_of = topic_index(contract.addresses())
    transforms = {
        name: transform_of(stream, [0] * len(stream.routes), PAYLOAD_LIMIT) for name, stream in contract.streams.items()
    }
    scores = {name: StreamScore() for name in (*contract.streams, *contract.ignored, UNMAPPED)}
    for reading in readings:
        name = stream_of(reading.topic)
        one = scores[name]
        one.received += 1
        one.times[(reading.received_at - span[0]) * BUCKETS // (span[1] - span[0] + 1)] += 1
        if (transform := transforms.get(name)) is None:
            one.ignored += name != UNMAPPED
            continue
        result = transform(reading)
        if isinstance(result, DeadLetter):
            key = (str(result.reason), result.pointer)
            key = key if key in one.reasons or len(one.reasons) < MAX_REASONS else ("others", "")
            one.reasons[key] += 1
            one.details.setdefault(key, result.detail if shows_values else "not shown")
        elif isinstance(result, IgnoredReading):
            one.ignored += 1
        else:
            one.accepted += 1
            first = result if isinstance(result, Record) else result[0]
            keep(name, reading, first.topic)
    return scores


class Examples:
    """Keeps the first readings of each message that fit as its examples.

    Where a member is tied to the topic, they are of one topic, that of the first example of each parameter.
    """

    def __init__(self, proposed: Iterable[Stream], *, shows_values: bool) -> None:
        self._shows_values = shows_values
        self._streams = {f"receive{pascal(one.name)}": one for one in proposed}

    def keep(self, name: str, reading: Reading, kafka_topic: str) -> None:
        """Keep a reading that a stream accepts, if it has no more than a few examples."""
        if (stream := self._streams.get(name)) is None or len(reading.payload) > MAX_EXAMPLE:
            return
        message = next(one for one in stream.messages if one.topic == kafka_topic)
        is_tied = any(one.pointer for one in stream.parameters)
        if len(message.examples) >= EXAMPLES or (is_tied and reading.topic.decode() != stream.topics[0].name):
            return
        parsed = parse(reading.payload)
        if isinstance(parsed, Unread) or _has_empty_name(parsed.value):
            return
        value = parsed.value if self._shows_values else redacted(parsed.value, stream, message)
        if value not in message.examples:
            message.examples.append(value)


def _has_empty_name(value: Any) -> bool:
    """Tell whether a member has an empty name, which a contract in YAML does not take."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict) and "" in value) or any(map(_has_empty_name, inner))
