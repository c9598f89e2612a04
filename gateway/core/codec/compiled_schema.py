"""The fast path's code for the rules of a payload's schema: lines that are skipped while a value passes at once.

They come before any member is taken out of the payload's objects. This is the code for a number of minimum 0 and
maximum 100, and for a text with a pattern that must be there:

    c1 = v0.get('value', ABSENT)
    if c1.__class__ in NUMBERS and not ((c1 > 0 or c1 == 0 and c1.__class__ is int) and ...): test2(c1, payload)
    c3 = v0['unit']
    if c3.__class__ is str and not (passed4[c3]): test5(c3, payload)

The parser has made floats of the payload's fractions, and digits that a float cannot hold are lost: 100.0 may have been
99.99999999999999999. What is strictly between two limits as a float is there exactly, because rounding keeps the order.
All other floats are exact when no number of the payload has more than 15 digits (`_LONG_NUMBER`). Else the precise
path, which has the digits, decides.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.core.codec.json_text import MAX_DIGITS
from gateway.core.codec.keywords import ANY, KINDS, NUMBERS, alternatives, exact
from gateway.core.codec.payload_schema import NO_MEMBER, decoded
from gateway.core.codec.unsupported import FallBack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.codec.keywords import Passes, Test
    from gateway.core.codec.payload_schema import Rules
    from gateway.core.codec.source_text import SourceWriter

REMEMBERED = 4_096  # texts that have passed a pattern
_LONGEST = 64  # characters of such a text
EXACT_IN_FLOAT = 2**53
_FIFTEEN_DIGITS = 10**15
_LONGEST_INTEGER = 10 ** (MAX_DIGITS - 1)  # the precise path divides no longer ones
# 16 digits, with or without a point, or an exponent of three: of what is shorter a float keeps all digits
_LONG_NUMBER = re.compile(rb"[0-9.]{16}|[eE][+-]?[0-9]{3}")
_MAY_HOLD_FLOATS = frozenset({float, list, dict})
_COMPARED = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_MEASURED = {"minLength": ">=", "minItems": ">=", "minProperties": ">=",
             "maxLength": "<=", "maxItems": "<=", "maxProperties": "<="}  # fmt: skip


class _Passed(dict[str, bool]):
    """The texts that have passed a test; they repeat, because most are names and units."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self._passes = passes

    def __missing__(self, text: str) -> bool:
        if not self._passes(text):
            return False
        if len(self) >= REMEMBERED:
            self.clear()
        if len(text) <= _LONGEST:
            self[text] = True
        return True


class SchemaCode:
    """Writes the code of rules into a program; with `has_decimals` the payload's fractions are Decimals."""

    def __init__(self, program: SourceWriter, *, has_decimals: bool) -> None:
        self._program = program
        self._has_decimals = has_decimals
        program.bound |= {"NUMBERS": NUMBERS, "long_number": _LONG_NUMBER.search}

    def write(self, rules: Rules, value: str, *, is_present: bool = True) -> None:
        """Write the tests of a value, which may be ABSENT, and of what is in it; it is decoded in place."""
        groups: dict[frozenset[type], list[Test]] = {}
        for test in rules.tests:
            groups.setdefault(test.kinds, []).append(test)
        for kinds, tests in groups.items():
            self._tests(kinds, tests, value, is_present=is_present)
        if rules.members or rules.required or rules.others is not None:
            with self._program.block(f"if {value}.__class__ is dict:"):
                self._members(rules, value)
        if rules.items:
            with self._program.block(f"if {value}.__class__ is list:"):
                self._each(rules.items, f"enumerate({value})", value)
        for each in rules.also:
            self.write(each, value, is_present=is_present)
        if rules.decode:
            decode = self._program.bind("decode", partial(decoded, rules.decode))
            self._program.line(f"if {value}.__class__ is str: {value} = {decode}({value})")

    def _tests(self, kinds: frozenset[type], tests: list[Test], value: str, *, is_present: bool) -> None:
        if kinds == NUMBERS:
            guard = f"{value}.__class__ in NUMBERS and "
        elif kinds == ANY:
            guard = "" if is_present else f"{value} is not ABSENT and "
        else:
            (only,) = kinds
            guard = f"{value}.__class__ is {only.__name__} and "
        passes = " and ".join(self._quick(test, value) for test in tests)
        test = self._program.bind("test", _precisely(tests))
        self._program.line(f"if {guard}not ({passes}): {test}({value}, payload)")

    def _quick(self, test: Test, value: str) -> str:  # noqa: PLR0911 - one return a kind of keyword
        """Write a condition that holds only for values that pass."""
        keyword, argument = test.keyword, test.argument
        if keyword in _COMPARED:
            return self._compared(keyword, argument, value)
        if keyword in _MEASURED:
            return f"len({value}) {_MEASURED[keyword]} {argument}"
        if keyword == "pattern":
            return f"{self._program.bind('passed', _Passed(test.passes))}[{value}]"
        if keyword == "type":
            classes = _classes(argument)
            if len(classes) == 1:
                return f"{value}.__class__ is {self._program.bind('class', *classes)}"
            return f"{value}.__class__ in {self._program.bind('classes', classes)}"
        if keyword == "anyOf":
            lists = (" and ".join(f"{name!r} in {value}" for name in names) for names in alternatives(argument))
            return f"({' or '.join(lists)})"
        choices = argument if keyword == "enum" else [argument]
        if keyword in {"enum", "const"} and all(isinstance(one, str) for one in choices):
            return f"{value}.__class__ is str and {value} in {self._program.bind('choices', frozenset(choices))}"
        if keyword == "multipleOf" and not self._has_decimals:
            return f"{self._program.bind('is_multiple', partial(_is_multiple, *_ratio(argument)))}({value}, payload)"
        return "False"

    def _compared(self, keyword: str, limit: float, value: str) -> str:
        operator = _COMPARED[keyword]
        if self._has_decimals:  # which compare exactly
            return f"{value} {operator} {self._program.bind('limit', exact(limit))}"
        if abs(limit) > EXACT_IN_FLOAT:
            return "False"
        beyond = f"{value} {operator[0]} {limit!r}"
        is_there = f"{value} == {limit!r} and ({value}.__class__ is int or not long_number(payload))"
        return beyond if operator in {"<", ">"} else f"({beyond} or {is_there})"

    def _members(self, rules: Rules, value: str) -> None:
        for name in rules.required:
            if name not in rules.members:
                self._program.line(f"{value}[{name!r}]")
        for name, below in rules.members.items():
            absent = _passing(below)
            is_present = name in rules.required or absent != "ABSENT"
            expression = f"{value}[{name!r}]" if name in rules.required else f"{value}.get({name!r}, {absent})"
            self._below(below, self._program.let("c", expression), f"{value}[{name!r}]", is_present=is_present)
        if rules.others is NO_MEMBER:
            self._program.line(f"if not {value}.keys() <= {self._program.bind('named', rules.named)}: raise FallBack")
        elif rules.others:
            self._each(rules.others, f"{value}.items()", value, rules.named)

    def _each(self, rules: Rules, pairs: str, value: str, but: frozenset[str] = frozenset()) -> None:
        token, item = self._program.name("k"), self._program.name("c")
        is_plain = not but and not rules.decodes and pairs.endswith(".items()")
        head = f"{item} in {value}.values()" if is_plain else f"{token}, {item} in {pairs}"
        with self._program.block(f"for {head}:"):
            if but:
                self._program.line(f"if {token} in {self._program.bind('named', but)}: continue")
            self._below(rules, item, f"{value}[{token}]", is_present=True)

    def _below(self, rules: Rules, value: str, place: str, *, is_present: bool) -> None:
        self.write(rules, value, is_present=is_present)
        if rules.decode or any(each.decodes for each in rules.also):
            self._program.line(f"if {value} is not ABSENT: {place} = {value}")


def _classes(argument: Any) -> frozenset[type]:
    """Give the classes whose values all have a type of JSON Schema."""
    names = argument if isinstance(argument, list) else [argument]
    return frozenset().union(*(KINDS.get(name, {int}) for name in names))


def _passing(rules: Rules) -> str:
    """Write a value that stands for an absent member and passes at once, where that is simple."""
    if [test.keyword for test in rules.tests] != ["type"] or rules.below or rules.decode:
        return "ABSENT"
    classes = _classes(rules.tests[0].argument)
    return next((repr(value) for value in (0, "", None) if type(value) in classes), "ABSENT")


def _ratio(divisor: float) -> tuple[int, int]:
    """Write a divisor as a whole number of a power of ten: 0.25 is 25 of 100."""
    number = Decimal(exact(divisor))
    places = max(0, len(number.as_tuple().digits) - 1 - number.adjusted())
    return int(number.scaleb(places)), 10**places


def _is_multiple(divisor: int, unit: int, value: float, payload: bytes) -> bool:
    """Tell whether a number is a multiple for sure."""
    if type(value) is int:
        return -_LONGEST_INTEGER < value < _LONGEST_INTEGER and not value * unit % divisor
    whole = round(value * unit)
    # with at most 15 digits on both sides, it is exactly the number that its float is nearest to
    is_exact = abs(whole) < _FIFTEEN_DIGITS and whole / unit == value and not _LONG_NUMBER.search(payload)
    return is_exact and not whole % divisor


def _precisely(tests: Sequence[Test]) -> Callable[[Any, bytes], None]:
    """Make the test of the values that do not pass at once."""

    def test(value: Any, payload: bytes) -> None:
        if type(value) in _MAY_HOLD_FLOATS and _LONG_NUMBER.search(payload):
            raise FallBack
        if any(each.error(value) for each in tests):
            raise FallBack

    return test
