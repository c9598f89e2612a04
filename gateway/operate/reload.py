"""`gateway reload`: asks a running gateway to read its files anew, and waits for the outcome.

The process is the one that holds the spool, as the kernel's table of locks shows. It gets SIGHUP, and writes the
outcome into a file beside the spool (`service/reload.py`), so this needs no HTTP port. Several workers are asked one
after the other: when one refuses, the next are not asked.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import ExitCode, GatewayError
from gateway.operate.status import holder
from gateway.service import split
from gateway.service.reload import OUTCOME_FILE
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.settings.settings import Settings

WAIT_SECONDS = 120.0
STEP_SECONDS = 0.05
EXIT_CODES = {"accepted": ExitCode.SUCCESS, "refused": ExitCode.CONFIGURATION}


class Answer(NamedTuple):
    """What became of the reload of one process."""

    text: str
    exit_code: ExitCode


class NotReloadedError(GatewayError):
    """There is no gateway to ask, or it does not answer."""

    exit_code = ExitCode.UNAVAILABLE


def reload(settings: Settings, worker: int | None) -> Iterator[Answer]:
    """Reload one worker, or all that run, until one does not accept; NotReloadedError if none runs."""
    wanted = [worker] if worker else split.numbers(settings)
    paths = {number: split.own_settings(settings, number) for number in wanted}
    spools = {number: own.resolve(own.spool.path) for number, own in paths.items()}
    running = {number: process for number, spool in spools.items() if (process := holder(spool))}
    if not running:
        message = f"No gateway is running with the spool {printable(str(spools[wanted[0]]))}."
        raise NotReloadedError(message, "Start it with `gateway run -c FILE`: it reads the files as they are now.")
    for number, process in running.items():
        answer = _ask(process, spools[number])
        yield answer._replace(text=f"worker {number}: {answer.text}") if len(running) > 1 else answer
        if answer.exit_code != ExitCode.SUCCESS:
            return


def _ask(process: int, spool: Path) -> Answer:
    asked = time.monotonic()
    try:
        os.kill(process, signal.SIGHUP)
    except PermissionError:
        message = f"The gateway, process {process}, is not of this user."
        raise NotReloadedError(message, "Run this as the gateway's user or as root.") from None
    except ProcessLookupError:
        pass  # it has just ended, as is found out below
    while time.monotonic() < asked + WAIT_SECONDS:
        if (found := _outcome(spool, asked)) is not None:
            return found
        if holder(spool) != process:
            raise NotReloadedError(f"The gateway, process {process}, has ended.", "Its log says why.")
        time.sleep(STEP_SECONDS)
    text = f"The gateway, process {process}, has not reloaded within {WAIT_SECONDS:g} s."
    raise NotReloadedError(text, "Its log says why.")


def _outcome(spool: Path, asked: float) -> Answer | None:
    """Read the outcome of a reload that began after it was asked for; None while there is none."""
    try:
        found = json.loads(spool.with_name(OUTCOME_FILE).read_text(encoding="utf-8"))
        code = EXIT_CODES.get(found["outcome"], ExitCode.FAILURE)
        return Answer(str(found["text"]), code) if float(found["began"]) >= asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
