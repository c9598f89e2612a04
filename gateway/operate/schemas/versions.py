"""Earlier versions of a schema file, from git or from a folder.

A version is looked up under the file's present path: a file that was moved has no earlier version here. The registry
is not affected, because it finds versions by subject.

The git program is run with a commit that was resolved first, so that a name given by the user is never an option.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError, Finding
from gateway.operate.schemas.avsc import Schema, parse
from gateway.text import printable

if TYPE_CHECKING:
    from pathlib import Path

GIT_SECONDS = 60


def from_git(path: Path, ref: str, *, all_of_them: bool) -> list[Schema]:
    """Read versions of a schema file, the oldest first: all up to a commit, branch or tag, or the one at it."""
    commit = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if not commit:
        raise _no_versions(path, f"There is no commit {ref} in a git repository around it.")
    if all_of_them:
        listed = _git(path, "log", "--format=%h", commit.strip(), "--", path.name) or ""
        labels = {short: short for short in reversed(listed.split())}
    else:
        labels = {commit.strip(): ref}
    shown = ((label, _git(path, "show", f"{one}:./{path.name}")) for one, label in labels.items())
    return [parse(text, f"{label}:{path.name}") for label, text in shown if text]


def from_folder(path: Path, root: Path, folder: Path) -> list[Schema]:
    """Read the version of a schema file from a saved copy of the contract's folder, or of the schema files alone."""
    if not folder.is_dir():
        raise _no_versions(folder, "This folder does not exist.")
    below = path.relative_to(root) if path.is_relative_to(root) else path.name
    saved = next((one for one in (folder / below, folder / path.name) if one.is_file()), None)
    try:
        return [parse(saved.read_text("utf-8-sig"), str(saved))] if saved else []
    except (OSError, UnicodeDecodeError) as error:
        raise _no_versions(saved or folder, f"It cannot be read: {error}.") from None


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
