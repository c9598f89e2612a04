"""What can go wrong, whose fault it is, and what happens next.

    GatewayError                    every error of ours; carries a sentence and a hint
    ├── ConfigurationError   78     the operator's files: contract or settings; carries every finding at once
    ├── SpoolTakenError      73     another process holds this installation's spool
    └── SpoolBrokenError     74     the disk does not keep what it was given: stop, nothing is acknowledged

Bad readings are not here: they are values (`core.reading.DeadLetter`). A lost or refusing peer is not here
either: it is a state of the source, the sink or the registry, tried again and named in `/readyz`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong in a file of the operator.

    Args:
        file: the file's name as the operator gave it.
        line: 1-based line, or 0 when the place has none.
        path: where in the document, as `#/channels/doors/address` or `servers.kafka.host`.
        message: what is wrong, one sentence.
        fix: what to do, one sentence; may be empty.
        severity: an error stops `run` with exit code 78; a warning is shown only.
    """

    file: str
    line: int
    path: str
    message: str
    fix: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """One line for people, as `asyncapi.yaml:12 #/channels/doors: message. fix.`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        told = f"{place} {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        return f"{told} {self.fix}".rstrip()


class GatewayError(Exception):
    """Every error of ours: a sentence for the operator, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint as two sentences."""
        return f"{self.message} {self.hint}".rstrip()


class ConfigurationError(GatewayError):
    """The contract or the settings are wrong; `findings` lists everything found in one pass."""

    exit_code = 78  # EX_CONFIG in sysexits.h; the unit does not restart on it

    def __init__(self, findings: list[Finding] | tuple[Finding, ...]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class SpoolTakenError(GatewayError):
    """Another process holds the spool."""

    exit_code = 73  # EX_CANTCREAT


class SpoolBrokenError(GatewayError):
    """The disk under the spool fails again and again."""

    exit_code = 74  # EX_IOERR


def until_refused(found: Iterable[_Found], told: Callable[[GatewayError], _Found]) -> list[_Found]:
    """Collect what asking a peer gives; where an error ends it, what came before stays, and the error is told as well.

    Args:
        found: raises when the peer does not answer any more.
        told: makes the last thing found of the error.

    Raises:
        ConfigurationError: from `found`; no peer is at fault then.
    """
    collected = []
    try:
        for one in found:
            collected.append(one)  # noqa: PERF402 - a comprehension would lose them
    except ConfigurationError:
        raise
    except GatewayError as error:
        collected.append(told(error))
    return collected
