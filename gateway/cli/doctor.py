"""`gateway doctor`."""

from __future__ import annotations

import os

import typer

from gateway.cli.options import ConfigOption, FormatOption, exit_codes, progress, show


@exit_codes({0: "no errors", 1: "something is wrong"}, 69)
def doctor(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Check brokers, Kafka, registry, disk, clock and certificates for known causes of trouble; it changes nothing."""
    from gateway.operate.doctor.examination import examine
    from gateway.signals import stop_on_signals

    report = examine(config, os.environ, stop_on_signals(), progress(output))
    show(report, output, config)
    raise typer.Exit(report.exit_code)
