"""`gateway reload`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, exit_codes
from gateway.errors import ConfigurationError
from gateway.text import with_config


@exit_codes(
    {0: "the new files are in use", 1: "they could not be examined", 69: "no gateway runs, or none answers"}, 78
)
def reload(
    *,
    config: ConfigOption = Path("gateway.yaml"),
    worker: Annotated[int | None, typer.Option(min=1, help="Only this worker, e.g. of gateway@2.service.")] = None,
) -> None:
    """Let a running gateway read contract, settings and secrets anew, and wait for the outcome.

    If the new ones have an error, the former ones stay in use, and no reading is affected.
    """
    from gateway.operate import reload as reloading
    from gateway.settings.settings import examine

    # Whether the files that it names can be used is for the gateway to say: this user need not have its secrets.
    settings, _, findings = examine(config, os.environ)
    if settings is None:
        raise ConfigurationError(sorted(findings))
    for answer in reloading.reload(settings, worker):
        typer.echo(with_config(answer.text, config), err=bool(answer.exit_code))
        if answer.exit_code:
            raise typer.Exit(answer.exit_code)
