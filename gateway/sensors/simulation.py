"""What `gateway simulate` does: find the brokers, publish until told to stop, say what became of it."""

from __future__ import annotations

import os
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple

from gateway import contract as contracts
from gateway.config import load
from gateway.errors import GatewayError
from gateway.mqtt_tls import tls_context
from gateway.sensors.publisher import Broker, Publisher, publish_all, summary
from gateway.sensors.simulator import Simulator
from gateway.settings.secret import UnfitFileError, read_secret
from gateway.settings.values import split_hosts
from gateway.stop import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.config import Settings
    from gateway.contract.model import Contract, MqttServer

PORT, TLS_PORT = 1883, 8883


class Login(NamedTuple):
    """Who publishes; an empty name for nobody in particular."""

    username: str
    password: str


NOBODY = Login("", "")


class Told(NamedTuple):
    """How a simulation went: sentences for people, and the exit code."""

    text: str
    exit_code: int


def login(username: str, password_file: Path | None) -> Login:
    """Read who publishes.

    Raises:
        GatewayError: when the password file cannot be used.
    """
    try:
        return Login(username, read_secret(password_file, None).get_secret_value() if password_file else "")
    except UnfitFileError as error:
        raise GatewayError(error.message, error.hint) from None


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


def broker_of(
    server: MqttServer, settings: Settings | None, elsewhere: tuple[str, int] | None = None, login: Login = NOBODY
) -> Broker:
    """Find out how to reach a broker of the contract.

    Args:
        server: of the contract.
        settings: gateway.yaml, or None.
        elsewhere: host and port instead of those, without TLS.
        login: instead of gateway.yaml's.

    Raises:
        ConfigurationError: when a secret or certificate cannot be used.
    """
    given = settings.server(server.name) if settings else None
    encrypted = not elsewhere and (server.tls or bool(given and given.tls))
    ((host, port),) = split_hosts((given and given.host) or server.host) if not elsewhere else (elsewhere,)
    if not login.username and settings and given and given.username:
        secret = settings.secret(given.password_file).get_secret_value() if given.password_file else ""
        login = Login(given.username, secret)
    tls = None
    if encrypted:
        tls = tls_context(settings.server(server.name).tls, settings) if settings else ssl.create_default_context()
    return Broker(
        server.name, host, port or (TLS_PORT if encrypted else PORT), server.version == "5.0", *login, tls=tls
    )


def run(  # noqa: PLR0913 - each is one option of the command
    contract: Contract,
    brokers: Sequence[Broker],
    *,
    rate: float,
    count: int | None,
    seed: int,
    broken_share: float,
    qos: int | None = None,
) -> Told:
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


def _told(publisher: Publisher, seconds: float) -> Told:
    total = publisher.sent.total()
    lines = [f"published {total} readings in {seconds:.1f} s, {publisher.acknowledged} acknowledged"]
    lines += [summary(publisher.sent)] if total else []
    lines += [f"  refused by the broker: {reason}, {number} times" for reason, number in publisher.refusals.items()]
    return Told("\n".join(lines), 0 if publisher.acknowledged == total else 1)


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
