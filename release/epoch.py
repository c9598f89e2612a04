"""The one time that everything handed out bears, so that the same commit makes the same bytes."""

from __future__ import annotations

import os
import subprocess

from release.lock import REPOSITORY


def epoch() -> int:
    """Tell that time: SOURCE_DATE_EPOCH where it is set, as reproducible-builds.org has it, else the last commit's.

    Returns:
        Seconds since 1970.

    Raises:
        subprocess.CalledProcessError: neither is there; git has said why.
    """
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    git = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"]
    return int(subprocess.run(git, check=True, capture_output=True).stdout)
