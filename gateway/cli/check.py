"""`gateway check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli.options import CONTRACT, ContractOption, EitherOption, FileArgument, exit_codes, files_of

if TYPE_CHECKING:
    from gateway.operate.check import Result

FormatOption = Annotated[
    Literal["text", "json", "sarif", "github"],
    typer.Option("--format", help="Output for people, for programs, for code scanning, or as GitHub annotations."),
]


@exit_codes({0: "the gateway can run with these files"}, 78)
def check(
    file: FileArgument = None,
    config: EitherOption = None,
    contract: ContractOption = CONTRACT,
    output: FormatOption = "text",
) -> None:
    """Find everything that would stop `gateway run`, in one pass: in a contract, or gateway.yaml and its contract."""
    from gateway.operate import check as checks

    result = checks.check(*files_of(file, config, contract), os.environ)
    _show(result, output)
    if result.errors:
        raise typer.Exit(result.exit_code)


def _show(result: Result, output: str) -> None:
    from gateway.operate import report

    match output:
        case "json":
            typer.echo(report.as_json(result.as_json()))
        case "sarif":
            typer.echo(report.as_sarif(result.findings, Path.cwd()))
        case "github":
            lines = [report.as_github(finding, Path.cwd()) for finding in result.findings]
            typer.echo("\n".join([*lines, result.outcome()]))
        case _:
            for finding in result.findings:
                typer.echo(report.as_line(finding), err=True)
            typer.echo(result.outcome(), err=bool(result.errors))
