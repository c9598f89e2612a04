"""A YAML file -> plain data and lines.

PyYAML composes a tree of nodes with their positions. Its constructor is not used, because YAML 1.1 would read `on`,
`012` and `12:30` as true, 10 and 750. This file decides instead:

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
    from collections.abc import Callable
    from pathlib import Path

MAXIMUM_FINDINGS = 100

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
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


class _TooDeepError(yaml.MarkedYAMLError):
    """A node below `MAXIMUM_DEPTH` levels; raised before the composer recurses into it."""


class Composer(yaml.SafeLoader):
    """PyYAML's composer with a limit of depth. It keeps what the composer resolves: anchors, aliases and tags.

    `tag` of a node is the syntax to reject (`*`, `&`, `!`, or several of them), and empty for all other nodes.
    """

    _depth = -1

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Compose a node, unless it is too deep; an alias becomes a scalar."""
        parser: Any = self  # the types of PyYAML cover its nodes, not its events
        event = parser.peek_event()
        if parser.check_event(yaml.AliasEvent):
            parser.get_event()
            return yaml.ScalarNode("*", "", event.start_mark, event.end_mark)
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise _TooDeepError(problem_mark=event.start_mark)
        self.anchors.clear()  # no alias looks one up, and two equal ones would end the parsing
        node = super().compose_node(parent, index)
        assert node is not None, "every event but an alias has a node"
        self._depth -= 1
        node.tag = "&" * (event.anchor is not None) + "!" * (event.tag is not None)
        return node

    def descend_resolver(self, parent: yaml.Node | None, index: Any) -> None:
        """Skip PyYAML's choice of tags by YAML 1.1: `scalar` decides."""

    def ascend_resolver(self) -> None:
        """As above."""

    def resolve(self, *_: Any) -> str:
        """As above."""
        return ""


_SYNTAX = {
    "*": ("An alias (`*name`) is not allowed.", "Write the value out."),
    "&": ("An anchor (`&name`) is not allowed.", "Write the value out where it is used."),
    "!": ("A tag (`!name`) is not allowed.", "Remove it; put text in quotes."),
}


class _Reader:
    """Turns the composed nodes of one file into data."""

    def __init__(self, source: Source, write: Callable[[Place], str]) -> None:
        self._source = source
        self._write = write

    def read(self, text: str) -> Source:
        try:
            loader = Composer(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self._stop(line, f"Character U+{error.character:04X} is not allowed in YAML.", "Remove it.")
        try:
            self._source.data.update(self._top(loader))
        except yaml.MarkedYAMLError as error:
            self._stop(*_explained(error))
        except (ValueError, OverflowError):  # PyYAML passes the number of "\U00110000" to chr()
            self._stop(loader.line + 1, "An escape sequence names no character.", "Write the character itself.")
        return self._source

    def _top(self, loader: Composer) -> dict[str, Any]:
        top = loader.get_single_node()
        if top is None or (isinstance(top, yaml.ScalarNode) and not (top.value or top.tag)):
            self._stop(0, "The file is empty.", "Check that it is the right file; it needs `key: value` lines.")
        data = self._value(top, ())
        if not isinstance(data, dict):
            kind = "a list" if isinstance(data, list) else "one value"
            fix = "Check that it is the right file; it needs `key: value` lines."
            self._stop(_line(top), f"The top of the file is {kind}, not a mapping.", fix)
        return data

    def _value(self, node: Any, place: Place) -> Any:
        self._check_syntax(node, place)
        if "*" in node.tag:
            return _OMITTED
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, place)
        return self._scalar(node, place)

    def _check_syntax(self, node: yaml.Node, place: Place) -> None:
        for syntax in node.tag:
            self._find(node, place, *_SYNTAX[syntax])

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, place)
            here = (*place, key)
            first = self._source.lines.get(here)
            if first is None:
                self._source.lines[here] = _line(key_node)
            else:
                self._find(key_node, here, f"The key is repeated; it is first on line {first}.", "Remove one of them.")
            value = self._value(value_node, here)
            if value is not _OMITTED and first is None:
                mapping[key] = value
        return mapping

    def _key(self, node: yaml.Node, place: Place) -> str:
        if not isinstance(node, yaml.ScalarNode) or "*" in node.tag:
            self._find(node, place, "A key must be text.", "Put it in quotes.")
            self._value(node, (*place, ""))
            return ""
        self._check_syntax(node, place)
        if not node.value:
            self._find(node, place, "A key is empty.", "Write its name before the colon.")
        if node.style is None and node.value == "<<":
            self._find(node, place, "A merge key (`<<`) is not allowed.", "Write the keys out.")
        self._check_surrogates(node, place)
        return _SURROGATE.sub("\ufffd", str(node.value))

    def _sequence(self, node: yaml.Node, place: Place) -> list[Any]:
        sequence: list[Any] = []
        for index, item in enumerate(node.value):
            here = (*place, str(index))
            self._source.lines[here] = _line(item)
            value = self._value(item, here)
            sequence.append(None if value is _OMITTED else value)
        return sequence

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        self._check_surrogates(node, place)
        if node.style is not None or node.tag:
            return str(node.value)
        try:
            return scalar(node.value)
        except ValueError:
            self._find(node, place, "The number is too large.", "Put it in quotes if it is text.")
            return _OMITTED

    def _check_surrogates(self, node: yaml.Node, place: Place) -> None:
        if _SURROGATE.search(node.value):
            self._find(node, place, "The text contains half of a surrogate pair.", "Write the character itself.")

    def _find(self, node: yaml.Node, place: Place, message: str, fix: str) -> None:
        found = self._source.findings
        found.append(Finding(self._source.name, _line(node), self._write(place), message, fix))
        if len(found) >= MAXIMUM_FINDINGS:
            self._stop(_line(node), f"The file has {MAXIMUM_FINDINGS} findings up to this line.", "Fix these first.")

    def _stop(self, line: int, message: str, fix: str) -> NoReturn:
        refuse(self._source.name, line, message, fix, self._source.findings)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _explained(error: yaml.MarkedYAMLError) -> tuple[int, str, str]:
    """The line of an error in the syntax, what is wrong, and the fix."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    problem = error.problem or "unknown error"
    if isinstance(error, _TooDeepError):
        return line, f"The file is nested more than {MAXIMUM_DEPTH} levels deep.", "Use fewer levels."
    if "another document" in problem:
        return line, "A second document begins here.", "Keep one document in the file."
    if "'\\t'" in problem:
        return line, "The line is indented with a tab.", "Indent with spaces."
    context = f" ({error.context})" if error.context else ""
    fix = "Check indentation, colons, brackets and quotes above this line."
    return line, f"The YAML is invalid: {problem}{context}.", fix
