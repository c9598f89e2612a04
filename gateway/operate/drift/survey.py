"""All peers asked at once, each in a thread of its own: most of the time goes into waiting and listening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import until_refused
from gateway.operate.drift import broker, kafka, registry
from gateway.operate.drift.observation import Observation, Report, Verdict
from gateway.signals import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.installation import Installation
    from gateway.signals import Stopping


def survey(installation: Installation, seconds: float, stopping: Stopping) -> Report:
    """Compare every peer of an installation with its contract.

    Args:
        installation: its files.
        seconds: how long to listen to each broker for what no stream describes.
        stopping: ends the listening before its time.

    Raises:
        ConfigurationError: when a secret or certificate cannot be used.
    """
    contract = installation.contract
    peers = [
        *((server.name, broker.compare(installation, server, seconds, stopping)) for server in contract.brokers),
        (contract.kafka.name, kafka.compare(installation)),
        (registry.PEER, registry.compare(installation)),
    ]
    return Report(tuple(map_in_threads(_asked, peers)))


def _asked(one: tuple[str, Iterable[Observation]]) -> list[Observation]:
    peer, observations = one
    return until_refused(
        observations, lambda error: Observation(peer, "answer", "one", error.message, Verdict.UNASKED, error.hint)
    )
