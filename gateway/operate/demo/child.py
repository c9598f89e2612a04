"""A child process of the demo: it writes its output to a file, and ends with the demo at the latest.

It runs in a session of its own, so that Ctrl-C reaches only the demo, which then stops its children in order. With
`setpriv` (util-linux) the kernel stops the child when the demo is killed.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Self

from gateway.errors import GatewayError
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHOWN_LINES = 8


class Child:
    """A running child process; a context manager that stops it. GatewayError when it cannot be started."""

    def __init__(
        self, name: str, command: Sequence[str], output: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._output = output
        guard = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        try:
            with output.open("wb") as file:
                self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                    [*guard, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
        except OSError as error:
            raise GatewayError(f"{name} cannot be started: {error.strerror}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(5)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All it has written."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Raise GatewayError with the last lines of output when it has ended."""
        if (code := self._process.poll()) is not None:
            last = "\n".join(f"  {printable(line)}" for line in self.output.splitlines()[-SHOWN_LINES:])
            raise GatewayError(f"{self.name} ended with exit code {code}. Its last lines:\n{last}")

    def stop(self, seconds: float) -> int:
        """Send SIGTERM and wait; kill it after so many seconds. Give its exit code, negative for a signal."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
