"""The MQTT end: one source per broker. It connects, subscribes, reads batches of readings and acknowledges them.

paho-mqtt speaks the protocol; this module decides when. One thread owns the client at any time: the bridge's loop or,
while connecting, a thread of its own, because DNS look-ups and TLS handshakes block.

- The session is kept: fixed client id, no clean start, and the contract's session expiry. The source subscribes after
  every connect, whether the broker has the subscriptions or not. It unsubscribes from other filters of a kept session,
  because the broker queues messages for them; the broker does not list them, so the gateway keeps a file.
- It subscribes before it unsubscribes: where old and new filters overlap, a message may come twice, and none is missed.
- Messages published before the SUBACK may be missed, so the link is not reported as up until then.
- A short connection does not reset the back-off: two gateways with one client id, or a broker that refuses only after
  the CONNACK, must not cause a storm of connects. Mosquitto 2.0 closes the connection without a reason when another
  client takes over the session: after several such closes in a row that is assumed. A reset or silence is the network.
- Every connection has its own `AckQueue`. Packet ids are reused after a reconnect, so an acknowledgement for a message
  of an earlier connection is not sent; `core/session.py` says which of these messages the broker may send again.
- Password and certificates are read again before each connect, because they may have been renewed. A connection that
  is up stays: a broker that requires the new ones closes it.
- A message above `payload_limit` is truncated on arrival; the dead letter gets its size and digest.
- The source sends pings, not paho: paho pings after a whole keep-alive interval of silence and waits another for the
  answer; here a ping goes out after half an interval, so a dead link is found after one and a half.
- When reading stops because the spool is full, pings go on. The answers, and perhaps a CONNACK, stay unread: silence
  then says nothing about the link.
"""

from __future__ import annotations

import logging
import math
import random
import select
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gateway.core.entry import Batch
from gateway.errors import GatewayError
from gateway.log import Conditions
from gateway.mqtt.broker import in_packets
from gateway.mqtt.errors import CLOSED, refusal
from gateway.mqtt.reader import BUFFERING, FastReader, MalformedPacketError, PahoReader
from gateway.mqtt.websocket import WebSocketClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import paho.mqtt.client as paho
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.core.model import MqttServer
    from gateway.core.session import Session
    from gateway.mqtt.broker import Broker
    from gateway.mqtt.reader import Intake
    from gateway.mqtt.routing import Routing


log = logging.getLogger(__name__)

BATCH = 4_096  # messages read in one turn of the loop: more cost less, half of Receive Maximum keep both ends busy
CONNECT_SECONDS = 10.0  # for TCP and TLS, and again for each answer: some peers accept TCP and send nothing
LOST_BACKOFF = (0.2, 30.0)  # first and longest, seconds
REFUSED_BACKOFF = (1.0, 60.0)
TAKEN_OVER_BACKOFF = (60.0, 60.0)
RENEWED = "the settings of the server, or its login, have changed"
RENEW_SECONDS = 5.0  # until a broker that is left must have taken all acknowledgements
PING_SECONDS = 60  # the keep-alive interval where the contract or the broker sets 0, which turns MQTT's own off
STEADY_SECONDS = 60.0  # a connection that lasted longer resets the back-off
SUSPICIOUS = 6  # short connections in a row
RETRY_DENIED_SECONDS = 60.0
BROKEN_PROTOCOL = "Protocol error"  # paho's word for it
RETAIN_HANDLING = {"always": 0, "once": 1, "never": 2}  # MQTT 5.0 section 3.8.3.1


class Link(StrEnum):
    """The state of a connection, in the words of `/readyz`."""

    DOWN = "down"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"  # CONNECT is sent; CONNACK or SUBACK is missing
    UP = "up"


_DOWN, _CONNECTING, _HANDSHAKE, _ = Link  # in each turn: CPython 3.11 calls Python for `Link.DOWN`, and to hash it
_CLOSED = (_DOWN, _CONNECTING)


class Subscriptions(NamedTuple):
    """What to subscribe to, and what the broker may have subscribed already.

    `on_filters_changed` gets all filters that the broker may have, before SUBSCRIBE and after UNSUBACK.
    """

    filters: Mapping[str, int]  # filter -> QoS
    retained: Literal["once", "always", "never"] = "once"  # MQTT 3.1.1 brokers send them at every connect regardless
    known_filters: Iterable[str] = ()  # of earlier runs
    on_filters_changed: Callable[[frozenset[str]], None] = lambda _filters: None


class MqttSource:
    """Reads from one broker.

    `read_broker` reads its secrets as they are now; it is called before each connect, from another thread, and raises
    GatewayError when a file cannot be used.
    """

    def __init__(
        self,
        server: MqttServer,
        read_broker: Callable[[], Broker],
        subscriptions: Subscriptions,
        intake: Intake,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.name = server.name
        self.link = Link.DOWN
        self.detail = "not connected yet"
        self.denied: list[str] = []
        self.lost_at = 0.0  # end of the last connection, or try, monotonic seconds
        self.connects = 0
        self.sessions_lost = 0
        self.on_session: Callable[[bool], None] = lambda _is_present: None  # called before SUBSCRIBE
        self._server = server
        self._read_broker = read_broker
        self._broker = read_broker()
        self._subscriptions = subscriptions
        self._session_filters = frozenset(subscriptions.known_filters)
        self._notes_unsuback = True  # False after a reload
        self._is_reading = True
        self._connect_seconds = connect_seconds
        self._connecting: threading.Thread | None = None
        self._connect_error = ""
        self._must_renew = False  # the connection that is being made is of former settings
        self._conditions = Conditions()  # why the connection is down
        self._retry_at = 0.0  # when to connect, or to subscribe to denied filters again; monotonic seconds
        self._backoff_seconds = 0.0
        self._connected_at = 0.0
        self._closings = 0  # short connections in a row that the broker closed
        self._pending_subscribe: dict[int, dict[str, int]] = {}
        self._pending_unsubscribe: dict[int, list[str]] = {}
        self._receive_maximum = intake.receive_maximum
        self._client = self._make_client(intake)

    # --- what the bridge calls ---------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session at the broker."""
        return self._client.session

    @property
    def session_key(self) -> str:
        """The name of the session in the spool's file."""
        return f"{self._server.client_id}@{self.name}"

    @property
    def is_down(self) -> bool:
        """True while there is no connection, and none is tried."""
        return self.link == _DOWN

    @property
    def fileno(self) -> int:
        """The socket to wait on, or -1."""
        sock = None if self.link in _CLOSED else self._client.socket()
        return -1 if sock is None else int(sock.fileno())

    @property
    def wants_write(self) -> bool:
        """True when packets wait for the socket to take them."""
        return self._client.want_write()

    @property
    def next_action_seconds(self) -> float:
        """Monotonic time at which `maintain` must be called, even if the socket stays silent."""
        now = time.monotonic()
        if self.link == _DOWN:
            return self._retry_at
        if self.link == _CONNECTING:
            return now + 0.02
        if self._is_reading and self.has_buffered_data:
            return now
        seconds = self._connect_seconds if self.link == _HANDSHAKE else math.inf
        return now + min(seconds, self._ping_seconds) / 4

    @property
    def has_buffered_data(self) -> bool:
        """True when TLS or WebSocket holds bytes: polling the socket does not show them."""
        sock = self._client.socket()
        return isinstance(sock, BUFFERING) and sock.pending() > 0

    def read(self) -> Batch:
        """Read what the socket holds, up to a batch, in the order of arrival."""
        client, seen = self._client, -1
        while (
            self.fileno >= 0 and len(client.arrived) < BATCH and (seen < len(client.arrived) or self.has_buffered_data)
        ):
            seen = len(client.arrived)
            self._guarded(client.loop_read)
            if client.is_drained:
                break
        arrived, client.arrived = client.arrived, Batch()
        return arrived

    def flush(self) -> None:
        """Send acknowledgements and what else is queued, as far as the socket accepts it."""
        if self.fileno < 0:
            return
        self._guarded(self._client.send_acknowledgements)
        if self._client.connection.needs_ping:
            self._client.ping()
        if self._client.want_write():
            self._guarded(self._client.loop_write)

    def maintain(self, now: float, *, is_reading: bool) -> None:
        """Keep the connection alive, or restore it; `is_reading` is False while the spool is full."""
        self._is_reading = is_reading
        if self.link == _DOWN:
            if now >= self._retry_at:
                self._connect()
        elif self.link == _CONNECTING:
            self._finish_connecting(now)
        elif self.fileno < 0:  # paho closed it without a callback
            self._close(now, "connection lost")
        elif not is_reading:
            self._wait_unread(now)
        elif self.link == _HANDSHAKE:
            if now - self._client.last_received_at >= self._connect_seconds:
                self._close(now, self._unanswered())
        else:
            self._keep_alive(now)
            if self.denied and now >= self._retry_at:
                self._subscribe(self.denied)

    @property
    def has_former_filters(self) -> bool:
        """True while the broker may have filters that are no longer wanted."""
        return not self._session_filters <= self._subscriptions.filters.keys()

    @property
    def is_subscribing(self) -> bool:
        """True while an answer to SUBSCRIBE is missing."""
        return bool(self._pending_subscribe)

    def prepare(self, filters: Iterable[str]) -> None:
        """Note filters that are subscribed soon; any thread may call it, so that `change` need not wait for a disk."""
        self._subscriptions.on_filters_changed(self._session_filters.union(filters))

    def change(self, routing: Routing) -> None:
        """Change streams and subscriptions; one that is not connected subscribes when it is."""
        former, wanted = self._subscriptions.filters, routing.filters
        self._subscriptions = self._subscriptions._replace(filters=wanted)
        self._client.route(routing.stream_of, routing.property_streams)
        self._notes_unsuback = False
        if not self._connected_at or former == wanted:
            return
        self.denied = [name for name in self.denied if name in wanted]
        self._set_session_filters(self._session_filters | wanted.keys())
        if new := [name for name, qos in wanted.items() if former.get(name) != qos]:
            self._subscribe(new)
        self._unsubscribe(sorted(former.keys() - wanted.keys()))

    @property
    def broker(self) -> Broker:
        """How the present connection was made, or the last one."""
        return self._broker

    def renew(self, read_broker: Callable[[], Broker], *, reconnects: bool) -> None:
        """Reach the broker in another way from the next connection on, or from now on; its session stays."""
        self._read_broker = read_broker
        if not reconnects:
            return
        if self.fileno >= 0:
            self.link = Link.CONNECTING  # a thread of its own, because the broker may take its time
            self._client.begin_disconnect()
            finish = self._client.finish_disconnect
            self._connecting = threading.Thread(target=finish, args=(RENEW_SECONDS,), daemon=True)
            self._connecting.start()
        self._must_renew = self.link == Link.CONNECTING
        self._backoff_seconds = self._retry_at = 0.0

    def close(self, timeout_seconds: float) -> None:
        """Send what is queued, for so long at most, and disconnect; the broker keeps the session."""
        if self._connecting:
            self._connecting.join(timeout_seconds)
        if self.fileno >= 0:
            self.link = Link.DOWN  # `_on_disconnect` then does nothing
            self._client.begin_disconnect()
            self._client.finish_disconnect(timeout_seconds)
        self._client.connection.close(self.session)
        self.link = Link.DOWN
        if not self._notes_unsuback:
            self._subscriptions.on_filters_changed(self._session_filters)

    # --- staying connected -----------------------------------------------------------------------------------------

    @property
    def _ping_seconds(self) -> int:
        return self._client.keepalive or PING_SECONDS

    def _keep_alive(self, now: float) -> None:
        silent_seconds = 1.5 * self._ping_seconds
        if now - self._client.last_received_at >= silent_seconds:
            self._close(now, f"no packet from the broker for {silent_seconds:g} s; it hangs, or the network is down")
        else:
            self._client.ping_every(self._ping_seconds / 2, now)

    def _wait_unread(self, now: float) -> None:
        """Keep a connection alive without reading from it; only the socket's state shows then that it is broken."""
        self._client.reset_keep_alive(now)
        self._client.ping_every(self._ping_seconds / 2, now)
        poller = select.poll()
        poller.register(self.fileno, 0)  # only POLLERR and POLLHUP
        if poller.poll(0):
            self._close(now, "connection lost")

    # --- connecting ----------------------------------------------------------------------------------------------

    def _make_client(self, intake: Intake) -> PahoReader:
        server, broker = self._server, self._broker
        reader = FastReader if intake.is_fast else PahoReader
        client = reader(intake, **broker.client_options(server.client_id, is_clean=server.clean_session))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_socket_register_write = _leave_writing_to_the_loop
        broker.configure(client, self._connect_seconds)
        if will := server.last_will:
            client.will_set(will.topic, will.message, will.qos, will.retain)
        self._address(client)
        return client

    def _address(self, client: FastReader | PahoReader) -> None:
        server, broker = self._server, self._broker
        options = broker.connect_options(
            server.session_expiry, is_clean=server.clean_session, receive_maximum=self._receive_maximum
        )
        client.connect_async(broker.host, broker.port, server.keep_alive, **options)

    def _connect(self) -> None:
        self._connect_error, self._must_renew = "", False
        self.link = Link.CONNECTING
        self._connecting = threading.Thread(target=self._reconnect, name=f"connect {self.name}", daemon=True)
        self._connecting.start()

    def _reconnect(self) -> None:
        """Connect, in a thread of its own, which owns the client until it ends."""
        try:
            self._broker = self._read_broker()
            self._broker.log_in(self._client)
            self._address(self._client)
            self._client.reconnect()
        except GatewayError as error:
            self._connect_error = str(error)
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
            self._connect_error = self._broker.unreachable(error)
        except Exception as error:  # noqa: BLE001 - an exception would end the thread unseen
            self._connect_error = f"the MQTT client failed: {error!r}"

    def _finish_connecting(self, now: float) -> None:
        if self._connecting and self._connecting.is_alive():
            return
        self._connecting = None
        if self._connect_error or self._must_renew:
            self._close(now, self._connect_error or RENEWED)
            if self._must_renew:
                self._backoff_seconds = self._retry_at = 0.0
        else:
            self.link = Link.HANDSHAKE

    def _unanswered(self) -> str:
        if self._pending_subscribe:
            return "the broker accepted the connection but sent no SUBACK; see the broker's log"
        return "the broker accepted the connection but sent no CONNACK; is this an MQTT port without TLS?"

    def _close(self, now: float, detail: str, backoff: tuple[float, float] = LOST_BACKOFF, closings: int = 0) -> None:
        if self.link != Link.DOWN and self._conditions.begins(detail):
            log.warning("The connection to the MQTT broker is down.", extra={"server": self.name, "detail": detail})
            self._conditions.end(but=[detail])
        self.link, self.detail = Link.DOWN, detail
        self._client._sock_close()  # noqa: SLF001 - paho's public methods need an open connection
        self._client.connection.close(self.session)
        self._pending_subscribe.clear()
        self._pending_unsubscribe.clear()
        if self._connected_at:
            self._backoff_seconds = self._backoff_seconds if self._is_short(now) else 0.0
            self._connected_at = 0.0
        self.lost_at = time.monotonic()
        self._closings = closings
        first, longest = backoff
        self._backoff_seconds = min(max(first, 2 * self._backoff_seconds), longest)
        self._retry_at = now + self._backoff_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter needs no cryptography

    def _is_short(self, now: float) -> bool:
        return now - self._connected_at < STEADY_SECONDS

    def _guarded(self, step: Callable[[], Any]) -> None:
        """Run one step of paho; an exception closes this connection and nothing else."""
        try:
            step()
        except MalformedPacketError as error:
            self._close(time.monotonic(), f"protocol violation: {error}")
        except Exception as error:
            log.exception("The MQTT client failed. The gateway connects again.", extra={"server": self.name})
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
        log.info("Connected to the MQTT broker.", extra={"server": self.name, "session_present": flags.session_present})
        self.on_session(flags.session_present)
        if not flags.session_present:
            self._start_session()
        self.denied = []
        self._set_session_filters(self._session_filters | self._subscriptions.filters.keys())
        self._subscribe(list(self._subscriptions.filters))
        self._unsubscribe(sorted(self._session_filters - self._subscriptions.filters.keys()))
        self._notes_unsuback = True

    def _start_session(self) -> None:
        if self._session_filters and not self._server.clean_session:
            self.sessions_lost += 1
            detail = "messages that it had queued for this client, if any, are lost"
            log.warning("The MQTT broker no longer has the session.", extra={"server": self.name, "detail": detail})
        self._session_filters = frozenset()

    def _set_session_filters(self, filters: frozenset[str]) -> None:
        self._session_filters = filters
        self._subscriptions.on_filters_changed(filters)

    def _subscribe(self, filters: list[str]) -> None:
        self._retry_at = time.monotonic() + RETRY_DENIED_SECONDS
        if not filters:
            self.link, self.detail = Link.UP, ""
            return
        retained = RETAIN_HANDLING[self._subscriptions.retained]
        for some in in_packets(filters):
            wanted = {name: self._subscriptions.filters[name] for name in some}
            _, packet_id = self._client.subscribe(self._broker.subscriptions(wanted, retained))
            if packet_id is not None:
                self._pending_subscribe[packet_id] = wanted

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        filters = self._pending_subscribe.pop(packet_id, None)
        if filters is None:
            return
        if len(reasons) != len(filters):
            raise MalformedPacketError(f"a SUBACK has {len(reasons)} reason codes for {len(filters)} filters")
        granted = dict(zip(filters, reasons, strict=True))
        wanted = self._subscriptions.filters
        denied = {name: reason for name, reason in granted.items() if reason.is_failure and name in wanted}
        names = ", ".join(f"{name} ({reason})" for name, reason in denied.items())
        before = [name for name in self.denied if name not in granted]
        if denied and [*before, *denied] != self.denied:
            log.error("The MQTT broker denied a subscription.", extra={"server": self.name, "filters": names})
        self.link, self.denied = self.link if self._pending_subscribe else Link.UP, [*before, *denied]
        if denied or not before:
            self.detail = f"the broker denied the subscription {names}; grant read in its ACL" if denied else ""
        lowered = [name for name, reason in granted.items() if reason.value < filters[name]]
        if lowered:
            least = min(reason.value for reason in granted.values())
            detail = f"the broker delivers {', '.join(lowered)} with QoS {least} only; grant the QoS of the contract"
            log.warning(
                "The MQTT broker granted a subscription with a lower QoS.",
                extra={"server": self.name, "detail": detail},
            )

    def _unsubscribe(self, filters: list[str]) -> None:
        for some in in_packets(filters):
            _, packet_id = self._client.unsubscribe(some)
            if packet_id is not None:
                self._pending_unsubscribe[packet_id] = some

    def _on_unsubscribe(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        filters = self._pending_unsubscribe.pop(packet_id, None)
        if filters is None:
            return
        if reasons and len(reasons) != len(filters):  # at MQTT 3.1.1 there are none
            raise MalformedPacketError(f"an UNSUBACK has {len(reasons)} reason codes for {len(filters)} filters")
        kept = {name for name, reason in zip(filters, reasons, strict=False) if reason.is_failure}
        gone = [name for name in filters if name not in kept]
        if gone:
            log.info(
                "Unsubscribed from filters that are no longer wanted.",
                extra={"server": self.name, "filters": ", ".join(gone)},
            )
        if kept:
            text = "The MQTT broker refused an UNSUBSCRIBE and may go on sending messages of these filters."
            log.warning(text, extra={"server": self.name, "filters": ", ".join(sorted(kept))})
        self._session_filters = self._session_filters.difference({*gone} - self._subscriptions.filters.keys())
        if self._notes_unsuback:
            self._subscriptions.on_filters_changed(self._session_filters)

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _props: Properties | None,
    ) -> None:
        if self.link == Link.DOWN:
            return  # closed by the gateway
        now = time.monotonic()
        if flags.is_disconnect_packet_from_server and reason == "Session taken over":
            fix = "give each gateway its own clientId, and restart"
            detail = f"another client uses the id {self._server.client_id!r}; {fix}"
            self._close(now, detail, TAKEN_OVER_BACKOFF)
        elif flags.is_disconnect_packet_from_server:
            self._close(now, f"the broker closed the connection: {reason}")
        else:
            closings = self._count_closings(str(reason), now)
            is_contended = closings >= SUSPICIOUS
            backoff = TAKEN_OVER_BACKOFF if is_contended else LOST_BACKOFF
            self._close(now, self._loss(str(reason), is_contended=is_contended), backoff, closings)

    def _count_closings(self, reason: str, now: float) -> int:
        """Count the short connections in a row that the broker closed."""
        is_steady = self._connected_at and not self._is_short(now)
        if is_steady or reason == BROKEN_PROTOCOL:
            return 0
        error = self._client.socket_error
        is_broken = error is not None and not isinstance(error, WebSocketClosedError)  # by the network
        return self._closings if is_broken or not self._connected_at else self._closings + 1

    def _loss(self, reason: str, *, is_contended: bool) -> str:
        is_malformed = reason == BROKEN_PROTOCOL
        what = "protocol violation: the broker sent a malformed packet" if is_malformed else CLOSED
        detail = self._broker.loss(self._client, what, is_accepted=bool(self._connected_at))
        if is_contended and self._connected_at:
            return f"{detail} soon after each connect; does another client use the id {self._server.client_id!r}?"
        return detail


def _leave_writing_to_the_loop(_client: paho.Client, _data: Any, _socket: Any) -> None:
    """Ignore paho's notice that there is something to write: the loop checks `wants_write`, and writes in batches."""
