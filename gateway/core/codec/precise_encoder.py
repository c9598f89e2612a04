"""Avro schema -> encoder: check a JSON value against the schema and write it, in one walk.

One encoder a schema node, made once: `encoder(value, out)` appends the value's Avro bytes to `out` or raises
ValidationError. Nothing is silent: no type is coerced but an integer where a float is asked for, and that only when the
float holds it exactly. Fractions round to the nearest float, as every JSON reader does.

How JSON says what JSON has no type for:

    bytes, fixed       text of the code points 0 to 255, one a byte (as in Avro's own JSON encoding)
    union              the plain value; the first branch in schema order that takes it
    timestamp-*        ISO 8601 text with zone, or an integer in the type's unit
    local-timestamp-*  ISO 8601 text without zone, or an integer
    date, time-*       ISO 8601 text, or an integer (days; units since midnight)
    decimal            a number; text is refused, because JSON numbers are exact here
    uuid               text in the 8-4-4-4-12 form

fastavro's writer lost here: it coerces (1.5 to 1, True to 1, "21.5" to 21.5) and takes its own choice of a union's
branch, so every value would be checked by one rule and written by another. It is the oracle in the tests.

Sources of a record's fields: a field reads the member of its name, or what `x-source` names, a JSON pointer from the
record's own object: `$message.payload#/1-0:1.8.0/value`. A list is tried in order. The bare `$message.payload#` on a
map field collects the members that no other field reads; on any other field it is the payload as a whole
(`whole.py`), which then is no object of members but stands in one, under the name `PAYLOAD`. An object with
`location`, any of these, and `factor` gives a number in another unit (`scale.py`); a default is in the field's own.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from math import isinf
from typing import Any, Literal, NamedTuple

from fastavro.schema import parse_schema

from gateway.core.codec import logical
from gateway.core.codec.json_text import Unrepresentable, parse
from gateway.core.codec.scale import Factor
from gateway.core.codec.validation_error import ValidationError, shown, tokens
from gateway.core.reading import Reason

Encoder = Callable[[Any, bytearray], None]
Unknown = Literal["reject", "ignore"]
Schema = Any  # the JSON of an Avro schema: a name, a union's list, or an object

SOURCE = "x-source"
PAYLOAD = "$message.payload#"
INTEGRAL = {"int", "long"}

ABSENT: Any = object()
_JSON_KINDS = {type(None): "null", bool: "a boolean", int: "an integer", Decimal: "a number with a fraction",
               Unrepresentable: "a number", str: "text", list: "an array", dict: "an object"}  # fmt: skip
_HIGH = range(0x80, 0x100)  # bytes of a varint that another one follows
_PAIRS = [(second << 8 | first).to_bytes(2, "little") for second in _HIGH for first in _HIGH]
_LAST = [bytes((only,)) for only in range(0x80)]
_LAST += [(second << 8 | first).to_bytes(2, "little") for second in range(1, 0x80) for first in _HIGH]
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")


def compile_encoder(schema: Schema, unknown: Unknown = "reject") -> Encoder:
    """Make the encoder of a schema.

    Args:
        schema: the JSON of an Avro schema.
        unknown: what records do with members that no field reads.

    Returns:
        The encoder: it appends Avro bytes to the given bytearray, or raises ValidationError.

    Raises:
        fastavro.schema.SchemaParseException: when the schema is no valid Avro schema.
    """
    return _Compiler(normal_form(schema), unknown).encode


def encode_default(schema: Schema, field: dict[str, Any], *, logical: bool = False) -> bytes:
    """Write the default of a field.

    Args:
        schema: in normal form; where the named types are defined that the field's type may refer to.
        field: a field with a default.
        logical: True to read it as if a payload said it; Avro reads a default without regard to logical types.

    Returns:
        The default's Avro bytes.

    Raises:
        ValidationError: when the field's type does not take it.
    """
    out = bytearray()
    default = parse(json.dumps(field["default"]).encode())
    _Compiler(schema, "reject", logical=logical).encoder(field["type"])(default, out)
    return bytes(out)


def normal_form(schema: Schema) -> Schema:
    """Resolve names: every name full, every named type defined where it is first used; attributes stay.

    Raises:
        fastavro.schema.SchemaParseException: when the schema is no valid Avro schema.
    """
    return parse_schema(schema, _force=True)


def long(value: int) -> bytes:
    """Write an Avro int or long: zigzag, then seven bits a byte (Avro 1.12, "Binary Encoding"), here two by two."""
    value = (value << 1) ^ (value >> 63)
    if value < 0x4000:
        return _LAST[value]
    out = _PAIRS[value & 0x3FFF]
    value >>= 14
    while value >= 0x4000:
        out += _PAIRS[value & 0x3FFF]
        value >>= 14
    return out + _LAST[value]


def misplaced(expected: str, value: Any) -> ValidationError:
    """Say that a value has another JSON type than asked for."""
    return ValidationError(Reason.WRONG_TYPE, f"expected {expected}, got {_JSON_KINDS[type(value)]}")


class Source(NamedTuple):
    """Where a record's field stands in the JSON object: tokens from the object, or a collector of the rest."""

    paths: tuple[tuple[str, ...], ...]

    @property
    def collects(self) -> bool:
        """True for the field that takes the members no other field reads."""
        return self.paths == ((),)


def source(field: dict[str, Any]) -> Source:
    """Read a field's place in the JSON object.

    Args:
        field: a field of an Avro record.

    Returns:
        Its source; without `x-source` the member of the field's name.
    """
    given = location(field)
    if given is None:
        return Source(((field["name"],),))
    if takes_whole(field):
        return Source(((PAYLOAD,),))
    expressions = [given] if isinstance(given, str) else given
    return Source(tuple(tokens(expression.removeprefix(PAYLOAD)) for expression in expressions))


def location(field: dict[str, Any]) -> Any:
    """Give what a field says of its place: an expression, a list of them, or None for the member of its name."""
    given = field.get(SOURCE)
    return given.get("location") if isinstance(given, dict) else given


def takes_whole(field: dict[str, Any]) -> bool:
    """Tell whether a field takes the payload as a whole."""
    kind = field["type"]
    return location(field) == PAYLOAD and not (isinstance(kind, dict) and kind["type"] == "map")


def factor(field: dict[str, Any]) -> Factor | None:
    """Give what multiplies the numbers of a field; None for one that takes them as they are."""
    given = field.get(SOURCE)
    if not isinstance(given, dict) or "factor" not in given:
        return None
    return Factor(Decimal(str(given["factor"])), is_integral=not INTEGRAL.isdisjoint(_underlying(field["type"])))


def _underlying(schema: Schema) -> Iterable[str]:
    """Name the types under a type, logical or not; a named type by its name."""
    if isinstance(schema, list):
        return [name for branch in schema for name in _underlying(branch)]
    return [schema] if isinstance(schema, str) else _underlying(schema["type"])


class _Field(NamedTuple):
    name: str
    source: Source
    encode: Encoder
    default: Callable[[], bytes] | None


class _Compiler:
    """Walks a schema once. Named types are looked up when a value is written, so recursive ones find themselves.

    Args:
        schema: in normal form.
        unknown: what records do with members that no field reads.
        logical: False for defaults, which Avro writes without regard to logical types.
    """

    def __init__(self, schema: Schema, unknown: Unknown, *, logical: bool = True) -> None:
        self._schema = schema
        self._unknown = unknown
        self._logical = logical
        self._named: dict[str, Encoder] = {}
        self.encode = self.encoder(schema)

    def encoder(self, schema: Schema) -> Encoder:
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return _PRIMITIVES.get(schema) or self._reference(schema)
        encode = (self._logical and logical_encoder(schema)) or self._by_type(schema)
        if "name" in schema:
            self._named[schema["name"]] = encode
        return encode

    def _by_type(self, schema: dict[str, Any]) -> Encoder:
        match schema["type"]:
            case "record" | "error":
                return self._record(schema)
            case "enum":
                return _enum(schema["symbols"])
            case "fixed":
                return _fixed(schema["size"])
            case "array":
                return _array(self.encoder(schema["items"]))
            case "map":
                return _map(self.encoder(schema["values"]))
            case other:
                return self.encoder(other)

    def _reference(self, name: str) -> Encoder:
        named = self._named

        def encode_named(value: Any, out: bytearray) -> None:
            named[name](value, out)

        return encode_named

    def _record(self, schema: dict[str, Any]) -> Encoder:
        return _record([self._field(field) for field in schema["fields"]], self._unknown)

    def _field(self, field: dict[str, Any]) -> _Field:
        encode, scale = self.encoder(field["type"]), factor(field)
        return _Field(field["name"], source(field), _scaled(encode, scale) if scale else encode, self._default(field))

    def _default(self, field: dict[str, Any]) -> Callable[[], bytes] | None:
        if "default" not in field:
            return None

        return cache(lambda: encode_default(self._schema, field))

    def _union(self, branches: list[Schema]) -> Encoder:
        compiled = [(long(index), kind_of(branch), self.encoder(branch)) for index, branch in enumerate(branches)]
        null = next((index for index, kind, _ in compiled if kind == "null"), None)
        others = [(index, kind, encode) for index, kind, encode in compiled if kind != "null"]
        expected = " or ".join(kind for _, kind, _ in compiled)

        def encode_union(value: Any, out: bytearray) -> None:
            if value is None and null is not None:
                out += null
                return
            start, misfits = len(out), []
            for index, _, encode in others:
                out += index
                try:
                    encode(value, out)
                except ValidationError as error:
                    misfits.append(error)
                    del out[start:]
                else:
                    return
            raise _nearest(misfits) or misplaced(expected, value)

        return encode_union


def _nearest(misfits: list[ValidationError]) -> ValidationError | None:
    """Choose what to tell when no branch of a union takes a value: the one branch that had the right JSON type."""
    near = [error for error in misfits if error.reason != Reason.WRONG_TYPE or error.tokens]
    if len(misfits) == 1:
        return misfits[0]
    return near[0] if len(near) == 1 else None


def kind_of(schema: Schema) -> str:
    """Name a schema for people: its logical type, its type, or its name."""
    if isinstance(schema, dict):
        return str(schema.get("logicalType") or (schema["type"] if "name" not in schema else schema["name"]))
    return "union" if isinstance(schema, list) else str(schema)


def _scaled(encode: Encoder, scale: Factor) -> Encoder:
    def encode_scaled(value: Any, out: bytearray) -> None:
        encode(scale(value), out)

    return encode_scaled


# --- records -----------------------------------------------------------------------------------------------------


def _record(fields: list[_Field], unknown: Unknown) -> Encoder:
    members = _Members(path for field in fields for path in field.source.paths)
    collector = next((field.name for field in fields if field.source.collects), None)

    def encode_record(value: Any, out: bytearray) -> None:
        if type(value) is not dict:
            raise misplaced("an object", value)
        rest = members.rest(value) if unknown == "reject" or collector else {}
        if rest and not collector:
            raise ValidationError(Reason.EXTRA_FIELD, "no field of the schema reads this member", next(iter(rest)))
        for field in fields:
            _write_field(field, rest if field.source.collects else value, out)

    return encode_record


def _write_field(field: _Field, value: dict[str, Any], out: bytearray) -> None:
    for path in field.source.paths:
        found = member(value, path)
        if found is not ABSENT:
            try:
                field.encode(found, out)
            except ValidationError as error:
                raise error.under(*path) from None
            return
    if field.default is None:
        raise ValidationError(
            Reason.MISSING, f"field {field.name!r} is missing and has no default", *field.source.paths[0]
        )
    out += field.default()


def member(value: Any, path: tuple[str, ...]) -> Any:
    """Follow a path of member names.

    Returns:
        What stands there, or ABSENT.

    Raises:
        ValidationError: WRONG_TYPE when a value on the way is no object.
    """
    for depth, token in enumerate(path):
        if type(value) is not dict:
            raise misplaced("an object", value).under(*path[:depth])
        if token not in value:
            return ABSENT
        value = value[token]
    return value


class _Members:
    """The members of an object that some field reads, as a tree: name -> None when read whole, or its own tree."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        self._tree: dict[str, Any] = {}
        for path in filter(None, paths):
            node = self._tree
            for token in path[:-1]:
                node = node.setdefault(token, {})
            node[path[-1]] = None

    def rest(self, value: dict[str, Any]) -> dict[str, Any]:
        """Find the top-level members that no field reads; one inside a read member is a error at once."""
        rest = {}
        for name, member in value.items():
            if name not in self._tree:
                rest[name] = member
            elif type(member) is dict and (below := self._tree[name]) is not None:
                _refuse_unread(member, below, name)
        return rest


def _refuse_unread(value: dict[str, Any], tree: dict[str, Any], *place: str) -> None:
    for name, member in value.items():
        if name not in tree:
            raise ValidationError(Reason.EXTRA_FIELD, "no field of the schema reads this member", *place, name)
        if type(member) is dict and tree[name] is not None:
            _refuse_unread(member, tree[name], *place, name)


# --- containers, enums and fixed ---------------------------------------------------------------------------------


def _array(encode: Encoder) -> Encoder:
    def encode_array(value: Any, out: bytearray) -> None:
        if type(value) is not list:
            raise misplaced("an array", value)
        if value:
            out += long(len(value))
        for index, item in enumerate(value):
            try:
                encode(item, out)
            except ValidationError as error:
                raise error.under(str(index)) from None
        out.append(0)

    return encode_array


def _map(encode: Encoder) -> Encoder:
    def encode_map(value: Any, out: bytearray) -> None:
        if type(value) is not dict:
            raise misplaced("an object", value)
        if value:
            out += long(len(value))
        for name, item in value.items():
            _string(name, out)
            try:
                encode(item, out)
            except ValidationError as error:
                raise error.under(name) from None
        out.append(0)

    return encode_map


def _enum(symbols: list[str]) -> Encoder:
    written = {symbol: long(index) for index, symbol in enumerate(symbols)}

    def encode_enum(value: Any, out: bytearray) -> None:
        if type(value) is not str:
            raise misplaced("text", value)
        if value not in written:
            raise ValidationError(Reason.BAD_FORMAT, f"{shown(value)} is none of {', '.join(symbols)}")
        out += written[value]

    return encode_enum


def _fixed(size: int) -> Encoder:
    def encode_fixed(value: Any, out: bytearray) -> None:
        data = _code_points(value)
        if len(data) != size:
            raise ValidationError(Reason.BAD_FORMAT, f"expected {size} bytes, got {len(data)}")
        out += data

    return encode_fixed


# --- primitives --------------------------------------------------------------------------------------------------


def _null(value: Any, out: bytearray) -> None:  # noqa: ARG001 - null has no bytes
    if value is not None:
        raise misplaced("null", value)


def _boolean(value: Any, out: bytearray) -> None:
    if type(value) is not bool:
        raise misplaced("a boolean", value)
    out.append(value)


def _integer(name: str, low: int, high: int, what: str = "") -> Encoder:
    def encode_integer(value: Any, out: bytearray) -> None:
        if type(value) is not int:
            raise _no_integer(name, value)
        if not low <= value <= high:
            raise ValidationError(Reason.OUT_OF_RANGE, f"{shown(value)} is outside {what or name}: {low} to {high}")
        out += long(value)

    return encode_integer


def _no_integer(name: str, value: Any) -> ValidationError:
    if type(value) is Decimal:
        return ValidationError(Reason.NOT_EXACT, f"expected {name}, got a number with a fraction or an exponent")
    if type(value) is Unrepresentable:
        return ValidationError(Reason.OUT_OF_RANGE, f"a number of more digits than {name} has")
    return misplaced(f"an integer ({name})", value)


def _floating(name: str, pack: Callable[[float], bytes], unpack: Callable[[bytes], tuple[float]]) -> Encoder:
    def encode_floating(value: Any, out: bytearray) -> None:
        if type(value) is Unrepresentable:
            raise ValidationError(Reason.OUT_OF_RANGE, f"a number of more digits than {name} has")
        if type(value) is not int and type(value) is not Decimal:
            raise misplaced(f"a number ({name})", value)
        try:
            data = pack(float(value))
        except OverflowError:
            raise ValidationError(Reason.OUT_OF_RANGE, f"{shown(value)} is beyond {name}") from None
        (kept,) = unpack(data)
        if isinf(kept):
            raise ValidationError(Reason.OUT_OF_RANGE, f"the number is beyond {name}")
        if type(value) is int and kept != value:
            raise ValidationError(Reason.NOT_EXACT, f"{name} would turn the integer {shown(value)} into {kept!r}")
        out += data

    return encode_floating


def _string(value: Any, out: bytearray) -> None:
    if type(value) is not str:
        raise misplaced("text", value)
    data = value.encode()
    out += long(len(data))
    out += data


def _bytes(value: Any, out: bytearray) -> None:
    data = _code_points(value)
    out += long(len(data))
    out += data


def _code_points(value: Any) -> bytes:
    if type(value) is not str:
        raise misplaced("text of the code points 0 to 255", value)
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValidationError(
            Reason.BAD_FORMAT, f"character {error.start} is no byte: its code point is above 255"
        ) from None


RANGES = {
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "time-millis": (0, 86_400_000 - 1),
    "time-micros": (0, 86_400_000_000 - 1),
}
_INTEGERS = {name: _integer(name, *limits) for name, limits in RANGES.items()}
_PRIMITIVES: dict[str, Encoder] = {
    "null": _null,
    "boolean": _boolean,
    "int": _INTEGERS["int"],
    "long": _INTEGERS["long"],
    "float": _floating("float", _FLOAT.pack, _FLOAT.unpack),
    "double": _floating("double", _DOUBLE.pack, _DOUBLE.unpack),
    "string": _string,
    "bytes": _bytes,
}


# --- logical types -----------------------------------------------------------------------------------------------

TEXT_FORMS: dict[tuple[str, str], logical.ToInteger] = {
    ("int", "date"): logical.days,
    ("int", "time-millis"): logical.time_of_day(3),
    ("long", "time-micros"): logical.time_of_day(6),
    ("long", "timestamp-millis"): logical.timestamp(3, zoned=True),
    ("long", "timestamp-micros"): logical.timestamp(6, zoned=True),
    ("long", "timestamp-nanos"): logical.timestamp(9, zoned=True),
    ("long", "local-timestamp-millis"): logical.timestamp(3, zoned=False),
    ("long", "local-timestamp-micros"): logical.timestamp(6, zoned=False),
    ("long", "local-timestamp-nanos"): logical.timestamp(9, zoned=False),
}


def logical_encoder(schema: dict[str, Any]) -> Encoder | None:
    """Find the encoder of a logical type; None when the schema has none that is known and valid."""
    underlying, name = schema["type"], str(schema.get("logicalType"))
    if (underlying, name) in TEXT_FORMS:
        plain = _INTEGERS.get(name) or _INTEGERS[underlying]
        return _text_or_integer(TEXT_FORMS[underlying, name], plain)
    if name == "uuid" and (underlying == "string" or schema.get("size") == 16):
        return _uuid_text if underlying == "string" else _uuid_fixed
    if name == "decimal" and underlying in {"bytes", "fixed"} and isinstance(schema.get("precision"), int):
        return _decimal(schema["precision"], schema.get("scale", 0), schema.get("size"))
    return None


def _text_or_integer(read: logical.ToInteger, plain: Encoder) -> Encoder:
    def encode_text_or_integer(value: Any, out: bytearray) -> None:
        plain(read(value) if type(value) is str else value, out)

    return encode_text_or_integer


def _uuid_text(value: Any, out: bytearray) -> None:
    if type(value) is str:
        logical.uuid(value)
    _string(value, out)


def _uuid_fixed(value: Any, out: bytearray) -> None:
    if type(value) is not str:
        raise misplaced("text", value)
    out += logical.uuid(value)


def _decimal(precision: int, scale: int, size: int | None) -> Encoder:
    def encode_decimal(value: Any, out: bytearray) -> None:
        if type(value) is Unrepresentable:
            raise ValidationError(Reason.OUT_OF_RANGE, f"more than {precision} digits")
        if type(value) is not int and type(value) is not Decimal:
            raise misplaced("a number (decimal)", value)
        number = logical.unscaled(value, precision, scale)
        width = number.bit_length() // 8 + 1 if size is None else size  # one bit is the sign's
        if size is None:
            out += long(width)
        try:
            out += number.to_bytes(width, "big", signed=True)
        except OverflowError:
            raise ValidationError(Reason.OUT_OF_RANGE, f"more than fits {width} bytes") from None

    return encode_decimal
