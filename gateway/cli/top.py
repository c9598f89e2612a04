"""`gateway top`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, exit_codes
from gateway.text import with_config


@exit_codes(
    {0: "ready, or ended with Ctrl-C", 1: "with --once: running but not ready", 69: "with --once: no answer"}, 78
)
def top(
    *,
    config: ConfigOption,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two updates.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once; default if not at a terminal.")] = False,
) -> None:
    """Watch peers, streams with rate and lag, the ledger and the spool, until Ctrl-C."""
    from gateway.operate import top as terminal
    from gateway.operate.status import query_of
    from gateway.signals import stop_on_signals

    query, stopping = query_of(config, os.environ), stop_on_signals()
    if once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        text, exit_code = terminal.once(query, stopping)
        typer.echo(with_config(text, config))
        raise typer.Exit(exit_code)
    terminal.follow(query, stopping, interval, sys.stdout)
