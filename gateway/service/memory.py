"""Returns memory that is needed only once: a gateway of a few streams runs for months on a small machine.

Python does not return memory: modules stay loaded, and small objects that live on keep whole pages. Therefore a forked
process reads the contract and exits after it has passed the result on; jsonschema, the official schemas and the page's
writers go with it. It imports them on another core while this process reads its settings; the contract's path is passed
to it once it is known. This cuts start-up time by 0.1 s. Rejected: `multiprocessing`, which takes 1 MB that stays; a
subprocess, which starts Python a second time and needs a format for the result.

The C library keeps freed memory too, such as that in which Python compiled a generated encoder, until it is asked once
to return it.

The garbage collector finds nothing on the path of a reading, which makes no cycles: by profile, it took a tenth of the
loop's time with CPython's thresholds, because the callbacks of records in flight come and go by the ten thousand. So
objects that live as long as the process are excluded from collection, and it runs less often. While modules are
imported it does not run at all, which takes 0.1 s off the start. The collection after compiling happens while the loop
runs: it pauses the loop for 0.2 ms, because it sees only what is newer than the start. After a reload it sees
everything, which takes 25 ms: what the former contract was compiled to refers to itself, and was excluded.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

GC_THRESHOLDS = (10_000, 20, 20)  # CPython's first is 700 new containers
_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def run_in_fork(
    prepare: Callable[[], Callable[[_Argument], _Result]],
) -> Callable[[_Argument], Callable[[], _Result]]:
    """Prepare a task in a fork of this process, which must not have other threads yet: a fork does not copy them.

    `prepare` imports what the task needs and returns the task. The task must have no side effects; its argument and its
    result are pickled. If the fork fails, for whatever reason, the task runs in this process, so its exceptions are
    raised here. A fork that never gets its argument ends with this process.

    Returns a function that starts the task; that returns one that waits for the result. Each may be called once.
    """
    try:
        file = os.fdopen(os.memfd_create("result"), "w+b")
        read_end, write_end = os.pipe()
        child = os.fork()
    except OSError:  # no more processes or memory
        return lambda argument: lambda: prepare()(argument)
    if not child:
        os.close(write_end)
        _run_and_exit(prepare, read_end, file)
    os.close(read_end)

    def begin(argument: _Argument) -> Callable[[], _Result]:
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as pipe:
            pickle.dump(argument, pipe)

        def result() -> _Result:
            _, status = os.waitpid(child, 0)
            with file:
                if status:
                    return prepare()(argument)
                file.seek(0)
                value: _Result = pickle.load(file)  # noqa: S301 - written by this program
                return value

        return result

    return begin


def _run_and_exit(prepare: Callable[[], Callable[[_Argument], object]], read_end: int, file: IO[bytes]) -> NoReturn:
    """Write the result of the task to a file and exit without output or clean-up, which the parent does."""
    status = 1
    try:
        task = prepare()
        with os.fdopen(read_end, "rb") as pipe:
            argument: _Argument = pickle.load(pipe)  # noqa: S301 - written by this program
        with file:
            pickle.dump(task(argument), file)
        status = 0
    finally:
        os._exit(status)


def release_unused(*, was_reloaded: bool = False) -> None:
    """Exclude present objects from garbage collection and return free memory; after the start, and after compiling."""
    if was_reloaded:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:  # only in glibc; musl keeps little
        trim(0)
