"""A network link that a test can cut: a TCP forwarder in threads of the test's own process.

Whatever is under way when it is cut is gone, in both directions, and both ends get a reset: so an acknowledgement can
be lost after it was sent, which no stopped server shows. It can also be a black hole for a while.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self

from tests.stack.ports import HeldPort

CHUNK = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """A port of 127.0.0.1 that leads to another one; a context manager.

    Args:
        target: the other port.
        is_up: False to refuse connections until `restore`.
    """

    def __init__(self, target: int, *, is_up: bool = True) -> None:
        self._target = target
        self._held = HeldPort()
        self._guard = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._passes = threading.Event()
        self._passes.set()
        self._listener: socket.socket | None = None
        if is_up:
            self.restore()

    @property
    def port(self) -> int:
        """Where to connect to."""
        return self._held.number

    def restore(self) -> None:
        """Take connections again."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="link", daemon=True).start()

    def cut(self) -> None:
        """Reset every connection; new ones are taken at once."""
        with self._guard:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it, which closes it
            self._ends.clear()

    def black_hole(self) -> None:
        """Pass nothing on, though connections stay open and new ones are taken; `heal` sends what waits."""
        self._passes.clear()

    def heal(self) -> None:
        """Pass on what waits, and all that comes."""
        self._passes.set()

    def take_down(self) -> None:
        """Reset every connection and refuse new ones."""
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.take_down()
        self._held.release()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target), 5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._guard:
                    self._ends |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), name="link", daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._passes.wait()
                sink.sendall(data)
        with self._guard:
            self._ends -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
