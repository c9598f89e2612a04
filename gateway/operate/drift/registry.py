"""The schema registry against the contract: whether it has each schema, and whether that is the newest version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import GatewayError
from gateway.operate.drift.observation import Observation, Verdict
from gateway.operate.schemas.subject_status import AGREES, NO_ENTRY, SubjectStatus, standings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.installation import Installation

PEER = "registry"
DIFF = "`gateway schemas diff` shows how they differ."
REGISTER = "`gateway schemas register` does it."
LOCK = "`gateway schemas lock` writes it."


def compare(installation: Installation) -> Iterator[Observation]:
    """Compare subjects with the contract's schemas, and both with the lock file.

    Args:
        installation: its files.

    Yields:
        What was seen.

    Raises:
        GatewayError: when the registry cannot be asked.
    """
    kafka = installation.contract.kafka
    is_named = bool(installation.settings.server(kafka.name).registry.url or kafka.registry_url)
    if not is_named:
        yield Observation(PEER, "address", "none", "only the lock file counts", Verdict.UNSEEN)
    for standing in standings(installation):
        if is_named:
            yield _registered(standing)
        if standing.lock != AGREES and (standing.id is not None or standing.lock != NO_ENTRY):
            yield _locked(standing)


def _registered(standing: SubjectStatus) -> Observation:
    what = f"subject {standing.subject}"
    if not standing.is_answered:
        raise GatewayError(standing.registry)
    if standing.registry == AGREES:
        told = f"id {standing.id}, version {standing.version}"
        return Observation(PEER, what, standing.schema, told, Verdict.AGREES)
    step = REGISTER if standing.id is None else DIFF
    return Observation(PEER, what, standing.schema, standing.registry, Verdict.DRIFT, step)


def _locked(standing: SubjectStatus) -> Observation:
    verdict = Verdict.UNSEEN if standing.lock == NO_ENTRY else Verdict.DRIFT  # it is written when the gateway starts
    return Observation(PEER, f"lock file, {standing.subject}", standing.schema, standing.lock, verdict, LOCK)
