"""A payload that is an array of readings: a record for each, in order, under one acknowledgement.

All or nothing. When one element does not fit, the whole message is one dead letter, whose pointer begins with the
element's index: `/3/value`. It holds the original bytes, so nothing is lost, and `gateway dlq replay` has one message
to send. Forwarding the valid elements would need dead letters whose bytes were never published as a message; and a
consumer would see an incomplete batch, which is harder to notice than a missing one. A stream that goes to several
topics follows the same rule. An array without elements is a dead letter too.

Each element is cut out as the bytes that were sent, and transformed as a message of its own: the compiled path, the
rule for repeated members and the depth limit are those of any reading. Topic and properties are the message's, and
each record gets their values. With long ones, a thousand short elements would make far more bytes than arrived:
therefore both the bytes and the number of the records are limited, so that librdkafka's queue can hold them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from gateway.core.codec.json_text import check_nesting, parse
from gateway.core.codec.payload_schema import rules_of_array
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import DeadLetter, Reading, Reason, Record, TransformResults, transform_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.fan_out import FanOut
    from gateway.core.transform import Transform

MAX_ELEMENTS = 10_000
AT_ONCE = 64  # elements that are transformed before the size of their records is checked
MAX_BYTES = 16 * 2**20  # of the keys, values and headers of a message's records

_cut_out = msgspec.json.Decoder(list[msgspec.Raw]).decode


def elements(payload: bytes) -> list[bytes]:
    """Cut an array into the JSON texts of its elements, at least one; raises ValidationError if it is not one."""
    check_nesting(payload)
    try:
        raw = _cut_out(payload)
    except msgspec.DecodeError as error:
        raise _array_error(payload, error) from None
    if not raw:
        raise ValidationError(Reason.EMPTY, "the array holds no reading")
    if len(raw) > MAX_ELEMENTS:
        raise ValidationError(Reason.TOO_LARGE, f"{len(raw)} readings in one array; the limit is {MAX_ELEMENTS}")
    return [bytes(element) for element in raw]


def _array_error(payload: bytes, error: msgspec.DecodeError) -> ValidationError:
    """Find the reason with the strict parser, which raises one of its own."""
    value = parse(payload)
    if not isinstance(value, list):
        return ValidationError(Reason.WRONG_TYPE, "expected an array of readings")
    return ValidationError(Reason.NOT_JSON, str(error))


class ArrayTransform:
    """Checks and encodes the readings of a stream whose messages hold several.

    `payload_limit` is in bytes, `schema` the JSON Schema of the array, if it has one.
    """

    def __init__(self, transform: Transform | FanOut, payload_limit: int, schema: Any = None) -> None:
        self._transform = transform
        self._payload_limit = payload_limit
        self._rules = rules_of_array(schema)

    def __call__(self, reading: Reading) -> list[Record] | DeadLetter:
        """Transform one message: give its records, or why there are none."""
        if not reading.payload or reading.size >= 0 or len(reading.payload) > self._payload_limit:
            return self._transform_whole(reading)
        try:
            self._transform.check_message(reading)
            payloads = elements(reading.payload)
        except ValidationError as error:
            return error.dead_letter()
        records: list[Record] = []
        room = MAX_BYTES
        first = 0
        while first < len(payloads):
            some = [structs.replace(reading, payload=payload) for payload in payloads[first : first + AT_ONCE]]
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
        if self._rules and (violation := self._rules.error(list(map(parse, payloads)))):
            return violation.dead_letter()
        return records

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[list[Record]]:
        """Transform messages, from the first on, as many as make many records."""
        return transform_each(self, readings)

    def _transform_whole(self, reading: Reading) -> list[Record] | DeadLetter:
        """Transform a message whose payload is empty, cut or too long, so that there is no array to read."""
        result = self._transform(reading)
        return [result] if isinstance(result, Record) else result


def _size(record: Record) -> int:
    return len(record.key) + len(record.value or b"") + sum([len(value or b"") for _, value in record.headers])


def _placed(dead_letter: DeadLetter, index: int) -> DeadLetter:
    """Let the pointer begin at the whole message."""
    return structs.replace(dead_letter, pointer=f"/{index}{dead_letter.pointer}")
