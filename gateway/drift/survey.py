"""All peers asked at once, each in a thread of its own: most of the time goes into waiting and listening."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gateway.drift import broker, kafka, registry
from gateway.drift.observation import Observation, Report, Verdict
from gateway.errors import ConfigurationError, GatewayError

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
    used = {name for stream in contract.streams.values() for name in stream.servers}
    peers = [
        *(
            (server.name, broker.compare(installation, server, seconds, stopping))
            for server in contract.mqtt_servers.values()
            if server.name in used
        ),
        (contract.kafka.name, kafka.compare(installation)),
        (registry.PEER, registry.compare(installation)),
    ]
    with ThreadPoolExecutor(len(peers), "drift") as pool:
        return Report(tuple(one for found in pool.map(_asked, *zip(*peers, strict=True)) for one in found))


def _asked(peer: str, observations: Iterable[Observation]) -> list[Observation]:
    """Collect what a peer shows, and why it shows no more."""
    found = []
    try:
        for observation in observations:
            found.append(observation)  # noqa: PERF402 - what came before an error stays
    except ConfigurationError:
        raise
    except GatewayError as error:
        found.append(Observation(peer, "answer", "one", error.message, Verdict.UNASKED, error.hint))
    return found
