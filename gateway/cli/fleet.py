"""`gateway fleet`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import FormatOption, broker_at, exit_codes, open_installation, show
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from gateway.mqtt.broker import Broker


@exit_codes({0: "all are ready, or ended with Ctrl-C", 1: "a gateway is not ready, or the broker did not answer"}, 78)
def fleet(  # noqa: PLR0913 - each is one option of the command
    *,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="A gateway.yaml whose status.publish names the broker.")
    ] = Path("gateway.yaml"),
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="The MQTT broker instead: HOST:PORT, mqtt://HOST or mqtts://HOST.")
    ] = None,
    username: Annotated[str, typer.Option(help="User for --broker.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File that holds only this user's password.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="The CA of an mqtts:// broker, in PEM; default: the system's CAs.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two updates.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once; default if not at a terminal.")] = False,
    output: FormatOption = "text",
) -> None:
    """Watch all gateways that publish their status at a broker, until Ctrl-C: state, rates, spool, dead letters."""
    from gateway.operate import fleet as fleets
    from gateway.signals import stop_on_signals

    at = broker_at(broker, username, password_file, ca_file) if broker else _broker_of(config)
    stopping = stop_on_signals()
    if once or output == "json" or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        found = fleets.once(at, stopping)
        show(found, output, None)
        raise typer.Exit(found.exit_code)
    fleets.follow(at, stopping, interval, sys.stdout)


def _broker_of(config: Path) -> Broker:
    """Find the broker at which a gateway publishes its status, or the only one of its contract."""
    from gateway.installation import broker_of

    settings, contract = open_installation(config)
    servers = contract.mqtt_servers
    name = settings.status.publish or (next(iter(servers)) if len(servers) == 1 else None)
    if name is None:
        message, fix = "This gateway publishes no status.", f"Name one of {', '.join(servers)}, or use --broker."
        raise ConfigurationError([settings.finding(("status", "publish"), message, fix)])
    return broker_of(servers[name], settings)
