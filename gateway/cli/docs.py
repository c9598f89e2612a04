"""`gateway docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.options import CONTRACT, ContractOption, EitherOption, FileArgument, contract_of, exit_codes
from gateway.errors import GatewayError


@exit_codes({0: "written", 1: "the file cannot be written"}, 78)
def docs(
    file: FileArgument = None,
    *,
    config: EitherOption = None,
    contract: ContractOption = CONTRACT,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
    form: Annotated[Literal["html", "markdown"], typer.Option("--format", help="One HTML file, or Markdown.")] = "html",
) -> None:
    """Write the contract as a page for people: servers, streams, every field, and the route of every reading.

    Without -o, the page goes to standard output. The HTML file is self-contained.
    """
    from gateway import contract as contracts
    from gateway.operate import docs as documentation

    _, document = contracts.read(contract_of(file, config, contract))
    text = documentation.page(document).text if form == "html" else documentation.markdown(document)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        size = output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GatewayError(f"Cannot write {output}: {error.strerror}.", "Choose another file with -o.") from None
    typer.echo(f"{output}: {size:,} characters", err=True)
