"""`gateway top`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotation


def top(
    *,
    config: ConfigOption,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once; so it is where the output is no terminal.")] = False,
) -> None:
    """Watch peers, streams with rate and lag, the books and the spool, until Ctrl-C.

    Exit codes with --once: 0 ready, 1 running but not ready, 69 nobody answers; else 0.
    """
    from gateway.operate import status as states  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.operate import top as terminal  # noqa: PLC0415 - as above
    from gateway.settings.settings import load  # noqa: PLC0415 - as above
    from gateway.signals import stop_on_signals  # noqa: PLC0415 - as above

    settings = load(config, os.environ)
    spool_path, stopping = settings.resolve(settings.spool.path), stop_on_signals()
    if once or not sys.stdout.isatty():
        told, exit_code = terminal.once(lambda: states.status(settings.http.listen, spool_path), stopping)
        typer.echo(told)
        raise typer.Exit(exit_code)
    terminal.follow(lambda: states.status(settings.http.listen, spool_path), stopping, interval, sys.stdout)
