"""Who says whether the machine's clock is synchronised, and what follows from it."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from gateway.service.time_service import TIME_REQUEST, TRACKING, Answer, Stance, ask, has_rtc, stance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLOSED = 1  # nothing of this machine listens on tcpmux
# Answers as chronyd 4.3 and an NTP server send them, up to the leap indicator: 3 is unsynchronised.
CHRONY = bytes.fromhex("0602000000210005000000000000000000000000000000000000000000") + bytes(75)


class Service:
    """A time service of this machine, which answers a request of one form."""

    def __init__(self, request: bytes, reply: bytes) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self._request, self._reply = request, reply
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        data, sender = self.socket.recvfrom(1024)
        if data == self._request:
            self.socket.sendto(self._reply, sender)


@pytest.fixture
def services() -> Iterator[list[Service]]:
    """Collect services that end with the test."""
    made: list[Service] = []
    yield made
    for one in made:
        one.socket.close()


@pytest.mark.parametrize("is_synchronised", [False, True])
def test_ask_believes_timesyncd_first(tmp_path: Path, is_synchronised: bool) -> None:  # noqa: FBT001 - the column of the table
    if is_synchronised:
        (tmp_path / "synchronized").touch()
    assert ask(tmp_path, CLOSED, CLOSED) == Answer("systemd-timesyncd", is_synchronised)


@pytest.mark.parametrize(("leap", "is_synchronised"), [(0, True), (1, True), (3, False)])
def test_ask_reads_the_leap_indicator_of_chrony_and_of_ntpd(
    tmp_path: Path,
    services: list[Service],
    leap: int,
    is_synchronised: bool,  # noqa: FBT001 - the column of the table
) -> None:
    reply = CHRONY[:54] + leap.to_bytes(2) + CHRONY[56:]
    assert len(reply) == len(TRACKING)
    services.append(Service(TRACKING, reply))
    assert ask(tmp_path / "absent", services[0].port, CLOSED) == Answer("chrony", is_synchronised)
    services.append(Service(TIME_REQUEST, bytes([leap << 6 | 0x24]).ljust(48, b"\0")))
    assert ask(tmp_path / "absent", CLOSED, services[1].port) == Answer("ntpd", is_synchronised)


@pytest.mark.parametrize("reply", [b"", b"\xc0", b"x" * 47])
def test_ask_ignores_an_answer_that_is_too_short(tmp_path: Path, services: list[Service], reply: bytes) -> None:
    """Then the kernel's word is left, if it may be asked."""
    services.append(Service(TIME_REQUEST, reply))
    answer = ask(tmp_path / "absent", CLOSED, services[0].port)
    assert answer.who in {"the kernel", ""}
    assert not answer.is_service


YES, NO = Answer("chrony", is_synchronised=True), Answer("chrony", is_synchronised=False)
KERNEL = Answer("the kernel", is_synchronised=False, is_service=False)
NOBODY = Answer("", is_synchronised=False, is_service=False)


@pytest.mark.parametrize(
    ("answer", "wait", "rtc", "expected"),
    [
        (NO, None, False, Stance(is_trusted=False, wait_seconds=120)),
        (NO, None, True, Stance(is_trusted=False, wait_seconds=0)),
        (YES, None, False, Stance(is_trusted=True, wait_seconds=120)),
        (NO, 0.0, False, Stance(is_trusted=False, wait_seconds=0)),
        (NO, 5.0, True, Stance(is_trusted=False, wait_seconds=5)),
        (KERNEL, None, False, Stance(is_trusted=True, wait_seconds=120)),
        (NOBODY, None, False, Stance(is_trusted=True, wait_seconds=120)),
        (KERNEL, 0.0, True, Stance(is_trusted=False, wait_seconds=0)),
        (NOBODY, 5.0, True, Stance(is_trusted=False, wait_seconds=5)),
    ],
)
def test_stance_waits_only_for_a_service_unless_the_settings_say_so(
    answer: Answer,
    wait: float | None,
    rtc: bool,  # noqa: FBT001 - the column of the table
    expected: Stance,
) -> None:
    """Nothing would ever synchronise a clock that no service sets, so nothing waits by default."""
    assert stance(answer, wait, has_rtc=rtc) == expected


@pytest.mark.parametrize("answer", [KERNEL, NOBODY])
def test_stance_trusts_no_clock_from_before_the_release(answer: Answer) -> None:
    """Then it is known to be wrong, and readings wait by default, although nothing may set it."""
    assert stance(answer, None, has_rtc=False, is_too_early=True) == Stance(is_trusted=False, wait_seconds=120)
    assert stance(answer, None, has_rtc=True, is_too_early=True) == Stance(is_trusted=False, wait_seconds=0)


def test_has_rtc_is_about_a_clock_that_kept_the_time(tmp_path: Path) -> None:
    """A Raspberry Pi 5 has one that starts in 1970 where no battery is connected."""
    assert not has_rtc(tmp_path / "absent")
    assert not has_rtc(tmp_path)
    (tmp_path / "rtc0").mkdir()
    assert not has_rtc(tmp_path)
    for text, expected in (("17", False), ("1796000000", True), ("?", False)):
        (tmp_path / "rtc0" / "since_epoch").write_text(text)
        assert has_rtc(tmp_path) == expected
