"""`gateway update`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from gateway.cli.options import ConfigOption, exit_codes


@exit_codes(
    {0: "the new contract is in place, or nothing has changed", 1: "it is refused", 69: "it cannot be fetched"}, 78
)
def update(*, config: ConfigOption = Path("gateway.yaml")) -> None:
    """Fetch the contract from the source that gateway.yaml names.

    If its signature and its checks pass, install it and reload the running gateway. If the gateway does not stay ready,
    the former contract is restored.
    """
    from gateway.operate.update import Update
    from gateway.settings.settings import load

    typer.echo(Update(load(config, os.environ), lambda line: typer.echo(line, err=True)).run())
