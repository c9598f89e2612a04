"""The commands: one file per command or group, with bodies of a few lines."""

from __future__ import annotations

import sys

from gateway.service import hangup

if sys.argv[1:2] == ["run"]:  # before all other imports, because SIGHUP would end the process
    hangup.install()

# isort: split
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.check import check
from gateway.cli.demo import demo
from gateway.cli.dlq import dlq
from gateway.cli.docs import docs
from gateway.cli.doctor import doctor
from gateway.cli.drift import drift
from gateway.cli.fleet import fleet
from gateway.cli.init import init
from gateway.cli.learn import learn
from gateway.cli.options import Commands, ExplainingGroup
from gateway.cli.record import record
from gateway.cli.reload import reload
from gateway.cli.run import run
from gateway.cli.schemas import schemas
from gateway.cli.shadow import shadow
from gateway.cli.simulate import simulate
from gateway.cli.status import status
from gateway.cli.tail import tail
from gateway.cli.top import top
from gateway.cli.topics import topics
from gateway.cli.update import update
from gateway.core.native import RUNS

app = Commands(
    name="gateway",
    cls=ExplainingGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init, learn, run, reload, update, check, record, shadow, docs, simulate, tail, status, top, fleet, drift, doctor,
    demo,
):  # fmt: skip
    app.command()(command)
for group in (dlq, schemas, topics):
    app.add_typer(group)


@app.callback(invoke_without_command=True)
def show_version(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    """MQTT to Kafka for smart meters and factory sensors: Avro-checked, in order, nothing lost."""
    if version:
        typer.echo(f"gateway {__version__} ({RUNS})")
        raise typer.Exit


def main() -> None:
    """Run the command that the command line names."""
    app()
