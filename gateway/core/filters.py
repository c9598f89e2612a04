"""The filters that are subscribed at one broker: none overlaps another, so each message arrives once.

MQTT leaves open whether a broker sends a message twice that matches two filters of one session (MQTT 5.0 section
3.3.4), and at which QoS. So a filter that another covers is not subscribed, and two that overlap are replaced by the
narrowest filter that covers both: `a/+/c` and `a/b/+` by `a/+/+`.

That may bring topics that no address has. They are expected, and dropped as `not_addressed` (`topic_index.py`).

Rejected: subscription identifiers, by which a gateway could ignore the second copy. MQTT 3.1.1 has none, and Mosquitto
sends one copy with several identifiers, where other brokers send several copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ONE, ANY = "+", "#"


def plan(filters: Iterable[str]) -> dict[str, frozenset[str]]:
    """Find the filters to subscribe: each with those of the given ones that it covers, in the order of these."""
    planned: dict[tuple[str, ...], frozenset[str]] = {}
    tree = _Node()
    for one in dict.fromkeys(filters):
        levels, covered = tuple(one.split("/")), frozenset([one])
        while (met := tree.overlapping(levels)) is not None:
            tree.end_at(met).end = None
            levels, covered = _join(levels, met), covered | planned.pop(met)
        tree.end_at(levels).end = levels
        planned[levels] = covered
    return {"/".join(levels): covered for levels, covered in planned.items()}


def overlap(one: str, other: str) -> bool:
    """Tell whether some topic matches both filters."""
    tree, levels = _Node(), tuple(one.split("/"))
    tree.end_at(levels).end = levels
    return tree.overlapping(tuple(other.split("/"))) is not None


class _Node:
    """Filters that have the same first levels."""

    __slots__ = ("below", "end")

    def __init__(self) -> None:
        self.end: tuple[str, ...] | None = None  # the filter that ends here
        self.below: dict[str, _Node] = {}  # by the next level

    def end_at(self, levels: Sequence[str]) -> _Node:
        """Find the node of a filter, or make it."""
        node = self
        for level in levels:
            node = node.below.setdefault(level, _Node())
        return node

    def overlapping(self, levels: Sequence[str]) -> tuple[str, ...] | None:
        """Find a filter that some topic matches that also matches another filter; None when there is none."""
        untried = [(self, 0)]
        while untried:
            node, place = untried.pop()
            level = levels[place] if place < len(levels) else None
            if node.end is not None and level in {None, ANY}:  # a/# matches a, too [MQTT 5.0 section 4.7.1.2]
                return node.end
            if (rest := node.below.get(ANY)) is not None and rest.end is not None:
                return rest.end
            if level is None:
                continue
            nexts = node.below if level in {ONE, ANY} else [each for each in (level, ONE) if each in node.below]
            untried += [(node.below[each], place + (level != ANY)) for each in nexts if each != ANY]
        return None


def _join(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Find the narrowest filter that covers two that overlap."""
    joined: list[str] = []
    for mine, others in zip(one, other, strict=False):
        if ANY in {mine, others}:
            return (*joined, ANY)
        joined.append(mine if mine == others else ONE)
    return tuple(joined) if len(one) == len(other) else (*joined, ANY)
