"""All peers compared at once, each in a thread of its own: most of the time is spent waiting for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.drift import broker, kafka, registry
from gateway.operate.report import Form, Report, Say, collect_all, silent

if TYPE_CHECKING:
    from gateway.installation import Installation
    from gateway.signals import Stopping

FORM = Form(
    "observations",
    (
        ("peer", "peer", "source"),
        ("what", "what", "path"),
        ("contract", "contract", "expected"),
        ("seen", "seen", "message"),
        ("verdict", "verdict", "severity"),
        ("next step", "next_step", "fix"),
    ),
    {"ok": "agrees", "unknown": "not seen", "warning": "drift", "error": "drift", "unreachable": "no answer"},
)


def survey(installation: Installation, seconds: float, stopping: Stopping, say: Say = silent) -> Report:
    """Compare every peer of an installation with its contract; listen to each broker for so many seconds at most.

    `say` shows the progress.
    """
    contract = installation.contract
    peers = [
        *((server.name, broker.compare(installation, server, seconds, stopping)) for server in contract.brokers),
        (contract.kafka.name, kafka.compare(installation)),
        (registry.PEER, registry.compare(installation)),
    ]
    return Report(tuple(collect_all(peers, say)), FORM)
