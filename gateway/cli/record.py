"""`gateway record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, exit_codes, filters_of, open_installation, progress_line, seconds_of


@exit_codes({0: "the recording is written", 1: "a broker did not answer", 74: "the disk is full"}, 78)
def record(
    config: ConfigOption,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The recording; an existing one is continued.")
    ],
    duration: Annotated[str, typer.Option("--for", help="How long to listen: 30s, 10m, 1h.")] = "10m",
    topics: Annotated[
        list[str] | None, typer.Option(metavar="FILTER", help="Subscribe to these instead of the contract's filters.")
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Replace values by others of the same form.")] = False,
) -> None:
    """Record what the brokers publish, for `gateway shadow` and `gateway learn`.

    It listens under a client id of its own at QoS 0, so the gateway's sessions are not touched. Ctrl-C ends it.
    """
    from gateway.operate.listener import Terminal
    from gateway.operate.record import Options
    from gateway.operate.record import record as record_all
    from gateway.signals import stop_on_signals

    options = Options(output, seconds_of(duration), filters_of(topics), redact)
    terminal = Terminal(typer.echo, progress_line(), stop_on_signals)
    typer.echo(record_all(open_installation(config), options, terminal))
