"""What was looked at, whether it hurts, and what mends it.

Wrong is what loses readings or keeps the gateway from working; a warning is what will one day, or might. As with drift,
a peer that could not be asked outweighs all else: "nothing wrong" would be a lie.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.operate.drift.observation import DRIFT, NO_DRIFT, UNAVAILABLE, Observation, Verdict
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_BYTES = 400


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNSEEN = "not seen"  # it cannot be seen from here
    UNASKED = "no answer"  # the peer could not be asked


class Diagnosis(NamedTuple):
    """One thing that was looked at.

    Args:
        place: the contract's server name, `registry`, `gateway`, `disk`, `certificates`, `clock` or `machine`.
        what: was looked at.
        state: how bad it is.
        told: what was seen.
        fix: what to do, a sentence; empty where there is nothing to do.
    """

    place: str
    what: str
    state: State
    told: str
    fix: str = ""

    def __str__(self) -> str:
        """One line for people; what comes from outside is escaped."""
        line = f"{self.state:<9}  {self.place}: {self.what}: {self.told}"
        return printable(cut(f"{line.rstrip('.')}. {self.fix}" if self.fix else line, SHOWN_BYTES))


class Report(NamedTuple):
    """All that was looked at.

    Args:
        diagnoses: place by place.
    """

    diagnoses: tuple[Diagnosis, ...]

    @property
    def exit_code(self) -> int:
        """0 nothing wrong, 1 something wrong, 69 a peer could not be asked, whatever else there is."""
        states = {one.state for one in self.diagnoses}
        if State.UNASKED in states:
            return UNAVAILABLE
        return DRIFT if State.WRONG in states else NO_DRIFT

    def as_text(self) -> str:
        """A line for each, and how many are how bad."""
        counts = {state: sum(one.state is state for one in self.diagnoses) for state in State}
        return "\n".join(
            [*map(str, self.diagnoses), ", ".join(f"{count} {state}" for state, count in counts.items() if count) + "."]
        )

    def as_json(self) -> dict[str, Any]:
        """As data."""
        return {"exit_code": self.exit_code, "diagnoses": [one._asdict() for one in self.diagnoses]}


def diagnosed(observation: Observation, hurts: Callable[[Observation], State]) -> Diagnosis:
    """Turn what drift saw into a diagnosis.

    Args:
        observation: of drift.
        hurts: tells how bad a difference is.
    """
    states = {Verdict.AGREES: State.OK, Verdict.UNSEEN: State.UNSEEN, Verdict.UNASKED: State.UNASKED}
    state = states.get(observation.verdict) or hurts(observation)
    told = observation.seen if state in states.values() else f"{observation.seen} (contract: {observation.contract})"
    return Diagnosis(observation.peer, observation.what, state, told, observation.next_step)
