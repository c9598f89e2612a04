"""The MQTT source against real brokers, and against scripted ones for what real brokers do not do.

The test is the loop: it waits as long as the source allows, then calls `maintain`, `read` and `flush` as the bridge
does.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
import subprocess
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import pytest

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS
from gateway.core.model import LastWill, MqttServer
from gateway.mqtt.broker import Broker
from gateway.mqtt.reader import Intake
from gateway.mqtt.routing import Routing
from gateway.mqtt.source import BATCH, CONNECT_SECONDS, PING_SECONDS, SUSPICIOUS, Link, MqttSource, Subscriptions
from gateway.mqtt.websocket import Upgrade
from gateway.settings.settings import BrokerTlsSettings, TlsSettings, load
from gateway.settings.tls import tls_context
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, hashed_passwords
from tests.stack.publisher import Publisher, remaining_length
from tests.stack.software import command
from tests.stack.tls_front import TlsFront
from tests.stack.websocket_server import BINARY, CLOSE, CONTINUATION, PING, TEXT, WebSocketServer, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from gateway.core.entry import Entry
    from gateway.settings.settings import Settings
    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.certificates import Certificates
    from tests.stack.mosquitto import Mosquitto

PUBREC, PUBCOMP = 0x50, 0x70
CONNECT, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x40, 0x80, 0xA0, 0xC0, 0xE0
IN_MEMORY = "listener 1883\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
CONNACK = {"3.1.1": b"\x20\2\0\0", "5.0": b"\x20\3\0\0\0"}
SESSION_PRESENT = {"3.1.1": b"\x20\2\1\0", "5.0": b"\x20\3\1\0\0"}
TLS = "listener 8883\nallow_anonymous true\ncafile ca.crt\ncertfile {0}.crt\nkeyfile {0}.key\n"
LONGEST_WAIT_SECONDS = 1.0  # as in the bridge


class Loop:
    """Drives sources as the bridge does.

    Attributes:
        entries: all that was read.
        is_reading: False as when the spool is full.
        turned_at: when the sources last got their turn.
        scripted: sockets of scripted brokers, which end a wait as well.
    """

    def __init__(self) -> None:
        self.sources: list[MqttSource] = []
        self.entries: list[Entry] = []
        self.is_reading = True
        self.turned_at = 0.0
        self.scripted: set[socket.socket] = set()

    def add(self, source: MqttSource) -> MqttSource:
        """Drive one more source."""
        self.sources.append(source)
        return source

    def turn(self, longest_seconds: float = LONGEST_WAIT_SECONDS) -> None:
        """Wait for what the sources wait for, then give each its turn."""
        poller, wait = select.poll(), longest_seconds
        for source in self.sources:
            source.flush()
            wait = min(wait, max(0.0, source.next_action_seconds - time.monotonic()))
            if source.fileno >= 0:
                reads = select.POLLIN if self.is_reading else 0
                poller.register(source.fileno, reads | (select.POLLOUT if source.wants_write else 0))
        for sock in self.scripted:
            poller.register(sock, select.POLLIN)
        poller.poll(wait * 1000)
        self.turned_at = time.monotonic()
        for source in self.sources:
            source.maintain(time.monotonic(), is_reading=self.is_reading)
            if self.is_reading:
                self.entries += source.read()
            source.flush()

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 15) -> Any:
        """Turn until a condition holds; give its value."""
        deadline = time.monotonic() + seconds
        while not (outcome := condition()):
            left = deadline - time.monotonic()
            states = [(source.name, str(source.link), source.detail) for source in self.sources]
            assert left > 0, f"waited {seconds:g} s for {what}: {states}, {len(self.entries)} read"
            self.turn(min(left, LONGEST_WAIT_SECONDS))
        return outcome

    def connected(self, source: MqttSource) -> MqttSource:
        """Turn until a source is up."""
        self.until(lambda: source.link == Link.UP, "the connection")
        return source

    def lost(self, source: MqttSource, seconds: float = 15) -> str:
        """Turn until a source is down after it was not; give the reason."""
        self.until(lambda: source.link != Link.DOWN, "a try to connect")
        self.until(lambda: source.link == Link.DOWN, "the end of the connection", seconds)
        return source.detail

    def pauses(self, source: MqttSource, longest_seconds: float) -> bool:
        """Whether a source that went down in the last turn connects again after half of a time to all of it."""
        earliest, latest = self.turned_at + longest_seconds / 2, time.monotonic() + longest_seconds
        return earliest <= source.next_action_seconds <= latest

    def payloads(self, count: int) -> list[bytes]:
        """Turn until so many messages were read; give them all."""
        self.until(lambda: len(self.entries) >= count, f"{count} messages")
        return [entry.reading.payload for entry in self.entries]

    def go_on_for(self, seconds: float) -> None:
        """Turn for a time, because what is shown is that nothing happens in it."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(min(left, LONGEST_WAIT_SECONDS))

    def close(self, source: MqttSource) -> None:
        """Stop a source as the gateway does."""
        self.sources.remove(source)
        source.close(5)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Drive sources; they are closed with the test."""
    driver = Loop()
    yield driver
    for source in list(driver.sources):
        driver.close(source)


@pytest.fixture(params=["fast", "paho"])
def is_fast(request: pytest.FixtureRequest) -> bool:
    """Run the test with each reader."""
    return bool(request.param == "fast")


@pytest.fixture(params=["3.1.1", "5.0"])
def version(request: pytest.FixtureRequest) -> str:
    """Run the test with each version of MQTT."""
    return str(request.param)


def make_source(
    port: int,
    *,
    host: str = "127.0.0.1",
    name: str = "broker",
    version: str = "5.0",
    client_id: str = "gateway",
    keep_alive: int = 60,
    last_will: LastWill | None = None,
    credentials: tuple[str, str] = ("", ""),
    tls: ssl.SSLContext | None = None,
    subscriptions: Mapping[str, int] = MappingProxyType({"factory/+/+": 1}),
    receive_maximum: int = 1_000,
    is_fast: bool = True,
    connect_seconds: float = CONNECT_SECONDS,
    websocket: Upgrade | None = None,
    alpn: tuple[str, ...] = (),
    **session: Any,
) -> MqttSource:
    """Make a source for a broker on this machine; `session` is what else `Subscriptions` takes."""
    server = MqttServer(
        name=name,
        host=f"{host}:{port}",
        tls=False,
        version=cast('Literal["3.1.1", "5.0"]', version),
        client_id=client_id,
        clean_session=False,
        keep_alive=keep_alive,
        session_expiry=3600,
        maximum_packet_size=None,
        last_will=last_will,
        security=(),
    )
    broker = Broker(name, host, port, version == "5.0", *credentials, tls=tls, alpn=alpn, websocket=websocket)
    intake = Intake(lambda _topic: "factory", 100_000, receive_maximum=receive_maximum, is_fast=is_fast)
    return MqttSource(server, lambda: broker, Subscriptions(subscriptions, **session), intake, connect_seconds)


def acknowledge(*entries: Entry) -> None:
    """Acknowledge messages as the spool does."""
    for entry in entries:
        assert entry.connection
        entry.connection.acknowledge([entry])


def publish(
    broker: Mosquitto, *payloads: bytes, qos: int = 1, retain: bool = False, topic: str = "factory/m/s"
) -> None:
    """Publish messages and wait until the broker has them."""
    with Publisher(broker.port) as publisher:
        publisher.publish([(topic, payload) for payload in payloads], qos, retain=retain)


# --- real brokers: connecting and reading ----------------------------------------------------------------------------


def test_read_gives_what_is_published(loop: Loop, mosquitto: StartMosquitto, version: str, is_fast: bool) -> None:  # noqa: FBT001 - a fixture
    broker = mosquitto()
    publish(broker, b"kept", retain=True)
    source = loop.connected(loop.add(make_source(broker.port, version=version, is_fast=is_fast)))
    publish(broker, b"at least once")
    publish(broker, b"at most once", qos=0)
    assert loop.payloads(3) == [b"kept", b"at least once", b"at most once"]
    readings = [entry.reading for entry in loop.entries]
    assert [(one.qos, one.retain, one.dup) for one in readings] == [(1, True, False), (1, False, False), (0,) * 3]
    assert {(one.stream, one.topic) for one in readings} == {("factory", b"factory/m/s")}
    assert [bool(entry.packet_id) for entry in loop.entries] == [True, True, False]
    assert (source.detail, source.denied, source.connects, source.sessions_lost) == ("", [], 1, 0)


def test_read_gives_what_was_published_while_away(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    broker = mosquitto()
    loop.close(loop.connected(loop.add(make_source(broker.port, version=version, is_fast=is_fast))))
    publish(broker, b"1", b"2", b"3")
    source = loop.add(make_source(broker.port, version=version, is_fast=is_fast))
    assert loop.payloads(3) == [b"1", b"2", b"3"]
    assert source.sessions_lost == 0


def test_maintain_subscribes_again_when_the_broker_lost_the_session(
    loop: Loop, mosquitto: StartMosquitto, version: str
) -> None:
    """A broker without a store forgets us when it restarts: we are told, counted, and subscribed again."""
    broker = mosquitto("listener 1883\nallow_anonymous true\n")
    source = loop.connected(loop.add(make_source(broker.port, version=version)))
    broker.restart()
    loop.until(lambda: source.connects == 2 and source.link == Link.UP, "the second connection")
    publish(broker, b"after")
    assert loop.payloads(1) == [b"after"]
    assert source.sessions_lost == 1


def test_maintain_dials_again_with_a_growing_and_jittered_pause(
    loop: Loop, mosquitto: StartMosquitto, *, is_fast: bool
) -> None:
    broker = mosquitto()
    source = loop.connected(loop.add(make_source(broker.port, is_fast=is_fast)))
    broker.stop()
    loop.until(lambda: source.link == Link.DOWN, "the end of the connection")
    for longest in (0.2, 0.4, 0.8, 1.6):
        assert loop.pauses(source, longest)
        assert "refused; does the broker run, and is this its port?" in loop.lost(source)
    broker.start()
    publish(broker, b"meanwhile")
    loop.connected(source)
    assert loop.payloads(1) == [b"meanwhile"]
    assert (source.connects, source.sessions_lost) == (2, 0)


# --- real brokers: acknowledging -------------------------------------------------------------------------------------


def test_unacknowledged_messages_come_again(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    """What was not acknowledged is delivered again, marked so, and nothing else; late acknowledgements do nothing."""
    broker = mosquitto()
    first = loop.connected(loop.add(make_source(broker.port, version=version, is_fast=is_fast)))
    publish(broker, b"1", b"2", b"3")
    loop.payloads(3)
    early, *late = loop.entries
    acknowledge(early)
    loop.close(first)
    loop.entries.clear()
    second = loop.add(make_source(broker.port, version=version, is_fast=is_fast))
    assert loop.payloads(2) == [b"2", b"3"]
    assert all(entry.reading.dup for entry in loop.entries)
    acknowledge(*late)  # over the first connection: they must not count for the same ids of the second
    loop.go_on_for(0.2)
    loop.close(second)
    loop.entries.clear()
    loop.add(make_source(broker.port, version=version, is_fast=is_fast))
    assert loop.payloads(2) == [b"2", b"3"]
    acknowledge(*loop.entries)
    loop.close(loop.sources[0])
    loop.entries.clear()
    publish(broker, b"4")
    loop.add(make_source(broker.port, version=version, is_fast=is_fast))
    assert loop.payloads(1) == [b"4"]


def test_close_delivers_acknowledgements_though_messages_lie_unread(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    """The end is clean under load too: what we acknowledged stays acknowledged, and no last will is published."""
    broker = mosquitto(IN_MEMORY)
    will = LastWill("will/gateway", "vanished", 1, retain=False)
    watcher = make_source(broker.port, name="watcher", client_id="watcher", subscriptions={"will/+": 1})
    source = make_source(broker.port, version=version, is_fast=is_fast, last_will=will, receive_maximum=65_535)
    loop.connected(loop.add(watcher))
    loop.connected(loop.add(source))
    publish(broker, *(b"%04d" % number + b"x" * 1_000 for number in range(2 * BATCH)))
    loop.turn()
    read = len(loop.entries)
    assert 0 < read < 2 * BATCH, "some lie in the socket, some at the broker"
    acknowledge(*loop.entries)
    loop.close(source)
    loop.entries.clear()
    loop.add(make_source(broker.port, version=version, is_fast=is_fast, receive_maximum=65_535))
    rest = loop.payloads(2 * BATCH - read)
    loop.go_on_for(0.3)
    assert [int(payload[:4]) for payload in rest] == list(range(read, 2 * BATCH))
    assert "vanished" not in str(rest)


# --- real brokers: refusals ------------------------------------------------------------------------------------------

ASKS_FOR_PASSWORD = "listener 1883\nallow_anonymous false\npassword_file passwd\n"


@pytest.mark.parametrize("credentials", [("", ""), ("gateway", "wrong"), ("stranger", "secret"), ("gateway", "")])
def test_maintain_names_refused_credentials_and_waits(
    loop: Loop, mosquitto: StartMosquitto, version: str, credentials: tuple[str, str]
) -> None:
    broker = mosquitto(ASKS_FOR_PASSWORD, {"passwd": hashed_passwords({"gateway": "secret"})})
    source = loop.add(make_source(broker.port, version=version, credentials=credentials))
    for longest in (1, 2):
        assert loop.lost(source) == (
            f"the broker refused the connection: Not authorized; check username and password_file {FILES_UNDER_SERVERS}"
        )
        assert loop.pauses(source, longest)
    assert source.connects == 0


def test_maintain_connects_with_the_right_password(loop: Loop, mosquitto: StartMosquitto, version: str) -> None:
    broker = mosquitto(ASKS_FOR_PASSWORD, {"passwd": hashed_passwords({"gateway": "secret"})})
    loop.connected(loop.add(make_source(broker.port, version=version, credentials=("gateway", "secret"))))


def test_maintain_suspects_a_client_id_in_use_and_makes_no_storm(
    loop: Loop, mosquitto: StartMosquitto, version: str
) -> None:
    """Two gateways throw each other out; Mosquitto 2.0 just closes, so they can but suspect it, and wait long then."""
    broker = mosquitto()
    twins = [loop.add(make_source(broker.port, version=version, name=name)) for name in ("one", "other")]
    suspicion = "the broker closed the connection soon after each connect; does another client use the id 'gateway'?"

    suspected: set[str] = set()

    def are_suspicious() -> bool:
        suspected.update(twin.name for twin in twins if twin.detail == suspicion)
        if len(suspected) < 2:
            for twin in twins:
                if twin.link == Link.DOWN:
                    twin.maintain(twin.next_action_seconds, is_reading=True)  # the pause is over at once
        return len(suspected) == 2

    loop.until(are_suspicious, "the suspicion of both", 60)
    connects = sum(twin.connects for twin in twins)
    assert connects <= 6 * SUSPICIOUS
    waiting = next(twin for twin in twins if twin.link == Link.DOWN)
    assert 20 < waiting.next_action_seconds - time.monotonic() <= 60
    loop.go_on_for(2)
    assert sum(twin.connects for twin in twins) <= connects + 1, "the one whose turn it was"


def test_maintain_does_not_take_a_cut_network_for_another_client(loop: Loop, *, is_fast: bool) -> None:
    """Resets come from the network: they let nobody wait as long as a client id in use does."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast))
        for _ in range(SUSPICIOUS + 2):
            broker.greet()
            loop.connected(source)
            broker.reset()
            assert "does another client use" not in loop.lost(source)
            source.maintain(source.next_action_seconds, is_reading=True)  # the pause is over at once


def test_maintain_does_not_take_a_broken_broker_for_another_client(loop: Loop) -> None:
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port))
        for _ in range(SUSPICIOUS + 1):
            broker.greet()
            loop.connected(source)
            broker.send(b"\0\0")
            assert loop.lost(source) == "protocol violation: the broker sent a malformed packet"
            source.maintain(source.next_action_seconds, is_reading=True)  # the pause is over at once


def test_maintain_waits_never_longer_than_half_a_minute_for_a_broker_that_is_away(
    loop: Loop, free_port: FreePort
) -> None:
    source, now, pauses = loop.add(make_source(free_port())), 0.0, []
    for _ in range(12):
        source.maintain(now, is_reading=True)
        while source.link != Link.DOWN:  # the dialler's thread finds out that nobody listens
            source.maintain(now, is_reading=True)
        pauses.append(source.next_action_seconds - now)
        now = source.next_action_seconds
    assert all(pause <= 30 for pause in pauses)
    assert all(pause >= 15 for pause in pauses[-3:])
    assert len(set(pauses[-3:])) == 3, "jittered"


def test_maintain_waits_never_longer_than_a_minute_for_a_broker_that_refuses(loop: Loop, version: str) -> None:
    pauses = []
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version))
        for _ in range(9):
            broker.accept()
            broker.receive(CONNECT)
            broker.send({"3.1.1": b"\x20\2\0\5", "5.0": b"\x20\3\0\x87\0"}[version])
            loop.lost(source)
            pauses.append(source.next_action_seconds - time.monotonic())
            source.maintain(source.next_action_seconds, is_reading=True)  # the pause is over at once
    assert all(pause <= 60 for pause in pauses)
    assert all(pause >= 29 for pause in pauses[-2:])


# --- subscriptions and the kept session ------------------------------------------------------------------------------

BOTH = {"factory/+/+": 1, "doors/+": 1}


def test_a_filter_that_is_no_longer_wanted_is_unsubscribed(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    """Nothing of it arrives, and the broker queues nothing for us while we are away."""
    broker, notes = mosquitto(), list[frozenset[str]]()
    given: dict[str, Any] = {"version": version, "is_fast": is_fast, "on_filters_changed": notes.append}
    loop.close(loop.connected(loop.add(make_source(broker.port, subscriptions=BOTH, **given))))
    second = loop.connected(loop.add(make_source(broker.port, known_filters=notes[-1], **given)))
    loop.until(lambda: notes[-1] == {"factory/+/+"}, "the answer to UNSUBSCRIBE")
    publish(broker, b"unwanted", topic="doors/dock")
    publish(broker, b"1")
    assert loop.payloads(1) == [b"1"]
    acknowledge(*loop.entries)
    loop.close(second)
    publish(broker, b"unwanted while away", topic="doors/dock")
    publish(broker, b"2")
    loop.add(make_source(broker.port, known_filters=notes[-1], **given))
    assert loop.payloads(2) == [b"1", b"2"]


def test_a_source_without_subscriptions_unsubscribes_from_all(
    loop: Loop, mosquitto: StartMosquitto, version: str
) -> None:
    broker, notes = mosquitto(), list[frozenset[str]]()
    loop.close(loop.connected(loop.add(make_source(broker.port, version=version, subscriptions=BOTH))))
    source = make_source(
        broker.port, version=version, subscriptions={}, known_filters=BOTH, on_filters_changed=notes.append
    )
    loop.connected(loop.add(source))
    loop.until(lambda: notes[-1] == frozenset(), "the answer to UNSUBSCRIBE")
    loop.close(source)
    publish(broker, b"unwanted")
    second = loop.connected(loop.add(make_source(broker.port, version=version, subscriptions={"marker": 1})))
    publish(broker, b"marker", topic="marker")
    assert loop.payloads(1) == [b"marker"]
    assert second.sessions_lost == 0


def test_filters_are_noted_before_they_are_subscribed_and_until_the_broker_has_let_them_go(
    loop: Loop, version: str
) -> None:
    """The link breaks before UNSUBACK: the next connection unsubscribes again."""
    notes: list[frozenset[str]] = []
    code = b"\0\0" if version == "5.0" else b""  # no properties, success
    with ScriptedBroker(loop, version) as broker:
        loop.add(make_source(broker.port, version=version, known_filters={"old/+"}, on_filters_changed=notes.append))
        for _ in range(2):
            broker.accept()
            packet_id = broker.connect(SESSION_PRESENT[version])
            assert notes[-1] == {"old/+", "factory/+/+"}, "noted before SUBSCRIBE came"
            broker.grant(packet_id)
            body = broker.receive(UNSUBSCRIBE)
            assert body.endswith(b"old/+")
            assert b"factory" not in body
            assert notes[-1] == {"old/+", "factory/+/+"}
            broker.close()
        broker.accept()
        broker.grant(broker.connect(SESSION_PRESENT[version]))
        packet_id = broker.receive(UNSUBSCRIBE)[:2]
        broker.send(b"\xb0" + bytes([2 + len(code)]) + packet_id + code)
        loop.until(lambda: notes[-1] == {"factory/+/+"}, "the note")


def test_a_session_lost_while_we_were_away_is_counted_and_nothing_is_unsubscribed(loop: Loop, version: str) -> None:
    notes: list[frozenset[str]] = []
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(
            make_source(broker.port, version=version, known_filters={"old/+"}, on_filters_changed=notes.append)
        )
        broker.greet()
        loop.connected(source)
        loop.go_on_for(0.1)
        assert broker.next_packet() is None
    assert source.sessions_lost == 1
    assert notes == [frozenset({"factory/+/+"})]


def test_a_broker_that_keeps_a_subscription_is_named_and_asked_again_later(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    notes: list[frozenset[str]] = []
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, known_filters={"a/+", "b/+"}, on_filters_changed=notes.append))
        broker.accept()
        broker.grant(broker.connect(SESSION_PRESENT["5.0"]))
        packet_id = broker.receive(UNSUBSCRIBE)[:2]
        broker.send(b"\xb0\5" + packet_id + b"\0\x87\x11")  # not authorised; no subscription existed
        loop.until(lambda: len(notes) == 2, "the note")
        assert notes[-1] == {"a/+", "factory/+/+"}
        assert source.link == Link.UP
    assert "refused an UNSUBSCRIBE" in caplog.text


# --- a reload ----------------------------------------------------------------------------------------------------


def routed(filters: dict[str, int], stream: str = "later") -> Routing:
    """Let all topics be of one stream."""
    return Routing(filters, lambda _topic: stream, frozenset())


def test_change_subscribes_and_unsubscribes_on_the_same_connection(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    """What comes from then on is of the streams that the new routing says; nothing of a filter that stays is lost."""
    broker, notes = mosquitto(), list[frozenset[str]]()
    given: dict[str, Any] = {"version": version, "is_fast": is_fast, "on_filters_changed": notes.append}
    source = loop.connected(loop.add(make_source(broker.port, subscriptions=BOTH, **given)))
    publish(broker, b"0")
    loop.payloads(1)
    source.prepare({"factory/+/+", "lamps/+"})
    source.change(routed({"factory/+/+": 1, "lamps/+": 1}))
    assert (source.has_former_filters, source.is_subscribing, source.link) == (True, True, Link.UP)
    loop.until(lambda: not (source.has_former_filters or source.is_subscribing), "both answers")
    publish(broker, b"unwanted", topic="doors/dock")
    publish(broker, b"1", topic="lamps/a")
    publish(broker, b"2")
    assert loop.payloads(3) == [b"0", b"1", b"2"]
    assert [entry.reading.stream for entry in loop.entries[1:]] == ["later", "later"]
    assert source.connects == 1
    assert all(each == {*BOTH, "lamps/+"} for each in notes[1:]), "the disk is not waited for at UNSUBACK"
    loop.close(source)
    assert notes[-1] == {"factory/+/+", "lamps/+"}


def test_change_while_the_link_is_down_counts_from_the_next_connection_on(
    loop: Loop, mosquitto: StartMosquitto
) -> None:
    broker = mosquitto()
    source = make_source(broker.port, subscriptions=BOTH)
    source.change(routed({"lamps/+": 1}))
    loop.connected(loop.add(source))
    publish(broker, b"unwanted")
    publish(broker, b"1", topic="lamps/a")
    assert loop.payloads(1) == [b"1"]


def test_change_keeps_a_filter_that_is_wanted_again_before_it_was_unsubscribed(loop: Loop) -> None:
    """The answer to the UNSUBSCRIBE comes after the second SUBSCRIBE, which counts."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, subscriptions=BOTH))
        broker.accept()
        broker.grant(broker.connect(), b"\1\1")
        loop.connected(source)
        source.change(routed({"factory/+/+": 1}))
        source.change(routed(BOTH))
        unsubscribe = broker.receive(UNSUBSCRIBE)[:2]
        subscribe = broker.receive(SUBSCRIBE)[:2]
        broker.send(b"\xb0\4" + unsubscribe + b"\0\0")
        broker.grant(subscribe)
        loop.until(lambda: not source.is_subscribing, "the answers")
        source.change(routed({"factory/+/+": 1}))
        assert source.has_former_filters


def test_change_names_what_is_denied_and_forgets_what_is_not_wanted(loop: Loop) -> None:
    """A filter that was denied before stays denied, until it is no longer wanted."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port))
        broker.accept()
        broker.grant(broker.connect(), b"\x87")
        loop.until(lambda: source.denied == ["factory/+/+"], "the denial")
        source.change(routed({"factory/+/+": 1, "lamps/+": 1}))
        broker.grant(broker.receive(SUBSCRIBE)[:2])
        loop.until(lambda: not source.is_subscribing, "the answer")
        assert (source.denied, "factory/+/+" in source.detail) == (["factory/+/+"], True)
        source.change(routed({"lamps/+": 1}))
        assert source.denied == []


def test_renew_logs_in_anew_and_keeps_the_session(loop: Loop, mosquitto: StartMosquitto, *, is_fast: bool) -> None:
    """What was not acknowledged comes again, and no last will is published."""
    broker = mosquitto()
    will = LastWill("wills/gateway", "gone", 1, retain=True)
    source = loop.connected(loop.add(make_source(broker.port, last_will=will, is_fast=is_fast)))
    publish(broker, b"1")
    loop.payloads(1)
    source.renew(lambda: replace(source.broker, host="localhost"), reconnects=False)
    assert source.connects == 1
    source.renew(lambda: replace(source.broker, host="localhost"), reconnects=True)
    loop.until(lambda: source.connects == 2, "the new connection")
    assert (source.broker.host, source.connects) == ("localhost", 2)
    assert loop.payloads(2) == [b"1", b"1"]
    assert loop.entries[1].reading.dup
    watcher = loop.connected(loop.add(make_source(broker.port, client_id="watcher", subscriptions={"wills/+": 1})))
    publish(broker, b"marker", topic="wills/marker")
    loop.until(lambda: len(loop.entries) >= 3, "the marker")
    assert loop.entries[-1].reading.payload == b"marker"
    assert watcher.connects == 1


def test_an_unsuback_with_another_number_of_codes_ends_the_link(loop: Loop) -> None:
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, known_filters={"a/+"}))
        broker.accept()
        broker.grant(broker.connect(SESSION_PRESENT["5.0"]))
        broker.send(b"\xb0\5" + broker.receive(UNSUBSCRIBE)[:2] + b"\0\0\0")
        assert loop.lost(source) == "protocol violation: an UNSUBACK has 2 reason codes for 1 filters"


def test_maintain_subscribes_again_when_the_store_was_deleted(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    """After a broker lost its sessions, the gateway subscribes again, receives again, and counts the lost session."""
    broker = mosquitto()
    source = loop.connected(loop.add(make_source(broker.port, version=version, is_fast=is_fast)))
    broker.stop()
    (broker.folder / "mosquitto.db").unlink()
    broker.start()
    loop.until(lambda: source.connects == 2 and source.link == Link.UP, "the second connection")
    publish(broker, b"after")
    assert loop.payloads(1) == [b"after"]
    assert source.sessions_lost == 1


@pytest.mark.parametrize(("retained", "options"), [("always", 0x01), ("once", 0x11), ("never", 0x21)])
def test_retained_messages_are_asked_for_as_the_setting_says(loop: Loop, retained: str, options: int) -> None:
    """MQTT 5.0 section 3.8.3.1: bits 4 and 5 are the retain handling, bits 0 and 1 the QoS."""
    with ScriptedBroker(loop) as broker:
        loop.add(make_source(broker.port, retained=retained))
        broker.accept()
        broker.receive(CONNECT)
        broker.send(CONNACK["5.0"])
        assert broker.receive(SUBSCRIBE)[-1] == options


def test_a_retained_message_comes_once_to_a_kept_session(loop: Loop, mosquitto: StartMosquitto) -> None:
    broker = mosquitto()
    publish(broker, b"kept", retain=True)
    for number in range(3):
        source = loop.connected(loop.add(make_source(broker.port)))
        publish(broker, b"live")
        loop.payloads(number + 2)
        acknowledge(*loop.entries)
        loop.close(source)
    assert [entry.reading.payload for entry in loop.entries] == [b"kept", *[b"live"] * 3]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(tmp_path: Path) -> Settings:
    """Give the settings of an installation, which find the files of a `tls` section."""
    path = tmp_path / "gateway.yaml"
    path.write_text("contract: asyncapi.yaml\n")
    return load(path, {})


class TlsBroker:
    """A broker with a certificate, and sources that check it.

    Args:
        broker: runs.
        certificates: where its certificate comes from.
        operator: finds files.
    """

    def __init__(self, broker: Mosquitto, certificates: Certificates, operator: Settings) -> None:
        self.broker = broker
        self._certificates = certificates
        self._operator = operator

    def source(
        self,
        ca: str = "ca",
        own: str | None = None,
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        **given: Any,
    ) -> MqttSource:
        """Make a source that trusts an authority and shows a certificate of its own."""
        certificate = self._certificates.certificate
        files = {"ca_file": str(certificate(ca))}
        if own:
            files |= {"cert_file": str(certificate(own)), "key_file": str(self._certificates.key(own))}
        context = tls_context(TlsSettings(**files), self._operator)
        context.maximum_version = newest
        return make_source(self.broker.port, tls=context, **given)


class StartTlsBroker:
    """Starts brokers with TLS."""

    def __init__(self, start: StartMosquitto, certificates: Certificates, operator: Settings) -> None:
        self._start = start
        self._certificates = certificates
        self._operator = operator

    def __call__(self, name: str = "broker", more: str = "") -> TlsBroker:
        """Start a broker with this certificate."""
        paths = [self._certificates.ca, self._certificates.certificate(name), self._certificates.key(name)]
        broker = self._start(TLS.format(name) + more, {path.name: path for path in paths})
        return TlsBroker(broker, self._certificates, self._operator)


@pytest.fixture
def tls_broker(mosquitto: StartMosquitto, certificates: Certificates, operator: Settings) -> StartTlsBroker:
    """Start brokers with TLS."""
    return StartTlsBroker(mosquitto, certificates, operator)


def test_read_over_tls(loop: Loop, tls_broker: StartTlsBroker, version: str, is_fast: bool) -> None:  # noqa: FBT001 - a fixture
    """More than a batch, so that what TLS holds back at its end is read as well."""
    encrypted = tls_broker(more="listener 1883\nmax_queued_messages 0\nmax_inflight_messages 0\n")
    source = loop.connected(loop.add(encrypted.source(version=version, is_fast=is_fast, receive_maximum=65_535)))
    with Publisher(encrypted.broker.port_of(1883)) as publisher:
        publisher.publish(("factory/m/s", b"%d" % number) for number in range(2 * BATCH))
    assert loop.payloads(2 * BATCH) == [b"%d" % number for number in range(2 * BATCH)]
    acknowledge(*loop.entries)
    loop.close(source)
    loop.connected(loop.add(encrypted.source(version=version, is_fast=is_fast)))
    loop.go_on_for(0.2)
    assert len(loop.entries) == 2 * BATCH, "all were acknowledged"


def test_maintain_shows_its_own_certificate(loop: Loop, tls_broker: StartTlsBroker) -> None:
    loop.connected(loop.add(tls_broker(more="require_certificate true\n").source(own="client")))


DOCTOR = "; run `gateway doctor -c FILE` for the cause"
MUTUAL = "require_certificate true\n"
BAD_TLS = {  # the broker's certificate and configuration, the source's authority and certificate, what is told
    "unknown authority": (
        ("broker", "", "other-ca", None),
        "certificate rejected: self-signed certificate in certificate chain",
        DOCTOR,
    ),
    "other host": (
        ("wrong-host", "", "ca", None),
        "certificate rejected: IP address mismatch, certificate is not valid for '127.0.0.1'",
        DOCTOR,
    ),
    "expired": (
        ("expired", "", "ca", None),
        "certificate rejected: certificate has expired",
        DOCTOR,
    ),
    "not valid yet": (
        ("not-yet", "", "ca", None),
        "certificate rejected: certificate is not yet valid",
        DOCTOR,
    ),
    "no certificate of ours": (
        ("broker", MUTUAL, "ca", None),
        "connection lost: the broker requires a client certificate",
        f"; set tls.cert_file and tls.key_file {UNDER_SERVERS}",
    ),
    "certificate of ours that the broker does not know": (
        ("broker", MUTUAL, "ca", "stranger"),
        "connection lost: the broker does not trust the CA of the client certificate",
        f"; check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}",
    ),
    "certificate of ours that has ended": (
        ("broker", MUTUAL, "ca", "old-client"),
        "connection lost: the client certificate has expired",
        f"; check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}",
    ),
}


@pytest.mark.parametrize(("given", "trouble", "advice"), BAD_TLS.values(), ids=BAD_TLS)
def test_maintain_refuses_or_is_refused_and_says_why(
    loop: Loop,
    tls_broker: StartTlsBroker,
    given: tuple[str, str, str, str | None],
    trouble: str,
    advice: str,
    *,
    is_fast: bool,
) -> None:
    name, more, ca, own = given
    encrypted = tls_broker(name, more)
    source = loop.add(encrypted.source(ca, own, is_fast=is_fast))
    for _ in range(2):
        assert loop.lost(source).endswith(trouble + advice)
    assert source.connects == 0
    assert "New client connected" not in encrypted.broker.log


def test_maintain_names_a_missing_certificate_at_tls_1_2(loop: Loop, tls_broker: StartTlsBroker) -> None:
    """There the broker refuses during the handshake, and in other words."""
    source = loop.add(tls_broker(more=MUTUAL).source(newest=ssl.TLSVersion.TLSv1_2))
    assert loop.lost(source).endswith(
        f"TLS failed: sslv3 alert handshake failure; check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}"
    )


def test_maintain_refuses_another_host_name(loop: Loop, tls_broker: StartTlsBroker) -> None:
    source = loop.add(tls_broker("wrong-host").source(host="localhost"))
    reason = "Hostname mismatch, certificate is not valid for 'localhost'"
    assert loop.lost(source).endswith(f"certificate rejected: {reason}{DOCTOR}")


def test_maintain_never_speaks_plain_when_tls_is_asked_for(
    loop: Loop, mosquitto: StartMosquitto, certificates: Certificates, operator: Settings
) -> None:
    """The broker takes anybody, without TLS; a source with TLS does not even greet it."""
    broker = mosquitto()
    source = loop.add(TlsBroker(broker, certificates, operator).source(credentials=("gateway", "secret")))
    for _ in range(3):
        detail = loop.lost(source)
        assert re.search(r"cannot connect to 127.0.0.1:\d+: (TLS failed|Connection reset)", detail), detail
    assert "New client connected" not in broker.log


def test_maintain_names_a_tls_port_that_is_spoken_to_plainly(
    loop: Loop, tls_broker: StartTlsBroker, version: str
) -> None:
    source = loop.add(make_source(tls_broker().broker.port, version=version))
    assert loop.lost(source).endswith(f"before CONNACK; is this a port for MQTT {version} without TLS?")


# --- peers that are not there, or do not answer ----------------------------------------------------------------------


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid", "two..dots.invalid"])
def test_maintain_names_a_host_that_does_not_resolve(loop: Loop, host: str) -> None:
    source = loop.add(make_source(1883, host=host))
    detail = loop.lost(source, 60)
    assert detail.startswith(f"cannot connect to {host}:1883: ")
    assert detail.endswith(f"; check host {UNDER_SERVERS}, and this machine's DNS")


def test_maintain_names_a_closed_port(loop: Loop, free_port: FreePort) -> None:
    port = free_port()
    assert loop.lost(loop.add(make_source(port))) == (
        f"cannot connect to 127.0.0.1:{port}: Connection refused; does the broker run, and is this its port?"
    )


# --- silence ---------------------------------------------------------------------------------------------------------


def test_maintain_keeps_a_connection_that_is_not_read(loop: Loop, mosquitto: StartMosquitto, *, is_fast: bool) -> None:
    """A full spool may last: the broker hears pings all the time, and its unread answers do not end the connection."""
    broker = mosquitto()
    source = loop.connected(loop.add(make_source(broker.port, is_fast=is_fast, keep_alive=1)))
    loop.is_reading = False
    publish(broker, b"unread")
    loop.go_on_for(3)
    assert source.link == Link.UP
    loop.is_reading = True
    assert loop.payloads(1) == [b"unread"]
    loop.go_on_for(2)
    assert (source.link, source.connects) == (Link.UP, 1)
    assert "timeout" not in broker.log


def test_maintain_waits_for_a_connack_that_it_must_not_read(
    loop: Loop, mosquitto: StartMosquitto, version: str
) -> None:
    """A reconnect while the spool is full: the CONNACK lies unread, which is no fault of the broker's."""
    broker = mosquitto()
    source = loop.add(make_source(broker.port, version=version, keep_alive=1, connect_seconds=1))
    loop.is_reading = False
    loop.go_on_for(3)
    assert source.link == Link.HANDSHAKE
    loop.is_reading = True
    loop.connected(source)
    assert source.connects == 1


@pytest.mark.parametrize("is_reading", [True, False])
def test_maintain_notices_a_killed_broker(loop: Loop, mosquitto: StartMosquitto, *, is_reading: bool) -> None:
    """Also while nothing is read, when the end does not show in what is read."""
    broker = mosquitto()
    source = loop.connected(loop.add(make_source(broker.port, keep_alive=2)))
    loop.is_reading = is_reading
    broker.kill()
    assert loop.until(lambda: source.link == Link.DOWN and source.detail, "the end", 5)


def test_maintain_pings_a_quiet_broker(loop: Loop, mosquitto: StartMosquitto, *, is_fast: bool) -> None:
    """The broker keeps the connection for longer than it would without the pings."""
    broker = mosquitto(OPEN_AND_PERSISTENT + "log_type all\n")
    source = loop.connected(loop.add(make_source(broker.port, is_fast=is_fast, keep_alive=2)))
    loop.until(lambda: broker.log.count("Received PINGREQ") >= 4, "four pings")
    assert (source.link, source.connects) == (Link.UP, 1)
    assert "timeout" not in broker.log


def test_maintain_pings_twice_in_an_interval(loop: Loop, *, is_fast: bool) -> None:
    """And not in every turn: that would keep processor and network busy for ever."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast, keep_alive=600))
        broker.greet()
        loop.connected(source)
        connected_at = time.monotonic()
        for seconds in range(0, 850, 70):  # 850: not yet one and a half intervals
            source.maintain(connected_at + seconds, is_reading=True)
        loop.sources.remove(source)
        source.close(0.2)
        for kind in (PINGREQ, PINGREQ, DISCONNECT):
            broker.receive(kind)


def test_maintain_finds_a_frozen_broker_within_one_and_a_half_intervals(
    loop: Loop, mosquitto: StartMosquitto, *, is_fast: bool
) -> None:
    broker = mosquitto()
    source = loop.connected(loop.add(make_source(broker.port, is_fast=is_fast, keep_alive=2)))
    broker.freeze()
    loop.until(lambda: source.link == Link.DOWN, "the dead link")
    assert source.detail == "no packet from the broker for 3 s; it hangs, or the network is down"
    broker.thaw()
    loop.until(lambda: source.connects == 2 and source.link == Link.UP, "the second connection")


@pytest.mark.parametrize("says", ["contract", "broker"])
def test_maintain_pings_although_keep_alive_is_off(loop: Loop, says: str, *, is_fast: bool) -> None:
    """With 0, from the contract or from the broker's CONNACK, MQTT finds no dead broker; the gateway still does."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast, keep_alive=60 if says == "broker" else 0))
        broker.accept()
        broker.grant(broker.connect(b"\x20\x06\0\0\x03\x13\0\0" if says == "broker" else None))
        loop.connected(source)
        assert source.next_action_seconds <= time.monotonic() + PING_SECONDS
        source.maintain(time.monotonic() + PING_SECONDS, is_reading=True)
        assert broker.receive(PINGREQ) == b""
        source.maintain(time.monotonic() + 1.5 * PING_SECONDS, is_reading=True)
        assert source.detail == "no packet from the broker for 90 s; it hangs, or the network is down"


# --- scripted brokers ------------------------------------------------------------------------------------------------


class ScriptedBroker:
    """A broker of few words: the test says each.

    Args:
        loop: turned while it waits.
        version: of MQTT.
    """

    def __init__(self, loop: Loop, version: str = "5.0") -> None:
        self._loop = loop
        self._version = version
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0)
        self._socket = socket.socket()
        self._unread = b""
        self.port = self._listener.getsockname()[1]

    def accept(self, context: ssl.SSLContext | None = None) -> None:
        """Wait for a connection; with a context, also for its TLS handshake."""
        self._socket.close()
        self._unread = b""
        self._loop.scripted = {self._listener}
        self._loop.until(lambda: select.select([self._listener], [], [], 0)[0], "somebody to connect")
        self._loop.scripted = set()
        self._socket, _ = self._listener.accept()
        if context:
            self._socket.settimeout(10)  # the other side shakes hands in the dialler's thread
            self._socket = context.wrap_socket(self._socket, server_side=True)
        self._socket.settimeout(0)

    def connect(self, connack: bytes | None = None) -> bytes:
        """Wait for CONNECT, answer it, wait for SUBSCRIBE; give its packet id."""
        self.receive(CONNECT)
        self.send(CONNACK[self._version] if connack is None else connack)
        return self.receive(SUBSCRIBE)[:2]

    def grant(self, packet_id: bytes, codes: bytes = b"\1") -> None:
        """Answer SUBSCRIBE."""
        body = packet_id + (b"\0" if self._version == "5.0" else b"") + codes
        self.send(b"\x90" + bytes([len(body)]) + body)

    def greet(self) -> None:
        """Accept a client and its subscription."""
        self.accept()
        self.grant(self.connect())

    def publish(self, packet_id: int, payload: bytes = b"{}") -> None:
        """Send a message of QoS 1."""
        self.send(self.message(packet_id, payload))

    def message(self, packet_id: int, payload: bytes = b"{}", first: int = 0x32) -> bytes:
        """Write a message of QoS 1, or with another first byte."""
        body = b"\0\x0bfactory/m/s" + struct.pack(">H", packet_id) + (b"\0" if self._version == "5.0" else b"")
        return bytes([first]) + remaining_length(len(body) + len(payload)) + body + payload

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def receive(self, kind: int) -> bytes:
        """Wait for the next packet, which must be of this type; give its body."""
        self._loop.scripted = {self._socket}
        first, body = self._loop.until(self.next_packet, f"a packet of type {kind >> 4}")
        self._loop.scripted = set()
        assert first & 0xF0 == kind
        return bytes(body)

    def next_packet(self) -> tuple[int, bytes] | None:
        """Take the next packet, if it is there."""
        try:
            while data := self._socket.recv(65_536):
                self._unread += data
        except (BlockingIOError, ssl.SSLWantReadError, ConnectionResetError):
            pass
        length = self._unread[1] if len(self._unread) > 1 else 0
        assert length < 0x80, "the packets that we get here are short"
        if len(self._unread) < 2 + length:
            return None
        first, body, self._unread = self._unread[0], self._unread[2 : 2 + length], self._unread[2 + length :]
        return first, body

    def reset(self) -> None:
        """Break the connection as a network does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._listener.close()


def test_maintain_gives_up_on_a_peer_that_never_answers(loop: Loop, *, is_fast: bool) -> None:
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast, connect_seconds=0.5))
        assert loop.lost(source) == (
            "the broker accepted the connection but sent no CONNACK; is this an MQTT port without TLS?"
        )


def test_maintain_gives_up_on_a_peer_that_never_shakes_hands(
    loop: Loop, certificates: Certificates, operator: Settings
) -> None:
    with ScriptedBroker(loop) as broker:
        context = tls_context(TlsSettings(ca_file=str(certificates.ca)), operator)
        source = loop.add(make_source(broker.port, tls=context, connect_seconds=0.5))
        detail = loop.lost(source)
        assert re.search(r"cannot connect to 127\.0\.0\.1:\d+: .*timed out; is the broker up", detail), detail


def test_maintain_gives_up_on_a_broker_that_never_answers_the_subscription(loop: Loop, version: str) -> None:
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version, connect_seconds=0.5))
        broker.accept()
        broker.connect()
        assert source.link == Link.HANDSHAKE, "not up: messages published now may be missed"
        assert loop.lost(source) == ("the broker accepted the connection but sent no SUBACK; see the broker's log")


def test_many_filters_are_subscribed_in_several_packets(loop: Loop, version: str) -> None:
    """AWS IoT Core ends a connection that asks for more than 8 at once; up is the link when all are answered."""
    filters = {f"site/{number}/+": 1 for number in range(20)}
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version, subscriptions=filters))
        broker.accept()
        *others, last = [broker.connect(), *(broker.receive(SUBSCRIBE)[:2] for _ in range(2))]
        for packet_id in others:
            broker.grant(packet_id, 8 * b"\1")
        loop.go_on_for(0.1)
        assert source.link == Link.HANDSHAKE
        broker.grant(last, 4 * b"\1")
        loop.connected(source)


DENIED = [("3.1.1", b"\x80", "Unspecified error"), ("5.0", b"\x87", "Not authorized")]


@pytest.mark.parametrize(("version", "code", "reason"), DENIED)
def test_denied_subscriptions_are_named_and_tried_again(
    loop: Loop, version: str, code: bytes, reason: str, *, is_fast: bool
) -> None:
    """The others flow meanwhile, and the operator may set it right at the broker without a restart of ours."""
    filters = {"factory/+/+": 1, "doors/+": 1}
    with ScriptedBroker(loop, version) as broker:
        given: dict[str, Any] = {"version": version, "is_fast": is_fast, "keep_alive": 3600}
        source = loop.add(make_source(broker.port, subscriptions=filters, **given))
        broker.accept()
        broker.grant(broker.connect(), b"\1" + code)
        loop.connected(source)
        assert source.denied == ["doors/+"]
        assert source.detail == f"the broker denied the subscription doors/+ ({reason}); grant read in its ACL"
        broker.publish(1)
        loop.payloads(1)
        source.maintain(time.monotonic() + 61, is_reading=True)
        source.flush()
        body = broker.receive(SUBSCRIBE)
        assert b"doors/+" in body
        assert b"factory" not in body
        broker.grant(body[:2])
        loop.until(lambda: not source.denied, "the subscription")
        assert (source.link, source.detail) == (Link.UP, "")


def test_a_subscription_granted_with_qos_0_is_logged(
    loop: Loop, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version))
        broker.accept()
        broker.grant(broker.connect(), b"\0")
        loop.connected(source)
    assert "granted a subscription with a lower QoS" in caplog.text


@pytest.mark.parametrize("codes", [b"", b"\1\1"])
def test_a_suback_with_another_number_of_codes_ends_the_link(loop: Loop, version: str, codes: bytes) -> None:
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version))
        broker.accept()
        broker.grant(broker.connect(), codes)
        assert loop.lost(source) == (f"protocol violation: a SUBACK has {len(codes)} reason codes for 1 filters")


BROKEN = {
    "topic longer than the packet": (b"\x30\5\0\x09abc", "a PUBLISH packet is malformed"),
    "packet of no type": (b"\0\0", "protocol violation: the broker sent a malformed packet"),
    "property of no type": (b"\x90\5\0\1\2\x7f\0", "protocol violation: .*malformed"),
}


@pytest.mark.parametrize(("data", "detail"), BROKEN.values(), ids=BROKEN)
def test_a_malformed_packet_ends_the_link_and_the_next_try_waits(
    loop: Loop, data: bytes, detail: str, *, is_fast: bool
) -> None:
    """What came before it is kept; a broker that does it each time gets ever fewer connects."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast))
        for number, longest in enumerate((0.2, 0.4, 0.8), start=1):
            broker.greet()
            broker.send(broker.message(number) + data)
            assert re.search(detail, loop.lost(source))
            assert loop.pauses(source, longest)
            assert len(loop.entries) == number


def test_a_disconnect_from_the_broker_is_told_with_its_reason(loop: Loop, *, is_fast: bool) -> None:
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast))
        broker.greet()
        loop.connected(source)
        broker.send(b"\xe0\1\x8b")
        assert loop.lost(source) == "the broker closed the connection: Server shutting down"


def test_maintain_names_a_client_id_in_use_and_waits_long(loop: Loop, *, is_fast: bool) -> None:
    """As brokers tell it that speak MQTT 5.0 in full; Mosquitto 2.0.11 does not."""
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, is_fast=is_fast))
        broker.greet()
        loop.connected(source)
        broker.send(b"\xe0\1\x8e")
        assert (
            loop.lost(source) == "another client uses the id 'gateway'; give each gateway its own clientId, and restart"
        )
        assert loop.pauses(source, 60)


@pytest.mark.parametrize(
    ("version", "connack", "detail"),
    [
        (
            "3.1.1",
            b"\x20\2\0\2",
            "Client identifier not valid; change clientId in the contract's MQTT binding, and restart",
        ),
        ("3.1.1", b"\x20\2\0\3", "Server unavailable"),
        (
            "5.0",
            b"\x20\2\0\1",
            "Unsupported protocol version; set protocolVersion of this server in the contract, and restart",
        ),
        ("5.0", b"\x20\3\0\x8a\0", "Banned"),
    ],
)
def test_maintain_tells_the_reason_of_a_connack(loop: Loop, version: str, connack: bytes, detail: str) -> None:
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version))
        broker.accept()
        broker.receive(CONNECT)
        broker.send(connack)
        assert loop.lost(source) == f"the broker refused the connection: {detail}"
        assert source.connects == 0


def test_maintain_does_not_fall_back_to_an_older_version(loop: Loop) -> None:
    with ScriptedBroker(loop, "3.1.1") as broker:
        source = loop.add(make_source(broker.port, version="3.1.1"))
        for _ in range(2):
            broker.accept()
            assert broker.receive(CONNECT)[:7] == b"\0\4MQTT\4"
            broker.send(b"\x20\2\0\1")
            assert "before CONNACK; is this a port for MQTT 3.1.1 without TLS?" in loop.lost(source)


def test_flush_sends_acknowledgements_in_order_and_no_stale_ones(loop: Loop, version: str, *, is_fast: bool) -> None:
    """After a reconnect nothing but CONNECT goes out before the CONNACK, and no id of the earlier connection ever."""
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version, is_fast=is_fast))
        broker.greet()
        for packet_id in (7, 3, 9, 5):
            broker.publish(packet_id)
        loop.payloads(4)
        first, second, third, fourth = loop.entries
        acknowledge(first, second)
        assert [broker.receive(PUBACK), broker.receive(PUBACK)] == [b"\0\7", b"\0\3"]
        broker.close()
        loop.until(lambda: source.link == Link.DOWN, "the end of the connection")
        acknowledge(third)
        broker.accept()
        broker.receive(CONNECT)
        acknowledge(fourth)
        loop.go_on_for(0.1)
        assert broker.next_packet() is None
        broker.send(CONNACK[version])
        broker.grant(broker.receive(SUBSCRIBE)[:2])
        broker.publish(9)
        loop.payloads(5)
        acknowledge(loop.entries[-1])
        assert broker.receive(PUBACK) == b"\0\x09"
        loop.go_on_for(0.1)
        assert broker.next_packet() is None


def test_the_session_knows_what_the_broker_may_not_have_read(loop: Loop, version: str, *, is_fast: bool) -> None:
    """Acknowledgements behind the last ping that it has answered, and those that a broken connection did not take."""
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version, is_fast=is_fast, keep_alive=600))
        present: list[bool] = []
        source.on_session = present.append
        broker.greet()
        for packet_id in (7, 3, 9):
            broker.publish(packet_id)
        loop.payloads(3)
        acknowledge(loop.entries[0])
        broker.receive(PUBACK)
        broker.publish(5)
        loop.payloads(4)
        assert [entry.packet_id for entry in source.session.unread] == [7], "a message that comes later proves nothing"
        source.maintain(time.monotonic() + 301, is_reading=True)
        broker.receive(PINGREQ)
        broker.send(b"\xd0\0")
        loop.until(lambda: not source.session.unread, "the answer to the ping")
        acknowledge(loop.entries[1])
        broker.receive(PUBACK)
        broker.reset()
        loop.until(lambda: source.link == Link.DOWN, "the end of the connection")
        acknowledge(loop.entries[2])
        broker.accept()
        broker.grant(broker.connect(SESSION_PRESENT[version]))
        loop.connected(source)
        assert present == [False, True]
        assert [entry.packet_id for entry in source.session.unread] == [3]
        assert [entry.packet_id for entry in source.session.unacknowledged] == [9]


QOS_2 = MappingProxyType({"factory/+/+": 2})


def test_qos_2_goes_from_publish_to_pubcomp(loop: Loop, version: str, *, is_fast: bool) -> None:
    """PUBREC after the message is safe, PUBCOMP after PUBREL; a PUBREL for an unknown message is completed as well."""
    with ScriptedBroker(loop, version) as broker:
        loop.add(make_source(broker.port, version=version, is_fast=is_fast, subscriptions=QOS_2))
        broker.accept()
        broker.grant(broker.connect(), b"\2")
        for packet_id in (7, 3):
            broker.send(broker.message(packet_id, first=0x34))
        loop.payloads(2)
        assert [entry.reading.qos for entry in loop.entries] == [2, 2]
        loop.go_on_for(0.1)
        assert broker.next_packet() is None, "nothing is safe yet"
        acknowledge(*loop.entries)
        assert [broker.receive(PUBREC), broker.receive(PUBREC)] == [b"\0\7", b"\0\3"]
        with_reason = b"\x62\4\0\3\0\0" if version == "5.0" else b"\x62\2\0\3"
        broker.send(b"\x62\2\0\7" + with_reason + b"\x62\2\1\1")
        assert [broker.receive(PUBCOMP) for _ in range(3)] == [b"\0\7", b"\0\3", b"\1\1"]


def test_pubcomp_waits_for_the_disk_and_is_not_sent_on_another_connection(
    loop: Loop, version: str, *, is_fast: bool
) -> None:
    """The broker sends PUBREL again there."""
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version, is_fast=is_fast, subscriptions=QOS_2))
        source.on_session = lambda is_present: source.session.resume([], 0) if is_present else None
        source.session.note_saved({"unreleased": [7]})
        broker.accept()
        broker.grant(broker.connect(SESSION_PRESENT[version]), b"\2")
        broker.send(b"\x62\2\0\7")
        loop.go_on_for(0.1)
        assert broker.next_packet() is None
        broker.reset()
        broker.accept()
        source.session.note_saved({"unreleased": []})
        broker.grant(broker.connect(SESSION_PRESENT[version]), b"\2")
        loop.go_on_for(0.1)
        assert broker.next_packet() is None
        broker.send(b"\x62\2\0\7")
        assert broker.receive(PUBCOMP) == b"\0\7"


def test_qos_2_with_a_real_broker_comes_once(
    loop: Loop, mosquitto: StartMosquitto, version: str, *, is_fast: bool
) -> None:
    """Through a lost connection and a new client: what was received is not stored again, what was not is."""
    broker = mosquitto()
    options: dict[str, Any] = {"version": version, "is_fast": is_fast, "subscriptions": QOS_2}
    first = loop.connected(loop.add(make_source(broker.port, **options)))
    publish(broker, b"1", b"2", b"3", qos=2)
    loop.payloads(3)
    assert first.session.repeats(loop.entries) == []
    acknowledge(*loop.entries[:1])
    loop.until(lambda: len(first.session.unreleased) == 2, "PUBREL")
    received = {each: found.hex() for each, (found,) in first.session.unreleased.items()}
    loop.close(first)
    loop.entries.clear()
    second = loop.add(make_source(broker.port, **options))
    second.session.restore({"unreleased": received})
    assert loop.payloads(2) == [b"2", b"3"]
    assert second.session.repeats(loop.entries) == loop.entries
    acknowledge(*loop.entries)
    publish(broker, b"4", qos=2)
    assert loop.payloads(3)[2:] == [b"4"]
    assert second.session.repeats(loop.entries[2:]) == []


def test_close_says_goodbye(loop: Loop, version: str) -> None:
    with ScriptedBroker(loop, version) as broker:
        source = loop.add(make_source(broker.port, version=version))
        broker.greet()
        broker.publish(1)
        loop.payloads(1)
        acknowledge(*loop.entries)
        loop.sources.remove(source)
        source.close(0.2)
        assert (broker.receive(PUBACK), broker.receive(DISCONNECT)) == (b"\0\1", b"")
        assert source.fileno == -1


def test_read_leaves_nothing_behind_in_tls(
    loop: Loop, certificates: Certificates, operator: Settings, *, is_fast: bool
) -> None:
    """Several packets in one TLS record: the socket is silent about those that are decrypted but not read yet."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.certificate("broker"), certificates.key("broker"))
    context = tls_context(TlsSettings(ca_file=str(certificates.ca)), operator)
    with ScriptedBroker(loop) as broker:
        source = loop.add(make_source(broker.port, tls=context, is_fast=is_fast))
        broker.accept(server)
        packet_id = broker.connect()
        messages = [broker.message(number, b"") for number in range(1, 4)]
        broker.send(messages[0] + b"\x90\4" + packet_id + b"\0\1" + messages[1] + b"\xd0\0" + messages[2])
        loop.until(lambda: loop.entries, "the first message")
        while len(loop.entries) < 3:
            assert source.next_action_seconds <= time.monotonic(), "the next turn waits for nothing"
            loop.turn()
        assert source.link == Link.UP


# --- WebSocket, Unix sockets, ALPN -----------------------------------------------------------------------------------


WEB = IN_MEMORY + "listener 8080\nprotocol websockets\n"
WEB_TLS = IN_MEMORY + TLS.format("broker") + "protocol websockets\n"
AT_MQTT = Upgrade("/mqtt")


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_read_over_a_websocket(
    loop: Loop,
    mosquitto: StartMosquitto,
    certificates: Certificates,
    operator: Settings,
    version: str,
    *,
    is_fast: bool,
    is_encrypted: bool,
) -> None:
    """More than a batch, in order; what was acknowledged does not come again, and what was not does."""
    files = {path.name: path for path in certificates.folder.glob("*.*")} if is_encrypted else {}
    broker = mosquitto(WEB_TLS if is_encrypted else WEB, files)
    context = tls_context(TlsSettings(ca_file=str(certificates.ca)), operator) if is_encrypted else None
    given: dict[str, Any] = {"version": version, "is_fast": is_fast, "tls": context, "websocket": AT_MQTT}
    port, count = broker.port_of(8883 if is_encrypted else 8080), BATCH + 100
    source = loop.connected(loop.add(make_source(port, receive_maximum=65_535, **given)))
    publish(broker, *(b"%d" % number for number in range(count)))
    assert loop.payloads(count) == [b"%d" % number for number in range(count)]
    acknowledge(*loop.entries[:-1])
    loop.close(source)
    loop.connected(loop.add(make_source(port, **given)))
    assert loop.payloads(count + 1)[count:] == [b"%d" % (count - 1)]


def test_maintain_suspects_a_client_id_in_use_over_a_websocket(loop: Loop, mosquitto: StartMosquitto) -> None:
    port = mosquitto(WEB).port_of(8080)
    twins = [loop.add(make_source(port, name=name, websocket=AT_MQTT)) for name in ("one", "other")]

    def is_suspicious() -> bool:
        for twin in twins:
            if twin.link == Link.DOWN:
                twin.maintain(time.monotonic() + 61, is_reading=True)
        return any("does another client use the id 'gateway'?" in twin.detail for twin in twins)

    loop.until(is_suspicious, "a suspicion", 30)


def test_read_over_a_unix_socket(loop: Loop, mosquitto: StartMosquitto, *, is_fast: bool) -> None:
    broker = mosquitto(IN_MEMORY + "listener 0 mqtt.sock\n")
    path = str(broker.folder / "mqtt.sock")
    loop.connected(loop.add(make_source(1883, host=path, is_fast=is_fast)))
    publish(broker, b"1", b"2")
    assert loop.payloads(2) == [b"1", b"2"]
    missing = loop.add(make_source(1883, host=f"{path}.old"))
    assert loop.lost(missing) == (
        f"cannot connect to unix://{path}.old: No such file or directory; does the broker run, and is this its socket?"
    )


UP = served(BINARY, CONNACK["5.0"])
ENDS = {
    "not found": (
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"",
        "cannot connect to .*/mqtt: .* 404 Not Found; set websocket.path",
    ),
    "text": (None, UP + served(TEXT, b"{}"), "protocol violation: the broker sent a text frame, "),
    "masked": (None, UP + served(BINARY, b"1234", mask=0x80), "protocol violation: the broker sent a masked frame, "),
    "close": (None, UP + served(CLOSE, b"\x03\xe9"), "the broker closed the WebSocket: 1001 going away$"),
    "close at once": (
        None,
        served(CLOSE, b"\x03\xf0bye"),
        "the broker closed the WebSocket: 1008 policy violation bye$",
    ),
    "malformed packet": (None, UP + served(BINARY, b"\0\0"), "protocol violation: the broker sent a malformed packet"),
}


@pytest.mark.parametrize(("answer", "then", "detail"), ENDS.values(), ids=ENDS)
def test_the_state_says_why_a_websocket_ended(
    loop: Loop, answer: bytes | None, then: bytes, detail: str, *, is_fast: bool
) -> None:
    with WebSocketServer(answer, then) as server:
        source = loop.add(make_source(server.port, is_fast=is_fast, websocket=AT_MQTT))
        assert re.match(detail, loop.lost(source)), source.detail


def test_a_message_above_the_limit_comes_in_fragments_with_its_size(loop: Loop, *, is_fast: bool) -> None:
    """A frame has no limit of its own: as over TCP, the message becomes a reading that is cut."""
    body = b"\0\x0bfactory/m/s\0\7\0" + bytes(300_000)
    packet = b"\x32" + remaining_length(len(body)) + body
    pieces = [served(BINARY, packet[:100], is_last=False), served(CONTINUATION, packet[100:200_000], is_last=False)]
    end = served(CONTINUATION, packet[200_000:])
    with WebSocketServer(None, b"".join([UP, *pieces, served(PING, b"1"), end])) as server:
        loop.add(make_source(server.port, is_fast=is_fast, websocket=AT_MQTT))
        loop.payloads(1)
        assert (loop.entries[0].reading.size, loop.entries[0].packet_id) == (300_000, 7)


def test_alpn_opens_a_front_that_closes_without_it(
    loop: Loop, mosquitto: StartMosquitto, certificates: Certificates, operator: Settings
) -> None:
    """With the name the broker is reached; another one, or none, is named as the cause."""

    def source(front: TlsFront, *names: str) -> MqttSource:
        given = BrokerTlsSettings.model_validate({"ca_file": str(certificates.ca), "alpn": list(names)})
        return loop.add(make_source(front.port, tls=tls_context(given, operator), alpn=names))

    with TlsFront(mosquitto().port, certificates, "mqtt", "x-amzn-mqtt-ca") as front:
        loop.close(loop.connected(source(front, "x-amzn-mqtt-ca")))
        wrong = f"before CONNACK; the broker selected none of mqtt3; correct tls.alpn {UNDER_SERVERS}"
        assert loop.lost(source(front, "mqtt3")).endswith(wrong)
        missing = "before CONNACK; is this a port for MQTT 5.0 over TLS, and does it need tls.alpn?"
        assert loop.lost(source(front)).endswith(missing)


def test_an_alert_about_alpn_is_explained(
    loop: Loop, free_port: FreePort, certificates: Certificates, operator: Settings
) -> None:
    port = free_port()
    shown = ("-cert", certificates.certificate("broker"), "-key", certificates.key("broker"))
    listen = ("s_server", "-quiet", "-alpn", "h2", "-accept", f"127.0.0.1:{port}")
    with subprocess.Popen([command("openssl", "openssl"), *listen, *shown], stdin=subprocess.PIPE) as server:
        given = BrokerTlsSettings.model_validate({"ca_file": str(certificates.ca), "alpn": ["mqtt"]})
        source = loop.add(make_source(port, tls=tls_context(given, operator), alpn=("mqtt",)))
        cause = f"the broker has none of the names in tls.alpn; correct it {UNDER_SERVERS}"
        try:
            loop.until(lambda: source.detail == f"cannot connect to 127.0.0.1:{port}: {cause}", "the cause")
        finally:
            server.kill()
