"""How to connect to an MQTT broker: address, protocol version, login, TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paho.mqtt.client as paho

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.enums import MQTTProtocolVersion


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker, and how to log in there.

    Args:
        name: the contract's server name.
        host: name or address.
        port: TCP port.
        is_mqtt5: else 3.1.1.
        username: empty for none.
        password: empty for none.
        tls: None for plain TCP.
    """

    name: str
    host: str
    port: int
    is_mqtt5: bool = True
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def protocol(self) -> MQTTProtocolVersion:
        """The protocol version, as paho names it."""
        return paho.MQTTv5 if self.is_mqtt5 else paho.MQTTv311

    def configure(self, client: paho.Client, connect_seconds: float) -> None:
        """Set login, TLS and the time limit for connecting on a new client."""
        client.connect_timeout = connect_seconds
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        if self.tls:
            client.tls_set_context(self.tls)
