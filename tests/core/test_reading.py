"""Results of a transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.reading import (
    IGNORED,
    MANY_RECORDS,
    DeadLetter,
    Reading,
    Reason,
    Record,
    TransformResults,
    transform_each,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.reading import Result

READING = Reading("s", b"s", b"{}", 0)
RECORD = Record("s", b"k", b"", [], 0)
DEAD = DeadLetter(Reason.EMPTY, "", "")


def test_transform_each_keeps_dead_letters_by_their_place() -> None:
    results: Iterator[Result] = iter([RECORD, DEAD, [RECORD, RECORD], IGNORED])
    assert transform_each(lambda _: next(results), [READING] * 4) == TransformResults(
        [[RECORD], [RECORD, RECORD]], {1: DEAD}, (3,)
    )


def test_transform_each_stops_at_many_records() -> None:
    """The rest is left for the next call."""
    half = [RECORD] * (MANY_RECORDS // 2)
    assert transform_each(lambda _: half, [READING] * 9).readings == 2
