"""The order in which a document is checked: text, version, specification, references, the gateway's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract import channel, disclosure, forms, references, rules, specification, stage, uses
from gateway.contract.build import Built, build, contract
from gateway.contract.document import Document
from gateway.contract.findings import Findings

if TYPE_CHECKING:
    from gateway.contract import Choice
    from gateway.core.model import Contract
    from gateway.errors import Finding


def examine(document: Document, choice: Choice | None) -> tuple[Contract | None, list[Finding]]:
    """Check a document; returns the contract, or None when a finding is an error, and the findings in order.

    The choice is that of an installation; None for a document alone.
    """
    findings = Findings()
    if not _is_known(document, findings):
        return None, findings.ordered(str(document.path))
    elsewhere: frozenset[str] = frozenset()
    if choice is not None and choice.servers:
        if not stage.is_valid(document, choice, findings):
            return None, findings.ordered(str(document.path))
        elsewhere = stage.reduce(document, choice.servers, findings)
    several = stage.stages(document) if choice is None else []
    built = _built_of_stages(document, several, findings) if several else _built(document, findings)
    result = None if findings.has_errors else contract(document, built, elsewhere)
    return result, findings.ordered(str(document.path))


def _is_known(document: Document, findings: Findings) -> bool:
    """Check the whole document; False when it is of another version, where more findings would mislead."""
    version = specification.check_version(document, findings)
    disclosure.check([document.root], findings)  # before forms are changed
    if version is None:
        references.check(document, findings)
        return False
    forms.check(document, findings)
    uses.check(document, findings)
    specification.check(document, version, findings)
    references.check(document, findings)
    disclosure.check(document.other_roots(), findings)
    rules.check_spelling(document, findings)
    return True


def _built(document: Document, findings: Findings) -> Built:
    channel.check_parameters(document, findings)
    built = build(document, findings)
    rules.check(document, built, findings)
    return built


def _built_of_stages(document: Document, several: list[list[str]], findings: Findings) -> Built:
    """Check every stage of a document, each alone; returns what the first one has."""
    findings.warning(*stage.choose(document))
    used = stage.servers_in_use(document)
    first = None
    for servers in several:
        part = Document(document.path)
        _is_known(part, Findings())
        stage.reduce(part, servers, findings)
        stage.drop_idle(part, used)
        built = _built(part, findings)
        first = first or built
    assert first is not None, "there are several"
    return first
