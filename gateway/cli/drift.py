"""`gateway drift`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, FormatOption, exit_codes, open_installation, progress, show


@exit_codes({0: "no drift", 1: "drift"}, 69, 78)
def drift(
    config: ConfigOption,
    *,
    seconds: Annotated[
        float,
        typer.Option(min=0, max=3600, help="How long to listen for topics that no stream describes."),
    ] = 10,
    output: FormatOption = "text",
) -> None:
    """Compare the contract with brokers, Kafka and registry; it changes nothing. Ctrl-C ends the listening."""
    from gateway.operate.drift.survey import survey
    from gateway.signals import stop_on_signals

    report = survey(open_installation(config), seconds, stop_on_signals(), progress(output))
    show(report, output, config)
    raise typer.Exit(report.exit_code)
