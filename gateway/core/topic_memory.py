"""What is known of the MQTT topics seen so far, in bounded memory: devices choose the topics.

It is the look-up of a dict: a topic that was seen before costs no Python at all. When there are too many topics, or too
many bytes of them, everything is forgotten, and learnt again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TOPICS = 65_536
MAX_BYTES = 2**24

_Known = TypeVar("_Known")


class TopicMemory(dict[bytes, _Known]):
    """What `learn` says of each topic."""

    def __init__(self, learn: Callable[[bytes], _Known], max_topics: int = MAX_TOPICS) -> None:
        super().__init__()
        self._learn = learn
        self._max_topics = max_topics
        self._bytes = 0

    def __missing__(self, topic: bytes) -> _Known:
        if len(self) >= self._max_topics or self._bytes > MAX_BYTES:
            self.clear()
            self._bytes = 0
        self[topic] = known = self._learn(topic)
        self._bytes += len(topic)
        return known
