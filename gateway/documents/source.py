"""One file of the contract as plain data, with the line of every value.

YAML is read as `settings/yaml_file.py` says. JSON (`.json`, `.avsc`) is read by `json`, because YAML parsers refuse
tabs and surrogate pairs that JSON allows, and `json` allows what a schema must not have: a key twice, NaN, half a
surrogate pair. It knows no lines, so a second look at the text, once it is known to be JSON, finds those.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from gateway.documents import yaml_file
from gateway.errors import ConfigurationError, Finding

Tokens = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A file that could be read.

    Args:
        path: absolute, for looking up what it refers to.
        name: as the operator gave it, for findings.
        data: mappings, lists, text, numbers, booleans and None.
        lines: 1-based line by path of keys.
        findings: what is wrong with it although the rest could be read.
    """

    path: Path
    name: str
    data: Any
    lines: dict[Tokens, int]
    findings: list[Finding] = field(default_factory=list)

    def line(self, tokens: Tokens) -> int:
        """The line of a value, or of the nearest value around it."""
        while tokens and tokens not in self.lines:
            tokens = tokens[:-1]
        return self.lines.get(tokens, 1)


def read(path: Path, name: str) -> Source:
    """Read a YAML or JSON file.

    Args:
        path: the file, absolute; JSON when it ends in `.json` or `.avsc`, else YAML.
        name: the same file as the operator would name it.

    Returns:
        Its data with lines.

    Raises:
        ConfigurationError: when it cannot be read, with all that was found until then.
    """
    if path.suffix in {".json", ".avsc"}:
        return _read_json(path, name)
    findings: list[Finding] = []
    document = yaml_file.read(Path(name), write=yaml_file.pointer, collect=findings)
    lines = {tuple(map(str, place)): line for place, line in document.lines.items()}
    return Source(path, name, document.data, lines, findings)


def shown(tokens: Tokens) -> str:
    """A path of keys as people read it: `#/channels/doors`, escaped and safe to print."""
    return yaml_file.pointer(tokens)


def _read_json(path: Path, name: str) -> Source:
    text = _text(path, name)
    try:
        if _depth(text) > yaml_file.MAXIMUM_DEPTH:
            _refuse(name, 0, f"It is nested more than {yaml_file.MAXIMUM_DEPTH} levels deep.", "Make it flatter.")
        _check_constants(text, name)
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        _refuse(name, error.lineno, f"This is no JSON: {error.msg}.", "Check commas, brackets and quotes before it.")
    except UnicodeEncodeError:
        _refuse(name, 0, "It holds half of a surrogate pair.", "Write the character itself.")
    except ValueError as error:  # a number beyond what Python holds
        _refuse(name, 0, f"This is no JSON: {str(error).partition(';')[0]}.", "Write a shorter number.")
    return Source(path, name, data, *_json_lines(text, name))


def _text(path: Path, name: str) -> str:
    content = b""
    try:
        content, _ = yaml_file.read_bytes(path, yaml_file.MAXIMUM_BYTES)
    except OSError as error:
        _refuse(name, 0, f"The file {yaml_file.explain(error)}.", "Check the path and its permissions.")
    except ValueError:
        _refuse(name, 0, "The file name holds a NUL character.", "Give another name.")
    if len(content) > yaml_file.MAXIMUM_BYTES:
        _refuse(name, 0, f"The file is larger than {yaml_file.MAXIMUM_BYTES:,} bytes.", "Is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(name, line, f"Byte {error.start} is not UTF-8.", "Save the file as UTF-8.")


def _refuse(name: str, line: int, message: str, fix: str = "") -> NoReturn:
    raise ConfigurationError([Finding(name, line, "", message, fix)]) from None


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in {"[", "{"}) - (match[0] in {"]", "}"})
        deepest = max(deepest, depth)
    return deepest


def _check_constants(text: str, name: str) -> None:
    """Numbers that Python's parser takes and JSON has not."""
    for match in _TOKEN.finditer(text):
        if match[0] in {"NaN", "Infinity", "-Infinity"}:
            line = text.count("\n", 0, match.start()) + 1
            _refuse(name, line, f"{match[0]} is no number in JSON.", "Write a number, or null.")


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been seen."""

    tokens: Tokens
    is_list: bool
    index: int = 0
    key: str | None = None

    def below(self) -> Tokens:
        return (*self.tokens, str(self.index) if self.is_list else self.key or "")


def _json_lines(text: str, name: str) -> tuple[dict[Tokens, int], list[Finding]]:
    """Lines of a text that is known to be JSON, and its repeated keys."""
    lines: dict[Tokens, int] = {(): 1}
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
            if top.below() in lines:
                fix = "Remove one."
                findings.append(Finding(name, line, shown(top.below()), "The key stands twice.", fix))
            lines[top.below()] = line
        else:
            here = top.below() if top else ()
            lines.setdefault(here, line)
            if mark in {"[", "{"}:
                stack.append(_Open(here, mark == "["))
    return lines, findings
