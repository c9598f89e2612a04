"""The timestamp of all release files, so that the same commit gives the same bytes."""

from __future__ import annotations

import os
import subprocess

from release.lock import REPOSITORY


def epoch() -> int:
    """Return SOURCE_DATE_EPOCH (see reproducible-builds.org) if it is set, else the time of the last commit.

    Returns:
        Seconds since 1970.

    Raises:
        subprocess.CalledProcessError: neither exists; git has printed the reason.
    """
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    git = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"]
    return int(subprocess.run(git, check=True, capture_output=True).stdout)
