"""`gateway topics plan | apply`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigOption, FormatOption  # noqa: TC001 - typer reads the annotations

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.operate.topics import Cluster, Plan

topics = typer.Typer(
    name="topics",
    help="Kafka topics as the contract's channel bindings describe them.",
    no_args_is_help=True,
)

REFUSED = 1
DIFFERENT = 2  # what plans of other tools answer


@topics.command()
def plan(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Show where the cluster differs from the contract. Exit codes: 0 nowhere, 1 Kafka does not tell, 2 somewhere."""
    found, _ = _plan(config)
    typer.echo(json.dumps(found.as_json()) if output == "json" else found.as_text())
    if found.changes:
        raise typer.Exit(DIFFERENT)


@topics.command()
def apply(
    config: ConfigOption,
    *,
    more_partitions: Annotated[
        bool, typer.Option("--allow-more-partitions", help="Add partitions: keys move, and their order breaks once.")
    ] = False,
    lowering: Annotated[
        bool, typer.Option("--allow-lowering", help="Lower settings too: less retention deletes records.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Create topics, set their configuration; never delete, never fewer partitions.

    Exit codes: 0 the cluster is as the contract says, 1 Kafka refused something, 2 differences were left.
    """
    from gateway.operate.topics import carry_out  # noqa: PLC0415 - `gateway --help` stays quick

    found, cluster = _plan(config)
    typer.echo(found.as_text())
    steps, left = found.split(more_partitions=more_partitions, lowering=lowering)
    if steps and not yes:
        typer.confirm(f"Make {len(steps)} of these {len(found.changes)} changes?", abort=True)
    refusals = 0
    for change, refusal in carry_out(steps, cluster):
        typer.echo(f"{change}: {refusal or 'done'}")
        refusals += refusal is not None
    for change in left:
        typer.echo(f"{change}: left; {change.need.value}")
    if refusals or left:
        raise typer.Exit(REFUSED if refusals else DIFFERENT)


def _plan(config: Path) -> tuple[Plan, Cluster]:
    from gateway.installation import open_installation  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.operate.topics import Cluster, plan, wanted  # noqa: PLC0415 - as above

    installation = open_installation(config, os.environ)
    cluster = Cluster(installation.kafka(producing=False))
    return plan(wanted(installation.contract), cluster), cluster
