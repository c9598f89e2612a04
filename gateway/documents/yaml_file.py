"""A YAML file -> plain data and lines.

libyaml, which the wheels of PyYAML contain, parses the text into events with their positions; PyYAML's own parser takes
20 times as long. What PyYAML makes of the events is not used, because YAML 1.1 would read `on`, `012` and `12:30` as
true, 10 and 750. This file decides instead:

- Plain scalars are numbers only in the forms of JSON, and `true`, `false` and `null` only in the spellings of YAML 1.2.
  Everything else is text: `on`, `no`, `012`, `12:30`, `1_000`, `0x1F`, `.inf`, `2026-01-05`. If a setting needs a
  number, its own check rejects such text.
- Keys are text.
- Anchors, aliases, merge keys and tags are rejected. Nothing needs them, a 300-byte file of aliases expands to
  gigabytes, and a value would have two places.
- Repeated keys are rejected (PyYAML silently takes the last).
- At most 64 levels and 100 findings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from gateway.documents.source import MAXIMUM_DEPTH, Place, Source, dotted, read_text, refuse
from gateway.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAXIMUM_FINDINGS = 100

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_OMITTED: Any = object()  # stands for a rejected value, which is left out


def scalar(text: str) -> str | int | float | bool | None:
    """Read a plain (unquoted) scalar; raises ValueError for a number that Python cannot represent."""
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    if number[1] is None and number[2] is None:
        return int(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("too large")
    return value


def read(path: Path, name: str | None = None, write: Callable[[Place], str] = dotted) -> Source:
    """Read a YAML file whose top is a mapping; findings name it by its path, and places with `dotted` or `pointer`.

    It raises ConfigurationError, with every finding, when the rest of the file cannot be read.
    """
    return parse(read_text(path, name or str(path)), path, name or str(path), write)


def parse(text: str, path: Path, name: str, write: Callable[[Place], str] = dotted) -> Source:
    """Parse the text of a YAML file; as `read`."""
    return _Reader(Source(path, name, {}), write).read(text)


_NO_MAPPING = "Check that it is the right file; it needs `key: value` lines."


class _Reader:
    """Turns the events of one file into data."""

    def __init__(self, source: Source, write: Callable[[Place], str]) -> None:
        self._source = source
        self._write = write
        self._events: Iterator[Any] = iter(())

    def read(self, text: str) -> Source:
        self._events = yaml.parse(text, Loader=yaml.CSafeLoader)
        try:
            self._source.data.update(self._document())
        except yaml.reader.ReaderError as error:
            character = chr(int(error.character))
            line = text.count("\n", 0, text.find(character)) + 1
            self._stop(line, f"Character U+{ord(character):04X} is not allowed in YAML.", "Remove it.")
        except yaml.MarkedYAMLError as error:
            self._stop(*_explained(error, text))
        return self._source

    def _document(self) -> dict[str, Any]:
        next(self._events)  # the start of the stream
        is_empty = isinstance(next(self._events), yaml.StreamEndEvent)
        top = None if is_empty else next(self._events)
        if top is None or (isinstance(top, yaml.ScalarEvent) and not top.value):
            self._stop(0, "The file is empty.", _NO_MAPPING)
        data = self._value(top, ())
        next(self._events)  # the end of the document
        end = next(self._events)
        if not isinstance(end, yaml.StreamEndEvent):
            self._stop(_line(end), "A second document begins here.", "Keep one document in the file.")
        if not isinstance(data, dict):
            kind = "a list" if isinstance(data, list) else "one value"
            self._stop(_line(top), f"The top of the file is {kind}, not a mapping.", _NO_MAPPING)
        return data

    def _value(self, event: Any, place: Place) -> Any:
        if len(place) > MAXIMUM_DEPTH:
            self._stop(_line(event), f"The file is nested more than {MAXIMUM_DEPTH} levels deep.", "Use fewer levels.")
        self._check_syntax(event, place)
        if isinstance(event, yaml.AliasEvent):
            return _OMITTED
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place)
        return self._scalar(event, place)

    def _check_syntax(self, event: Any, place: Place) -> None:
        """Report an alias, an anchor or a tag."""
        if isinstance(event, yaml.AliasEvent):
            self._find(event, place, "An alias (`*name`) is not allowed.", "Write the value out.")
            return
        if event.anchor is not None:
            self._find(event, place, "An anchor (`&name`) is not allowed.", "Write the value out where it is used.")
        if event.tag is not None:
            self._find(event, place, "A tag (`!name`) is not allowed.", "Remove it; put text in quotes.")

    def _mapping(self, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, place)
            here = (*place, key)
            first = self._source.lines.get(here)
            if first is None:
                self._source.lines[here] = _line(event)
            else:
                self._find(event, here, f"The key is repeated; it is first on line {first}.", "Remove one of them.")
            value = self._value(next(self._events), here)
            if value is not _OMITTED and first is None:
                mapping[key] = value
        return mapping

    def _key(self, event: Any, place: Place) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._find(event, place, "A key must be text.", "Put it in quotes.")
            self._value(event, (*place, ""))
            return ""
        self._check_syntax(event, place)
        if not event.value:
            self._find(event, place, "A key is empty.", "Write its name before the colon.")
        if not event.style and event.value == "<<":
            self._find(event, place, "A merge key (`<<`) is not allowed.", "Write the keys out.")
        return str(event.value)

    def _sequence(self, place: Place) -> list[Any]:
        sequence: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*place, str(len(sequence)))
            self._source.lines[here] = _line(event)
            value = self._value(event, here)
            sequence.append(None if value is _OMITTED else value)
        return sequence

    def _scalar(self, event: Any, place: Place) -> Any:
        if event.style or event.tag is not None:
            return str(event.value)
        try:
            return scalar(event.value)
        except ValueError:
            self._find(event, place, "The number is too large.", "Put it in quotes if it is text.")
            return _OMITTED

    def _find(self, event: Any, place: Place, message: str, fix: str) -> None:
        found = self._source.findings
        found.append(Finding(self._source.name, _line(event), self._write(place), message, fix))
        if len(found) >= MAXIMUM_FINDINGS:
            self._stop(_line(event), f"The file has {MAXIMUM_FINDINGS} findings up to this line.", "Fix these first.")

    def _stop(self, line: int, message: str, fix: str) -> NoReturn:
        refuse(self._source.name, line, message, fix, self._source.findings)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str, str]:
    """The line of an error in the syntax, what is wrong, and the fix."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    if mark and "".join(text.splitlines()[mark.line : line])[mark.column : mark.column + 1] == "\t":
        return line, "The line is indented with a tab.", "Indent with spaces."
    problem = error.problem or "unknown error"
    if "escape code" in problem:
        return line, "An escape sequence names no character.", "Write the character itself."
    context = f" ({error.context})" if error.context else ""
    fix = "Check indentation, colons, brackets and quotes above this line."
    return line, f"The YAML is invalid: {problem}{context}.", fix
