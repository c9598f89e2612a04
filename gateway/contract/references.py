"""Every `$ref` of the contract leads somewhere, and none leads back to what contains it.

One walk over all files in reach. A cycle is refused although JSON Schema knows recursive schemas: a payload schema
is written out for the checks and the simulator, and a message that contains itself has no form in the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.document import Node, ReferenceFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Document
    from gateway.contract.findings import Findings

BESIDE = ("$ref", "summary", "description")  # people's texts, which some tools show
MAX_CHAIN = 60  # references inside what references lead to


def check(document: Document, findings: Findings) -> None:
    """Report references that lead nowhere, out of reach, or in a circle.

    Args:
        document: the contract's files; those that are referred to are read on the way.
        findings: where to.
    """
    _Walk(findings).expand(document.root)
    for finding in document.findings:
        if finding.line:  # a file that is not there is reported where it is referred to
            findings.add(finding)


class _Walk:
    """Depth first over what references lead to."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.inside: list[Any] = []
        self.done: set[Any] = set()

    def expand(self, node: Node) -> None:
        """Look at every reference below a node, and below what these lead to."""
        self.inside.append(node.place)
        for one in references(node):
            self._warn_of_neighbours(one)
            self._lead(one)
        self.done.add(self.inside.pop())

    def _warn_of_neighbours(self, node: Node) -> None:
        ignored = [key for key in node.value if key not in BESIDE]
        if ignored:
            told = f"What stands beside $ref is ignored: {', '.join(map(repr, ignored))}."
            self.findings.warning(node, told, "Move it to what the reference leads to, or write that out here.")

    def _lead(self, node: Node) -> None:
        try:
            target = node.hop()
        except ReferenceFault as fault:
            self.findings.error(node, f"The reference {node.reference!r} leads nowhere: {fault}.", fault.fix)
            return
        if target.place in self.inside:
            self.findings.error(
                node,
                f"The reference {node.reference!r} is cyclic: it leads to something that contains it.",
                "Remove it.",
            )
        elif len(self.inside) > MAX_CHAIN:
            self.findings.error(node, f"References lead through more than {MAX_CHAIN} others.")
        elif target.place not in self.done:
            self.expand(target)


def references(node: Node) -> Iterator[Node]:
    """Every reference in a value, itself included; not those inside examples, which are data."""
    pending = [node]
    while pending:
        one = pending.pop()
        if one.reference is not None:
            yield one
        pending.extend(reversed(list(_below(one))))


def _below(node: Node) -> Iterator[Node]:
    if isinstance(node.value, dict):
        for key, value in node.value.items():
            if not (key == "examples" and isinstance(value, list)) and isinstance(value, (dict, list)):
                yield node.own(key)
    elif isinstance(node.value, list):
        for index, value in enumerate(node.value):
            if isinstance(value, (dict, list)):
                yield node.own(str(index))
