"""How to connect to an MQTT broker: address, protocol version, login, TLS.

The gateway, its probe and the simulator make their paho clients by it, so that the differences between MQTT 3.1.1 and
5.0 in connecting and subscribing are here alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker, and how to log in there."""

    name: str  # of the contract's server
    host: str
    port: int
    is_mqtt5: bool = True  # else 3.1.1
    username: str = ""  # empty for none
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None  # None for plain TCP

    def client_options(self, client_id: str = "", *, is_clean: bool = True) -> dict[str, Any]:
        """Give the arguments of paho's `Client`; `is_clean` deletes an existing session."""
        return {
            "callback_api_version": CallbackAPIVersion.VERSION2,
            "client_id": client_id,
            "clean_session": None if self.is_mqtt5 else is_clean,
            "protocol": paho.MQTTv5 if self.is_mqtt5 else paho.MQTTv311,
        }

    def connect_options(self, session_expiry: int, *, is_clean: bool, receive_maximum: int = 65_535) -> dict[str, Any]:
        """Give the arguments of paho's `connect` that MQTT 5 has and 3.1.1 has not."""
        if not self.is_mqtt5:
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types it not
        properties.SessionExpiryInterval = session_expiry
        properties.ReceiveMaximum = receive_maximum
        return {"clean_start": is_clean, "properties": properties}

    def subscriptions(self, filters: Mapping[str, int], retain_handling: int) -> list[tuple[str, Any]]:
        """Give the argument of paho's `subscribe`, from filters with their QoS; MQTT 3.1.1 has no retain handling."""
        if not self.is_mqtt5:
            return list(filters.items())
        return [(name, SubscribeOptions(qos, retainHandling=retain_handling)) for name, qos in filters.items()]

    def configure(self, client: paho.Client, connect_seconds: float) -> None:
        """Set login, TLS and the time limit for connecting on a new client."""
        client.connect_timeout = connect_seconds
        self.log_in(client)

    def log_in(self, client: paho.Client) -> None:
        """Set login and TLS for the next connection of a client, instead of those of its former ones."""
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        if self.tls:
            client._ssl_context = None  # noqa: SLF001 - paho refuses to replace it
            client.tls_set_context(self.tls)
