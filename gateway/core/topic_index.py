"""Which stream a topic belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.address import Address

UNMAPPED = "unmapped"  # the bucket of topics that no stream describes; no operation may have this name
MAX_TOPICS = 65_536  # remembered; when there are more, the memory is cleared


def topic_index(addresses: Iterable[tuple[str, Address]], max_topics: int = MAX_TOPICS) -> Callable[[bytes], str]:
    """Make the function that finds the name of a topic's stream, or UNMAPPED; no two addresses may overlap.

    It is the look-up of a dict: a topic that was seen before costs no Python at all.
    """
    return _TopicIndex(addresses, max_topics).__getitem__


class _TopicIndex(dict[bytes, str]):
    """The streams of the topics seen so far."""

    def __init__(self, addresses: Iterable[tuple[str, Address]], max_topics: int) -> None:
        super().__init__()
        self._addresses = list(addresses)
        self._max_topics = max_topics

    def __missing__(self, topic: bytes) -> str:
        if len(self) >= self._max_topics:
            self.clear()
        # Levels with invalid UTF-8 still match parameters: the transform then refuses the topic with a reason.
        text = topic.decode(errors="replace")
        name = next((name for name, address in self._addresses if address.match(text) is not None), UNMAPPED)
        self[topic] = name
        return name
