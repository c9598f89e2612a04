"""Metrics and health over HTTP, for this machine: read-only, bounded, and never in the way of readings.

    /metrics   what `metrics()` returns, Prometheus text format 0.0.4
    /livez     200 while the process works, else 503: restart it
    /readyz    200 while readings get through, else 503 with the peers that are in the way and what to do
    /docs      the contract as a page for people
    /          how it does: peers, streams, books, spool (`overview.py`), loaded anew every few seconds

What this file decides:

- One request a connection: a head of 8 KiB within 5 seconds, GET or HEAD, no body. At most 32 connections; the next
  one is told 503 at once. `http.server` lost: its timeout begins anew with each byte, and its limits are
  65,536 bytes for each of 100 lines.
- The Host header must name this machine. Otherwise a web page that the operator visits could point its own name to
  127.0.0.1 and read all this (DNS rebinding); the answer to another name is 421 (RFC 9110 section 15.5.20). Where the
  operator has it listen beyond loopback, any address serves as Host: rebinding needs a name.
- Paths are keys of a table, never names of files; nothing is decoded, so nothing can climb out.
- No page may load or run anything; the styles that stand in `/` and `/docs` themselves are allowed by their
  hash.
- `page`, `metrics` and `health` are called in these threads, one call at a time; they must only read.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import re
import socket
import socketserver
import threading
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from gateway.errors import DataError, GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.observe.peer_state import Health
    from gateway.page.page import Page

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0  # for news of the end, when nothing wakes the thread
MAXIMUM_CONNECTIONS: Final = 32
MAXIMUM_HEAD_BYTES: Final = 8_192
HEAD_SECONDS: Final = 5.0
SEND_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 2 * 2**20

_REQUEST_LINE: Final = re.compile(r"([A-Za-z]+) (/[!-~]*) HTTP/1\.[01]")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")  # RFC 9112 section 5
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]*)?")
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SECURITY_HEADERS: Final = (
    "Cache-Control: no-store\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT
    style: str = ""  # source of the one style sheet that the page holds


class RequestError(DataError):
    """The request gets this status and sentence, and nothing else."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = _Answer(status, f"{sentence}\n".encode())


class HttpServer:
    """Serves metrics and health from daemon threads of its own; bound when made, serving between start and stop.

    Args:
        listen: `127.0.0.1:9464` or `[::1]:9464`; port 0 lets the system choose.
        page: makes the page that `/` answers.
        metrics: makes the body of `/metrics`.
        health: tells how things stand now.
        documentation: the contract's page, or None when it is not to be served.
        head_seconds: how long a request's head may take.

    Raises:
        GatewayError: when the address cannot be bound.
    """

    def __init__(  # noqa: PLR0913 - what it serves, by name
        self,
        listen: str,
        *,
        page: Callable[[], Page],
        metrics: Callable[[], bytes],
        health: Callable[[], Health],
        documentation: Page | None = None,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        host, _, port = listen.rpartition(":")
        routes = _Routes(host.strip("[]"), page, metrics, health, documentation)
        self._server = _bind(listen, host.strip("[]"), int(port), routes)
        self._server.head_seconds = head_seconds
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_SECONDS,), name="http", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; answers under way end with their threads."""
        if self._thread.is_alive():
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which seldom looks for news
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Routes:
    """From the head of a request to its answer."""

    def __init__(
        self,
        host: str,
        page: Callable[[], Page],
        metrics: Callable[[], bytes],
        health: Callable[[], Health],
        documentation: Page | None,
    ) -> None:
        self._host = host.lower()
        self._is_private = _is_loopback(host)
        self._page = page
        self._metrics = metrics
        self._health = health
        self._one_call = threading.Lock()
        self._paths = {
            "/": self._get_page,
            "/metrics": self._get_metrics,
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        if documentation:
            docs = _shown(documentation)
            self._paths["/docs"] = lambda: docs

    def answer(self, head: bytes) -> tuple[_Answer, bool]:
        """Return the answer, and whether its body is sent."""
        method = head.split(b" ", 1)[0]
        try:
            return self._route(*_parse(head)), method != b"HEAD"
        except RequestError as refused:
            return refused.answer, method != b"HEAD"
        except Exception:
            log.exception("a page could not be made")
            return _Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"The gateway's log says why.\n"), True

    def _route(self, method: str, path: str, host: str) -> _Answer:
        if not self._is_ours(host):
            raise RequestError(HTTPStatus.MISDIRECTED_REQUEST, "Ask for localhost or the address listened on.")
        if method not in {"GET", "HEAD"}:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.")
        page = self._paths.get(path)
        if page is None:
            *others, last = self._paths
            raise RequestError(HTTPStatus.NOT_FOUND, f"There are {', '.join(others)} and {last}.")
        with self._one_call:
            return page()

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower().removesuffix(".")
        if name in {"localhost", self._host}:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback or not self._is_private
        except ValueError:
            return False

    def _get_page(self) -> _Answer:
        return _shown(self._page())

    def _get_metrics(self) -> _Answer:
        return _Answer(HTTPStatus.OK, self._metrics(), "text/plain; version=0.0.4; charset=utf-8")

    def _livez(self) -> _Answer:
        health = self._health()
        return _told({"alive": health.alive}, is_good=health.alive)

    def _readyz(self) -> _Answer:
        health = self._health()
        states = [asdict(state) for state in health.states]
        return _told({"ready": health.ready, "states": states}, is_good=health.ready)


def _shown(page: Page) -> _Answer:
    return _Answer(HTTPStatus.OK, page.text.encode(), _HTML, page.style)


def _told(body: dict[str, object], *, is_good: bool) -> _Answer:
    status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
    return _Answer(status, json.dumps(body, indent=1).encode() + b"\n", _JSON)


def _parse(head: bytes) -> tuple[str, str, str]:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    headers = [_HEADER.fullmatch(line) for line in lines]
    if match is None or None in headers:
        raise RequestError(HTTPStatus.BAD_REQUEST, "This is no HTTP/1.1 request.")
    hosts = [header[2] for header in headers if header and header[1].lower() == "host"]
    if len(hosts) != 1:  # RFC 9112 section 3.2
        raise RequestError(HTTPStatus.BAD_REQUEST, "A request has exactly one Host header.")
    return match[1], match[2].partition("?")[0], hosts[0]


class _Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections, up to the bound."""

    daemon_threads = True
    allow_reuse_address = True  # a restart need not wait for connections of the former process
    request_queue_size = 1_024  # a flood fills a short queue at once, and whom it keeps out tries again a second later
    head_seconds = HEAD_SECONDS

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], routes: _Routes) -> None:
        self.address_family = family
        self.routes = routes
        self._slots = threading.BoundedSemaphore(MAXIMUM_CONNECTIONS)
        super().__init__(address, _Connection)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept; out of file descriptors, wait a little instead of spinning on a socket that stays readable."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.1)
            raise

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Give the connection a thread, or tell it at once that there are too many."""
        if self._slots.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # the system has no more threads
                self._slots.release()
                self.shutdown_request(request)
            return
        assert isinstance(request, socket.socket)
        request.settimeout(0)
        _send(request, _Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"Too many connections.\n"), has_body=True)
        self.shutdown_request(request)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection in its thread."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]  # as above
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  (the base class's signature)
        """Log what the base class would print as a traceback."""
        log.error("a connection failed")


class _Connection(socketserver.BaseRequestHandler):
    """One request and its answer."""

    server: _Listener
    request: socket.socket

    def handle(self) -> None:
        """Read the head, answer, let the peer read the answer."""
        try:
            answer, has_body = self.server.routes.answer(self._read_head())
        except RequestError as refused:
            answer, has_body = refused.answer, True
        except OSError:
            return  # gone before it asked
        self.request.settimeout(SEND_SECONDS)  # for all of sendall
        _send(self.request, answer, has_body=has_body)
        self._linger()

    def _read_head(self) -> bytes:
        head, deadline = bytearray(), time.monotonic() + self.server.head_seconds
        while (end := head.find(b"\r\n\r\n")) < 0:
            if len(head) >= MAXIMUM_HEAD_BYTES:
                raise RequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too long.")
            try:
                self.request.settimeout(max(deadline - time.monotonic(), 0.001))
                received = self.request.recv(MAXIMUM_HEAD_BYTES - len(head))
            except TimeoutError:
                raise RequestError(HTTPStatus.REQUEST_TIMEOUT, "The request came too slowly.") from None
            if not received:
                raise ConnectionAbortedError
            head += received
        return bytes(head[:end])

    def _linger(self) -> None:
        """Read away what is still coming: closing before would take the answer back (RFC 9112 section 9.6)."""
        deadline, left = time.monotonic() + LINGER_SECONDS, LINGER_BYTES
        try:
            self.request.shutdown(socket.SHUT_WR)
            while left > 0 and (seconds := deadline - time.monotonic()) > 0:
                self.request.settimeout(seconds)
                received = self.request.recv(65_536)
                if not received:
                    return
                left -= len(received)
        except OSError:
            return


def _send(connection: socket.socket, answer: _Answer, *, has_body: bool) -> None:
    allow = "Allow: GET, HEAD\r\n" if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    style = f"; style-src {answer.style}" if answer.style else ""
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n{allow}"
        f"Content-Security-Policy: {_POLICY}{style}\r\n{_SECURITY_HEADERS}\r\n"
    )
    try:
        connection.sendall(head.encode() + (answer.body if has_body else b""))
    except OSError:
        return  # it does not listen any more


def _bind(listen: str, host: str, port: int, routes: _Routes) -> _Listener:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return _Listener(family, (host, port), routes)
    except OSError as error:
        reason = _REASONS.get(type(error)) or str(error.strerror)
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there"
        hint = f"Find it with `ss -ltnp 'sport = :{port}'`, or set http.listen to another address, or to off."
        raise GatewayError(f"Cannot serve metrics and health on {listen}: {reason}.", hint) from None


_REASONS: Final = {PermissionError: "ports below 1024 are not for this user", socket.gaierror: "the name is not known"}
