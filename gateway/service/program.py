"""This program, started once more: workers and the demo's gateway are processes of their own.

They must be the same program, however this one was started. The Debian package runs isolated (`python3 -IS`), from a
folder that Python does not look into by itself; so a child is told where this process finds its modules. `-P` keeps the
folder that it happens to run in from being one of them. Calling the `gateway` on the PATH lost: it may be another one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


PR_SET_PDEATHSIG = 1  # prctl(2)

_c_library = ctypes.CDLL(None)  # looked up before a fork, after which as little as possible should happen


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


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent dies without a word; for a child, before it execs.

    `setpriv --pdeathsig` lost: it sets capabilities too, which the systemd unit forbids.
    """
    _c_library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
