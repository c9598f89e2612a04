"""`gateway simulate`: find the brokers, publish until the end, and report the result."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.installation import PORT, Login, broker_of, contract_of
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
    """The result of a simulation: lines for people, and the exit code."""

    text: str
    exit_code: int


def prepare(
    config: Path | None, contract_path: Path, overrides: Sequence[str], login: Login
) -> tuple[Contract, list[Broker]]:
    """Load the contract of gateway.yaml, or else the one at the path, and find the brokers that its streams use.

    Overrides are `NAME=HOST:PORT`, addresses without TLS. The login replaces that of gateway.yaml, whose user may not
    be allowed to publish. GatewayError when a file is wrong or an override names no server.
    """
    settings = load(config, os.environ) if config else None
    contract = contract_of(settings) if settings else contracts.load(contract_path)
    addresses = _addresses(overrides, contract)
    return contract, [broker_of(server, settings, addresses.get(server.name), login) for server in contract.brokers]


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
    """Publish until the count is reached, or until SIGINT or SIGTERM; then wait for the acknowledgements."""
    stopping = stop_on_signals()
    started = time.monotonic()
    with Publisher(brokers) as publisher:
        simulator = Simulator(contract, seed, broken_share)
        publish_all(simulator, publisher, rate=rate, stopping=stopping, count=count, qos=qos)
        publisher.settle()
    total = publisher.sent.total()
    lines = [
        f"published {total} readings in {time.monotonic() - started:.1f} s, {publisher.acknowledged} acknowledged",
        *([summary(publisher.sent)] if total else []),
        *(f"  refused by the broker: {number} ({reason})" for reason, number in publisher.refusals.items()),
    ]
    return Summary("\n".join(lines), 0 if publisher.acknowledged == total else 1)


def _addresses(overrides: Sequence[str], contract: Contract) -> dict[str, tuple[str, int]]:
    addresses = {}
    for override in overrides:
        name, _, address = override.partition("=")
        if name not in contract.mqtt_servers:
            raise GatewayError(
                f"--server {override}: the contract has no MQTT server {name!r}.",
                f"Use one of: {', '.join(contract.mqtt_servers)}.",
            )
        try:
            ((host, port),) = split_hosts(address)
        except ValueError:
            raise GatewayError(
                f"--server {override}: {address!r} is not HOST:PORT.", f"Write {name}=localhost:1883."
            ) from None
        addresses[name] = (host, port or PORT)
    return addresses
