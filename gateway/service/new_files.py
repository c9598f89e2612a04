"""Contract and settings as their files are now, read and checked in another process, while the gateway goes on."""

from __future__ import annotations

import pickle
import subprocess
from signal import Signals
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import ConfigurationError, GatewayError
from gateway.service import program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.page.html import Page
    from gateway.settings.settings import Settings

READ_SECONDS = 60.0


class NewFiles(NamedTuple):
    """What the files say."""

    contract: Contract
    settings: Settings
    page: Page  # of the contract


def command_of(config: Path) -> list[str]:
    """The command line that reads the files."""
    return program.command(str(config), module="gateway.cli.candidate")


def read(command: Sequence[str], environ: Mapping[str, str], seconds: float = READ_SECONDS) -> NewFiles:
    """Read the files by a command.

    ConfigurationError has the findings; GatewayError says why there is no result.
    """
    environment = program.environment(environ)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)  # noqa: S603 - our own command line, no shell
    except subprocess.TimeoutExpired:
        raise GatewayError(f"The process that reads the new files took more than {seconds:g} s.") from None
    except OSError as error:  # no more processes, memory or files
        raise GatewayError(f"The process that reads the new files cannot be started: {error.strerror}.") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        cause = f"was ended by {Signals(-done.returncode).name}" if done.returncode < 0 else f"failed: {last}"
        raise GatewayError(f"The process that reads the new files {cause}.")
    try:
        result: NewFiles | tuple[object, ...] = pickle.loads(done.stdout)  # noqa: S301 - written by this program
    except (pickle.UnpicklingError, EOFError):
        raise GatewayError("The process that reads the new files gave no result.") from None
    if not isinstance(result, NewFiles):
        raise ConfigurationError(result)  # type: ignore[arg-type]  # findings
    return result
