"""The source of a Python function while it is generated: its lines, fresh names, and the objects that it uses.

The function makes bytes out of parts: constants, numbers of fixed size, and expressions. Neighbours that are constants
or numbers become one call of `struct`, which costs hardly more for eight values than for one. Parts that are known
before the function is called are joined before.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Number(NamedTuple):
    """A part of fixed size: how `struct` packs it, and the name of its value."""

    format: str
    value: str


class Entry(NamedTuple):
    """A part that is looked up: the name of a table, and that of the key.

    The table's method `after` makes a table with a constant before each entry.
    """

    table: str
    value: str


class Known(NamedTuple):
    """A part that is known before the function is called: the name of its bytes."""

    name: str


Part = bytes | Known | Number | Entry | str  # a constant, known, a number, a table's entry, or an expression of bytes


class SourceWriter:
    """Collects lines."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {"join": b"".join}  # the objects that the lines name
        self.heads: dict[str, list[bytes | Known]] = {}  # name -> the parts that are joined under it before the call
        self._lines: list[str] = []
        self._indent = 0
        self._names = 0

    def line(self, text: str) -> None:
        """Write a line."""
        self._lines.append("    " * self._indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a line, and indent what is written inside."""
        self.line(head)
        self._indent += 1
        yield
        self._indent -= 1

    def name(self, stem: str) -> str:
        """Make a unique name."""
        self._names += 1
        return f"{stem}{self._names}"

    def let(self, stem: str, expression: str) -> str:
        """Write an assignment; give the new variable's name."""
        name = self.name(stem)
        self.line(f"{name} = {expression}")
        return name

    def bind(self, stem: str, value: object) -> str:
        """Bind an object to a new name."""
        name = self.name(stem)
        self.bound[name] = value
        return name

    def joined(self, parts: list[Part]) -> str:
        """Write the expression of all parts' bytes, one after the other."""
        match self.pieces(parts):
            case []:
                return "b''"
            case [one]:
                return one
            case [one, two]:
                return f"{one} + {two}"
            case pieces:
                return f"join(({', '.join(pieces)}))"

    def pieces(self, parts: list[Part]) -> list[str]:
        """Write the parts as few expressions."""
        pieces: list[str] = []
        parts = self._joined_before(self._folded(parts))
        for is_packed, neighbours in groupby(parts, key=lambda part: isinstance(part, bytes | Number)):
            run = list(neighbours)
            pieces += [self._packed(run)] if is_packed else map(_expression, run)
        return pieces

    def _joined_before(self, parts: list[Part]) -> list[Part]:
        """Replace neighbours that are known or constant by one name."""
        joined: list[Part] = []
        for _, neighbours in groupby(parts, key=lambda part: isinstance(part, bytes | Known)):
            run = list(neighbours)
            known = [part for part in run if isinstance(part, bytes | Known)]
            if len(known) > 1 and any(isinstance(part, Known) for part in known):
                name = self.name("head")
                self.heads[name] = known
                run = [Known(name)]
            joined += run
        return joined

    def _folded(self, parts: list[Part]) -> list[Part]:
        """Put the index of a union's branch, a byte, into the table of the entry that follows it."""
        folded: list[Part] = []
        for part in parts:
            before = folded[-1] if folded else None
            if isinstance(part, Entry) and isinstance(before, bytes) and len(before) == 1:
                folded[-1] = Entry(self._after(before, part.table), part.value)
            elif part:
                folded.append(part)
        return folded

    def _after(self, prefix: bytes, table: str) -> str:
        name = f"{table}_{prefix.hex()}"
        if name not in self.bound:
            self.bound[name] = self.bound[table].after(prefix)
        return name

    def _packed(self, run: list[Part]) -> str:
        constants = [part for part in run if isinstance(part, bytes)]
        if len(constants) == len(run):
            return repr(b"".join(constants))
        numbers = [_number(part) for part in run]
        layout = "".join(number.format for number in numbers)
        self.bound[f"pack_{layout}"] = Struct(f"<{layout}").pack
        return f"pack_{layout}({', '.join(number.value for number in numbers)})"

    def compile(self, title: str) -> dict[str, Any]:
        """Run the source, under a title that a traceback shows as the file name; give all that it defines."""
        exec(compile(str(self), title, "exec"), self.bound)  # noqa: S102 - generated here: outside names are in it as repr() only
        return self.bound

    def insert(self, number: int, text: str) -> None:
        """Insert a line before the line with this number, with its indentation."""
        line = self._lines[number]
        self._lines.insert(number, line[: len(line) - len(line.lstrip())] + text)

    def __str__(self) -> str:
        return "\n".join(self._lines)


def _expression(part: Part) -> str:
    match part:
        case Entry(table, value):
            return f"{table}[{value}]"
        case Known(name):
            return name
    return str(part)


def _number(part: Part) -> Number:
    if isinstance(part, bytes):
        return Number(f"{len(part)}s", repr(part))
    assert isinstance(part, Number), "a run is packed of constants and numbers"
    return part
