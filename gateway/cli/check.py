"""`gateway check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.errors import Finding

CONFIGURATION_WRONG = 78


def check(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Check this gateway.yaml, and its contract.")
    ] = None,
    contract: Annotated[Path, typer.Option(help="Check this contract when no gateway.yaml is given.")] = Path(
        "asyncapi.yaml"
    ),
) -> None:
    """Find everything that `gateway run` would trip over, in one pass. Exit code 0, or 78 with the findings."""
    from gateway import contract as contracts  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.config import load  # noqa: PLC0415 - as above
    from gateway.errors import ConfigurationError  # noqa: PLC0415 - as above
    from gateway.reconcile import reconcile  # noqa: PLC0415 - as above

    settings: Settings | None = None
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
            findings += reconcile(settings, found)
    for finding in sorted(findings):
        typer.echo(f"{finding.severity}: {finding}", err=True)
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        typer.echo(f"{errors} error(s), {len(findings) - errors} warning(s)", err=True)
        raise typer.Exit(CONFIGURATION_WRONG)
    typer.echo(f"{config or contract}: fit to run" + (f", {len(findings)} warning(s)" if findings else ""))
