"""State notifications for systemd: `sd_notify(3)` is one datagram, so no library is needed."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def reloading() -> str:
    """Make the state of a service that reads its files anew; `READY=1` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}"


class Notifier:
    """Sends states to the service manager, which sets `NOTIFY_SOCKET` and `WATCHDOG_USEC`; does nothing without it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket:
            self._socket.settimeout(0)  # a manager that hangs must not block the loop
        watchdog = environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(watchdog) / 1_000_000 if watchdog.isdigit() else 0.0

    def __call__(self, state: str) -> None:
        """Send a state, such as `READY=1`; send errors are ignored."""
        if self._socket:
            with suppress(OSError):
                self._socket.sendto(state.encode(), self._address)
