"""Transforms a stream that goes to several topics: a record for each, or one dead letter.

A reading that one topic cannot hold goes to none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.reading import MANY_RECORDS, DeadLetter, Reading, Record, TransformResults, transform_each

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.core.transform import Transform


class FanOut:
    """Checks and encodes the readings of a stream that goes to several topics, with a transform for each."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = transforms
        self._ending = [each for each in transforms if each.makes_tombstones] or transforms

    def __call__(self, reading: Reading) -> list[Record] | DeadLetter:
        """Transform one reading: give its records, or why there are none."""
        records = []
        for transform in self._transforms if reading.payload else self._ending:
            result = transform(reading)
            if isinstance(result, DeadLetter):
                return result
            records.append(result)
        return records

    def transform_all(self, readings: list[Reading]) -> TransformResults[list[Record]]:
        """Transform readings, from the first on, as many as make many records."""
        readings = readings[: max(1, MANY_RECORDS // len(self._transforms))]
        if not all(reading.payload for reading in readings):
            return transform_each(self, readings)
        results = [transform.transform_all(readings) for transform in self._transforms]
        by_place = {place: dead for each in reversed(results) for place, dead in each.dead_letters.items()}
        dead_letters = dict(sorted(by_place.items()))
        if dead_letters:
            results = [_without(each, dead_letters, len(readings)) for each in results]
        return TransformResults(list(map(list, zip(*[each.records for each in results], strict=True))), dead_letters)

    def check_message(self, reading: Reading) -> None:
        """Raise ValidationError when the topic or the properties of a message do not give what its records need."""
        for transform in self._transforms:
            transform.check_message(reading)


def _without(results: TransformResults[Record], places: Collection[int], count: int) -> TransformResults[Record]:
    """Leave out the records of readings that do not fit another topic."""
    records = iter(results.records)
    own = {place: next(records) for place in range(count) if place not in results.dead_letters}
    return TransformResults([record for place, record in own.items() if place not in places], {})
