"""What was compared, and how it came out.

A survey is over when every peer has been asked: one that does not answer is a row of its own, because "no drift" would
be a lie then. What a peer does not let us see is told, and is no drift.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from gateway.operate.table import table

HEADS = ("peer", "what", "contract", "seen", "verdict", "next step")
NO_DRIFT, DRIFT, UNAVAILABLE = 0, 1, 69  # the last is EX_UNAVAILABLE in sysexits.h


class Verdict(StrEnum):
    """How a comparison came out."""

    AGREES = "agrees"
    DRIFT = "drift"
    UNSEEN = "not seen"  # the peer answers, but does not show this
    UNASKED = "no answer"  # the peer could not be asked


class Observation(NamedTuple):
    """One thing that was compared.

    Args:
        peer: the contract's server name, or `registry`.
        what: was looked at.
        contract: what the contract says of it.
        seen: what there is.
        verdict: how the two compare.
        next_step: what to do, a sentence; empty where there is nothing to do.
    """

    peer: str
    what: str
    contract: str
    seen: str
    verdict: Verdict
    next_step: str = ""


class Report(NamedTuple):
    """All that was compared.

    Args:
        observations: peer by peer.
    """

    observations: tuple[Observation, ...]

    @property
    def exit_code(self) -> int:
        """0 no drift, 1 drift, 69 a peer could not be asked, whatever the others said."""
        verdicts = {one.verdict for one in self.observations}
        if Verdict.UNASKED in verdicts:
            return UNAVAILABLE
        return DRIFT if Verdict.DRIFT in verdicts else NO_DRIFT

    def as_text(self) -> str:
        """A table for people, and the outcome in a line below it."""
        return "\n".join([table(HEADS, self.observations), self._outcome()])

    def as_json(self) -> dict[str, Any]:
        """As data."""
        return {"exit_code": self.exit_code, "observations": [one._asdict() for one in self.observations]}

    def _outcome(self) -> str:
        silent = [one.peer for one in self.observations if one.verdict is Verdict.UNASKED]
        drifted = sum(one.verdict is Verdict.DRIFT for one in self.observations)
        told = f"{drifted} of {len(self.observations)} differ from the contract" if drifted else "No drift"
        return f"{told}; could not be asked: {', '.join(silent)}." if silent else f"{told}."
