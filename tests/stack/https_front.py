"""HTTPS and a login in front of a real schema registry, which has neither: what nginx or Apache would be in the field.

It shows one of our certificates, asks for an `Authorization` header, and hands every request on as it came. Threads in
the tests' own process, because it is replaced in the middle of a test: another certificate, another login.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.stack.certificates import Certificates

REFUSAL = b"<html><h1>401 Authorization Required</h1></html>"


class HttpsFront:
    """A reverse proxy; a context manager.

    Args:
        registry_url: what it stands in front of.
        certificates: what it can show.

    Attributes:
        login: the `Authorization` header that it wants; nothing is let through until it is set.
    """

    def __init__(self, registry_url: str, certificates: Certificates) -> None:
        self.login = ""
        self._certificates = certificates
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.present("broker")
        upstream = urlsplit(registry_url)
        self._path = upstream.path
        self._server = _Server(upstream.netloc, self)
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Base of the Confluent REST API."""
        return f"https://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def present(self, name: str) -> None:
        """Show this certificate from the next connection on."""
        self._context.load_cert_chain(self._certificates.certificate(name), self._certificates.key(name))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str, front: HttpsFront) -> None:
        self.upstream = upstream
        self.front = front
        super().__init__(("127.0.0.1", 0), _Request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that do not believe us are what it is for."""


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.server.front.login or self.headers.get("Authorization") != self.server.front.login:
            self._answer(HTTPStatus.UNAUTHORIZED, "text/html", REFUSAL)
            return
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        passed = {name: value for name, value in self.headers.items() if name.lower() in {"accept", "content-type"}}
        upstream.request(self.command, self.path, body, passed)
        answer = upstream.getresponse()
        self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        upstream.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _forward  # noqa: N815 - the base class's names

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
