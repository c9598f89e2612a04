"""What the running gateway itself complains about.

It alone can tell that somebody else uses its client id: whoever tried the id would throw it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.doctor.diagnosis import Diagnosis, State
from gateway.operate.status import status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.installation import Installation

PLACE = "gateway"
IDS = "client ids"
SUSPICION = "the id '"  # stands in both sentences that `gateway.mqtt` has for it: told by the broker, or guessed
SHARED_FIX = "Give each gateway its own clientId in the contract's MQTT binding, or stop the other one."


def examine(installation: Installation) -> Iterator[Diagnosis]:
    """Ask the running gateway.

    Args:
        installation: its files.

    Raises:
        GatewayError: when something else answers in its place.
    """
    found = status(installation.settings.http.listen, installation.spool_path)
    if found.state in {"silent", "stopped"}:
        yield Diagnosis(PLACE, IDS, State.UNSEEN, "only a running gateway notices that one is shared")
        return
    brokers = [peer for peer in found.peers if peer.peer in installation.contract.mqtt_servers]
    if shared := [peer for peer in brokers if SUSPICION in peer.detail]:
        yield from (Diagnosis(PLACE, IDS, State.WRONG, f"{one.peer}: {one.detail}", SHARED_FIX) for one in shared)
    else:
        yield Diagnosis(PLACE, IDS, State.OK, "nobody else seems to use ours")
    for peer in found.peers:
        if peer.state != "ok" and peer not in shared:
            yield Diagnosis(PLACE, peer.peer, State.WARNING, f"{peer.state}: {peer.detail}")
