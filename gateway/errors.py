"""All exception classes: the family says whose fault it is and what happens next.

    GatewayError                    ends the command: a sentence, a fix and an exit code; never a traceback
    ├── ConfigurationError   78     the operator's files, contract or settings; carries all findings
    ├── SpoolTakenError      73     another process holds this installation's spool
    └── SpoolBrokenError     74     the disk fails again and again; nothing more is acknowledged

    DataError                       the input is wrong; whoever reads it turns the error into a value
    ├── ValidationError             a payload that does not match its schema -> dead letter
    ├── MalformedPropertiesError    MQTT 5 properties that cannot be parsed -> dead letter
    ├── MalformedPacketError        a packet that breaks MQTT -> the connection is closed
    ├── RequestError                an HTTP request that cannot be answered -> its status code
    ├── AddressError                an address that MQTT cannot express -> finding
    ├── ExpressionError             a text that is not a runtime expression -> finding
    ├── ReferenceFault              a `$ref` that leads nowhere -> finding
    └── TooLargeError               a schema without end -> finding

    FileError                       a file that the operator named cannot be used -> finding, or the peer's state
    ├── UnfitFileError              a secret or certificate
    ├── CaFileError                 the registry's CA file
    └── UnknownVariableError        an environment variable that names no setting

    PeerError                       a peer does not answer or refuses -> retry, shown in `/readyz`
    ├── UnreachableError            no answer
    ├── InvalidResponseError        an answer that is not a registry's
    ├── RefusedError                an HTTP status that is not a success
    ├── NoUrlError                  no registry is configured
    └── UnconfirmedError            Kafka has not reported the outcome of a record

    DiskError                       the spool file
    ├── DiskFullError               no room, or read-only -> retry
    └── DiskBrokenError             any other failure -> the file is set aside

    CodecLimit                      the compiled encoder does not apply -> the precise encoder
    ├── FallBack                    not for this payload
    └── UnsupportedSchemaError      not for this schema

The classes with data of their own are defined beside the code that raises them. A reading that does not match is
never an exception outside `core/`: it is a `core.reading.DeadLetter`.
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


class DataError(Exception):
    """The input is wrong; the reader turns it into a dead letter, a finding or a status."""


class FileError(Exception):
    """A file or variable that the operator named cannot be used."""


class PeerError(Exception):
    """A peer does not answer or refuses; the call can be repeated."""


class DiskError(Exception):
    """The spool file could not be read or written."""


class CodecLimit(Exception):  # noqa: N818 - a limit, not an error: the precise encoder takes over
    """The compiled encoder does not apply; the precise one does."""


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
