"""Gaps, repeats and silent keys of a stream."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reading import Reading, Record
from gateway.core.sequence import LONGEST_GAP, MAX_KEYS, WINDOW, SequenceMonitor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.sequence import Figure


class Watched:
    """A monitor, with what it has counted."""

    def __init__(self, silent_after: int | None = None, max_keys: int = MAX_KEYS, *, is_numbered: bool = True) -> None:
        self.counted: Counter[Figure] = Counter()
        self.monitor = SequenceMonitor(self.counted, silent_after, max_keys, is_numbered=is_numbered)
        self._offsets = count()

    def come(self, *numbers: int | None, key: bytes = b"dock", now: float = 0.0, dup: bool = False) -> Watched:
        """Note readings with these numbers, in this order."""
        for number in numbers:
            self.note(next(self._offsets), number, key, now, dup=dup)
        return self

    def note(
        self, offset: int, number: int | None, key: bytes = b"dock", now: float = 0.0, *, dup: bool = False
    ) -> None:
        """Note one reading."""
        reading = Reading("doors", b"doors/d", b"{}", 0, 1, dup=dup)
        self.monitor.note(offset, reading, Record("doors", key, b"", [], 0, number), now)

    @property
    def figures(self) -> dict[str, int]:
        """Those that are not 0."""
        return {str(figure): number for figure, number in self.counted.items() if number}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 1, 2, 3], {}),
        ([41, 42, 43], {}),
        ([1, 2, 5, 6, 9], {"gaps": 2, "missing": 4}),
        ([1, 2, 2, 3, 1], {"repeated": 2}),
        ([1, 3, 2, 4], {"gaps": 1, "missing": 1, "out_of_order": 1}),
        ([1, 3, 2, 2, 4], {"gaps": 1, "missing": 1, "out_of_order": 1, "repeated": 1}),
        ([1, 1 + WINDOW + 5, 2], {"gaps": 1, "missing": WINDOW + 4, "restarts": 1}),
        ([500, 0, 1, 2], {"restarts": 1}),
        ([255, 0, 1], {"restarts": 1}),
        ([1, 1 + LONGEST_GAP], {"gaps": 1, "missing": LONGEST_GAP - 1}),
        ([1, 2 + LONGEST_GAP], {"restarts": 1}),
        ([1, 9_223_372_036_854_775_807, 1], {"restarts": 2}),
        ([1, None, 2, None, 3], {}),
    ],
)
def test_note_classifies_the_numbers_of_a_key(numbers: list[int | None], expected: dict[str, int]) -> None:
    assert Watched().come(*numbers).figures == expected


def test_note_takes_what_the_broker_sends_again_for_repeats_however_old() -> None:
    """Behind the window only DUP distinguishes a repeat from a device that started again."""
    watched = Watched().come(*range(1_000))
    assert watched.come(*range(200, 1_000), dup=True).figures == {"repeated": 800}
    assert watched.come(1_000).figures == {"repeated": 800}, "it goes on where it was"


def test_note_keeps_keys_apart() -> None:
    watched = Watched().come(1, 2).come(7, key=b"gate").come(3).come(8, key=b"gate").come(10, key=b"gate")
    assert watched.figures == {"gaps": 1, "missing": 1}
    assert watched.monitor.last_anomaly == (b"gate", "number 10 arrived after 8")


def test_note_counts_a_reading_once_however_often_it_is_sent() -> None:
    """After a failure readings are transformed again; their offsets tell."""
    watched = Watched().come(1, 2, 3)
    for offset in (1, 2):
        watched.note(offset, offset + 1)
    assert watched.figures == {}


@given(lost=st.sets(st.integers(1, 199)), repeated=st.sets(st.integers(0, 199)))
def test_note_counts_exactly_what_was_lost_and_what_came_twice(lost: set[int], repeated: set[int]) -> None:
    come = [number for number in range(201) if number not in lost for _ in range(1 + (number in repeated))]
    figures = Watched().come(*come).figures
    assert figures.get("missing", 0) == len(lost)
    assert figures.get("repeated", 0) == len(repeated - lost)
    assert not figures.keys() & {"restarts", "out_of_order"}


@given(numbers=st.lists(st.integers(0, 2**70)))
def test_note_survives_any_numbers(numbers: Iterable[int]) -> None:
    figures = Watched().come(*numbers).figures
    assert all(figure > 0 for figure in figures.values())
    assert figures.get("missing", 0) <= figures.get("gaps", 0) * LONGEST_GAP


def test_expire_counts_keys_that_have_been_silent_for_too_long() -> None:
    """Each is an anomaly once, and no longer silent when it sends again."""
    watched = Watched(silent_after=10, is_numbered=False)
    watched.come(None, key=b"dock", now=100).come(None, key=b"gate", now=105)
    for now, silent in ((110, 0), (110.5, 1), (115.5, 2)):
        watched.monitor.expire(now)
        assert watched.monitor.silent_keys == silent
    assert watched.monitor.last_anomaly == (b"gate", "no reading for 10 s")
    watched.come(None, key=b"dock", now=116)
    watched.monitor.expire(116)
    assert watched.monitor.silent_keys == 1
    assert watched.figures == {}


def test_expire_notes_no_silence_without_a_limit() -> None:
    watched = Watched().come(1)
    watched.monitor.expire(1e9)
    assert watched.monitor.silent_keys is None


def test_a_silent_key_goes_on_counting_where_it_was() -> None:
    watched = Watched(silent_after=10).come(1, 2)
    watched.monitor.expire(60)
    assert watched.come(4, now=61).figures == {"gaps": 1, "missing": 1}


def test_the_keys_whose_last_reading_is_oldest_are_forgotten_first() -> None:
    """Silent ones before others; forgetting is counted, and a forgotten key starts again."""
    watched = Watched(silent_after=10, max_keys=2)
    watched.come(1, key=b"a", now=0).come(1, key=b"b", now=20)
    watched.monitor.expire(20)
    watched.come(1, key=b"c", now=21)
    assert watched.figures == {"forgotten": 1}
    assert watched.monitor.silent_keys == 0
    assert watched.come(5, key=b"a", now=22).figures == {"forgotten": 2}, "no gap: it is new"


def test_memory_has_a_bound_whatever_keys_come() -> None:
    """Of each of many long keys only a digest is kept."""
    watched = Watched(max_keys=1_000)
    tracemalloc.start()
    try:
        for number in range(3_000):
            watched.come(1, key=b"%d" % number + b"x" * 10_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
    assert watched.figures == {"forgotten": 2_000}
