"""What the running gateway reports about its peers.

Only it can notice that another client uses its client id: a probe with that id would disconnect it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Finding
from gateway.operate.status import status
from gateway.text import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.installation import Installation

PLACE = "gateway"
IDS = "client ids"
SHARED = "the id '"  # is in both sentences of `gateway.mqtt` about it: reported by the broker, or suspected
SHARED_FIX = "Give each gateway its own clientId in the contract's MQTT binding, or stop the other one."


def examine(installation: Installation) -> Iterator[Finding]:
    """Check what the running gateway reports."""
    answer = status(installation.settings.http.listen, installation.spool_path)
    if answer.state in {"silent", "stopped"}:
        yield Finding.at(PLACE, IDS, "unknown", "only a running gateway notices that one is shared")
        return
    brokers = [peer for peer in answer.peers if peer.peer in installation.contract.mqtt_servers]
    shared = [peer for peer in brokers if SHARED in peer.detail]
    for peer in shared:
        yield Finding.at(PLACE, IDS, "error", f"{peer.peer}: {peer.detail}", SHARED_FIX)
    if not shared:
        yield Finding.at(PLACE, IDS, "ok", "no other client seems to use them")
    for peer in answer.peers:
        if peer.state != "ok" and peer not in shared:
            detail, fix = sentences(peer.detail)
            yield Finding.at(PLACE, peer.peer, "warning", f"{peer.state}: {detail}", fix)
