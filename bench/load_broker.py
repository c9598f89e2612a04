"""A load broker: what a bridge takes for an MQTT broker, and nothing in it but ready-made packets.

    python -m bench.load_broker        commands on standard input, answers on standard output, one JSON object a line

    -> {"load": {...}, "count": 100000}                 as fast as the window allows
    -> {"load": {...}, "count": 5000, "rate": 1000.0}   so many a second
    -> {"load": {...}, "count": 100000, "bridges": 2}   an equal share to each of two at the same time
    <- {"seconds": 1.2, "first_at": ..., "last_at": ...}
    -> {"load": {...}, "is_v5": true}                   only makes the packets, before a bridge is there

It accepts bridges, MQTT 5 or 3.1.1, answers CONNECT, SUBSCRIBE, UNSUBSCRIBE and PINGREQ, and ends with its standard
input. A command waits for as many bridges as it is for to subscribe, and is answered when every reading is
acknowledged. One bridge is sent all readings, whatever it subscribed to; of several, each is sent those that match its
filters, which should not overlap: shared subscriptions are not known here.

What makes it fast enough not to be what is measured: the packets of a whole cycle of ids lie in one piece of memory,
so that sending is a slice of it; and a bridge that acknowledges in order sends bytes that are known beforehand, so
that counting them is one comparison. It sends what the bridge's Receive Maximum allows, or the command's smaller
window. Ids go round; none is used again before all older ones are acknowledged.

Rejected: Mosquitto, which needs more CPU for each message than the gateway does.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.client import topic_matches_sub

from bench.load import NO_STAMP, STAMP_DIGITS, Load

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT, CONNACK, PUBLISH_QOS_1, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x20, 0x32, 0x40, 0x80, 0x90
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 0xA0, 0xB0, 0xC0, 0xD0, 0xE0
RECEIVE_MAXIMUM = 0x21
PROPERTY_BYTES: Final = {0x11: 4, 0x19: 1, 0x17: 1, 0x21: 2, 0x22: 2, 0x27: 4}  # of CONNECT, MQTT 5.0 section 3.1.2.11
READ_BYTES = 262_144
SEND_BYTES = 1_048_576
MOST_AT_ONCE = 8_192
MOST_UNACKNOWLEDGED = 65_535
LONGEST_PAUSE_SECONDS = 5.0
BEHIND_STAMP = b'"}'


class BridgeGoneError(Exception):
    """The bridge closed its connection."""


class Packets:
    """The PUBLISH packets of a cycle of packet ids, and the acknowledgements expected for them.

    Args:
        load: which readings.
        is_v5: whether packets have properties.
        filters: of the readings, those whose topic matches one of these; None for all.
    """

    def __init__(self, load: Load, *, is_v5: bool, filters: Sequence[str] | None = None) -> None:
        messages = [message for message in map(load.message, range(load.cycle)) if _is_wanted(message[0], filters)]
        assert messages, f"no reading of the load matches {filters}"
        self.cycle = len(messages)
        packets = [publish(*message, number, is_v5=is_v5) for number, message in enumerate(messages, 1)]
        # Twice in a row: a slice that goes over the end of the cycle is a slice, too.
        self._bytes = memoryview(b"".join(packets) * 2)
        self._starts = [0, *accumulate(map(len, packets * 2))]
        self.acknowledgements = b"".join(b"\x40\x02" + n.to_bytes(2) for n in range(1, self.cycle + 1)) * 2
        self._heads = [each.split(NO_STAMP.encode())[0] for each in packets * 2] if load.is_stamped else []

    def slice(self, first: int, count: int) -> memoryview:
        """Give packets to send: `count` from the one with number `first`."""
        start = first % self.cycle
        if not self._heads:
            return self._bytes[self._starts[start] : self._starts[start + count]]
        stamp = b"%0*d" % (STAMP_DIGITS, time.monotonic_ns())
        return memoryview((stamp + BEHIND_STAMP).join([*self._heads[start : start + count], b""]))


class Window:
    """Which readings are sent and which are acknowledged.

    Args:
        packets: what is sent.
        size: how many may be unacknowledged.
    """

    def __init__(self, packets: Packets, size: int) -> None:
        self.sent = 0
        self.acknowledged = 0
        self._oldest = 0  # all before it are acknowledged
        self._early: set[int] = set()  # acknowledged though an older one is not
        self._packets = packets
        self._size = min(size, packets.cycle)
        self._rest = b""

    @property
    def room(self) -> int:
        """How many may be sent now."""
        return min(self._size - (self.sent - self.acknowledged), self._oldest + self._packets.cycle - self.sent)

    def take(self, data: bytes) -> list[tuple[int, bytes]]:
        """Count acknowledgements; give the packets that are something else."""
        count, cut = divmod(len(data), 4)
        start = 4 * (self._oldest % self._packets.cycle)
        is_in_order = not (cut or self._rest or self._early) and self._oldest + count <= self.sent
        if is_in_order and data == self._packets.acknowledgements[start : start + len(data)]:
            self.acknowledged += count
            self._oldest += count
            return []
        found, self._rest = split(self._rest + data)
        return [packet for packet in found if not self._is_acknowledgement(*packet)]

    def _is_acknowledgement(self, command: int, body: bytes) -> bool:
        if command != PUBACK:
            return False
        behind = (int.from_bytes(body[:2]) - 1 - self._oldest) % self._packets.cycle
        number = self._oldest + behind
        if number >= self.sent or number in self._early or (len(body) > 2 and body[2] >= 0x80):
            raise BridgeGoneError(f"the bridge sent an acknowledgement that cannot be: {body.hex()}")
        self._early.add(number)
        self.acknowledged += 1
        while self._oldest in self._early:
            self._early.remove(self._oldest)
            self._oldest += 1
        return True


class Link:
    """One connected bridge.

    Args:
        connection: the socket, just accepted.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        connection.settimeout(0)
        self.filters: list[str] = []
        self.is_v5 = False
        self.receive_maximum = MOST_UNACKNOWLEDGED
        self._socket = connection
        self._out: bytes | memoryview = b""
        self._rest = b""

    @property
    def is_sending(self) -> bool:
        """Whether something is left that the socket did not take yet."""
        return bool(self._out)

    def fileno(self) -> int:
        """The socket to wait on."""
        return self._socket.fileno()

    def maintain(self) -> None:
        """Answer what has come, of a bridge that is sent no readings."""
        packets, self._rest = split(self._rest + self._receive())
        self._answer(packets)

    def take(self, window: Window) -> None:
        """Count the acknowledgements that have come, and answer the rest."""
        self._answer(window.take(self._receive()))

    def send(self, data: bytes | memoryview = b"") -> None:
        """Send as much as the socket takes of what is left, or of more when nothing is."""
        self._out = self._out or data
        if self._out:
            try:
                self._out = self._out[self._socket.send(self._out) :]
            except BlockingIOError:
                return
            except OSError as error:
                raise BridgeGoneError(str(error)) from error

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError as error:
            raise BridgeGoneError(str(error)) from error
        if not data:
            raise BridgeGoneError("the bridge closed the connection")
        return data

    def _answer(self, packets: Sequence[tuple[int, bytes]]) -> None:
        for command, body in packets:
            if command == DISCONNECT:
                raise BridgeGoneError("the bridge said goodbye")
            if command == CONNECT:
                self.is_v5, self.receive_maximum = greeting(body)
                answer = packet(CONNACK, b"\0\0\0" if self.is_v5 else b"\0\0")
            elif command & 0xF0 == SUBSCRIBE:
                asked = subscriptions(body, is_v5=self.is_v5)
                self.filters += asked
                answer = packet(SUBACK, body[:2] + (b"\0" if self.is_v5 else b"") + bytes(asked.values()))
            elif command & 0xF0 == UNSUBSCRIBE:
                answer = packet(UNSUBACK, body[:2] + (b"\0\0" if self.is_v5 else b""))
            elif command == PINGREQ:
                answer = packet(PINGRESP, b"")
            else:
                continue
            self._out = bytes(self._out) + answer
        self.send()


class Blast:
    """Readings on their way to one bridge.

    Args:
        link: to the bridge.
        packets: of the readings.
        count: how many to send.
        window: how many may be unacknowledged.
        rate: how many a second; 0 for as fast as possible.
    """

    def __init__(self, link: Link, packets: Packets, count: int, window: int, rate: float) -> None:
        self._link = link
        self._packets = packets
        self._count = count
        self._window = Window(packets, min(window, link.receive_maximum))
        self._rate = rate

    @property
    def is_done(self) -> bool:
        """Whether all are acknowledged."""
        return self._window.acknowledged == self._count

    @property
    def is_sending(self) -> bool:
        """Whether the socket has yet to take something."""
        return self._link.is_sending

    def fileno(self) -> int:
        """The socket to wait on."""
        return self._link.fileno()

    def send(self, seconds: float) -> None:
        """Send what is due so long after the start."""
        window, data = self._window, memoryview(b"")
        due = min(self._count, int(seconds * self._rate) + 1) if self._rate else self._count
        if not self._link.is_sending and (room := min(window.room, due - window.sent, MOST_AT_ONCE)) > 0:
            data = self._packets.slice(window.sent, room)
            window.sent += room
        self._link.send(data)

    def take(self) -> None:
        """Count the acknowledgements that have come."""
        self._link.take(self._window)

    def pause(self, seconds: float) -> float:
        """Tell for how long there is nothing to send, so long after the start."""
        if self._link.is_sending or not self._window.room or self._window.sent == self._count:
            return LONGEST_PAUSE_SECONDS
        return max(0.0, self._window.sent / self._rate - seconds) if self._rate else 0.0


def blast(every: Sequence[Blast]) -> tuple[float, float]:
    """Send readings, to all bridges at the same time, until all are acknowledged.

    Returns:
        Monotonic seconds of the first PUBLISH and the last PUBACK.
    """
    first_at = time.monotonic()
    while busy := [one for one in every if not one.is_done]:
        for one in busy:
            one.send(time.monotonic() - first_at)
        writing = [one for one in busy if one.is_sending]
        pause = min(one.pause(time.monotonic() - first_at) for one in busy)
        # select, not poll: its time-out is finer than a millisecond.
        for one in select.select(busy, writing, [], pause)[0]:
            one.take()
    return first_at, time.monotonic()


def publish(topic: str, payload: bytes, packet_id: int, *, is_v5: bool) -> bytes:
    """Write a QoS 1 PUBLISH packet."""
    name = topic.encode()
    properties = b"\0" if is_v5 else b""
    return packet(PUBLISH_QOS_1, len(name).to_bytes(2) + name + packet_id.to_bytes(2) + properties + payload)


def packet(command: int, body: bytes) -> bytes:
    """Write any packet."""
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([command]) + length + body


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split bytes into packets, first byte and body, and the rest that is not whole."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while True:
        start, size, shift = position + 1, 0, 0
        while start < len(data):
            size |= (data[start] & 0x7F) << shift
            shift += 7
            start += 1
            if data[start - 1] < 0x80:
                break
        else:
            return found, data[position:]
        if start + size > len(data):
            return found, data[position:]
        found.append((data[position], data[start : start + size]))
        position = start + size


def greeting(body: bytes) -> tuple[bool, int]:
    """Read from CONNECT whether the bridge speaks MQTT 5, and its Receive Maximum."""
    if body[6] != 5:
        return False, MOST_UNACKNOWLEDGED
    position, end = 11, 11 + body[10]  # a length of one byte: bridges here send few properties
    while position < end:
        identifier = body[position]
        size = PROPERTY_BYTES[identifier]
        if identifier == RECEIVE_MAXIMUM:
            return True, int.from_bytes(body[position + 1 : position + 3])
        position += 1 + size
    return True, MOST_UNACKNOWLEDGED


def subscriptions(body: bytes, *, is_v5: bool) -> dict[str, int]:
    """Read from SUBSCRIBE the filters, and the QoS that each asks for."""
    position = 3 + body[2] if is_v5 else 2
    found = {}
    while position < len(body):
        start = position + 2
        position = start + int.from_bytes(body[position:start])
        found[body[start:position].decode()] = body[position] & 3
        position += 1
    return found


def _is_wanted(topic: str, filters: Sequence[str] | None) -> bool:
    return filters is None or any(topic_matches_sub(each, topic) for each in filters)


@lru_cache(maxsize=2)
def _prepare(load: Load, filters: tuple[str, ...] | None, *, is_v5: bool) -> Packets:
    """Make packets, or take those of the last time."""
    return Packets(load, is_v5=is_v5, filters=filters)


@dataclass
class LoadBroker:
    """The process: bridges come on the listener, commands on standard input.

    Args:
        listener: listens on loopback.
    """

    listener: socket.socket

    def __post_init__(self) -> None:
        self._links: list[Link] = []

    @property
    def _subscribed(self) -> list[Link]:
        return [link for link in self._links if link.filters]

    def serve(self) -> None:
        """Obey commands until there are no more."""
        while command := self._next_command():
            print(json.dumps(self._obey(json.loads(command))), flush=True)

    def _next_command(self) -> str:
        """Wait for a command; answer the bridges meanwhile."""
        while not select.select([sys.stdin], [], [], 0)[0]:
            self._tend(0.05 if self._subscribed else 0.005)
        return sys.stdin.readline()

    def _tend(self, seconds: float) -> None:
        """Answer what is not about readings, waiting for so long at most."""
        peers: list[Link | socket.socket] = [self.listener, *self._links]
        ready = select.select(peers, [], [], seconds)[0]
        for link in [link for link in self._links if link in ready]:
            try:
                link.maintain()
            except BridgeGoneError:
                self._links.remove(link)
        if self.listener in ready:
            self._links.append(Link(self.listener.accept()[0]))

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        if "load" not in command:
            return {"is_subscribed": bool(self._subscribed)}
        load = Load(**command["load"])
        if "is_v5" in command:
            _prepare(load, None, is_v5=command["is_v5"])
            return {}
        links = self._wait_for_bridges(command.get("bridges", 1))
        window, rate = command.get("window", MOST_UNACKNOWLEDGED), command.get("rate", 0.0) / len(links)
        every = []
        for number, link in enumerate(links):
            count = len(range(number, command["count"], len(links)))
            packets = _prepare(load, tuple(link.filters) if len(links) > 1 else None, is_v5=link.is_v5)
            every.append(Blast(link, packets, count, window, rate))
        try:
            first_at, last_at = blast(every)
        except BridgeGoneError as error:
            self._links = []
            return {"error": str(error)}
        return {"seconds": last_at - first_at, "first_at": first_at, "last_at": last_at}

    def _wait_for_bridges(self, count: int) -> list[Link]:
        """Wait until so many have subscribed, and give them; the newest, should there be more."""
        self._tend(0)  # a bridge that has said goodbye is not the one to send to
        while len(self._subscribed) < count:
            self._tend(1.0)
        return self._subscribed[-count:]


def main() -> None:
    """Listen on a free port of loopback, say which, and serve."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        LoadBroker(listener).serve()


if __name__ == "__main__":
    main()
