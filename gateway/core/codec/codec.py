"""A stream's codec: payload and topic parameters in; key, Avro body, event time, sequence number and counters out.

There are two paths with one result. The compiled path (`compiled.py`) has code for success only. Any reading that it
does not take at once goes through the precise path (`json_text.py`, `precise_encoder.py`), which alone decides what is
a dead letter, why and where.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.compiled import Compiled, compile_fast
from gateway.core.codec.event_time import event_time
from gateway.core.codec.field_value import FieldValue
from gateway.core.codec.key import Key
from gateway.core.codec.native_program import compile_native
from gateway.core.codec.payload_schema import rules_of
from gateway.core.codec.precise_encoder import compile_encoder, member
from gateway.core.codec.scalar_payload import reader, unwrapped
from gateway.core.codec.unsupported import FallBack, UnsupportedSchemaError
from gateway.core.codec.validation_error import ValidationError, pointer, shown, tokens
from gateway.core.codec.value_reader import reader_of, reader_of_level
from gateway.core.reading import DeadLetter, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.codec.conversion import Conversion, Encode, Encoded, Prepared
    from gateway.core.codec.value_reader import ValueReader
    from gateway.core.reading import Counts


class Codec:
    """Checks and encodes the readings of one stream; a pointer that leads to no field of the record raises KeyError.

    Args:
        conversion: what the contract says of payload and record.
        is_fast: False to leave the compiled path out, for tests and comparisons.
        is_native: False to leave its encoder in C out, likewise.

    Attributes:
        prepare: makes of a topic's parameter values what the compiled path takes.
        fast: the compiled path: payload and prepared topic in; it raises, anything, when it does not take the payload.
        is_native: `fast` is in C, and asks the compiled path in Python about what it does not take.
        not_fast_because: why there is no compiled path; empty when there is one.
    """

    def __init__(self, conversion: Conversion, *, is_fast: bool = True, is_native: bool = True) -> None:
        record = conversion.record
        self._conversion = conversion
        self._read = reader(conversion.whole_field, conversion.content)
        self._is_whole = conversion.whole_field is not None
        self._prefix = conversion.prefix
        self._rules = rules_of(conversion)
        self._encode = compile_encoder(record, conversion.unread)
        self._key = Key(record, conversion.keys, conversion.separator)
        self._event_time = event_time(record, conversion.event_time) if conversion.event_time else None
        self._sequence = tokens(conversion.sequence) if conversion.sequence else None
        counting = (each for each in record.fields if self._sequence and each.paths == (self._sequence,))
        self._counter = next(filter(None, map(reader_of, counting)), None)
        self._counters = [
            (FieldValue(record, pointer(rule.names)), FieldValue(record, pointer(rule.meter)) if rule.meter else None)
            for rule in conversion.counters
        ]
        paths = [tokens(pointer) if pointer else None for pointer in conversion.parameters]
        self._parameters = [(path, reader_of_level(record.fields, path) if path else None) for path in paths]
        self.fast: Encode = _fall_back
        self.prepare: Callable[[Sequence[str]], Prepared] = tuple
        self.is_native = False
        self.not_fast_because = "" if is_fast else "it is switched off"
        if is_fast:
            try:
                self.prepare, self.fast = compile_fast(conversion, self._rules)
            except UnsupportedSchemaError as error:
                self.not_fast_because = str(error)
            else:
                native = compile_native(conversion, self._rules, self.prepare, self.fast) if is_native else None
                self.is_native = native is not None
                self.prepare, self.fast = native or (self.prepare, self.fast)

    @cached_property
    def parsed(self) -> Compiled:
        """The compiled path that takes the payload and what `parse_plain` gives of it, which it changes."""
        if self.not_fast_because:
            return Compiled(tuple, _fall_back)
        return compile_fast(self._conversion, self._rules, is_parsed=True)

    def encode(self, payload: bytes, values: tuple[str, ...] = ()) -> Encoded | DeadLetter:
        """Check and encode a payload with the topic's parameter values; it never raises on data."""
        try:
            return self.fast(payload, self.prepare(values))
        except Exception:  # noqa: BLE001 - the compiled path may raise anything; the precise path finds the reason
            return self.encode_precisely(payload, values)

    def encode_precisely(self, payload: bytes, values: tuple[str, ...] = ()) -> Encoded | DeadLetter:
        """Do the same as `encode` on the precise path."""
        try:
            value = self._read(payload)
            error = self._applied(value)
            for (path, read), text in zip(self._parameters, values, strict=True):
                if path and type(value) is dict:
                    _tie(value, path, text, read)
            out = bytearray(self._prefix)
            self._encode(value, out)
            if error:
                raise error
            moment = self._event_time.of(value) if self._event_time else None
            return self._key.of(value, values), bytes(out), moment, self._number(value), self._counts(value)
        except ValidationError as error:
            return (unwrapped(error) if self._is_whole else error).dead_letter()

    def _applied(self, value: Any) -> ValidationError | None:
        """Apply the payload's schema: decode its texts, and give the first error; the encoder's own come before it."""
        if self._rules is None:
            return None
        sent = value[PAYLOAD] if self._is_whole else value
        error, decoded = self._rules.error(sent), self._rules.decoded(sent)
        if self._is_whole:
            value[PAYLOAD] = decoded
        return error

    def _number(self, value: Any) -> int | None:
        try:
            number = None if self._sequence is None else member(value, self._sequence)
            number = self._counter.before_factor(number) if self._counter else number
        except ValidationError:  # a sequence number never refuses a reading that its schema accepts
            return None
        return number if type(number) is int and number >= 0 else None

    def _counts(self, value: Any) -> Counts | None:
        if not self._counters:
            return None
        pairs = ((_count(field.of(value)), meter.of(value) if meter else None) for field, meter in self._counters)
        return tuple([each for pair in pairs for each in pair])


def _count(found: Any) -> float | None:
    """Give the number of a counter; None for null, and for the default of a decimal, which is no JSON number."""
    return float(found) if type(found) is Decimal else found if type(found) is int or type(found) is float else None


def _fall_back(_payload: bytes, _prepared: Prepared, _parsed: Any = None) -> NoReturn:
    raise FallBack


def _tie(value: dict[str, Any], path: tuple[str, ...], text: str, read: ValueReader | None) -> None:
    """Compare one member with the topic: fill it in when it is absent, raise when it is different.

    What the field reads as a number or a truth value is compared as such: 1, "1" and "01" are the level 1.
    """
    for token in path[:-1]:
        value = value.get(token, {})
        if type(value) is not dict:
            return  # the schema will say what it expected there
    found = value.setdefault(path[-1], text)
    try:
        is_other = read(found) not in {None, read(text)} if read else type(found) is str and found != text
    except ValidationError as error:
        raise error.under(*path) from None
    except TypeError:
        return  # it is an object or an array, which the schema refuses
    if is_other:
        raise ValidationError(Reason.TOPIC_MISMATCH, f"the topic says {shown(text)}, the payload {shown(found)}", *path)
