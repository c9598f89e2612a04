"""All peers asked at once, each in a thread of its own: most of the time goes into waiting and listening."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gateway.drift import broker, kafka, registry
from gateway.drift.observation import Observation, Report, Verdict
from gateway.errors import until_refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.installation import Installation
    from gateway.stop import Stopping


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
    with ThreadPoolExecutor(len(peers), "drift") as pool:
        return Report(tuple(one for found in pool.map(_asked, *zip(*peers, strict=True)) for one in found))


def _asked(peer: str, observations: Iterable[Observation]) -> list[Observation]:
    return until_refused(
        observations, lambda error: Observation(peer, "answer", "one", error.message, Verdict.UNASKED, error.hint)
    )
