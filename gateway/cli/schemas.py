"""`gateway schemas check | register | lock | list | diff`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigOption, FormatOption  # noqa: TC001 - typer reads the annotations
from gateway.operate.schemas.mode import Mode
from gateway.text import printable

if TYPE_CHECKING:
    from gateway.installation import Installation
    from gateway.operate.schemas.review import Review
    from gateway.operate.schemas.subject_status import Change

schemas = typer.Typer(
    name="schemas",
    help="Schemas under change: judged before they go out, registered, pinned for offline use.",
    no_args_is_help=True,
)

REFUSED = 1


@schemas.command()
def check(  # noqa: PLR0913 - one argument an option
    *,
    old: Annotated[Path | None, typer.Option(help="Two files: the version before.")] = None,
    new: Annotated[Path | None, typer.Option(help="Two files: the version to judge.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Who must read whose records; BACKWARD unless told.")] = None,
    against: Annotated[str, typer.Option(help="The contract's files against this commit.")] = "HEAD",
    against_dir: Annotated[Path | None, typer.Option(help="Against a folder that was saved.")] = None,
    registry: Annotated[bool, typer.Option("--registry", help="Let the registry judge; needs --config.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="This installation's gateway.yaml.")] = None,
    contract: Annotated[Path, typer.Option(help="The contract, when no gateway.yaml is given.")] = Path(
        "asyncapi.yaml"
    ),
    output: FormatOption = "text",
) -> None:
    """Judge schemas before they go out: two files, or the contract's against git, a folder or the registry.

    Exit codes: 0 compatible, 1 not, 78 something is no schema.
    """
    if (old is None) != (new is None):
        raise typer.BadParameter("Give --old and --new together.")
    if registry and (config is None or mode or old):
        raise typer.BadParameter("--registry needs --config, and takes each subject's own mode: no --mode, no files.")
    chosen = mode or Mode.BACKWARD
    if old and new:
        reviews = [_two_files(old, new, chosen)]
    elif registry and config:
        reviews = _by_registry(config)
    else:
        reviews = _by_files(_contract(config, contract), chosen, against, against_dir)
    _show(reviews, output)


@schemas.command()
def register(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Register what the registry does not have yet. Exit code 0, or 1 with the registry's reasons."""
    from gateway.operate.schemas.subject_status import register as register_all  # noqa: PLC0415 - `gateway --help` stays quick

    _show_changes(register_all(_installation(config)), output)


@schemas.command()
def lock(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Write the registry's ids to the lock file, so that the gateway starts without the registry."""
    from gateway.operate.schemas.subject_status import lock as lock_all  # noqa: PLC0415 - `gateway --help` stays quick

    _show_changes(lock_all(_installation(config)), output)


@schemas.command("list")
def list_(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Show every subject: id, version, mode, and whether file, lock file and registry agree. 1 when they do not."""
    from gateway.operate.report import table  # noqa: PLC0415 - as above
    from gateway.operate.schemas.subject_status import HEADS, subject_statuses  # noqa: PLC0415 - `gateway --help` stays quick

    found = subject_statuses(_installation(config))
    if output == "json":
        typer.echo(json.dumps([one._asdict() for one in found]))
    else:
        typer.echo(table(HEADS, [one.row for one in found]))
    if not all(one.agrees for one in found):
        raise typer.Exit(REFUSED)


@schemas.command()
def diff(config: ConfigOption) -> None:
    """Show field by field how each file differs from the registry's newest version."""
    from gateway.operate.schemas.subject_status import differences  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.registry.registry import Unresolved  # noqa: PLC0415 - as above

    found = differences(_installation(config))
    for subject, lines in found.items():
        shown = [lines.reason] if isinstance(lines, Unresolved) else lines or ["no difference"]
        typer.echo("\n".join([printable(subject), *(f"  {line}" for line in shown)]))
    if any(isinstance(lines, Unresolved) for lines in found.values()):
        raise typer.Exit(REFUSED)


def _two_files(old: Path, new: Path, mode: Mode) -> Review:
    from gateway.errors import ConfigurationError, Finding  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.operate.schemas.avsc import Schema, read  # noqa: PLC0415 - as above
    from gateway.operate.schemas.review import compare  # noqa: PLC0415 - as above

    found: list[Schema] = []
    wrong: list[Finding] = []
    for path in (old, new):
        try:
            found.append(read(path))
        except ConfigurationError as error:
            wrong += error.findings
    if wrong:
        raise ConfigurationError(wrong)
    return compare(found[1], found[:1], mode)


def _by_files(contract: Path, mode: Mode, against: str, against_dir: Path | None) -> list[Review]:
    from gateway import contract as contracts  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.operate.schemas import versions  # noqa: PLC0415 - as above
    from gateway.operate.schemas.avsc import Schema  # noqa: PLC0415, TC001 - as above
    from gateway.operate.schemas.review import review_files  # noqa: PLC0415 - as above

    def earlier(path: Path) -> list[Schema]:
        if against_dir:
            return versions.from_folder(path, contract.absolute().parent, against_dir)
        return versions.from_git(path, against, all_of_them=mode.is_transitive)

    return review_files(contracts.load(contract), earlier, mode)


def _by_registry(config: Path) -> list[Review]:
    from gateway.operate.schemas.review import review_registry  # noqa: PLC0415 - `gateway --help` stays quick
    from gateway.operate.schemas.subjects import Subjects  # noqa: PLC0415 - as above

    installation = _installation(config)
    return review_registry(installation.contract, Subjects(installation.registry()))


def _contract(config: Path | None, contract: Path) -> Path:
    from gateway.settings.settings import load  # noqa: PLC0415 - `gateway --help` stays quick

    if config is None:
        return contract
    settings = load(config, os.environ)
    return settings.resolve(settings.contract)


def _installation(config: Path) -> Installation:
    from gateway.installation import open_installation  # noqa: PLC0415 - `gateway --help` stays quick

    return open_installation(config, os.environ)


def _show(reviews: list[Review], output: str) -> None:
    is_passed = all(one.is_passed for one in reviews)
    if output == "json":
        typer.echo(json.dumps({"compatible": is_passed, "reviews": [one.as_json() for one in reviews]}))
    else:
        typer.echo("\n".join(one.as_text() for one in reviews))
    if not is_passed:
        raise typer.Exit(REFUSED)


def _show_changes(changes: list[Change], output: str) -> None:
    typer.echo(json.dumps([one._asdict() for one in changes]) if output == "json" else "\n".join(map(str, changes)))
    if any(one.id is None for one in changes):
        raise typer.Exit(REFUSED)
