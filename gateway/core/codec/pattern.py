r"""Regular expressions of JSON Schema (`pattern`): ECMA-262 in Unicode mode, searched for in a text, in linear time.

Python's `re` was rejected. It tracks back: a text of 40 characters keeps `(a+)+$` busy for hours, and with it the one
thread that serves all devices. And it means other things: `\d` takes Arabic digits, `$` a line end before the end.
So a pattern is compiled here to a nondeterministic automaton, and while texts are matched to a deterministic one, which
takes one step for each character. The steps that texts have taken are kept, up to `MAX_STEPS`.

A step that is not kept takes as long as the pattern is. So a text matches no pattern if its characters times the
instructions of the pattern are more than `MAX_WORK`: no message may keep the thread busy for more than about two
seconds.

What no automaton can do, or ECMA-262 does not have, raises UnsupportedPatternError with its name: looking around, back
references, word boundaries, inline flags, properties of Unicode. As in browsers, a brace that begins no quantifier, and
a hyphen beside a class such as `\w`, are characters.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gateway.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_INSTRUCTIONS = 2_000  # of a pattern, its repetitions written out
MAX_STEPS = 4_096  # of a pattern, remembered
MAX_WORK = 1_000_000  # characters times instructions: 50,000 characters for a pattern of 20
_MAX_NESTING = 20

Ranges = tuple[tuple[int, int], ...]  # of code points, sorted, first and last included

_LAST = 0x10FFFF
_SPACE: Ranges = ((9, 13), (32, 32), (160, 160), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
                  (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF))  # fmt: skip
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_LINE_ENDS: Ranges = ((10, 10), (13, 13), (0x2028, 0x2029))
_CLASSES: dict[str, Ranges] = {"d": ((48, 57),), "s": _SPACE, "w": _WORD}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"(?:([*+?])|\{(\d{1,9})(?:(,)(\d{1,9})?)?\})\??")
_CODE_POINT = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_BRACES = re.compile(r"\{[\d,]+\}")
_SURROGATES = re.compile(r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}")
_GROUP = re.compile(r"\((?:\?:|\?<[A-Za-z_$][\w$]*>|(?!\?))", re.ASCII)


class UnsupportedPatternError(DataError):
    """A pattern that cannot be matched; the text names why. `is_broken`: it is no pattern anywhere."""

    def __init__(self, why: str, *, is_broken: bool = False) -> None:
        super().__init__(why)
        self.is_broken = is_broken


class Characters(NamedTuple):
    """One character out of ranges."""

    ranges: Ranges

    def has(self, point: int) -> bool:
        """Tell whether a code point is one of them."""
        return any(low <= point <= high for low, high in self.ranges)


class Anchor(NamedTuple):
    """`^` or `$`."""

    is_end: bool


class Sequence(NamedTuple):
    """Parts, one after the other."""

    parts: list[Node]


class Choice(NamedTuple):
    """One of several."""

    options: list[Node]


class Repeat(NamedTuple):
    """A part, several times; `high` is None for any number."""

    part: Node
    low: int
    high: int | None


class _Fork(NamedTuple):
    first: int
    other: int


Node = Characters | Anchor | Sequence | Choice | Repeat
_Instruction = Characters | Anchor | _Fork | None  # None is the end: the text matches


def why_broken(text: Any) -> str:
    """Say why a text is no pattern; "" when it is one, supported or not, or no text."""
    try:
        Pattern(text) if isinstance(text, str) else None
    except UnsupportedPatternError as error:
        return str(error) if error.is_broken else ""
    return ""


def negated(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Give all other code points."""
    gaps, begin = [], 0
    for low, high in sorted(ranges):
        if low > begin:
            gaps.append((begin, low - 1))
        begin = max(begin, high + 1)
    return (*gaps, (begin, _LAST)) if begin <= _LAST else tuple(gaps)


# --- reading -----------------------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            self._refuse("a closing parenthesis without its opening one", is_broken=True)
        return node

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        taken = self._next()
        if not taken:
            self._refuse("an end in the middle of it", is_broken=True)
        self._at += 1
        return taken

    def _refuse(self, what: str, *, is_broken: bool = False) -> NoReturn:
        raise UnsupportedPatternError(what, is_broken=is_broken)

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(options)

    def _sequence(self) -> Node:
        parts = []
        while self._next() not in {"", "|", ")"}:
            parts.append(self._quantified(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(parts)

    def _quantified(self, atom: Node) -> Node:
        match = _QUANTIFIER.match(self._text, self._at)
        if not match:
            return atom
        if isinstance(atom, Anchor):
            self._refuse("a repeated ^ or $")
        self._at = match.end()
        symbol, low, comma, high = match.groups()
        if symbol:
            return Repeat(atom, int(symbol == "+"), 1 if symbol == "?" else None)
        most = int(high) if high else None if comma else int(low)
        if most is not None and most < int(low):
            self._refuse("a quantifier whose numbers are out of order", is_broken=True)
        return Repeat(atom, int(low), most)

    def _atom(self) -> Node:
        if self._next() == "(":
            return self._group()
        match taken := self._take():
            case "[":
                return self._class()
            case "^" | "$":
                return Anchor(taken == "$")
            case ".":
                return Characters(negated(_LINE_ENDS))
            case "\\":
                return Characters(self._escaped())
            case "*" | "+" | "?":
                self._refuse(f"{taken} without something to repeat", is_broken=True)
            case "{" if _BRACES.match(self._text, self._at - 1):
                self._refuse("braces without something to repeat, or without a first number")
        return Characters(((ord(taken), ord(taken)),))

    def _group(self) -> Node:
        match = _GROUP.match(self._text, self._at)
        if not match:
            what = {"=": "looking ahead", "!": "looking ahead", "<": "looking behind"}
            self._refuse(what.get(self._text[self._at + 2 : self._at + 3], "inline flags and other groups with ?"))
        self._at = match.end()
        self._depth += 1
        if self._depth > _MAX_NESTING:
            self._refuse(f"more than {_MAX_NESTING} groups inside each other")
        node = self._choice()
        if self._take() != ")":
            self._refuse("an opening parenthesis without its closing one", is_broken=True)
        self._depth -= 1
        return node

    def _escaped(self) -> Ranges:
        if match := _CODE_POINT.match(self._text, self._at):
            self._at = match.end()
            point = int(next(filter(None, match.groups())), 16)
            if pair := _SURROGATES.match(self._text, match.start() - 1):
                self._at, point = pair.end(), ord(json.loads(f'"{pair[0]}"'))
            if point > _LAST or 0xD800 <= point <= 0xDFFF:
                self._refuse("half of a surrogate pair, or no code point")
            return ((point, point),)
        escape = self._take()
        if escape.lower() in _CLASSES:
            ranges = _CLASSES[escape.lower()]
            return ranges if escape.islower() else negated(ranges)
        if escape == "0" and self._next().isdigit():
            self._refuse("an octal escape")
        if escape.isalnum() and escape not in _CONTROLS:
            self._refuse({"p": "properties of Unicode", "P": "properties of Unicode", "b": "word boundaries",
                          "B": "word boundaries"}.get(escape, f"the escape \\{escape}"))  # fmt: skip
        point = ord(_CONTROLS.get(escape, escape))
        return ((point, point),)

    def _class(self) -> Node:
        is_negated = self._next() == "^"
        self._at += is_negated
        ranges: list[tuple[int, int]] = []
        while self._next() != "]":
            first = self._in_class()
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in {"]", ""}:
                self._at += 1
                first = self._range(first, self._in_class())
            ranges += first
        self._at += 1
        return Characters(negated(ranges) if is_negated else tuple(ranges))

    def _range(self, first: Ranges, last: Ranges) -> Ranges:
        if any(len(end) > 1 or end[0][0] < end[0][1] for end in (first, last)):  # one of them is a class
            return (*first, (ord("-"), ord("-")), *last)
        (low, _), (_, high) = *first, *last
        if low > high:
            self._refuse("a range whose ends are out of order", is_broken=True)
        return ((low, high),)

    def _in_class(self) -> Ranges:
        taken = self._take()
        if taken == "\\" and self._next() == "b":  # in a class it is the backspace
            self._at += 1
            return ((8, 8),)
        return self._escaped() if taken == "\\" else ((ord(taken), ord(taken)),)


# --- matching ----------------------------------------------------------------------------------------------------


class _Writer:
    """Writes a pattern as instructions, one after the other; a fork goes on at two of them."""

    def __init__(self) -> None:
        self.code: list[_Instruction] = []
        self._left = MAX_INSTRUCTIONS

    def write(self, node: Node) -> None:
        """Write a node of the pattern; raises UnsupportedPatternError when there are too many, repetitions included."""
        self._left -= 1
        if self._left < 0:
            raise UnsupportedPatternError(f"more than {MAX_INSTRUCTIONS} repetitions, written out")
        match node:
            case Sequence(parts):
                for part in parts:
                    self.write(part)
            case Choice(options):
                self._choose(options)
            case Repeat(part, low, high):
                for _ in range(low):
                    self.write(part)
                self._repeat(part, None if high is None else high - low)
            case _:
                self.code.append(node)

    def _reserve(self) -> int:
        """Leave a place for a fork whose other end is not known yet."""
        self.code.append(None)
        return len(self.code) - 1

    def _choose(self, options: list[Node]) -> None:
        ends = []
        for option in options[:-1]:
            place = self._reserve()
            self.write(option)
            ends.append(self._reserve())
            self.code[place] = _Fork(place + 1, len(self.code))
        self.write(options[-1])
        for end in ends:
            self.code[end] = _Fork(len(self.code), len(self.code))

    def _repeat(self, part: Node, times: int | None) -> None:
        places = []
        for _ in range(1 if times is None else times):
            places.append(self._reserve())
            self.write(part)
        if times is None:
            self.code.append(_Fork(places[0], places[0]))
        for place in places:
            self.code[place] = _Fork(place + 1, len(self.code))


class _State(dict[str, "_State"]):
    """Where a text has led: the instructions that may be next; as a dict, the states that characters lead to."""

    def __init__(self, step: Callable[[_State, str], _State], places: frozenset[int], *, accepts: bool) -> None:
        super().__init__()
        self._step = step
        self.places = places
        self.accepts = accepts  # the text matches if it ends here

    def __missing__(self, character: str) -> _State:
        return self._step(self, character)


class Pattern:
    """A pattern; a text that is not one, or cannot be matched, raises UnsupportedPatternError."""

    def __init__(self, text: str) -> None:
        self.tree = _Parser(text).parse()
        writer = _Writer()
        writer.write(self.tree)
        self._code = [*writer.code, None]
        self._match = len(self._code) - 1
        self._after = [self._closure({place + 1}) for place in range(self._match)]
        self._anywhere = self._closure({0})
        self._states: dict[frozenset[int], _State] = {}
        self._steps = 0
        start = self._closure({0}, at_start=True)
        accepts = self._match in self._closure(start, at_start=True, at_end=True)
        self._first = _State(self._step, start, accepts=accepts)

    @property
    def longest(self) -> int:
        """How many characters a text may have: longer ones do not match."""
        return MAX_WORK // len(self._code)

    def matches(self, text: str) -> bool:
        """Tell whether the pattern occurs in a text that is not too long for it."""
        if len(text) > self.longest:
            return False
        state = self._first
        for character in text:
            state = state[character]
        return state.accepts

    def _step(self, state: _State, character: str) -> _State:
        """Find where a character leads; remember it."""
        if self._match in state.places:
            return state
        point = ord(character)
        following = self._anywhere.union(*[self._after[place] for place in state.places if self._takes(place, point)])
        self._steps += 1
        if self._steps > MAX_STEPS:
            self._forget()
        state[character] = reached = self._states.get(following) or self._state(following)
        return reached

    def _forget(self) -> None:
        self._steps = 1
        for each in (*self._states.values(), self._first):
            each.clear()
        self._states.clear()

    def _state(self, places: frozenset[int]) -> _State:
        accepts = self._match in self._closure(places, at_end=True)
        self._states[places] = made = _State(self._step, places, accepts=accepts)
        return made

    def _takes(self, place: int, point: int) -> bool:
        instruction = self._code[place]
        return isinstance(instruction, Characters) and instruction.has(point)

    def _closure(self, places: Iterable[int], *, at_start: bool = False, at_end: bool = False) -> frozenset[int]:
        """Follow forks and the anchors that hold; anchors that do not are kept, for the end may come."""
        found: set[int] = set()
        pending = list(places)
        while pending:
            place = pending.pop()
            if place in found:
                continue
            found.add(place)
            match self._code[place]:
                case _Fork(first, other):
                    pending += (first, other)
                case Anchor(is_end) if at_end if is_end else at_start:
                    pending.append(place + 1)
        return frozenset(place for place in found if not isinstance(self._code[place], _Fork))
