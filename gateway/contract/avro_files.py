"""The `.avsc` files beside one whose named types it uses.

A type is looked up by its full name, and so by its short name in the same namespace only, among all types that
files of the folder define. Each file is checked for itself, with findings at its own places; then the
definitions are written into one schema (`core/avro_names.py`), which is registered and used everywhere. Files that use
each other are refused: none could be read alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.contract.document import Node
from gateway.core.avro_names import definitions_in, named_types, unknown, with_definitions
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from gateway.contract.document import Document
    from gateway.contract.findings import Fault, Findings
    from gateway.core.avro_names import Definition

SUFFIX = ".avsc"
MAX_CHAIN = 50  # files that each use the next one


class Beside(NamedTuple):
    """What a schema uses of the files beside it."""

    files: list[Node]  # the files, each after those that it uses itself
    faults: list[Fault]
    names: tuple[str, ...] = ()  # full ones of all types in the folder, if the schema does not define all that it uses

    @property
    def types(self) -> dict[str, Definition]:
        """The definitions in these files, by their full names."""
        return definitions_in(one.value for one in self.files)

    def complete(self, schema: Any) -> Any:
        """Write the definitions into a schema where it uses them first."""
        return with_definitions(schema, self.types)

    def without(self, node: Node) -> Beside:
        """The same without one of the files."""
        return self._replace(files=[one for one in self.files if one.place != node.place])


NO_FILES = Beside([], [])


def beside(node: Node) -> Beside:
    """Find the files whose types a schema uses, and the files that these use."""
    files = _Search(node)
    files.search(node, ())
    return Beside(files.files, files.faults, files.names)


def read(document: Document, findings: Findings) -> None:
    """Read the files that the schemas of a document use, so that the checks of all files include them."""
    for root in document.other_roots():
        for one in beside(root).files if root.source.path.suffix == SUFFIX else ():
            for finding in one.source.findings:
                findings.add(finding)


class _Search:
    """Depth first over the files of a folder."""

    def __init__(self, node: Node) -> None:
        self.files: list[Node] = []
        self.faults: list[Fault] = []
        self._folder = node.source.path.parent
        self._document = node.document
        self._name = Path(node.source.name)
        self._is_file = node.source.path.suffix == SUFFIX
        self._owners: dict[str, list[Path]] | None = None  # full name -> the files that define it

    def search(self, node: Node, inside: tuple[Node, ...]) -> None:
        inside = (*inside, node)
        for place, text, fullname in unknown(node.value):
            use = node.own(*place)
            owners = self._found(fullname, node)
            if len(owners) > 1:
                listed = " and ".join(one.name for one in owners)
                self.faults.append((use, f'"{text}" is defined in {listed}.', "Remove one of the definitions."))
            for path in owners[:1]:
                self._follow(use, path, inside)

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of all types in the folder."""
        return tuple(self._owners or ())

    def _follow(self, use: Node, path: Path, inside: tuple[Node, ...]) -> None:
        places = [one.source.path for one in inside]
        if path in places:
            listed = ", ".join(one.name for one in [*places[places.index(path) :], path])
            fix = "Define the types in one of these files."
            self.faults.append((use, f'"{use.text}" is defined in a file that uses this one: {listed}.', fix))
        elif len(inside) > MAX_CHAIN:
            text = f'"{use.text}" is more than {MAX_CHAIN} files away from the schema that needs it.'
            self.faults.append((use, text, "Merge some of the files between them."))
        elif all(one.source.path != path for one in self.files) and (root := self._open(path, use)):
            self.search(root, inside)
            self.files.append(root)

    def _found(self, name: str, node: Node) -> list[Path]:
        """The files that define a name, except the one that uses it."""
        if self._owners is None:
            self._owners = self._scan() if self._is_file else {}
        return [path for path in self._owners.get(name, []) if path != node.source.path]

    def _scan(self) -> dict[str, list[Path]]:
        owners: dict[str, list[Path]] = {}
        for path in self._document.beside(self._folder, SUFFIX):
            for name in named_types(self._document.peek(path, path.name)):
                owners.setdefault(name, []).append(path)
        return owners

    def _open(self, path: Path, use: Node) -> Node | None:
        try:
            source = self._document.open(path, str(self._name.parent / path.name))
        except ConfigurationError as error:  # the document has too many files
            self.faults += [(use, f"{path.name} is not read: {one.message}", one.fix) for one in error.findings]
            return None
        return Node(self._document, source, (), source.data)
