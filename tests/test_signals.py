"""The flag that SIGTERM and SIGINT raise."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from gateway.signals import StopFlag

STOPS_ITSELF = """
import signal
from gateway.signals import stop_on_signals
stop = stop_on_signals()
print("ready", flush=True)
while not stop.wait(60):
    pass
print("stopped in order")
"""


def test_signals_in_a_burst_stop_a_process_in_order() -> None:
    """Also when one interrupts the other's handler, as a parent's death does."""
    with subprocess.Popen([sys.executable, "-c", STOPS_ITSELF], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGTERM, signal.SIGINT) * 20:
            process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout.read() == "stopped in order\n"


def test_wait_ends_at_the_time_asked_for() -> None:
    started = time.monotonic()
    assert not StopFlag().wait(0.15)
    assert time.monotonic() - started >= 0.15
