"""Whether this machine's clock is synchronised: asks the time services that a machine may have, in this order.

    systemd-timesyncd    makes the file `/run/systemd/timesync/synchronized` once it has set the clock
    chrony               answers the query `tracking` on its command port of this machine, as for `chronyc`
    ntpd, ntpsec         answer as time servers of this machine; the leap indicator says whether they are synchronised
    the kernel           `adjtimex`, which all of these tell; a container sees its host's

The first that answers counts. The systemd unit's `ProtectClock=` forbids adjtimex, also to read, so the others come
first. The kernel cannot say whether anything will ever synchronise the clock: without a time service its answer counts
only where the settings say how long to wait for one. A clock that shows a time before `RELEASED` is wrong, whatever the
answer is.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMESYNC = Path("/run/systemd/timesync")
RTC = Path("/sys/class/rtc")
CHRONY_PORT, NTP_PORT = 323, 123
ANSWER_SECONDS = 0.3
UNSYNCHRONISED = 3  # leap indicator of NTP (RFC 5905, 7.3), also in chrony's answer
TRACKING = struct.pack("!BBxxHHIII", 6, 1, 33, 0, 1, 0, 0).ljust(104, b"\0")  # as long as the answer, or it is ignored
TIME_REQUEST = b"\x23".ljust(48, b"\0")  # version 4, client
TIME_ERROR = 5  # of adjtimex: the clock is not synchronised
DEFAULT_WAIT_SECONDS = 120.0
RELEASED = 1_767_225_600  # 2026: no gateway ran before


class Answer(NamedTuple):
    """What a time service says."""

    who: str  # was asked; "" when none answers
    is_synchronised: bool
    is_service: bool = True  # False for the kernel, and for none


class Stance(NamedTuple):
    """What the gateway makes of an answer."""

    is_trusted: bool  # the clock needs no mark, and no wait
    wait_seconds: float  # for which readings wait at most if it is not


def is_too_early() -> bool:
    """Tell whether the clock shows a time at which there was no gateway."""
    return time.time() < RELEASED


def ask(timesync: Path = TIMESYNC, chrony_port: int = CHRONY_PORT, ntp_port: int = NTP_PORT) -> Answer:
    """Ask whether the clock is synchronised. It takes a second at most."""
    answer = next(_answers(timesync, chrony_port, ntp_port), Answer("", is_synchronised=False, is_service=False))
    return answer._replace(is_synchronised=answer.is_synchronised and not is_too_early())


def stance(answer: Answer, wait_seconds: float | None, *, has_rtc: bool, is_too_early: bool = False) -> Stance:
    """Decide from an answer and the setting `clock.wait`."""
    if wait_seconds is not None:
        return Stance(answer.is_synchronised, wait_seconds)
    counts = answer.is_service or is_too_early
    return Stance(answer.is_synchronised or not counts, 0.0 if has_rtc else DEFAULT_WAIT_SECONDS)


def has_rtc(folder: Path = RTC) -> bool:
    """Tell whether the machine has a real-time clock that keeps the time while the power is off."""
    return any(_seconds(one / "since_epoch") > RELEASED for one in (folder.iterdir() if folder.is_dir() else ()))


def _seconds(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _answers(timesync: Path, chrony_port: int, ntp_port: int) -> Iterator[Answer]:
    if timesync.is_dir():
        yield Answer("systemd-timesyncd", (timesync / "synchronized").exists())
    if (leap := _leap(chrony_port, TRACKING, lambda reply: int.from_bytes(reply[54:56]), len(TRACKING))) is not None:
        yield Answer("chrony", leap != UNSYNCHRONISED)
    if (leap := _leap(ntp_port, TIME_REQUEST, lambda reply: reply[0] >> 6, len(TIME_REQUEST))) is not None:
        yield Answer("ntpd", leap != UNSYNCHRONISED)
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))  # all zero: read only
    if state >= 0:
        yield Answer("the kernel", state != TIME_ERROR, is_service=False)


def _leap(port: int, request: bytes, leap_of: Callable[[bytes], int], least: int) -> int | None:
    """Ask a service of this machine for its leap indicator; None when none answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_SECONDS)
        try:
            asking.connect(("127.0.0.1", port))
            asking.send(request)
            reply = asking.recv(1024)
        except OSError:
            return None
    return leap_of(reply) if len(reply) >= least else None
