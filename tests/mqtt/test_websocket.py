"""WebSockets: frames in any pieces, what breaks the protocol, and each answer to the handshake in a sentence."""

from __future__ import annotations

import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS
from gateway.mqtt.websocket import (
    MOST_ANSWER_BYTES,
    FrameReader,
    Upgrade,
    WebSocket,
    WebSocketClosedError,
    WebSocketError,
    frame,
)
from tests.stack.websocket_server import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SUB_PROTOCOL,
    TEXT,
    accepting,
    served,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 5.0
LARGE = bytes(range(256)) * 300
MESSAGES = (
    served(BINARY, b"1")
    + served(BINARY, b"")
    + served(PING, b"ping")
    + served(BINARY, b"2" * 200)
    + served(BINARY, b"3", is_last=False)
    + served(PING, b"between")
    + served(CONTINUATION, b"4", is_last=False)
    + served(CONTINUATION, b"5")
    + served(BINARY, LARGE)
    + served(CLOSE, b"\x03\xe8")
)
DATA = b"1" + b"2" * 200 + b"345" + LARGE
CONTROLS = [(PING, b"ping"), (PING, b"between"), (CLOSE, b"\x03\xe8")]


@given(st.lists(st.integers(0, len(MESSAGES)), max_size=20))
def test_feed_gives_the_same_bytes_however_they_are_cut(places: list[int]) -> None:
    reader = FrameReader()
    cuts = [0, *sorted(places), len(MESSAGES)]
    pieces = [MESSAGES[start:end] for start, end in pairwise(cuts)]
    assert b"".join(map(reader.feed, pieces)) == DATA
    assert reader.controls == CONTROLS


def test_feed_takes_single_bytes_and_passes_on_the_begun_frame() -> None:
    reader = FrameReader()
    assert b"".join(reader.feed(bytes([one])) for one in MESSAGES) == DATA
    assert reader.feed(b"\x82\x7f" + (2**40).to_bytes(8) + b"begun") == b"begun"
    assert reader.feed(b"a part") == b"a part", "a frame of a terabyte needs no memory"


VIOLATIONS = {
    "masked": (served(BINARY, b"keyx", mask=0x80), "a masked frame, which only a client may send"),
    "masked and long": (served(BINARY, b"x" * 200, mask=0x80), "a masked frame, which only a client may send"),
    "text": (served(TEXT, b"{}"), "a text frame, and MQTT has binary ones; does something else answer at this path?"),
    "reserved bit": (b"\xc2\0", "a frame of an unknown type"),
    "reserved type": (served(3), "a frame of an unknown type"),
    "reserved control": (served(11), "a frame of an unknown type"),
    "fragmented ping": (served(PING, is_last=False), "a control frame that is fragmented or too long"),
    "long ping": (served(PING, b"x" * 126), "a control frame that is fragmented or too long"),
    "continuation of nothing": (served(CONTINUATION, b"x"), "a fragment out of order"),
    "message in a message": (served(BINARY, is_last=False) + served(BINARY), "a fragment out of order"),
    "size": (b"\x82\x7f" + b"\xff" * 8, "a frame of more than 2^63 bytes"),
}


@pytest.mark.parametrize(("data", "what"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_feed_names_what_breaks_the_protocol(data: bytes, what: str) -> None:
    with pytest.raises(WebSocketError) as raised:
        FrameReader().feed(data)
    assert str(raised.value) == f"protocol violation: the broker sent {what}"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_001])
def test_frame_is_masked_and_has_the_shortest_size(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    written = frame(BINARY, payload)
    start = 2 if size < 126 else 4 if size < 65_536 else 10
    key, masked = written[start : start + 4], written[start + 4 :]
    assert written[:start] == served(BINARY, payload, mask=0x80)[:start]
    assert bytes(byte ^ key[place % 4] for place, byte in enumerate(masked)) == payload
    assert frame(BINARY, payload)[start : start + 4] != key


# --- the handshake ---------------------------------------------------------------------------------------------------


class Server:
    """The server's end of a connection whose client's end becomes a WebSocket."""

    def __init__(self) -> None:
        self.client, self.socket = socket.socketpair()
        self.socket.settimeout(SECONDS)

    def open(
        self, answer: Callable[[bytes], bytes] = accepting, upgrade: Upgrade | None = None, seconds: float = SECONDS
    ) -> WebSocket:
        """Shake hands; raises what the client raises."""
        with ThreadPoolExecutor(1) as pool:
            opened = pool.submit(WebSocket, self.client, "broker:8080", upgrade or Upgrade("/mqtt"), seconds)
            self.request = self.socket.recv(65_536)
            self.socket.sendall(answer(self.request))
            if not answer(self.request):
                self.socket.shutdown(socket.SHUT_WR)
            websocket = opened.result()
        self.client.settimeout(0)
        return websocket

    def frames(self) -> bytes:
        """Unmask what the client sent, as one server frame after the other."""
        data, frames = self.socket.recv(65_536), b""
        while data:
            size = data[1] & 0x7F
            key, payload = data[2:6], data[6 : 6 + size]
            frames += served(data[0] & 0x0F, bytes(byte ^ key[place % 4] for place, byte in enumerate(payload)))
            data = data[6 + size :]
        return frames


@pytest.fixture
def server() -> Iterator[Server]:
    """A server; both ends are closed with the test."""
    one = Server()
    yield one
    one.client.close()
    one.socket.close()


def test_the_handshake_asks_for_mqtt_with_the_headers_of_the_settings(server: Server) -> None:
    server.open(upgrade=Upgrade("/a/mqtt?x=1", {"Authorization": "Bearer canary"}))
    head = server.request.decode().split("\r\n")
    assert head[0] == "GET /a/mqtt?x=1 HTTP/1.1"
    assert {"Host: broker:8080", "Sec-WebSocket-Protocol: mqtt", "Authorization: Bearer canary"} <= set(head)
    assert "canary" not in repr(Upgrade("/", {"Authorization": "Bearer canary"}))


def test_the_handshake_keeps_what_follows_the_answer(server: Server) -> None:
    websocket = server.open(lambda request: accepting(request, b"") + served(BINARY, b"early"))
    assert websocket.pending() == 5
    assert websocket.recv(100) == b"early"


LOGIN = f"check websocket.headers and websocket.header_files {FILES_UNDER_SERVERS}"
PORT = f"is this a port for WebSocket? check host {UNDER_SERVERS}"
REFUSALS = {
    "404": (
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        (
            "the server opens no WebSocket at /mqtt: 404 Not Found; "
            f"set websocket.path to the broker's, which is /mqtt for most, {UNDER_SERVERS}"
        ),
    ),
    "401": (
        b"HTTP/1.1 401 Unauthorized\r\n\r\n",
        f"the server opens no WebSocket at /mqtt: 401 Unauthorized; {LOGIN}",
    ),
    "302": (
        b"HTTP/1.1 302 Found\r\nLocation: https://other/\x1b[m\r\n\r\n",
        (
            "the server redirects from /mqtt to https://other/\\u001b[m (302 Found); "
            f"set host and websocket.path {UNDER_SERVERS}"
        ),
    ),
    "502": (
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "the server opens no WebSocket at /mqtt: 502 Bad Gateway; see the server's log for the reason",
    ),
    "no code": (
        b"HTTP/1.1\r\n\r\n",
        "the server opens no WebSocket at /mqtt: no status; see the server's log for the reason",
    ),
    "MQTT": (b"\x20\2\0\0", f"the server does not answer in HTTP; {PORT}"),
    "no end": (b"HTTP/1.1 101 " + b"x" * MOST_ANSWER_BYTES, f"the server does not answer in HTTP; {PORT}"),
    "nothing": (b"", f"the server closed the connection instead of opening a WebSocket; {PORT}"),
    "no key": (
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        f"the server sent a wrong Sec-WebSocket-Accept in the handshake; {PORT}",
    ),
}


@pytest.mark.parametrize(("answer", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_the_handshake_explains_each_answer(server: Server, answer: bytes, sentence: str) -> None:
    with pytest.raises(WebSocketError) as raised:
        server.open(lambda _request: answer)
    assert str(raised.value) == sentence


def test_the_handshake_refuses_another_sub_protocol(server: Server) -> None:
    with pytest.raises(WebSocketError, match="the WebSocket at /mqtt does not carry MQTT"):
        server.open(lambda request: accepting(request, SUB_PROTOCOL.replace(b"mqtt", b"graphql-ws")))


def test_the_handshake_ends_in_time(server: Server) -> None:
    with pytest.raises(TimeoutError):
        server.open(lambda _request: b"HTTP/1.1 101", seconds=0.2)


# --- the open WebSocket ----------------------------------------------------------------------------------------------


def test_recv_gives_as_much_as_is_wanted_and_pending_tells_the_rest(server: Server) -> None:
    websocket = server.open()
    server.socket.sendall(served(BINARY, b"abc") + served(BINARY, b"def"))
    assert (websocket.recv(2), websocket.pending()) == (b"ab", 4)
    assert (websocket.recv(100), websocket.pending()) == (b"cdef", 0)
    with pytest.raises(BlockingIOError):
        websocket.recv(1)
    server.socket.shutdown(socket.SHUT_WR)
    assert websocket.recv(1) == b""


def test_recv_answers_the_last_ping_and_takes_it_for_no_data(server: Server) -> None:
    websocket = server.open()
    server.socket.sendall(served(PING, b"1") + served(PONG) + served(PING, b"2"))
    with pytest.raises(BlockingIOError):
        websocket.recv(1)
    assert server.frames() == served(PONG, b"2")


CLOSES = {
    "with a reason": (b"\x03\xf0no \x1b[m", "1008 policy violation no \\u001b[m"),
    "of another code": (b"\x0f\xa0", "4000"),
    "without a code": (b"", "no reason given"),
}


@pytest.mark.parametrize(("payload", "said"), CLOSES.values(), ids=CLOSES)
def test_recv_gives_what_came_before_a_close_and_then_its_reason(server: Server, payload: bytes, said: str) -> None:
    websocket = server.open()
    server.socket.sendall(served(BINARY, b"last") + served(CLOSE, payload))
    assert (websocket.recv(100), websocket.pending()) == (b"last", 1)
    with pytest.raises(WebSocketClosedError) as raised:
        websocket.recv(100)
    assert str(raised.value) == f"the broker closed the WebSocket: {said}"
    assert server.frames() == served(CLOSE, payload[:2])


def test_recv_takes_a_close_that_was_asked_for_as_the_end(server: Server) -> None:
    websocket = server.open()
    websocket.shutdown(socket.SHUT_WR)
    assert server.frames() == served(CLOSE, (1000).to_bytes(2))
    server.socket.sendall(served(CLOSE, (1000).to_bytes(2)))
    assert websocket.recv(1) == b""


def test_send_is_complete_or_blocks_and_pings_are_answered_behind_it(server: Server) -> None:
    """What the socket takes only in part is sent once, however often it is tried again."""
    websocket = server.open()
    data, received, end = bytes(range(256)) * 20_000, b"", time.monotonic() + SECONDS
    with pytest.raises(BlockingIOError):
        websocket.send(data)
    server.socket.sendall(served(PING, b"late"))
    with pytest.raises(BlockingIOError):
        websocket.recv(1)
    server.socket.settimeout(0)
    sent = 0
    while not sent or select.select([server.socket], [], [], 0)[0]:
        assert time.monotonic() < end
        if select.select([server.socket], [], [], 0)[0]:
            received += server.socket.recv(1_000_000)
        try:
            sent = sent or websocket.send(data)
        except BlockingIOError:
            continue
    assert sent == len(data)
    head, key = received[:10], received[10:14]
    assert head == served(BINARY, data, mask=0x80)[:10]
    body = received[14 : 14 + len(data)]
    assert body == (int.from_bytes(data) ^ int.from_bytes(key * (len(data) // 4))).to_bytes(len(data))
    assert received[14 + len(data) :][:2] == served(PONG, b"late", mask=0x80)[:2]
    assert len(received) == 14 + len(data) + 2 + 4 + 4
