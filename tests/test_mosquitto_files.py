"""The Mosquitto files that we ship, run as they are: they keep what they were given, and keep out whom they should."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.stack.mosquitto import Mosquitto, hashed_passwords
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paho.mqtt.reasoncodes import ReasonCode

    from tests.conftest import StartMosquitto

FILES = Path(__file__).parent.parent / "mosquitto"
NAMES = ["home.conf", "gateway.conf", "acl.conf"]
CLOSED = ["home.conf", "acl.conf"]
USERS = {name: f"{name}-secret" for name in ("gateway", "press-1", "press-2", "dock-2", "adapter")}
HOUR = 3600


class Client:
    """An MQTT 5 client; a context manager that is connected."""

    def __init__(self, broker: Mosquitto, user: str = "", client_id: str = "", *, password: str | None = None) -> None:
        self.refusal = ""
        self.answers: list[str] = []
        self.arrived: list[tuple[str, bytes]] = []
        self.is_session_kept = False
        self._known = threading.Event()
        self._port = broker.port
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
        self._paho.on_connect = self._on_connect
        self._paho.on_publish = lambda _c, _d, _mid, reason, _properties: self.answers.append(str(reason))
        self._paho.on_subscribe = lambda *_: self.answers.append("subscribed")
        self._paho.on_message = lambda _c, _d, message: self.arrived.append((message.topic, bytes(message.payload)))
        if user:
            self._paho.username_pw_set(user, USERS[user] if password is None else password)

    def _on_connect(
        self, _client: object, _data: object, flags: paho.ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        self.refusal = str(reason) if reason.is_failure else ""
        self.is_session_kept = flags.session_present
        self._known.set()

    def __enter__(self) -> Self:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has not typed it
        properties.SessionExpiryInterval = HOUR
        self._paho.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        self._paho.loop_start()
        assert self._known.wait(10), "the broker answers a connection"
        return self

    def __exit__(self, *_: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def publish(self, topic: str, payload: bytes = b"{}") -> str:
        """Publish at QoS 1 and give the broker's answer."""
        before = len(self.answers)
        self._paho.publish(topic, payload, 1)
        wait_for(lambda: len(self.answers) > before, 60, "the acknowledgement")
        return self.answers[before]

    def publish_numbers(self, topic: str, count: int) -> None:
        """Publish 0, 1, 2 ... at QoS 1 and see all of them acknowledged."""
        for number in range(count):
            self._paho.publish(topic, b"%d" % number, 1)
        wait_for(lambda: len(self.answers) == count, 60, lambda: f"{count} answers, {len(self.answers)} came")
        assert set(self.answers) == {"Success"}

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1."""
        before = len(self.answers)
        self._paho.subscribe(topic, 1)
        wait_for(lambda: len(self.answers) > before, 60, "the subscription")


def shipped(name: str) -> tuple[str, Mapping[str, bytes | Path]]:
    """Give a file as it ships, and those that it names."""
    return (FILES / name).read_text(), {"passwd": hashed_passwords(USERS), "acl": FILES / "acl"}


def user_of(name: str, user: str) -> str:
    """Give the user to sign in as; nobody where the file wants nobody."""
    return user if name in CLOSED else ""


@pytest.mark.parametrize("name", NAMES)
def test_file_keeps_saved_readings_over_a_kill(name: str, mosquitto: StartMosquitto) -> None:
    """What the broker has saved for a gateway that is away is there after `kill -9`, in order, and so is its session.

    Mosquitto sends PUBACK before it saves. A kill in between can lose the message, so the test waits for the save.
    """
    broker = mosquitto(*shipped(name))
    with Client(broker, user_of(name, "gateway"), "gateway") as gateway:
        gateway.subscribe("sma")
    with Client(broker, user_of(name, "adapter")) as adapter:
        adapter.publish_numbers("sma", 1_500)  # more than the default queue of 1000
        wait_for(lambda: b"sma1499" in broker.stored, 10, "the store to hold the last message")
        broker.kill()  # before the clients end their sessions, which would be another reason to save
    broker.start()
    with Client(broker, user_of(name, "gateway"), "gateway") as gateway:
        assert gateway.is_session_kept
        wait_for(lambda: len(gateway.arrived) >= 1_500, 60, lambda: f"1500 readings, {len(gateway.arrived)} came")
        assert gateway.arrived == [("sma", b"%d" % number) for number in range(1_500)]


@pytest.mark.parametrize("name", NAMES)
def test_file_lets_a_slow_subscriber_have_more_than_twenty(name: str, mosquitto: StartMosquitto) -> None:
    """A subscriber of MQTT 3.1.1 that acknowledges nothing yet gets hundreds of readings, not the default 20."""
    broker = mosquitto(*shipped(name))
    arrived: list[int] = []
    subscribed = threading.Event()
    slow = paho.Client(CallbackAPIVersion.VERSION2, "slow", protocol=paho.MQTTv311, manual_ack=True)
    slow.on_message = lambda _c, _d, message: arrived.append(message.mid)
    slow.on_subscribe = lambda *_: subscribed.set()
    if name in CLOSED:
        slow.username_pw_set("gateway", USERS["gateway"])
    slow.connect("127.0.0.1", broker.port)
    slow.loop_start()
    slow.subscribe("sma", 1)
    assert subscribed.wait(10)
    with Client(broker, user_of(name, "adapter")) as adapter:
        adapter.publish_numbers("sma", 300)
    wait_for(lambda: len(arrived) == 300, 60, lambda: f"300 readings, {len(arrived)} came")
    slow.disconnect()
    slow.loop_stop()


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(("user", "password"), [("", None), ("gateway", "wrong"), ("gateway", "")])
def test_file_refuses_whom_it_does_not_know(
    name: str, user: str, password: str | None, mosquitto: StartMosquitto
) -> None:
    """Nobody connects without a name, or with a wrong or empty password."""
    broker = mosquitto(*shipped(name))
    with Client(broker, user, password=password) as stranger:
        assert stranger.refusal == "Not authorized"


@pytest.mark.parametrize("name", NAMES)
def test_file_passes_on_what_is_large_and_refuses_what_is_huge(name: str, mosquitto: StartMosquitto) -> None:
    """2 MiB reach the gateway, which makes a dead letter of them; whoever sends 17 MiB is disconnected."""
    broker = mosquitto(*shipped(name))
    with Client(broker, user_of(name, "gateway")) as gateway, Client(broker, user_of(name, "adapter")) as adapter:
        gateway.subscribe("sma")
        gone = threading.Event()
        sender = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        sender.on_disconnect = lambda *_: gone.set()
        if name in CLOSED:
            sender.username_pw_set("adapter", USERS["adapter"])
        sender.connect("127.0.0.1", broker.port)
        sender.publish("sma", b"x" * (17 * 2**20), 0)
        sender.loop_start()
        assert gone.wait(20), "the sender is disconnected"
        sender.disconnect()
        sender.loop_stop()
        assert adapter.publish("sma", b"x" * 2**21) == "Success"
        wait_for(lambda: gateway.arrived, 60, "the message")
        assert [len(payload) for _, payload in gateway.arrived] == [2**21]


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("press-1", "factory/press-1/oven_temp"),
        ("dock-2", "doors/dock-2"),
        ("adapter", "sma"),
        ("press-1", "widgets/press-1"),
    ],
)
def test_acl_lets_a_device_publish_under_its_own_name(user: str, topic: str, mosquitto: StartMosquitto) -> None:
    """What a device says under its own name reaches the gateway."""
    broker = mosquitto(*shipped("acl.conf"))
    with Client(broker, "gateway") as gateway, Client(broker, user) as device:
        gateway.subscribe(topic)
        assert device.publish(topic) == "Success"
        wait_for(lambda: gateway.arrived, 60, "the reading")


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("press-1", "factory/press-2/oven_temp"),
        ("press-1", "factory/press-1/oven/temp"),
        ("press-1", "factory/press-1"),
        ("press-1", "doors/dock-2"),
        ("press-1", "sma"),
        ("press-1", "gateway/status"),
        ("dock-2", "doors/dock-3"),
        ("adapter", "factory/press-1/oven_temp"),
    ],
)
def test_acl_refuses_a_device_that_speaks_for_another(user: str, topic: str, mosquitto: StartMosquitto) -> None:
    """A device cannot publish under another's name; the gateway never hears of it."""
    broker = mosquitto(*shipped("acl.conf"))
    with Client(broker, "gateway") as gateway, Client(broker, user) as device:
        gateway.subscribe(topic)
        gateway.subscribe("factory/+/+")
        assert device.publish(topic) == "Not authorized"
        with Client(broker, "press-2") as other:
            assert other.publish("factory/press-2/proof") == "Success"
        wait_for(lambda: gateway.arrived, 60, "the later reading")
        assert [heard for heard, _ in gateway.arrived] == ["factory/press-2/proof"]


@pytest.mark.parametrize(
    "topic", ["factory/press-1/oven_temp", "doors/gateway", "factory/gateway/x", "sma", "elsewhere"]
)
def test_acl_refuses_what_the_gateway_publishes(topic: str, mosquitto: StartMosquitto) -> None:
    """The gateway's user only reads: who steals its password cannot make readings up."""
    broker = mosquitto(*shipped("acl.conf"))
    with Client(broker, "gateway") as gateway:
        assert gateway.publish(topic) == "Not authorized"


def test_acl_refuses_a_device_that_listens(mosquitto: StartMosquitto) -> None:
    """A device hears nothing of the others."""
    broker = mosquitto(*shipped("acl.conf"))
    with (
        Client(broker, "gateway") as gateway,
        Client(broker, "press-1") as curious,
        Client(broker, "press-2") as other,
    ):
        gateway.subscribe("factory/+/+")
        curious.subscribe("#")
        assert other.publish("factory/press-2/oven_temp") == "Success"
        wait_for(lambda: gateway.arrived, 60, "the reading")
        assert curious.arrived == []


@pytest.mark.parametrize("name", NAMES)
def test_file_has_no_line_that_breaks_queues(name: str) -> None:
    """No file says per_listener_settings, nor anything that Debian's own mosquitto.conf says."""
    said = {line.split()[0] for line in (FILES / name).read_text().splitlines() if line and not line.startswith("#")}
    assert said.isdisjoint({"per_listener_settings", "persistence_location", "log_dest", "pid_file", "include_dir"})
    assert all(" 127.0.0.1" in line for line in (FILES / name).read_text().splitlines() if line.startswith("listener"))
