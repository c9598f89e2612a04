"""The parent of several workers: it starts them, watches them and stops them, and touches no reading.

Each worker is a `gateway run --worker N` of its own, on shared terms: `split.py` says who takes what, and what that
does to the order of readings. What this file decides:

- **It restarts none.** A worker that ends, ends all of them in order, and the parent with its exit code: whoever
  started the parent (systemd, a container) restarts things already, knows the codes 73 and 78 that no restart mends,
  and shows a worker that dies again and again. Two places that restart are two back-offs to understand.
- **A worker is told everything by its command line and ends by SIGTERM**, as if an operator had started it. The kernel
  sends it that signal when the parent dies without a word.
- **Each worker notifies the parent, not systemd.** Its `NOTIFY_SOCKET` is one that the parent made for it. The parent
  says READY=1 when all have said it, and WATCHDOG=1 when all have since the last time. With `NotifyAccess=all`
  the first worker's READY=1 would stand for all, and one that turns would keep the watchdog quiet about one that hangs.
- Log lines of the workers go where the parent's go; they carry `worker=N`.

Rejected: fork without exec (librdkafka's threads and open sockets do not survive it); `multiprocessing` (its resource
tracker and pipes for what signals and exit codes do).
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError
from gateway.service import program, split
from gateway.service.systemd import Notifier
from gateway.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.model import Contract
    from gateway.settings.settings import Settings
    from gateway.signals import StopFlag

log = logging.getLogger(__name__)

STEP_SECONDS = 0.5  # how late the end of a worker, or a signal, is noticed at most
STOP_SECONDS = 25.0  # the unit gives 30
NOTE_BYTES = 4_096
STOPPED_AS_TOLD = {0, -signal.SIGTERM}  # the latter: it had not come so far as to catch the signal


class WorkerProcess:
    """A worker as a child process, and the socket on which it says how it does.

    Args:
        number: of the worker, from 1.
        command: program and arguments.
        socket_path: for its notes; nothing may be there yet.
        environ: of the child, but for `NOTIFY_SOCKET`.

    Attributes:
        is_ready: it has said READY=1.
        has_beaten: it has said WATCHDOG=1 since this was last set to False.
    """

    def __init__(self, number: int, command: Sequence[str], socket_path: Path, environ: Mapping[str, str]) -> None:
        self.number = number
        self.is_ready = False
        self.has_beaten = False
        self._notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notes.bind(str(socket_path))
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            command,
            stdin=subprocess.DEVNULL,
            env={**environ, "NOTIFY_SOCKET": str(socket_path)},
            preexec_fn=program.end_with_parent,  # noqa: PLW1509 - this process has one thread
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with, negative when a signal ended it; None while it runs."""
        return self._process.poll()

    def fileno(self) -> int:
        """The socket to wait on."""
        return self._notes.fileno()

    def listen(self) -> None:
        """Take in one note, if there is one."""
        try:
            states = self._notes.recv(NOTE_BYTES).split(b"\n")
        except BlockingIOError:
            return
        self.is_ready |= b"READY=1" in states
        self.has_beaten |= b"WATCHDOG=1" in states

    def stop(self) -> None:
        """Ask it to end."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait until it has ended; kill it when it does not.

        Returns:
            What it ended with.
        """
        with self._notes, suppress(subprocess.TimeoutExpired):
            return self._process.wait(max(seconds, 0))
        log.error("worker does not stop", extra={"peer": f"worker {self.number}", "detail": "it is killed"})
        self._process.kill()
        return self._process.wait()


def run_workers(config: Path, contract: Contract, settings: Settings, environ: Mapping[str, str]) -> int:
    """Start all workers and watch them until SIGTERM or SIGINT, or until one of them ends; then stop them all.

    Args:
        config: gateway.yaml.
        contract: of all workers.
        settings: of all workers.
        environ: the process's environment.

    Returns:
        The exit code: 0 when all were stopped as told, else that of the first worker that was not, or 1.

    Raises:
        ConfigurationError: when the settings say that each worker is on a machine of its own.
    """
    if settings.workers.apart:
        message, fix = "Workers that are apart are not started together.", "Start this one alone, with --worker N."
        raise ConfigurationError([settings.finding(("workers", "apart"), message, fix)])
    stopping = stop_on_signals()
    notifier = Notifier(environ)
    environment = program.environment(environ)
    workers: list[WorkerProcess] = []
    with TemporaryDirectory(prefix="gateway-") as folder:
        try:
            for number in split.numbers(settings):
                command = _command(config, settings, number)
                workers.append(WorkerProcess(number, command, Path(folder, str(number)), environment))
                _tell(workers[-1], split.worker(contract, settings, number))
            code = _watch(workers, notifier, stopping)
        finally:
            notifier("STOPPING=1")
            codes = _stop(workers)
    return code or max(codes)


def _command(config: Path, settings: Settings, number: int) -> list[str]:
    workers = settings.workers
    split_in = ("--workers", str(workers.count), "--split", workers.split)
    return program.command("run", "--config", str(config), *split_in, "--worker", str(number))


def _tell(process: WorkerProcess, worker: split.Worker) -> None:
    told = {"peer": f"worker {process.number}", "pid": process.pid, "http": worker.settings.http.listen or "off"}
    log.info("worker started", extra=told | {"streams": ", ".join(worker.filters) or "none: retired"})


def _watch(workers: list[WorkerProcess], notifier: Notifier, stopping: StopFlag) -> int:
    """Pass the workers' notes on until it is time to stop.

    Returns:
        0, or the exit code when a worker ended of its own accord.
    """
    is_ready = False
    while not stopping.is_set():
        for worker in select.select(workers, [], [], STEP_SECONDS)[0]:
            worker.listen()
        if not is_ready and all(worker.is_ready for worker in workers):
            is_ready = True
            notifier(f"READY=1\nSTATUS={len(workers)} workers are running; each has its own /readyz")
            log.info("all workers are running", extra={"workers": len(workers)})
        if all(worker.has_beaten for worker in workers):
            notifier("WATCHDOG=1")
            for worker in workers:
                worker.has_beaten = False
        ended = next((worker for worker in workers if worker.exit_code is not None), None)
        if ended and not stopping.is_set():
            return _tell_end(ended)
    return 0


def _tell_end(worker: WorkerProcess) -> int:
    code = worker.exit_code or 0
    how = f"signal {signal.Signals(-code).name} ended it" if code < 0 else f"it ended with exit code {code}"
    detail = f"{how}: see what it said before. No worker is started anew, all are stopped"
    log.error("worker has ended", extra={"peer": f"worker {worker.number}", "detail": detail})
    return max(code, 1)


def _stop(workers: list[WorkerProcess]) -> list[int]:
    """StopFlag all workers at the same time; they share nothing that would want an order.

    Returns:
        Exit codes: 0 for those that stopped as told, their own or 1 for the others.
    """
    for worker in workers:
        worker.stop()
    until = time.monotonic() + STOP_SECONDS
    codes = [worker.wait(until - time.monotonic()) for worker in workers]
    return [0 if code in STOPPED_AS_TOLD else max(code, 1) for code in codes]
