"""Servers that all jobs of a test run share: the first that asks starts one, and its job stops it when all are done.

A job is a process, so the others get a copy: it knows the server's addresses and folder, and cannot stop it.

- A file lock makes one job start a server while the others wait.
- Every job holds a shared lock while it runs tests. A job that started a server waits until no other holds one. The
  kernel releases a lock with its process, so a job that was killed is not waited for.
"""

from __future__ import annotations

import fcntl
import pickle
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

S = TypeVar("S", bound=AbstractContextManager[Any])


class SharedServers:
    """The servers of a test run; a context manager that stops those that it started.

    Args:
        folder: a folder that all jobs of this run, and no others, have.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = ExitStack()
        self._has_started = False
        self._jobs = (folder / "jobs.lock").open("w")
        fcntl.flock(self._jobs, fcntl.LOCK_SH)

    def get(self, kind: type[S]) -> S:
        """Get the server of a kind; start it if no job has."""
        path = self._folder / f"{kind.__name__}.pickle"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                server = self._started.enter_context(kind())
                path.write_bytes(pickle.dumps(server))
                self._started.callback(path.unlink)
                self._has_started = True
        copy: S = pickle.loads(path.read_bytes())
        return copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._jobs, self._started:
            fcntl.flock(self._jobs, fcntl.LOCK_UN)
            if self._has_started:
                fcntl.flock(self._jobs, fcntl.LOCK_EX)
