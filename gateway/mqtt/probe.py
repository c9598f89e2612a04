"""A short connection to an MQTT broker that checks it or listens, and leaves no trace.

`gateway doctor`, `drift`, `init`, `learn`, `record`, `shadow` and `fleet` use it. The client id is random, the session
ends with the connection, and retained messages are not asked for. So the session that the broker keeps for the gateway
is untouched, whether the gateway is connected or not. The publisher of the status gives it a client id and a last will.

One danger is left: a broker may derive client ids from user names (Mosquitto: `use_username_as_clientid`), and a clean
start would delete the gateway's session. So the probe first connects with clean start off; an existing session means
that the id is taken, and the probe ends. The gateway may be disconnected for a moment.

ACLs keyed on client id give other results than the gateway gets.
"""

from __future__ import annotations

import time
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho

from gateway.errors import GatewayError
from gateway.mqtt.broker import Client, in_packets
from gateway.mqtt.errors import CLOSED, refusal
from gateway.text import printable, sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.broker import Broker
    from gateway.signals import Stopping

ANSWER_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 30
STEP_SECONDS = 0.1
EVERYTHING = "#"
UNSUPPORTED_VERSION = "Unsupported protocol version"  # of a CONNACK, in paho's words
RETAINED, NO_RETAINED = 0, 2  # MQTT 5.0 section 3.8.3.1


class ReplacedIdError(GatewayError):
    """The broker replaces client ids, so that another connection would end the gateway's, and its session."""


class BrokerProbe:
    """A connection to a broker under a random client id; GatewayError when the broker does not answer, or refuses.

    With a `client_id` it goes on under that one, and with a `will`, which is a topic and a retained message.
    """

    def __init__(
        self,
        broker: Broker,
        session_expiry: int,
        answer_seconds: float = ANSWER_SECONDS,
        client_id: str = "",
        will: tuple[str, str] | None = None,
    ) -> None:
        self._broker = broker
        self._session_expiry = session_expiry  # seconds, as the gateway's session has it
        self._answer_seconds = answer_seconds
        self._client_id = f"gateway-probe-{token_hex(4)}"  # every broker must accept 23 characters
        self._last_id, self._will = client_id or self._client_id, will
        self._client: Client
        self._connack: tuple[bool, ReasonCode] | None = None  # session present, reason
        self._answers: dict[int, list[ReasonCode]] = {}
        self._takes_retained = False
        self.granted_expiry: int | None = None  # seconds that the broker keeps a session, where it says so
        self.is_version_refused = False  # or seems to be: the broker closed the connection without an answer
        self.is_retained = False  # whether the message that `listen` passes on was retained
        self._message: paho.MQTTMessage | None = None  # that `listen` passes on
        self._take: Callable[[bytes, bytes], None] = lambda _topic, _payload: None

    def __enter__(self) -> Self:
        is_taken = self._connect(is_clean=False)
        self._client.disconnect()
        if is_taken:
            raise ReplacedIdError(
                "The broker has a session for the probe's random client id; going on would delete that session.",
                "Do not let the broker replace client ids (Mosquitto: remove `use_username_as_clientid`).",
            )
        self._client_id = self._last_id
        self._connect(is_clean=True)
        return self

    @property
    def selected_alpn(self) -> str | None:
        """What the broker chose of `tls.alpn`."""
        return self._client.selected_alpn

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()

    def subscribe(self, filters: Mapping[str, int], *, is_retained_wanted: bool = False) -> dict[str, ReasonCode]:
        """Subscribe to filters, each with a QoS, until the connection ends; give the broker's answer to each."""
        self._takes_retained = is_retained_wanted
        retained = RETAINED if is_retained_wanted else NO_RETAINED
        granted: dict[str, ReasonCode] = {}
        for some in in_packets(list(filters)):
            wanted = {name: filters[name] for name in some}
            _, packet_id = self._client.subscribe(self._broker.subscriptions(wanted, retained))
            self._await_answer(packet_id, "The broker accepted the connection but sends no SUBACK.")
            granted |= dict(zip(some, self._answers.pop(packet_id or 0), strict=True))
        return granted

    def unsubscribe(self, filters: Mapping[str, int]) -> None:
        """End subscriptions."""
        for some in in_packets(list(filters)):
            _, packet_id = self._client.unsubscribe(some)
            self._await_answer(packet_id, "The broker sends no UNSUBACK.")

    def publish(self, topic: str, payload: str) -> None:
        """Publish a retained message at QoS 1, and wait until the broker has it."""
        packet_id = self._client.publish(topic, payload, qos=1, retain=True).mid
        self._await_answer(packet_id, "The broker does not acknowledge a message.")
        reason = self._answers.pop(packet_id)[0]
        if reason.is_failure:
            raise GatewayError(
                f"The broker refuses a message: {reason}.", f"Let its ACL grant this user to write {topic}."
            )

    def is_session_kept(self) -> bool:
        """Reconnect to see whether the broker kept the session; then delete it, with all subscriptions."""
        for _ in range(2):
            self._client.disconnect()
            is_kept = self._connect(is_clean=False)
        self._client.disconnect()
        self._connect(is_clean=True)
        return is_kept

    def listen(self, take: Callable[[bytes, bytes], None], seconds: float, stopping: Stopping) -> float:
        """Pass topic and payload of each message to `take` for some seconds, or until stopped; give the seconds."""
        self._take, started = take, time.monotonic()
        while time.monotonic() < started + seconds and not stopping.is_set():
            self._turn()
        return time.monotonic() - started

    def properties(self) -> bytes:
        """Give the MQTT 5 properties of the message that `listen` passes on, as in its packet."""
        given = self._message.properties if self._message else None
        if given is None or given.isEmpty():  # type: ignore[no-untyped-call]  # paho types it not
            return b""
        packed = bytes(given.pack())  # type: ignore[no-untyped-call]  # as above
        return packed[next(place for place, byte in enumerate(packed, start=1) if byte < 0x80) :]  # without the length

    def _connect(self, *, is_clean: bool) -> bool:
        """Connect; True when the broker had a session for the client id."""
        self._connack, self._client = None, self._new_client(is_clean=is_clean)
        host, port = self._broker.host, self._broker.port
        options = self._broker.connect_options(0 if is_clean else self._session_expiry, is_clean=is_clean)
        try:
            self._client.connect(host, port, KEEP_ALIVE_SECONDS, **options)
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA cannot encode
            raise _failed(self._broker.unreachable(error)) from None
        self._wait(lambda: self._connack is not None, "The broker sends no CONNACK; is this an MQTT port?")
        assert self._connack is not None, "waited for above"
        is_known, reason = self._connack
        if reason.is_failure:
            self.is_version_refused = str(reason) == UNSUPPORTED_VERSION
            raise _failed(refusal(str(reason)))
        return is_known

    def _new_client(self, *, is_clean: bool) -> Client:
        # With manual acknowledgements, a session that belongs to another client keeps its messages.
        client = Client(**self._broker.client_options(self._client_id, is_clean=is_clean), manual_ack=True)
        client.on_connect = self._on_connect
        client.on_subscribe = client.on_unsubscribe = self._on_answer
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        if self._will and is_clean:
            client.will_set(*self._will, qos=1, retain=True)
        self._broker.configure(client, self._answer_seconds)
        return client

    def _await_answer(self, packet_id: int | None, message: str) -> None:
        self._wait(lambda: packet_id in self._answers, message)

    def _wait(self, is_here: Callable[[], bool], message: str) -> None:
        until = time.monotonic() + self._answer_seconds
        while not is_here():
            if time.monotonic() > until:
                raise GatewayError(message, "Is the broker overloaded, or is this another server?")
            self._turn()

    def _turn(self) -> None:
        rc = self._client.loop(STEP_SECONDS)
        is_refused = self._connack is not None and self._connack[1].is_failure  # `_connect` raises the reason
        if rc != paho.MQTT_ERR_SUCCESS and not is_refused:
            self.is_version_refused = self._connack is None
            text = self._broker.loss(self._client, CLOSED, is_accepted=self._connack is not None)
            raise _failed(text if "; " in text else f"{text}; see the broker's log for the reason")

    def _on_connect(
        self, _client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, props: Properties | None
    ) -> None:
        self._connack = flags.session_present, reason
        self.granted_expiry = getattr(props, "SessionExpiryInterval", self.granted_expiry)

    def _on_answer(
        self, _client: paho.Client, _data: Any, packet_id: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        self._answers[packet_id] = reasons

    def _on_publish(
        self, _client: paho.Client, _data: Any, packet_id: int, reason: ReasonCode, _props: Properties | None
    ) -> None:
        self._answers[packet_id] = [reason]

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if self._takes_retained or not message.retain:  # at MQTT 3.1.1 the broker sends retained messages anyway
            self._message, self.is_retained = message, message.retain
            self._take(message._topic, bytes(message.payload))  # noqa: SLF001 - `topic` raises on invalid UTF-8


def with_spoken_version(broker: Broker) -> Broker:
    """Give a broker as it is, or with MQTT 3.1.1 if it refuses MQTT 5.0; GatewayError when it does not answer."""
    probe = BrokerProbe(broker, session_expiry=0)
    try:
        with probe:
            return broker
    except GatewayError:
        if not (probe.is_version_refused and broker.is_mqtt5):
            raise
    return with_spoken_version(replace(broker, is_mqtt5=False))


def _failed(text: str) -> GatewayError:
    """Make the sentences of a `cause; fix`."""
    return GatewayError(*map(printable, sentences(text)))
