"""What a process used, as the kernel counted it. Of that process alone: the brokers around it do not count."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One measured run.

    Args:
        readings: how many were acknowledged.
        seconds: from the first PUBLISH to the last PUBACK.
        cpu_seconds: of the process, user and system.
    """

    readings: int
    seconds: float
    cpu_seconds: float

    @property
    def microseconds(self) -> float:
        """CPU for each reading."""
        return 1e6 * self.cpu_seconds / self.readings

    @property
    def rate(self) -> float:
        """Readings a second."""
        return self.readings / self.seconds


def cpu_seconds(pid: int) -> float:
    """Sum user and system time of all threads of a process and of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()  # those that the first thread started
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND + sum(map(cpu_seconds, map(int, children)))


def loop_nanoseconds() -> float:
    """Measure the machine rather than a bridge: a round of a loop of plain Python, over a quarter of a second."""
    rounds, seen = 2_000_000, {}
    began = time.process_time()
    for number in range(rounds):
        seen[number & 1023] = (number, began)
    return 1e9 * (time.process_time() - began) / rounds


@contextmanager
def one_core(own: Sequence[int], others: Sequence[int]) -> Iterator[None]:
    """Let some processes run on the last core alone, and others on all but that, for a while.

    Args:
        own: ids of processes that get the core.
        others: ids of processes that keep away from it; one that is among `own` stays there.
    """
    cores = os.sched_getaffinity(0)
    last = {max(cores)}
    for pid in others:
        _hold(pid, cores - last or cores)
    for pid in own:
        _hold(pid, last)
    try:
        yield
    finally:
        for pid in (*own, *others):
            _hold(pid, cores)


def _hold(pid: int, cores: set[int]) -> None:
    """Let all threads of a process, and those that they start, run on these cores only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def resident_mebibytes(pid: int) -> float:
    """Tell how much memory a process occupies now."""
    return _status(pid, "VmRSS")


def peak_mebibytes(pid: int) -> float:
    """Tell how much memory a process occupied at most."""
    return _status(pid, "VmHWM")


def bytes_sent(pid: int, port: int) -> int | None:
    """Sum what a process has sent on its open connections to a port, as TCP counts it: payload, without headers.

    Returns:
        Bytes, or None where the command `ss` is missing or does not tell.
    """
    try:
        sockets = subprocess.run(
            [shutil.which("ss") or "ss", "-tinpHO", f"dport = :{port}"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    own = [line for line in sockets.splitlines() if f"pid={pid}," in line]
    return sum(int(found[1]) for line in own if (found := re.search(r"\bbytes_sent:(\d+)", line))) if own else None


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """Give p50, p99 and p99.9."""
    ordered = sorted(milliseconds)
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }


def _status(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    assert found, f"the kernel tells {name} of every process"
    return int(found[1]) / 1024
