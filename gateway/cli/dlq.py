"""`gateway dlq list | show | explain | replay`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import Commands, ConfigOption, FormatOption, exit_codes, open_installation
from gateway.core.reading import Reason
from gateway.errors import ExitCode
from gateway.text import with_config

if TYPE_CHECKING:
    from gateway.installation import Installation
    from gateway.operate.dlq.dead_letters import StoredDeadLetter

dlq = Commands(
    name="dlq",
    help="List, show, explain and replay dead letters.",
    no_args_is_help=True,
)

PlaceArgument = Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `gateway dlq list` shows it.")]
TopicOption = Annotated[str | None, typer.Option(help="The dead-letter topic, when the contract has several.")]
ReasonOption = Annotated[Reason | None, typer.Option(help="Only dead letters with this reason.")]
StreamOption = Annotated[str | None, typer.Option(help="Only dead letters of this receive operation.")]

KAFKA_FAILED = "Kafka did not answer or refused"
NOT_FOUND = f"there is no such dead letter, or {KAFKA_FAILED}"
HEADS = ("count", "replayed", "stream", "reason", "pointer", "first", "last", "newest", "MQTT topic")


@dlq.command("list")
@exit_codes({0: "listed", 1: KAFKA_FAILED}, 78)
def list_(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """List dead letters, grouped by stream, reason and place in the payload."""
    from gateway.kafka.partitions import Partitions
    from gateway.operate.dlq.dead_letters import DeadLetters, causes, iso, topics_of
    from gateway.operate.dlq.replay import journal_of
    from gateway.operate.table import table

    installation = open_installation(config)
    partitions = Partitions(installation.kafka(producing=False))
    dead_letters = DeadLetters(partitions, topics_of(installation.contract))
    journal = journal_of(installation, partitions)
    by_frequency = causes((each, journal.has(each)) for each in dead_letters)
    if output == "json":
        typer.echo(json.dumps([cause.as_json() for cause in by_frequency]))
        return
    rows = [
        (cause.count, cause.replayed, cause.stream, cause.reason, cause.pointer, iso(cause.first), iso(cause.last),
         f"{cause.place.topic} {cause.place}", cause.example)
        for cause in by_frequency
    ]  # fmt: skip
    typer.echo(table(HEADS, rows) if rows else "No dead letters.")


@dlq.command()
@exit_codes({0: "shown", 1: NOT_FOUND}, 78)
def show(
    place: PlaceArgument,
    config: ConfigOption,
    *,
    topic: TopicOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Only the payload, as the original bytes.")] = False,
) -> None:
    """Show a dead letter: its headers and its payload, escaped, or only the original bytes."""
    from gateway.operate.dlq.dead_letters import shown

    dead_letter = _find(open_installation(config), place, topic)
    if raw:
        sys.stdout.buffer.write(dead_letter.reading.payload)
        sys.stdout.buffer.flush()
    else:
        typer.echo(shown(dead_letter))


@dlq.command()
@exit_codes({0: "explained", 1: NOT_FOUND}, 78)
def explain(place: PlaceArgument, config: ConfigOption, *, topic: TopicOption = None) -> None:
    """Explain a dead letter: why it was rejected, whether it fits the current contract, and if not, what would."""
    from gateway.operate.dlq import explanation
    from gateway.operate.dlq.replay import revalidator_of

    installation = open_installation(config)
    dead_letter = _find(installation, place, topic)
    verdict = revalidator_of(installation)(dead_letter)
    typer.echo(with_config(explanation.explain(installation.contract, dead_letter, verdict), config))


@dlq.command()
@exit_codes({0: "done", 1: f"one that fits could not be produced, or {KAFKA_FAILED}"}, 78)
def replay(
    config: ConfigOption,
    *,
    reason: ReasonOption = None,
    stream: StreamOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would happen.")] = False,
    output: FormatOption = "text",
) -> None:
    """Replay the dead letters that fit the current contract: produce each once to its topic, oldest first.

    Dead letters stay in Kafka; a journal notes which were replayed.
    """
    from gateway.operate.dlq import replay as replays

    run = replays.rehearse if dry_run else replays.replay
    report = run(open_installation(config), reason, stream)
    typer.echo(json.dumps(report.as_json()) if output == "json" else report.as_text(is_dry=dry_run))
    if report.failed:
        raise typer.Exit(ExitCode.FAILURE)


def _find(installation: Installation, place: str, topic: str | None) -> StoredDeadLetter:
    from gateway.kafka.partitions import Partitions
    from gateway.operate.dlq.dead_letters import DeadLetters, parse_place, topics_of

    named, partition, offset = parse_place(place)
    topics = [topic or named] if topic or named else topics_of(installation.contract)
    return DeadLetters(Partitions(installation.kafka(producing=False)), topics).find(partition, offset)
