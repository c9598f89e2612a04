"""Memory that is needed once, given back: a gateway of a few streams runs for months on a small machine.

Python keeps what it once took: a module stays, and what lives on is spread over the pages that the rest has left. So
a contract is loaded in a forked process, which leaves its result and takes the rest with it: jsonschema, the official
schemas, the page's writers. It imports these while this process reads its settings, on another core, and is told the
contract's path when that is known: a start takes 0.1 s less so. `multiprocessing` lost, because it takes 1 MB that
stays; a subprocess too, because it takes a second start of Python, and a way to write down what it found.

The C library keeps as well what it was given back, such as the space in which Python compiled a generated encoder. It
has to be told once, when that is done.

By then all is there that stays, and no cycle is made on the way of a reading. So Python's collector need not walk over
it again and again: by its profile, that took a fiftieth of the loop's time.
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

COLLECT_AFTER = 10_000  # containers more than there were; Python's own choice is 700
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


def run_in_fork(prepare: Callable[[], Callable[[_Given], _Result]]) -> Callable[[_Given], Callable[[], _Result]]:
    """Prepare work in a fork of this process, which must not have threads yet: they would be missing there.

    What fails in the fork, for whatever reason, is done again here: so its error is raised where it is handled. When it
    is never given anything, the fork ends with this process.

    Args:
        prepare: imports what the work needs, and gives the work. That changes nothing outside of itself; what it is
            given and what it gives can be pickled.

    Returns:
        Gives the work what it needs to know, and begins it; what that returns waits for the result and gives it. Each
        is to be called once.
    """
    try:
        file = os.fdopen(os.memfd_create("result"), "w+b")
        told, telling = os.pipe()
        child = os.fork()
    except OSError:  # the system allows no further process, none of this size, or no file in memory
        return lambda given: lambda: prepare()(given)
    if not child:
        os.close(telling)
        _leave(prepare, told, file)
    os.close(told)

    def begin(given: _Given) -> Callable[[], _Result]:
        with suppress(BrokenPipeError), os.fdopen(telling, "wb") as pipe:
            pickle.dump(given, pipe)

        def result() -> _Result:
            _, status = os.waitpid(child, 0)
            with file:
                if status:
                    return prepare()(given)
                file.seek(0)
                found: _Result = pickle.load(file)  # noqa: S301 - this very program wrote it
                return found

        return result

    return begin


def _leave(prepare: Callable[[], Callable[[_Given], object]], told: int, file: IO[bytes]) -> NoReturn:
    """Leave what work returns in a file, and end without a word or cleaning up: that is for the other process to do."""
    status = 1
    try:
        work = prepare()
        with os.fdopen(told, "rb") as pipe:
            given: _Given = pickle.load(pipe)  # noqa: S301 - as above
        with file:
            pickle.dump(work(given), file)
        status = 0
    finally:
        os._exit(status)


def release_unused() -> None:
    """Note that what is there now stays, and give the rest back: once, when the gateway has what it needs."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back:  # only glibc can; musl holds little
        give_back(0)
