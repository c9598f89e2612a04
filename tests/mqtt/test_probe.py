"""The probe against real brokers; what it leaves behind is in `tests/test_drift.py`."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.certificate import FILES_UNDER_SERVERS
from gateway.core.mqtt_properties import parse
from gateway.errors import GatewayError
from gateway.mqtt.broker import Broker
from gateway.mqtt.probe import EVERYTHING, BrokerProbe
from gateway.signals import StopFlag
from tests.operate.test_drift import OneAnswer
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, hashed_passwords
from tests.stack.ports import HeldPort
from tests.stack.publisher import Publisher

if TYPE_CHECKING:
    from tests.conftest import StartMosquitto
    from tests.stack.mosquitto import Mosquitto

LISTEN_SECONDS = 30.0


@pytest.fixture(params=[True, False], ids=["5.0", "3.1.1"])
def is_mqtt5(request: pytest.FixtureRequest) -> bool:
    """Run the test with each version of MQTT."""
    return bool(request.param)


def broker_at(mosquitto: Mosquitto, *, is_mqtt5: bool = True, username: str = "", password: str = "") -> Broker:
    return Broker("factoryBroker", "127.0.0.1", mosquitto.port, is_mqtt5, username, password)


@pytest.mark.parametrize("is_retained_wanted", [True, False])
def test_listen_gives_messages_and_retained_ones_only_where_they_are_wanted(
    mosquitto: StartMosquitto, *, is_mqtt5: bool, is_retained_wanted: bool
) -> None:
    broker, messages, stop = mosquitto(), list[tuple[bytes, bytes]](), StopFlag()

    def take(topic: bytes, payload: bytes) -> None:
        messages.append((topic, payload))
        if payload == b"live":
            stop.set()

    with Publisher(broker.port) as publisher, BrokerProbe(broker_at(broker, is_mqtt5=is_mqtt5), 60) as probe:
        publisher.publish([("a", b"kept")], 1, retain=True)
        granted = probe.subscribe({EVERYTHING: 0}, is_retained_wanted=is_retained_wanted)
        publisher.publish([("b", b"live")], 1)
        assert probe.listen(take, LISTEN_SECONDS, stop) < LISTEN_SECONDS
    assert not granted[EVERYTHING].is_failure
    assert messages == [*([(b"a", b"kept")] if is_retained_wanted else []), (b"b", b"live")]


def test_unsubscribe_ends_a_subscription(mosquitto: StartMosquitto, *, is_mqtt5: bool) -> None:
    broker, topics, stop = mosquitto(), list[bytes](), StopFlag()

    def take(topic: bytes, _payload: bytes) -> None:
        topics.append(topic)
        stop.set()

    with Publisher(broker.port) as publisher, BrokerProbe(broker_at(broker, is_mqtt5=is_mqtt5), 60) as probe:
        probe.subscribe({"a": 1, "b": 1})
        probe.unsubscribe({"a": 1})
        publisher.publish([("a", b""), ("b", b"")], 1)
        probe.listen(take, LISTEN_SECONDS, stop)
    assert topics == [b"b"]


def test_is_session_kept_tells_a_broker_that_keeps_sessions(mosquitto: StartMosquitto, *, is_mqtt5: bool) -> None:
    broker = broker_at(mosquitto(), is_mqtt5=is_mqtt5)
    with BrokerProbe(broker, 60) as probe:
        assert probe.is_session_kept()
    if is_mqtt5:  # at 3.1.1 a session does not expire
        with BrokerProbe(broker, 0) as probe:
            assert not probe.is_session_kept()


@pytest.mark.parametrize(("connack", "granted"), [(b"\x20\3\0\0\0", None), (b"\x20\x08\0\0\5\x11\0\0\x0e\x10", 3600)])
def test_granted_expiry_is_what_the_broker_says(connack: bytes, granted: int | None) -> None:
    with closing(OneAnswer(b"\1", connack)) as broker, BrokerProbe(Broker("b", "127.0.0.1", broker.port), 60) as probe:
        assert probe.granted_expiry == granted


def test_many_filters_are_subscribed_in_several_packets(mosquitto: StartMosquitto, *, is_mqtt5: bool) -> None:
    filters = {f"site/{number}": number % 2 for number in range(20)}
    with BrokerProbe(broker_at(mosquitto(), is_mqtt5=is_mqtt5), 60) as probe:
        assert {name: reason.value for name, reason in probe.subscribe(filters).items()} == filters
        probe.unsubscribe(filters)


def test_a_refused_login_is_an_error_with_its_fix(mosquitto: StartMosquitto, *, is_mqtt5: bool) -> None:
    configuration = OPEN_AND_PERSISTENT.replace("allow_anonymous true", "allow_anonymous false\npassword_file passwd")
    broker = mosquitto(configuration, {"passwd": hashed_passwords({"gateway": "secret"})})
    given = broker_at(broker, is_mqtt5=is_mqtt5, username="gateway", password="wrong")
    with pytest.raises(GatewayError) as raised, BrokerProbe(given, 60):
        pass
    assert raised.value.message == "The broker refused the connection: Not authorized."
    assert raised.value.hint == f"Check username and password_file {FILES_UNDER_SERVERS}."
    with BrokerProbe(broker_at(broker, is_mqtt5=is_mqtt5, username="gateway", password="secret"), 60):
        pass


def test_a_user_name_needs_no_password(mosquitto: StartMosquitto, *, is_mqtt5: bool) -> None:
    """Some brokers take a token as the user name; this one grants the topic to that name only."""
    acl = "topic write meters/1\nuser token-5\ntopic read meters/#\n"
    broker, topics, stop = mosquitto(f"{OPEN_AND_PERSISTENT}acl_file acl\n", {"acl": acl}), list[bytes](), StopFlag()

    def take(topic: bytes, _payload: bytes) -> None:
        topics.append(topic)
        stop.set()

    given = broker_at(broker, is_mqtt5=is_mqtt5, username="token-5")
    with Publisher(broker.port) as publisher, BrokerProbe(given, 60) as probe:
        probe.subscribe({"meters/#": 1})
        publisher.publish([("meters/1", b"21.5")], 1)
        probe.listen(take, LISTEN_SECONDS, stop)
    assert topics == [b"meters/1"]


def test_a_broker_that_is_away_is_an_error_with_its_fix() -> None:
    port = HeldPort()
    with pytest.raises(GatewayError) as raised, BrokerProbe(Broker("b", "127.0.0.1", port.number), 60):
        pass
    port.release()
    assert raised.value.message == f"Cannot connect to 127.0.0.1:{port.number}: Connection refused."
    assert raised.value.hint == "Does the broker run, and is this its port?"


def test_a_server_that_sends_no_connack_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = Broker("b", "127.0.0.1", silent.getsockname()[1])
        with pytest.raises(GatewayError, match="sends no CONNACK"), BrokerProbe(broker, 60, answer_seconds=0.3):
            pass


def test_properties_are_those_of_the_packet(mosquitto: StartMosquitto) -> None:
    """The length before them is left out; a message without any has none."""
    broker, given, stop = mosquitto(), list[bytes](), StopFlag()
    sent = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho types it not
    sent.UserProperty = [("batch", "b" * 200), ("unit", "C")]
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    with BrokerProbe(broker_at(broker), 60) as probe:

        def take(topic: bytes, _payload: bytes) -> None:
            given.append(probe.properties())
            if topic == b"b":
                stop.set()

        probe.subscribe({EVERYTHING: 0})
        client.publish("a", b"1", 1, properties=sent).wait_for_publish(30)
        client.publish("b", b"2", 1).wait_for_publish(30)
        probe.listen(take, LISTEN_SECONDS, stop)
    client.disconnect()
    client.loop_stop()
    assert parse(given[0]) == [(0x26, b"batch", b"b" * 200), (0x26, b"unit", b"C")]
    assert given[1] == b""
