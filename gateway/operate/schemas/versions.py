"""Earlier versions of a schema file: as git has them, or as a folder does.

A version is looked for where the file is now, under its present name: a file that was moved has no earlier version
here. The registry knows better, because it goes by subject.

git is asked as a program, with a commit that was resolved first: no text of the user's is ever taken for an option.
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
    """Read what a schema file was in git.

    Args:
        path: the file as it is now.
        ref: a commit, branch or tag.
        all_of_them: True for every version up to that commit, False for the one at it.

    Returns:
        The versions, the oldest first; none when git has no such file.

    Raises:
        ConfigurationError: when git cannot be asked, there is no such commit, or a version is no schema.
    """
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
    """Read what a schema file is in a folder that was saved earlier.

    Args:
        path: the file as it is now.
        root: the folder that was saved, as it is now: where the contract is.
        folder: its copy, or a folder with only the schema files.

    Returns:
        The one version, or none when the folder has no such file.

    Raises:
        ConfigurationError: when there is no such folder, or the version is no schema.
    """
    if not folder.is_dir():
        raise _no_versions(folder, "There is no such folder.")
    below = path.relative_to(root) if path.is_relative_to(root) else path.name
    found = next((one for one in (folder / below, folder / path.name) if one.is_file()), None)
    try:
        return [parse(found.read_text("utf-8-sig"), str(found))] if found else []
    except (OSError, UnicodeDecodeError) as error:
        raise _no_versions(found or folder, f"It cannot be read: {error}.") from None


def _git(path: Path, *arguments: str) -> str | None:
    """Ask git in the file's folder; None when it says no."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and what comes from outside was resolved to a commit first
            ["git", "--literal-pathspecs", "-C", str(path.parent), *arguments],  # noqa: S607 - the user's own git, as their path finds it
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_versions(path, f"git cannot be asked: {error}.") from None
    return done.stdout.decode("utf-8-sig", "replace") if done.returncode == 0 else None


def _no_versions(path: Path, told: str) -> ConfigurationError:
    fix = "Name a commit with --against, or a saved folder with --against-dir."
    return ConfigurationError([Finding(str(path), 0, "", printable(told), fix)])
