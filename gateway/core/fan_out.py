"""Transforms a stream that goes to several topics: a record for each, or one dead letter.

What one topic cannot hold goes to none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.reading import MANY_RECORDS, DeadLetter, Reading, Record, TransformResults, transform_each

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.core.transform import Transform


class FanOut:
    """Judges and encodes the readings of a stream that goes to several topics.

    Args:
        transforms: one a topic.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = transforms
        self._ending = [each for each in transforms if each.ends_keys] or transforms

    def __call__(self, reading: Reading) -> list[Record] | DeadLetter:
        """Judge one reading.

        Args:
            reading: of these transforms' stream.

        Returns:
            The records to produce, or why there are none.
        """
        records = []
        for transform in self._transforms if reading.payload else self._ending:
            result = transform(reading)
            if isinstance(result, DeadLetter):
                return result
            records.append(result)
        return records

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[list[Record]]:
        """Judge readings, as many as make many records."""
        readings = readings[: max(1, MANY_RECORDS // len(self._transforms))]
        if not all(reading.payload for reading in readings):
            return transform_each(self, readings)
        every = [transform.transform_all(readings) for transform in self._transforms]
        found = {number: letter for each in reversed(every) for number, letter in each.dead_letters.items()}
        letters = dict(sorted(found.items()))
        if letters:
            every = [_without(each, letters, len(readings)) for each in every]
        return TransformResults(list(map(list, zip(*[each.records for each in every], strict=True))), letters)

    def check_headers(self, reading: Reading) -> None:
        """Raise ValidationError when the properties of a message do not give what the headers need."""
        for transform in self._transforms:
            transform.check_headers(reading)


def _without(results: TransformResults[Record], letters: Collection[int], count: int) -> TransformResults[Record]:
    """Leave out the records of readings that do not fit another topic."""
    records = iter(results.records)
    own = {number: next(records) for number in range(count) if number not in results.dead_letters}
    return TransformResults([record for number, record in own.items() if number not in letters], {})
