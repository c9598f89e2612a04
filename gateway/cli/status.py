"""`gateway status`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import FormatOption, exit_codes


@exit_codes({0: "ready", 1: "running but not ready", 69: "no answer; the ledger is that of the spool file"}, 78)
def status(
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="This installation's gateway.yaml.")] = Path(
        "gateway.yaml"
    ),
    output: FormatOption = "text",
) -> None:
    """Show peers with state and next step, the ledger of every stream, spool and lag."""
    from gateway.operate.status import query_of  # noqa: PLC0415 - `gateway --help` need not load the whole gateway

    answer = query_of(config, os.environ)()
    typer.echo(json.dumps(answer.as_json()) if output == "json" else answer.as_text())
    raise typer.Exit(answer.exit_code)
