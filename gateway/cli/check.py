"""`gateway check`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.contract import Contract
    from gateway.errors import Finding
    from gateway.operate.check import Report
    from gateway.settings.settings import Settings

CONFIGURATION_WRONG = 78


class Format(StrEnum):
    """Who reads what was found."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def check(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Check this gateway.yaml, and its contract.")
    ] = None,
    contract: Annotated[Path, typer.Option(help="Check this contract when no gateway.yaml is given.")] = Path(
        "asyncapi.yaml"
    ),
    form: Annotated[
        Format, typer.Option("--format", help="How to tell it: for people, programs, code scanning, or as annotations.")
    ] = Format.TEXT,
) -> None:
    """Find everything that `gateway run` would trip over, in one pass. Exit code 0, or 78 with the findings."""
    report = _examined(config, contract)
    _show(report, form)
    if report.errors:
        raise typer.Exit(CONFIGURATION_WRONG)


def _examined(config: Path | None, contract: Path) -> Report:
    from gateway import contract as contracts  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.errors import ConfigurationError  # noqa: PLC0415 - as above
    from gateway.operate.check import Report, ways  # noqa: PLC0415 - as above
    from gateway.service.split import examine  # noqa: PLC0415 - as above
    from gateway.settings.consistency import check_consistency  # noqa: PLC0415 - as above
    from gateway.settings.settings import load  # noqa: PLC0415 - as above

    settings: Settings | None = None
    found: Contract | None = None
    findings: list[Finding] = []
    if config:
        try:
            settings = load(config, os.environ)
            contract = settings.resolve(settings.contract)
        except ConfigurationError as error:
            findings += error.findings
    if settings or not config:
        found, problems = contracts.examine(contract)
        findings += problems
        if settings and found:
            findings += [*check_consistency(settings, found), *examine(found, settings)]
    if found is None or any(finding.severity == "error" for finding in findings):
        return Report(str(config or contract), tuple(sorted(findings)))
    enabled = settings.is_enabled if settings else lambda _: True
    return Report(str(config or contract), tuple(sorted(findings)), ways(found, enabled))


def _show(report: Report, form: Format) -> None:
    from gateway.operate import check as reports  # noqa: PLC0415 - as above

    if form is Format.JSON:
        typer.echo(reports.as_json(report))
    elif form is Format.SARIF:
        typer.echo(reports.as_sarif(report, Path.cwd()))
    elif form is Format.GITHUB:
        typer.echo(reports.as_github(report, Path.cwd()))
    else:
        for finding in report.findings:
            typer.echo(reports.as_text(finding), err=True)
        typer.echo(reports.verdict(report), err=bool(report.errors))
