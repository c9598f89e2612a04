"""Options that several commands share, and the exit codes in their help."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from gateway.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Command = TypeVar("_Command", bound="Callable[..., None]")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="This installation's gateway.yaml.")]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="Output for people or for programs.")]


def exit_codes(meanings: Mapping[int, str], *more: int) -> Callable[[_Command], _Command]:
    """Add the exit codes to the help of a command.

    Args:
        meanings: what a code means here.
        more: codes with the meaning that `ExitCode` gives.
    """
    texts = {ExitCode(code): text for code, text in meanings.items()} | {
        ExitCode(code): ExitCode(code).meaning for code in more
    }

    def document(command: _Command) -> _Command:
        listed = "; ".join(f"{code.value} {text}" for code, text in texts.items())
        command.__doc__ = f"{inspect.getdoc(command)}\n\nExit codes: {listed}."
        return command

    return document
