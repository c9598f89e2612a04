"""A server as a child process: started, stopped, killed, frozen, and never left behind.

- It is always addressed by its own process id.
- It runs in its own session, so that Ctrl-C reaches pytest alone, which then stops the servers in order.
- The kernel kills it when the thread that started it dies (`setpriv --pdeathsig`), so even `kill -9` of pytest
  leaves nothing running. Start servers from the main thread: another thread's end would kill them as well.
- Its output goes to a file; when it does not come up, the error shows the end of that file.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.stack.preloaded import Process

LOG_TAIL = 3000  # characters of a server's output that an error shows


class Started(ABC):
    """What `with` starts and closes, also when the start fails."""

    @abstractmethod
    def start(self) -> Self:
        """Start, and wait until it can be used."""

    @abstractmethod
    def close(self) -> None:
        """Stop, and leave nothing behind."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class Server:
    """One server process and its folder.

    Args:
        name: for people; also begins the folder's name.
        user: whom it runs as when the tests run as root; None for ourselves.

    Attributes:
        folder: a new directory of its own, the process's working directory, removed by `close`.
        log_file: everything the process wrote, over all its lives.
    """

    def __init__(self, name: str, user: str | None = None) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"gateway-test-{name}-"))
        self.log_file = self.folder / "output.log"
        self._user = user if user and os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def __getstate__(self) -> dict[str, object]:
        """A copy in another process knows the folder and has no process to stop."""
        return self.__dict__ | {"_process": None}

    def launch(self, arguments: Sequence[str | Path]) -> None:
        """Start the process; it need not be ready when this returns."""
        assert not self.is_running, f"{self.name} is running already"
        guard = [command("setpriv", "util-linux"), "--pdeathsig", "KILL"]
        if self._user:
            self._own_folder()
            guard += ["--reuid", self._user, "--regid", self._user, "--clear-groups"]
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [*guard, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, ready: Callable[[], object], seconds: float) -> None:
        """Wait until the server answers.

        Args:
            ready: true when it does.
            seconds: at most.

        Raises:
            AssertionError: it exited, or the time is over; with the end of its output.
        """

        def is_ready() -> object:
            assert self.is_running, f"{self.name} ended while starting:\n{self.log[-LOG_TAIL:]}"
            return ready()

        wait_for(is_ready, seconds, lambda: f"{self.name} to be ready:\n{self.log[-LOG_TAIL:]}")

    def stop(self, seconds: float = 15) -> None:
        """Ask the process to end and wait; kill it when it does not. Nothing happens when it is not running."""
        self._end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """Kill it as a power cut would (SIGKILL) and wait until it is gone."""
        self._end(signal.SIGKILL, 10)

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP), every thread: connections stay open, nothing answers.

        After the signal alone a thread may run on for milliseconds, long enough to answer.
        """
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: set(self._thread_states()) == {"T"}, 30, f"{self.name} to stand still")

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals, seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen process takes no SIGTERM
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _thread_states(self) -> list[str]:
        """The letters of proc(5)."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return [thread.read_text().rpartition(")")[2].split()[0] for thread in threads]

    def _own_folder(self) -> None:
        assert self._user is not None
        entry = pwd.getpwnam(self._user)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)
