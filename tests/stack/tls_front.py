"""TLS in front of a real broker, which chooses by ALPN as a cloud's load balancer at port 443 does."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.stack.loopback import Listening

if TYPE_CHECKING:
    from tests.stack.certificates import Certificates


class TlsFront(Listening):
    """A forwarder that closes each connection whose client offers none of the names; a context manager.

    Args:
        target: the broker's port.
        certificates: what it shows.
        names: of ALPN; without any it never selects one, and lets everybody through.
    """

    def __init__(self, target: int, certificates: Certificates, *names: str) -> None:
        super().__init__()
        self._target, self._names = target, names
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate("broker"), certificates.key("broker"))
        if names:
            self._context.set_alpn_protocols(names)

    def serve(self, sock: socket.socket) -> None:
        """Pass the bytes of a connection on, in both directions."""
        with self._context.wrap_socket(sock, server_side=True) as tls:
            if self._names and tls.selected_alpn_protocol() is None:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as broker:
                threading.Thread(target=_pump, args=(broker, tls), daemon=True).start()
                _pump(tls, broker)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
