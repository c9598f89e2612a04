"""The state of the peers (brokers, Kafka, registry, disk) as `/readyz` and the status page show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerState:
    """The state of one peer.

    Args:
        peer: the server's name in the contract, or `kafka`, `registry`, `spool`, `lane ...`.
        state: `ok`, or a word such as `waiting` or `denied`.
        detail: one sentence with the next step; may be empty.
    """

    peer: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `/livez` and `/readyz`.

    Args:
        alive: the loop runs.
        ready: readings get from MQTT to Kafka.
        states: of all peers.
    """

    alive: bool
    ready: bool
    states: tuple[PeerState, ...] = ()
