r"""The fast path of the codec: Python source written from the Avro schema, compiled once, run for every reading.

It knows success only. Whatever it does not take at once, for whatever cause, raises, and the codec asks the precise
path (`avro.py`), which alone decides. So it may be narrower than the schema, never wider: that is the rule for every
line generated here, and a property test holds it to the same bytes and the same verdicts.

msgspec parses the payload to plain dicts, lists and scalars; the generated code checks them (`compiled_types.py`; for
where they stand, `compiled_records.py`). A typed msgspec struct for each record lost: it parses no faster than dicts
do, and covers neither recursive records, nor unions of two numbers, nor a map that collects what no field reads.

What a topic contributes is encoded and joined once a topic (`Compiled.prepare`), not once a reading. What comes out for
a record of three fields, the first filled from the topic and the key:

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
        if not utf0: raise FallBack
        return utf0, join((head1, pack_d(v1), u3))

The check of the nesting is for members that stand twice: of the first one nothing is seen but how the parser fares.
"""  # noqa: E501 - generated lines are as long as they are

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.core.codec.compiled_types import TypeCode
from gateway.core.codec.json_text import MAX_DEPTH, MAX_NESTING, check_depth, check_nesting
from gateway.core.codec.precise_encoder import PAYLOAD, Unknown, long
from gateway.core.codec.scalar_payload import text_reader, whole_field
from gateway.core.codec.schema_facts import SchemaFacts
from gateway.core.codec.source_text import Known, SourceWriter
from gateway.core.codec.unsupported import UnsupportedSchemaError
from gateway.core.codec.validation_error import tokens

if TYPE_CHECKING:
    from gateway.core.codec.scalar_payload import Content
    from gateway.core.codec.source_text import Part

Prepared = tuple[str | bytes, ...]  # what a topic contributes, as the encoder takes it
Encode = Callable[[bytes, Prepared], tuple[bytes, bytes]]

_OF_PARAMETER = "text", "utf", "avro"  # its text, that in UTF-8, and as an Avro string
_NAME = re.compile(r"\b[a-z]+\d+\b")
_SHORT = MAX_NESTING * len("[]")  # bytes of a text that cannot nest deeper
_FLAT = MAX_NESTING * len('{"":}')  # the same without arrays


class Compiled(NamedTuple):
    """What came out for a stream.

    Args:
        prepare: takes the texts of the address's parameters, in its order, and gives what a topic contributes. It
            raises UnicodeEncodeError when one is no text that UTF-8 can hold.
        encode: takes payload and prepared topic, and gives key and value. It raises, anything, when it does not take
            the payload.
    """

    prepare: Callable[[Sequence[str]], Prepared]
    encode: Encode


def compile_fast(  # noqa: PLR0913, PLR0917 - as the codec gets it
    schema: dict[str, Any],
    keys: tuple[str, ...],
    parameters: Sequence[str | None],
    unknown: Unknown,
    prefix: bytes,
    content: Content = "json",
) -> Compiled:
    """Generate and compile the encoder of a stream.

    Args:
        schema: the record's Avro schema in normal form.
        keys: JSON pointers into the record, tried in order.
        parameters: for each parameter of the address a JSON pointer into the payload, or None.
        unknown: what to do with members that no field reads.
        prefix: what stands before the Avro body.
        content: what the payload is written in.

    Raises:
        UnsupportedSchemaError: for a shape it has no code for.
    """
    program, survey = SourceWriter(), SchemaFacts(schema)
    types = TypeCode(program, schema, survey, unknown)
    with program.block("def encode(payload, prepared):"):
        filled = _topic(types, parameters)
        _write_decoding(program, survey, unknown)
        if field := whole_field(schema):
            _write_whole(program, field, schema, content)
        parts: list[Part] = [prefix, *types.records.write(schema, "v0", filled)]
        key = _write_key(program, types, [types.records.variable("v0", tokens(pointer)) for pointer in keys])
        program.line(f"return {key}, {program.joined(parts)}")
    known = {f"{what}{place}" for what in _OF_PARAMETER for place in range(len(parameters))} | program.heads.keys()
    used = [name for name in dict.fromkeys(_NAME.findall(str(program))) if name in known]
    if used:
        program.insert(1, f"{', '.join(used)}, = prepared")
    types.records.write_functions()
    encode: Encode = program.compile(f"<encoder of {schema['name']}>")["encode"]
    return Compiled(partial(_prepare, used, program.heads), encode)


def _prepare(used: Sequence[str], heads: Mapping[str, Sequence[bytes | Known]], texts: Sequence[str]) -> Prepared:
    found: dict[str, Any] = {}
    for place, text in enumerate(texts):
        data = text.encode()
        found |= {f"text{place}": text, f"avro{place}": long(len(data)) + data, f"utf{place}": data}
    for name, parts in heads.items():
        found[name] = b"".join([part if isinstance(part, bytes) else found[part.name] for part in parts])
    return tuple([found[name] for name in used])


def _topic(types: TypeCode, parameters: Sequence[str | None]) -> dict[str, str]:
    """Name what the topic contributes; give the variable of the text for each member it fills."""
    filled: dict[str, str] = {}
    for place, pointer in enumerate(parameters):
        if pointer:
            member, *below = tokens(pointer)
            if below or member in filled:
                raise UnsupportedSchemaError("a parameter's location below the top level, or that of two parameters")
            filled[member] = text = f"text{place}"
            types.prepared[text], types.encoded[text] = Known(f"avro{place}"), f"utf{place}"
    return filled


def _write_decoding(program: SourceWriter, survey: SchemaFacts, unknown: Unknown) -> None:
    """Write the parsing, and the check of the depth where the code that follows may not refuse what is too deep."""
    decode = msgspec.json.Decoder(float_hook=Decimal if survey.has_decimals else None).decode
    program.bound |= {"check_depth": check_depth, "check_nesting": check_nesting, "decode": decode}
    may_nest = f"len(payload) > {_SHORT} and ({ord('[')} in payload or len(payload) > {_FLAT})"
    program.line(f"if {may_nest}: check_nesting(payload)")
    program.line("v0 = decode(payload)")
    if unknown == "ignore" or survey.levels > MAX_DEPTH:
        program.line(f"if payload.count(b'[') + payload.count(b'{{') > {MAX_DEPTH}: check_depth(v0)")


def _write_whole(program: SourceWriter, field: dict[str, Any], schema: dict[str, Any], content: Content) -> None:
    """Write the putting of the value that one field takes as a whole into an object."""
    if content == "text":
        program.bound["decode"] = text_reader(field["type"], schema, program.bound["decode"])
    program.line(f"v0 = {{{PAYLOAD!r}: v0}}")


def _write_key(program: SourceWriter, types: TypeCode, values: list[str]) -> str:
    """Write the choice of the key; give its expression."""
    if not values:
        raise UnsupportedSchemaError("a record without a key")
    if len(values) == 1 and (encoded := types.encoded.get(values[0])):
        program.line(f"if not {encoded}: raise FallBack")
        return encoded
    for place, value in enumerate(values):
        word, encoded = "elif" if place else "if", types.encoded.get(value, f"{value}.encode()")
        program.line(f"{word} {value}.__class__ is str and {value}: key = {encoded}")
    program.line("else: raise FallBack")
    return "key"
