"""The gateway's clock on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.service.machine_clock import MachineClock, boot_id, read
from gateway.service.time_service import Answer
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from pathlib import Path

YES, NO = Answer("chrony", is_synchronised=True), Answer("", is_synchronised=False, is_service=False)


def test_boot_id_is_that_of_the_kernel_or_none(tmp_path: Path) -> None:
    assert len(boot_id()) == 16
    assert boot_id(tmp_path / "absent") == b""
    (tmp_path / "id").write_text("none\n")
    assert boot_id(tmp_path / "id") == b""


def test_clock_asks_until_it_is_synchronised() -> None:
    answers = [NO, NO, YES]
    clock = MachineClock(60, lambda: answers.pop(0))
    assert clock.is_waiting
    clock.start()
    wait_for(lambda: clock.is_synchronised, 20, "the clock to be synchronised")
    assert (clock.step(), clock.is_waiting, clock.asked, answers) == (0, False, "chrony", [])
    assert abs(clock.now() - read()[0]) < 1_000


def test_clock_that_is_synchronised_asks_once() -> None:
    answers = [YES]
    clock = MachineClock(60, lambda: answers.pop(0))
    clock.start()
    assert (clock.is_synchronised, clock.is_waiting) == (True, False)
    clock.stop()
