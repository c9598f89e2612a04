"""`gateway demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    seconds: Annotated[float | None, typer.Option(min=1, help="How long; default: until Ctrl-C.")] = None,
    rate: Annotated[float, typer.Option(min=1, max=5000, help="Readings per second.")] = 200,
    broken: Annotated[float, typer.Option(min=0, max=1, help="Share of readings that are invalid on purpose.")] = 0.02,
    seed: Annotated[int, typer.Option(help="The same seed makes the same readings.")] = 1,
    contract: Annotated[Path, typer.Option(help="The contract.")] = Path("asyncapi.yaml"),
) -> None:
    """See readings cross from MQTT to Kafka on this machine, without Java: broker, gateway, Kafka, sensors.

    Ends with the ledger; exit code 0 only when it balances.
    """
    from gateway.operate.demo import demonstration  # noqa: PLC0415 - `gateway --help` need not load the whole gateway

    options = demonstration.Options(contract, seconds, rate, broken, seed)
    raise typer.Exit(demonstration.demo(options, typer.echo))
