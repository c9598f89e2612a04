"""Which stream a topic belongs to: the one with the most specific address that matches (`address.py`).

The addresses are a tree by level, whose branches are tried from the most specific on. So the first address that is
found has the topic, and the search ends after at most as many steps as the addresses have levels. The result is
remembered (`topic_memory.py`). What follows a parameter of several levels is compared with the end of the topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.address import END, Level
from gateway.core.filters import ANY
from gateway.core.topic_memory import MAX_TOPICS, TopicMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.core.address import Address

UNMAPPED = "unmapped"  # the bucket of topics that no stream describes; no operation may have this name
NOT_ADDRESSED = "not_addressed"  # topics that no address has, and that only a filter wider than an address brings


def topic_index(
    addresses: Iterable[tuple[str, Address]], filters: Iterable[str] = (), max_topics: int = MAX_TOPICS
) -> Callable[[bytes], str]:
    """Make the function that finds the name of a topic's stream.

    A topic that no address matches, or one of the name UNMAPPED, is NOT_ADDRESSED when one of the filters brings it.
    """
    tree, wide = _Branch(), _Branch()
    for name, address in addresses:
        tree.add(address.levels, name)
    for one in filters:
        for levels in _levels_of(one):
            wide.add(levels, NOT_ADDRESSED)

    def found(topic: bytes) -> str:
        # Levels with invalid UTF-8 still match parameters: the transform then refuses the topic with a reason.
        levels = topic.decode(errors="replace").split("/")
        name = tree.find(levels) or UNMAPPED
        return name if name != UNMAPPED else wide.find(levels) or UNMAPPED

    return TopicMemory(found, max_topics).__getitem__


def _levels_of(topic_filter: str) -> Iterator[list[Level]]:
    """Read a filter as addresses; a/# matches a too [MQTT 5.0 section 4.7.1.2]."""
    parts = topic_filter.split("/")
    levels = [Level("", part, "", part == ANY) if part in {"+", ANY} else Level(part) for part in parts]
    yield levels
    if levels[-1].is_multi:
        yield levels[:-1]


class _Branch:
    """The addresses that have the same first levels."""

    __slots__ = ("literal", "multi", "name", "others")

    def __init__(self) -> None:
        self.name = ""  # of the stream whose address ends here
        self.literal: dict[str, _Branch] = {}  # by the text of the next level
        # Those whose next level has a parameter: by the lengths of the text around it, the longest first; then by text.
        self.others: dict[tuple[int, int], dict[tuple[str, str], _Branch]] = {}
        self.multi: list[tuple[Sequence[Level], str]] = []  # those with several levels here: what follows, and the name

    def add(self, levels: Sequence[Level], name: str) -> None:
        """Add an address; one of the same form that was added before stays."""
        branch = self
        for place, level in enumerate(levels):
            if level.is_multi:
                every = [*branch.multi, (levels[place + 1 :], name)]
                branch.multi = sorted(every, key=lambda each: [*(one.specificity for one in each[0]), END])
                return
            branch = branch._next(level)
        branch.name = branch.name or name

    def _next(self, level: Level) -> _Branch:
        if level.name is None:
            return self.literal.setdefault(level.before, _Branch())
        lengths = len(level.before), len(level.after)
        if lengths not in self.others:
            self.others = dict(sorted({**self.others, lengths: {}}.items(), key=lambda each: -sum(each[0])))
        return self.others[lengths].setdefault((level.before, level.after), _Branch())

    def find(self, levels: Sequence[str]) -> str:
        """Find the stream with the most specific address that matches a topic; "" for none."""
        if levels[0].startswith("$"):
            return ""  # wildcards do not match it [MQTT-4.7.2-1], and no address begins so
        untried: list[tuple[_Branch | str, int]] = [(self, 0)]  # a text is what was found, if nothing else is
        while untried:
            branch, place = untried.pop()
            if isinstance(branch, str):
                return branch
            if place == len(levels):
                if branch.name:
                    return branch.name
                continue
            untried += [(name, 0) for tail, name in reversed(branch.multi) if _ends(levels, place + 1, tail)]
            text = levels[place]
            untried += [(below, place + 1) for below in branch.matching(text)]
            if (below := branch.literal.get(text)) is not None:
                untried.append((below, place + 1))
        return ""

    def matching(self, text: str) -> Iterator[_Branch]:
        """Give the branches whose parameter a level matches, the most specific last."""
        for (before, after), branches in reversed(self.others.items()):
            end = len(text) - after
            if before <= end and (below := branches.get((text[:before], text[end:]))) is not None:
                yield below


def _ends(levels: Sequence[str], place: int, tail: Sequence[Level]) -> bool:
    """Tell whether the levels of a topic from a place on, or the last of them, are those at the end of an address."""
    count = len(tail)
    ends = levels[len(levels) - count :]
    return len(levels) - place >= count and all(level.matches(text) for level, text in zip(tail, ends, strict=True))
