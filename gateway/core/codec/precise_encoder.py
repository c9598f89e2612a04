"""Avro schema -> encoder: check a JSON value against the schema and write it, in one walk.

There is one encoder for each type of the schema: `encoder(value, out)` appends the value's Avro bytes to `out` or
raises ValidationError. A union takes the first branch in schema order that accepts the value. `primitives.py` and
`logical.py` say how JSON writes the values that it has no type for.

fastavro's writer was rejected: it coerces (1.5 to 1, True to 1, "21.5" to 21.5) and chooses a union's branch by its own
rules, so every value would be checked by one rule and written by another. It is the oracle in the tests.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.json_text import ABSENT, parse
from gateway.core.codec.primitives import ENCODERS, Encoder, code_points, long, string, wrong_type
from gateway.core.codec.unread import IGNORED, REFUSED, common
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.codec.value_reader import reader_of
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.codec.unread import Unread

UNREAD = (
    "no field of the schema reads this member; to ignore such members, write additionalProperties: true in its JSON "
    "Schema, or x-additional-properties: true in its message when that is described in Avro"
)


def compile_encoder(avro_type: AvroType, unread: Unread = REFUSED) -> Encoder:
    """Make the encoder of a type; `unread` says what objects do with members that no field reads."""
    return _Compiler().encoder(avro_type, unread)


def encode_default(field: Field, *, logical: bool = False) -> bytes:
    """Write the default of a field; raises ValidationError when the field's type does not take it.

    Avro reads a default without regard to logical types; `logical` reads it as if a payload contained it.
    """
    out = bytearray()
    default = parse(json.dumps(field.default).encode())
    _Compiler(logical=logical).encoder(field.type)(default, out)
    return bytes(out)


def unread_by(field: Field, record: AvroType, unread: Unread) -> Unread:
    """Give what the value of a field does with members that no field reads; `unread` is that of its record's object."""
    if field.collects:
        return unread.without({path[0] for each in record.fields for path in each.paths if path})
    return common(unread.at(path) for path in field.paths)


def takes(field: Field, value: Any) -> bool:
    """Tell whether a field takes a value from `json_text.parse`, read as its `x-source` says."""
    try:
        _Compiler().field(field).encode(value, bytearray())
    except ValidationError:
        return False
    return True


def member(value: Any, path: Path) -> Any:
    """Follow a path of member names; ABSENT at its end, ValidationError when a value on it is not an object."""
    for depth, token in enumerate(path):
        if type(value) is not dict:
            raise wrong_type("an object", value).under(*path[:depth])
        if token not in value:
            return ABSENT
        value = value[token]
    return value


def first_member(value: Any, paths: Iterable[Path]) -> Any:
    """Give what is at the first of several paths that is there, or ABSENT."""
    return next((found for path in paths if (found := member(value, path)) is not ABSENT), ABSENT)


class _Field(NamedTuple):
    name: str
    paths: tuple[Path, ...]
    collects: bool
    encode: Encoder
    default: Callable[[], bytes] | None


class _Compiler:
    """Walks a schema once. Records are looked up when a value is written, so a record may hold itself."""

    def __init__(self, *, logical: bool = True) -> None:
        self._logical = logical
        # by identity of the type, and of what it does with unread members; None while it is being compiled
        self._records: dict[tuple[int, int], Encoder | None] = {}

    def encoder(self, avro_type: AvroType, unread: Unread = REFUSED) -> Encoder:  # noqa: PLR0911 - one return a kind of type
        if self._logical and (encode := avro_type.logical_encoder):
            return encode
        match avro_type.kind:
            case "record":
                return self._record(avro_type, unread)
            case "enum":
                return _enum(avro_type.symbols)
            case "fixed":
                return _fixed(avro_type.size)
            case "array":
                return _array(self.encoder(avro_type.inner[0], unread.item))
            case "map":
                return _map(self.encoder(avro_type.inner[0], unread.members))
            case "union":
                return self._union(avro_type, unread)
        return ENCODERS[avro_type.kind]

    def _record(self, avro_type: AvroType, unread: Unread) -> Encoder:
        key, records = (id(avro_type), id(unread)), self._records
        if key not in records:
            records[key] = None
            unread = unread.strict if avro_type.collects else unread
            fields = [self.field(field, unread_by(field, avro_type, unread)) for field in avro_type.fields]
            records[key] = _record(fields, unread)
        if encode := records[key]:
            return encode

        def encode_around(value: Any, out: bytearray) -> None:
            encode = records[key]
            assert encode is not None, "it is compiled before a value comes"
            encode(value, out)

        return encode_around

    def field(self, field: Field, unread: Unread = REFUSED) -> _Field:
        encode, read = self.encoder(field.type, unread), reader_of(field)
        default = cache(lambda: encode_default(field)) if field.has_default else None
        return _Field(field.name, field.paths, field.collects, _after(read, encode) if read else encode, default)

    def _union(self, union: AvroType, unread: Unread) -> Encoder:
        compiled = [(long(index), branch, self.encoder(branch, unread)) for index, branch in enumerate(union.inner)]
        null = next((index for index, branch, _ in compiled if branch.kind == "null"), None)
        others = [(index, encode) for index, branch, encode in compiled if branch.kind != "null"]
        expected = " or ".join(branch.label for branch in union.inner)

        def encode_union(value: Any, out: bytearray) -> None:
            if value is None and null is not None:
                out += null
                return
            start, errors = len(out), []
            for index, encode in others:
                out += index
                try:
                    encode(value, out)
                except ValidationError as error:
                    errors.append(error)
                    del out[start:]
                else:
                    return
            raise _nearest(errors) or wrong_type(expected, value)

        return encode_union


def _nearest(errors: list[ValidationError]) -> ValidationError | None:
    """Choose the error to report when no branch of a union takes a value: that of the one branch of its JSON type."""
    near = [error for error in errors if error.reason != Reason.WRONG_TYPE or error.tokens]
    if len(errors) == 1:
        return errors[0]
    return near[0] if len(near) == 1 else None


def _after(read: Callable[[Any], Any], encode: Encoder) -> Encoder:
    def encode_read(value: Any, out: bytearray) -> None:
        encode(read(value), out)

    return encode_read


# --- records -----------------------------------------------------------------------------------------------------


def _record(fields: list[_Field], unread: Unread) -> Encoder:
    members = _Members((path for field in fields for path in field.paths), unread)
    collector = next((field.name for field in fields if field.collects), None)

    def encode_record(value: Any, out: bytearray) -> None:
        if type(value) is not dict:
            raise wrong_type("an object", value)
        rest = members.rest(value) if unread is not IGNORED else {}
        if rest and not collector and unread.refuses:
            raise ValidationError(Reason.EXTRA_FIELD, UNREAD, next(iter(rest)))
        for field in fields:
            _write_field(field, rest if field.collects else value, out)

    return encode_record


def _write_field(field: _Field, value: dict[str, Any], out: bytearray) -> None:
    for path in field.paths:
        found = member(value, path)
        if found is not ABSENT:
            try:
                field.encode(found, out)
            except ValidationError as error:
                raise error.under(*path) from None
            return
    if field.default is None:
        detail = f"field {field.name!r} is missing and has no default"
        raise ValidationError(Reason.MISSING, detail, *field.paths[0])
    out += field.default()


class _Members:
    """The members of an object that some field reads, as a tree: name -> None when read whole, or its own tree."""

    def __init__(self, paths: Iterable[Path], unread: Unread) -> None:
        self._unread = unread
        self._tree: dict[str, Any] = {}
        for path in filter(None, paths):
            node = self._tree
            for token in path[:-1]:
                node = node.setdefault(token, {})
            node[path[-1]] = None

    def rest(self, value: dict[str, Any]) -> dict[str, Any]:
        """Find the top-level members that no field reads; one inside a member that is read in parts raises."""
        rest = {}
        for name, member in value.items():
            if name not in self._tree:
                rest[name] = member
            elif type(member) is dict and (below := self._tree[name]) is not None:
                _refuse_unread(member, below, self._unread.member(name), name)
        return rest


def _refuse_unread(value: dict[str, Any], tree: dict[str, Any], unread: Unread, *place: str) -> None:
    for name, member in value.items():
        if name not in tree and unread.refuses:
            raise ValidationError(Reason.EXTRA_FIELD, UNREAD, *place, name)
        if type(member) is dict and tree.get(name) is not None:
            _refuse_unread(member, tree[name], unread.member(name), *place, name)


# --- containers, enums and fixed ---------------------------------------------------------------------------------


def _array(encode: Encoder) -> Encoder:
    def encode_array(value: Any, out: bytearray) -> None:
        if type(value) is not list:
            raise wrong_type("an array", value)
        if value:
            out += long(len(value))
        for index, item in enumerate(value):
            _write_item(encode, item, out, str(index))
        out.append(0)

    return encode_array


def _map(encode: Encoder) -> Encoder:
    def encode_map(value: Any, out: bytearray) -> None:
        if type(value) is not dict:
            raise wrong_type("an object", value)
        if value:
            out += long(len(value))
        for name, item in value.items():
            string(name, out)
            _write_item(encode, item, out, name)
        out.append(0)

    return encode_map


def _write_item(encode: Encoder, item: Any, out: bytearray, token: str) -> None:
    try:
        encode(item, out)
    except ValidationError as error:
        raise error.under(token) from None


def _enum(symbols: tuple[str, ...]) -> Encoder:
    written = {symbol: long(index) for index, symbol in enumerate(symbols)}

    def encode_enum(value: Any, out: bytearray) -> None:
        if type(value) is not str:
            raise wrong_type("text", value)
        if value not in written:
            raise ValidationError(Reason.BAD_FORMAT, f"{shown(value)} is none of {', '.join(symbols)}")
        out += written[value]

    return encode_enum


def _fixed(size: int) -> Encoder:
    def encode_fixed(value: Any, out: bytearray) -> None:
        data = code_points(value)
        if len(data) != size:
            raise ValidationError(Reason.BAD_FORMAT, f"expected {size} bytes, got {len(data)}")
        out += data

    return encode_fixed
