"""The MQTT end: one source a broker. It connects, subscribes, reads batches of readings and acknowledges them.

paho-mqtt speaks the protocol; this file alone decides when it may. One thread owns the client at any time: the
bridge's loop, or, while a connection is being dialled, the dialler, because name look-up and TLS handshakes block.

- The session is kept: fixed client id, no clean start, and the contract's session expiry. Subscriptions are made after
  every connect, whether the broker says it has them or not.
- Up means subscribed: until the SUBACK is here, what is published may pass us by, so nobody is told to start.
- A connection that ends soon does not reset the back-off: two gateways with one client id, or a broker that refuses us
  only after the CONNACK, must not make a storm of connects.
- Every connection has its own `Connection`. Packet ids are reused after a reconnect, so an acknowledgement for a
  reading that came over an earlier one goes nowhere.
- QoS 2 is not asked for: paho forgets its state on restart, and answers before anybody has stored the message.
- A message above `payload_limit` is cut as it arrives; its size and digest go on, for the dead letter.
- Pings are ours, not paho's: it pings after a whole keep-alive interval of silence and waits another for the answer; we
  ping after half of one, so that a dead link is found after one and a half.
- When reading stops because the spool is full, pings go on. Their answers stay unread, and so may a CONNACK: silence is
  then no sign of a dead link.
"""

from __future__ import annotations

import logging
import random
import select
import socket
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
from gateway.mqtt_reader import FastReader, MalformedPacketError, PahoReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.config import Settings
    from gateway.contract.model import MqttServer
    from gateway.lane import Entry

log = logging.getLogger(__name__)

BATCH = 2_048  # messages read in one turn of the loop, so that no broker starves the others
CONNECT_SECONDS = 10.0  # to dial, and again for each answer: some peers accept TCP and never say a word
LOST_BACKOFF = (0.2, 30.0)  # first and longest, seconds
REFUSED_BACKOFF = (1.0, 60.0)
TAKEN_OVER_BACKOFF = (60.0, 60.0)
STEADY_SECONDS = 60.0  # a connection that lasted longer was a good one: the back-off starts anew
SUSPICIOUS = 3  # short connections in a row
RETRY_DENIED_SECONDS = 60.0
KEEP_RETAINED = 1  # retain handling: send retained messages only for a subscription that is new


UNDER_SERVERS = "under servers in gateway.yaml"
REFUSAL_ADVICE = {
    "Not authorized": f"check username and password_file {UNDER_SERVERS}",
    "Bad user name or password": f"check username and password_file {UNDER_SERVERS}",
    "Client identifier not valid": "check clientId in the contract's MQTT binding",
    "Unsupported protocol version": "set protocolVersion of this server in the contract",
    "Use another server": f"check host {UNDER_SERVERS}",
    "Server moved": f"check host {UNDER_SERVERS}",
}
NO_AUTHORITY = f"name the authority that signed it as tls.ca_file {UNDER_SERVERS}"
OTHER_NAME = f"write the name that it is made for as host {UNDER_SERVERS}"
CERTIFICATE_ADVICE = {  # by OpenSSL's X509_V_ERR_ codes
    9: "is this machine's clock right?",
    10: "renew it on the broker, or set this machine's clock",
    18: NO_AUTHORITY,
    19: NO_AUTHORITY,
    20: NO_AUTHORITY,
    21: NO_AUTHORITY,
    62: OTHER_NAME,
    64: OTHER_NAME,
}
OWN_CERTIFICATE = f"check tls.cert_file and tls.key_file {UNDER_SERVERS}"
NO_TLS = f"is this a TLS port? check host {UNDER_SERVERS}"
TLS_ADVICE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"name a client certificate as tls.cert_file and tls.key_file {UNDER_SERVERS}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": OWN_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": OWN_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": OWN_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": OWN_CERTIFICATE,
    "WRONG_VERSION_NUMBER": NO_TLS,
    "UNEXPECTED_EOF_WHILE_READING": NO_TLS,
}
NETWORK_ADVICE: dict[type[OSError], str] = {
    socket.gaierror: f"check host {UNDER_SERVERS}, and this machine's DNS",
    ConnectionRefusedError: "does the broker run, and is this its port?",
    TimeoutError: "is the broker up, and does a firewall stand in between?",
}


class Link(StrEnum):
    """Where a connection stands."""

    DOWN = "down"
    DIALLING = "dialling"
    GREETING = "greeting"  # CONNECT is sent; CONNACK, or the answer to our subscriptions, is not yet here
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
        connect_seconds: how long to wait for TCP and TLS, and for each answer while connecting.
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
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.name = server.name
        self.link = Link.DOWN
        self.detail = "not connected yet"
        self.denied: list[str] = []
        self.connects = 0
        self.sessions_lost = 0
        self._server = server
        self._address = address
        self._subscriptions = subscriptions
        self._stream_of = stream_of
        self._payload_limit = payload_limit
        self._is_fast = is_fast
        self._is_reading = True
        self._connect_seconds = connect_seconds
        self._dialler: threading.Thread | None = None
        self._dial_error = ""
        self._retry_at = 0.0  # when to dial, or to subscribe again to what was denied; monotonic seconds
        self._backoff_seconds = 0.0
        self._connected_at = 0.0
        self._short_connections = 0
        self._pending_subscribe: dict[int, list[str]] = {}
        self._client = self._make_client(address, receive_maximum, credentials, tls)

    # --- what the bridge calls ---------------------------------------------------------------------------------

    @property
    def fileno(self) -> int:
        """The socket to wait on, or -1."""
        sock = None if self.link in {Link.DOWN, Link.DIALLING} else self._client.socket()
        return -1 if sock is None else int(sock.fileno())

    @property
    def wants_write(self) -> bool:
        """True when packets wait for the socket to take them."""
        return self._client.want_write()

    @property
    def next_action_seconds(self) -> float:
        """Monotonic time before which the loop must come back, though the socket stays silent."""
        now = time.monotonic()
        if self.link == Link.DOWN:
            return self._retry_at
        if self.link == Link.DIALLING:
            return now + 0.02
        if self._is_reading and self._holds_back:
            return now
        seconds = self._connect_seconds if self.link == Link.GREETING else float("inf")
        return now + min(seconds, self._client.keepalive or seconds) / 4

    @property
    def _holds_back(self) -> bool:
        """True when TLS has decrypted bytes that nobody has read: the socket itself is then silent about them."""
        sock = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def read(self) -> list[Entry]:
        """Read what the socket holds, up to a batch.

        Returns:
            Readings in the order they came.
        """
        client, seen = self._client, -1
        while self.fileno >= 0 and len(client.arrived) < BATCH and (seen < len(client.arrived) or self._holds_back):
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
        self._is_reading = is_reading
        if self.link == Link.DOWN:
            if now >= self._retry_at:
                self._dial()
        elif self.link == Link.DIALLING:
            self._finish_dialling(now)
        elif self.fileno < 0:  # paho closed it and told nobody
            self._close(now, "connection lost")
        elif not is_reading:
            self._hold(now)
        elif self.link == Link.GREETING:
            if now - self._client.heard_at >= self._connect_seconds:
                self._close(now, self._unanswered())
        else:
            self._keep_alive(now)
            if self.denied and now >= self._retry_at:
                self._subscribe(self.denied)

    def close(self, timeout_seconds: float) -> None:
        """Say goodbye; the broker keeps the session.

        Args:
            timeout_seconds: how long to try to send what is queued.
        """
        if self._dialler:
            self._dialler.join(timeout_seconds)
        if self.fileno >= 0:
            self.link = Link.DOWN  # so that paho's report of the end is no news
            self._client.say_goodbye(timeout_seconds)
        self.link = Link.DOWN

    # --- staying connected -----------------------------------------------------------------------------------------

    def _keep_alive(self, now: float) -> None:
        interval = self._client.keepalive
        if interval and now - self._client.heard_at >= 1.5 * interval:
            self._close(now, f"the broker has been silent for {1.5 * interval:g} s: it hangs, or the network is cut")
        elif interval:
            self._client.ping_after(interval / 2, now)

    def _hold(self, now: float) -> None:
        """Keep a connection that we do not read from; only the socket itself can tell then that it is broken."""
        self._client.excuse_silence(now)
        if interval := self._client.keepalive:
            self._client.ping_after(interval / 2, now)
        poller = select.poll()
        poller.register(self.fileno, 0)  # asks for nothing but POLLERR and POLLHUP
        if poller.poll(0):
            self._close(now, "connection lost")

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
        client.connect_timeout = self._connect_seconds
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
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
            host, port = self._address
            self._dial_error = f"cannot connect to {host}:{port}: {_sentence(error)}"
        except Exception as error:  # noqa: BLE001 - a thread that dies tells nobody
            self._dial_error = f"the MQTT client failed: {error!r}"

    def _finish_dialling(self, now: float) -> None:
        if self._dialler and self._dialler.is_alive():
            return
        self._dialler = None
        if self._dial_error:
            self._close(now, self._dial_error)
        else:
            self.link = Link.GREETING

    def _unanswered(self) -> str:
        if self._pending_subscribe:
            return "the broker accepted us but does not answer our subscriptions"
        return "the broker accepted the connection but sent no CONNACK; is this an MQTT port, and not one for TLS?"

    def _close(self, now: float, detail: str, backoff: tuple[float, float] = LOST_BACKOFF) -> None:
        """Give the connection up and set the time of the next try."""
        if self.link != Link.DOWN:
            log.warning("MQTT connection is down", extra={"server": self.name, "detail": detail})
        self.link, self.detail = Link.DOWN, detail
        self._client._sock_close()  # noqa: SLF001 - paho's public ways of closing all want a living connection
        self._pending_subscribe.clear()
        if self._connected_at:
            is_short = self._is_short(now)
            self._backoff_seconds = self._backoff_seconds if is_short else 0.0
            self._short_connections = self._short_connections + 1 if is_short else 0
            self._connected_at = 0.0
        first, longest = backoff
        self._backoff_seconds = min(max(first, 2 * self._backoff_seconds), longest)
        self._retry_at = now + self._backoff_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def _is_short(self, now: float) -> bool:
        return now - self._connected_at < STEADY_SECONDS

    def _guarded(self, step: Callable[[], Any]) -> None:
        """Run one step of paho; whatever it raises closes this connection and nothing else."""
        try:
            step()
        except MalformedPacketError as error:
            self._close(time.monotonic(), f"the broker broke the protocol: {error}")
        except Exception as error:
            log.exception("MQTT client failed", extra={"server": self.name})
            self._close(time.monotonic(), f"the MQTT client failed: {error}")

    # --- what paho calls -----------------------------------------------------------------------------------------

    def _on_connect(
        self, _client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        if reason.is_failure:
            self._close(time.monotonic(), _refusal(str(reason)), REFUSED_BACKOFF)
            return
        self._connected_at = time.monotonic()
        self.connects += 1
        if self.connects > 1 and not flags.session_present and not self._server.clean_session:
            self.sessions_lost += 1
            log.warning("the broker lost our session: what it held for us is gone", extra={"server": self.name})
        log.info("connected", extra={"server": self.name, "session_present": flags.session_present})
        self.denied = []
        self._subscribe(list(self._subscriptions))

    def _subscribe(self, filters: list[str]) -> None:
        self._retry_at = time.monotonic() + RETRY_DENIED_SECONDS
        if not filters:
            self.link, self.detail = Link.UP, ""
            return
        wanted = [(name, self._subscriptions[name]) for name in filters]
        if self._server.version == "5.0":
            options = [(name, SubscribeOptions(qos, retainHandling=KEEP_RETAINED)) for name, qos in wanted]
            _, packet_id = self._client.subscribe(options)
        else:
            _, packet_id = self._client.subscribe(wanted)
        if packet_id is not None:
            self._pending_subscribe[packet_id] = filters

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        filters = self._pending_subscribe.pop(packet_id, None)
        if filters is None:
            return
        if len(reasons) != len(filters):
            raise MalformedPacketError(f"it answers {len(filters)} subscriptions with {len(reasons)} codes")
        granted = dict(zip(filters, reasons, strict=True))
        denied = {name: reason for name, reason in granted.items() if reason.is_failure}
        told = ", ".join(f"{name} ({reason})" for name, reason in denied.items())
        if denied and list(denied) != self.denied:
            log.error("subscription denied", extra={"server": self.name, "filters": told})
        self.link, self.denied = Link.UP, list(denied)
        self.detail = f"the broker denies the subscription {told}: grant read in its ACL" if denied else ""
        lowered = [name for name, reason in granted.items() if reason.value < self._subscriptions[name]]
        if lowered:
            detail = f"the broker delivers {', '.join(lowered)} with QoS 0 only: readings can be lost on the way to us"
            log.warning("subscription granted with a lower QoS", extra={"server": self.name, "detail": detail})

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
        now = time.monotonic()
        if flags.is_disconnect_packet_from_server and reason == "Session taken over":
            detail = f"another client uses the id {self._server.client_id!r}: give each gateway its own"
            self._close(now, detail, TAKEN_OVER_BACKOFF)
        elif flags.is_disconnect_packet_from_server:
            self._close(now, f"the broker ended the connection: {reason}")
        else:
            self._close(now, self._loss(str(reason), now))

    def _loss(self, reason: str, now: float) -> str:
        """Say why a connection broke."""
        if trouble := self._client.trouble:
            detail = f"connection lost: {_sentence(trouble)}"
        elif reason == "Protocol error":
            detail = "the broker sent a packet that breaks the protocol"
        else:
            detail = "the broker closed the connection"
        if not self._connected_at and not isinstance(trouble, ssl.SSLError):
            return f"{detail} before it accepted us; is this a port for MQTT {self._server.version}, and not for TLS?"
        if self._connected_at and self._is_short(now) and self._short_connections + 1 >= SUSPICIOUS:
            return f"{detail} soon after each connect; does another client use the id {self._server.client_id!r}?"
        return detail


def _leave_writing_to_the_loop(_client: paho.Client, _data: Any, _socket: Any) -> None:
    """Take paho's cue that there is something to write; the loop asks `wants_write` anyway, and writes in batches."""


def _refusal(reason: str) -> str:
    return _advised(f"the broker refuses us: {reason}", REFUSAL_ADVICE.get(reason))


def _sentence(error: OSError | ValueError) -> str:
    """Say what an error of the network or of TLS means, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = f"the broker's certificate is refused: {error.verify_message.rstrip('.')}"
        return _advised(told, CERTIFICATE_ADVICE.get(error.verify_code))
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "UNKNOWN"
        return _advised(f"TLS failed: {reason.lower().replace('_', ' ')}", TLS_ADVICE.get(reason))
    if isinstance(error, OSError):
        advice = next((advice for kind, advice in NETWORK_ADVICE.items() if isinstance(error, kind)), None)
        return _advised(error.strerror or str(error) or type(error).__name__, advice)
    return _advised(str(error), NETWORK_ADVICE[socket.gaierror])


def _advised(told: str, advice: str | None) -> str:
    return f"{told}; {advice}" if advice else told


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
    ca, cert, key = (
        settings.locate(file) if file else None for file in (given.ca_file, given.cert_file, given.key_file)
    )
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert:
            context.load_cert_chain(cert, key, password="")  # without one OpenSSL would ask on the terminal
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(file for file in (given.ca_file, given.cert_file, given.key_file) if file)
        message = f"The certificates cannot be used ({files}): {error.strerror or error}."
        fix = "Give PEM files: authorities, a certificate with its chain, and the key of that certificate in clear."
        raise ConfigurationError([settings.finding(("servers",), message, fix)]) from None
    return context
