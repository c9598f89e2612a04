"""The words of an `x-source` that is an object: their valid values, and the fields that may have them.

What they do is in `core/codec/value_reader.py`. A word that could have no effect on its field is an error, because what
is stated should be true.

A factor is decimal and exact. JSON parsers read a number through a float, which keeps 15 digits, so a longer factor is
written as text. A factor of more than `LIMIT` digits or powers of ten is taken for a mistake.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from gateway.contract.document import quoted
from gateway.core.avro_schema import LISTS, LOCATION, SOURCE, types
from gateway.core.codec.keywords import canonical
from gateway.core.codec.value_reader import DECODED, PARSED
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.contract.document import Node
    from gateway.contract.findings import Fault
    from gateway.core.avro_schema import AvroType, Field

NUMBERS = frozenset({"int", "long", "float", "double"})
DECIMALS = frozenset({"decimal", "big-decimal"})
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,9})?\Z", re.ASCII)
LIMIT = 30
EXACT = 15  # digits that a float keeps
OF_THIS_MACHINE = frozenset({"localtime", "posixrules", "Factory"})  # in the time zone database, and no zones of it
REPEATED = ("first", "second")
LONGEST = 100  # characters of a type that a fix quotes


def faults(record: Node, model: AvroType) -> Iterator[Fault]:
    """The faults of all words in a valid Avro schema; `model` is its model."""
    for each in types(model):
        for field in each.fields:
            node = record.own(*field.place)
            if node.own(SOURCE).is_mapping:
                yield from _Checked(node, field).faults()


def _is_number(avro_type: AvroType) -> bool:
    return avro_type.kind in NUMBERS or avro_type.logical_name in DECIMALS


def _is_boolean(avro_type: AvroType) -> bool:
    return avro_type.kind == "boolean"


def _is_plain_text(avro_type: AvroType) -> bool:
    return avro_type.kind == "string" and avro_type.logical is None


def _is_coarse(avro_type: AvroType) -> bool:
    return avro_type.kind in {"int", "long"} or avro_type.logical_name == "decimal"


class Word(NamedTuple):
    """What a word demands."""

    fits: Callable[[AvroType], bool]  # tells whether it can have an effect on a type
    of: str  # the fields that may have it
    example: str  # a member with a valid value


WORDS = {
    "factor": Word(_is_number, "a number", '"factor": "0.001"'),
    "parse": Word(
        lambda avro_type: bool(parsed_to(avro_type)), "a number, a boolean, bytes or text", '"parse": "number"'
    ),
    "nulls": Word(lambda _type: True, "any value", '"nulls": ["unavailable"]'),
    "trues": Word(_is_boolean, "a boolean", '"trues": ["ON"]'),
    "falses": Word(_is_boolean, "a boolean", '"falses": ["OFF"]'),
    "zone": Word(lambda avro_type: avro_type.is_timestamp, "a timestamp with zone", '"zone": "Europe/Vienna"'),
    "repeated": Word(lambda avro_type: avro_type.is_timestamp, "a timestamp with zone", '"repeated": "first"'),
    "round": Word(_is_coarse, "an integer, a time or a decimal", '"round": "floor"'),
}


def parsed_to(avro_type: AvroType) -> tuple[str, ...]:
    """What a text can be read as for a type."""
    if _is_number(avro_type):
        return ("number",)
    return (
        ("boolean",)
        if _is_boolean(avro_type)
        else DECODED
        if avro_type.is_bytes
        else ("string",)
        if _is_plain_text(avro_type)
        else ()
    )


class _Checked:
    """Checks the object of one field."""

    def __init__(self, node: Node, field: Field) -> None:
        self._node, self._field, self._stated = node, field, node.own(SOURCE)
        self._types = field.type.non_null

    def faults(self) -> Iterator[Fault]:
        """The faults, word by word."""
        words = self._stated.value.keys() & WORDS.keys()
        for key in self._stated.value.keys() - {LOCATION, *WORDS}:
            fix = suggestion(key, [LOCATION, *WORDS]) or f"Remove it, or use {', '.join((LOCATION, *WORDS))}."
            yield self._stated.own(key), f"x-source has no member {key!r}.", fix
        if not words:
            fix = f"Write the location as plain text, or add how the device does it, as in {WORDS['factor'].example}."
            yield self._stated, "The object in x-source does not say how the device writes the value.", fix
        for word in (one for one in WORDS if one in words):
            yield from self._word(word, self._stated.own(word))
        yield from self._together(words)

    def _word(self, word: str, node: Node) -> Iterator[Fault]:
        if fault := self._value(word, node.value):
            yield node, fault[0], fault[1] or f"Write a valid one, as in {WORDS[word].example}."
        elif word != "nulls" and not (len(self._types) == 1 and WORDS[word].fits(self._types[0])):
            alone = " alone, or with null," if len(self._types) > 1 else ""
            yield node, f"Only a field with {WORDS[word].of}{alone} can have {word!r}.", "Remove it."
        elif word == "parse" and node.text not in (known := parsed_to(self._types[0])):
            text = f"A text is not read as {node.text} for a field of type {self._field.type}."
            yield node, text, f'Write "parse": "{known[0]}".'
        if word in LISTS:
            yield from self._list(word, node)
        if word == "nulls" and not self._field.type.is_nullable:
            text = json.dumps(nullable(self._field), ensure_ascii=False)
            fix = f'Write "type": {text}.' if len(text) <= LONGEST else 'Make its type a union with "null".'
            yield self._node, "The field cannot be null, but x-source has nulls.", fix

    def _value(self, word: str, value: Any) -> tuple[str, str] | None:
        """What is wrong with the value of a word, and a fix where there is a better one than an example."""
        match word:
            case "factor":
                return (fault, "") if (fault := _factor_fault(value)) else None
            case "parse":
                return _choice(value, PARSED, "A text cannot be read as")
            case "repeated":
                return _choice(value, REPEATED, "The hour that repeats in autumn has no reading")
            case "round":
                return _choice(value, ("floor",), "The gateway does not round by")
            case "zone":
                return _zone_fault(value)
        return None if isinstance(value, list) and value else (f"Expected a list of values in {word}.", "")

    def _list(self, word: str, node: Node) -> Iterator[Fault]:
        seen: dict[Any, str] = {}
        for earlier in LISTS[: LISTS.index(word)]:
            others = self._stated.own(earlier).value
            seen |= {canonical(one): earlier for one in others} if isinstance(others, list) else {}
        for one in node.own_entries():
            if not isinstance(one.value, str | int | float) and not (word == "nulls" and one.value in ([], {})):
                yield one, f"Expected text, a number, true or false, not {quoted(one.value)}.", "Remove it."
            elif (other := seen.get(canonical(one.value))) is not None:
                yield one, f"{quoted(one.value)} is also in {other}.", "Remove it."
            seen[canonical(one.value)] = word

    def _together(self, words: set[str]) -> Iterator[Fault]:
        """Words that contradict each other, or that need another one."""
        if "parse" in words and (others := [word for word in ("trues", "falses", "zone") if word in words]):
            yield self._stated.own("parse"), f"The text is already read by {' and '.join(others)}.", "Remove it."
        if "repeated" in words and "zone" not in words:
            yield self._stated.own("repeated"), "Without a zone no hour repeats.", f"Write {WORDS['zone'].example}."


def nullable(field: Field) -> list[Any]:
    """The type of a field, as its schema writes it, in a union with null; a default is of the first branch."""
    stated = field.attributes["type"]
    branches = stated if isinstance(stated, list) else [stated]
    return [*branches, "null"] if field.has_default else ["null", *branches]


def _choice(value: Any, known: tuple[str, ...], fault: str) -> tuple[str, str] | None:
    if value in known:
        return None
    near = suggestion(value, known) if isinstance(value, str) else ""
    return f"{fault} {quoted(value)}.", near or f"Use {', '.join(known)}."


def _zone_fault(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str) and _is_zone(value):
        return None
    if not _is_zone("UTC"):
        return "This machine has no time zone database.", "Install the package tzdata."
    near = suggestion(value, available_timezones() - OF_THIS_MACHINE) if isinstance(value, str) else ""
    return f"{quoted(value)} is not a time zone of the IANA database.", near


def _is_zone(name: str) -> bool:
    if name in OF_THIS_MACHINE:
        return False
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return False
    return True


def _factor_fault(value: Any) -> str:
    """Why a value is not a factor; "" when it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else str(value) if is_number else ""
    if not NUMBER.match(text):
        return f"{quoted(value)} is not a factor."
    factor = Decimal(text)
    if not factor:
        return "A factor of zero would make every value zero."
    digits = len(factor.as_tuple().digits)
    if isinstance(value, float) and digits > EXACT:
        return f"A factor of {digits} digits must be text, because JSON parsers round such numbers."
    if abs(factor.adjusted()) > LIMIT or digits > LIMIT:
        return f"The factor {text[:LIMIT]} is out of range."
    return ""
