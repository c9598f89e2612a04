"""An MQTT broker that says what real brokers do not: it refuses MQTT 5.0, or subscriptions."""

from __future__ import annotations

import socketserver

from tests.stack.loopback import Serving

CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x80, 0xC0, 0xE0
V5 = 5
MESSAGE = (b"rooms/a", b'{"t": 21.5}')


class ScriptedBroker(Serving):
    """A broker for one client at a time; a context manager.

    Args:
        level: the only protocol level that it accepts; 4 is MQTT 3.1.1.
        code: of each SUBACK; from 0x80 on it denies the subscription, else a message follows.
        is_silent: it closes the connection instead of refusing a protocol level.
    """

    def __init__(self, level: int = V5, code: int = 0, *, is_silent: bool = False) -> None:
        class Client(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while head := self.rfile.read(2):
                    body = self.rfile.read(head[1])  # packets of less than 128 bytes
                    kind = head[0] & 0xF0
                    if kind == CONNECT and body[6] != level:
                        self.wfile.write(b"" if is_silent else b"\x20\2\0\1")
                        return
                    if kind == DISCONNECT:
                        return
                    self.wfile.write(self.answer(kind, body))

            def answer(self, kind: int, body: bytes) -> bytes:
                properties = b"\0" * (level == V5)
                if kind == SUBSCRIBE:
                    topic, payload = MESSAGE
                    message = bytes([0, len(topic)]) + topic + properties + payload
                    return packet(0x90, body[:2] + properties + bytes([code])) + packet(0x30, message) * (code < 0x80)
                return packet(0x20, b"\0\0" + properties) if kind == CONNECT else packet(0xD0, b"")

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Client)
        server.daemon_threads = True
        super().__init__(server)
        self.address = f"127.0.0.1:{server.server_address[1]}"


def packet(first: int, body: bytes) -> bytes:
    """Write a short packet."""
    return bytes([first, len(body)]) + body
