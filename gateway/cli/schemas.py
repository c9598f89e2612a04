"""`gateway schemas check | register | lock | list | diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import (
    CONTRACT,
    Commands,
    ConfigOption,
    ContractOption,
    EitherOption,
    FileArgument,
    FormatOption,
    contract_of,
    exit_codes,
    files_of,
    filled,
    open_installation,
)
from gateway.errors import ExitCode
from gateway.operate.schemas.mode import Mode
from gateway.text import printable, with_config

if TYPE_CHECKING:
    from gateway.operate.schemas.review import Review
    from gateway.operate.schemas.subject_status import Change

schemas = Commands(
    name="schemas",
    help="Schema evolution: check schemas before a release, register them, pin their ids for offline use.",
    no_args_is_help=True,
)


@schemas.command()
@exit_codes({0: "compatible", 1: "not compatible or not compared", 78: "a file is wrong or not a schema"})
def check(  # noqa: PLR0913 - one argument an option
    file: FileArgument = None,
    *,
    old: Annotated[list[Path] | None, typer.Option(help="An earlier version; several, oldest first.")] = None,
    new: Annotated[Path | None, typer.Option(help="The version to compare with --old.")] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(case_sensitive=False, help="Compatibility mode, as in the registry; default: BACKWARD."),
    ] = None,
    against: Annotated[str | None, typer.Option(help="Compare with this commit; HEAD by default.")] = None,
    against_dir: Annotated[Path | None, typer.Option(help="Compare with the schemas in this folder.")] = None,
    registry: Annotated[bool, typer.Option("--registry", help="Let the registry check; needs a gateway.yaml.")] = False,
    config: EitherOption = None,
    contract: ContractOption = CONTRACT,
    output: FormatOption = "text",
) -> None:
    """Check schemas before a release: files with each other, or the contract with git, a folder or the registry."""
    from gateway.operate.schemas.review import review_versions

    if bool(old) != bool(new):
        raise typer.BadParameter("Give --old and --new together.")
    installation = files_of(file, config, contract).config
    if registry and (installation is None or mode):
        raise typer.BadParameter("--registry needs -c gateway.yaml, and uses each subject's own mode: no --mode.")
    if sum(map(bool, (old, registry, against, against_dir))) > 1:
        raise typer.BadParameter("Give one of --old with --new, --registry, --against and --against-dir.")
    chosen = mode or Mode.BACKWARD
    if old and new:
        reviews = [review_versions(old, new, chosen)]
    elif registry and installation:
        reviews = _by_registry(installation)
    else:
        reviews = _by_files(contract_of(file, config, contract), chosen, against or "HEAD", against_dir)
    _show(reviews, output)


@schemas.command()
@exit_codes({0: "all are registered", 1: "the registry did not answer or refused"}, 78)
def register(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Register the schemas that the registry does not have yet."""
    from gateway.operate.schemas.subject_status import register as register_all

    _show_changes(register_all(open_installation(config)), output, config)


@schemas.command()
@exit_codes({0: "all are pinned", 1: "a schema is not registered, or the registry did not answer"}, 78)
def lock(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Write the registry's ids to the lock file, so that the gateway starts without the registry."""
    from gateway.operate.schemas.subject_status import lock as lock_all

    _show_changes(lock_all(open_installation(config)), output, config)


@schemas.command("list")
@exit_codes({0: "file, lock file and registry agree", 1: "they do not agree, or the registry did not answer"}, 78)
def list_(config: ConfigOption, *, output: FormatOption = "text") -> None:
    """Show every subject: id, version, mode, and whether file, lock file and registry agree."""
    from gateway.operate.schemas.subject_status import HEADS, subject_statuses
    from gateway.operate.table import table

    statuses = subject_statuses(open_installation(config))
    if output == "json":
        typer.echo(json.dumps(filled([one._asdict() for one in statuses], config)))
    else:
        typer.echo(with_config(table(HEADS, [one.row for one in statuses]), config))
    if not all(one.agrees for one in statuses):
        raise typer.Exit(ExitCode.FAILURE)


@schemas.command()
@exit_codes({0: "shown, whether they differ or not", 1: "the registry did not answer"}, 78)
def diff(config: ConfigOption) -> None:
    """Show field by field how each file differs from the registry's newest version."""
    from gateway.operate.schemas.subject_status import differences
    from gateway.registry.registry import Unresolved

    by_subject = differences(open_installation(config))
    for subject, lines in by_subject.items():
        shown = [lines.reason] if isinstance(lines, Unresolved) else lines or ["no difference"]
        typer.echo(with_config("\n".join([printable(subject), *(f"  {line}" for line in shown)]), config))
    if any(isinstance(lines, Unresolved) for lines in by_subject.values()):
        raise typer.Exit(ExitCode.FAILURE)


def _by_files(contract: Path, mode: Mode, against: str, against_dir: Path | None) -> list[Review]:
    from gateway import contract as contracts
    from gateway.operate.schemas import versions
    from gateway.operate.schemas.review import review_files

    loaded, root = contracts.load(contract), contract.absolute().parent
    if against_dir:
        return review_files(loaded, lambda path: versions.from_folder(path, root, against_dir), mode)
    return review_files(loaded, lambda path: versions.from_git(path, against, all_of_them=mode.is_transitive), mode)


def _by_registry(config: Path) -> list[Review]:
    from gateway.operate.schemas.review import review_registry
    from gateway.operate.schemas.subjects import Subjects

    installation = open_installation(config)
    return review_registry(installation.contract, Subjects(installation.registry()))


def _show(reviews: list[Review], output: str) -> None:
    is_passed = all(one.is_passed for one in reviews)
    if output == "json":
        typer.echo(json.dumps({"compatible": is_passed, "reviews": [one.as_json() for one in reviews]}))
    else:
        typer.echo("\n".join(one.as_text() for one in reviews))
    if not is_passed:
        raise typer.Exit(ExitCode.FAILURE)


def _show_changes(changes: list[Change], output: str, config: Path) -> None:
    if output == "json":
        typer.echo(json.dumps(filled([one.as_json() for one in changes], config)))
    else:
        typer.echo(with_config("\n".join(map(str, changes)), config))
    if any(one.id is None for one in changes):
        raise typer.Exit(ExitCode.FAILURE)
