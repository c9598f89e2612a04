"""Ports on 127.0.0.1 that the kernel chose and that stay ours, also while no server listens on them.

The usual way (bind to port 0, close, hand the number to the server) loses a race from time to time, and loses it
for certain where a server is stopped for a while: the port lies in the ephemeral range, so another program, or
even a client that keeps dialling the very same port, may get it in between. Here the socket stays bound and never
listens. Linux lets a server that sets SO_REUSEADDR listen beside it (mosquitto, the JVM and Python's servers do),
gives the port to nobody else, and refuses connections while that server is down.
"""

from __future__ import annotations

import socket


class HeldPort:
    """A free port of 127.0.0.1, kept until `release`.

    Attributes:
        number: the port.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def __getstate__(self) -> dict[str, object]:
        """A copy in another process does not hold the port."""
        return {"number": self.number}

    def __str__(self) -> str:
        """`127.0.0.1:PORT`, as clients and configuration files write it."""
        return f"127.0.0.1:{self.number}"

    def accepts(self) -> bool:
        """Tell whether a server accepts connections on the port now."""
        try:
            socket.create_connection(("127.0.0.1", self.number), 1).close()
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Give the port back to the kernel."""
        self._socket.close()
