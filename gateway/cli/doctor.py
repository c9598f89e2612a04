"""`gateway doctor`."""

from __future__ import annotations

import json
import os

import typer

from gateway.cli.options import ConfigOption, FormatOption  # noqa: TC001 - typer reads the annotations


def doctor(
    config: ConfigOption,
    *,
    output: FormatOption = "text",
) -> None:
    """Look for the known traps at brokers, Kafka, registry, disk, clock and certificates; it changes nothing.

    Exit codes: 0 nothing wrong, 1 something wrong, 69 a peer could not be asked.
    """
    from gateway.operate.doctor.examination import examine  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.signals import stop_on_signals  # noqa: PLC0415 - as above

    report = examine(config, os.environ, stop_on_signals())
    typer.echo(json.dumps(report.as_json()) if output == "json" else report.as_text())
    raise typer.Exit(report.exit_code)
