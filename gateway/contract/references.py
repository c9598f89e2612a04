"""Checks that every `$ref` of the contract leads somewhere, and that none leads back to what contains it.

One walk goes over all files that references lead to. JSON Schema allows recursive schemas; a cycle is rejected all the
same, because the checks and the simulator need payload schemas with all references written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.document import Node, ReferenceFault
from gateway.documents.source import pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Document
    from gateway.contract.findings import Findings

BESIDE = ("$ref", "summary", "description")  # texts for people, which some tools show
SCHEMAS = {"additionalProperties", "allOf", "anyOf", "definitions", "items", "oneOf", "patternProperties", "properties"}
MAX_CHAIN = 60  # references inside what references lead to


def check(document: Document, findings: Findings) -> None:
    """Report references that lead nowhere, out of reach, or in a cycle; the files that they name are read."""
    _Walk(findings).expand(document.root)
    for finding in document.findings:
        if finding.line:  # a missing file is reported where it is referred to
            findings.add(finding)


class _Walk:
    """Depth first over the targets of references."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.inside: list[Any] = []
        self.done: set[Any] = set()

    def expand(self, node: Node) -> None:
        """Check every reference in a node, and in the targets of these."""
        self.inside.append(node.place)
        for one in references(node):
            self._warn_of_siblings(one)
            self._follow(one)
        self.done.add(self.inside.pop())

    def _warn_of_siblings(self, node: Node) -> None:
        ignored = [key for key in node.value if key not in BESIDE]
        if ignored:
            message = f"Members next to $ref are ignored: {', '.join(map(repr, ignored))}."
            self.findings.warning(node, message, "Move them to the target of the reference, or copy that target here.")

    def _follow(self, node: Node) -> None:
        try:
            target = node.hop()
        except ReferenceFault as fault:
            within = _within(node)
            fix = f"Write {within!r}: a reference starts at the top of the file." if within else fault.fix
            self.findings.error(node, f"The reference {node.reference!r} leads nowhere: {fault}.", fix)
            if within:
                node.value["$ref"] = within
            else:
                _take_anything(node)
            return
        if target.place in self.inside:
            message = f"The reference {node.reference!r} is cyclic: its target contains it."
            self.findings.error(node, message, "Describe the value without this reference.")
            _take_anything(node)
        elif len(self.inside) > MAX_CHAIN:
            message = f"The reference leads through more than {MAX_CHAIN} others."
            self.findings.error(node, message, "Refer to the target directly.")
        elif target.place not in self.done:
            self.expand(target)


def _take_anything(node: Node) -> None:
    """Make a reference inside a JSON Schema the schema of any value, so that no later check finds its fault again."""
    if SCHEMAS.intersection(node.tokens):
        node.value.clear()
        node.value["additionalProperties"] = True


def _within(node: Node) -> str:
    """The reference that one means which starts at a schema around it, as in JSON Schema alone; "" for none."""
    start = node.reference or ""
    for length in range(len(node.tokens) - 1, 0, -1) if start.startswith("#/") else ():
        longer = pointer(node.tokens[:length]) + start[1:]
        if not Node(node.document, node.source, (), {"$ref": longer}).followed().is_absent:
            return longer
    return ""


def references(node: Node) -> Iterator[Node]:
    """Every reference in a value, itself included; not those inside examples, which are data."""
    return (one for one in node.inside(skipped_list="examples") if one.reference is not None)
