"""The keywords of JSON Schema (draft 7) that restrict a value: what each demands, as a test.

Numbers are compared exactly, as the digits of the payload have them: 0.3 is a multiple of 0.1, and 1.0 equals 1. Texts
are measured in code points. The compiled path has floats instead of digits (`compiled_schema.py`); a test takes them as
the shortest digits that name them.

`format` is not among them: a field's Avro type checks times, dates and UUIDs more strictly.
"""

from __future__ import annotations

import json
import operator
from binascii import a2b_base64, b2a_base64, unhexlify
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.json_text import MAX_DIGITS, Unrepresentable
from gateway.core.codec.pattern import Pattern, UnsupportedPatternError
from gateway.core.codec.scale import EXACT
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

NUMBERS: frozenset[type] = frozenset({int, float, Decimal, Unrepresentable})
TEXT, ARRAY, OBJECT = frozenset({str}), frozenset({list}), frozenset({dict})
ANY: frozenset[type] = frozenset()  # stands for all kinds of value
KINDS: dict[str, frozenset[type]] = {
    "null": frozenset({type(None)}), "boolean": frozenset({bool}), "number": NUMBERS, "string": TEXT, "array": ARRAY,
    "object": OBJECT,
}  # fmt: skip
WORDS = {"null": "null", "boolean": "true or false", "integer": "an integer", "number": "a number", "string": "text",
          "array": "an array", "object": "an object"}  # fmt: skip
_QUOTED = 100  # characters of a keyword's argument in a detail
_URL_SAFE = str.maketrans("-_+/", "+/..")  # what is not of the alphabet becomes a character of no alphabet

Passes = Callable[[Any], bool]
Decode = Callable[[str], bytes]  # raises ValueError


class Test(NamedTuple):
    """What a keyword demands of a value."""

    keyword: str
    argument: Any
    kinds: frozenset[type]  # of the values that it is about; it accepts all others
    reason: Reason
    clause: str  # follows the value in a detail
    passes: Passes  # for values of these kinds
    is_too_long: Passes = lambda _value: False  # tells which values are not tested, and fail
    limit: str = ""  # what they are longer than

    def __eq__(self, other: object) -> bool:
        """Tell whether another test demands the same."""
        same = (self.keyword, canonical(self.argument))
        return isinstance(other, Test) and same == (other.keyword, canonical(other.argument))

    def __hash__(self) -> int:
        return hash((self.keyword, canonical(self.argument)))

    def error(self, value: Any) -> ValidationError | None:
        """Give the error for a value that fails, else None."""
        if (self.kinds and type(value) not in self.kinds) or self.passes(value):
            return None
        limit = f"is too long to be tested: more than {self.limit} ({self.keyword})"
        return ValidationError(self.reason, f"{quoted(value)} {limit if self.is_too_long(value) else self.clause}")


def quoted(value: Any) -> str:
    """Write a value for a detail."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {list: "the array", dict: "the object", Unrepresentable: "the number"}.get(type(value)) or shown(value)


def exact(value: Any) -> Any:
    """Give a float as the shortest digits that name it; every other value as it is."""
    return Decimal(repr(value)) if type(value) is float else value


def canonical(value: Any) -> Hashable:
    """Give what is equal for equal JSON: 1 and 1.0 are one number, true is not 1, members have no order."""
    if isinstance(value, list):
        return ("array", *map(canonical, value))
    if isinstance(value, dict):
        return frozenset((name, canonical(member)) for name, member in value.items())
    if isinstance(value, bool):
        return "boolean", value
    return id(value) if isinstance(value, Unrepresentable) else exact(value)


def scalar_of(known: Hashable) -> Any:
    """Give the scalar that `canonical` made this of."""
    return known[1] if isinstance(known, tuple) else known


def listed(argument: Any) -> list[Any]:
    """Give the items of an argument; none when it is not a list."""
    return argument if isinstance(argument, list) else []


def one_or_more(argument: Any) -> list[Any]:
    """Give the items of an argument that may be one alone, as that of `type`."""
    return argument if isinstance(argument, list) else [argument]


def properties_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schemas of the members that a schema names."""
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def alternatives(any_of: Any) -> list[list[str]]:
    """Give the lists of members of which an object must have one, all of its members; none for an `anyOf` of others."""
    lists = [each["required"] for each in listed(any_of) if isinstance(each, dict) and each.keys() == {"required"}]
    are_names = all(names and all(isinstance(name, str) for name in names) for names in map(listed, lists))
    return lists if are_names and len(lists) == len(listed(any_of)) else []


def schemas_at(schema: Any, path: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Give the schemas of a place in a value that apply at the same time; references are written out."""
    if not isinstance(schema, dict):
        return
    for each in listed(schema.get("allOf")):
        yield from schemas_at(each, path)
    if not path:
        yield schema
        return
    others = schema.get("items", schema.get("additionalProperties"))
    yield from schemas_at(properties_of(schema).get(path[0], others), path[1:])


def is_number(argument: Any) -> bool:
    """Tell whether an argument is a number with a value."""
    return isinstance(argument, int | float) and not isinstance(argument, bool) and isfinite(argument)


# --- the keywords ------------------------------------------------------------------------------------------------


def _bound(compare: Callable[[Any, Any], bool], words: str, keyword: str, argument: Any) -> Test | None:
    if not is_number(argument):
        return None
    limit = exact(argument)

    def passes(value: Any) -> bool:
        if type(value) is Unrepresentable:  # it is beyond every limit
            return compare(-1 if value.is_negative else 1, 0)
        return compare(exact(value), limit)

    return Test(keyword, argument, NUMBERS, Reason.OUT_OF_RANGE, f"{words} {argument} ({keyword})", passes)


def _size(
    kinds: frozenset[type], compare: Callable[[int, int], bool], words: str, keyword: str, argument: Any
) -> Test | None:
    if not is_number(argument) or argument < 0 or argument != int(argument):
        return None
    clause = words.format(int(argument)) + f" ({keyword})"
    return Test(
        keyword, int(argument), kinds, Reason.OUT_OF_RANGE, clause, lambda value: compare(len(value), int(argument))
    )


def _multiple_of(keyword: str, argument: Any) -> Test | None:
    if not is_number(argument) or argument <= 0:
        return None
    divisor = Decimal(exact(argument))
    clause = f"is not a multiple of {argument} ({keyword})"
    passes = partial(_is_multiple, divisor)
    return Test(keyword, argument, NUMBERS, Reason.NOT_ALLOWED, clause, passes, _is_long, f"{MAX_DIGITS} digits")


def _is_multiple(divisor: Decimal, value: Any) -> bool:
    if _is_long(value):
        return False
    number = _normalized(value)
    # below this a number has digits below any divisor's; a division would be long
    return number.adjusted() > len(number.as_tuple().digits) - 2 * MAX_DIGITS and not EXACT.remainder(number, divisor)


def _is_long(value: Any) -> bool:
    """Tell whether a number has more digits before its point than any type holds; a division would be long."""
    return type(value) is Unrepresentable or _normalized(value).adjusted() >= MAX_DIGITS


def _normalized(value: Any) -> Decimal:
    """Write a number without zeros at its end; zero has the exponent 0."""
    return EXACT.normalize(Decimal(exact(value)))


def _pattern(keyword: str, argument: Any) -> Test | None:
    if not isinstance(argument, str):
        return None
    try:
        pattern = Pattern(argument)
    except UnsupportedPatternError:
        return None
    clause = f"does not match {_cut(argument)} ({keyword})"
    limit, longest = f"{pattern.longest:,} characters", pattern.longest
    return Test(
        keyword, argument, TEXT, Reason.NOT_ALLOWED, clause, pattern.matches, lambda text: len(text) > longest, limit
    )


def _choice(keyword: str, argument: Any) -> Test | None:
    choices = argument if keyword == "enum" else [argument]
    if not isinstance(choices, list):
        return None
    allowed = {canonical(one) for one in choices}
    clause = f"is not {'one of ' * (keyword == 'enum')}{_cut(argument)} ({keyword})"
    return Test(keyword, argument, ANY, Reason.NOT_ALLOWED, clause, lambda value: canonical(value) in allowed)


def _unique(keyword: str, argument: Any) -> Test | None:
    def passes(value: Any) -> bool:
        return not argument or len({canonical(one) for one in value}) == len(value)

    clause = f"has two equal items ({keyword})"
    return Test(keyword, argument, ARRAY, Reason.NOT_ALLOWED, clause, passes) if isinstance(argument, bool) else None


def _type(keyword: str, argument: Any) -> Test | None:
    names = one_or_more(argument)
    if not names or not all(isinstance(name, str) and name in WORDS for name in names):
        return None
    classes = frozenset().union(*(KINDS.get(name, ()) for name in names))
    takes_whole = "integer" in names

    def passes(value: Any) -> bool:
        return type(value) in classes or (takes_whole and _is_whole(value))

    clause = f"is not {' or '.join(WORDS[name] for name in names)} ({keyword})"
    return Test(keyword, argument, ANY, Reason.WRONG_TYPE, clause, passes)


def _is_whole(value: Any) -> bool:
    """Tell whether JSON Schema counts a value as an integer: 1.0 is one."""
    number = exact(value)
    is_decimal = type(number) is Decimal
    return type(number) in {int, Unrepresentable} or (is_decimal and number == number.to_integral_value())


def _any_of(keyword: str, argument: Any) -> Test | None:
    lists = alternatives(argument)
    clause = f"has none of {_cut(', '.join(map(' with '.join, lists)))} ({keyword})"

    def passes(value: Any) -> bool:
        return any(all(name in value for name in names) for names in lists)

    return Test(keyword, argument, OBJECT, Reason.MISSING, clause, passes) if lists else None


def _content_encoding(keyword: str, argument: Any) -> Test | None:
    decode = ENCODINGS.get(argument) if isinstance(argument, str) else None
    if decode is None:
        return None

    def passes(value: Any) -> bool:
        try:
            decode(value)
        except ValueError:
            return False
        return True

    return Test(keyword, argument, TEXT, Reason.BAD_ENCODING, f"is not {argument} ({keyword})", passes)


def _cut(argument: Any) -> str:
    text = argument if isinstance(argument, str) else json.dumps(argument, ensure_ascii=False)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."


def _base64(text: str) -> bytes:
    data = a2b_base64(text)
    if b2a_base64(data, newline=False).decode() != text:  # RFC 4648: no other characters, all padding, no bits beyond
        raise ValueError(text)
    return data


def _base64url(text: str) -> bytes:
    """Read the alphabet of RFC 4648 section 5, which may leave out the padding."""
    padding = "" if "=" in text else "=" * (-len(text) % 4)
    return _base64(text.translate(_URL_SAFE) + padding)


ENCODINGS: dict[str, Decode] = {"base64": _base64, "base64url": _base64url, "base16": unhexlify}
FORBIDDEN = Test("false", None, ANY, Reason.NOT_ALLOWED, "is not allowed here", lambda _value: False)
TESTS: dict[str, Callable[[str, Any], Test | None]] = {
    "type": _type,
    "enum": _choice,
    "const": _choice,
    "minimum": partial(_bound, operator.ge, "is less than"),
    "maximum": partial(_bound, operator.le, "is more than"),
    "exclusiveMinimum": partial(_bound, operator.gt, "is not more than"),
    "exclusiveMaximum": partial(_bound, operator.lt, "is not less than"),
    "multipleOf": _multiple_of,
    "minLength": partial(_size, TEXT, operator.ge, "has less than {} characters"),
    "maxLength": partial(_size, TEXT, operator.le, "has more than {} characters"),
    "pattern": _pattern,
    "contentEncoding": _content_encoding,
    "minItems": partial(_size, ARRAY, operator.ge, "has less than {} items"),
    "maxItems": partial(_size, ARRAY, operator.le, "has more than {} items"),
    "uniqueItems": _unique,
    "minProperties": partial(_size, OBJECT, operator.ge, "has less than {} members"),
    "maxProperties": partial(_size, OBJECT, operator.le, "has more than {} members"),
    "anyOf": _any_of,
}
