"""Collects what is wrong, so that one pass over the contract reports everything."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from gateway.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.contract.document import Node


class Findings:
    """A growing list of findings, each at a node of the document."""

    def __init__(self) -> None:
        self._all: dict[Finding, None] = {}

    def error(self, node: Node, message: str, fix: str = "") -> None:
        """Add something that stops the gateway from running."""
        self.add(Finding(node.source.name, node.line, node.path, message, fix))

    def warning(self, node: Node, message: str, fix: str = "") -> None:
        """Add something that the operator should know."""
        self.add(Finding(node.source.name, node.line, node.path, message, fix, "warning"))

    def add(self, finding: Finding) -> None:
        """Add a finding unless it is there."""
        self._all.setdefault(finding)

    @property
    def has_errors(self) -> bool:
        """True when something stops the gateway from running."""
        return any(one.severity == "error" for one in self._all)

    def ordered(self, main: str) -> list[Finding]:
        """All findings, those of the main file first, then by file and line."""
        return sorted(self._all, key=lambda one: (one.file != main, one))


def proposal(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question with the nearest of the known words, or nothing when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"Did you mean {near[0]!r}?" if near else ""
