"""`gateway demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import (
    CONTRACT,
    BrokenOption,
    ContractOption,
    EitherOption,
    FileArgument,
    SeedOption,
    contract_of,
    exit_codes,
)


@exit_codes({0: "the ledger balances", 1: "it does not balance, or a part did not start"}, 78)
def demo(  # noqa: PLR0913 - each is one option of the command
    file: FileArgument = None,
    *,
    seconds: Annotated[float | None, typer.Option(min=1, help="How long it runs; default: until Ctrl-C.")] = None,
    rate: Annotated[float, typer.Option(min=1, max=5000, help="Readings per second.")] = 200,
    broken: BrokenOption = 0.02,
    seed: SeedOption = 1,
    config: EitherOption = None,
    contract: ContractOption = CONTRACT,
) -> None:
    """See readings cross from MQTT to Kafka on this machine, without Java: broker, gateway, Kafka, sensors."""
    from gateway.operate.demo import demonstration

    options = demonstration.Options(contract_of(file, config, contract), seconds, rate, broken, seed)
    raise typer.Exit(demonstration.demo(options, typer.echo))
