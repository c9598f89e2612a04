"""`gateway dlq replay` that kills itself, with SIGKILL, at one of its steps.

    python -m tests.faults.replay_failpoints "tails saved" dlq replay -c gateway.yaml

The steps are wrapped from outside: the product has no failpoints.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli import main
from gateway.kafka.sink import KafkaSink
from gateway.kafka.transactional_sink import TransactionalSink
from gateway.operate.dlq.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable


class Step(NamedTuple):
    """Before or after which call of which method."""

    owner: type
    name: str
    number: int
    is_before: bool


# The first commit is that of the journal's head, without records.
STEPS = {
    "fenced, nothing sent": Step(Journal, "begin", 1, is_before=True),
    "tails saved": Step(Journal, "begin", 1, is_before=False),
    "some records sent": Step(KafkaSink, "send", 20, is_before=False),
    "records sent, journal not": Step(TransactionalSink, "_commit", 2, is_before=True),
    "journal sent, not committed": Step(TransactionalSink, "_repeat", 2, is_before=True),
    "committed, outcome not known": Step(TransactionalSink, "_commit", 2, is_before=False),
    "committed, not entered": Step(TransactionalSink, "_decide", 2, is_before=False),
    "entered, file not saved": Step(Journal, "end", 1, is_before=True),
    "file saved": Step(Journal, "end", 1, is_before=False),
}


def install(step: Step) -> None:
    """Wrap the step."""
    method: Callable[..., Any] = getattr(step.owner, step.name)
    calls = 0

    def wrapped(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step.number and step.is_before:
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = method(*arguments, **more)
        if calls == step.number:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    setattr(step.owner, step.name, wrapped)


if __name__ == "__main__":
    install(STEPS[sys.argv[1]])
    sys.argv[1:] = sys.argv[2:]
    main()
