"""Waiting for a fact with a deadline: the only way the tests wait. Nothing in them sleeps for a fixed time.

The deadline is generous and the steps are short, because a slow machine must make a test slow, never wrong. Steps grow
with the time that has passed: most conditions are questions to a server, which take the time that others wait for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SHORTEST_STEP, LONGEST_STEP = 0.01, 0.05  # seconds
STEPS = 20  # how long a step is: this part of what has passed


def wait_for(condition: Callable[[], T], seconds: float, what: str | Callable[[], str]) -> T:
    """Wait until a condition holds.

    Args:
        condition: asked again and again; anything true ends the wait.
        seconds: how long at most.
        what: what is waited for, as the end of "waited 5 s for ..."; a function is asked only when it did not
            happen, so that it can tell how far things had come.

    Returns:
        The condition's first true value.

    Raises:
        AssertionError: the time is over.
    """
    began = time.monotonic()
    while True:
        if outcome := condition():
            return outcome
        passed = time.monotonic() - began
        if passed >= seconds:
            raise AssertionError(f"waited {seconds:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(max(SHORTEST_STEP, min(LONGEST_STEP, passed / STEPS)))
