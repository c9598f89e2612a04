"""`gateway status`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import FormatOption  # noqa: TC001 - typer reads the annotation


def status(
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="This installation's gateway.yaml.")] = Path(
        "gateway.yaml"
    ),
    output: FormatOption = "text",
) -> None:
    """Show peers with state and next step, the books of every stream, spool and lag.

    Exit codes: 0 ready, 1 running but not ready, 69 nobody answers (then the books are those in the spool's file).
    """
    from gateway.operate import status as states  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway.settings.settings import load  # noqa: PLC0415 - as above

    settings = load(config, os.environ)
    told = states.status(settings.http.listen, settings.resolve(settings.spool.path))
    typer.echo(json.dumps(told.as_json()) if output == "json" else told.as_text())
    raise typer.Exit(told.exit_code)
