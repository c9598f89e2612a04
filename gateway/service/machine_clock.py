"""The gateway's clock on this machine: the time, the time since the boot, the boot's id, and who synchronises it.

While the clock is not synchronised, a thread asks the time services (`time_service.py`) every second.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.gateway_clock import GatewayClock
from gateway.service import time_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.service.time_service import Answer

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ASK_SECONDS = 1.0
LOOKS, LOOK_NANOSECONDS = 3, 1_000_000  # at both clocks; a look that took longer is repeated


since_boot = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)  # sleep included


def read() -> tuple[int, int]:
    """Read the time since 1970, and since the boot, in milliseconds; again if the process was held up in between."""
    for _ in range(LOOKS):
        uptime = since_boot()
        now = time.time_ns()
        if since_boot() - uptime < LOOK_NANOSECONDS:
            break
    return now // 1_000_000, uptime // 1_000_000


def boot_id(path: Path = BOOT_ID) -> bytes:
    """Read the id of this boot; b"" when the kernel has none."""
    with suppress(OSError, ValueError):
        return bytes.fromhex(path.read_text().strip().replace("-", ""))
    return b""


class MachineClock(GatewayClock):
    """The clock of this machine, with a thread that waits for its synchronisation.

    `wait_seconds` is the setting `clock.wait`; None for the default.
    """

    def __init__(self, wait_seconds: float | None, ask: Callable[[], Answer] = time_service.ask) -> None:
        answer = ask()
        has_rtc, is_too_early = time_service.has_rtc(), time_service.is_too_early()
        found = time_service.stance(answer, wait_seconds, has_rtc=has_rtc, is_too_early=is_too_early)
        super().__init__(boot_id(), read, int(found.wait_seconds * 1000), is_synchronised=found.is_trusted)
        self.asked, self.is_set_by_service = answer.who, answer.is_service
        self._ask = ask
        self._stopping = threading.Event()

    def now(self) -> int:
        """Do the same with one look, because the sources ask for each batch."""
        return since_boot() // 1_000_000 + self.offset

    def start(self) -> None:
        """Start the thread, if the clock is not synchronised; `restore` may know that it was."""
        if not self.is_synchronised:
            extra = {"asked": self.asked or "no time service answers", "wait_seconds": self.wait / 1000}
            log.warning(
                "The machine's clock is not synchronised. Readings wait for up to wait_seconds, "
                "then are sent with the header gateway.clock.",
                extra=extra,
            )
            threading.Thread(target=self._run, name="clock", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    def _run(self) -> None:
        while not self.is_synchronised and not self._stopping.wait(ASK_SECONDS):
            answer = self._ask()
            self.asked, self.is_set_by_service = answer.who, answer.is_service
            if answer.is_synchronised:
                self.is_synchronised = True
        if self.is_synchronised:
            log.info(
                "The machine's clock is synchronised.",
                extra={"asked": self.asked or "no time service; the clock was set"},
            )
