"""Earlier versions of a schema file, from git or from a folder.

A version is looked up under the file's present path: a file that was moved has no earlier version here. The registry
is not affected, because it finds versions by subject.

The git program is run with a commit that was resolved first, so that a name given by the user is never an option.
"""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING

from gateway.contract import avro_files
from gateway.contract.document import Document
from gateway.errors import ConfigurationError, Finding
from gateway.operate.schemas.avsc import Schema, parse_with
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIT_SECONDS = 60


def from_git(path: Path, ref: str, *, all_of_them: bool) -> list[Schema]:
    """Read versions of a schema file, the oldest first: all up to a commit, branch or tag, or the one at it."""
    commit = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if not commit:
        raise _no_versions(path, f"There is no commit {ref} in a git repository around it.")
    if all_of_them:
        listed = _git(path, "log", "--format=%h", commit.strip(), "--", path.name, *_used_by(path)) or ""
        labels = {short: short for short in reversed(listed.split())}
    else:
        labels = {commit.strip(): ref}
    shown = ((one, label, _git(path, "show", f"{one}:./{path.name}")) for one, label in labels.items())
    return [parse_with(text, f"{label}:{path.name}", partial(_beside, path, one)) for one, label, text in shown if text]


def _used_by(path: Path) -> list[str]:
    """The names of the files whose types a schema file uses now: their changes are changes of its schema."""
    try:
        root = Document(path).root
    except ConfigurationError:
        return []
    return [one.source.path.name for one in avro_files.beside(root).files]


def _beside(path: Path, commit: str) -> Iterator[str]:
    """The schema files in the file's folder at a commit."""
    for name in (_git(path, "ls-tree", "--name-only", commit, "./") or "").splitlines():
        if name.endswith(avro_files.SUFFIX) and name != path.name:
            yield _git(path, "show", f"{commit}:./{name}") or ""


def from_folder(path: Path, root: Path, folder: Path) -> list[Schema]:
    """Read the version of a schema file from a saved copy of the contract's folder, or of the schema files alone."""
    if not folder.is_dir():
        raise _no_versions(folder, "This folder does not exist.")
    below = path.relative_to(root) if path.is_relative_to(root) else path.name
    saved = next((one for one in (folder / below, folder / path.name) if one.is_file()), None)
    try:
        return [parse_with(saved.read_text("utf-8-sig"), str(saved), partial(_saved_beside, saved))] if saved else []
    except (OSError, UnicodeDecodeError) as error:
        raise _no_versions(saved or folder, f"It cannot be read: {error}.") from None


def _saved_beside(path: Path) -> Iterator[str]:
    for one in sorted(path.parent.glob(f"*{avro_files.SUFFIX}")):
        if one.is_file() and one != path:
            yield one.read_text("utf-8-sig", "replace")


def _git(path: Path, *arguments: str) -> str | None:
    """Run git in the file's folder; None when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and names from outside are resolved to a commit first
            ["git", "--literal-pathspecs", "-C", str(path.parent), *arguments],  # noqa: S607 - the user's own git, as their path finds it
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_versions(path, f"git cannot be run: {error}.") from None
    return done.stdout.decode("utf-8-sig", "replace") if done.returncode == 0 else None


def _no_versions(path: Path, message: str) -> ConfigurationError:
    fix = "Name a commit with --against, or a saved folder with --against-dir."
    return ConfigurationError([Finding(str(path), 0, "", printable(message), fix)])
