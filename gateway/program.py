"""This program, started once more: workers and the demo's gateway are processes of their own.

They must be the same program, however this one was started. The Debian package runs isolated (`python3 -IS`), from a
folder that Python does not look into by itself; so a child is told where this process finds its modules. `-P` keeps the
folder that it happens to run in from being one of them. Calling the `gateway` on the PATH lost: it may be another one.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def command(*arguments: str) -> list[str]:
    """Write the command line of another `gateway`.

    Args:
        arguments: what follows `gateway`.
    """
    return [sys.executable, "-P", "-m", "gateway.cli", *arguments]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Write the environment in which that command line is this program.

    Args:
        environ: what else it shall have.
    """
    return {**environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
