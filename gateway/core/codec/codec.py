"""A stream's codec: payload and topic parameters in, key and Avro body out, or a dead letter.

Two paths with one verdict. The compiled path (`compiled.py`) knows only success: whatever it does not take at once goes
through the precise path (`json_text.py`, `avro.py`), which alone decides what is a dead letter, why and where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gateway.core.codec.compiled import Encode, Prepared, compile_fast
from gateway.core.codec.key import Key
from gateway.core.codec.precise_encoder import Unknown, compile_encoder, normal_form
from gateway.core.codec.scalar_payload import Content, reader, unwrapped, whole_field
from gateway.core.codec.unsupported import FallBack, UnsupportedSchemaError
from gateway.core.codec.validation_error import ValidationError, shown, tokens
from gateway.core.reading import DeadLetter, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Codec:
    """Checks and encodes the readings of one stream.

    Args:
        schema: JSON of the record's Avro schema, `x-source` attributes included.
        keys: JSON pointers into the record, tried in order.
        parameters: for each parameter of the address a JSON pointer into the payload, or None: where the payload
            says the same. Filled in when absent, refused when different.
        unknown: what to do with members that no field reads.
        prefix: what stands before the Avro body in the record's value.
        content: what the payload is written in.
        is_fast: False to leave the compiled path out, for tests and comparisons.

    Attributes:
        prepare: makes of a topic's values what the compiled path takes.
        fast: the compiled path: payload and prepared topic in, key and value out; it raises, anything, when it does
            not take the payload.

    Raises:
        fastavro.schema.SchemaParseException: when the schema is no valid Avro schema.
        KeyError: when a key's pointer names no field.
    """

    def __init__(  # noqa: PLR0913 - what the contract says of a stream's payload
        self,
        schema: dict[str, Any],
        keys: tuple[str, ...],
        parameters: Sequence[str | None] = (),
        unknown: Unknown = "reject",
        prefix: bytes = b"",
        *,
        content: Content = "json",
        is_fast: bool = True,
    ) -> None:
        normal = normal_form(schema)
        self._read = reader(normal, content)
        self._is_whole = whole_field(normal) is not None
        self._prefix = prefix
        self._encode = compile_encoder(schema, unknown)
        self._key = Key(normal, keys)
        self._parameters = [tokens(pointer) if pointer else None for pointer in parameters]
        self.fast: Encode = _leave_to_precise
        self.prepare: Callable[[Sequence[str]], Prepared] = tuple
        self.not_fast_because = "" if is_fast else "it is switched off"
        if is_fast:
            try:
                self.prepare, self.fast = compile_fast(normal, keys, parameters, unknown, prefix, content)
            except UnsupportedSchemaError as error:
                self.not_fast_because = str(error)

    def encode(self, payload: bytes, values: tuple[str, ...] = ()) -> tuple[bytes, bytes] | DeadLetter:
        """Check and encode one reading.

        Args:
            payload: the MQTT message's bytes.
            values: the parameters' values from the topic.

        Returns:
            The record's key and value, or why the reading does not fit. It never raises on data.
        """
        try:
            return self.fast(payload, self.prepare(values))
        except Exception:  # noqa: BLE001 - the compiled path raises anything it likes; the precise path tells why
            return self.encode_precisely(payload, values)

    def encode_precisely(self, payload: bytes, values: tuple[str, ...] = ()) -> tuple[bytes, bytes] | DeadLetter:
        """Do the same as `encode` on the precise path."""
        try:
            value = self._read(payload)
            for path, text in zip(self._parameters, values, strict=True):
                if path and type(value) is dict:
                    _tie(value, path, text)
            out = bytearray(self._prefix)
            self._encode(value, out)
            return self._key.of(value), bytes(out)
        except ValidationError as error:
            return (unwrapped(error) if self._is_whole else error).dead_letter()


def _leave_to_precise(_payload: bytes, _prepared: Prepared) -> NoReturn:
    raise FallBack


def _tie(value: dict[str, Any], path: tuple[str, ...], text: str) -> None:
    """Let topic and payload agree on one member: filled in when absent, a error when different."""
    for token in path[:-1]:
        value = value.get(token, {})
        if type(value) is not dict:
            return  # the schema will say what it expected there
    found = value.setdefault(path[-1], text)
    if type(found) is str and found != text:
        raise ValidationError(Reason.TOPIC_MISMATCH, f"the topic says {shown(text)}, the payload {shown(found)}", *path)
