"""What `gateway simulate` does: find the brokers, publish until told to stop, say what became of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.installation import PORT, Login, broker_of
from gateway.operate.simulate.publisher import Publisher, publish_all, summary
from gateway.operate.simulate.simulator import Simulator
from gateway.settings.settings import load
from gateway.settings.values import split_hosts
from gateway.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.mqtt.broker import Broker


class Summary(NamedTuple):
    """How a simulation went: sentences for people, and the exit code."""

    text: str
    exit_code: int


def prepare(
    config: Path | None, contract: Path, overrides: Sequence[str], login: Login
) -> tuple[Contract, list[Broker]]:
    """Load the contract and find its brokers.

    Args:
        config: gateway.yaml, or None.
        contract: used when there is no gateway.yaml.
        overrides: `NAME=HOST:PORT`; such a server is spoken to without TLS.
        login: instead of gateway.yaml's, which an access list may forbid to publish.

    Returns:
        The contract and a broker for each MQTT server that some stream uses.

    Raises:
        GatewayError: when a file is wrong or an override names no server.
    """
    settings = load(config, os.environ) if config else None
    made = contracts.load(settings.resolve(settings.contract) if settings else contract)
    elsewhere = _read_overrides(overrides, made)
    return made, [broker_of(server, settings, elsewhere.get(server.name), login) for server in made.brokers]


def run(  # noqa: PLR0913 - each is one option of the command
    contract: Contract,
    brokers: Sequence[Broker],
    *,
    rate: float,
    count: int | None,
    seed: int,
    broken_share: float,
    qos: int | None = None,
) -> Summary:
    """Publish until the count is reached, or until SIGINT or SIGTERM; then wait for the acknowledgements.

    Raises:
        GatewayError: when a broker cannot be reached or stops acknowledging.
    """
    stopping = stop_on_signals()
    started = time.monotonic()
    with Publisher(brokers) as publisher:
        simulator = Simulator(contract, seed, broken_share)
        publish_all(simulator, publisher, rate=rate, stopping=stopping, count=count, qos=qos)
        publisher.settle()
    return _told(publisher, time.monotonic() - started)


def _told(publisher: Publisher, seconds: float) -> Summary:
    total = publisher.sent.total()
    lines = [f"published {total} readings in {seconds:.1f} s, {publisher.acknowledged} acknowledged"]
    lines += [summary(publisher.sent)] if total else []
    lines += [f"  refused by the broker: {reason}, {number} times" for reason, number in publisher.refusals.items()]
    return Summary("\n".join(lines), 0 if publisher.acknowledged == total else 1)


def _read_overrides(overrides: Sequence[str], contract: Contract) -> dict[str, tuple[str, int]]:
    elsewhere = {}
    for override in overrides:
        name, _, address = override.partition("=")
        if name not in contract.mqtt_servers:
            known = ", ".join(contract.mqtt_servers)
            raise GatewayError(f"--server {override}: the contract has no MQTT server {name!r}.", f"It has {known}.")
        try:
            ((host, port),) = split_hosts(address)
        except ValueError:
            raise GatewayError(f"--server {override}: this is no address.", f"Write {name}=localhost:1883.") from None
        elsewhere[name] = (host, port or PORT)
    return elsewhere
