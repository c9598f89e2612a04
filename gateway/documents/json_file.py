"""A JSON file -> plain data and lines.

`json` parses it, because YAML parsers reject tabs and surrogate pairs, which JSON allows. `json` accepts what a schema
must not contain (repeated keys, NaN, half of a surrogate pair) and reports no lines, so the tokens of the text are
scanned once more for these.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.documents.source import MAXIMUM_DEPTH, Place, Source, pointer, read_text, refuse
from gateway.errors import Finding

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


def read(path: Path, name: str) -> Source:
    """Read a JSON file by the name that findings use; raises ConfigurationError when that is not possible."""
    return parse(read_text(path, name), path, name)


def parse(text: str, path: Path, name: str) -> Source:
    """Parse the text of a JSON file; raises ConfigurationError when it is not JSON."""
    try:
        if _depth(text) > MAXIMUM_DEPTH:
            refuse(name, 0, f"The file is nested more than {MAXIMUM_DEPTH} levels deep.", "Use fewer levels.")
        _check_constants(text, name)
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        fix = "Check commas, brackets and quotes before this line."
        refuse(name, error.lineno, f"The JSON is invalid: {error.msg}.", fix)
    except UnicodeEncodeError:
        refuse(name, 0, "The file contains half of a surrogate pair.", "Write the character itself.")
    except ValueError as error:  # a number that Python cannot represent
        refuse(name, 0, f"The JSON is invalid: {str(error).partition(';')[0]}.", "Write a shorter number.")
    return Source(path, name, data, *_lines(text, name))


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in {"[", "{"}) - (match[0] in {"]", "}"})
        deepest = max(deepest, depth)
    return deepest


def _check_constants(text: str, name: str) -> None:
    """Reject numbers that Python's parser accepts and JSON does not have."""
    for match in _TOKEN.finditer(text):
        if match[0] in {"NaN", "Infinity", "-Infinity"}:
            line = text.count("\n", 0, match.start()) + 1
            refuse(name, line, f"{match[0]} is not a number in JSON.", "Write a number, or null.")


@dataclass(slots=True)
class _Open:
    """An object or array whose end has not been reached."""

    place: Place
    is_list: bool
    index: int = 0
    key: str | None = None

    def current(self) -> Place:
        """The place of the member or item that is being scanned."""
        return (*self.place, str(self.index) if self.is_list else self.key or "")


def _lines(text: str, name: str) -> tuple[dict[Place, int], list[Finding]]:
    """The lines of a text that is known to be JSON, and its repeated keys."""
    lines: dict[Place, int] = {(): 1}
    findings: list[Finding] = []
    stack: list[_Open] = []
    line, scanned = 1, 0
    for match in _TOKEN.finditer(text):
        line, scanned = line + text.count("\n", scanned, match.start()), match.start()
        mark, top = match[0], stack[-1] if stack else None
        if mark in {"]", "}"}:
            stack.pop()
        elif mark == "," and top:
            top.index, top.key = top.index + 1, None
        elif mark == ":":
            continue
        elif top and not top.is_list and top.key is None:
            top.key = json.loads(mark)
            if top.current() in lines:
                findings.append(Finding(name, line, pointer(top.current()), "The key is repeated.", "Remove one."))
            lines[top.current()] = line
        else:
            here = top.current() if top else ()
            lines.setdefault(here, line)
            if mark in {"[", "{"}:
                stack.append(_Open(here, mark == "["))
    return lines, findings
