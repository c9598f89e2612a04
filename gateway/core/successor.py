"""The transform of a stream after a reload that moved MQTT topics away from it.

Readings of these topics may still wait in the stream's lane, or be on their way from the broker. They are transformed
by the contract by which they arrived; all others by the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs

from gateway.core.reading import DeadLetter, Reason, Record, transform_each

if TYPE_CHECKING:
    from gateway.core.reading import Reading, Result, TransformResults

    class _Transform(Protocol):
        def __call__(self, reading: Reading) -> Result: ...

        def transform_all(self, readings: list[Reading]) -> TransformResults[Any]: ...


class Successor:
    """A transform, and the `former` one for readings whose topic is not of its stream."""

    def __init__(self, transform: _Transform, former: _Transform) -> None:
        self.transform = transform
        self.former = former

    def __call__(self, reading: Reading) -> Result:
        """Transform one reading."""
        result = self.transform(reading)
        if isinstance(result, DeadLetter) and result.reason is Reason.UNMAPPED_TOPIC:
            result = self.former(reading)
            # Without counters: the stream's monitor has those of the new contract.
            if isinstance(result, Record):
                return structs.replace(result, counts=None)
            if isinstance(result, list):
                return [structs.replace(each, counts=None) for each in result]
        return result

    def transform_all(self, readings: list[Reading]) -> TransformResults[Any]:
        """Transform readings from the first on; the result may cover only some of them."""
        results = self.transform.transform_all(readings)
        if all(each.reason is not Reason.UNMAPPED_TOPIC for each in results.dead_letters.values()):
            return results
        return transform_each(self, readings)
