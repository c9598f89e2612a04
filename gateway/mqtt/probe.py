"""A stay at an MQTT broker under a client id that nobody knows, which leaves no trace there.

The id is drawn anew each time, the session is clean and ends with the connection, and retained messages are not asked
for. So nothing is taken from the session that the broker keeps for the gateway, whether that is connected or not.

One danger is left: a broker may make client ids out of user names (Mosquitto: `use_username_as_clientid`). A clean
start would then end the gateway's own session. So it knocks first, without a clean start: a session that is already
there cannot be ours, and is left as it was, with all that it holds. The gateway may be cut off for a moment.

A user's rights are what is asked about. An access list that goes by client id grants a stranger other things.
"""

from __future__ import annotations

import time
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import GatewayError
from gateway.mqtt.errors import refusal, sentence
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.broker import Broker
    from gateway.signals import Stopping

ANSWER_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30
STEP_SECONDS = 0.1
RETAINED, NO_RETAINED = 0, 2  # MQTT 5.0 section 3.8.3.1


class BrokerProbe:
    """A stay at a broker; a context manager.

    Args:
        broker: where it is, and who we are to it.
        session_expiry: seconds that the broker keeps the gateway's session.
        answer_seconds: how long to wait for each answer.

    Raises:
        GatewayError: when the broker cannot be reached, refuses us, or takes us for a client that it knows.
    """

    def __init__(self, broker: Broker, session_expiry: int, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._broker = broker
        self._session_expiry = session_expiry
        self._answer_seconds = answer_seconds
        self._client_id = f"gateway-drift-{token_hex(4)}"  # 23 characters is what every broker must take
        self._client: paho.Client
        self._greeting: tuple[bool, ReasonCode] | None = None
        self._answers: dict[int, list[ReasonCode]] = {}
        self._hears_retained = False
        self._take: Callable[[bytes, bytes], None] = lambda _topic, _payload: None

    def __enter__(self) -> Self:
        is_known = self._connect(is_clean=False)
        self._client.disconnect()
        if is_known:
            raise GatewayError(
                "The broker takes us for a client that it knows, so nothing more was asked: it would end its session.",
                "Does it make client ids out of user names? Then ask with a user of its own.",
            )
        self._connect(is_clean=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()

    def subscribe(self, filters: Mapping[str, int], *, is_retained_wanted: bool = False) -> dict[str, ReasonCode]:
        """Subscribe, for as long as the visit lasts.

        Args:
            filters: with the QoS to ask for.
            is_retained_wanted: hear what is retained too.

        Returns:
            What the broker answers to each.

        Raises:
            GatewayError: when it does not answer.
        """
        self._hears_retained = is_retained_wanted
        if self._broker.is_mqtt5:
            retained = RETAINED if is_retained_wanted else NO_RETAINED
            options = [(one, SubscribeOptions(qos, retainHandling=retained)) for one, qos in filters.items()]
            _, packet_id = self._client.subscribe(options)
        else:
            _, packet_id = self._client.subscribe(list(filters.items()))
        self._wait(lambda: packet_id in self._answers, "The broker accepted us but does not answer our subscriptions.")
        return dict(zip(filters, self._answers.pop(packet_id or 0), strict=True))

    def unsubscribe(self, filters: Mapping[str, int]) -> None:
        """End subscriptions.

        Raises:
            GatewayError: when the broker does not answer.
        """
        _, packet_id = self._client.unsubscribe(list(filters))
        self._wait(lambda: packet_id in self._answers, "The broker does not answer the end of our subscriptions.")

    def is_session_kept(self) -> bool:
        """Leave a session behind, come back for it, and end it.

        Returns:
            Whether it was still there. Subscriptions of this visit are gone.

        Raises:
            GatewayError: when the connection is lost.
        """
        for _ in range(2):
            self._client.disconnect()
            is_kept = self._connect(is_clean=False)
        self._client.disconnect()
        self._connect(is_clean=True)
        return is_kept

    def listen(self, take: Callable[[bytes, bytes], None], seconds: float, stopping: Stopping) -> float:
        """Hear what is published.

        Args:
            take: gets the topic and the payload of each message.
            seconds: how long.
            stopping: ends it before its time.

        Returns:
            For how many seconds it was listened.

        Raises:
            GatewayError: when the connection is lost.
        """
        self._take, started = take, time.monotonic()
        while time.monotonic() < started + seconds and not stopping.is_set():
            self._turn()
        return time.monotonic() - started

    def _connect(self, *, is_clean: bool) -> bool:
        """Connect, and tell whether the broker had a session for us."""
        self._greeting, self._client = None, self._made(is_clean=is_clean)
        host, port = self._broker.host, self._broker.port
        try:
            if self._broker.is_mqtt5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types it not
                properties.SessionExpiryInterval = 0 if is_clean else self._session_expiry
                self._client.connect(host, port, KEEP_ALIVE_SECONDS, clean_start=is_clean, properties=properties)
            else:
                self._client.connect(host, port, KEEP_ALIVE_SECONDS)
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
            raise _failed(f"Cannot connect to {host}:{port}: {sentence(error, host, port)}") from None
        self._wait(lambda: self._greeting is not None, "The broker sends no CONNACK; is this a port for MQTT?")
        assert self._greeting is not None, "it was waited for"
        is_known, reason = self._greeting
        if reason.is_failure:
            raise _failed(refusal(str(reason)))
        return is_known

    def _made(self, *, is_clean: bool) -> paho.Client:
        is_mqtt5 = self._broker.is_mqtt5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            clean_session=None if is_mqtt5 else is_clean,
            protocol=paho.MQTTv5 if is_mqtt5 else paho.MQTTv311,
            manual_ack=True,  # should the session be another's, it keeps what it holds
        )
        client.connect_timeout = self._answer_seconds
        client.on_connect = self._on_connect
        client.on_subscribe = client.on_unsubscribe = self._on_answer
        client.on_message = self._on_message
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls:
            client.tls_set_context(self._broker.tls)
        return client

    def _wait(self, is_here: Callable[[], bool], complaint: str) -> None:
        until = time.monotonic() + self._answer_seconds
        while not is_here():
            if time.monotonic() > until:
                raise GatewayError(complaint, "Is it overloaded, or is this another server?")
            self._turn()

    def _turn(self) -> None:
        rc = self._client.loop(STEP_SECONDS)
        is_refused = self._greeting is not None and self._greeting[1].is_failure  # told with its reason
        if rc != paho.MQTT_ERR_SUCCESS and not is_refused:
            raise GatewayError("The broker closed the connection.", "Its log says why.")

    def _on_connect(
        self, _client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        self._greeting = flags.session_present, reason

    def _on_answer(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        self._answers[packet_id] = reasons

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if (
            self._hears_retained or not message.retain
        ):  # MQTT 3.1.1 sends what is retained, and that did not arrive just now
            self._take(message._topic, bytes(message.payload))  # noqa: SLF001 - its public form raises on what is no UTF-8


def _failed(told: str) -> GatewayError:
    """Make two sentences of what the advice says in one: what is wrong, and what to do."""
    fault, _, step = told.partition("; ")
    sentences = (f"{one[0].upper()}{one[1:]}{'' if one.endswith('?') else '.'}" for one in (fault, step) if one)
    return GatewayError(*map(printable, sentences))
