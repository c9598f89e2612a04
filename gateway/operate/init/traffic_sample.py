"""What a broker's devices publish: messages by stream, and topics that no stream describes.

A payload on an undescribed topic may still show its stream, when it has the members that the stream requires: its
device may be set to another topic. That is a guess and reported as one; a stream that requires fewer than two members
is not guessed.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.core.undescribed import MAXIMUM_BYTES, UndescribedTopics
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.model import Contract, Stream

MAX_PAYLOAD = 65_536
MIN_MEMBERS = 2
SHOWN_GROUPS = 10


class TrafficSample:
    """Counts messages by stream."""

    def __init__(self, contract: Contract) -> None:
        self.streams = Counter(dict.fromkeys(contract.streams, 0))
        self._stream_of = topic_index(contract.addresses())
        self.undescribed = UndescribedTopics(self._stream_of)
        self.similar: dict[str, str] = {}  # stream -> an undescribed topic whose payload looks like the stream's
        # by operation, and by the number of its message
        self._members = {
            (name, number): members
            for name, stream in contract.streams.items()
            for number, each in enumerate(stream.by_message)
            if (members := _members(each))
        }

    def take(self, topic: bytes, payload: bytes) -> None:
        """Count a message."""
        self.undescribed.take(topic)
        if (stream := self._stream_of(topic)) != UNMAPPED:
            self.streams[stream] += 1
        elif similar := self._similar(payload):
            self.similar.setdefault(similar, printable(cut(topic, MAXIMUM_BYTES)))

    def lines(self) -> Iterator[str]:
        """Report the sample for people."""
        for name, count in self.streams.most_common():
            if count:
                yield f"  {name}: {count:,} messages"
        for name, topic in self.similar.items():
            yield f"  {topic} looks like {name}: correct the address of this stream in the contract"
        for group in self.undescribed.groups(SHOWN_GROUPS):
            yield f"  no stream describes {group.name}: {group.messages:,} messages"
        if silent := [name for name, count in self.streams.items() if not count]:
            yield f"  no message yet for: {', '.join(silent)} (the gateway subscribes to them all the same)"

    def _similar(self, payload: bytes) -> str:
        names = _names(payload) if len(payload) <= MAX_PAYLOAD else frozenset()
        suitable = [stream for stream, members in self._members.items() if members <= names]
        return max(suitable, key=lambda stream: len(self._members[stream]), default=("", 0))[0]


def _members(stream: Stream) -> frozenset[str]:
    """The members that identify a stream's payload: those that are required, else those that all examples have."""
    required: Iterable[str] = (stream.payload_schema or {}).get("required", ())
    examples = [frozenset(example) for example in stream.examples if isinstance(example, dict)]
    members = frozenset(required) or (frozenset.intersection(*examples) if examples else frozenset())
    return members if len(members) >= MIN_MEMBERS else frozenset()


def _names(payload: bytes) -> frozenset[str]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(value) if isinstance(value, dict) else frozenset()
