"""Publishes fast and counts what the broker acknowledged: the tests' own side of the ledger.

MQTT 3.1.1 over a plain socket, QoS 1 or 2, up to `WINDOW` messages under way: paho's client publishes some thousand a
second, which would make the tests measure it.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW = 500
PUBACK, PUBREC, PUBCOMP = 0x4002, 0x5002, 0x7002  # with their length
PUBREL = b"\x62\2"


class Publisher:
    """A device.

    Args:
        port: of the broker on 127.0.0.1.
        client_id: its name.
        credentials: user and password, or None.
    """

    def __init__(self, port: int, client_id: str = "device", credentials: tuple[str, str] | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.sendall(_connect(client_id, credentials))
        answer = self._socket.recv(4)
        if answer[:1] != b"\x20" or answer[3] != 0:
            raise ConnectionRefusedError(f"CONNACK {answer.hex()}")
        self._packet_id = 0
        self._unread = b""
        self._under_way: deque[int] = deque()

    def publish(self, messages: Iterable[tuple[str, bytes]], qos: int = 1, *, retain: bool = False) -> int:
        """Publish messages and wait until the broker has acknowledged all of them.

        Returns:
            Their number.
        """
        count, batch = 0, bytearray()
        for topic, payload in messages:
            batch += self._packet(topic.encode(), payload, qos, retain=retain)
            count += 1
            if len(batch) > 32_768 or len(self._under_way) >= WINDOW:
                self._socket.sendall(batch)
                batch.clear()
                self._collect(WINDOW // 2)
        self._socket.sendall(batch)
        self._collect(0)
        return count

    def _packet(self, topic: bytes, payload: bytes, qos: int, *, retain: bool) -> bytes:
        body = struct.pack(">H", len(topic)) + topic
        if qos:
            self._packet_id = self._packet_id % 65_535 + 1
            self._under_way.append(self._packet_id)
            body += struct.pack(">H", self._packet_id)
        body += payload
        return bytes([0x30 | qos << 1 | retain]) + remaining_length(len(body)) + body

    def _collect(self, most: int) -> None:
        while len(self._under_way) > most:
            data = self._unread + self._socket.recv(65_536)
            if data == self._unread:
                raise ConnectionResetError("the broker closed the publisher's connection")
            whole = len(data) // 4 * 4
            for command, packet_id in struct.iter_unpack(">HH", data[:whole]):
                if command == PUBREC:
                    self._socket.sendall(PUBREL + struct.pack(">H", packet_id))
                    continue
                assert command in {PUBACK, PUBCOMP}, f"unexpected packet {command:04x}"
                assert packet_id == self._under_way.popleft(), "acknowledgements come in order"
            self._unread = data[whole:]

    def close(self) -> None:
        """Disconnect."""
        self._socket.sendall(b"\xe0\0")
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remaining_length(length: int) -> bytes:
    """Write a variable byte integer (MQTT 3.1.1 section 2.2.3)."""
    out = bytearray()
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length])


def _connect(client_id: str, credentials: tuple[str, str] | None) -> bytes:
    flags = 0x02 | (0xC0 if credentials else 0)
    body = b"\0\4MQTT\4" + bytes([flags]) + b"\0\x3c"
    for text in (client_id, *(credentials or ())):
        body += struct.pack(">H", len(text.encode())) + text.encode()
    return b"\x10" + remaining_length(len(body)) + body
