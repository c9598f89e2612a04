"""This program as a child process: the workers, and the gateway of the demo.

A child must be the same program, however this one was started. The Debian package runs isolated (`python3 -IS`) from a
folder that is not on Python's path, so a child gets the module path of this process. `-P` excludes the current folder.
Calling the `gateway` on the PATH was rejected: it may be another version.
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

_c_library = ctypes.CDLL(None)  # loaded before a fork, after which as little as possible should happen


def command(*arguments: str, module: str = "gateway.cli") -> list[str]:
    """The command line of a `gateway` with these arguments, or of another module."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for that command line: `environ` and the module path of this process."""
    return {**environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def end_with_parent() -> None:
    """Make the kernel send this process SIGTERM when its parent dies; called in a child before exec.

    `setpriv --pdeathsig` was rejected: it sets capabilities too, which the systemd unit forbids.
    """
    _c_library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
