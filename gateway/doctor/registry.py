"""The schema registry: whether it answers, has the schemas, and whether the gateway could start without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.doctor.diagnosis import Diagnosis, State, diagnosed
from gateway.drift import registry
from gateway.registry import lock_path_of, pins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.installation import Installation


def examine(installation: Installation) -> Iterator[Diagnosis]:
    """Look at the registry and at the lock file.

    Args:
        installation: its files.

    Raises:
        GatewayError: when the registry cannot be asked.
    """
    yield _pinned(installation)
    for observation in registry.compare(installation):
        yield diagnosed(observation, lambda _: State.WARNING)


def _pinned(installation: Installation) -> Diagnosis:
    wanted = {route.subject for stream in installation.contract.streams.values() for route in stream.routes}
    missing = wanted - set(pins(lock_path_of(installation.settings)))
    if not missing:
        return Diagnosis(registry.PEER, "pinned ids", State.OK, "all")
    told = f"{len(missing)} of {len(wanted)} are not: a start needs the registry"
    return Diagnosis(registry.PEER, "pinned ids", State.WARNING, told, registry.LOCK)
