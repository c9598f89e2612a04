"""Topics that no stream describes, counted by their first levels.

Devices may invent any number of topics, so the memory is bounded, in number and in length: when it is full, further
topics count as others. Two levels are kept, because the first is often one word for a whole site.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.topic_index import UNMAPPED
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = 2
MAXIMUM_GROUPS = 1_000
MAXIMUM_BYTES = 100  # of a topic that is shown
OTHERS = "others"


class Group(NamedTuple):
    """Topics with the same first levels."""

    name: str  # the first levels, safe to print
    messages: int


class UndescribedTopics:
    """Counts messages; `stream_of` gives the name of the stream that a topic belongs to, or UNMAPPED."""

    def __init__(self, stream_of: Callable[[bytes], str]) -> None:
        self.described = 0  # messages that belong to a stream
        self._stream_of = stream_of
        self._counts: Counter[str] = Counter()

    @property
    def undescribed(self) -> int:
        """How many messages belong to no stream."""
        return self._counts.total()

    def take(self, topic: bytes) -> None:
        """Count a message by its topic."""
        if self._stream_of(topic) != UNMAPPED:
            self.described += 1
            return
        levels = topic.split(b"/")
        more = "/..." if len(levels) > LEVELS else ""
        name = printable(cut(b"/".join(levels[:LEVELS]), MAXIMUM_BYTES)) + more
        is_room = name in self._counts or len(self._counts) < MAXIMUM_GROUPS
        self._counts[name if is_room else OTHERS] += 1

    def groups(self, most: int) -> list[Group]:
        """Give the largest groups, at most so many, and all others as one more."""
        largest = [Group(name, count) for name, count in self._counts.most_common(most) if name != OTHERS]
        rest = self.undescribed - sum(group.messages for group in largest)
        return [*largest, Group(OTHERS, rest)] if rest else largest
