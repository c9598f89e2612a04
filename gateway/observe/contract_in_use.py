"""The contract that a gateway works by, and what became of its reloads, for `/metrics`, ledger and status."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

OUTCOMES = ("accepted", "refused", "failed")  # failed: the new files could not be examined


@dataclass(slots=True)
class ContractInUse:
    """The contract in use. The loop writes it; other threads may read single values."""

    version: str = ""  # its `info.version`
    digest: str = ""  # of the contents of its files
    reloads: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OUTCOMES, 0)))  # by outcome
    reloaded_at: float = 0.0  # the end of the last reload, seconds since 1970; 0 before the first

    def named(self) -> dict[str, str]:
        """Name it in a line of the log."""
        return {"contract": self.version, "digest": self.digest}
