"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="This installation's gateway.yaml.")]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for machines.")]
