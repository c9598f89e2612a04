"""Collects the findings of one pass over the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.document import quoted
from gateway.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node


Fault = tuple["Node", str, str]  # the place, what is wrong, and the fix


class Findings:
    """Findings at nodes of the document, each once."""

    def __init__(self) -> None:
        self._all: dict[Finding, None] = {}

    def error(self, node: Node, message: str, fix: str) -> None:
        """Add a finding that keeps the gateway from running."""
        self.add(Finding(node.source.name, node.line, node.path, _with_field(node, message), fix))

    def warning(self, node: Node, message: str, fix: str) -> None:
        """Add a finding that does not keep the gateway from running."""
        self.add(Finding(node.source.name, node.line, node.path, _with_field(node, message), fix, "warning"))

    def switch(self, node: Node) -> bool | None:
        """Read true or false; None where it is absent or, with an error, anything else."""
        if not node.is_absent and node.boolean is None:
            self.error(node, f"{quoted(node.value)} is neither true nor false.", "Write true or false.")
        return node.boolean

    def extend(self, other: Findings) -> None:
        """Add the findings of another collection."""
        self._all |= other._all

    def add(self, finding: Finding) -> None:
        """Add a finding unless it is there."""
        self._all.setdefault(finding)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._all)

    @property
    def has_errors(self) -> bool:
        """True when a finding keeps the gateway from running."""
        return any(one.severity == "error" for one in self._all)

    def ordered(self, main: str) -> list[Finding]:
        """All findings, those of the main file first, then by file and line."""
        return sorted(self._all, key=lambda one: (one.source != main, one))


def _with_field(node: Node, message: str) -> str:
    """Name the Avro field that a node is in, where the message does not: its place says only the index."""
    name = node.field
    return message if not name or repr(name) in message else f"Field {name!r}: {message}"
