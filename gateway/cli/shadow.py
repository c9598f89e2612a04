"""`gateway shadow`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli.options import (
    CONTRACT,
    ConfigOption,
    contract_of,
    exit_codes,
    open_installation,
    progress_line,
    seconds_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.reading import Reading
    from gateway.installation import Installation


@exit_codes(
    {
        0: "the records stay the same, or there are only additions",
        1: "there are differences, or a source cannot be read",
    },
    78,
)
def shadow(  # noqa: PLR0913 - each is one option of the command
    contract: Annotated[Path, typer.Argument(metavar="CONTRACT", help="The new contract.")],
    config: ConfigOption,
    *,
    live: Annotated[
        str | None, typer.Option(metavar="TIME", help="What the brokers publish from now on, for 30s, 10m or 1h.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A recording, or the spool of a gateway.")
    ] = None,
    dead_letters: Annotated[bool, typer.Option("--dead-letters", help="The dead letters in Kafka.")] = False,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:WHERE]", help="Accept a difference, such as value:/temperature or topic:STREAM. Repeatable."
        ),
    ] = None,
    no_values: Annotated[bool, typer.Option("--no-values", help="Show no values of payloads.")] = False,
    output: Annotated[
        Literal["text", "json", "markdown"],
        typer.Option("--format", help="Output for people, for programs, or for a pull request."),
    ] = "text",
) -> None:
    """Show what a new contract would change, before it runs: both contracts take the same readings.

    Nothing is produced or registered, and the gateway's sessions are not touched.
    """
    from gateway.operate.listener import Terminal
    from gateway.operate.recording import readings
    from gateway.operate.report import as_json
    from gateway.operate.shadow.comparison import ADDITIONS, KINDS
    from gateway.operate.shadow.report import report
    from gateway.operate.shadow.shadow import Shadow
    from gateway.operate.shadow.tally import is_expectation
    from gateway.signals import stop_on_signals

    if sum(map(bool, (live, from_file, dead_letters))) != 1:
        raise typer.BadParameter("Name one source: --live 10m, --from FILE or --dead-letters.")
    for one in expect or ():
        if not is_expectation(one):
            raise typer.BadParameter(f"--expect begins with one of {', '.join([*KINDS, *ADDITIONS])}.")
    installation = open_installation(config)
    run = Shadow(installation, contract_of(contract, None, CONTRACT), shows_values=not no_values)
    progress, note = progress_line(), ""
    if live:
        terminal = Terminal(lambda line: typer.echo(line, err=True), progress, stop_on_signals)
        note = run.listen(seconds_of(live), terminal)
    else:
        run.take(readings(from_file) if from_file else _dead_letters(installation), progress)
    source = str(from_file) if from_file else f"live, {live}" if live else "dead letters"
    result = report(run, source, note, expect or [])
    is_json = output == "json"
    typer.echo(as_json(result.as_json()) if is_json else result.as_text() if output == "text" else result.as_markdown())
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _dead_letters(installation: Installation) -> Iterator[Reading]:
    from gateway.kafka.partitions import Partitions
    from gateway.operate.dlq.dead_letters import FOREIGN, DeadLetters, topics_of

    partitions = Partitions(installation.kafka(producing=False))
    for one in DeadLetters(partitions, topics_of(installation.contract)):
        if one.reason != FOREIGN and not one.is_cut:
            yield one.reading
