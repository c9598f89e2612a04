"""strace, attached to a running process: it breaks single system calls, or writes down what was called."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.stack.software import command
from tests.stack.wait import wait_for


class Strace:
    """A context manager: attached from `with` on, detached at its end, or ended with the process that it watches.

    Args:
        pid: whom to attach to: the thread of the loop, which alone writes the spool and speaks MQTT.
        arguments: as `-e inject=fdatasync:error=EIO:when=3`.
    """

    def __init__(self, pid: int, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-test-strace-")
        self._told = Path(self._folder.name, "stderr")
        self._output = Path(self._folder.name, "trace")
        with self._told.open("wb") as told:
            self._process = subprocess.Popen(
                [command("strace", "strace"), "-o", self._output, *arguments, "-p", str(pid)],
                stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True,
            )  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """What it has written down so far."""
        return self._output.read_text().splitlines() if self._output.exists() else []

    def __enter__(self) -> Self:
        wait_for(self._is_attached, 60, lambda: f"strace to attach: {self._told.read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()
        self._folder.cleanup()

    def detach(self) -> None:
        """Let the process go on by itself."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)

    def _is_attached(self) -> bool:
        assert self._process.poll() is None, f"strace ended: {self._told.read_text()}"
        return "attached" in self._told.read_text()
