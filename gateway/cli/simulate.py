"""`gateway simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import (
    CONTRACT,
    BrokenOption,
    ContractOption,
    EitherOption,
    FileArgument,
    SeedOption,
    exit_codes,
    files_of,
)


@exit_codes({0: "the brokers acknowledged every reading", 1: "they did not, or did not answer"}, 78)
def simulate(  # noqa: PLR0913 - each is one option of the command
    file: FileArgument = None,
    *,
    config: EitherOption = None,
    contract: ContractOption = CONTRACT,
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=HOST:PORT", help="Address of one of the contract's servers. Repeatable."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0, help="Readings per second; 0 for as fast as the brokers accept.")] = 10,
    count: Annotated[int | None, typer.Option(min=1, help="Number of readings; default: until Ctrl-C.")] = None,
    seed: SeedOption = 1,
    broken: BrokenOption = 0.0,
    qos: Annotated[int | None, typer.Option(min=0, max=1, help="QoS, instead of each stream's own.")] = None,
    username: Annotated[str, typer.Option(help="User with the right to publish, instead of gateway.yaml's.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File that holds this user's password.")] = None,
) -> None:
    """Publish plausible readings for every stream of the contract, made from its schemas and examples."""
    from gateway.installation import login as login_of
    from gateway.operate.simulate import simulation

    login = login_of(username, password_file)
    loaded, brokers = simulation.prepare(*files_of(file, config, contract), server or [], login)
    summary = simulation.run(loaded, brokers, rate=rate, count=count, seed=seed, broken_share=broken, qos=qos)
    typer.echo(summary.text)
    raise typer.Exit(summary.exit_code)
