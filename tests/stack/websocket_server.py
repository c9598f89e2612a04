"""A WebSocket server of few words, for what real brokers do not do: the test says what it answers and what it sends.

Each connection is answered by a thread; it reads on until the client closes, so that nothing is lost by a reset.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING

from tests.stack.loopback import Listening

if TYPE_CHECKING:
    import socket
    import ssl

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s\r\n"
SUB_PROTOCOL = b"Sec-WebSocket-Protocol: mqtt\r\n"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def served(kind: int, payload: bytes = b"", *, is_last: bool = True, mask: int = 0) -> bytes:
    """Write a frame as a server does."""
    size = len(payload)
    length = bytes([mask | 127]) + size.to_bytes(8)
    if size < 65_536:
        length = bytes([mask | size]) if size < 126 else bytes([mask | 126]) + size.to_bytes(2)
    return bytes([0x80 * is_last | kind]) + length + payload


def accepting(request: bytes, fields: bytes = SUB_PROTOCOL) -> bytes:
    """Write the answer that opens a WebSocket."""
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    return ACCEPTED % (b64encode(sha1(key + GUID, usedforsecurity=False).digest()), fields)


class WebSocketServer(Listening):
    """A listener; a context manager.

    Args:
        answer: to the request; None opens the WebSocket.
        then: what it sends as soon as the client has sent something.
        context: for TLS.

    Attributes:
        requests: all that were received.
        received: the bytes that followed the requests.
    """

    def __init__(self, answer: bytes | None = None, then: bytes = b"", context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.requests: list[bytes] = []
        self.received = b""
        self._answer, self._then, self._context = answer, then, context

    def serve(self, sock: socket.socket) -> None:
        """Answer the request, send what was given, and read on until the client closes."""
        sock = self._context.wrap_socket(sock, server_side=True) if self._context else sock
        with sock:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (data := sock.recv(4_096)):
                    return
                request += data
            self.requests.append(request)
            sock.sendall(accepting(request) if self._answer is None else self._answer)
            self.received += sock.recv(65_536)
            sock.sendall(self._then)
            while data := sock.recv(65_536):
                self.received += data
