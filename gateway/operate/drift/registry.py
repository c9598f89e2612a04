"""The schema registry against the contract: whether each schema is registered, and as the newest version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Finding, GatewayError
from gateway.operate.schemas.subject_status import AGREES, NO_ENTRY, SubjectStatus, subject_statuses
from gateway.registry.lock_file import LOCK_FIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.errors import Severity
    from gateway.installation import Installation

PEER = "registry"
DIFF = "Run `gateway schemas diff -c FILE` to see how they differ."
REGISTER = "Run `gateway schemas register -c FILE`."
REGISTER_AND_LOCK = "Run `gateway schemas register -c FILE`, then `gateway schemas lock -c FILE`."


def compare(installation: Installation) -> Iterator[Finding]:
    """Compare subjects with the contract's schemas, and both with the lock file."""
    kafka = installation.contract.kafka
    has_url = bool(installation.settings.server(kafka.name).registry.url or kafka.registry_url)
    if not has_url:
        yield Finding.at(PEER, "address", "unknown", "no registry: only the lock file is used", expected="none")
    for status in subject_statuses(installation):
        if has_url:
            yield _registered(status)
        if status.lock != AGREES and (status.id is not None or status.lock != NO_ENTRY):
            yield _locked(status)


def _registered(status: SubjectStatus) -> Finding:
    what, schema = f"subject {status.subject}", status.schema
    if not status.is_answered:
        message, _, fix = status.registry.partition(". ")
        raise GatewayError(f"{message.removesuffix('.')}.", fix)
    if status.registry == AGREES:
        return Finding.at(PEER, what, "ok", f"id {status.id}, version {status.version}", expected=schema)
    return Finding.at(PEER, what, "error", status.registry, REGISTER if status.id is None else DIFF, expected=schema)


def _locked(status: SubjectStatus) -> Finding:
    # The gateway writes missing entries at its start.
    severity: Severity = "unknown" if status.lock == NO_ENTRY else "error"
    fix = REGISTER_AND_LOCK if status.id is None else LOCK_FIX
    return Finding.at(PEER, f"lock file, {status.subject}", severity, status.lock, fix, expected=status.schema)
