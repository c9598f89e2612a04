"""The commands: one file per command or group, with bodies of a few lines.

Typer prepares the parameters of each command that an app has, which takes 0.15 s for all of them. So `main` makes an
app of only the command that the command line begins with.
"""

from __future__ import annotations

import gc
import sys

from gateway.service import hangup

if sys.argv[1:2] == ["run"]:  # before all other imports
    hangup.install()  # because SIGHUP would end the process
    gc.disable()  # because they leave hardly any garbage; `run` enables it

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import __version__
from gateway.cli.options import Commands, ExplainingGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = (  # each is that of a module here and of the command or group in it; in the order of --help
    "init", "learn", "run", "reload", "update", "check", "record", "shadow", "docs", "simulate", "tail", "status",
    "top", "fleet", "drift", "doctor", "demo", "dlq", "schemas", "topics",
)  # fmt: skip


def make_app(names: Sequence[str] = NAMES) -> typer.Typer:
    """Make the program, or one with some of its commands."""
    app = Commands(
        name="gateway",
        cls=ExplainingGroup,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(show_version)
    for name in names:
        command = getattr(import_module(f"{__name__}.{name}"), name)
        if isinstance(command, Commands):
            app.add_typer(command)
        else:
            app.command()(command)
    return app


def show_version(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    """MQTT to Kafka for smart meters and factory sensors: Avro-checked, in order, nothing lost."""
    if version:
        from gateway.core.native import RUNS

        typer.echo(f"gateway {__version__} ({RUNS})")
        raise typer.Exit


def main() -> None:
    """Run the command that the command line names."""
    named = sys.argv[1:2]
    make_app(named if named and named[0] in NAMES else NAMES)()
