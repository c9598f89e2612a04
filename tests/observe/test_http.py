"""Metrics and health over raw sockets: what is answered, what is refused, and what cannot be exhausted."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.errors import GatewayError
from gateway.observe import http
from gateway.observe.http import HttpServer, Pages
from gateway.observe.peer_state import Health, PeerState
from gateway.page.html import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITING = PeerState("kafka", "waiting", "The topic does not exist: create it.")
DEADLINE_SECONDS = 10.0


class Gateway:
    """What the server asks, as the service would give it."""

    def __init__(self) -> None:
        self.health = Health(alive=True, ready=True)

    def get_health(self) -> Health:
        """Tell how things stand."""
        return self.health

    def pages(self) -> Pages:
        """All that it serves."""
        return Pages(self.get_page, self.get_metrics, self.get_health)

    def get_page(self) -> Page:
        """Show how things stand."""
        return Page("<p>as it is</p>", "'sha256-x'")

    def get_metrics(self) -> bytes:
        """Tell the books."""
        return b"gateway_readings_total 1\n"


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def server(gateway: Gateway) -> Iterator[HttpServer]:
    with HttpServer("127.0.0.1:0", gateway.pages()) as running:
        yield running


@pytest.fixture
def impatient(gateway: Gateway) -> Iterator[HttpServer]:
    with HttpServer("127.0.0.1:0", gateway.pages(), head_seconds=0.4) as running:
        yield running


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)


def receive(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def exchange(server: HttpServer, request: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(request)
        return receive(connection)


def ask(server: HttpServer, path: str, host: str = "localhost", method: str = "GET") -> tuple[int, str, bytes]:
    answer = exchange(server, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


# --- pages -----------------------------------------------------------------------------------------------------------


def test_metrics(server: HttpServer) -> None:
    status, head, body = ask(server, "/metrics")
    assert (status, body) == (200, b"gateway_readings_total 1\n")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head


def test_readyz_of_a_ready_gateway(server: HttpServer) -> None:
    status, head, body = ask(server, "/readyz?verbose=1")
    assert (status, json.loads(body)) == (200, {"ready": True, "states": []})
    assert "Content-Type: application/json" in head


def test_readyz_of_a_gateway_that_waits_names_the_peer(server: HttpServer, gateway: Gateway) -> None:
    gateway.health = Health(alive=True, ready=False, states=(WAITING,))
    status, _, body = ask(server, "/readyz")
    state = {"peer": "kafka", "state": "waiting", "detail": "The topic does not exist: create it."}
    assert (status, json.loads(body)) == (503, {"ready": False, "states": [state]})


def test_livez(server: HttpServer, gateway: Gateway) -> None:
    assert ask(server, "/livez")[0] == 200
    gateway.health = Health(alive=False, ready=False)
    status, _, body = ask(server, "/livez")
    assert (status, json.loads(body)) == (503, {"alive": False})


def test_page_may_use_its_style_and_nothing_else(server: HttpServer) -> None:
    status, head, body = ask(server, "/")
    assert (status, body) == (200, b"<p>as it is</p>")
    assert "Content-Type: text/html; charset=utf-8" in head
    assert "frame-ancestors 'none'; style-src 'sha256-x'\r\n" in head


def test_head_has_the_length_and_no_body(server: HttpServer) -> None:
    status, head, body = ask(server, "/metrics", method="HEAD")
    assert (status, body) == (200, b"")
    assert "Content-Length: 25" in head


@pytest.mark.parametrize("path", ["/", "/metrics", "/gone"])
def test_every_answer_has_the_security_headers(server: HttpServer, path: str) -> None:
    _, head, _ = ask(server, path)
    assert "Content-Security-Policy: default-src 'none';" in head
    assert "X-Content-Type-Options: nosniff" in head
    assert "Access-Control" not in head
    assert "Server:" not in head


def test_outside_text_in_a_state_stays_text(server: HttpServer, gateway: Gateway) -> None:
    gateway.health = Health(alive=True, ready=False, states=(PeerState("a", "b", "\r\n\r\n<script>\ud800"),))
    _, _, body = ask(server, "/readyz")
    assert json.loads(body)["states"][0]["detail"] == "\r\n\r\n<script>\ud800"
    assert body.isascii()


def test_page_that_fails_is_500_without_traceback(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> bytes:
        raise RuntimeError("canary")

    with HttpServer("127.0.0.1:0", replace(gateway.pages(), metrics=fail)) as server:
        status, _, body = ask(server, "/metrics")
        assert (status, body) == (500, b"See the gateway's log.\n")
        assert ask(server, "/livez")[0] == 200
    assert [record.message for record in caplog.records] == ["The answer to an HTTP request could not be made."]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:1", "[::1]:9464", "localhost."]
)
def test_host_that_names_this_machine_is_answered(server: HttpServer, host: str) -> None:
    assert ask(server, "/livez", host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.1", "", "a b", "@localhost", "[x]"],
)
def test_host_of_another_name_is_refused(server: HttpServer, host: str) -> None:
    for path in ("/metrics", "/"):
        status, _, body = ask(server, path, host)
        assert (status, body) == (421, b"Use localhost or the address of http.listen.\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [("10.42.0.17:9464", 200), ("[fd00:42::11]:9464", 200), ("localhost", 200), ("gateway.default.svc", 421)],
)
def test_host_is_any_address_where_the_operator_listens_beyond_loopback(
    gateway: Gateway, host: str, status: int
) -> None:
    """A kubelet and Prometheus ask a pod by its address; a web page in somebody's browser comes by a name."""
    with HttpServer("0.0.0.0:0", gateway.pages()) as server:
        assert ask(server, "/livez", host)[0] == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get"])
def test_other_methods_are_refused(server: HttpServer, method: str) -> None:
    status, head, _ = ask(server, "/metrics", method=method)
    assert status == 405
    assert "Allow: GET, HEAD" in head


@pytest.mark.parametrize(
    "path",
    [
        "/gone",
        "/metrics/",
        "//metrics",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/metrics%00",
        "/..\\..\\x",
        "/livez#",
    ],
)
def test_unknown_paths_are_404(server: HttpServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"Not found. The paths are /, /metrics, /livez and /readyz.\n")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /livez HTTP/1.1",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
        b"GET /livez HTTP/1.1\r\nHost : localhost",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded",
        b"GET /livez HTTP/2.0\r\nHost: localhost",
        b"GET /livez\r\nHost: localhost",
        b"GET livez HTTP/1.1\r\nHost: localhost",
        b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost",
        b"GET  /livez HTTP/1.1\r\nHost: localhost",
        b"GET /li\x00vez HTTP/1.1\r\nHost: localhost",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ],
)
def test_what_is_no_request_is_400(server: HttpServer, request_head: bytes) -> None:
    assert exchange(server, request_head + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_body_and_second_request_are_not_read(server: HttpServer) -> None:
    answer = exchange(
        server, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n" + b"GET / x\r\n" * 9
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_header_of_a_megabyte_is_431(server: HttpServer) -> None:
    answer = exchange(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_header_one_byte_a_time_is_understood(server: HttpServer) -> None:
    with connect(server) as connection:
        for byte in b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert receive(connection).startswith(b"HTTP/1.1 200 ")


def test_client_that_stops_in_the_header_is_sent_away(impatient: HttpServer) -> None:
    assert exchange(impatient, b"GET /livez HT").startswith(b"HTTP/1.1 408 ")


def test_client_that_drips_is_sent_away_all_the_same(impatient: HttpServer) -> None:
    """The time is for the whole head, not for each byte."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with connect(impatient) as connection:
        connection.settimeout(0.1)
        connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        answer = b""
        while not answer and time.monotonic() < deadline:
            connection.sendall(b"x")
            try:
                answer = connection.recv(1_024)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_client_that_goes_away_hurts_nobody(server: HttpServer) -> None:
    for request in (b"", b"GET", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with connect(server) as connection:
            connection.sendall(request)
    assert ask(server, "/livez")[0] == 200


def test_connections_above_the_maximum_get_503(server: HttpServer) -> None:
    """32 silent connections take all places; the next are sent away, and when they leave all is well."""
    with ExitStack() as stack:
        for _ in range(http.MAXIMUM_CONNECTIONS):
            stack.enter_context(connect(server)).sendall(b"G")
        for _ in range(100):
            with connect(server) as connection:
                assert receive(connection).startswith(b"HTTP/1.1 503 ")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (status := ask_once(server)) != 200 and time.monotonic() < deadline:
        pass
    assert status == 200


def ask_once(server: HttpServer) -> int:
    try:
        return ask(server, "/livez")[0]
    except (ConnectionError, IndexError):  # sent away before it was read
        return 503


# --- life ------------------------------------------------------------------------------------------------------------


def test_port_that_is_taken_is_a_sentence(server: HttpServer, gateway: Gateway) -> None:
    with pytest.raises(GatewayError) as raised:
        HttpServer(f"127.0.0.1:{server.port}", gateway.pages())
    assert raised.value.message == (
        f"Cannot serve metrics and health on 127.0.0.1:{server.port}: another program uses the port."
    )
    assert "http.listen" in raised.value.hint


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "no-such-host.invalid:0"])
def test_address_that_is_not_ours_is_a_sentence(gateway: Gateway, listen: str) -> None:
    with pytest.raises(GatewayError, match=f"Cannot serve metrics and health on {listen}: "):
        HttpServer(listen, gateway.pages())


def test_server_listens_on_the_given_address_only(server: HttpServer) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=DEADLINE_SECONDS)


def test_stop_frees_the_port(gateway: Gateway) -> None:
    server = HttpServer("127.0.0.1:0", gateway.pages())
    server.start()
    port = server.port
    server.stop()
    with HttpServer(f"127.0.0.1:{port}", gateway.pages()) as again:
        assert ask(again, "/livez")[0] == 200


def test_stop_of_a_server_that_never_started(gateway: Gateway) -> None:
    HttpServer("127.0.0.1:0", gateway.pages()).stop()
