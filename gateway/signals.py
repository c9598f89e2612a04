"""SIGTERM and SIGINT as a flag.

`threading.Event` would not do: its lock is not reentrant. A second signal that arrives while the first one's handler is
inside `set` would deadlock, and signals do come in pairs: the kernel's notice of a parent's death (`PR_SET_PDEATHSIG`)
is sent once for each of its threads.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

STEP_SECONDS = 0.1  # a wait notices a signal this late at most


class Stopping(Protocol):
    """A request to stop; `threading.Event` satisfies it where a thread is to be stopped."""

    def is_set(self) -> bool:
        """True when it is time to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait for so many seconds at most; True as soon as it is time to stop."""


class StopFlag:
    """A flag that a signal handler may set at any moment, any number of times."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Request to stop."""
        self._is_set = True

    def is_set(self) -> bool:
        """True when it is time to stop."""
        return self._is_set

    def wait(self, timeout: float) -> bool:
        """Wait for so many seconds at most; True as soon as it is time to stop."""
        until = time.monotonic() + timeout
        while not self._is_set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP_SECONDS))
        return self._is_set


def stop_on_signals() -> StopFlag:
    """Let SIGINT and SIGTERM set a flag from now on, instead of ending the process."""
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def map_in_threads(function: Callable[[_Item], Sequence[_Result]], items: Sequence[_Item]) -> list[_Result]:
    """Call a function for each of one or more items, each in a thread; give all results, in the order of the items."""
    with ThreadPoolExecutor(len(items)) as pool:
        calls = [pool.submit(function, item) for item in items]
        while wait(calls, STEP_SECONDS).not_done:
            pass  # signal handlers run in this thread, between the waits
        return [result for call in calls for result in call.result()]
