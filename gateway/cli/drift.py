"""`gateway drift`."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, FormatOption, exit_codes

LONGEST_SECONDS = 3_600


@exit_codes({0: "no drift", 1: "drift"}, 69, 78)
def drift(
    config: ConfigOption,
    *,
    seconds: Annotated[
        float,
        typer.Option(min=0, max=LONGEST_SECONDS, help="How long to listen for topics that no stream describes."),
    ] = 10,
    output: FormatOption = "text",
) -> None:
    """Compare the contract with brokers, Kafka and registry; it changes nothing. Ctrl-C ends the listening."""
    from gateway.installation import open_installation  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.operate.drift.survey import survey  # noqa: PLC0415 - as above
    from gateway.signals import stop_on_signals  # noqa: PLC0415 - as above

    report = survey(open_installation(config, os.environ), seconds, stop_on_signals())
    typer.echo(json.dumps(report.as_json()) if output == "json" else report.as_text())
    raise typer.Exit(report.exit_code)
