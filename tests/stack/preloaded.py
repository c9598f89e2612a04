"""The gateway's program, loaded once for all tests of a process: a start is a fork, which saves Python and the imports.

    done = run("check", "-c", path, folder=tmp_path)
    process = start(["run", "-c", path], folder=tmp_path, output=file, errors=file)

A fork is a process as `python -m gateway.cli` is: folder, environment, standard files, session, signals and exit code
are its own, it runs `gateway/cli/__main__.py` as `__main__`, and the interpreter ends it. What differs is what it has
from the start: modules, memory, and the command line that the system shows. A test of these starts a Python.

The program loads in a child of ours that has no threads, because a fork does not copy them. It ends when we do, even
by `kill -9`, because nobody can send it a request any more, and then the kernel kills its forks.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
LOADED_WHEN_USED = ("typer._adapters", "typer.rich_utils")  # by Typer, with pydantic and rich
SECONDS = 120  # that a command may take
PR_SET_PDEATHSIG = 1  # prctl(2)
MAXIMUM_REQUEST = 1 << 17
_NUMBER = struct.Struct("i")
_lock = threading.Lock()


class Process:
    """A fork, with what the tests use of `subprocess.Popen`.

    Args:
        reports: tells the process id, and after the end the exit code.
    """

    def __init__(self, reports: int) -> None:
        self._reports = reports
        self.returncode: int | None = None
        self.pid = self._next_report()

    def poll(self) -> int | None:
        """Give the exit code, negative when a signal ended it; None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("gateway", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._reports], [], [], seconds)[0]:
            self.returncode = self._next_report()
            os.close(self._reports)
        return self.returncode

    def _next_report(self) -> int:
        report = os.read(self._reports, _NUMBER.size)
        assert report, "the loaded program has ended"
        return int(_NUMBER.unpack(report)[0])


def start(
    arguments: Sequence[str | Path],
    *,
    folder: Path,
    output: IO[bytes],
    errors: IO[bytes],
    typed: int | None = None,
    environment: Mapping[str, str] | None = None,
    module: str = "gateway.cli",
) -> Process:
    """Start a command of the gateway.

    Args:
        arguments: of `gateway`.
        folder: it runs in.
        output: of the command.
        errors: of the command.
        typed: file descriptor of its standard input; nothing when None.
        environment: beside ours.
        module: that runs it.
    """
    request = {
        "module": module,
        "arguments": list(map(str, arguments)),
        "folder": str(folder),
        "environment": {**os.environ, **(environment or {})},
    }
    reports, reporting = os.pipe()
    with Path(os.devnull).open("rb") as nothing, _lock:
        standard = [nothing.fileno() if typed is None else typed, output.fileno(), errors.fileno()]
        socket.send_fds(_loaded()[0], [json.dumps(request).encode()], [*standard, reporting])
    os.close(reporting)
    return Process(reports)


def run(
    *arguments: str | Path,
    folder: Path = ROOT,
    typed: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the gateway to its end, as `subprocess.run` would; whatever happens, it is no traceback."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(arguments, folder=folder, output=output, errors=errors, typed=typed, environment=environment)
        try:
            code = process.wait(SECONDS)
        finally:
            process.kill()
        texts = [(file.seek(0), file.read().decode())[1] for file in (output, errors)]
    assert "Traceback" not in "".join(texts), "".join(texts)
    return subprocess.CompletedProcess(["gateway", *map(str, arguments)], code, *texts)


def import_all() -> None:
    """Import every module of the gateway, so that what is found in them does not depend on what ran before."""
    package = importlib.import_module("gateway")
    for module in pkgutil.walk_packages(package.__path__, "gateway."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@cache
def _loaded() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Load the program; the socket takes requests to fork it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        program = [sys.executable, "-m", __name__]
        return ours, subprocess.Popen(program, cwd=ROOT, stdin=theirs.fileno(), start_new_session=True)


# --- in the child ----------------------------------------------------------------------------------------------------


def _load() -> None:
    import_all()
    for name in LOADED_WHEN_USED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _fork_for_each(requests: socket.socket) -> tuple[bytes, list[int]]:
    """Fork for each request and report the ends, until there are no more; give the request in the fork."""
    forks: dict[int, tuple[int, int]] = {}  # process file descriptor -> process id, where to report
    while True:
        for ready in select.select([requests.fileno(), *forks], [], [])[0]:
            if ready in forks:
                pid, reporting = forks.pop(ready)
                os.write(reporting, _NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
                os.close(reporting)
                os.close(ready)
                continue
            request, files, _, _ = socket.recv_fds(requests, MAXIMUM_REQUEST, 4)
            if not request:
                sys.exit()
            pid = os.fork()
            if not pid:
                return request, files
            os.write(files[-1], _NUMBER.pack(pid))
            forks[os.pidfd_open(pid)] = pid, files.pop()
            for file in files:
                os.close(file)


def _become(request: bytes, files: list[int]) -> tuple[str, list[str]]:
    """Make the fork what a new process would be; give the module to run, and its arguments."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    os.closerange(3, 1 << 16)
    given = json.loads(request)
    os.chdir(given["folder"])
    os.environ.clear()
    os.environ.update(given["environment"])
    time.tzset()
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]  # it is a file
    return given["module"], list(given["arguments"])


if __name__ == "__main__":
    _load()
    with socket.socket(fileno=os.dup(0)) as server:
        asked = _fork_for_each(server)
        server.detach()  # the fork closes all files that are not its own
    name, sys.argv[1:] = _become(*asked)
    runpy.run_module(name, run_name="__main__", alter_sys=True)
