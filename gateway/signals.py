"""SIGTERM and SIGINT as a flag.

No `threading.Event`: its lock is not reentrant. A second signal that comes while the first one's handler is inside
`set` would wait for itself for ever, and signals do come in pairs: the kernel's notice of a parent's death
(`PR_SET_PDEATHSIG`) is sent once for each of its threads.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")

STEP_SECONDS = 0.1  # how late a wait notices a signal at most


class Stopping(Protocol):
    """Tells that it is time to stop; `threading.Event` is one, for those who stop a thread."""

    def is_set(self) -> bool:
        """True when it is time to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds at most; True as soon as it is time to stop."""


class StopFlag:
    """A flag that a signal handler may raise at any moment, as often as it likes."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Say that it is time to stop."""
        self._is_set = True

    def is_set(self) -> bool:
        """True when it is time to stop."""
        return self._is_set

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds at most; True as soon as it is time to stop."""
        until = time.monotonic() + timeout
        while not self._is_set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP_SECONDS))
        return self._is_set


def stop_on_signals() -> StopFlag:
    """Let SIGINT and SIGTERM raise a flag from now on, instead of ending the process."""
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def map_in_threads(ask: Callable[[_Given], Sequence[_Found]], whom: Sequence[_Given]) -> list[_Found]:
    """Do something for each in a thread of its own, and go on noticing signals.

    Args:
        ask: called once for each.
        whom: one at least.

    Returns:
        What all of them gave, in their order.
    """
    with ThreadPoolExecutor(len(whom)) as pool:
        asked = [pool.submit(ask, one) for one in whom]
        while wait(asked, STEP_SECONDS).not_done:
            pass  # handlers run in this thread, which must not sleep for long
        return [found for one in asked for found in one.result()]
