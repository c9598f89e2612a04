"""A YAML file of the operator -> plain data, and the line of every key; contract and settings are read this way.

YAML has more readings than its authors' eyes. What this file decides:

- Plain scalars are numbers only where JSON says so, `true`, `false` and `null` in YAML 1.2's spellings, and text
  otherwise: `on`, `no`, `012`, `12:30`, `1_000`, `0x1F`, `.inf` and `2026-01-05` are text. Where a number is wanted
  such text is refused by whoever checks the value; where text is wanted it is what was written. PyYAML's own
  resolver (YAML 1.1) makes True, False, 10, 750, 1000, 31, infinity and a date of them.
- Keys are text as written.
- Anchors, aliases, merge keys and tags are refused: nothing here needs them, a 300-byte file of aliases unfolds to
  gigabytes, and the line of a value would no longer be the line to mend.
- Keys that stand twice are refused (PyYAML keeps the last in silence).
- Bounded: 1 MB, 64 levels, 100 findings.

The parser's events are walked instead of its node tree: the composer recurses, and the tree has no room for keys
that stand twice.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from gateway.errors import ConfigurationError, Finding
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Place = tuple[str | int, ...]  # the way into a document: ("servers", "kafka", "host")

MAXIMUM_BYTES = 1_000_000
MAXIMUM_DEPTH = 64
MAXIMUM_FINDINGS = 100

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_OMITTED = object()  # stands for a value that was refused, so that it is left out


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says, and where.

    Args:
        path: the file.
        data: the mapping at the top: dict, list, str, int, float, bool and None.
        lines: 1-based line of each key and list item.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest one around it; 0 for the whole document."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def dotted(place: Place) -> str:
    """Write a place as settings do: `servers.kafka.host`."""
    return printable(".".join(map(str, place)))


def pointer(place: Place) -> str:
    """Write a place as a contract does: `#/servers/kafka/host`, a JSON pointer (RFC 6901) in a URI fragment."""
    return printable("#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place))


def propose(name: str, known: Iterable[str]) -> str:
    """Propose the nearest of the known names, or tell them all.

    Args:
        name: what was written.
        known: what could have been.

    Returns:
        A sentence, or "" when nothing is known.
    """
    names = {re.sub("[^a-z0-9]", "", each.lower()): each for each in known}
    near = difflib.get_close_matches(re.sub("[^a-z0-9]", "", name.lower()), names, n=1)
    if near:
        return f"Did you mean {names[near[0]]}?"
    return f"Known here: {', '.join(names.values())}." if names else ""


def scalar(text: str) -> str | int | float | bool | None:
    """Read a plain (unquoted) scalar.

    Args:
        text: as it stands in the file.

    Returns:
        The value by the rules above.

    Raises:
        ValueError: when it is a number that Python cannot hold.
    """
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


def read(path: Path, *, write: Callable[[Place], str] = dotted, collect: list[Finding] | None = None) -> Document:
    """Read a YAML file whose top is a mapping.

    Args:
        path: the file.
        write: how findings name a place, `dotted` or `pointer`.
        collect: receives findings that leave the rest readable (a key twice, an anchor), so that the caller can
            report them together with its own; without it they are raised.

    Returns:
        The data with the line of every key.

    Raises:
        ConfigurationError: with every finding, when the file cannot be read or is no such YAML.
    """
    found: list[Finding] = [] if collect is None else collect
    document = _Reader(path, _text(path), write, found).document()
    if collect is None and found:
        raise ConfigurationError(found)
    return document


def read_bytes(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file and what the same open file says of its mode.

    Args:
        path: the file; a pipe or device is refused before anything is read, so that nothing hangs.
        limit: bytes; one more than this is read at most.

    Returns:
        The content, longer than `limit` when the file is, and the result of fstat.

    Raises:
        OSError: when it cannot be read; `IsADirectoryError` and a plain OSError "is no regular file" included.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:  # noqa: PTH123  (a descriptor has no path)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "is no regular file")
        return file.read(limit + 1), status


def explain(error: OSError) -> str:
    """Say in words why a file cannot be read: `is not there`, `may not be read by user 1000`."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "is not there"
    if isinstance(error, PermissionError):
        return f"may not be read by user {os.geteuid()}"
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    if error.errno is None:
        return str(error.strerror)
    return f"cannot be read: {error.strerror}"


def _refuse(path: Path, line: int, message: str, fix: str) -> NoReturn:
    raise ConfigurationError([Finding(str(path), line, "", message, fix)])


def _text(path: Path) -> str:
    try:
        content, _ = read_bytes(path, MAXIMUM_BYTES)
    except ValueError:  # a NUL in the name
        _refuse(path, 0, "The file name holds a NUL character.", "Give another name.")
    except OSError as error:
        _refuse(path, 0, f"The file {explain(error)}.", "Check the path and its permissions.")
    if len(content) > MAXIMUM_BYTES:
        _refuse(path, 0, f"The file is larger than {MAXIMUM_BYTES:,} bytes.", "Is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(path, line, f"Byte {error.start} is not UTF-8.", "Save the file as UTF-8.")


class _Reader:
    """One pass over the parser's events."""

    def __init__(self, path: Path, text: str, write: Callable[[Place], str], found: list[Finding]) -> None:
        self._path = path
        self._text = text
        self._write = write
        self._found = found
        self._lines: dict[Place, int] = {}

    def document(self) -> Document:
        try:
            loader = yaml.SafeLoader(self._text)
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            self._stop(line, f"Character U+{error.character:04X} is not allowed in YAML.", "Remove it.")
        try:
            data = self._top(loader)
        except yaml.MarkedYAMLError as error:
            self._stop(*_syntax(error))
        except (ValueError, OverflowError):  # PyYAML makes "\U00110000" with chr() and lets its complaint through
            self._stop(loader.line + 1, "An escape names a character that does not exist.", "Write the text itself.")
        return Document(self._path, data, self._lines)

    def _top(self, loader: yaml.SafeLoader) -> dict[str, Any]:
        events = iter(loader.get_event, None)
        first = self._content(events)
        if isinstance(first, yaml.StreamEndEvent) or (isinstance(first, yaml.ScalarEvent) and not first.value):
            self._stop(0, "The file is empty.", "Is it the right file? It holds `key: value` lines.")
        data = self._value(first, events, ())
        following = self._content(events)
        if not isinstance(following, yaml.StreamEndEvent):
            self._stop(_line(following), "A second document begins here.", "Keep one document in the file.")
        if not isinstance(data, dict):
            self._stop(_line(first), "The file is no mapping.", "Write `key: value` lines at the top.")
        return data

    def _content(self, events: Iterator[Any]) -> Any:
        skipped = yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.DocumentEndEvent
        return next(event for event in events if not isinstance(event, skipped))

    def _value(self, event: Any, events: Iterator[Any], place: Place) -> Any:
        if len(place) > MAXIMUM_DEPTH:
            self._stop(_line(event), f"The file is nested more than {MAXIMUM_DEPTH} levels deep.", "Make it flatter.")
        if isinstance(event, yaml.AliasEvent):
            self._find(event, place, "An alias (`*name`) is not allowed.", "Write the value out.")
            return _OMITTED
        self._check_decoration(event, place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, place)
        return self._scalar(event, place)

    def _check_decoration(self, event: Any, place: Place) -> None:
        if event.anchor is not None:
            self._find(event, place, "An anchor (`&name`) is not allowed.", "Write the value out where it is used.")
        if event.tag is not None:
            self._find(event, place, "A tag (`!name`) is not allowed.", "Leave it out; quote what shall be text.")

    def _mapping(self, events: Iterator[Any], place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, events, place)
            here = (*place, key)
            is_first = here not in self._lines
            if is_first:
                self._lines[here] = _line(event)
            else:
                self._find(event, here, f"The key stands twice, first on line {self._lines[here]}.", "Remove one.")
            value = self._value(next(events), events, here)
            if value is not _OMITTED and is_first:
                mapping[key] = value
        return mapping

    def _key(self, event: Any, events: Iterator[Any], place: Place) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._find(event, place, "A key must be text.", "Put quotes around it.")
            self._value(event, events, (*place, ""))
            return ""
        self._check_decoration(event, place)
        key = str(event.value)
        if not key:
            self._find(event, place, "A key is empty.", "Write its name before the colon.")
        if event.implicit[0] and key == "<<":
            self._find(event, place, "A merge key (`<<`) is not allowed.", "Write the keys out.")
        self._check_surrogates(event, place)
        return _SURROGATE.sub("\ufffd", key)

    def _sequence(self, events: Iterator[Any], place: Place) -> list[Any]:
        sequence: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*place, len(sequence))
            self._lines[here] = _line(event)
            value = self._value(event, events, here)
            sequence.append(None if value is _OMITTED else value)
        return sequence

    def _scalar(self, event: Any, place: Place) -> Any:
        self._check_surrogates(event, place)
        if not event.implicit[0]:
            return str(event.value)
        try:
            return scalar(event.value)
        except ValueError:
            self._find(event, place, "The number is too large.", "Quote it if it shall be text.")
            return _OMITTED

    def _check_surrogates(self, event: Any, place: Place) -> None:
        if _SURROGATE.search(event.value):
            self._find(event, place, "The text holds half a surrogate pair.", "Write the character itself.")

    def _find(self, event: Any, place: Place, message: str, fix: str) -> None:
        self._found.append(Finding(str(self._path), _line(event), self._write(place), message, fix))
        if len(self._found) >= MAXIMUM_FINDINGS:
            self._stop(_line(event), f"There are {MAXIMUM_FINDINGS} findings up to here.", "Mend these first.")

    def _stop(self, line: int, message: str, fix: str) -> NoReturn:
        raise ConfigurationError([*self._found, Finding(str(self._path), line, "", message, fix)]) from None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _syntax(error: yaml.MarkedYAMLError) -> tuple[int, str, str]:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    problem = error.problem or "the YAML is broken"
    if "'\\t'" in problem:
        return line, "A tab stands where YAML wants spaces.", "Indent with spaces."
    context = f" ({error.context})" if error.context else ""
    return (
        line,
        f"This is no YAML: {problem}{context}.",
        "Check indentation, colons, brackets and quotes above this line.",
    )
