"""`gateway init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.check import check
from gateway.cli.options import CONTRACT, contract_of, exit_codes
from gateway.errors import ConfigurationError, Finding, GatewayError

if TYPE_CHECKING:
    from gateway.operate.init.answers import Ask


@exit_codes({0: "the gateway can run with the file", 1: "the file is not written"}, 78)
def init(  # noqa: PLR0913 - each is one option of the command
    file: Annotated[
        Path | None, typer.Argument(help="With --family: the contract, or the gateway.yaml that names it.")
    ] = None,
    *,
    family: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Add families of devices to the contract; ? lists them.")
    ] = None,
    server: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --family: the server to use, if there are several.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="With --family: the gateway.yaml that names the contract.")
    ] = None,
    broker: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The MQTT broker.")] = None,
    kafka: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Bootstrap servers, comma-separated.")] = None,
    registry: Annotated[str | None, typer.Option(metavar="URL", help="The schema registry.")] = None,
    username: Annotated[str, typer.Option(help="User for the broker.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File that holds only this user's password.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="How long to listen at the broker; 0 for not at all.")
    ] = 30,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("gateway.yaml"),
    contract: Annotated[
        Path | None, typer.Option(help="The contract; default: asyncapi.yaml beside the output.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; use the options and defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a first gateway.yaml: ask for the servers, listen to what is published, check the file.

    With --family, add a ready description of devices to the contract; where there is none, begin with it.
    """
    from gateway.operate.init.answers import Flags
    from gateway.operate.init.start import Options, Terminal, next_steps, start
    from gateway.signals import stop_on_signals

    if not family and (file or config or server):
        raise typer.BadParameter("FILE, -c and --server are for --family.")
    created: list[Path] = []
    if family:
        contract = contract_of(file, config, contract or output.parent / CONTRACT)
        is_new = not contract.exists()
        created = _added(family, contract, server or [])
        if not is_new:
            _say(family, contract, created)
            check(config=config) if config else check(contract=contract)
            return
    if (force or not output.exists()) and not (contract or output.parent / CONTRACT).exists():
        _learn_one(contract or output.parent / CONTRACT, broker, username, password_file, is_silent=yes)
        return
    options = Options(output, contract, seconds, force, Flags(broker, kafka, registry, username, password_file))
    try:
        start(options, Terminal(_asker(is_silent=yes), typer.echo, stop_on_signals))
    except BaseException:
        for path in created:
            path.unlink()
        raise
    if family and contract:
        _say(family, contract, created)
    check(config=output)
    typer.echo(next_steps(output))


def _learn_one(path: Path, broker: str | None, username: str, password_file: Path | None, *, is_silent: bool) -> None:
    """Offer to learn a contract where there is none."""
    if is_silent or not sys.stdin.isatty():
        fix = "Check the path, or let `gateway learn --broker HOST:PORT --into FOLDER` propose a contract."
        raise ConfigurationError([Finding(str(path), 0, "", "The file does not exist.", fix)])
    from gateway.cli.learn import learn
    from gateway.operate.init.answers import LOCAL_BROKER

    typer.echo(f"There is no contract {path}; `gateway learn` can propose one from what the devices publish.")
    address = broker or str(typer.prompt("MQTT broker", default=LOCAL_BROKER))
    duration = str(typer.prompt("How long to listen", default="10m"))
    folder = Path(typer.prompt("Folder for the proposal", default="proposal"))
    learn(into=folder, broker=address, duration=duration, username=username, password_file=password_file)


def _added(names: list[str], contract: Path, servers: list[str]) -> list[Path]:
    """Add families of devices to the contract; gives the files that are new."""
    from gateway.operate.init import family

    return family.add([family.family(name) for name in names], contract, servers)


def _say(names: list[str], contract: Path, created: list[Path]) -> None:
    typer.echo(f"Added {', '.join(names)} to {contract}.")
    for path in created:
        typer.echo(f"Wrote {path}.")


def _asker(*, is_silent: bool) -> Ask | None:
    if is_silent:
        return None
    if not sys.stdin.isatty():
        raise GatewayError("There is no terminal to ask questions at.", "Answer with options, and add --yes.")
    return lambda question, default: str(typer.prompt(question, default=default))
