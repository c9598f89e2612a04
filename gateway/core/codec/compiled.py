r"""The fast path of the codec: Python source written from the Avro schema, compiled once, run for every reading.

It has code for success only. Whatever it does not take at once raises, for any cause, and the codec asks the precise
path (`precise_encoder.py`), which alone decides. So the generated code may accept less than the schema, never more:
this is the rule for every line, and a property test holds it to the same bytes and the same dead letters.

msgspec parses the payload to plain dicts, lists and scalars; the generated code checks them (`compiled_types.py`) and
finds them (`compiled_records.py`). A typed msgspec struct for each record was rejected: it parses no faster than dicts
do, and covers neither recursive records, nor unions of two numbers, nor a map that collects what no field reads.

What a topic contributes is encoded and joined once for each topic (`Compiled.prepare`), not for each reading. This is
the code for a record of three fields; the topic and the key are the first one:

    def encode(payload, prepared):
        text0, utf0, head1, = prepared
        if len(payload) > 1200 and (91 in payload or len(payload) > 3000): check_nesting(payload)
        v0 = decode(payload)
        if v0.pop('machine', text0) != text0: raise FallBack
        if len(v0) != 2: raise FallBack
        v1 = v0['value']
        v2 = v0['limit']
        if v1.__class__ is not float and not (v1.__class__ is int and -9007199254740992 <= v1 <= 9007199254740992): raise FallBack
        if v2 is None: u3 = b'\x00'
        else:
            if v2.__class__ is not int: raise FallBack
            u3 = LONG_02[v2]
        if not (utf0): raise FallBack
        return utf0, join((head1, pack_d(v1), u3)), None, None, None

The nesting is checked for the sake of members that are repeated: the parser drops all of them but the last.
"""  # noqa: E501 - generated lines are as long as they are

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.compiled_schema import SchemaCode
from gateway.core.codec.compiled_types import TypeCode
from gateway.core.codec.json_text import MAX_DEPTH, MAX_NESTING, check_depth, check_nesting
from gateway.core.codec.messagepack import decode_strictly
from gateway.core.codec.primitives import long
from gateway.core.codec.scalar_payload import text_reader
from gateway.core.codec.schema_facts import SchemaFacts
from gateway.core.codec.source_text import Known, SourceWriter
from gateway.core.codec.telegram import as_json
from gateway.core.codec.unread import REFUSED
from gateway.core.codec.unsupported import UnsupportedSchemaError
from gateway.core.codec.validation_error import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.avro_schema import Field
    from gateway.core.codec.conversion import Content, Conversion, Encoded, Prepared
    from gateway.core.codec.payload_schema import Rules
    from gateway.core.codec.source_text import Part
    from gateway.core.codec.unread import Unread

_OF_PARAMETER = "text", "utf", "avro"  # its text, its UTF-8, and its Avro string
_NAME = re.compile(r"\b[a-z]+\d+\b")
_SHORT = MAX_NESTING * len("[]")  # bytes of a text that cannot nest deeper
_FLAT = MAX_NESTING * len('{"":}')  # the same without arrays
_decode_plain = msgspec.json.Decoder().decode


class Compiled(NamedTuple):
    """The generated encoder of a stream.

    `prepare` makes what a topic contributes from the texts of the address's parameters, and raises UnicodeEncodeError
    when UTF-8 cannot hold one. `encode` raises, anything, when it does not take the payload.
    """

    prepare: Callable[[Sequence[str]], Prepared]
    encode: Callable[..., Encoded]


def parse_plain(payload: bytes) -> Any:
    """Parse a payload as the encoders do that read no Decimals; raises, anything, when it is not JSON."""
    if len(payload) > _SHORT and (b"[" in payload or len(payload) > _FLAT):
        check_nesting(payload)
    return _decode_plain(payload)


def compile_fast(conversion: Conversion, rules: Rules | None = None, *, is_parsed: bool = False) -> Compiled:
    """Generate and compile the encoder of a stream; raises UnsupportedSchemaError for a shape without code.

    If `is_parsed`, the encoder also takes what `parse_plain` gives, and changes it.
    """
    record, parameters = conversion.record, conversion.parameters
    program, facts = SourceWriter(), SchemaFacts(record)
    types = TypeCode(program, facts, {"v0": conversion.unread})
    with program.block(f"def encode(payload, prepared{', v0' * is_parsed}):"):
        # the payload becomes Python objects, and passes its schema; what the topic contributes has variables
        filled = _topic(types, parameters)
        is_parsed = is_parsed and not facts.has_decimals
        _write_decoding(program, facts, conversion.unread, conversion.content, is_parsed=is_parsed)
        if rules:
            SchemaCode(program, has_decimals=facts.has_decimals).write(rules, "v0")
        if whole := conversion.whole_field:
            _write_whole(program, whole, conversion.content)
        # the Avro bytes of the record; key, time and number are read from the variables that this leaves
        sequence = tokens(conversion.sequence) if conversion.sequence else None
        parts: list[Part] = [conversion.prefix, *types.records.write(record, "v0", filled, sequence)]
        key = _write_key(program, [_key_part(types, part) for part in conversion.keys], conversion.separator)
        moment = types.moment("v0", conversion.event_time) if conversion.event_time else None
        number = types.records.number("v0", sequence) if sequence else None
        counts = [each for rule in conversion.counters for each in types.count("v0", rule)]
        counted = f"({', '.join(counts)})" if counts else "None"
        program.line(f"return {key}, {program.joined(parts)}, {moment}, {number}, {counted}")
    # only those contributions of the topic that the code names are unpacked
    known = {f"{what}{place}" for what in _OF_PARAMETER for place in range(len(parameters))} | program.heads.keys()
    used = [name for name in dict.fromkeys(_NAME.findall(str(program))) if name in known]
    if used:
        program.insert(1, f"{', '.join(used)}, = prepared")
    types.records.write_functions()
    encode = program.compile(f"<encoder of {record.name}>")["encode"]
    return Compiled(partial(_prepare, used, program.heads), encode)


def _prepare(used: Sequence[str], heads: Mapping[str, Sequence[bytes | Known]], texts: Sequence[str]) -> Prepared:
    values: dict[str, Any] = {}
    for place, text in enumerate(texts):
        data = text.encode()
        values |= {f"text{place}": text, f"avro{place}": long(len(data)) + data, f"utf{place}": data}
    for name, parts in heads.items():
        values[name] = b"".join([part if isinstance(part, bytes) else values[part.name] for part in parts])
    return tuple([values[name] for name in used])


def _topic(types: TypeCode, parameters: Sequence[str | None]) -> dict[str, str]:
    """Name what the topic contributes; give the variable of the text for each member that it fills."""
    filled: dict[str, str] = {}
    for place, pointer in enumerate(parameters):
        if pointer:
            member, *below = tokens(pointer)
            if below or member in filled:
                raise UnsupportedSchemaError("a parameter's location below the top level, or that of two parameters")
            filled[member] = text = f"text{place}"
            types.prepared[text], types.encoded[text] = Known(f"avro{place}"), f"utf{place}"
    return filled


def _write_decoding(
    program: SourceWriter, facts: SchemaFacts, unread: Unread, content: Content, *, is_parsed: bool
) -> None:
    """Write the parsing, and the check of the depth where the code that follows may not refuse what is too deep."""
    decode = msgspec.json.Decoder(float_hook=Decimal if facts.has_decimals else None).decode
    program.bound |= {"check_depth": check_depth, "check_nesting": check_nesting, "decode": decode}
    if content == "msgpack":
        program.bound["decode"] = decode_strictly  # which knows only a few levels
        program.line("v0 = decode(payload)")
        return
    if content == "telegram":
        program.bound["as_json"] = as_json
        program.line("payload = as_json(payload)")
    if not is_parsed:
        may_nest = f"len(payload) > {_SHORT} and ({ord('[')} in payload or len(payload) > {_FLAT})"
        program.line(f"if {may_nest}: check_nesting(payload)")
        program.line("v0 = decode(payload)")
    if unread is not REFUSED or facts.levels > MAX_DEPTH:
        program.line(f"if payload.count(b'[') + payload.count(b'{{') > {MAX_DEPTH}: check_depth(v0)")


def _write_whole(program: SourceWriter, field: Field, content: Content) -> None:
    """Put the value that one field takes as a whole into an object."""
    if content == "text":
        program.bound["decode"] = text_reader(field, program.bound["decode"])
    program.line(f"v0 = {{{PAYLOAD!r}: v0}}")


class _KeyPart(NamedTuple):
    """A part of the key: a condition that holds where it is not empty, and its bytes."""

    is_there: str
    data: Part


def _key_part(types: TypeCode, part: str | int) -> _KeyPart:
    if isinstance(part, int):
        return _KeyPart(f"utf{part}", Known(f"utf{part}"))
    avro_type, value = types.records.key("v0", tokens(part))
    match avro_type.kind:
        case "string" | "enum":
            data = types.encoded.get(value, f"{value}.encode()")
            if value in types.prepared:
                return _KeyPart(data, Known(data))
            return _KeyPart(f"{value}.__class__ is str and {value}", data)
        case "int" | "long" if not avro_type.logical:
            return _KeyPart(f"{value}.__class__ is int", f"b'%d' % {value}")
        case "boolean":
            return _KeyPart(f"{value}.__class__ is bool", f"(b'true' if {value} else b'false')")
    raise UnsupportedSchemaError(f"a key that is {avro_type}")


def _write_key(program: SourceWriter, parts: list[_KeyPart], separator: str | None) -> str:
    """Write the choice or the joining of the key; give its expression."""
    if not parts:
        raise UnsupportedSchemaError("a record without a key")
    if len(parts) == 1 or separator is not None:
        program.line(f"if not ({' and '.join(part.is_there for part in parts)}): raise FallBack")
        between = (separator or "").encode()
        return program.joined([data for part in parts for data in (between, part.data)][1:])
    for place, part in enumerate(parts):
        program.line(f"{'elif' if place else 'if'} {part.is_there}: key = {program.joined([part.data])}")
    program.line("else: raise FallBack")
    return "key"
