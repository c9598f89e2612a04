"""The MQTT end: one source a broker. It connects, subscribes, reads batches of readings and acknowledges them.

paho-mqtt speaks the protocol; this file alone decides when it may. One thread owns the client at any time: the
bridge's loop, or, while a connection is being dialled, the dialler, because name look-up and TLS handshakes block.

- The session is kept: fixed client id, no clean start, and the contract's session expiry. Subscriptions are made after
  every connect, whether the broker says it has them or not; what a kept session has beyond them is unsubscribed,
  because the broker queues messages for it. It cannot be asked what that is, so whoever made us remembers.
- Up means subscribed: until the SUBACK is here, what is published may pass us by, so nobody is told to start.
- A connection that ends soon does not reset the back-off: two gateways with one client id, or a broker that refuses us
  only after the CONNACK, must not make a storm of connects. Mosquitto 2.0 does not say that another client took the
  session, it just closes: after a few such ends in a row we take it for that. A reset or silence is the network.
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
import ssl
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.log import Conditions
from gateway.mqtt.errors import refusal, sentence
from gateway.mqtt.reader import FastReader, MalformedPacketError, PahoReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.core.entry import Entry
    from gateway.core.model import MqttServer


log = logging.getLogger(__name__)

BATCH = 2_048  # messages read in one turn of the loop, so that no broker starves the others
CONNECT_SECONDS = 10.0  # to dial, and again for each answer: some peers accept TCP and never say a word
LOST_BACKOFF = (0.2, 30.0)  # first and longest, seconds
REFUSED_BACKOFF = (1.0, 60.0)
TAKEN_OVER_BACKOFF = (60.0, 60.0)
STEADY_SECONDS = 60.0  # a connection that lasted longer was a good one: the back-off starts anew
SUSPICIOUS = 6  # closings in a row
RETRY_DENIED_SECONDS = 60.0
BROKEN_PROTOCOL = "Protocol error"  # paho's word for it
RETAIN_HANDLING = {"always": 0, "once": 1, "never": 2}  # MQTT 5.0 section 3.8.3.1


class Link(StrEnum):
    """Where a connection stands."""

    DOWN = "down"
    CONNECTING = "dialling"
    HANDSHAKE = "greeting"  # CONNECT is sent; CONNACK, or the answer to our subscriptions, is not yet here
    UP = "up"


class MqttSource:
    """Reads from one broker.

    Args:
        server: from the contract.
        address: host and port of this installation.
        subscriptions: filter -> QoS.
        stream_of: topic -> name of the stream it belongs to.
        payload_limit: bytes; longer payloads are cut.
        property_streams: names of the streams whose readings carry their MQTT 5 properties.
        receive_maximum: how many unacknowledged messages the broker may have under way.
        credentials: user name and password, or None.
        tls: context to wrap the connection in, or None for plain TCP.
        former: filters that earlier runs subscribed to and the broker may still have for us.
        note: called with all filters that the broker may have for us, before it gets more and after it has fewer.
        retained: when to ask for retained messages; MQTT 3.1.1 brokers send them at every connect all the same.
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
        property_streams: Collection[str] = (),
        credentials: tuple[str, str | None] | None = None,
        tls: ssl.SSLContext | None = None,
        former: Iterable[str] = (),
        note: Callable[[frozenset[str]], None] = lambda _filters: None,
        retained: Literal["once", "always", "never"] = "once",
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
        self._session_filters = frozenset(former)
        self._note = note
        self._retain_handling = RETAIN_HANDLING[retained]
        self._stream_of = stream_of
        self._payload_limit = payload_limit
        self._keeping = property_streams
        self._is_fast = is_fast
        self._is_reading = True
        self._connect_seconds = connect_seconds
        self._dialler: threading.Thread | None = None
        self._dial_error = ""
        self._conditions = Conditions()  # why the connection is down
        self._retry_at = 0.0  # when to dial, or to subscribe again to what was denied; monotonic seconds
        self._backoff_seconds = 0.0
        self._connected_at = 0.0
        self._closings = 0  # short connections in a row that the broker closed
        self._pending_subscribe: dict[int, list[str]] = {}
        self._pending_unsubscribe: dict[int, list[str]] = {}
        self._client = self._make_client(address, receive_maximum, credentials, tls)

    # --- what the bridge calls ---------------------------------------------------------------------------------

    @property
    def fileno(self) -> int:
        """The socket to wait on, or -1."""
        sock = None if self.link in {Link.DOWN, Link.CONNECTING} else self._client.socket()
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
        if self.link == Link.CONNECTING:
            return now + 0.02
        if self._is_reading and self.has_buffered_tls_data:
            return now
        seconds = self._connect_seconds if self.link == Link.HANDSHAKE else float("inf")
        return now + min(seconds, self._client.keepalive or seconds) / 4

    @property
    def has_buffered_tls_data(self) -> bool:
        """True when TLS has decrypted bytes that nobody has read: the socket itself is then silent about them."""
        sock = self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def read(self) -> list[Entry]:
        """Read what the socket holds, up to a batch.

        Returns:
            Readings in the order they came.
        """
        client, seen = self._client, -1
        while (
            self.fileno >= 0
            and len(client.arrived) < BATCH
            and (seen < len(client.arrived) or self.has_buffered_tls_data)
        ):
            seen = len(client.arrived)
            self._guarded(client.loop_read)
            if client.is_drained:
                break
        arrived, client.arrived = client.arrived, []
        return arrived

    def flush(self) -> None:
        """Send what is queued, acknowledgements above all, as far as the socket takes it."""
        if self.fileno < 0:
            return
        self._client.send_acknowledgements()
        if self._client.want_write():
            self._guarded(self._client.loop_write)

    def maintain(self, now: float, *, is_reading: bool) -> None:
        """Keep the connection alive, or get it back.

        Args:
            now: monotonic seconds.
            is_reading: False while the spool is full and nothing is read.
        """
        self._is_reading = is_reading
        if self.link == Link.DOWN:
            if now >= self._retry_at:
                self._dial()
        elif self.link == Link.CONNECTING:
            self._finish_dialling(now)
        elif self.fileno < 0:  # paho closed it and told nobody
            self._close(now, "connection lost")
        elif not is_reading:
            self._wait_unread(now)
        elif self.link == Link.HANDSHAKE:
            if now - self._client.last_received_at >= self._connect_seconds:
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
            self._client.disconnect_gracefully(timeout_seconds)
        self.link = Link.DOWN

    # --- staying connected -----------------------------------------------------------------------------------------

    def _keep_alive(self, now: float) -> None:
        interval = self._client.keepalive
        if interval and now - self._client.last_received_at >= 1.5 * interval:
            self._close(now, f"the broker has been silent for {1.5 * interval:g} s: it hangs, or the network is cut")
        elif interval:
            self._client.ping_every(interval / 2, now)

    def _wait_unread(self, now: float) -> None:
        """Keep a connection that we do not read from; only the socket itself can tell then that it is broken."""
        self._client.reset_keep_alive(now)
        if interval := self._client.keepalive:
            self._client.ping_every(interval / 2, now)
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
            self._keeping,
            callback_api_version=CallbackAPIVersion.VERSION2,
            client_id=server.client_id,
            clean_session=None if is_v5 else server.clean_session,
            protocol=paho.MQTTv5 if is_v5 else paho.MQTTv311,
        )
        client.connect_timeout = self._connect_seconds
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
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
        self.link = Link.CONNECTING
        self._dialler = threading.Thread(target=self._reconnect, name=f"dial {self.name}", daemon=True)
        self._dialler.start()

    def _reconnect(self) -> None:
        """Dial; runs in the dialler's thread, which owns the client until it ends."""
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
            host, port = self._address
            self._dial_error = f"cannot connect to {host}:{port}: {sentence(error, host, port)}"
        except Exception as error:  # noqa: BLE001 - a thread that dies tells nobody
            self._dial_error = f"the MQTT client failed: {error!r}"

    def _finish_dialling(self, now: float) -> None:
        if self._dialler and self._dialler.is_alive():
            return
        self._dialler = None
        if self._dial_error:
            self._close(now, self._dial_error)
        else:
            self.link = Link.HANDSHAKE

    def _unanswered(self) -> str:
        if self._pending_subscribe:
            return "the broker accepted us but does not answer our subscriptions"
        return "the broker accepted the connection but sent no CONNACK; is this an MQTT port, and not one for TLS?"

    def _close(self, now: float, detail: str, backoff: tuple[float, float] = LOST_BACKOFF, closings: int = 0) -> None:
        """Give the connection up and set the time of the next try."""
        if self.link != Link.DOWN and self._conditions.begins(detail):
            log.warning("MQTT connection is down", extra={"server": self.name, "detail": detail})
            self._conditions.end(but=[detail])
        self.link, self.detail = Link.DOWN, detail
        self._client._sock_close()  # noqa: SLF001 - paho's public ways of closing all want a living connection
        self._pending_subscribe.clear()
        self._pending_unsubscribe.clear()
        if self._connected_at:
            self._backoff_seconds = self._backoff_seconds if self._is_short(now) else 0.0
            self._connected_at = 0.0
        self._closings = closings
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
            self._close(time.monotonic(), refusal(str(reason)), REFUSED_BACKOFF)
            return
        self._connected_at = time.monotonic()
        self._conditions.end()
        self.connects += 1
        log.info("connected", extra={"server": self.name, "session_present": flags.session_present})
        if not flags.session_present:
            self._start_session()
        self.denied = []
        self._hold(self._session_filters | self._subscriptions.keys())
        self._subscribe(list(self._subscriptions))
        self._unsubscribe(sorted(self._session_filters - self._subscriptions.keys()))

    def _start_session(self) -> None:
        if self._session_filters and not self._server.clean_session:
            self.sessions_lost += 1
            log.warning("the broker lost our session: what it held for us is gone", extra={"server": self.name})
        self._session_filters = frozenset()

    def _hold(self, filters: frozenset[str]) -> None:
        """Note what the broker may have subscribed for us."""
        self._session_filters = filters
        self._note(filters)

    def _subscribe(self, filters: list[str]) -> None:
        self._retry_at = time.monotonic() + RETRY_DENIED_SECONDS
        if not filters:
            self.link, self.detail = Link.UP, ""
            return
        wanted = [(name, self._subscriptions[name]) for name in filters]
        if self._server.version == "5.0":
            options = [(name, SubscribeOptions(qos, retainHandling=self._retain_handling)) for name, qos in wanted]
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

    def _unsubscribe(self, filters: list[str]) -> None:
        if filters:
            _, packet_id = self._client.unsubscribe(filters)
            if packet_id is not None:
                self._pending_unsubscribe[packet_id] = filters

    def _on_unsubscribe(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        filters = self._pending_unsubscribe.pop(packet_id, None)
        if filters is None:
            return
        if reasons and len(reasons) != len(filters):  # MQTT 3.1.1 knows no codes here
            raise MalformedPacketError(f"it answers {len(filters)} ends of subscriptions with {len(reasons)} codes")
        kept = {name for name, reason in zip(filters, reasons, strict=False) if reason.is_failure}
        gone = [name for name in filters if name not in kept]
        if gone:
            told = {"server": self.name, "filters": ", ".join(gone)}
            log.info("unsubscribed from what is no longer asked for", extra=told)
        if kept:
            told = {"server": self.name, "filters": ", ".join(sorted(kept))}
            log.warning("the broker refuses to end subscriptions that nobody wants", extra=told)
        self._hold(self._session_filters.difference(gone))

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
            closings = self._count_closings(str(reason), now)
            is_contended = closings >= SUSPICIOUS
            backoff = TAKEN_OVER_BACKOFF if is_contended else LOST_BACKOFF
            self._close(now, self._loss(str(reason), is_contended=is_contended), backoff, closings)

    def _count_closings(self, reason: str, now: float) -> int:
        """Count the short connections that the broker closed."""
        is_steady = self._connected_at and not self._is_short(now)
        if is_steady or reason == BROKEN_PROTOCOL:
            return 0
        proves_nothing = not self._connected_at or self._client.trouble  # not accepted yet; reset by the network
        return self._closings if proves_nothing else self._closings + 1

    def _loss(self, reason: str, *, is_contended: bool) -> str:
        """Say why a connection broke."""
        if trouble := self._client.trouble:
            detail = f"connection lost: {sentence(trouble)}"
        elif reason == BROKEN_PROTOCOL:
            detail = "the broker sent a packet that breaks the protocol"
        else:
            detail = "the broker closed the connection"
        if not self._connected_at and not isinstance(trouble, ssl.SSLError):
            return f"{detail} before it accepted us; is this a port for MQTT {self._server.version}, and not for TLS?"
        if is_contended:
            return f"{detail} soon after each connect; does another client use the id {self._server.client_id!r}?"
        return detail


def _leave_writing_to_the_loop(_client: paho.Client, _data: Any, _socket: Any) -> None:
    """Take paho's cue that there is something to write; the loop asks `wants_write` anyway, and writes in batches."""
