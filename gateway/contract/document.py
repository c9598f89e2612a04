"""The contract as a tree over all its files: references followed, traits applied, every value with its place.

A `Node` is a value and its place. `at()` goes down and follows `$ref` into other files, so that code which reads the
contract never sees a reference, and a finding still names the file and line to change. A missing member is a node too
(`is_absent`): all findings are reported at once, so reading an invalid document must return nothing instead of raising.
`references.py` checks once, over the whole tree, that every reference leads somewhere.

Only relative references to files are followed. With URLs a start would depend on the answers of other servers.
"""

from __future__ import annotations

import json
import os.path
import re
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gateway.core.codec.validation_error import tokens
from gateway.documents import json_file, yaml_file
from gateway.documents.source import Place, Source, pointer, read_text
from gateway.errors import ConfigurationError, DataError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_HOPS = 32  # references that lead to references
MAX_FILES = 200
JSON_SUFFIXES = {".json", ".avsc"}
MAX_WRITTEN_OUT = 20_000  # values of one schema, references written out

JSON = {"None": "null", "True": "true", "False": "false"}
PYTHON = re.compile(rf"\b(?:{'|'.join(JSON)})\b")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


class _Absent:
    """Stands for a missing member; None is a value that documents contain."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT = _Absent()


def quoted(value: Any) -> str:
    """A value as messages quote it: text in single quotes, bytes as the text of their code points, the rest as JSON."""

    def plain(other: Any) -> str:
        return other.decode("latin-1") if isinstance(other, bytes) else str(other)

    if value is ABSENT:
        return "nothing"
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=plain)


def explained(error: Any) -> str:
    """The message of an error of jsonschema, with values as JSON instead of Python."""
    text = str(error.message)
    for value in (error.instance, error.validator_value):
        text = text.replace(repr(value), quoted(value), 1)
    outside = (part for part in re.split(r"('[^']*'|\"[^\"]*\")", text))  # texts are quoted, and stay
    return "".join(part if part[:1] in {"'", '"'} else PYTHON.sub(lambda word: JSON[word[0]], part) for part in outside)


class ReferenceFault(DataError):  # noqa: N818 - a fault of the document, which becomes a finding
    """A `$ref` that leads nowhere; carries the reason and the fix."""

    def __init__(self, message: str, fix: str = "Correct the reference.") -> None:
        super().__init__(message)
        self.fix = fix


class TooLargeError(DataError):
    """A schema that is too large, or infinite, when its references are written out."""


class Document:
    """The files of one contract, each read once; `path` is the main file, which the source may have read already.

    `unsaved` has the text of files, by absolute path, that are to be checked before they are written.
    """

    def __init__(self, path: Path, source: Source | None = None, unsaved: Mapping[Path, str] | None = None) -> None:
        self.path = path
        self._unsaved = unsaved or {}
        self._sources: dict[Path, Source | ConfigurationError] = {}
        self._digests: dict[Path, bytes] = {}  # of the files, also of those that were only peeked at
        main = source or self.open(Path(_normal(path.absolute())), str(path))
        self.root = Node(self, main, (), main.data)

    def open(self, path: Path, name: str) -> Source:
        """Read a file by its absolute path and its name in findings, or return what was read before.

        When it cannot be read, every call raises ConfigurationError.
        """
        if path not in self._sources:
            if len(self._sources) >= MAX_FILES:
                message = f"The contract has more than {MAX_FILES} files."
                raise ConfigurationError([Finding(name, 0, "", message, "Merge some of them.")])
            self._sources[path] = self._read(path, name)
        source = self._sources[path]
        if isinstance(source, ConfigurationError):
            raise source
        return source

    def _read(self, path: Path, name: str) -> Source | ConfigurationError:
        try:
            text = self._unsaved[path] if path in self._unsaved else read_text(path, name)
            self._digests[path] = sha256(text.encode()).digest()
            is_json = path.suffix in JSON_SUFFIXES
            return json_file.parse(text, path, name) if is_json else yaml_file.parse(text, path, name, pointer)
        except ConfigurationError as error:
            return error

    def peek(self, path: Path, name: str) -> Any:
        """The data of a file, which does not become one of the document's; None when it cannot be read."""
        known = self._sources.get(path) or self._read(path, name)
        return known.data if isinstance(known, Source) else None

    def beside(self, folder: Path, suffix: str) -> list[Path]:
        """The files of a folder with this suffix, unsaved ones included, in the order of their names."""
        found = {Path(_normal(one.absolute())) for one in folder.glob(f"*{suffix}") if one.is_file()}
        return sorted(found | {one for one in self._unsaved if one.parent == folder and one.suffix == suffix})

    def other_roots(self) -> list[Node]:
        """The top values of the other files that were read."""
        sources = [one for one in self._sources.values() if isinstance(one, Source) and one is not self.root.source]
        return [Node(self, one, (), one.data) for one in sources]

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted SHA-256 of its files: it tells contents apart, wherever the files are."""
        return sha256(b"".join(sorted(self._digests[path] for path in self._sources))).hexdigest()

    @property
    def findings(self) -> list[Finding]:
        """Errors in the text of the files read so far."""
        return [finding for one in self._sources.values() for finding in one.findings]


@dataclass(slots=True, eq=False)  # not frozen, because a check makes thousands, and a frozen one takes twice as long
class Node:
    """A value of the document and its place."""

    document: Document = field(repr=False)
    source: Source = field(repr=False)  # the file that contains the value
    tokens: Place  # the keys that lead to it in that file
    value: Any  # plain data, references in it not followed; `ABSENT` when there is none
    below: tuple[Node, ...] = ()  # traits, strongest first, that supply missing members

    @property
    def path(self) -> str:
        """The place as findings show it: `#/channels/doors`."""
        return pointer(self.tokens)

    @property
    def line(self) -> int:
        """Its line, or that of the nearest value around it when it is absent."""
        return self.source.line(self.tokens) or 1

    @property
    def place(self) -> tuple[Path, Place]:
        """Identifies the value among all files."""
        return self.source.path, self.tokens

    @property
    def is_absent(self) -> bool:
        """True when the document does not have this member."""
        return self.value is ABSENT

    @property
    def is_mapping(self) -> bool:
        """True for a mapping, an empty one included."""
        return isinstance(self.value, dict)

    @property
    def reference(self) -> str | None:
        """The text of its `$ref`; None when this is not a reference."""
        target = self.value.get("$ref") if isinstance(self.value, dict) else None
        return target if isinstance(target, str) else None

    @property
    def text(self) -> str | None:
        """The value when it is text."""
        return self.value if isinstance(self.value, str) else None

    @property
    def integer(self) -> int | None:
        """The value when it is a whole number."""
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None

    @property
    def boolean(self) -> bool | None:
        """The value when it is true or false."""
        return self.value if isinstance(self.value, bool) else None

    @property
    def field(self) -> str:
        """The names of the Avro fields that it is in, joined by dots; "" for none."""
        names, is_field = [], False
        node = replace(self, tokens=(), value=self.source.data, below=())
        for key in self.tokens:
            is_list = key == "fields" and node.own("type").text == "record"
            node = node.own(key)
            if is_field and (name := node.own("name").text):
                names.append(name)
            is_field = is_list
        return ".".join(names)

    def own(self, *keys: str) -> Node:
        """Go down in the value itself: references are not followed, and traits not applied."""
        value = self.value
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key, ABSENT)
            else:
                is_index = isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value)
                value = value[int(key)] if is_index else ABSENT
        return Node(self.document, self.source, (*self.tokens, *keys), value)

    def stated(self, key: str) -> Node:
        """A member of the value or of the strongest trait that has it, reference not followed."""
        return next((one for layer in (self, *self.below) if not (one := layer.own(key)).is_absent), self.own(key))

    def at(self, *keys: str) -> Node:
        """Go down and follow references; traits supply what the value itself does not have."""
        node = self
        for key in keys:
            layers = [one.own(key).followed() for one in (node, *node.below)]
            node = _laid([one for one in layers if not one.is_absent] or layers[:1]) if node.below else layers[0]
        return node

    def members(self) -> list[tuple[str, Node]]:
        """Keys and values of a mapping, those of its traits after its own; nothing for other values."""
        keys = dict.fromkeys(key for one in (self, *self.below) if isinstance(one.value, dict) for key in one.value)
        return [(key, self.at(key)) for key in keys if isinstance(key, str)]

    def entries(self) -> list[Node]:
        """Items of a list, references followed; nothing for other values."""
        return [self.at(key) for key, _ in self.items()] if isinstance(self.value, list) else []

    def own_entries(self) -> list[Node]:
        """Items of a list, references not followed; nothing for other values."""
        return [self.own(key) for key, _ in self.items()] if isinstance(self.value, list) else []

    def items(self) -> list[tuple[str, Any]]:
        """Keys and plain values of a mapping, or of a list, whose keys are its indexes; nothing for other values."""
        if isinstance(self.value, list):
            return [(str(index), value) for index, value in enumerate(self.value)]
        return [*self.value.items()] if isinstance(self.value, dict) else []

    def inside(self, skipped_list: str = "") -> Iterator[Node]:
        """This value and all mappings and lists in it, in order, except lists of a key; references not followed."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending += [
                node.own(key)
                for key, value in reversed(node.items())
                if isinstance(value, dict) or (isinstance(value, list) and key != skipped_list)
            ]

    def correct(self, key: str, name: str) -> None:
        """Rename a misspelt member in memory, so that the misspelling is one finding and its value is checked."""
        place, lines = (*self.tokens, key), self.source.lines
        below = {one: line for one, line in lines.items() if one[: len(place)] == place}
        lines.update({(*self.tokens, name, *one[len(place) :]): line for one, line in below.items()})
        members = {name if one == key else one: value for one, value in self.value.items()}
        self.value.clear()
        self.value.update(members)

    def hop(self, depth: int = 0) -> Node:
        """The target of its `$ref`, which may be a reference again; raises ReferenceFault when it leads nowhere.

        `depth` is the number of references that are being followed to follow this one.
        """
        assert self.reference is not None, "only references hop"
        return _target(self, self.reference, depth)

    def followed(self, depth: int = 0) -> Node:
        """The end of a chain of references: itself when it is not one, absent when the chain leads nowhere."""
        node = self
        for _ in range(MAX_HOPS):
            if node.reference is None:
                return node
            try:
                node = node.hop(depth)
            except ReferenceFault:
                break
        return replace(self, value=ABSENT)

    def with_traits(self) -> Node:
        """This operation or message with its traits: JSON Merge Patch, later traits override earlier ones."""
        return replace(self, below=tuple(one for one in reversed(self.at("traits").entries()) if one.is_mapping))

    def written_out(self) -> Any:
        """Plain data with references followed and traits applied.

        It raises TooLargeError when it is infinite, or has more than `MAX_WRITTEN_OUT` values.
        """
        return _written_out(self, [MAX_WRITTEN_OUT], 0)


def _laid(layers: list[Node]) -> Node:
    """The strongest value, with the mappings below that supply its missing members; null removes a trait's member."""
    top, under = layers[0], []
    if top.is_mapping:
        for one in layers[1:]:
            if not one.is_mapping:
                break
            under.append(one)
    return replace(top, below=(*top.below, *under))


def _target(node: Node, reference: str, depth: int) -> Node:
    if depth > MAX_HOPS:
        raise ReferenceFault("it leads through itself")
    file, _, fragment = reference.partition("#")
    if SCHEME.match(file):
        raise ReferenceFault("it is a URL; only files beside the contract are read")
    if fragment and not fragment.startswith("/"):
        raise ReferenceFault("after # it needs a pointer, as in #/components/messages/reading")
    source = _file(node, unquote(file)) if file else node.source
    target = Node(node.document, source, (), source.data)
    for token in tokens(unquote(fragment)):
        if target.reference is not None and target.own(token).is_absent:
            target = target.followed(depth + 1)
        target = target.own(token)
    if target.is_absent:
        raise ReferenceFault(f"there is no {target.path} in {source.name}")
    return target


def _file(node: Node, relative: str) -> Source:
    path = node.source.path.parent / relative
    name = str(Path(node.source.name).parent / relative)
    try:
        return node.document.open(Path(_normal(path)), _normal(Path(name)))
    except ConfigurationError as error:
        first = error.findings[0]
        fix = "Correct that file, or refer to another." if first.line else "Correct the reference."
        raise ReferenceFault(f"{name}: {first.message.rstrip('.')}", fix) from None


def _normal(path: Path) -> str:
    return os.path.normpath(path)  # pathlib cannot remove `..` without resolving symbolic links


def _written_out(node: Node, left: list[int], depth: int) -> Any:
    node = node if node.reference is None else replace(node.followed(), below=node.below)
    left[0] -= 1
    if left[0] < 0 or depth > 2 * MAX_HOPS or node.is_absent:
        raise TooLargeError
    if isinstance(node.value, list):
        return [_written_out(one, left, depth + 1) for one in node.own_entries()]
    if isinstance(node.value, dict):
        return {key: _written_out(one, left, depth + 1) for key, one in node.members()}
    return node.value
