"""The machine's clock, its time since the boot, and the id of the boot."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from gateway.core.gateway_clock import GatewayClock

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def machine_clock(boot_id: Path = BOOT_ID) -> GatewayClock:
    """Make the gateway's clock."""
    boot = b""
    with suppress(OSError, ValueError):  # a kernel without it: readings keep the time of their arrival
        boot = bytes.fromhex(boot_id.read_text().strip().replace("-", ""))
    return GatewayClock(boot, read)


def read() -> tuple[int, int]:
    """Read the time since 1970, and since the boot, sleep included, in milliseconds."""
    return time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
