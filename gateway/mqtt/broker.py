"""How to reach an MQTT broker: what a publisher or a probe needs to connect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker to publish to.

    Args:
        name: the contract's server name.
        host: name or address.
        port: TCP port.
        is_mqtt5: else 3.1.1.
        username: or "" for none.
        password: goes with it.
        tls: or None for plain MQTT.
    """

    name: str
    host: str
    port: int
    is_mqtt5: bool = True
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
