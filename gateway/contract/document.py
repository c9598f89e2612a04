"""The document as a tree over all its files: references followed, traits laid under, every value with its place.

A `Node` is a value and where it stands. Going down with `at()` follows `$ref` into other files, so that code which
reads the contract never sees a reference, and a finding still names the file and line where somebody can mend it.
A member that is not there is a node too (`is_absent`): asking the wrong question of a broken document must give
nothing rather than raise, because all findings are wanted at once. Whether every reference leads somewhere is
checked once, over the whole tree, in `references.py`.

Only relative references to files are followed. Looking up a URL at start would make the gateway depend on
somebody else's server, and the contract on what it answers today.
"""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gateway.contract.expression import split
from gateway.documents.source import Source, Tokens, read, shown
from gateway.errors import ConfigurationError, DataError, Finding

MAX_HOPS = 32  # references that lead to references
MAX_FILES = 200
MAX_WRITTEN_OUT = 20_000  # values of one schema with its references written out

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


class _Absent:
    """Stands for a member that is not there; None is a value that documents have."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT = _Absent()


class ReferenceFault(DataError):  # noqa: N818 - a fault of the document, reported and never shown as an exception
    """A `$ref` that leads nowhere; says why, and what to do."""

    def __init__(self, message: str, fix: str = "Correct it.") -> None:
        super().__init__(message)
        self.fix = fix


class TooLargeError(DataError):
    """A schema that is too large, or without end, when its references are written out."""


class Document:
    """The files of one contract, each read once.

    Args:
        path: the main file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sources: dict[Path, Source | ConfigurationError] = {}
        main = self.open(Path(_normal(path.absolute())), str(path))
        self.root = Node(self, main, (), main.data)

    def open(self, path: Path, name: str) -> Source:
        """Read a file, or give what was read before.

        Args:
            path: absolute.
            name: what findings call it.

        Returns:
            Its data.

        Raises:
            ConfigurationError: each time, when it cannot be read.
        """
        if path not in self._sources:
            self._sources[path] = self._read(path, name)
        found = self._sources[path]
        if isinstance(found, ConfigurationError):
            raise found
        return found

    def _read(self, path: Path, name: str) -> Source | ConfigurationError:
        if len(self._sources) >= MAX_FILES:
            return ConfigurationError([Finding(name, 0, "", f"The contract has more than {MAX_FILES} files.")])
        try:
            return read(path, name)
        except ConfigurationError as error:
            return error

    def other_roots(self) -> list[Node]:
        """The outermost values of the other files that were read."""
        sources = [one for one in self._sources.values() if isinstance(one, Source) and one is not self.root.source]
        return [Node(self, one, (), one.data) for one in sources]

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with the text of the files read so far."""
        return [finding for one in self._sources.values() for finding in one.findings]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value of the document and where it stands.

    Args:
        document: the files.
        source: the file this value is in.
        tokens: the keys that lead to it in that file.
        value: plain data, references in it not followed; `ABSENT` when there is none.
        below: traits, strongest first, that fill in what this value does not say.
    """

    document: Document = field(repr=False)
    source: Source = field(repr=False)
    tokens: Tokens
    value: Any
    below: tuple[Node, ...] = ()

    @property
    def path(self) -> str:
        """As findings show it: `#/channels/doors`."""
        return shown(self.tokens)

    @property
    def line(self) -> int:
        """Where it stands, or what is around it when it is absent."""
        return self.source.line(self.tokens)

    @property
    def place(self) -> tuple[Path, Tokens]:
        """What tells this value from every other."""
        return self.source.path, self.tokens

    @property
    def is_absent(self) -> bool:
        """True when the document does not say this."""
        return self.value is ABSENT

    @property
    def is_mapping(self) -> bool:
        """True for a mapping, an empty one included."""
        return isinstance(self.value, dict)

    @property
    def reference(self) -> str | None:
        """The text of its `$ref`, or None when this is no reference."""
        found = self.value.get("$ref") if isinstance(self.value, dict) else None
        return found if isinstance(found, str) else None

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

    def own(self, key: str) -> Node:
        """One step down, reference not followed and traits not asked."""
        value: Any = ABSENT
        if isinstance(self.value, dict):
            value = self.value.get(key, ABSENT)
        elif isinstance(self.value, list) and key.isascii() and key.isdigit() and int(key) < len(self.value):
            value = self.value[int(key)]
        return Node(self.document, self.source, (*self.tokens, key), value)

    def stated(self, key: str) -> Node:
        """One step down, here or in the strongest trait that has it, reference not followed."""
        return next((found for one in (self, *self.below) if not (found := one.own(key)).is_absent), self.own(key))

    def at(self, *keys: str) -> Node:
        """Go down, follow references, and let traits speak where the value itself does not."""
        node = self
        for key in keys:
            layers = [one.own(key).followed() for one in (node, *node.below)]
            node = _laid([one for one in layers if not one.is_absent]) or layers[0]
        return node

    def members(self) -> list[tuple[str, Node]]:
        """Keys and values of a mapping, those of its traits after its own; nothing when it is no mapping."""
        keys = dict.fromkeys(key for one in (self, *self.below) if isinstance(one.value, dict) for key in one.value)
        return [(key, self.at(key)) for key in keys if isinstance(key, str)]

    def entries(self) -> list[Node]:
        """Items of a list; nothing when it is no list."""
        return [self.at(str(index)) for index in range(len(self.value))] if isinstance(self.value, list) else []

    def hop(self, depth: int = 0) -> Node:
        """Where its `$ref` leads, which may be a reference again.

        Args:
            depth: how many references are being followed to follow this one.

        Raises:
            ReferenceFault: when it leads nowhere.
        """
        assert self.reference is not None, "only references hop"
        return _target(self, self.reference, depth)

    def followed(self, depth: int = 0) -> Node:
        """What a chain of references ends at; itself when it is none, absent when the chain leads nowhere."""
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
        """This operation or message with its traits under it: JSON Merge Patch, later traits over earlier ones."""
        return replace(self, below=tuple(one for one in reversed(self.at("traits").entries()) if one.is_mapping))

    def written_out(self) -> Any:
        """Plain data with references and traits replaced by what they stand for.

        Raises:
            TooLargeError: when that has no end, or more than `MAX_WRITTEN_OUT` values.
        """
        return _written_out(self, [MAX_WRITTEN_OUT], 0)


def _laid(layers: list[Node]) -> Node | None:
    """The strongest value, with the mappings that may fill it in below; null takes a trait's member away."""
    if not layers:
        return None
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
        raise ReferenceFault("after # a pointer must follow, as in #/components/messages/reading")
    source = _file(node, unquote(file)) if file else node.source
    found = Node(node.document, source, (), source.data)
    for token in split(unquote(fragment)):
        if found.reference is not None and found.own(token).is_absent:
            found = found.followed(depth + 1)
        found = found.own(token)
    if found.is_absent:
        raise ReferenceFault(f"there is no {found.path} in {source.name}")
    return found


def _file(node: Node, relative: str) -> Source:
    path = node.source.path.parent / relative
    name = str(Path(node.source.name).parent / relative)
    try:
        return node.document.open(Path(_normal(path)), _normal(Path(name)))
    except ConfigurationError as error:
        found = error.findings[0]
        fix = "Mend that file, or name another." if found.line else "Correct it."
        raise ReferenceFault(f"{name}: {found.message.rstrip('.')}", fix) from None


def _normal(path: Path) -> str:
    return os.path.normpath(path)  # pathlib has nothing that removes `..` and leaves symbolic links alone


def _written_out(node: Node, left: list[int], depth: int) -> Any:
    node = node if node.reference is None else replace(node.followed(), below=node.below)
    left[0] -= 1
    if left[0] < 0 or depth > 2 * MAX_HOPS or node.is_absent:
        raise TooLargeError
    if isinstance(node.value, list):
        return [_written_out(node.own(str(index)), left, depth + 1) for index in range(len(node.value))]
    if isinstance(node.value, dict):
        return {key: _written_out(one, left, depth + 1) for key, one in node.members()}
    return node.value
