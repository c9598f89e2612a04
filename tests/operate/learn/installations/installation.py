"""An installation of simulated devices: what its broker has retained, and what it publishes in an hour.

Payloads follow the public formats of the devices. Everything is made from a seed and a simulated clock, so the same
installation publishes the same bytes each time.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600


class Clock:
    """When the hour begins: a fixed time, unless the messages are published now."""

    start = 1_767_607_200  # 2026-01-05T10:00:00Z


def epoch(second: float) -> int:
    """Give a second of the hour as seconds since 1970."""
    return int(Clock.start + second)


def iso(second: float, ahead: int = 0) -> str:
    """Give a second of the hour as text without a zone, some hours ahead of UTC."""
    return f"{datetime.fromtimestamp(epoch(second) + 3600 * ahead, UTC):%Y-%m-%dT%H:%M:%S}"


Make = Callable[[random.Random, int], Any]  # random numbers and seconds since the start -> payload


class Message(NamedTuple):
    """A message, and when it is published."""

    second: float
    topic: str
    payload: bytes
    is_retained: bool = False


@dataclass(frozen=True)
class Source:
    """A topic that is published to every so many seconds, from a first second on.

    Args:
        topic: to which it publishes.
        every: seconds between messages.
        make: the payload: bytes as they are, a text, or a value that becomes JSON; None leaves the message out.
        first: second of the first message.
        is_retained: whether the broker keeps the last.
    """

    topic: str
    every: float
    make: Make
    first: float = 0
    is_retained: bool = False

    def messages(self, seed: str, seconds: int) -> Iterator[Message]:
        """Publish for so many seconds."""
        chance, second = random.Random(f"{seed} {self.topic} {self.first}"), self.first
        while second < seconds:
            if (payload := self.make(chance, int(second))) is not None:
                yield Message(second, self.topic, as_bytes(payload), self.is_retained)
            second += self.every


@dataclass(frozen=True)
class Installation:
    """A broker with devices.

    Args:
        name: of the installation.
        retained: what the broker has before anything is published, by topic.
        sources: what is published.
        addresses: of the streams that are proposed, exactly.
        families: that are recognised.
        traps: what is wrong with some messages, and a pattern that the report must show.
        ignored: messages to topics that contain one of these are no readings.
    """

    name: str
    sources: list[Source]
    addresses: set[str]
    retained: dict[str, Any] = field(default_factory=dict)
    families: set[str] = field(default_factory=set)
    traps: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def messages(self, seconds: int = HOUR) -> Iterator[Message]:
        """Give the retained messages, then all others in the order of time."""
        for topic, payload in self.retained.items():
            yield Message(-1, topic, as_bytes(payload), is_retained=True)
        yield from heapq.merge(*(one.messages(self.name, seconds) for one in self.sources))


def as_bytes(payload: Any) -> bytes:
    """Write a payload; a value becomes JSON as devices write it, without spaces."""
    if isinstance(payload, bytes):
        return payload
    return (payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))).encode()


def of_chance(make: Callable[[random.Random], Any]) -> Make:
    """Make payloads that do not depend on time."""
    return lambda chance, _: make(chance)


def wave(chance: random.Random, middle: float, spread: float, digits: int = 1) -> float:
    """Give a measured value."""
    return round(middle + chance.uniform(-spread, spread), digits)


def rising(start: float, per_second: float, second: int, digits: int = 3) -> float:
    """Give a counter's value."""
    return round(start + per_second * second, digits)
