"""`gateway top`: the overview in a terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

SECONDS = 60.0


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics in the shared Kafka under names of this test's own."""
    return Topics(kafka, tmp_path)


class Terminal:
    """A terminal in which `gateway top` runs."""

    def __init__(self, gateway: Gateway, *arguments: str) -> None:
        command = [sys.executable, "-m", "gateway.cli", "top", "-c", str(gateway.settings_file), *arguments]
        self._screen, end = pty.openpty()
        size = {"COLUMNS": "200", "LINES": "40"}
        call = ["setsid", "--ctty", *command]  # so that Ctrl-C reaches it
        self.process = subprocess.Popen(call, stdin=end, stdout=end, stderr=end, env=os.environ | size)
        os.close(end)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read until this was written."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            readable, _, _ = select.select([self._screen], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"waited for {text!r}, and saw {self.shown[-3000:]}"
            self.shown += os.read(self._screen, 65_536).decode(errors="replace")

    def press_control_c(self) -> int:
        """Give the exit code."""
        os.write(self._screen, b"\x03")
        self.wait_for("\x1b[?1049l")
        code = self.process.wait(SECONDS)
        os.close(self._screen)
        return code


def test_top_over_the_life_of_a_gateway(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """Once where there is no terminal; in one, over and over, until Ctrl-C gives the shell its screen back."""
    broker = mosquitto()
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start()
        terminal = Terminal(gateway, "--interval", "0.2")
        terminal.wait_for("The ledger balances.")
        assert terminal.shown.startswith("\x1b[?1049h")
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/secret-dock", b'{"state":"open"}')] * 5 + [("doors/d", b'{"state":7}')] * 2)
        gateway.wait_settled(7)
        terminal.wait_for("wrong_type, ")
        assert terminal.press_control_c() == 0
        assert "secret-dock" not in terminal.shown

        done = gateway.command("top", "-c", str(gateway.settings_file))
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert re.search(r"^receiveDoors +\d\.\d +0 .* ago +wrong_type, .* ago$", done.stdout, re.MULTILINE), (
            done.stdout
        )
        assert re.search(r"^receiveDoors +7  +5  +2  +0  +0  +0$", done.stdout, re.MULTILINE), done.stdout
        assert "Running and ready." in done.stdout

        gateway.stop_and_read_ledger()
        done = gateway.command("top", "-c", str(gateway.settings_file), "--once")
        assert done.returncode == 69
        assert "Start it with `gateway run -c " in done.stdout
