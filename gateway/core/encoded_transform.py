"""The outermost transform of a stream: it refuses messages of another encoding, and decodes those of its own.

MessagePack, CBOR and gzip become JSON text before anything else reads them (`encoding.py`). So all that follows is the
same for every encoding: the choice of a message, arrays, the codec, reasons and pointers. MessagePack of one reading in
each message goes to its codec as it is, which is as fast as JSON.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import structs

from gateway.core.codec.validation_error import ValidationError
from gateway.core.encoding import UNSTATED, as_json, begins_like_gzip, stated_gzip
from gateway.core.reading import DeadLetter, Reading, Reason, TransformResults, fault

if TYPE_CHECKING:
    from gateway.core.array import ArrayTransform
    from gateway.core.choice_transform import ChoiceTransform
    from gateway.core.encoding import Encoding
    from gateway.core.fan_out import FanOut
    from gateway.core.reading import Result
    from gateway.core.transform import Transform

# Sets of properties that are remembered, and bytes of one; devices usually send the same with each message.
MAX_AGREED, LONGEST_AGREED = 1_000, 200


class EncodedTransform:
    """Decodes the payloads of a stream for its transform; with `is_direct` that reads them as they are."""

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
        self._agreed = set[bytes]()
        self._limit = payload_limit

    def __call__(self, reading: Reading) -> Result:
        """Transform one reading: give its record or records, why there are none, or that it is ignored."""
        decoded = self._decoded(reading)
        if isinstance(decoded, DeadLetter):
            return decoded
        result = self._transform(decoded)
        return _supposing_gzip(result, decoded) if isinstance(result, DeadLetter) else result

    def transform_all(self, readings: list[Reading]) -> TransformResults[Any]:
        """Transform readings, from the first on, as many as the transform does at once."""
        properties = {each.properties for each in readings if each.properties}  # faster than map
        if not self._is_direct or (properties and not self._agree(properties)):
            return self._transform_some(readings)
        results = self._transform.transform_all(readings)
        for place, dead_letter in results.dead_letters.items():
            results.dead_letters[place] = _supposing_gzip(dead_letter, readings[place])
        return results

    def _transform_some(self, readings: list[Reading]) -> TransformResults[Any]:
        """Transform those that can be decoded, and put the dead letters of the others between them."""
        decoded = list(map(self._decoded, readings))
        places = [place for place, result in enumerate(decoded) if isinstance(result, Reading)]
        results = self._transform.transform_all([result for result in decoded if isinstance(result, Reading)])
        done = len(readings) if results.readings == len(places) else places[results.readings]
        dead_letters = {place: each for place, each in enumerate(decoded[:done]) if isinstance(each, DeadLetter)}
        dead_letters |= {places[number]: dead_letter for number, dead_letter in results.dead_letters.items()}
        ignored = tuple([places[number] for number in results.ignored])
        return TransformResults(results.records, dict(sorted(dead_letters.items())), ignored)

    def _agree(self, properties: set[bytes]) -> bool:
        """Whether the properties of messages agree with the contract; those that do are remembered."""
        new = properties - self._agreed
        with suppress(ValidationError):
            for each in new:
                stated_gzip(self._encoding, each)
            if len(self._agreed) < MAX_AGREED:
                self._agreed.update(each for each in new if len(each) <= LONGEST_AGREED)
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


def _supposing_gzip(dead_letter: DeadLetter, reading: Reading) -> DeadLetter:
    """Name gzip as the likely cause where a payload was read as something else."""
    if dead_letter.reason == Reason.TOO_LARGE or not begins_like_gzip(reading.payload):
        return dead_letter
    return structs.replace(dead_letter, detail=f"{dead_letter.detail}; {UNSTATED}")
