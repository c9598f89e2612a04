"""`gateway dlq list | show | explain | replay`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigOption, FormatOption  # noqa: TC001 - typer reads the annotations
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.installation import Installation
    from gateway.operate.dlq.dead_letters import Letter

dlq = typer.Typer(
    name="dlq",
    help="Dead letters: what did not fit and why, and once more through today's contract.",
    no_args_is_help=True,
)

PlaceArgument = Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `gateway dlq list` shows it.")]
TopicOption = Annotated[str | None, typer.Option(help="The dead-letter topic, when the contract has several.")]
ReasonOption = Annotated[Reason | None, typer.Option(help="Only letters that bear this reason.")]
StreamOption = Annotated[str | None, typer.Option(help="Only letters that this receive operation refused.")]

HEADS = ("count", "replayed", "stream", "reason", "pointer", "first", "last", "newest at", "its MQTT topic")
SOMETHING_FAILED = 1


@dlq.command("list")
def list_(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Group all dead letters by stream, reason and place in the payload."""
    from gateway.kafka.partitions import Partitions  # noqa: PLC0415 - as above
    from gateway.operate.dlq.dead_letters import DeadLetters, causes, iso, topics_of  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.operate.dlq.replay import journal_of  # noqa: PLC0415 - as above
    from gateway.operate.table import table  # noqa: PLC0415 - as above

    installation = _installation(config)
    partitions = Partitions(installation.kafka(producing=False))
    letters = DeadLetters(partitions, topics_of(installation.contract))
    journal = journal_of(installation, partitions)
    found = causes((letter, journal.has(letter)) for letter in letters)
    if output == "json":
        typer.echo(json.dumps([cause.as_json() for cause in found]))
        return
    rows = [
        (each.count, each.replayed, each.stream, each.reason, each.pointer, iso(each.first), iso(each.last),
         f"{each.place.topic} {each.place}", each.example)
        for each in found
    ]  # fmt: skip
    typer.echo(table(HEADS, rows) if rows else "No dead letters.")


@dlq.command()
def show(
    place: PlaceArgument,
    config: ConfigOption,
    *,
    topic: TopicOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Only the payload's bytes, as they came.")] = False,
) -> None:
    """Show one dead letter: headers and original bytes, escaped; or the very bytes."""
    from gateway.operate.dlq.dead_letters import shown  # noqa: PLC0415 - `gateway --help` stays quick

    letter = _find(_installation(config), place, topic)
    if raw:
        sys.stdout.buffer.write(letter.reading.payload)
        sys.stdout.buffer.flush()
    else:
        typer.echo(shown(letter))


@dlq.command()
def explain(place: PlaceArgument, config: ConfigOption, *, topic: TopicOption = None) -> None:
    """Judge one dead letter by today's contract: whether it fits now, and if not, what would."""
    from gateway.operate.dlq import explanation  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.operate.dlq.replay import judge_of  # noqa: PLC0415 - as above

    installation = _installation(config)
    letter = _find(installation, place, topic)
    typer.echo(explanation.explain(installation.contract, letter, judge_of(installation)(letter)))


@dlq.command()
def replay(
    config: ConfigOption,
    *,
    reason: ReasonOption = None,
    stream: StreamOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")] = False,
    output: FormatOption = "text",
) -> None:
    """Put every dead letter through today's contract, oldest first, and produce those that fit: each once.

    What does not fit stays. Exit code 0, or 1 when something that fits could not be produced.
    """
    from gateway.operate.dlq import replay as replays  # noqa: PLC0415 - `gateway --help` stays quick

    act = replays.rehearse if dry_run else replays.replay
    report = act(_installation(config), reason, stream)
    typer.echo(json.dumps(report.as_json()) if output == "json" else report.as_text(is_dry=dry_run))
    if report.failed:
        raise typer.Exit(SOMETHING_FAILED)


def _installation(config: Path) -> Installation:
    from gateway.installation import open_installation  # noqa: PLC0415 - as above

    return open_installation(config, os.environ)


def _find(installation: Installation, place: str, topic: str | None) -> Letter:
    from gateway.kafka.partitions import Partitions  # noqa: PLC0415 - as above
    from gateway.operate.dlq.dead_letters import DeadLetters, parse_place, topics_of  # noqa: PLC0415 - as above

    partition, offset = parse_place(place)
    topics = [topic] if topic else topics_of(installation.contract)
    return DeadLetters(Partitions(installation.kafka(producing=False)), topics).find(partition, offset)
