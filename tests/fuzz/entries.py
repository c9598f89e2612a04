"""Fuzzing of the loops over entries: whatever entries come, C does with them what Python does.

    python -m tests.fuzz.entries --seconds 60 --seed 1

The seed decides everything, so a failure comes back with it. `make fuzz-native` runs it on a build that checks each
access to memory.
"""

from __future__ import annotations

import random
import sys
import time
from copy import copy
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from gateway.core.entry import Entry, measure, number, settle, split, take_settled
from gateway.core.reading import Reading, Record
from tests.fuzz.command import run_fuzzer

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS: list[Any] = [None, object(), object()]
KEYS = [b"", b"a", b"machine-1", b"x" * 300]
WRONG: list[Any] = [None, 7, "text", ()]


class Maker:
    """Makes lists of entries."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def entries(self) -> list[Any]:
        """Make some; one list in twenty has something else in it."""
        made: list[Any] = [self._entry() for _ in range(self._chance.choice([0, 1, 2, 30, 300]))]
        if made and self._chance.random() < 0.05:
            made[self._chance.randrange(len(made))] = self._chance.choice(WRONG)
        return made

    def known(self) -> dict[bytes, int]:
        """Make partitions of keys."""
        return {key: self._chance.randrange(6) for key in KEYS if self._chance.random() < 0.7}

    def _entry(self) -> Entry:
        chance = self._chance
        reading = Reading(
            "s", b"t", chance.randbytes(chance.choice([0, 1, 70, 9_000])), 0, properties=b"p" * chance.randrange(3)
        )
        facts = (
            chance.choice(CONNECTIONS),
            chance.choice([0, 1, 258, 65_535]),
            chance.randrange(2**40),
            chance.randrange(2**40),
        )
        return Entry(reading, *facts, is_stored=chance.random() < 0.3, is_settled=chance.random() < 0.9)


def loops(known: dict[bytes, int]) -> list[Callable[[list[Entry]], Any]]:
    """Give the loops, the last of which changes most."""

    def split_up(own: list[Entry]) -> Any:
        return split(
            [Record("t", KEYS[place % len(KEYS)], b"", [], place) for place in range(len(own))], own, known, -1
        )

    return [measure, take_settled, split_up, lambda own: number(own, 2**33), settle]


def outcome(loop: Callable[[list[Entry]], Any], given: list[Entry]) -> tuple[Any, list[Any]]:
    """Give what a loop gives, and what it leaves of copies of the entries."""
    own = [copy(each) if isinstance(each, Entry) else each for each in given]
    try:
        return loop(own), own
    except (AttributeError, TypeError):
        return "refused", []


def fault_in(given: list[Entry], known: dict[bytes, int]) -> str:
    """Run all loops in C and in Python; tell what differs."""
    for place, loop in enumerate(loops(known)):
        found = outcome(loop, given)
        with patch("gateway.core.entry.MODULE", None):
            if found != outcome(loop, given):
                return f"loop {place} of {given}"
    return ""


def fuzz(seed: int, seconds: float) -> tuple[int, str]:
    """Try lists for so long; give how many, and the first fault."""
    maker, until, count = Maker(seed), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        count += 1
        if fault := fault_in(maker.entries(), maker.known()):
            return count, fault
    return count, ""


if __name__ == "__main__":
    sys.exit(run_fuzzer(__doc__, fuzz, "lists of entries"))
