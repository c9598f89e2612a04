"""The order in which a document is checked: text, version, specification, references, the gateway's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract import avro_files, channel, disclosure, forms, references, rules, specification, stage, uses
from gateway.contract.build import Built, build, contract
from gateway.contract.document import Document
from gateway.contract.findings import Findings

if TYPE_CHECKING:
    from gateway.core.model import Choice, Contract
    from gateway.errors import Finding


def examine(document: Document, choice: Choice | None) -> tuple[Contract | None, list[Finding]]:
    """Check a document; returns the contract, or None when a finding is an error, and the findings in order.

    The choice is that of an installation; None for a document alone.
    """
    findings = Findings()
    if not _is_known(document, findings):
        return None, findings.ordered(str(document.path))
    several = stage.stages(document) if choice is None else []
    if several:
        findings.warning(*stage.choose(document))
        stages = [_stage(document, servers, findings) for servers in several]
        built, elsewhere = stages[0]
    elif choice is None or not choice.servers:
        built, elsewhere = _built(document, findings), frozenset()
    elif stage.is_valid(document, choice, findings):
        elsewhere = stage.reduce(document, choice.servers, findings)
        built = _built(document, findings)
    else:
        return None, findings.ordered(str(document.path))
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
    avro_files.read(document, findings)
    disclosure.check(document.other_roots(), findings)
    rules.check_spelling(document, findings)
    rules.check_learned(document, findings)
    return True


def _built(document: Document, findings: Findings) -> Built:
    channel.check_parameters(document, findings)
    built = build(document, findings)
    rules.check(document, built, findings)
    return built


def _stage(document: Document, servers: list[str], findings: Findings) -> tuple[Built, frozenset[str]]:
    """Check one stage of a document; returns it, and the names of what it does not use."""
    part = Document(document.path)
    _is_known(part, Findings())  # for the changes in memory; the whole document has these findings
    used = stage.servers_in_use(part)
    elsewhere = stage.reduce(part, servers, findings)
    elsewhere |= stage.drop_idle(part, used)
    return _built(part, findings), elsewhere
