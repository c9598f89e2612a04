"""A stream whose payloads are MessagePack, CBOR or gzip.

They become JSON text before anything else reads them (`encoding.py`). So all that follows is the same for every
encoding: the choice of a message, arrays, the codec, reasons and pointers. MessagePack of one reading in each message
goes to its codec as it is, which is as fast as JSON.
"""

from __future__ import annotations

from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec import structs

from gateway.core.codec.validation_error import ValidationError
from gateway.core.encoding import as_json, stated_gzip
from gateway.core.reading import DeadLetter, Reading, TransformResults, fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.array import ArrayTransform
    from gateway.core.choice_transform import ChoiceTransform
    from gateway.core.encoding import Encoding
    from gateway.core.fan_out import FanOut
    from gateway.core.reading import Result
    from gateway.core.transform import Transform

MAX_AGREED = 1_000  # sets of properties that are remembered; devices usually send the same with each message
_PROPERTIES = attrgetter("properties")


class EncodedTransform:
    """Decodes the payloads of a stream for its transform, unless `is_direct`: then that reads them as they are."""

    def __init__(
        self,
        transform: Transform | FanOut | ArrayTransform | ChoiceTransform,
        encoding: Encoding,
        payload_limit: int,
        *,
        is_direct: bool = False,
    ) -> None:
        self._transform = transform
        self._is_direct = is_direct
        self._encoding = encoding
        self._agreed = {b""}
        self._limit = payload_limit

    def __call__(self, reading: Reading) -> Result:
        """Transform one reading: give its record or records, why there are none, or that it is ignored."""
        decoded = self._decoded(reading)
        return decoded if isinstance(decoded, DeadLetter) else self._transform(decoded)

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[Any]:
        """Transform readings, from the first on: those that can be decoded, or those that cannot."""
        if self._is_direct and self._agree(set(map(_PROPERTIES, readings))):
            return self._transform.transform_all(readings)
        decoded: list[Reading] = []
        dead_letters: dict[int, DeadLetter] = {}
        for result in map(self._decoded, readings):
            if isinstance(result, DeadLetter):
                if decoded:
                    break
                dead_letters[len(dead_letters)] = result
            elif dead_letters:
                break
            else:
                decoded.append(result)
        return TransformResults([], dead_letters) if dead_letters else self._transform.transform_all(decoded)

    def _agree(self, properties: set[bytes]) -> bool:
        """Whether the properties of messages agree with the contract; those that do are remembered."""
        new = properties - self._agreed
        with suppress(ValidationError):
            for each in new:
                stated_gzip(self._encoding, each)
            if len(self._agreed) < MAX_AGREED:
                self._agreed |= new
            return True
        return False

    def _decoded(self, reading: Reading) -> Reading | DeadLetter:
        if reading.size >= 0 or len(reading.payload) > self._limit:
            return reading  # it is too large
        try:
            if self._is_direct:
                stated_gzip(self._encoding, reading.properties)
                return reading
            return structs.replace(reading, payload=as_json(self._encoding, reading, self._limit))
        except ValidationError as error:
            return error.dead_letter()
        except Exception as error:  # noqa: BLE001 - a bug here: one dead letter, not a service that restarts for ever
            return fault(error)
