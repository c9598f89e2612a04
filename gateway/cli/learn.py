"""`gateway learn`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import (
    CONTRACT,
    broker_at,
    exit_codes,
    files_of,
    filters_of,
    open_installation,
    progress_line,
    seconds_of,
)
from gateway.core.reading import Reason
from gateway.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.reading import Reading
    from gateway.mqtt.broker import Broker
    from gateway.operate.learn.contract_file import Site
    from gateway.operate.learn.extension import Existing


@exit_codes({0: "the proposal is written", 1: "no message was received, or the broker did not answer"}, 78)
def learn(  # noqa: PLR0913 - each is one option of the command
    *,
    into: Annotated[Path, typer.Option(help="The folder of the proposal; it must be empty.")],
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The MQTT broker: HOST:PORT, or mqtts://, ws://, wss:// or unix://."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A gateway.yaml that names the broker.")] = None,
    server: Annotated[str | None, typer.Option(metavar="NAME", help="With -c: one broker of several.")] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Learn from a spool or a recording instead.")
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long to listen: 30s, 10m, 1h.")] = "10m",
    topics: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER", help="MQTT topic filter to subscribe to; repeatable; default: #."),
    ] = None,
    username: Annotated[str, typer.Option(help="User for the broker.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File that holds only this user's password.")] = None,
    kafka: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Kafka for gateway.yaml; default: that of -c, else localhost:9092."),
    ] = None,
    registry: Annotated[
        str | None, typer.Option(metavar="URL", help="The registry; default: that of -c, else http://localhost:8081.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="The CA of an mqtts:// broker, in PEM; default: the system's CAs.")
    ] = None,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="With -c: learn from the dead letters that no stream describes.")
    ] = False,
    extend: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A contract, or the gateway.yaml that names it, to extend.")
    ] = None,
    no_values: Annotated[bool, typer.Option("--no-values", help="Write no values of payloads.")] = False,
) -> None:
    """Listen to a broker and propose a contract: streams, schemas and settings, with the evidence for each field.

    The gateway's own session is not touched. Ctrl-C ends the listening, and the proposal is written.
    """
    from gateway.cli.check import check
    from gateway.operate.learn.contract_file import Site
    from gateway.operate.learn.learn import Options, contract_path
    from gateway.operate.learn.learn import learn as learn_from
    from gateway.operate.listener import Terminal
    from gateway.operate.recording import readings
    from gateway.signals import stop_on_signals

    seconds = seconds_of(duration)
    if sum(map(bool, (broker, config, from_file))) != 1 or (dead_letters and not config):
        raise typer.BadParameter("Name one source: --broker URL, -c gateway.yaml, or --from FILE.")
    filters = filters_of(topics) or ["#"]
    source, site = None, Site()
    if broker:
        source, site = _given_broker(broker, username, password_file, ca_file)
    elif config:
        source, site = _broker_of(config, server)
    site = site._replace(kafka=kafka or site.kafka, registry=registry or site.registry)
    existing = _existing(extend, server) if extend else None
    is_heard = not (from_file or dead_letters)
    options = Options(into, source if is_heard else None, filters, seconds, not no_values, site, existing)
    given = readings(from_file) if from_file else _dead_letters(config) if config and dead_letters else ()
    learn_from(options, Terminal(typer.echo, progress_line(), stop_on_signals), given)
    if existing:
        check(contract=contract_path(options))
    else:
        check(config=into / "gateway.yaml")


def _dead_letters(config: Path) -> Iterator[Reading]:
    """Give the messages that no stream describes, as the dead-letter topics have them."""
    from gateway.kafka.partitions import Partitions
    from gateway.operate.dlq.dead_letters import DeadLetters, topics_of

    installation = open_installation(config)
    partitions = Partitions(installation.kafka(producing=False))
    for one in DeadLetters(partitions, topics_of(installation.contract)):
        if one.reason == Reason.UNMAPPED_TOPIC and not one.is_cut:
            yield one.reading


def _existing(extend: Path, server: str | None) -> Existing:
    """Read the contract to extend, with the registry of its gateway.yaml."""
    from gateway.operate.learn.extension import read
    from gateway.operate.schemas.subjects import Subjects

    config, contract = files_of(extend, None, CONTRACT)
    installation = open_installation(config) if config else None
    path = installation.settings.contract_path() if installation else contract
    return read(path, (server,) if server else (), Subjects(installation.registry()) if installation else None)


def _given_broker(url: str, username: str, password_file: Path | None, ca_file: Path | None) -> tuple[Broker, Site]:
    """Find the broker of an URL, and what the settings say of it."""
    broker = broker_at(url, username, password_file, ca_file)
    given: dict[str, Any] = {"username": broker.username} if broker.username else {}
    given |= {"password_file": str(password_file.absolute())} if password_file else {}
    given |= {"tls": {"ca_file": str(ca_file.absolute())}} if ca_file and broker.tls else {}
    return broker, _site(broker, given)


def _broker_of(config: Path, server: str | None) -> tuple[Broker, Site]:
    """Find the broker of a gateway.yaml, and all that it says of the servers."""
    from gateway.installation import broker_of

    installation = open_installation(config)
    settings, contract = installation.settings, installation.contract
    brokers = {one.name: one for one in contract.brokers}
    name = server or next(iter(brokers))
    if name not in brokers or (len(brokers) > 1 and not server):
        names = ", ".join(brokers)
        message = f"The contract has several brokers: {names}."
        if server:
            message = f"The contract has no broker {server}. It has: {names}."
        raise ConfigurationError(
            [Finding(str(config), 0, "servers", message, f"Name one: --server {next(iter(brokers))}.")]
        )
    broker, of_kafka = broker_of(brokers[name], settings), settings.elsewhere(contract.kafka.name)
    of_registry = of_kafka.get("registry", {})
    url = of_registry.pop("url", None) or contract.kafka.registry_url
    site = _site(broker, settings.elsewhere(name))._replace(
        kafka=of_kafka.pop("host", None) or contract.kafka.host, of_kafka=of_kafka
    )
    return broker, site._replace(registry=url) if url else site


def _site(broker: Broker, of_broker: dict[str, Any]) -> Site:
    from gateway.operate.learn.contract_file import Site

    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    of_broker.pop("host", None)
    if broker.websocket:
        of_broker["websocket"] = of_broker.get("websocket", {}) | {"path": broker.websocket.path}
    place = broker.address if broker.is_unix else f"{host}:{broker.port}"
    return Site(place, broker.tls is not None, broker.version, of_broker=of_broker)
