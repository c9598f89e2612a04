"""The schema registry: whether it answers, has the schemas, and whether the gateway could start without it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.errors import Finding
from gateway.installation import lock_path_of
from gateway.operate.drift import registry
from gateway.operate.schemas.review import routes, schema_of
from gateway.registry.lock_file import read_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.installation import Installation

PEER = registry.PEER


def examine(installation: Installation) -> Iterator[Finding]:
    """Check the registry and the lock file; a difference is only a warning, because the gateway runs with it.

    Raises:
        GatewayError: when the registry does not answer.
    """
    yield _pinned(installation)
    for finding in registry.compare(installation):
        yield replace(finding, severity="warning") if finding.severity == "error" else finding


def _pinned(installation: Installation) -> Finding:
    wanted, pins = routes(installation.contract), read_lock(lock_path_of(installation.settings))
    pinned = [name for name, route in wanted.items() if name in pins and pins[name].holds_for(schema_of(route))]
    text = f"{len(pinned)} of {len(wanted)} schemas"
    if len(pinned) == len(wanted):
        return Finding.at(PEER, "pinned ids", "ok", text)
    return Finding.at(PEER, "pinned ids", "warning", f"{text}: a start needs the registry", registry.LOCK)
