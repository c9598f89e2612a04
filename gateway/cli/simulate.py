"""`gateway simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(  # noqa: PLR0913 - each is one option of the command
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="gateway.yaml: its contract, brokers and login.")
    ] = None,
    contract: Annotated[Path, typer.Option(help="The contract, without gateway.yaml.")] = Path("asyncapi.yaml"),
    server: Annotated[
        list[str] | None, typer.Option(metavar="NAME=HOST:PORT", help="Where a server of the contract is. Repeatable.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0, help="Readings a second; 0 for as fast as the brokers can.")] = 10,
    count: Annotated[int | None, typer.Option(min=1, help="How many readings; without it until Ctrl-C.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same readings.")] = 1,
    broken: Annotated[float, typer.Option(min=0, max=1, help="Share of readings that do not fit.")] = 0.0,
    qos: Annotated[int | None, typer.Option(min=0, max=1, help="Instead of each stream's own QoS.")] = None,
    username: Annotated[str, typer.Option(help="User who may publish, instead of gateway.yaml's.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File with that user's password.")] = None,
) -> None:
    """Publish plausible readings for every stream of the contract, made from its schemas and examples.

    Exit code 0 only when the brokers have acknowledged every reading.
    """
    from gateway.installation import login as login_of  # noqa: PLC0415 - as above
    from gateway.operate.simulate import simulation  # noqa: PLC0415 - `gateway --help` need not load the whole gateway

    login = login_of(username, password_file)
    made, brokers = simulation.prepare(config, contract, server or [], login)
    told = simulation.run(made, brokers, rate=rate, count=count, seed=seed, broken_share=broken, qos=qos)
    typer.echo(told.text)
    raise typer.Exit(told.exit_code)
