"""TLS in front of a real broker, which chooses by ALPN as a cloud's load balancer at port 443 does."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.stack.certificates import Certificates


class TlsFront:
    """A forwarder that closes each connection whose client offers none of the names; a context manager.

    Args:
        target: the broker's port.
        certificates: what it shows.
        names: of ALPN; without any it never selects one, and lets everybody through.
    """

    def __init__(self, target: int, certificates: Certificates, *names: str) -> None:
        self._target, self._names = target, names
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate("broker"), certificates.key("broker"))
        if names:
            self._context.set_alpn_protocols(names)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="tls front", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as sock:
            if self._names and sock.selected_alpn_protocol() is None:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as broker:
                threading.Thread(target=_pump, args=(broker, sock), daemon=True).start()
                _pump(sock, broker)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
