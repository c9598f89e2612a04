"""Notes to systemd: datagrams, and never a reason to stop."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.service.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """Give the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


def test_notifier_sends_each_state_as_a_datagram(manager: socket.socket, tmp_path: Path) -> None:
    """READY=1 and WATCHDOG=1 arrive, one datagram each, as sd_notify(3) sends them."""
    manager.bind(str(tmp_path / "notify"))
    notify = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notify("READY=1\nSTATUS=running")
    notify("WATCHDOG=1")
    assert [manager.recv(100), manager.recv(100)] == [b"READY=1\nSTATUS=running", b"WATCHDOG=1"]


def test_notifier_knows_abstract_addresses(manager: socket.socket) -> None:
    """An address that begins with @ has no file."""
    name = f"gateway-test-{secrets.token_hex(8)}"
    manager.bind(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"})("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_notifier_without_manager_does_nothing(tmp_path: Path) -> None:
    """Started by hand, or the manager gone: no harm."""
    Notifier({})("READY=1")
    Notifier({"NOTIFY_SOCKET": ""})("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})("READY=1")


def test_notifier_does_not_wait_for_a_manager_that_is_frozen(manager: socket.socket, tmp_path: Path) -> None:
    """The manager's queue is full: the note is lost, and the loop goes on."""
    manager.bind(str(tmp_path / "notify"))
    notify = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for _ in range(2_000):
        notify("WATCHDOG=1")
    assert manager.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({}, 0.0),
        ({"WATCHDOG_USEC": "x"}, 0.0),
    ],
)
def test_watchdog_seconds_come_from_the_unit(given: dict[str, str], seconds: float) -> None:
    """WatchdogSec as systemd hands it down, in microseconds; 0 when there is none."""
    assert Notifier(given).watchdog_seconds == seconds
