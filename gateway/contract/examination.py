"""The order in which a document is checked: text, version, specification, references, the gateway's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract import channel, forms, references, rules, specification, uses
from gateway.contract.build import build, contract
from gateway.contract.findings import Findings

if TYPE_CHECKING:
    from gateway.contract.document import Document
    from gateway.core.model import Contract
    from gateway.errors import Finding


def examine(document: Document) -> tuple[Contract | None, list[Finding]]:
    """Check a document; returns the contract, or None when a finding is an error, and the findings in order."""
    findings = Findings()
    version = specification.check_version(document, findings)
    if version is None:  # another version has other rules, and more findings would mislead
        references.check(document, findings)
        return None, findings.ordered(str(document.path))
    forms.check(document, findings)
    uses.check(document, findings)
    specification.check(document, version, findings)
    references.check(document, findings)
    rules.check_spelling(document, findings)
    channel.check_parameters(document, findings)
    built = build(document, findings)
    rules.check(document, built, findings)
    result = None if findings.has_errors else contract(document, built)
    return result, findings.ordered(str(document.path))
