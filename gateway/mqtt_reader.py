"""Two ways to get readings off an MQTT socket; both are paho clients, and the same tests run on both.

`PahoReader` is plain paho: it reads one byte at a time and calls back for every message, 17 to 40 microseconds each.

`FastReader` replaces one method of paho's client, the one that reads packets: it takes what the socket holds at once
and runs over the PUBLISH packets in a tight loop; every other packet is handed to paho. Acknowledgements of a batch go
out in one write. It leans on paho 2.x internals (`_sock`, `_in_packet`, `_packet_handle`, `_packet_queue`), which is
why pyproject.toml pins the major version.

A PUBLISH that is longer than the payload limit is not gathered: its first bytes are kept, the rest is only hashed as it
passes, and it arrives as a reading that says its size. So memory stays bounded whatever a broker sends.

Malformed packets (MQTT 5.0 section 4.13) raise MalformedPacketError, and the source closes the link with the reason.
"""

from __future__ import annotations

import ssl
import time
from array import array
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

from gateway.core.dead_letter import CUT_TO
from gateway.core.reading import Reading
from gateway.lane import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISH, PUBACK = 0x30, 0x40
READ_BYTES = 262_144
LONGEST_HEADER = 131_072  # a topic and properties beyond this are refused with the link
_VARINT_BYTES = 4
_HANDED_TO_PAHO = {"have_remaining": 0, "remaining_count": [], "remaining_mult": 1, "to_process": 0}


class MalformedPacketError(Exception):
    """A packet that breaks the protocol; the text says how."""


class Connection:
    """One connection's acknowledgements, in the order the spool releases them.

    After a reconnect the broker uses packet ids anew. Readings keep the connection they came over, so what is
    acknowledged late goes to a list that nobody sends.
    """

    __slots__ = ("acknowledge", "packet_ids")

    def __init__(self) -> None:
        self.packet_ids: list[int] = []
        self.acknowledge: Callable[[int], None] = self.packet_ids.append

    def take(self) -> list[int]:
        """Take the packet ids to acknowledge now."""
        taken = self.packet_ids[:]
        self.packet_ids.clear()
        return taken


class PahoReader(paho.Client):
    """paho's client as it is, with an inbox.

    Args:
        stream_of: topic -> name of the stream it belongs to.
        payload_limit: bytes; longer payloads are cut.
        arguments: paho's own.
    """

    def __init__(self, stream_of: Callable[[bytes], str], payload_limit: int, **arguments: Any) -> None:
        super().__init__(manual_ack=True, **arguments)
        self.connection = Connection()
        self.arrived: list[Entry] = []
        self._stream_of = stream_of
        self._payload_limit = payload_limit
        self.on_message = self._take

    def _take(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        topic: bytes = message._topic  # noqa: SLF001 - `topic` raises on invalid UTF-8, which is for the transform
        payload, size, digest = bytes(message.payload), -1, b""
        if len(payload) > self._payload_limit:
            size, digest, payload = len(payload), sha256(payload).digest(), payload[:CUT_TO]
        now = time.time_ns() // 1_000_000
        reading = Reading(
            self._stream_of(topic), topic, payload, now, message.qos, message.retain, message.dup, size, digest
        )
        self.arrived.append(Entry(reading, self.connection, message.mid))

    def send_acknowledgements(self) -> None:
        """Queue the acknowledgements that the spool has released."""
        for packet_id in self.connection.take():
            self.ack(packet_id, 1)


class FastReader(PahoReader):
    """paho's client with a packet reader that works in batches."""

    def __init__(self, stream_of: Callable[[bytes], str], payload_limit: int, **arguments: Any) -> None:
        super().__init__(stream_of, payload_limit, **arguments)
        self._rest = b""
        self._oversized: _Oversized | None = None
        self._gather_limit = payload_limit + LONGEST_HEADER

    def reconnect(self) -> MQTTErrorCode:
        """Connect anew; what was left of the old connection's bytes is void."""
        self._rest = b""
        self._oversized = None
        return super().reconnect()

    def send_acknowledgements(self) -> None:
        """Queue all acknowledgements as one run of PUBACK packets (MQTT 5.0 section 3.4: success needs no reason)."""
        packet_ids = array("H", self.connection.take())
        if packet_ids:
            packet_ids.byteswap() if _IS_LITTLE_ENDIAN else None
            packets = array("H", b"\x40\x02\0\0" * len(packet_ids))
            packets[1::2] = packet_ids
            self._packet_queue(PUBACK, packets.tobytes(), 0, 0)

    def _packet_read(self) -> MQTTErrorCode:
        try:
            data = self._sock.recv(READ_BYTES)  # type: ignore[union-attr]  # loop_read asks for a socket first
        except (BlockingIOError, ssl.SSLWantReadError):
            return MQTTErrorCode.MQTT_ERR_AGAIN
        except OSError:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if not data:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        self._last_bytes_received = paho.time_func()
        return self.feed(data)

    def feed(self, data: bytes) -> MQTTErrorCode:  # noqa: C901, PLR0912 - one tight loop: a call costs more than a step
        """Take bytes in: whole packets go to the inbox or to paho, the rest waits for more.

        Args:
            data: the next bytes of the connection, cut anywhere.

        Returns:
            What paho said to the last packet it was handed.

        Raises:
            MalformedPacketError: when the bytes break the protocol.
        """
        if self._oversized:
            data = self._pass_on(data)
        buffer = self._rest + data if self._rest else data
        self._rest = b""
        now = time.time_ns() // 1_000_000
        is_v5, limit, stream_of, connection = (
            self._protocol == paho.MQTTv5, self._payload_limit, self._stream_of, self.connection
        )  # fmt: skip
        append = self.arrived.append
        position, end = 0, len(buffer)
        while end - position >= 2:
            command, size, start = buffer[position], buffer[position + 1], position + 2
            if size & 0x80:
                size, start = _remaining_length(buffer, position + 1)
                if not start:
                    break
            after = start + size
            if after > end:
                if size > self._gather_limit and command & 0xF0 == PUBLISH:
                    position = self._begin_oversized(buffer, position, start, size)
                break
            if command & 0xF0 == PUBLISH:
                body = start + 2 + (buffer[start] << 8 | buffer[start + 1]) if size > 2 else end + 1
                topic = buffer[start + 2 : body]
                packet_id = 0
                if command & 0x06:
                    packet_id = int.from_bytes(buffer[body : body + 2])
                    body += 2
                if is_v5:
                    body = body + 1 if body < after and not buffer[body] else _after_properties(buffer, body, after)
                if body > after or not topic or command & 0x06 > 0x02 or (command & 0x06 and not packet_id):
                    raise MalformedPacketError("a PUBLISH packet is malformed, or of QoS 2, which was not asked for")
                payload = buffer[body:after]
                if after - body > limit:
                    entry = self._cut(command, topic, payload, packet_id, now)
                else:
                    reading = Reading(
                        stream_of(topic), topic, payload, now,
                        (command >> 1) & 3, bool(command & 1), bool(command & 8),
                    )  # fmt: skip
                    entry = Entry(reading, connection, packet_id)
                append(entry)
            else:
                result = self._hand_to_paho(command, buffer[start:after], size)
                if result:
                    return result
                connection = self.connection
            position = after
        self._rest = buffer[position:]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _hand_to_paho(self, command: int, body: bytes, size: int) -> MQTTErrorCode:
        packet = {"command": command, "packet": bytearray(body), "remaining_length": size, "pos": 0}
        self._in_packet = _HANDED_TO_PAHO | packet  # type: ignore[assignment]  # the same keys as paho's TypedDict
        try:
            return self._packet_handle()
        except Exception as error:
            raise MalformedPacketError(f"paho cannot read a packet of type {command >> 4}: {error}") from error

    def _cut(self, command: int, topic: bytes, payload: bytes, packet_id: int, now: int) -> Entry:
        reading = Reading(
            self._stream_of(topic), topic, payload[:CUT_TO], now, (command >> 1) & 3, bool(command & 1),
            bool(command & 8), len(payload), sha256(payload).digest(),
        )  # fmt: skip
        return Entry(reading, self.connection, packet_id)

    def _begin_oversized(self, buffer: bytes, position: int, start: int, size: int) -> int:
        """Start to pass over a huge PUBLISH once its topic and properties are here; give the new position."""
        if len(buffer) - start < LONGEST_HEADER:
            return position
        command, topic_end = buffer[position], start + 2 + int.from_bytes(buffer[start : start + 2])
        topic = buffer[start + 2 : topic_end]
        packet_id = int.from_bytes(buffer[topic_end : topic_end + 2]) if command & 0x06 else 0
        body = topic_end + (2 if command & 0x06 else 0)
        if self._protocol == paho.MQTTv5:
            body = _after_properties(buffer, body, len(buffer))
        if not topic or body > len(buffer):
            raise MalformedPacketError(f"topic and properties of a PUBLISH are longer than {LONGEST_HEADER} bytes")
        self._oversized = _Oversized(command, topic, packet_id, start + size - body)
        self._pass_on(buffer[body:])
        return len(buffer)

    def _pass_on(self, data: bytes) -> bytes:
        """Hash what belongs to the huge payload; give what comes after it."""
        huge = self._oversized
        assert huge, "only called while one passes"
        rest = huge.take(data)
        if huge.missing == 0:
            self._oversized = None
            reading = Reading(
                self._stream_of(huge.topic), huge.topic, bytes(huge.head), time.time_ns() // 1_000_000,
                (huge.command >> 1) & 3, bool(huge.command & 1), bool(huge.command & 8), huge.size,
                huge.digest.digest(),
            )  # fmt: skip
            self.arrived.append(Entry(reading, self.connection, huge.packet_id))
        return rest


class _Oversized:
    """A payload that is only hashed as it passes."""

    def __init__(self, command: int, topic: bytes, packet_id: int, size: int) -> None:
        self.command = command
        self.topic = topic
        self.packet_id = packet_id
        self.size = self.missing = size
        self.head = bytearray()
        self.digest = sha256()

    def take(self, data: bytes) -> bytes:
        mine, rest = data[: self.missing], data[self.missing :]
        self.missing -= len(mine)
        self.head += mine[: CUT_TO - len(self.head)]
        self.digest.update(mine)
        return rest


_IS_LITTLE_ENDIAN = array("H", [1]).tobytes() == b"\1\0"


def _remaining_length(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5.0 section 1.5.5); give value and end, or 0, 0 when bytes are missing."""
    value = 0
    for place, byte in enumerate(buffer[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, position + place + 1
    if len(buffer) - position >= _VARINT_BYTES:
        raise MalformedPacketError("a length takes more than four bytes")
    return 0, 0


def _after_properties(buffer: bytes, position: int, after: int) -> int:
    """Find where the payload starts behind the properties of a PUBLISH; beyond `after` when they do not fit."""
    length, start = _remaining_length(buffer[:after], position)
    return start + length if start else after + 1
