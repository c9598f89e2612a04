"""`gateway drift`."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, FormatOption  # noqa: TC001 - typer reads the annotations

LONGEST_SECONDS = 3_600


def drift(
    config: ConfigOption,
    *,
    seconds: Annotated[
        float, typer.Option(min=0, max=LONGEST_SECONDS, help="Listen to each broker so long for what no stream takes.")
    ] = 10,
    output: FormatOption = "text",
) -> None:
    """Compare the contract with brokers, Kafka and registry as they are now; it changes nothing. Ctrl-C ends listening.

    Exit codes: 0 no drift, 1 drift, 69 a peer could not be asked.
    """
    from gateway.installation import open_installation  # noqa: PLC0415 - as above
    from gateway.operate.drift.survey import survey  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.signals import stop_on_signals  # noqa: PLC0415 - as above

    report = survey(open_installation(config, os.environ), seconds, stop_on_signals())
    typer.echo(json.dumps(report.as_json()) if output == "json" else report.as_text())
    raise typer.Exit(report.exit_code)
