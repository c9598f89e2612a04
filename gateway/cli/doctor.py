"""`gateway doctor`."""

from __future__ import annotations

import json
import os

import typer

from gateway.cli.options import ConfigOption, FormatOption, exit_codes


@exit_codes({0: "no errors", 1: "something is wrong"}, 69)
def doctor(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Check brokers, Kafka, registry, disk, clock and certificates for known causes of trouble; it changes nothing."""
    from gateway.operate.doctor.examination import examine  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.signals import stop_on_signals  # noqa: PLC0415 - as above

    report = examine(config, os.environ, stop_on_signals())
    typer.echo(json.dumps(report.as_json()) if output == "json" else report.as_text())
    raise typer.Exit(report.exit_code)
