"""All checks at once, one thread per place, because most of the time is spent waiting.

If contract or settings are wrong, the findings of `gateway check` and the checks of the machine are all there is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError, Finding
from gateway.installation import open_installation
from gateway.operate.check import check
from gateway.operate.doctor import certificates, clock, machine, peers, running, storage
from gateway.operate.drift import registry
from gateway.operate.report import Form, Report, Say, collect_all, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.installation import Installation
    from gateway.signals import Stopping

FILES = "files"
FORM = Form(
    "diagnoses",
    (
        ("state", "state", "severity"),
        ("place", "place", "source"),
        ("what", "what", "path"),
        ("seen", "message", "message"),
        ("fix", "fix", "fix"),
    ),
    {"ok": "ok", "unknown": "not seen", "warning": "warning", "error": "wrong", "unreachable": "no answer"},
)


def examine(config: Path, environ: Mapping[str, str], stopping: Stopping, say: Say = silent) -> Report:
    """Make all checks of an installation; `stopping` ends listening early, and `say` shows the progress."""
    try:
        installation = open_installation(config, environ)
        findings = collect_all(list(_places(installation, stopping)), say)
    except ConfigurationError as error:
        found = dict.fromkeys([*check(config, Path(), environ).findings, *error.findings])
        findings = [*machine.examine(), *map(_of_file, found)]
    return Report(tuple(map(_with_contract, findings)), FORM)


def _places(installation: Installation, stopping: Stopping) -> Iterator[tuple[str, Iterable[Finding]]]:
    contract, settings = installation.contract, installation.settings
    yield machine.PLACE, machine.examine()
    yield storage.PLACE, storage.examine(installation.spool_path, settings.spool.limit)
    yield certificates.PLACE, certificates.examine(installation)
    yield clock.PLACE, clock.examine(installation)
    yield running.PLACE, running.examine(installation)
    for server in contract.brokers:
        yield server.name, peers.examine_broker(installation, server, stopping)
    yield contract.kafka.name, peers.examine_kafka(installation)
    yield registry.PEER, peers.examine_registry(installation)


def _of_file(finding: Finding) -> Finding:
    place = f"{finding.source}:{finding.line} {finding.path}".rstrip()
    return Finding.at(FILES, place, finding.severity, finding.message, finding.fix)


def _with_contract(finding: Finding) -> Finding:
    """Add what the contract says to the message of a difference, which has no column here."""
    if not finding.expected or finding.severity not in {"warning", "error"}:
        return finding
    return replace(finding, message=f"{finding.message} (contract: {finding.expected})")
