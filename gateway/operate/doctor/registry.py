"""The schema registry: whether it answers, has the schemas, and whether the gateway could start without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.installation import lock_path_of
from gateway.operate.doctor.diagnosis import Diagnosis, State, diagnosed
from gateway.operate.drift import registry
from gateway.operate.schemas.review import routes, schema_of
from gateway.registry.lock_file import read_lock

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
    wanted, pinned = routes(installation.contract), read_lock(lock_path_of(installation.settings))
    good = [name for name, route in wanted.items() if name in pinned and pinned[name].holds_for(schema_of(route))]
    told = f"{len(good)} of {len(wanted)} schemas"
    if len(good) == len(wanted):
        return Diagnosis(registry.PEER, "pinned ids", State.OK, told)
    return Diagnosis(registry.PEER, "pinned ids", State.WARNING, f"{told}: a start needs the registry", registry.LOCK)
