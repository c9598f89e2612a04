"""Every subject of a contract, judged: against earlier versions of the files, or by the registry.

A schema that is written into the contract itself has no file whose history could be asked: it is reported as not
compared, never as compatible.
"""

from __future__ import annotations

from os.path import relpath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gateway.errors import ConfigurationError, Finding
from gateway.operate.schemas.advice import Advice, advise
from gateway.operate.schemas.avsc import Schema, parse, read
from gateway.operate.schemas.mode import Mode, judge
from gateway.registry.registry import Unresolved
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.model import AvroSchema, Contract, Route
    from gateway.operate.schemas.subjects import Registered, Subjects

Outcome = Literal["compatible", "incompatible", "new", "not compared"]


class Review(NamedTuple):
    """What came out for one subject.

    Args:
        subject: the registry's subject; the new file's name where two files are compared.
        file: where the schema stands.
        mode: the compatibility mode that counted; may be empty when a registry does not tell it.
        outcome: not compared is no success.
        against: the versions it was held against.
        advice: faults and cautions with the compatible way.
        reasons: the registry's own words, or why nothing was compared.
    """

    subject: str
    file: str
    mode: str
    outcome: Outcome
    against: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def is_passed(self) -> bool:
        """Whether the schema may be used."""
        return self.outcome in {"compatible", "new"}

    def as_json(self) -> dict[str, Any]:
        """As data."""
        return self._asdict() | {"advice": [one._asdict() for one in self.advice]}

    def as_text(self) -> str:
        """Its problems, then its outcome in one line."""
        against = f" with {', '.join(self.against)}" if self.against else ""
        outcome = f"{self.subject}: {self.outcome}{against}{f' ({self.mode})' if self.mode else ''}"
        return "\n".join([*map(str, self.advice), *map(printable, self.reasons), printable(outcome)])


def compare(new: Schema, earlier: list[Schema], mode: Mode, subject: str = "") -> Review:
    """Judge a schema against earlier versions of it, the oldest first."""
    if not earlier:
        return Review(subject or new.label, new.label, mode, "new")
    counted = earlier if mode.is_transitive else earlier[-1:]
    advice = tuple(map(advise, judge(new, earlier, mode)))
    outcome: Outcome = "compatible" if all(one.is_caution for one in advice) else "incompatible"
    return Review(subject or new.label, new.label, mode, outcome, tuple(one.label for one in counted), advice)


def review_files(contract: Contract, earlier: Callable[[Path], list[Schema]], mode: Mode) -> list[Review]:
    """Judge the schema files of a contract against earlier versions.

    Args:
        contract: as it is now.
        earlier: finds the versions of a file, the oldest first.
        mode: for every subject.

    Raises:
        ConfigurationError: with everything that is no schema.
    """
    reviews: list[Review] = []
    wrong: list[Finding] = []
    for subject, route in routes(contract).items():
        try:
            reviews.append(_review_file(subject, schema_of(route), earlier, mode))
        except ConfigurationError as error:
            wrong += error.findings
    if wrong:
        raise ConfigurationError(wrong)
    return reviews


def review_registry(contract: Contract, subjects: Subjects) -> list[Review]:
    """Let the registry judge the schemas of a contract, each in its subject's own mode."""
    return [_review_subject(subject, schema_of(route), subjects) for subject, route in routes(contract).items()]


def routes(contract: Contract) -> dict[str, Route]:
    """Name the subjects that a contract writes to, each with a route to it."""
    return {route.subject: route for one in contract.streams.values() for route in one.routes}


def schema_of(route: Route) -> AvroSchema:
    """Give the schema of a route that has one."""
    assert route.schema is not None, "routes without a schema have no subject"
    return route.schema


def as_version(schema: AvroSchema) -> Schema:
    """Read a schema of the contract with its lines, where it is a file of its own."""
    label = relpath(schema.path)
    if schema.path.suffix == ".avsc":
        version = read(schema.path)
        if version.type.name == schema.fullname:
            return version._replace(label=label)
    return parse(schema.text, label)


def _review_file(subject: str, schema: AvroSchema, earlier: Callable[[Path], list[Schema]], mode: Mode) -> Review:
    version = as_version(schema)
    if schema.path.suffix != ".avsc":
        told = "This schema is written into the contract: judge it with --registry, or move it to an .avsc file."
        return Review(subject, version.label, mode, "not compared", reasons=(told,))
    return compare(version, earlier(schema.path), mode, subject)


def _review_subject(subject: str, schema: AvroSchema, subjects: Subjects) -> Review:
    version, latest, verdict = as_version(schema), subjects.latest(subject), subjects.judge(subject, schema)
    mode = subjects.mode(subject)
    for answer in (latest, verdict, mode):
        if isinstance(answer, Unresolved):
            return Review(subject, version.label, "", "not compared", reasons=(answer.reason,))
    assert not isinstance(latest, Unresolved), "returned above"
    assert not isinstance(verdict, Unresolved), "returned above"
    if latest is None:
        return Review(subject, version.label, str(mode), "new")
    advice = _advice(version, latest, subject, str(mode))
    outcome: Outcome = "compatible" if verdict.is_compatible else "incompatible"
    reasons = tuple(f"The registry says: {one}" for one in verdict.reasons)
    return Review(subject, version.label, str(mode), outcome, (f"version {latest.version}",), advice, reasons)


def _advice(version: Schema, latest: Registered, subject: str, mode: str) -> tuple[Advice, ...]:
    """Say in our words what the registry may only say yes or no to."""
    if mode not in Mode.__members__:
        return ()
    return tuple(map(advise, judge(version, [latest.schema(subject)], Mode(mode))))
