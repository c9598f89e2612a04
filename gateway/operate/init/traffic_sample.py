"""What a broker's devices publish: which streams of the contract, and what else.

A payload may give its stream away where the topic does not: an adapter that was told another topic still names the
members that the stream asks for. That is a guess and said as one; a stream that asks for fewer than two members has
no such likeness.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from gateway.core.topic_index import UNMAPPED, routes
from gateway.core.undescribed import MAXIMUM_BYTES, UndescribedTopics
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.model import Contract, Stream

LONGEST_PAYLOAD = 65_536
FEWEST_MEMBERS = 2
SHOWN_GROUPS = 10


class TrafficSample:
    """Counts messages by stream.

    Attributes:
        streams: messages by stream.
        undescribed: those of no stream.
        alike: stream -> a topic outside it whose payload looks like its own.

    Args:
        contract: with the streams.
    """

    def __init__(self, contract: Contract) -> None:
        self.streams: Counter[str] = Counter()
        self._stream_of = routes((stream.name, stream.address) for stream in contract.streams.values())
        self.undescribed = UndescribedTopics(self._stream_of)
        self.alike: dict[str, str] = {}
        self._members = {stream.name: members for stream in contract.streams.values() if (members := _members(stream))}

    def take(self, topic: bytes, payload: bytes) -> None:
        """Count a message."""
        self.undescribed.take(topic)
        if (stream := self._stream_of(topic)) != UNMAPPED:
            self.streams[stream] += 1
        elif (like := self._like(payload)) and like not in self.alike:
            self.alike[like] = printable(cut(topic, MAXIMUM_BYTES))

    def sentences(self) -> Iterator[str]:
        """Say what was heard, for people."""
        for name, count in self.streams.most_common():
            yield f"  {name}: {count:,} messages"
        for name, topic in self.alike.items():
            yield f"  {topic} looks like {name}: correct that stream's address in the contract"
        for group in self.undescribed.groups(SHOWN_GROUPS):
            yield f"  no stream describes {group.name}: {group.messages:,} messages"

    def _like(self, payload: bytes) -> str:
        members = _names(payload) if len(payload) <= LONGEST_PAYLOAD else frozenset()
        fitting = [name for name, wanted in self._members.items() if wanted <= members]
        return max(fitting, key=lambda name: len(self._members[name]), default="")


def _members(stream: Stream) -> frozenset[str]:
    """The members by which a payload of a stream is known: those that it must have, else those of all examples."""
    required: Iterable[str] = (stream.payload_schema or {}).get("required", ())
    common = [frozenset(one) for one in stream.examples if isinstance(one, dict)]
    members = frozenset(required) or (frozenset.intersection(*common) if common else frozenset())
    return members if len(members) >= FEWEST_MEMBERS else frozenset()


def _names(payload: bytes) -> frozenset[str]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(value) if isinstance(value, dict) else frozenset()
