"""All exception classes: the family says whose fault it is and what happens next.

    GatewayError                    ends the command: a sentence, a fix and an exit code; never a traceback
    ├── ConfigurationError   78     the operator's files, contract or settings; carries all findings
    ├── ReplacedIdError             the broker replaces client ids, so a second connection would harm the gateway's
    ├── SpoolTakenError      73     another process holds this installation's spool
    ├── NotReloadedError     69     no gateway runs, or it does not say what became of a reload
    ├── BundleRefusedError    1     a contract from elsewhere is not taken; the present one stays in use
    ├── NotFetchedError      69     a contract from elsewhere cannot be fetched now
    ├── TakenOverError       73     another gateway with the same client ids has committed to Kafka since
    └── SpoolBrokenError     74     the disk fails again and again; nothing more is acknowledged

    DataError                       the input is wrong; its reader turns the error into a value
    ├── ValidationError             a payload that does not match its schema -> dead letter
    ├── MalformedPropertiesError    MQTT 5 properties that cannot be parsed -> dead letter
    ├── MalformedPacketError        a packet that breaks MQTT -> the connection is closed
    ├── RequestError                an HTTP request that cannot be answered -> its status code
    ├── AddressError                an address that MQTT cannot express -> finding
    ├── ExpressionError             a text that is not a runtime expression -> finding
    ├── UnsupportedPatternError     a pattern of JSON Schema that cannot be matched in linear time -> finding
    ├── ReferenceFault              a `$ref` that leads nowhere -> finding
    ├── TooLargeError               a schema without end -> finding
    └── FlowStyleError              a mapping in YAML that gets no more members -> finding

    FileError                       a file that the operator named cannot be used -> finding, or the peer's state
    ├── UnfitFileError              a secret or certificate
    └── UnknownVariableError        an environment variable that names no setting

    PeerError                       a peer does not answer or refuses -> retry, shown in `/readyz`
    ├── UnreachableError            no answer
    ├── InvalidResponseError        an answer that is not a registry's
    ├── RefusedError                an HTTP status that is not a success
    ├── ForeignIdError              a schema id that is not this registry's
    ├── NoUrlError                  no registry is configured
    ├── NoTokenError                the registry's token endpoint gives no token
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
from enum import IntEnum
from typing import ClassVar, Literal, Self

Severity = Literal["ok", "unknown", "warning", "error", "unreachable"]


class ExitCode(IntEnum):
    """All exit codes of the commands, with what they mean where a command's help does not say it more precisely.

    A command line that cannot be parsed ends with 2 as well. From 64 on these are the codes of sysexits.h.
    """

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> Self:
        """Make a member of its number and its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    SUCCESS = 0, "success"
    FAILURE = 1, "a check or a step failed"
    DIFFERENCE = 2, "differences are left"
    UNAVAILABLE = 69, "a peer did not answer"
    SPOOL_TAKEN = 73, "another process holds the spool, or has taken over"
    SPOOL_BROKEN = 74, "the disk under the spool fails"
    CONFIGURATION = 78, "the contract or the settings are wrong"  # the systemd unit does not restart on it


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One result of a check: a place, what was found there, and the fix.

    An error in a file stops `run` with exit code 78. Of a peer, `unknown` is what it does not show.
    """

    source: str  # the file as the operator named it, or the peer
    line: int  # 1-based, or 0 when the place has none
    path: str  # `#/channels/doors/address`, `servers.kafka.host`, or what of the peer was checked
    message: str
    fix: str = ""
    severity: Severity = "error"
    expected: str = ""  # what the contract says, if the peer was compared with it

    @classmethod
    def at(cls, peer: str, what: str, severity: Severity, message: str, fix: str = "", *, expected: str = "") -> Self:  # noqa: PLR0913 - the fields of the class
        """Make a finding about a peer."""
        return cls(peer, 0, what, message, fix, severity, expected)

    def __str__(self) -> str:
        """One line for people, as `asyncapi.yaml:12 #/channels/doors: message. fix.`."""
        place = f"{self.source}:{self.line}" if self.line else self.source
        text = f"{place} {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        return f"{text} {self.fix}".rstrip()


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

    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigurationError(GatewayError):
    """The contract or the settings are wrong; `findings` lists everything found in one pass."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, findings: list[Finding] | tuple[Finding, ...]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class SpoolTakenError(GatewayError):
    """Another process holds the spool."""

    exit_code = ExitCode.SPOOL_TAKEN


class TakenOverError(GatewayError):
    """Another gateway with the same transactional id has committed since."""

    exit_code = ExitCode.SPOOL_TAKEN


class SpoolBrokenError(GatewayError):
    """The disk under the spool fails again and again."""

    exit_code = ExitCode.SPOOL_BROKEN
