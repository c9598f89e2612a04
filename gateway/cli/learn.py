"""`gateway learn`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from gateway.cli.options import CONTRACT, contract_of, exit_codes, open_installation, progress_line, seconds_of
from gateway.core.reading import Reason
from gateway.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.reading import Reading
    from gateway.mqtt.broker import Broker


@exit_codes({0: "the proposal is written", 1: "no message was heard, or the broker did not answer"}, 78)
def learn(  # noqa: PLR0913 - each is one option of the command
    *,
    into: Annotated[Path, typer.Option(help="The folder of the proposal; it must be empty.")],
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="The MQTT broker: HOST:PORT, mqtt://HOST or mqtts://HOST.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A gateway.yaml that names the broker.")] = None,
    server: Annotated[
        str | None, typer.Option(metavar="NAME", help="With -c: the broker, if there are several.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Learn from a spool or a recording instead.")
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long to listen: 30s, 10m, 1h.")] = "10m",
    topics: Annotated[
        list[str] | None, typer.Option(metavar="FILTER", help="Listen to these only; default: #.")
    ] = None,
    username: Annotated[str, typer.Option(help="User for the broker.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File that holds only this user's password.")] = None,
    kafka: Annotated[str, typer.Option(metavar="HOST:PORT", help="Kafka, for gateway.yaml.")] = "localhost:9092",
    registry: Annotated[
        str, typer.Option(metavar="URL", help="The schema registry, for gateway.yaml.")
    ] = "http://localhost:8081",
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
    from gateway.operate.learn.extension import read
    from gateway.operate.learn.learn import Options, contract_path, site_of
    from gateway.operate.learn.learn import learn as learn_from
    from gateway.operate.listener import Terminal
    from gateway.operate.recording import readings
    from gateway.signals import stop_on_signals

    seconds = seconds_of(duration)
    if sum(map(bool, (broker, config, from_file))) != 1 or (dead_letters and not config):
        raise typer.BadParameter("Name one source: --broker URL, -c gateway.yaml, or --from FILE.")
    is_heard = not (from_file or dead_letters)
    source = _broker(broker, username, password_file) if broker else _broker_of(config, server) if config else None
    site = (site_of(source) if source else Site("localhost:1883"))._replace(kafka=kafka, registry=registry)
    existing = read(contract_of(extend, None, CONTRACT), (server,) if server else ()) if extend else None
    options = Options(
        into, source if is_heard else None, topics or ["#"], seconds, not no_values, site, username, password_file,
        existing,
    )  # fmt: skip
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


def _broker(url: str, username: str, password_file: Path | None) -> Broker:
    from gateway.installation import PORT, TLS_PORT, login
    from gateway.mqtt.broker import Broker

    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
        parts = parts._replace(netloc="")
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.password:
        fix = "Write HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT; the password goes into --password-file."
        raise ConfigurationError([Finding("--broker", 0, "", "This is not the address of a broker.", fix)])
    is_tls = parts.scheme == "mqtts"
    import ssl

    context = ssl.create_default_context() if is_tls else None
    given = login(username or parts.username or "", password_file)
    return Broker(
        "broker",
        parts.hostname,
        port or (TLS_PORT if is_tls else PORT),
        is_mqtt5=True,
        username=given.username,
        password=given.password,
        tls=context,
    )


def _broker_of(config: Path, server: str | None) -> Broker:
    from gateway.installation import broker_of

    installation = open_installation(config)
    brokers = {one.name: one for one in installation.contract.brokers}
    name = server or next(iter(brokers))
    if name not in brokers or (len(brokers) > 1 and not server):
        message = f"The brokers of the contract are {', '.join(brokers)}."
        raise ConfigurationError(
            [Finding(str(config), 0, "servers", message, f"Name one: --server {next(iter(brokers))}.")]
        )
    return broker_of(brokers[name], installation.settings)
