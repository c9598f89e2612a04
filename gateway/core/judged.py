"""What became of many readings that were judged at once, each a Record, several Records, or a DeadLetter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gateway.core.reading import DeadLetter, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.reading import Reading

Made = TypeVar("Made", Record, list[Record])

MANY_RECORDS = 10_000  # of readings that have several each; no more are made before these are handed over


class Judged(NamedTuple, Generic[Made]):
    """What became of readings, from the first on.

    Args:
        records: of those that fit, in order: one of each, or a list of several of each.
        letters: place among the readings -> why that one does not fit.
    """

    records: list[Made]
    letters: dict[int, DeadLetter]

    @property
    def readings(self) -> int:
        """How many readings were judged."""
        return len(self.records) + len(self.letters)


def judge_each(
    judge_one: Callable[[Reading], list[Record] | DeadLetter], readings: Iterable[Reading]
) -> Judged[list[Record]]:
    """Judge readings one by one, until they have made `MANY_RECORDS`.

    Args:
        judge_one: judges one of them.
        readings: the oldest first.

    Returns:
        What became of those that were judged: all, or so many from the first on.
    """
    records: list[list[Record]] = []
    letters: dict[int, DeadLetter] = {}
    made = 0
    for number, reading in enumerate(readings):
        result = judge_one(reading)
        if isinstance(result, DeadLetter):
            letters[number] = result
            continue
        records.append(result)
        made += len(result)
        if made >= MANY_RECORDS:
            break
    return Judged(records, letters)
