"""A child process of the demo: its output in a file, stopped by its own id, never left behind.

It runs in a session of its own, so that Ctrl-C reaches the demo alone, which then stops its children in order. Where
`setpriv` is there (util-linux), the kernel ends the child when the demo dies without a word.
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
    """A running child process; a context manager that stops it.

    Args:
        name: for people.
        command: program and arguments.
        output: where standard output and error go.
        environment: of the child, or None for ours.

    Raises:
        GatewayError: when the program cannot be started.
    """

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
    def said(self) -> str:
        """All it has written."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """See that it still runs.

        Raises:
            GatewayError: when it has ended; with the end of what it wrote.
        """
        if (code := self._process.poll()) is not None:
            last = "\n".join(f"  {printable(line)}" for line in self.said.splitlines()[-SHOWN_LINES:])
            raise GatewayError(f"{self.name} has ended with exit code {code}. Its last words:\n{last}")

    def stop(self, seconds: float) -> int:
        """Ask it to end and wait; kill it when it does not.

        Returns:
            Its exit code; negative when a signal ended it.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
