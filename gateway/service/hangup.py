"""SIGHUP, which asks a running gateway to read its files anew, and until then would end it.

So `gateway/cli/__init__.py` calls `install` before it imports anything else. What was asked for during the start is
done after it. When the terminal is closed in which the gateway runs, SIGHUP means what it always did: it stops.
"""

from __future__ import annotations

import os
import signal
from queue import SimpleQueue

requests: SimpleQueue[None] = SimpleQueue()  # `put` may be called in a signal handler, whatever that interrupts


def install() -> None:
    """Note SIGHUP as a request from now on."""
    had_terminal = _has_terminal()

    def note(*_: object) -> None:
        if had_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            requests.put(None)

    signal.signal(signal.SIGHUP, note)


def are_requested() -> bool:
    """Take all requests; whether there were any."""
    count = requests.qsize()
    for _ in range(count):
        requests.get()
    return count > 0


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
