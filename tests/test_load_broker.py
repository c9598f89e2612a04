"""The load broker counts right: a benchmark whose broker miscounts would flatter whoever loses acknowledgements."""

from __future__ import annotations

import random

import pytest

from bench.load import Load
from bench.load_broker import PUBACK, BridgeGoneError, Packets, Window, packet, split

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
