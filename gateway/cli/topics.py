"""`gateway topics plan | apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import Commands, ConfigOption, FormatOption, exit_codes, open_installation, show
from gateway.errors import ExitCode
from gateway.text import with_config

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.operate.topics import Cluster, Plan

topics = Commands(
    name="topics",
    help="Kafka topics as the contract's channel bindings describe them.",
    no_args_is_help=True,
)


@topics.command()
@exit_codes({0: "no differences", 1: "Kafka did not answer or refused", 2: "there are differences"}, 78)
def plan(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Show the differences between the cluster and the contract."""
    differences, _ = _plan(config)
    show(differences, output, config)
    if differences.changes:
        raise typer.Exit(ExitCode.DIFFERENCE)


@topics.command()
@exit_codes({0: "the cluster matches the contract", 1: "Kafka did not answer or refused"}, 2, 78)
def apply(
    config: ConfigOption,
    *,
    more_partitions: Annotated[
        bool, typer.Option("--allow-more-partitions", help="Add partitions, too: keys then change their partition.")
    ] = False,
    lowering: Annotated[
        bool, typer.Option("--allow-lowering", help="Lower settings, too: a lower retention deletes records.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Create topics and change their settings; topics and partitions are never deleted."""
    from gateway.operate.topics import carry_out

    differences, cluster = _plan(config)
    typer.echo(with_config(differences.as_text(), config))
    allowed, left = differences.split(more_partitions=more_partitions, lowering=lowering)
    if allowed and not yes:
        typer.confirm(f"Make {len(allowed)} of these {len(differences.changes)} changes?", abort=True)
    refusals = 0
    for change, refusal in carry_out(allowed, cluster):
        typer.echo(with_config(f"{change}: {refusal or 'done'}", config))
        refusals += refusal is not None
    for change in left:
        typer.echo(with_config(f"{change}: not made. {change.need.value}", config))
    if refusals or left:
        raise typer.Exit(ExitCode.FAILURE if refusals else ExitCode.DIFFERENCE)


def _plan(config: Path) -> tuple[Plan, Cluster]:
    from gateway.operate.topics import Cluster, plan, wanted

    installation = open_installation(config)
    cluster = Cluster(installation.kafka(producing=False))
    topics = wanted(installation.contract, delivers_once=installation.delivers_once)
    return plan(topics, cluster), cluster
