"""How to connect to an MQTT broker: address, protocol version, login, TLS, WebSocket.

The gateway, its probe and the simulator make their clients by it, so that the differences between MQTT 3.1.1 and 5.0 in
connecting and subscribing are here alone, and so is what carries MQTT: TCP, TLS, WebSocket or a Unix socket.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.certificate import UNDER_SERVERS
from gateway.mqtt.errors import sentence
from gateway.mqtt.websocket import Upgrade, WebSocket, WebSocketError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from paho.mqtt.enums import MQTTErrorCode

FILTERS_PER_PACKET = 8  # AWS IoT Core ends a connection that asks for more at once, Azure Event Grid for more than 10
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


class Client(paho.Client):
    """paho's client, with a WebSocket that works in batches, and the errors that paho does not report."""

    upgrade: Upgrade | None = None  # None for MQTT without WebSocket
    selected_alpn: str | None = None  # what the broker chose of `tls.alpn`
    socket_error: OSError | None = None  # why the connection broke

    def reconnect(self) -> MQTTErrorCode:
        """Connect again."""
        self.socket_error = None
        return super().reconnect()

    def _create_socket(self) -> Any:
        sock: socket.socket = super()._create_socket()  # type: ignore[assignment]  # paho makes no WebSocket here
        self.selected_alpn = sock.selected_alpn_protocol() if isinstance(sock, ssl.SSLSocket) else None
        if self.upgrade is None:
            return sock
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = "" if self._port == (443 if self._ssl else 80) else f":{self._port}"
        try:
            return WebSocket(sock, host + port, self.upgrade, self._connect_timeout)
        except BaseException:
            sock.close()
            raise

    def _sock_recv(self, bufsize: int) -> bytes:
        return self._recording_error(super()._sock_recv, bufsize)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        return self._recording_error(super()._sock_send, buf)

    def _recording_error(self, step: Callable[[_Given], _Result], argument: _Given) -> _Result:
        try:
            return step(argument)
        except BlockingIOError:
            raise
        except OSError as error:
            self.socket_error = self._pending_tls_alert(error)
            raise

    def _pending_tls_alert(self, error: OSError) -> OSError:
        """Read the TLS alert of a broker that closed while we wrote: it says why."""
        if isinstance(error, ssl.SSLEOFError) and self._sock:
            try:
                self._sock.recv(1)
            except ssl.SSLWantReadError:
                pass
            except OSError as alert:
                return alert
        return error


def in_packets(filters: list[str]) -> Iterator[list[str]]:
    """Divide filters among SUBSCRIBE or UNSUBSCRIBE packets."""
    return (filters[each : each + FILTERS_PER_PACKET] for each in range(0, len(filters), FILTERS_PER_PACKET))


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker, and how to log in there."""

    name: str  # of the contract's server
    host: str  # or the path of a Unix socket
    port: int
    is_mqtt5: bool = True  # else 3.1.1
    username: str = ""  # empty for none
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, compare=False)  # None for plain TCP
    alpn: tuple[str, ...] = ()  # which `tls` offers
    websocket: Upgrade | None = None  # None for MQTT without it
    certificates: object = field(default=None, repr=False)  # what `tls` was made of, to compare

    @property
    def is_unix(self) -> bool:
        """Whether the broker is at a Unix socket."""
        return self.host.startswith("/")

    @property
    def transport(self) -> Literal["unix", "tcp"]:
        """The transport, as paho calls it."""
        return "unix" if self.is_unix else "tcp"

    @property
    def version(self) -> str:
        """The version of MQTT."""
        return "5.0" if self.is_mqtt5 else "3.1.1"

    @property
    def address(self) -> str:
        """The address, for messages."""
        if self.is_unix:
            return f"unix://{self.host}"
        if self.websocket:
            return f"{'wss' if self.tls else 'ws'}://{self.host}:{self.port}{self.websocket.path}"
        return f"{self.host}:{self.port}"

    def client_options(self, client_id: str = "", *, is_clean: bool = True) -> dict[str, Any]:
        """Give the arguments of paho's `Client`; `is_clean` deletes an existing session."""
        return {
            "callback_api_version": CallbackAPIVersion.VERSION2,
            "client_id": client_id,
            "clean_session": None if self.is_mqtt5 else is_clean,
            "protocol": paho.MQTTv5 if self.is_mqtt5 else paho.MQTTv311,
            "transport": self.transport,
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

    def unreachable(self, error: OSError | ValueError) -> str:
        """Say why no connection came about."""
        if self.alpn and isinstance(error, ssl.SSLError) and not error.reason:
            error.reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"  # which Python 3.11 does not name
        return f"cannot connect to {self.address}: {sentence(error, is_connecting=True)}"

    def loss(self, client: Client, what: str, *, is_accepted: bool) -> str:
        """Say why a connection ended, which looks like `what`; `is_accepted` is False before CONNACK."""
        error = client.socket_error
        if isinstance(error, WebSocketError):
            return str(error)
        detail = f"connection lost: {sentence(error)}" if error else what
        if is_accepted or isinstance(error, ssl.SSLError):
            return detail
        return f"{detail} before CONNACK; {self._closed_early(client)}"

    def _closed_early(self, client: Client) -> str:
        if self.alpn and client.selected_alpn is None:
            return f"the broker selected none of {', '.join(self.alpn)}; correct tls.alpn {UNDER_SERVERS}"
        if self.tls and not self.alpn:
            return f"is this a port for MQTT {self.version} over TLS, and does it need tls.alpn?"
        return f"is this a port for MQTT {self.version} without TLS?"

    def configure(self, client: Client, connect_seconds: float) -> None:
        """Set login, TLS and the time limit for connecting on a new client."""
        client.connect_timeout = connect_seconds
        self.log_in(client)

    def log_in(self, client: Client) -> None:
        """Set login, TLS and headers for the next connection of a client, instead of those of its former ones."""
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        client._transport, client._ssl = self.transport, False  # noqa: SLF001 - paho has no way back
        if self.tls:
            client._ssl_context = None  # noqa: SLF001 - paho refuses to replace it
            client.tls_set_context(self.tls)
        client.upgrade = self.websocket
