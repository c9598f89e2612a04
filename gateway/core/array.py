"""A message that holds several readings: a record for each, in order, under one acknowledgement.

`record_path.py` cuts them out, of a plain array or of any place in the message.

All or nothing. When one reading does not fit, the whole message is one dead letter, whose pointer begins at the whole
message: `/3/value` in a plain array. It holds the original bytes, so nothing is lost, and `gateway dlq replay` has one
message to send. Forwarding the valid readings would need dead letters whose bytes were never published as a message;
and a consumer would see an incomplete batch, which is harder to notice than a missing one. A stream that goes to
several topics follows the same rule. A message without readings is a dead letter too.

Each reading is transformed as a message of its own: the compiled path, the rule for repeated members and the depth
limit are those of any reading. Topic, properties and what is read of the message around them are the same for all, and
each record gets their values. With long ones, a thousand short readings would make far more bytes than arrived:
therefore both the bytes and the number of the records are limited, so that librdkafka's queue can hold them all.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import structs

from gateway.core.codec.compiled import parse_plain
from gateway.core.codec.json_text import parse
from gateway.core.codec.validation_error import ValidationError, pointer, tokens
from gateway.core.message_schema import only_counts, rules_around, unread_around
from gateway.core.reading import DeadLetter, Reading, Reason, Record, TransformResults, transform_each
from gateway.core.record_path import MAX_BYTES, RecordPath

if TYPE_CHECKING:
    from gateway.core.fan_out import FanOut
    from gateway.core.model import Stream
    from gateway.core.record_path import Group
    from gateway.core.transform import Transform

AT_ONCE = 64  # readings that are transformed before the size of their records is checked


class ArrayTransform:
    """Checks and encodes the readings of a stream whose messages hold several; `payload_limit` is in bytes."""

    def __init__(self, transform: Transform | FanOut, payload_limit: int, stream: Stream) -> None:
        record = stream.route.avro.record
        self._transform = transform
        self._payload_limit = payload_limit
        self._path = RecordPath(stream.steps, record, unread_around(stream.array_schema))
        self._rules = rules_around(stream.array_schema, stream.steps, record)
        self._only_counts = self._rules is not None and only_counts(self._rules)

    def __call__(self, reading: Reading) -> list[Record] | DeadLetter:
        """Transform one message: give its records, or why there are none."""
        if not reading.payload or reading.size >= 0 or len(reading.payload) > self._payload_limit:
            return self._transform_whole(reading)
        try:
            self._transform.check_message(reading)
            groups = self._path.cut(reading.payload)
        except ValidationError as error:
            return error.dead_letter()
        texts = groups[0].texts if len(groups) == 1 else [text for group in groups for text in group.texts]
        records: list[Record] = []
        room = MAX_BYTES
        first = 0
        while first < len(texts):
            some = [structs.replace(reading, payload=text) for text in texts[first : first + AT_ONCE]]
            results = self._transform.transform_all(some)
            if results.dead_letters:
                number = min(results.dead_letters)
                return self._placed(results.dead_letters[number], groups, first + number)
            first += results.readings
            new = [record for each in results.records for record in (each if isinstance(each, list) else [each])]
            records += new
            room -= sum(map(_size, new))
            if room < 0:
                return DeadLetter(Reason.TOO_LARGE, "", f"its records have more than {MAX_BYTES} bytes")
        return self._violation(reading.payload) or records

    def _violation(self, payload: bytes) -> DeadLetter | None:
        """Apply the rules of the message around the readings, which all fit."""
        if self._rules is None:
            return None
        if self._only_counts:  # for which the values need not be exact
            with suppress(Exception):
                if self._rules.error(parse_plain(payload)) is None:
                    return None
        violation = self._rules.error(parse(payload))
        return violation.dead_letter() if violation else None

    def transform_all(self, readings: list[Reading]) -> TransformResults[list[Record]]:
        """Transform messages, from the first on, as many as make many records."""
        return transform_each(self, readings)

    def _transform_whole(self, reading: Reading) -> list[Record] | DeadLetter:
        """Transform a message whose payload is empty, cut or too long, so that there is no array to read."""
        result = self._transform(reading)
        return [result] if isinstance(result, Record) else result

    def _placed(self, dead_letter: DeadLetter, groups: list[Group], number: int) -> DeadLetter:
        """Let the pointer begin at the whole message."""
        path = self._path.place(groups, number, tokens(dead_letter.pointer))
        return structs.replace(dead_letter, pointer=pointer(path))


def _size(record: Record) -> int:
    return len(record.key) + len(record.value or b"") + sum([len(value or b"") for _, value in record.headers])
