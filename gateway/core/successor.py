"""The transform of a stream with another address: readings from before, whose topics it no longer has, go as before.

A reload of the contract may move topics from one stream to another, while readings of these topics wait in the lane of
the first. They are judged by the contract by which they arrived; all others by the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs

from gateway.core.reading import Reason, Record, TransformResults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.reading import Reading


class _Transform(Protocol):
    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[Any]: ...


class Successor:
    """A transform, and the one before it for readings whose topic is not of its stream."""

    def __init__(self, transform: _Transform, former: _Transform) -> None:
        self.transform = transform
        self._former = former.transform if isinstance(former, Successor) else former

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[Any]:
        """Transform readings, from the first on, as many as the transform does at once."""
        results = self.transform.transform_all(readings)
        others = [n for n, each in results.dead_letters.items() if each.reason is Reason.UNMAPPED_TOPIC]
        return self._with_former(results, readings, others) if others else results

    def _with_former(
        self, results: TransformResults[Any], readings: Sequence[Reading], numbers: Sequence[int]
    ) -> TransformResults[Any]:
        others = {*results.dead_letters, *results.ignored}
        places = [number for number in range(results.readings) if number not in others]
        records = dict(zip(places, results.records, strict=True))
        dead_letters, ignored = dict(results.dead_letters), list(results.ignored)
        for number in numbers:
            own = self._former.transform_all([readings[number]])
            del dead_letters[number]
            if own.records:
                records[number] = _without_counts(own.records[0])
            elif own.dead_letters:
                dead_letters[number] = own.dead_letters[0]
            else:
                ignored.append(number)
        ordered = [records[number] for number in sorted(records)]
        if any(isinstance(each, list) for each in ordered):  # the sink takes one kind at a time
            ordered = [each if isinstance(each, list) else [each] for each in ordered]
        return TransformResults(ordered, dict(sorted(dead_letters.items())), tuple(sorted(ignored)))


def _without_counts(made: Record | list[Record]) -> Record | list[Record]:
    """Take the counters of records away, because the stream's monitor now knows others."""
    if isinstance(made, list):
        return [structs.replace(each, counts=None) for each in made]
    return structs.replace(made, counts=None)
