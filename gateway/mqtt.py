"""The MQTT end: one source a broker. It connects, subscribes, reads batches of readings and acknowledges them.

paho-mqtt speaks the protocol; this file alone decides when it may. One thread owns the client at any time: the
bridge's loop, or, while a connection is being dialled, the dialler, because name look-up and TLS handshakes block.

- The session is kept: fixed client id, no clean start, and the contract's session expiry. Subscriptions are made after
  every connect, whether the broker says it has them or not.
- Every connection has its own `Connection`. Packet ids are reused after a reconnect, so an acknowledgement for a
  reading that came over an earlier one goes nowhere.
- QoS 2 is not asked for: paho forgets its state on restart, and answers before anybody has stored the message.
- A message above `payload_limit` is cut as it arrives; its size and digest go on, for the dead letter.
- When reading stops because the spool is full, pings go on. Their answers stay unread, so paho must not take the
  silence for a dead link: `tend` tells it.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.config import TlsSettings
from gateway.errors import ConfigurationError
from gateway.mqtt_reader import Connection, FastReader, PahoReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.config import Settings
    from gateway.contract.model import MqttServer
    from gateway.lane import Entry

log = logging.getLogger(__name__)

BATCH = 2_048  # messages read in one turn of the loop, so that no broker starves the others
CONNECT_SECONDS = 10.0  # to dial, and again to get the CONNACK: some peers accept TCP and never answer
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 30.0
DENIED_BACKOFF_SECONDS = 60.0
KEEP_RETAINED = 1  # retain handling: send retained messages only for a subscription that is new


class Link(StrEnum):
    """Where a connection stands."""

    DOWN = "down"
    DIALLING = "dialling"
    GREETING = "greeting"  # CONNECT is sent, CONNACK not yet here
    UP = "up"


class MqttSource:
    """Reads from one broker.

    Args:
        server: from the contract.
        address: host and port of this installation.
        subscriptions: filter -> QoS.
        stream_of: topic -> name of the stream it belongs to.
        payload_limit: bytes; longer payloads are cut.
        receive_maximum: how many unacknowledged messages the broker may have under way.
        credentials: user name and password, or None.
        tls: context to wrap the connection in, or None for plain TCP.
        is_fast: False to read with plain paho (`mqtt_reader.py`).
    """

    def __init__(  # noqa: PLR0913 - each is one fact of the installation, all by name
        self,
        server: MqttServer,
        *,
        address: tuple[str, int],
        subscriptions: dict[str, int],
        stream_of: Callable[[bytes], str],
        payload_limit: int,
        receive_maximum: int,
        credentials: tuple[str, str | None] | None = None,
        tls: ssl.SSLContext | None = None,
        is_fast: bool = True,
    ) -> None:
        self.name = server.name
        self.link = Link.DOWN
        self.detail = "not connected yet"
        self.denied: list[str] = []
        self.connects = 0
        self.sessions_lost = 0
        self._server = server
        self._subscriptions = subscriptions
        self._stream_of = stream_of
        self._payload_limit = payload_limit
        self._is_fast = is_fast
        self._dialler: threading.Thread | None = None
        self._dial_error = ""
        self._deadline = 0.0
        self._backoff_seconds = 0.0
        self._pending_subscribe: dict[int, list[str]] = {}
        self._client = self._make_client(address, receive_maximum, credentials, tls)

    # --- what the bridge calls ---------------------------------------------------------------------------------

    @property
    def fileno(self) -> int:
        """The socket to wait on, or -1."""
        socket = None if self.link in {Link.DOWN, Link.DIALLING} else self._client.socket()
        return -1 if socket is None else int(socket.fileno())

    @property
    def wants_write(self) -> bool:
        """True when packets wait for the socket to take them."""
        return self._client.want_write()

    @property
    def next_action_seconds(self) -> float:
        """Monotonic time before which the loop must come back, though the socket stays silent."""
        return time.monotonic() + 0.02 if self.link == Link.DIALLING else self._deadline

    def read(self) -> list[Entry]:
        """Read what the socket holds, up to a batch.

        Returns:
            Readings in the order they came.
        """
        client, seen = self._client, -1
        while self.fileno >= 0 and seen < len(client.arrived) < BATCH:
            seen = len(client.arrived)
            self._guarded(client.loop_read)
        arrived, client.arrived = client.arrived, []
        return arrived

    def flush(self) -> None:
        """Send what is queued, acknowledgements above all, as far as the socket takes it."""
        if self.fileno < 0:
            return
        self._client.send_acknowledgements()
        if self._client.want_write():
            self._guarded(self._client.loop_write)

    def tend(self, now: float, *, is_reading: bool) -> None:
        """Keep the connection alive, or get it back.

        Args:
            now: monotonic seconds.
            is_reading: False while the spool is full and nothing is read.
        """
        if self.link == Link.DOWN:
            if now >= self._deadline:
                self._dial()
        elif self.link == Link.DIALLING:
            self._finish_dialling(now)
        elif self.link == Link.GREETING and now >= self._deadline:
            self._close(now, "the broker accepted the connection but sent no CONNACK; is this an MQTT port?")
        else:
            if not is_reading:
                self._client._ping_t = 0.0  # noqa: SLF001 - the answer is in the socket, unread by our own choice
            self._guarded(self._client.loop_misc)

    def close(self, timeout_seconds: float) -> None:
        """Say goodbye; the broker keeps the session.

        Args:
            timeout_seconds: how long to try to send what is queued.
        """
        if self._dialler:
            self._dialler.join(timeout_seconds)
        if self.link == Link.UP:
            self.link = Link.DOWN  # so that paho's report of the end is no news
            self._client.disconnect()
            until = time.monotonic() + timeout_seconds
            while self._client.want_write() and time.monotonic() < until:
                self._guarded(self._client.loop_write)
        self.link = Link.DOWN

    # --- connecting ----------------------------------------------------------------------------------------------

    def _make_client(
        self,
        address: tuple[str, int],
        receive_maximum: int,
        credentials: tuple[str, str | None] | None,
        tls: ssl.SSLContext | None,
    ) -> PahoReader:
        server, is_v5 = self._server, self._server.version == "5.0"
        reader = FastReader if self._is_fast else PahoReader
        client = reader(
            self._stream_of,
            self._payload_limit,
            callback_api_version=CallbackAPIVersion.VERSION2,
            client_id=server.client_id,
            clean_session=None if is_v5 else server.clean_session,
            protocol=paho.MQTTv5 if is_v5 else paho.MQTTv311,
        )
        client.connect_timeout = CONNECT_SECONDS
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_socket_register_write = _leave_writing_to_the_loop
        if credentials:
            client.username_pw_set(*credentials)
        if tls:
            client.tls_set_context(tls)
        if will := server.last_will:
            client.will_set(will.topic, will.message, will.qos, will.retain)
        properties = None
        if is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types it not
            properties.SessionExpiryInterval = server.session_expiry
            properties.ReceiveMaximum = receive_maximum
        client.connect_async(
            *address,
            keepalive=server.keep_alive,
            clean_start=server.clean_session if is_v5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        return client

    def _dial(self) -> None:
        self._dial_error = ""
        self.link = Link.DIALLING
        self._dialler = threading.Thread(target=self._reconnect, name=f"dial {self.name}", daemon=True)
        self._dialler.start()

    def _reconnect(self) -> None:
        """Dial; runs in the dialler's thread, which owns the client until it ends."""
        try:
            self._client.reconnect()
        except ssl.SSLCertVerificationError as error:
            self._dial_error = f"the broker's certificate is refused: {error.verify_message}"
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
            self._dial_error = str(error) or type(error).__name__

    def _finish_dialling(self, now: float) -> None:
        if self._dialler and self._dialler.is_alive():
            return
        self._dialler = None
        if self._dial_error:
            self._close(now, self._dial_error)
        else:
            self.link = Link.GREETING
            self._deadline = now + CONNECT_SECONDS

    def _close(self, now: float, detail: str, least_seconds: float = FIRST_BACKOFF_SECONDS) -> None:
        """Give the connection up and set the time of the next try."""
        if self.link != Link.DOWN:
            log.warning("MQTT connection is down", extra={"server": self.name, "detail": detail})
        self.link, self.detail = Link.DOWN, detail
        self._client._sock_close()  # noqa: SLF001 - paho's public ways of closing all want a living connection
        longest = max(LONGEST_BACKOFF_SECONDS, least_seconds)
        self._backoff_seconds = min(max(least_seconds, 2 * self._backoff_seconds), longest)
        self._deadline = now + self._backoff_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def _guarded(self, step: Callable[[], Any]) -> None:
        """Run one step of paho; whatever it raises closes this connection and nothing else."""
        try:
            step()
        except Exception as error:
            log.warning("MQTT client failed", exc_info=error, extra={"server": self.name})
            self._close(time.monotonic(), f"the MQTT client failed: {error}")

    # --- what paho calls -----------------------------------------------------------------------------------------

    def _on_connect(
        self, client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        if reason.is_failure:
            self._close(time.monotonic(), _refusal(str(reason)), DENIED_BACKOFF_SECONDS)
            return
        self.link, self.detail = Link.UP, ""
        self._deadline = float("inf")
        self._backoff_seconds = 0.0
        self.connects += 1
        if self.connects > 1 and not flags.session_present and not self._server.clean_session:
            self.sessions_lost += 1
            log.warning("the broker lost our session: what it held for us is gone", extra={"server": self.name})
        self._client.connection = Connection()
        self.denied = []
        self._subscribe(client)
        log.info("connected", extra={"server": self.name, "session_present": flags.session_present})

    def _subscribe(self, client: paho.Client) -> None:
        if not self._subscriptions:
            return
        wanted = list(self._subscriptions.items())
        if self._server.version == "5.0":
            options = [(name, SubscribeOptions(qos, retainHandling=KEEP_RETAINED)) for name, qos in wanted]
            _, packet_id = client.subscribe(options)
        else:
            _, packet_id = client.subscribe(wanted)
        if packet_id is not None:
            self._pending_subscribe[packet_id] = [name for name, _ in wanted]

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        wanted = self._pending_subscribe.pop(packet_id, [])
        self.denied = [name for name, reason in zip(wanted, reasons, strict=False) if reason.is_failure]
        if self.denied:
            self.detail = f"the broker denies the subscription {', '.join(self.denied)}: grant read in its ACL"
            log.error("subscription denied", extra={"server": self.name, "filters": ", ".join(self.denied)})

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _props: Properties | None,
    ) -> None:
        if self.link == Link.DOWN:
            return  # it was us
        if flags.is_disconnect_packet_from_server and reason == "Session taken over":
            detail = f"another client uses the id {self._server.client_id!r}: give each gateway its own"
            self._close(time.monotonic(), detail, DENIED_BACKOFF_SECONDS)
        else:
            self._close(time.monotonic(), f"connection lost: {reason}")


def _leave_writing_to_the_loop(_client: paho.Client, _data: Any, _socket: Any) -> None:
    """Take paho's cue that there is something to write; the loop asks `wants_write` anyway, and writes in batches."""


def _refusal(reason: str) -> str:
    hints = {
        "Not authorized": "check username and password_file under servers in gateway.yaml",
        "Bad user name or password": "check username and password_file under servers in gateway.yaml",
        "Client identifier not valid": "check clientId in the contract's MQTT binding",
        "Unsupported protocol version": "set protocolVersion of this server in the contract",
    }
    return f"the broker refuses us: {reason}" + (f"; {hints[reason]}" if reason in hints else "")


def tls_context(given: TlsSettings | None, settings: Settings) -> ssl.SSLContext:
    """Make a TLS context that verifies the broker's certificate and name, TLS 1.2 or newer.

    Args:
        given: the server's `tls` section; without `ca_file` the system's authorities count.
        settings: finds the files.

    Returns:
        The context.

    Raises:
        ConfigurationError: when a file cannot be read or is no PEM.
    """
    given = given or TlsSettings()
    try:
        context = ssl.create_default_context(cafile=settings.locate(given.ca_file) if given.ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if given.cert_file:
            key = settings.locate(given.key_file) if given.key_file else None
            context.load_cert_chain(settings.locate(given.cert_file), key)
    except OSError as error:  # ssl.SSLError is one
        finding = settings.finding(
            ("servers",), f"The certificates cannot be used: {error}.", "Give PEM files that fit."
        )
        raise ConfigurationError([finding]) from None
    return context
