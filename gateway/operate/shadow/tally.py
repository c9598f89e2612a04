"""Differences in groups, by stream, kind and place: how many readings each has, and three of them as samples.

The memory is bounded, because devices choose values, and with them places: beyond `MAX_GROUPS` of a stream and kind all
further places are counted together. A reading counts once in a group, however often it has that difference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.topic_index import UNMAPPED
from gateway.operate.shadow.comparison import ADDITIONS, KINDS, QUOTING
from gateway.operate.shadow.pipeline import JOINED, Outcome
from gateway.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.reading import Reading
    from gateway.operate.shadow.comparison import Comparison, Difference

MAX_GROUPS = 100  # of a stream and kind
SAMPLES = 3
OTHERS = "(others)"
SAMPLE_BYTES = 200  # of a payload
HIDDEN = "not shown"


class Sample(NamedTuple):
    """A reading that has a difference."""

    topic: str
    before: str
    after: str
    payload: str


@dataclass(slots=True)
class Group:
    """Readings with the same difference; also a subscription or a subject, whose readings may be none."""

    stream: str  # or the server of a subscription; "" for a subject
    kind: str
    where: str
    readings: int = 0
    moved: int = 0  # of these, to another partition
    samples: list[Sample] = field(default_factory=list)
    is_expected: bool = False

    @property
    def is_addition(self) -> bool:
        """Whether consumers that pass over what they do not know notice nothing."""
        return self.kind in ADDITIONS

    def has_name(self, name: str) -> bool:
        """Whether an expectation with a name, or none, means this group."""
        return name in {"", self.stream, self.where, f"{self.stream}:{self.where}", *self.where.split()}


def is_expectation(text: str) -> bool:
    """Tell whether a text names a kind of differences, alone or with a place."""
    return text.partition(":")[0] in KINDS.keys() | ADDITIONS.keys()


class Tally:
    """The differences of all readings."""

    def __init__(self, comparison: Comparison, *, shows_values: bool) -> None:
        self.readings: Counter[str] = Counter()  # by stream
        self.same: Counter[str] = Counter()
        self._groups: dict[tuple[str, str, str], Group] = {}
        self._places: Counter[tuple[str, str]] = Counter()  # by stream and kind
        self._compare = comparison
        self._shows_values = shows_values

    @property
    def groups(self) -> list[Group]:
        """The groups: differences first, by stream and kind, the largest first."""
        order = [*KINDS, *ADDITIONS]
        groups = self._groups.values()
        return sorted(groups, key=lambda one: (one.is_addition, one.stream, order.index(one.kind), -one.readings))

    def take(self, reading: Reading, old: Sequence[Outcome], new: Sequence[Outcome]) -> set[str]:
        """Count a reading, and what both contracts make of it; give the kinds of its differences."""
        joined = Outcome("", reading, JOINED)
        pairs = [*zip_longest(old, new, fillvalue=joined)]
        stream = next((one.stream for pair in pairs for one in pair if one.stream not in {"", UNMAPPED}), UNMAPPED)
        found = {(each.kind, each.where): (each, one.reading) for one, its in pairs for each in self._compare(one, its)}
        for difference, whole in found.values():
            self._count(stream, difference, whole)
        self.readings[stream] += 1
        self.same[stream] += not found
        return {kind for kind, _ in found}

    def add(self, stream: str, kind: str, where: str, readings: int = 0) -> Group:
        """Add to a group, or make it."""
        key = stream, kind, where
        if key not in self._groups:
            if self._places[stream, kind] >= MAX_GROUPS:
                key = stream, kind, OTHERS
            self._places[stream, kind] += 1
        group = self._groups.setdefault(key, Group(*key))
        group.readings += readings
        return group

    def _count(self, stream: str, difference: Difference, reading: Reading) -> None:
        group = self.add(stream, difference.kind, difference.where, 1)
        group.moved += difference.is_moved
        if len(group.samples) < SAMPLES:
            hides, values = not self._shows_values, (difference.before, difference.after)
            before, after = (HIDDEN, HIDDEN) if hides and difference.kind in QUOTING else values
            payload = HIDDEN if hides else cut(reading.payload, SAMPLE_BYTES)
            group.samples.append(Sample(cut(reading.topic, SAMPLE_BYTES), before, after, payload))

    def expect(self, texts: Iterable[str]) -> list[str]:
        """Wave differences through by kind and place; give the texts that name none."""
        unmatched = []
        for text in texts:
            kind, _, name = text.partition(":")
            named = [one for one in self._groups.values() if one.kind == kind and one.has_name(name)]
            for one in named:
                one.is_expected = True
            unmatched += [] if named else [text]
        return unmatched
