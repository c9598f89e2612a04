"""A payload that is an array of readings: a record of each, in order, under one acknowledgement.

All or nothing. When one element does not fit, the whole message is one dead letter, whose pointer begins with the
element's index: `/3/value`. It holds the bytes as they came, so nothing is lost, and `gateway dlq replay` has one thing
to send again. To let the others through would need dead letters that are no messages, of bytes that nobody published;
and a consumer would see a batch with a hole, which is harder to notice than one that is not there. A stream that goes
to several topics keeps to the same rule. An array without elements is no reading, and is a dead letter too.

Each element is cut out as the bytes it was sent as, and judged as if it had come alone: the compiled path, the rule for
members that stand twice, and the limit of the depth are those of any reading. Topic and properties are the message's,
and each record has what they say. Beside long ones a thousand short elements would be far more than what arrived: so
there is a limit to the bytes of the records as well as to their number, and librdkafka's queue can hold them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from gateway.core.codec.json_text import check_nesting, parse
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import DeadLetter, Reading, Reason, Record, TransformResults, transform_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.fan_out import FanOut
    from gateway.core.transform import Transform

MAX_ELEMENTS = 10_000
AT_ONCE = 64  # elements that are results before it is looked how large their records are
MAX_BYTES = 16 * 2**20  # of the keys, values and headers of a message's records

_OF_THE_TOPIC = {Reason.BAD_TOPIC, Reason.UNMAPPED_TOPIC}
_cut_out = msgspec.json.Decoder(list[msgspec.Raw]).decode


def elements(payload: bytes) -> list[bytes]:
    """Take an array apart.

    Args:
        payload: the MQTT message's bytes.

    Returns:
        The JSON text of each element, one at least.

    Raises:
        ValidationError: EMPTY, BAD_ENCODING, TOO_DEEP, NOT_JSON, TOO_LARGE, or WRONG_TYPE when it is no array.
    """
    check_nesting(payload)
    try:
        found = _cut_out(payload)
    except msgspec.DecodeError as error:
        raise _why(payload, error) from None
    if not found:
        raise ValidationError(Reason.EMPTY, "there is no reading in the array")
    if len(found) > MAX_ELEMENTS:
        raise ValidationError(Reason.TOO_LARGE, f"{len(found)} readings in one array; the limit is {MAX_ELEMENTS}")
    return [bytes(element) for element in found]


def _why(payload: bytes, error: msgspec.DecodeError) -> ValidationError:
    """Let the parser that tells people what is wrong have its say."""
    value = parse(payload)
    if not isinstance(value, list):
        return ValidationError(Reason.WRONG_TYPE, "expected an array of readings")
    return ValidationError(Reason.NOT_JSON, str(error))


class ArrayTransform:
    """Judges and encodes the readings of a stream whose messages hold several.

    Args:
        transform: judges one of them.
        payload_limit: bytes; a longer payload is a dead letter TOO_LARGE.
    """

    def __init__(self, transform: Transform | FanOut, payload_limit: int) -> None:
        self._transform = transform
        self._payload_limit = payload_limit

    def __call__(self, reading: Reading) -> list[Record] | DeadLetter:
        """Judge one message.

        Args:
            reading: of this transform's stream.

        Returns:
            The records to produce, or why there are none.
        """
        if not reading.payload or reading.size >= 0 or len(reading.payload) > self._payload_limit:
            return self._judge(reading)  # it has no array to look at
        try:
            self._transform.check_headers(reading)
            found = elements(reading.payload)
        except ValidationError as error:
            return error.dead_letter()
        records: list[Record] = []
        room = MAX_BYTES
        first = 0
        while first < len(found):
            some = [structs.replace(reading, payload=element) for element in found[first : first + AT_ONCE]]
            results = self._transform.transform_all(some)
            if results.dead_letters:
                place = min(results.dead_letters)
                return _placed(results.dead_letters[place], first + place)
            first += results.readings
            new = [record for each in results.records for record in (each if isinstance(each, list) else [each])]
            records += new
            room -= sum(map(_size, new))
            if room < 0:
                return DeadLetter(Reason.TOO_LARGE, "", f"its records have more than {MAX_BYTES} bytes")
        return records

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[list[Record]]:
        """Judge messages, as many as make many records."""
        return transform_each(self, readings)

    def _judge(self, reading: Reading) -> list[Record] | DeadLetter:
        result = self._transform(reading)
        return [result] if isinstance(result, Record) else result


def _size(record: Record) -> int:
    return len(record.key) + len(record.value or b"") + sum([len(value or b"") for _, value in record.headers])


def _placed(letter: DeadLetter, index: int) -> DeadLetter:
    """Let the pointer begin at the whole message."""
    if letter.reason in _OF_THE_TOPIC:
        return letter
    return structs.replace(letter, pointer=f"/{index}{letter.pointer}")
