"""The state of the peers (brokers, Kafka, registry, disk) as `/readyz` and the status page show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerState:
    """The state of one peer."""

    peer: str  # the server's name in the contract, `kafka`, `registry`, `transactions`, `spool`, `lane ...`
    state: str  # `ok`, or a word such as `waiting` or `denied`
    detail: str = ""  # one sentence with the next step

    @property
    def is_fine(self) -> bool:
        """Whether readings get past this peer; `pinned` is a registry that does not confirm the lock file's ids."""
        return self.state in {"ok", "pinned"}


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `/livez` and `/readyz`."""

    alive: bool  # the loop runs
    ready: bool  # readings get from MQTT to Kafka
    states: tuple[PeerState, ...] = ()
