"""The parent of several workers: it starts, watches and stops them, and handles no readings.

Each worker is a `gateway run --worker N`; `split.py` says what it subscribes to. Decisions:

- **Workers are not restarted.** If one ends, the parent stops the others and exits with its exit code: whatever
  started the parent (systemd, a container) already restarts processes, knows that a restart does not help against exit
  codes 73 and 78, and shows a worker that fails repeatedly. Restarts in two places would mean two back-offs.
- **A worker is an ordinary process**: its command line says everything, and SIGTERM stops it. The kernel sends it
  SIGTERM if the parent dies.
- **Workers notify the parent, not systemd.** The parent makes their `NOTIFY_SOCKET`. It sends READY=1 once all workers
  have, and WATCHDOG=1 once all have since the last time. With `NotifyAccess=all`, READY=1 of the first worker would
  count for all, and one worker that runs would hide one that hangs.
- **SIGHUP goes to the workers in turn**: the next one reloads when the one before has. When an error in the files makes
  the first refuse, the others refuse as well, and all go on as before.
- The workers log to where the parent logs; their lines carry `worker=N`.

Rejected: fork without exec (librdkafka's threads and sockets do not survive it); `multiprocessing` (it adds a resource
tracker and pipes, where signals and exit codes are enough).
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
from gateway.service import hangup, program, split
from gateway.service.systemd import Notifier, reloading
from gateway.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.model import Contract
    from gateway.settings.settings import Settings
    from gateway.signals import StopFlag

log = logging.getLogger(__name__)

STEP_SECONDS = 0.5  # longest delay until the end of a worker, or a signal, is noticed
STOP_SECONDS = 25.0  # the systemd unit allows 30
DATAGRAM_BYTES = 4_096
CLEAN_EXITS = {0, -signal.SIGTERM}  # the latter: stopped before it could install its signal handler


class WorkerProcess:
    """A worker as a child process, and the socket for its notifications, whose path must not exist."""

    def __init__(self, number: int, command: Sequence[str], socket_path: Path, environ: Mapping[str, str]) -> None:
        self.number = number  # from 1
        self.is_ready = False  # it has sent READY=1
        self.has_beaten = False  # it has sent WATCHDOG=1 since this was set to False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(socket_path))
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            command,
            stdin=subprocess.DEVNULL,
            env={**environ, "NOTIFY_SOCKET": str(socket_path)},
            preexec_fn=_prepare,  # noqa: PLW1509 - this process has one thread
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative if a signal ended it; None while it runs."""
        return self._process.poll()

    def fileno(self) -> int:
        """The socket, for `select`."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Receive a notification, if there is one."""
        try:
            states = self._socket.recv(DATAGRAM_BYTES).split(b"\n")
        except BlockingIOError:
            return
        self.is_ready |= b"READY=1" in states
        self.has_beaten |= b"WATCHDOG=1" in states

    def reload(self) -> None:
        """Send SIGHUP; it is ready again when it has reloaded."""
        self.is_ready = False
        if self.exit_code is None:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Send SIGTERM."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait until it has ended, kill it after so many seconds, and return its exit code."""
        with self._socket, suppress(subprocess.TimeoutExpired):
            return self._process.wait(max(seconds, 0))
        log.error("A worker does not stop and is killed.", extra={"peer": f"worker {self.number}"})
        self._process.kill()
        return self._process.wait()


def _prepare() -> None:
    """Let the worker ignore SIGHUP until it has its own handler; a fresh process has no old files."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    program.end_with_parent()


def run_workers(
    config: Path, contract: Contract, settings: Settings, options: Sequence[str], environ: Mapping[str, str]
) -> int:
    """Start all workers and watch them until SIGTERM or SIGINT, or until one of them ends; then stop them all.

    `options` are those of the command line that go before gateway.yaml. Returns 0 if all stopped cleanly, otherwise the
    exit code of the first worker that did not, or 1. ConfigurationError if the settings say that each worker is on a
    machine of its own.
    """
    if settings.workers.apart:
        message = "With workers.apart, workers are not started together."
        fix = "Start one worker per machine with --worker N."
        raise ConfigurationError([settings.finding(("workers", "apart"), message, fix)])
    stopping = stop_on_signals()
    notifier = Notifier(environ)
    environment = program.environment(environ)
    workers: list[WorkerProcess] = []
    with TemporaryDirectory(prefix="gateway-") as folder:
        try:
            for number in split.numbers(settings):
                command = program.command("run", "--config", str(config), *options, "--worker", str(number))
                workers.append(WorkerProcess(number, command, Path(folder, str(number)), environment))
                _log_start(workers[-1], split.worker(contract, settings, number))
            code = _watch(workers, notifier, stopping)
        finally:
            notifier("STOPPING=1")
            codes = _stop(workers)
    return code or max(codes)


def _log_start(process: WorkerProcess, worker: split.Worker) -> None:
    extra = {"peer": f"worker {process.number}", "pid": process.pid, "http": worker.settings.http.listen or "off"}
    log.info("A worker has started.", extra=extra | {"streams": ", ".join(worker.streams) or "none: retired"})


def _watch(workers: list[WorkerProcess], notifier: Notifier, stopping: StopFlag) -> int:
    """Forward the workers' notifications until a signal arrives or a worker ends; return 0, or its exit code."""
    is_ready = False
    to_reload: list[WorkerProcess] = []  # the first one is reloading
    while not stopping.is_set():
        for worker in select.select(workers, [], [], STEP_SECONDS)[0]:
            worker.receive()
        if not is_ready and all(worker.is_ready for worker in workers):
            is_ready = True
            notifier(f"READY=1\nSTATUS={len(workers)} workers are running; each has its own /readyz")
            log.info("All workers are running.", extra={"workers": len(workers)})
        to_reload = _reload_next(to_reload, notifier) if to_reload else to_reload
        if is_ready and not to_reload and hangup.are_requested():
            notifier(reloading())
            to_reload = [*workers]
            to_reload[0].reload()
        if all(worker.has_beaten for worker in workers):
            notifier("WATCHDOG=1")
            for worker in workers:
                worker.has_beaten = False
        ended = next((worker for worker in workers if worker.exit_code is not None), None)
        if ended and not stopping.is_set():
            return _report_end(ended)
    return 0


def _reload_next(to_reload: list[WorkerProcess], notifier: Notifier) -> list[WorkerProcess]:
    """Let the next worker reload once the first of these has; return those that have not."""
    if to_reload[0].is_ready:
        to_reload = to_reload[1:]
        if to_reload:
            to_reload[0].reload()
        else:
            notifier("READY=1")
    return to_reload


def _report_end(worker: WorkerProcess) -> int:
    code = worker.exit_code or 0
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    detail = f"{cause}; its last log lines say why. The gateway stops all workers and exits"
    log.error("A worker has ended.", extra={"peer": f"worker {worker.number}", "detail": detail})
    return max(code, 1)


def _stop(workers: list[WorkerProcess]) -> list[int]:
    """Stop all workers at the same time; return their exit codes, with 0 for a clean exit and 1 for a signal."""
    for worker in workers:
        worker.stop()
    until = time.monotonic() + STOP_SECONDS
    codes = [worker.wait(until - time.monotonic()) for worker in workers]
    return [0 if code in CLEAN_EXITS else max(code, 1) for code in codes]
