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
    """Take a new contract from where gateway.yaml says, if it is signed and fits, and reload the running gateway.

    A contract with which the gateway is not ready is taken back.
    """
    from gateway.operate.update import Update
    from gateway.settings.settings import load

    typer.echo(Update(load(config, os.environ), lambda line: typer.echo(line, err=True)).run())
