"""Every subject of a contract, checked: against earlier versions of its files, or by the registry.

A schema that is part of the contract document has no file with a history: it is reported as not compared, never as
compatible.
"""

from __future__ import annotations

from os.path import relpath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from gateway.errors import ConfigurationError, Finding
from gateway.operate.report import as_line
from gateway.operate.schemas import advice
from gateway.operate.schemas.avsc import Schema, parse, read
from gateway.operate.schemas.mode import Mode
from gateway.operate.schemas.resolution import Problem, problems
from gateway.registry.registry import Unresolved
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from gateway.core.model import AvroSchema, Contract
    from gateway.errors import Severity
    from gateway.operate.schemas.subjects import Subjects
    from gateway.registry.registry import Registered

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

Outcome = Literal["compatible", "incompatible", "new", "not compared"]


class Review(NamedTuple):
    """The check of one subject."""

    subject: str  # the new file's name where files are compared
    file: str  # of the schema
    mode: str  # empty when the registry does not tell it
    outcome: Outcome
    against: tuple[str, ...] = ()  # the versions it was compared with
    problems: tuple[Problem, ...] = ()
    reasons: tuple[str, ...] = ()  # the registry's, or why nothing was compared
    skipped: tuple[str, ...] = ()  # older versions that the mode does not ask for

    @property
    def is_passed(self) -> bool:
        """Whether the schema may be used."""
        return self.outcome in {"compatible", "new"}

    @property
    def findings(self) -> list[Finding]:
        """Problems and reasons."""
        severity: Severity = "unknown" if self.outcome == "not compared" else "error"
        reasons = [Finding(self.file, 0, "", reason, severity=severity) for reason in self.reasons]
        return [*map(advice.advise, self.problems), *reasons]

    def as_json(self) -> dict[str, Any]:
        """The review as data."""
        return {
            "subject": self.subject,
            "file": self.file,
            "mode": self.mode,
            "outcome": self.outcome,
            "against": self.against,
            "advice": [advice.as_json(one) for one in self.problems],
            "reasons": self.reasons,
            "skipped": self.skipped,
        }

    def as_text(self) -> str:
        """The findings, then the outcome in one line."""
        against = f" with {', '.join(self.against)}" if self.against else ""
        outcome = f"{self.subject}: {self.outcome}{against}{f' ({self.mode})' if self.mode else ''}{self._without}"
        return "\n".join([*map(as_line, self.findings), printable(outcome)])

    @property
    def _without(self) -> str:
        return f"; {self.mode} does not compare with {', '.join(self.skipped)}" if self.skipped else ""


def review_versions(old: Sequence[Path], new: Path, mode: Mode) -> Review:
    """Check a schema file against earlier ones, the oldest first."""
    *earlier, version = _map_all(read, (*old, new))
    return compare(version, earlier, mode)


def review_files(contract: Contract, earlier: Callable[[Path], list[Schema]], mode: Mode) -> list[Review]:
    """Check the schema files of a contract; `earlier` finds the versions of a file, the oldest first."""
    return _map_all(lambda item: _review_file(*item, earlier, mode), schemas(contract).items())


def review_registry(contract: Contract, subjects: Subjects) -> list[Review]:
    """Let the registry check the schemas of a contract, each in its subject's own mode."""
    return [_review_subject(subject, schema, subjects) for subject, schema in schemas(contract).items()]


def compare(new: Schema, earlier: list[Schema], mode: Mode, subject: str = "") -> Review:
    """Compare a schema with its earlier versions, the oldest first."""
    if not earlier:
        return Review(subject or new.label, new.label, mode, "new")
    between = tuple(problems(new, earlier, mode))
    outcome: Outcome = "compatible" if all(one.fault.is_caution for one in between) else "incompatible"
    counted = mode.counted(earlier)
    against = tuple(one.label for one in counted)
    skipped = tuple(one.label for one in earlier[: -len(counted)])
    return Review(subject or new.label, new.label, mode, outcome, against, between, skipped=skipped)


def schemas(contract: Contract) -> dict[str, AvroSchema]:
    """The schema of each subject that a contract writes to."""
    routes = (route for stream in contract.streams.values() for route in stream.routes)
    return {route.subject: route.schema for route in routes if route.schema}


def as_version(schema: AvroSchema) -> Schema:
    """Read a schema of the contract, with its lines if it is a file of its own."""
    label = relpath(schema.path)
    if schema.path.suffix == ".avsc":
        version = read(schema.path)
        if version.type.name == schema.fullname:
            return version._replace(label=label)
    return parse(schema.text, label)


def registered_version(subject: str, registered: Registered) -> Schema:
    """Parse a version of the registry."""
    return parse(registered.text, f"{subject} version {registered.version}", registered.references)


def _map_all(function: Callable[[_Given], _Made], each: Iterable[_Given]) -> list[_Made]:
    """Call a function for each; raise the findings of all calls at once."""
    made: list[_Made] = []
    findings: list[Finding] = []
    for one in each:
        try:
            made.append(function(one))
        except ConfigurationError as error:
            findings += error.findings
    if findings:
        raise ConfigurationError(list(dict.fromkeys(findings)))  # two may be of one file
    return made


def _review_file(subject: str, schema: AvroSchema, earlier: Callable[[Path], list[Schema]], mode: Mode) -> Review:
    version = as_version(schema)
    if schema.path.suffix != ".avsc":
        reason = "This schema is part of the contract: check it with --registry, or move it to an .avsc file."
        return Review(subject, version.label, mode, "not compared", reasons=(reason,))
    return compare(version, earlier(schema.path), mode, subject)


def _review_subject(subject: str, schema: AvroSchema, subjects: Subjects) -> Review:
    version = as_version(schema)
    latest, mode = subjects.latest(subject), subjects.mode(subject)
    rejections = subjects.rejections(subject, schema, str(mode))
    for answer in (latest, rejections, mode):
        if isinstance(answer, Unresolved):
            return Review(subject, version.label, "", "not compared", reasons=(answer.reason,))
    assert not isinstance(latest, Unresolved), "returned above"
    assert not isinstance(rejections, Unresolved), "returned above"
    if latest is None:
        return Review(subject, version.label, str(mode), "new")
    # Some registries answer only yes or no; the problems are then the reasons.
    is_known = mode in Mode.__members__
    between = problems(version, [registered_version(subject, latest)], Mode(str(mode))) if is_known else []
    outcome: Outcome = "incompatible" if rejections is not None else "compatible"
    reasons = tuple(f"The registry reports: {one}" for one in rejections or ())
    return Review(subject, version.label, str(mode), outcome, (f"version {latest.version}",), tuple(between), reasons)
