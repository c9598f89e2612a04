"""Publishes to the brokers what the simulator makes, and counts what they acknowledge.

All devices of a server share one connection. Paho's own thread does the network here, because the order of
acknowledgements does not matter. The number of unacknowledged messages is bounded, so that a slow broker slows the
simulation down instead of filling the memory.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.errors import GatewayError
from gateway.mqtt.broker import Client
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import paho.mqtt.client as paho
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.broker import Broker
    from gateway.operate.simulate.simulator import Publication
    from gateway.signals import Stopping

MAX_UNACKNOWLEDGED = 1_000
CONNECT_SECONDS = 10.0
SETTLE_SECONDS = 30.0  # without a single acknowledgement
KEEP_ALIVE_SECONDS = 30
NO_SUBSCRIBERS = 16  # a success of MQTT 5.0, section 3.4.2.1


class Publisher:
    """Connections to the brokers; a context manager.

    GatewayError when a broker cannot be reached, refuses the connection, or acknowledges nothing for `SETTLE_SECONDS`.
    """

    def __init__(self, brokers: Iterable[Broker]) -> None:
        self.sent: Counter[tuple[str, str]] = Counter()  # (stream, defect); the defect of a valid reading is ""
        self.acknowledged = 0
        self.refusals: Counter[str] = Counter()  # by reason
        self._brokers = {broker.name: broker for broker in brokers}
        self._clients: dict[str, Client] = {}
        self._refused_at_connect: dict[str, str] = {}
        self._changed = threading.Condition()

    @property
    def unacknowledged(self) -> int:
        """How many publications the brokers have not answered yet."""
        return self.sent.total() - self.acknowledged - self.refusals.total()

    def __enter__(self) -> Self:
        try:
            for broker in self._brokers.values():
                self._clients[broker.name] = self._client(broker)
                self._connect(broker)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.disconnect()
            client.loop_stop()

    def publish(self, publication: Publication, qos: int) -> None:
        """Publish with this QoS, not the publication's; wait while too many messages are unacknowledged."""
        self._wait_for(MAX_UNACKNOWLEDGED - 1)
        with self._changed:
            self.sent[publication.stream, publication.kind] += 1
        properties = _properties(publication) if self._brokers[publication.server].is_mqtt5 else None
        client = self._clients[publication.server]
        client.publish(publication.topic, publication.payload, qos, properties=properties)

    def settle(self) -> None:
        """Wait until everything is acknowledged or refused."""
        self._wait_for(0)

    def _wait_for(self, unacknowledged: int) -> None:
        with self._changed:
            while (left := self.unacknowledged) > unacknowledged:
                if not self._changed.wait(SETTLE_SECONDS) and self.unacknowledged == left:
                    message = f"No broker acknowledged anything for {SETTLE_SECONDS:g} s; {left} messages are pending."
                    raise GatewayError(message, "Check that the brokers run and have room on their disks.")

    def _client(self, broker: Broker) -> Client:
        client = Client(**broker.client_options(), userdata=broker.name)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(MAX_UNACKNOWLEDGED)
        client.reconnect_delay_set(1, 5)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        broker.configure(client, CONNECT_SECONDS)
        return client

    def _connect(self, broker: Broker) -> None:
        client, address = self._clients[broker.name], f"{broker.name} at {broker.address}"
        try:
            client.connect(broker.host, broker.port, KEEP_ALIVE_SECONDS)
        except OSError as error:  # also ssl.SSLError and timeouts
            raise GatewayError(
                f"Cannot connect to broker {printable(f'{address}: {error}')}.",
                f"Start it, or name another one with --server {broker.name}=HOST:PORT.",
            ) from None
        client.loop_start()
        with self._changed:
            is_answered = self._changed.wait_for(
                lambda: client.is_connected() or broker.name in self._refused_at_connect, CONNECT_SECONDS
            )
        if not is_answered or broker.name in self._refused_at_connect:
            reason = self._refused_at_connect.get(broker.name, "no answer")
            raise GatewayError(
                f"Broker {printable(address)} refused the connection: {reason}.",
                "Name a user with the right to publish: --username NAME --password-file FILE.",
            )

    def _on_connect(self, _client: paho.Client, name: str, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            if reason.is_failure:
                self._refused_at_connect[name] = printable(str(reason))
            self._changed.notify_all()

    def _on_publish(self, _client: paho.Client, _name: str, _mid: int, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            if reason.is_failure and reason.value != NO_SUBSCRIBERS:
                self.refusals[printable(str(reason))] += 1
            else:
                self.acknowledged += 1
            self._changed.notify_all()


def _properties(publication: Publication) -> Properties | None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no type for it
    if publication.properties:
        properties.UserProperty = list(publication.properties.items())
    if publication.content_type:
        properties.ContentType = publication.content_type
    if publication.correlation:
        properties.CorrelationData = publication.correlation
    return None if properties.isEmpty() else properties  # type: ignore[no-untyped-call]  # as above


def publish_all(  # noqa: PLR0913 - each option of the command, all by name
    publications: Iterable[Publication],
    publisher: Publisher,
    *,
    rate: float,
    stopping: Stopping,
    count: int | None = None,
    qos: int | None = None,
) -> None:
    """Publish at a steady rate until the count is reached or the flag is set.

    A rate of 0 is as fast as the brokers acknowledge; without a count there is no limit; without a QoS it is each
    stream's own.
    """
    started = time.monotonic()
    for number, publication in enumerate(publications):
        if number == count or stopping.is_set():
            return
        ahead_seconds = started + number / rate - time.monotonic() if rate else 0.0
        if ahead_seconds > 0.005 and stopping.wait(ahead_seconds):
            return
        publisher.publish(publication, publication.qos if qos is None else qos)


def summary(sent: Mapping[tuple[str, str], int]) -> str:
    """Write a line per stream: how many valid and broken readings it sent, and how many kinds of defect."""
    lines = []
    for stream in dict.fromkeys(stream for stream, _ in sorted(sent)):
        broken = {kind: number for (name, kind), number in sent.items() if name == stream and kind}
        kinds = f" ({len(broken)} kinds of defect)" if broken else ""
        lines.append(f"  {stream:<28} {sent.get((stream, ''), 0):>9,} valid {sum(broken.values()):>7,} broken{kinds}")
    return "\n".join(lines)
