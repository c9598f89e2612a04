"""Metrics, health and pages over HTTP: read-only and bounded, so that clients cannot delay readings.

    /metrics   Prometheus text format 0.0.4
    /livez     200 while the process works, otherwise 503: restart it
    /readyz    200 while readings get through, otherwise 503, with the peers that have a problem and what to do
    /docs      the contract as a page for people
    /          live status: peers, streams, ledger, spool (`status_page.py`)

Decisions:

- One request per connection: a head of 8 KiB within 5 seconds, GET or HEAD, no body. At most 32 connections; further
  ones get 503 at once. `http.server` was rejected: its timeout restarts with each byte, and its limits are 65,536 bytes
  for each of 100 lines.
- The Host header must name this machine. Otherwise a web page that the operator opens could resolve its own name to
  127.0.0.1 and read everything (DNS rebinding). Other names get 421 (RFC 9110 section 15.5.20). If the server listens
  beyond loopback, any IP address is accepted: rebinding needs a name.
- Paths are keys of a table, not file names, and are not decoded: path traversal is impossible.
- The Content-Security-Policy forbids pages to load or run anything; the style sheets inside `/` and `/docs` are allowed
  by their hash.
- The functions of `Pages` run in the server's threads, one call at a time. They must only read.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import os
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from gateway.errors import DataError, GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.observe.peer_state import Health
    from gateway.page.html import Page

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.1  # after a failed accept
BACKLOG: Final = 1_024  # a flood fills a short queue at once, and rejected clients retry after a second
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
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Pages:
    """What the server serves; a reload of the contract replaces its page."""

    status: Callable[[], Page]
    metrics: Callable[[], bytes]
    health: Callable[[], Health]
    documentation: Page | None = None  # the contract's page; None to serve none


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT
    style: str = ""  # source of the page's style sheet


class RequestError(DataError):
    """The request is answered with an HTTP status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = _Answer(status, f"{sentence}\n".encode())


class HttpServer:
    """Serves pages from daemon threads; bound by the constructor, serving between start and stop.

    `listen` is `127.0.0.1:9464` or `[::1]:9464`; with port 0 the system chooses. GatewayError if it cannot be bound.
    """

    def __init__(self, listen: str, pages: Pages, *, head_seconds: float = HEAD_SECONDS) -> None:
        host, _, port = listen.rpartition(":")
        self._socket = _bind(listen, host.strip("[]"), int(port))
        self._routes = _Routes(host.strip("[]"), pages)
        self._head_seconds = head_seconds
        self._slots = threading.BoundedSemaphore(MAXIMUM_CONNECTIONS)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; answers in progress end with their threads."""
        self._is_stopping = True
        if self._thread.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._is_stopping:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # stopping, the client is gone, or no file descriptor is left
                time.sleep(0 if self._is_stopping else RETRY_SECONDS)  # without a pause, the last would spin
                continue
            self._dispatch(connection)

    def _dispatch(self, connection: socket.socket) -> None:
        """Start a thread for the connection, or answer at once that there are too many."""
        if self._slots.acquire(blocking=False):
            try:
                threading.Thread(target=self._serve, args=(connection,), name="http", daemon=True).start()
            except RuntimeError:  # the system has no more threads
                self._slots.release()
                connection.close()
            return
        with connection:
            connection.settimeout(0)
            with suppress(OSError):
                _send(connection, _Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"Too many connections.\n"), has_body=True)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                answer, has_body = self._answer(connection)
                connection.settimeout(SEND_SECONDS)  # for all of sendall
                _send(connection, answer, has_body=has_body)
                _linger(connection)
        except OSError:
            return  # the client is gone
        except Exception:
            log.exception("An HTTP request failed.")
        finally:
            self._slots.release()

    def _answer(self, connection: socket.socket) -> tuple[_Answer, bool]:
        try:
            return self._routes.answer(_read_head(connection, self._head_seconds))
        except RequestError as error:
            return error.answer, True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Routes:
    def __init__(self, host: str, pages: Pages) -> None:
        self._host = host.lower()
        self._is_private = _is_loopback(host)
        self._pages = pages
        self._one_call = threading.Lock()
        self._paths = {
            "/": lambda: _html(pages.status()),
            "/metrics": lambda: _Answer(HTTPStatus.OK, pages.metrics(), _METRICS),
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        if pages.documentation:
            self._paths["/docs"] = lambda: _html(pages.documentation)  # type: ignore[arg-type]  # a page replaces a page

    def answer(self, head: bytes) -> tuple[_Answer, bool]:
        """Return the answer, and whether to send its body."""
        method = head.split(b" ", 1)[0]
        try:
            return self._route(*_parse(head)), method != b"HEAD"
        except RequestError as error:
            return error.answer, method != b"HEAD"
        except Exception:
            log.exception("The answer to an HTTP request could not be made.")
            return _Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"See the gateway's log.\n"), True

    def _route(self, method: str, path: str, host: str) -> _Answer:
        if not self._is_ours(host):
            raise RequestError(HTTPStatus.MISDIRECTED_REQUEST, "Use localhost or the address of http.listen.")
        if method not in {"GET", "HEAD"}:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are supported.")
        page = self._paths.get(path)
        if page is None:
            *others, last = self._paths
            raise RequestError(HTTPStatus.NOT_FOUND, f"Not found. The paths are {', '.join(others)} and {last}.")
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

    def _livez(self) -> _Answer:
        health = self._pages.health()
        return _json({"alive": health.alive}, is_good=health.alive)

    def _readyz(self) -> _Answer:
        health = self._pages.health()
        states = [asdict(state) for state in health.states]
        return _json({"ready": health.ready, "states": states}, is_good=health.ready)


def _html(page: Page) -> _Answer:
    return _Answer(HTTPStatus.OK, page.text.encode(), "text/html; charset=utf-8", page.style)


def _json(body: dict[str, object], *, is_good: bool) -> _Answer:
    status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
    return _Answer(status, json.dumps(body, indent=1).encode() + b"\n", "application/json")


def _parse(head: bytes) -> tuple[str, str, str]:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    headers = [_HEADER.fullmatch(line) for line in lines]
    if match is None or None in headers:
        raise RequestError(HTTPStatus.BAD_REQUEST, "Malformed HTTP/1.1 request.")
    hosts = [header[2] for header in headers if header and header[1].lower() == "host"]
    if len(hosts) != 1:  # RFC 9112 section 3.2
        raise RequestError(HTTPStatus.BAD_REQUEST, "A request must have exactly one Host header.")
    return match[1], match[2].partition("?")[0], hosts[0]


def _read_head(connection: socket.socket, seconds: float) -> bytes:
    head, deadline = bytearray(), time.monotonic() + seconds
    while (end := head.find(b"\r\n\r\n")) < 0:
        if len(head) >= MAXIMUM_HEAD_BYTES:
            raise RequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too long.")
        try:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            received = connection.recv(MAXIMUM_HEAD_BYTES - len(head))
        except TimeoutError:
            raise RequestError(HTTPStatus.REQUEST_TIMEOUT, "The head of the request took too long.") from None
        if not received:
            raise ConnectionAbortedError
        head += received
    return bytes(head[:end])


def _linger(connection: socket.socket) -> None:
    """Discard further input: closing earlier would reset the connection and lose the answer (RFC 9112 9.6)."""
    deadline, left = time.monotonic() + LINGER_SECONDS, LINGER_BYTES
    connection.shutdown(socket.SHUT_WR)
    while left > 0 and (seconds := deadline - time.monotonic()) > 0:
        connection.settimeout(seconds)
        received = connection.recv(65_536)
        if not received:
            return
        left -= len(received)


def _send(connection: socket.socket, answer: _Answer, *, has_body: bool) -> None:
    allow = "Allow: GET, HEAD\r\n" if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    style = f"; style-src {answer.style}" if answer.style else ""
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n{allow}"
        f"Content-Security-Policy: {_POLICY}{style}\r\n{_SECURITY_HEADERS}\r\n"
    )
    connection.sendall(head.encode() + (answer.body if has_body else b""))


def _bind(listen: str, host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        is_dual = family is socket.AF_INET6 and socket.has_dualstack_ipv6()  # [::] listens on IPv4, too
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
    except OSError as error:
        reason = _REASONS.get(type(error)) or os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            reason = "another program uses the port"
        hint = f"Find it with `ss -ltnp 'sport = :{port}'`, or set http.listen to another address or to off."
        raise GatewayError(f"Cannot serve metrics and health on {listen}: {reason}.", hint) from None


_REASONS: Final = {PermissionError: "this user may not use ports below 1024", socket.gaierror: "unknown host name"}
