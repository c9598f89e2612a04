"""`gateway tail`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gateway.cli.options import CONTRACT, ContractOption, EitherOption, FormatOption, exit_codes, files_of


@exit_codes({0: "shown", 1: "Kafka did not answer, or does not have the topic"}, 78)
def tail(  # noqa: PLR0913 - each is one option of the command
    topic: Annotated[str, typer.Argument(help="The Kafka topic.")],
    *,
    config: EitherOption = None,
    bootstrap: Annotated[str, typer.Option(help="HOST:PORT of Kafka, instead of gateway.yaml's.")] = "",
    contract: ContractOption = CONTRACT,
    registry: Annotated[str, typer.Option(help="URL of the schema registry, instead of gateway.yaml's.")] = "",
    count: Annotated[int | None, typer.Option(min=1, help="Number of records; default: until Ctrl-C.")] = None,
    start: Annotated[
        Literal["beginning", "end"], typer.Option("--from", help="Start at the oldest record, or show new ones only.")
    ] = "end",
    committed: Annotated[
        bool, typer.Option("--committed", help="Show no records of open or aborted transactions.")
    ] = False,
    output: FormatOption = "text",
) -> None:
    """Show decoded records of a topic, one line each: time, partition, offset, key, schema id, value.

    Schemas come from the registry; if it does not answer, from the lock file. A value without a schema is shown in
    hexadecimal. Records of aborted transactions are shown, as in kafka-console-consumer, unless --committed is given.
    """
    from gateway.operate.tail import tail as tails

    files = files_of(None, config, contract)
    consumer, decoder = tails.prepare(*files, bootstrap, registry, topic, start, is_committed=committed)
    for record in tails.follow(consumer, decoder, count):
        typer.echo(record.as_text() if output == "text" else record.as_json())
