"""The load broker counts right: a benchmark whose broker miscounts would flatter whoever loses acknowledgements."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench.contestants import Commanded
from bench.load import Load
from bench.load_broker import PUBACK, BridgeGoneError, Packets, Window, packet, split

if TYPE_CHECKING:
    from collections.abc import Iterator

LOAD = Load(kind="telegram", machines=7)  # the shorter cycle of ids


@pytest.fixture(scope="module")
def packets() -> Packets:
    """Make the packets of a cycle."""
    return Packets(LOAD, is_v5=True)


@pytest.mark.parametrize("reason", [b"", b"\0", b"\0\0"])
def test_window_counts_acknowledgements_in_any_order_and_cut_anywhere(packets: Packets, reason: bytes) -> None:
    """No id is used again while it is in flight, and none is counted twice."""
    chance, window, in_flight = random.Random(1), Window(packets, 300), list[int]()
    while window.sent < 2 * packets.cycle:
        for _ in range(min(window.room, chance.randint(0, 200))):
            packet_id = window.sent % packets.cycle + 1
            assert packet_id not in in_flight
            in_flight.append(packet_id)
            window.sent += 1
        if chance.random() < 0.5:
            chance.shuffle(in_flight)
        count = chance.randint(0, len(in_flight))
        data = b"".join(packet(PUBACK, each.to_bytes(2) + reason) for each in in_flight[:count])
        del in_flight[:count]
        cut = chance.randint(0, len(data))
        assert window.take(data[:cut]) + window.take(data[cut:]) == []
        assert window.sent - window.acknowledged == len(in_flight)


def test_window_refuses_an_acknowledgement_for_what_was_not_sent(packets: Packets) -> None:
    window = Window(packets, 20)
    window.sent = 3
    with pytest.raises(BridgeGoneError, match="cannot be"):
        window.take(packet(PUBACK, (9).to_bytes(2)))


def test_slice_goes_over_the_end_of_the_cycle(packets: Packets) -> None:
    found, rest = split(bytes(packets.slice(packets.cycle - 2, 4)))
    assert rest == b""
    ids = [int.from_bytes(body[5:7]) for _, body in found]  # behind the topic "sma"
    assert ids == [packets.cycle - 1, packets.cycle, 1, 2]


# --- as a process -----------------------------------------------------------------------------------------------------


class Bridge:
    """A bridge that keeps what it is sent.

    Args:
        port: of the load broker.
        subscription: a filter.
    """

    def __init__(self, port: int, subscription: str) -> None:
        self.topics: list[str] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.subscription = subscription
        self.client.on_connect = self.subscribe
        self.client.on_message = lambda _client, _data, message: self.topics.append(message.topic)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def subscribe(self, *_: object) -> None:
        """Ask for readings."""
        self.client.subscribe(self.subscription, 1)

    def close(self) -> None:
        """Say goodbye."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker() -> Iterator[Commanded]:
    """Start a load broker."""
    broker = Commanded("bench.load_broker")
    yield broker
    broker.close()


def test_two_bridges_get_half_of_the_readings_each(broker: Commanded) -> None:
    """Each is sent readings that match its filter and no others; the answer comes when both have acknowledged all."""
    bridges = [Bridge(broker.port, f"line-{number}/+/+") for number in range(2)]
    broker.tell(load=asdict(Load(streams=2)), count=1_001, bridges=2)
    assert broker.answer()["seconds"] > 0
    for bridge in bridges:
        bridge.close()
    assert [len(bridge.topics) for bridge in bridges] == [501, 500]
    assert [{topic.split("/")[0] for topic in bridge.topics} for bridge in bridges] == [{"line-0"}, {"line-1"}]


def test_bridge_that_comes_back_gets_all_readings(broker: Commanded) -> None:
    """Those sent at once and those at a rate; a bridge that has said goodbye is not waited for."""
    for count, rate in ((300, 0.0), (20, 200.0)):
        bridge = Bridge(broker.port, "#")
        broker.tell(load=asdict(Load(streams=2)), count=count, rate=rate)
        broker.answer()
        bridge.close()
        assert len(bridge.topics) == count
