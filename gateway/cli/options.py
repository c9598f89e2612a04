"""What several commands share: options, the exit codes in their help, and how a result is shown."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from gateway.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.installation import Installation

_Command = TypeVar("_Command", bound="Callable[..., None]")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="This installation's gateway.yaml.")]
ContractOption = Annotated[Path, typer.Option(help="The contract, when no gateway.yaml is given.")]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="Output for people or for programs.")]
BrokenOption = Annotated[float, typer.Option(min=0, max=1, help="Share of readings that are invalid on purpose.")]
SeedOption = Annotated[int, typer.Option(help="The same seed makes the same readings.")]
CONTRACT = Path("asyncapi.yaml")


class Commands(typer.Typer):
    """A group of commands that refuse an option given twice, where typer would take the last without a word."""

    def command(self, name: str | None = None, **more: Any) -> Callable[[_Command], _Command]:
        """Add a function as a command."""
        return super().command(name, cls=_OnceCommand, **more)


class _OnceCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for option in (one for one in given if isinstance(one, TyperOption)):
            if given.count(option) > 1 and not (option.multiple or option.is_flag):
                raise typer.BadParameter("It is given more than once. Give it once.", ctx, option)
        return super().parse_args(ctx, args)


class Result(Protocol):
    """What a command found out or did."""

    def as_text(self) -> str:
        """Lines for people."""

    def as_json(self) -> Any:
        """Data for programs."""


def show(result: Result, output: str) -> None:
    """Print a result in the form of `FormatOption`."""
    typer.echo(json.dumps(result.as_json()) if output == "json" else result.as_text())


def open_installation(config: Path) -> Installation:
    """Load gateway.yaml, with overrides from the environment, and its contract."""
    from gateway import installation

    return installation.open_installation(config, os.environ)


def exit_codes(meanings: Mapping[int, str], *more: int) -> Callable[[_Command], _Command]:
    """Add the exit codes to a command's help: with a meaning of its own, or with that of `ExitCode`."""
    texts = {ExitCode(code): text for code, text in meanings.items()}
    texts |= {ExitCode(code): ExitCode(code).meaning for code in more}

    def document(command: _Command) -> _Command:
        listed = "; ".join(f"{code.value} {text}" for code, text in texts.items())
        command.__doc__ = f"{inspect.getdoc(command)}\n\nExit codes: {listed}."
        return command

    return document
