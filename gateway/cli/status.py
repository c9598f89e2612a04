"""`gateway status`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from gateway.cli.options import ConfigOption, FormatOption, exit_codes, show


@exit_codes({0: "ready", 1: "running but not ready", 69: "no answer (the ledger shown is from the spool file)"}, 78)
def status(
    *,
    config: ConfigOption = Path("gateway.yaml"),
    output: FormatOption = "text",
) -> None:
    """Show peers with state and next step, the ledger of every stream, spool and lag."""
    from gateway.operate.status import query_of

    answer = query_of(config, os.environ)()
    show(answer, output, config)
    raise typer.Exit(answer.exit_code)
