"""Proposes members of `x-source`, such as `parse` and `nulls`, with which a field would take a value that it refuses.

A proposal is tried before it is made: with these members the field takes the value. Whether it is right only a person
knows, such as whether OFF means false, and in which zone a clock is. Where it would be no more than a guess, nothing is
proposed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.contract.source_rules import nullable
from gateway.core.avro_schema import LOCATION, SOURCE, AvroType
from gateway.core.codec.precise_encoder import takes
from gateway.core.codec.validation_error import ValidationError
from gateway.core.codec.value_reader import DECODED, text_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.core.avro_schema import Field

Words = dict[str, Any]

NO_VALUE = frozenset({
    "", "-", "--", "---", "n", "n/a", "na", "nan", "nil", "none", "null", "unavailable", "undefined", "unknown",
})  # fmt: skip
OPPOSITES = (("on", "off"), ("yes", "no"), ("true", "false"), ("open", "closed"), ("1", "0"))
FLOOR: Words = {"round": "floor"}
ZONE: Words = {"zone": "UTC"}
OF_A_METER: Words = {"zone": "Europe/Amsterdam"}
SECONDS = range(10**8, 10**10)  # since 1970: 1973 to 2286


def proposal(field: Field, value: Any) -> str:
    """What to write at a field so that it takes a value from `json_text.parse`, which it refuses; "" for nothing."""
    if len(field.type.non_null) != 1 or takes(field, value):
        return ""
    for words in _candidates(field, value):
        changed = _with(field, words)
        if takes(changed, value):
            members = {key: changed.attributes[key] for key in ("type", SOURCE)}
            new = {key: said for key, said in members.items() if said != field.attributes.get(key)}
            note = ", with the zone of the device's clock" if "zone" in words else ""
            return f"{json.dumps(new, ensure_ascii=False)[1:-1]}{note}"
    return ""


def encoding(field: Field, sent: Any, expected: Any) -> str:
    """What to write at a field of bytes so that it decodes a text to the bytes that are expected; "" for nothing."""
    for name in DECODED if isinstance(sent, str) and "parse" not in field.words else ():
        with suppress(ValidationError):
            if text_reader(name)(sent).encode("latin-1") == expected:
                return json.dumps({SOURCE: _with(field, {"parse": name}).attributes[SOURCE]})[1:-1]
    return ""


def _candidates(field: Field, value: Any) -> Iterator[Words]:
    """Words to try, the least that could do first; those that the field has already stay as they are."""
    (avro_type,) = field.type.non_null
    for words in _MAKERS[type(value)](avro_type, value) if type(value) in _MAKERS else ():
        if field.words.keys().isdisjoint(words):
            yield words
    if isinstance(value, str) and value.strip().lower() in NO_VALUE:
        yield {"nulls": [*field.words.get("nulls", ()), value]}


def _with(field: Field, words: Words) -> Field:
    """The field with members added to its `x-source`; `nulls` makes it nullable."""
    location = {} if field.location is None else {LOCATION: field.location}
    attributes = {**field.attributes, SOURCE: location | dict(field.words) | words}
    if "nulls" not in words or field.type.is_nullable:
        return replace(field, attributes=attributes)
    inner, null = field.type.branches, (AvroType("null"),)
    union = AvroType("union", field.type.place, inner=inner + null if field.has_default else null + inner)
    return replace(field, attributes=attributes | {"type": nullable(field)}, type=union)


def _of_text(avro_type: AvroType, text: str) -> Iterator[Words]:
    if avro_type.kind == "boolean":
        yield {"parse": "boolean"}
        yield from _opposites(text)
    elif avro_type.time:
        zone = OF_A_METER if text.endswith(("S", "W")) else ZONE
        yield from (FLOOR, zone, zone | FLOOR)
        yield from _of_number(avro_type, {"parse": "number"}, text)
    elif avro_type.is_bytes:
        is_url = not {"-", "_"}.isdisjoint(text)
        yield from ({"parse": name} for name in ("hex", "base64url" if is_url else "base64"))  # most hex is base64 too
    else:
        yield from _of_number(avro_type, {"parse": "number"}, text)


def _of_number(avro_type: AvroType, words: Words, text: str) -> Iterator[Words]:
    whole = text.strip().partition(".")[0]
    if avro_type.time and avro_type.time.per_millisecond and whole.isdecimal() and int(whole[:20]) in SECONDS:
        factor = {"factor": 1000 * avro_type.time.per_millisecond}
        yield words | factor
        yield words | factor | FLOOR
    yield words
    if avro_type.time or avro_type.logical_name == "decimal":
        yield words | FLOOR


def _of_integer(avro_type: AvroType, number: int) -> Iterator[Words]:
    if avro_type.kind == "boolean" and number in {0, 1}:
        yield {"trues": [1], "falses": [0]}
    elif avro_type.kind == "string" and avro_type.logical is None:
        yield {"parse": "string"}


def _of_fraction(avro_type: AvroType, number: Decimal) -> Iterator[Words]:
    if avro_type.time or avro_type.logical_name == "decimal":
        yield from _of_number(avro_type, {}, f"{number:f}" if abs(number.adjusted()) < 100 else "")


def _opposites(text: str) -> Iterator[Words]:
    for true, false in OPPOSITES:
        for styled in (str, str.upper, str.capitalize):
            if text in {styled(true), styled(false)}:
                yield {"trues": [styled(true)], "falses": [styled(false)]}


_MAKERS: dict[type, Callable[[AvroType, Any], Iterator[Words]]] = {
    str: _of_text, int: _of_integer, Decimal: _of_fraction,
}  # fmt: skip
