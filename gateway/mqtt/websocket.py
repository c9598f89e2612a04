"""MQTT over WebSocket (RFC 6455, MQTT 5.0 section 6): a socket that speaks it to the server, and MQTT to the reader.

paho's own wrapper lost: it reads three times for each frame, masks byte by byte in both directions, and calls every
answer but 101 a handshake error. Here `recv` takes all that the socket holds, and gives the payloads of its frames in
one piece.

- MQTT does not care where frames begin (MQTT-6.0.0-3), so a payload is passed on as it arrives. No frame is gathered
  and none is too large: the reader limits the size of a message, as it does over TCP.
- Polling the socket does not show what was decoded and not taken; `pending` tells it, as that of a TLS socket does.
- A frame that the socket takes only in part is kept. `send` raises BlockingIOError until all of it is sent, and gets
  the same data again from paho until then.
- Of several pings in one read the last is answered (RFC 6455 section 5.5.3), so that nothing piles up.
- A server that names no sub-protocol is assumed to speak MQTT; one that names another is refused.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha1
from typing import TYPE_CHECKING

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS
from gateway.text import cut, printable

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

READ_BYTES = 262_144
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LAST, RESERVED, MASKED = 0x80, 0x70, 0x80
WHOLE = LAST | BINARY  # the first byte of a message in one frame, as nearly all are
SHORT, MEDIUM, LONG = 125, 126, 127  # the largest size of one byte; what announces a size of two bytes, and of eight
MOST_ANSWER_BYTES = 16_384  # of the HTTP answer
SHOWN_BYTES = 100
CLOSE_CODES = {1001: "going away", 1002: "protocol error", 1008: "policy violation", 1009: "message too big"}
CHECK_PORT = f"is this a port for WebSocket? check host {UNDER_SERVERS}"
CHECK_PATH = f"set websocket.path to the broker's, which is /mqtt for most, {UNDER_SERVERS}"
CHECK_LOGIN = f"check websocket.headers and websocket.header_files {FILES_UNDER_SERVERS}"
ANSWER_FIXES = {401: CHECK_LOGIN, 403: CHECK_LOGIN, 404: CHECK_PATH}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(ConnectionError):
    """The server refused, closed or broke the WebSocket; the text is `cause; fix`."""


class WebSocketClosedError(WebSocketError):
    """The server closed the WebSocket with a close frame."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What the HTTP request asks for."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # beyond those of every WebSocket


class FrameReader:
    """Takes the server's bytes, split anywhere, and gives the payloads of its data frames; pure."""

    def __init__(self) -> None:
        self.controls: list[tuple[int, bytes]] = []  # control frames: type and payload
        self._rest = b""  # the beginning of a header, or of a control frame
        self._missing = 0  # bytes of a data frame that are still to come
        self._is_fragmented = False  # the last data frame was not the last of its message

    def feed(self, data: bytes) -> bytes:
        """Process bytes; WebSocketError when they break the protocol."""
        buffer = self._rest + data if self._rest else data
        end = len(buffer)
        position = min(self._missing, end)
        parts = [buffer[:position]]
        self._missing -= position
        while end - position >= 2:
            first, size, start = buffer[position], buffer[position + 1], position + 2
            if size == MEDIUM and end - position >= 4:
                size, start = buffer[start] << 8 | buffer[start + 1], position + 4
            elif size > SHORT:
                size, start = _long_size(buffer, position)
                if not start:
                    break
            if (first != WHOLE or self._is_fragmented) and self._is_control(first, size):
                if start + size > end:
                    break
                self.controls.append((first & 0x0F, buffer[start : start + size]))
            else:
                parts.append(buffer[start : start + size])
            position = start + size
        self._missing += max(0, position - end)
        self._rest = buffer[position:]
        return b"".join(parts)

    def _is_control(self, first: int, size: int) -> bool:
        kind, is_last = first & 0x0F, bool(first & LAST)
        if first & RESERVED or BINARY < kind < CLOSE or kind > PONG:
            raise _violation("a frame of an unknown type")
        if kind >= CLOSE:
            if not is_last or size > SHORT:
                raise _violation("a control frame that is fragmented or too long")
            return True
        if kind == TEXT:
            raise _violation("a text frame, and MQTT has binary ones; does something else answer at this path?")
        if (kind == CONTINUATION) != self._is_fragmented:
            raise _violation("a fragment out of order")
        self._is_fragmented = not is_last
        return False


class WebSocket:
    """A WebSocket, in place of the socket that it uses; the handshake blocks for `seconds` at most."""

    def __init__(self, sock: socket.socket, host: str, upgrade: Upgrade, seconds: float) -> None:
        self._socket = sock
        self.fileno, self.setblocking, self.close = sock.fileno, sock.setblocking, sock.close
        self._frames = FrameReader()
        self._received, self._position = b"", 0  # decoded bytes, and how many of them are taken
        self._unsent = bytearray()
        self._reply = b""  # the control frame that follows
        self._sending = 0  # bytes of data in the frame that is not sent completely
        self._end: WebSocketError | None = None
        self._is_shut = False
        self._decode(_shake_hands(sock, host, upgrade, time.monotonic() + seconds))

    def recv(self, size: int) -> bytes:
        """Receive MQTT; BlockingIOError when there is none, WebSocketError when the server has ended the WebSocket."""
        if self._position == len(self._received) and not self._end:
            if not (data := self._socket.recv(READ_BYTES)):
                return b""
            self._decode(data)
        taken = self._received[self._position : self._position + size]
        self._position += len(taken)
        if taken or (self._end and self._is_shut):  # an end that we asked for is no error
            return taken
        raise self._end or BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """Send MQTT, all or nothing; after BlockingIOError the next call must have the same data."""
        if not self._sending:
            self._unsent += frame(BINARY, data)
            self._sending = len(data)
        self._flush()
        sent, self._sending = self._sending, 0
        return sent

    def pending(self) -> int:
        """Count the bytes that polling the socket does not show; a connection that has ended counts as one."""
        held = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._received) - self._position + bool(self._end) + held

    def shutdown(self, how: int) -> None:
        """Say that nothing more is sent."""
        self._is_shut = True
        self._answer(CLOSE, (1000).to_bytes(2))
        self._socket.shutdown(how)

    def _decode(self, data: bytes) -> None:
        self._received, self._position = self._frames.feed(data), 0
        if controls := self._frames.controls:
            latest = dict(controls)
            controls.clear()
            if (reason := latest.get(CLOSE)) is not None:
                self._end = _closed(reason)
                self._answer(CLOSE, reason[:2])
            elif PING in latest:
                self._answer(PONG, latest[PING])

    def _answer(self, kind: int, payload: bytes) -> None:
        """Send a control frame, once the socket takes it; a later one replaces it."""
        self._reply = frame(kind, payload)
        with contextlib.suppress(OSError):  # the next read or write shows it
            self._flush()

    def _flush(self) -> None:
        while self._unsent or self._reply:
            if not self._unsent:
                self._unsent += self._reply
                self._reply = b""
            del self._unsent[: self._socket.send(self._unsent)]


def frame(kind: int, payload: bytes | bytearray) -> bytes:
    """Write a frame, masked with a random key as a client must."""
    size, key = len(payload), os.urandom(4)
    mask = int.from_bytes((key * (size // 4 + 1))[:size])
    masked = (int.from_bytes(payload) ^ mask).to_bytes(size)
    if size <= SHORT:
        return bytes((LAST | kind, MASKED | size)) + key + masked
    length = size.to_bytes(2) if size < 65_536 else size.to_bytes(8)
    return bytes((LAST | kind, MASKED | (MEDIUM if len(length) == 2 else LONG))) + length + key + masked


def _long_size(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a size of several bytes; give it and the start of the payload, or 0, 0 when bytes are missing."""
    announced = buffer[position + 1]
    if announced & MASKED:
        raise _violation("a masked frame, which only a client may send")
    start = position + (4 if announced == MEDIUM else 10)
    if start > len(buffer):
        return 0, 0
    size = int.from_bytes(buffer[position + 2 : start])
    if size >= 1 << 63:
        raise _violation("a frame of more than 2^63 bytes")
    return size, start


def _violation(what: str) -> WebSocketError:
    return WebSocketError(f"protocol violation: the broker sent {what}")


def _closed(payload: bytes) -> WebSocketClosedError:
    code, reason = int.from_bytes(payload[:2]), payload[2:]
    named = " ".join(filter(None, (str(code), CLOSE_CODES.get(code), _shown(reason)))) if payload else "no reason given"
    return WebSocketClosedError(f"the broker closed the WebSocket: {named}")


def _shown(text: bytes) -> str:
    return printable(cut(text, SHOWN_BYTES))


# --- the handshake ---------------------------------------------------------------------------------------------------


def _shake_hands(sock: socket.socket, host: str, upgrade: Upgrade, until: float) -> bytes:
    """Ask for the WebSocket, and check the answer; give the bytes behind it."""
    key = b64encode(os.urandom(16))
    headers = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": key.decode(), "Sec-WebSocket-Protocol": "mqtt", **upgrade.headers}
    lines = [f"GET {upgrade.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    sock.sendall("\r\n".join([*lines, "\r\n"]).encode())
    head, rest = _head(sock, until)
    status, *fields = head.decode("latin-1").split("\r\n")
    given = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
    if (code := status.partition(" ")[2][:3]) != "101":
        raise _refusal(code, status, given.get("location"), upgrade.path)
    if given.get("sec-websocket-accept") != b64encode(sha1(key + _GUID, usedforsecurity=False).digest()).decode():
        raise WebSocketError(f"the server sent a wrong Sec-WebSocket-Accept in the handshake; {CHECK_PORT}")
    if given.get("sec-websocket-protocol", "mqtt") != "mqtt":
        raise WebSocketError(f"the WebSocket at {upgrade.path} does not carry MQTT; {CHECK_PATH}")
    return rest


def _head(sock: socket.socket, until: float) -> tuple[bytes, bytes]:
    """Receive the head of an HTTP answer; give it, and the bytes behind it."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        sock.settimeout(max(0.001, until - time.monotonic()))
        if not (received := sock.recv(4_096)):
            raise WebSocketError(f"the server closed the connection instead of opening a WebSocket; {CHECK_PORT}")
        answer += received
        if len(answer) > MOST_ANSWER_BYTES or not (answer.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(answer)):
            raise WebSocketError(f"the server does not answer in HTTP; {CHECK_PORT}")
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head, rest


def _refusal(code: str, status: str, location: str | None, path: str) -> WebSocketError:
    shown = _shown(status.partition(" ")[2].encode()) or "no status"
    if location and code.startswith("3"):
        fix = f"set host and websocket.path {UNDER_SERVERS}"
        return WebSocketError(f"the server redirects from {path} to {_shown(location.encode())} ({shown}); {fix}")
    fix = ANSWER_FIXES.get(int(code) if code.isdecimal() else 0, "see the server's log for the reason")
    return WebSocketError(f"the server opens no WebSocket at {path}: {shown}; {fix}")
