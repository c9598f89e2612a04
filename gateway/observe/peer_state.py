"""The state of the peers (brokers, Kafka, registry, disk) as `/readyz` and the status page show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerState:
    """How it stands with one peer.

    Args:
        peer: the server's name in the contract, or `registry`, `spool`.
        state: a word or two: `connected`, `waiting`, `refused`.
        detail: one sentence with the next step; may be empty.
    """

    peer: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What `/livez` and `/readyz` answer from.

    Args:
        alive: the loop turns.
        ready: readings get from MQTT to Kafka.
        states: of all peers.
    """

    alive: bool
    ready: bool
    states: tuple[PeerState, ...] = ()
