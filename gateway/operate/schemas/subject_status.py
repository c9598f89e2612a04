"""Where each subject of an installation stands: file, lock file and registry side by side; and bringing them together.

    register   the registry learns what the files say; the lock file stays as it is
    lock       the lock file learns the ids that the registry has for the files

The lock file is written only with what the registry said just now, so that ids of another registry do not survive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import GatewayError
from gateway.installation import lock_path_of
from gateway.operate.schemas.difference import difference
from gateway.operate.schemas.review import as_version, routes, schema_of
from gateway.operate.schemas.subjects import Registered, Subjects
from gateway.registry.lock_file import read_lock, update_lock
from gateway.registry.registry import Unresolved

if TYPE_CHECKING:
    from gateway.core.model import AvroSchema
    from gateway.installation import Installation
    from gateway.registry.lock_file import Pin

AGREES, NO_ENTRY = "agrees", "no entry"
HEADS = ("subject", "schema", "id", "version", "mode", "lock file", "registry")


class SubjectStatus(NamedTuple):
    """Where one subject stands.

    Args:
        subject: the registry's subject.
        schema: name of the schema file.
        id: the registry's id for the file's schema; None when it has none.
        version: likewise.
        mode: the subject's compatibility mode; empty when the registry does not answer.
        lock: whether the lock file agrees with the file and the registry, in words.
        registry: whether the registry agrees with the file, in words.
        agrees: True when all three agree.
        is_answered: False when the registry could not be asked.
    """

    subject: str
    schema: str
    id: int | None
    version: int | None
    mode: str
    lock: str
    registry: str
    agrees: bool
    is_answered: bool

    @property
    def row(self) -> tuple[object, ...]:
        """Cells under `HEADS`."""
        return tuple("-" if cell in {None, ""} else cell for cell in self[: len(HEADS)])


class Change(NamedTuple):
    """What became of one subject.

    Args:
        subject: the registry's subject.
        id: its schema's id; None when it was refused.
        told: what was done, or the reason of the refusal.
    """

    subject: str
    id: int | None
    told: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.subject}: {self.told}" if self.id is None else f"{self.subject}: id {self.id}, {self.told}"


def subject_statuses(installation: Installation) -> list[SubjectStatus]:
    """Compare file, lock file and registry, subject by subject."""
    subjects, locked = Subjects(installation.registry()), read_lock(lock_path_of(installation.settings))
    return [
        _status(subject, schema_of(route), locked.get(subject), subjects)
        for subject, route in routes(installation.contract).items()
    ]


def register(installation: Installation) -> list[Change]:
    """Register what the registry does not have, and say what became of it."""
    subjects = Subjects(installation.registry())
    return [_register(name, schema_of(route), subjects) for name, route in routes(installation.contract).items()]


def lock(installation: Installation) -> list[Change]:
    """Write the ids that the registry has now to the lock file; a subject without one keeps what it had.

    Raises:
        GatewayError: when the lock file cannot be written.
    """
    subjects, path = Subjects(installation.registry()), lock_path_of(installation.settings)
    wanted = routes(installation.contract)
    changes = [_look_up(subject, schema_of(route), subjects) for subject, route in wanted.items()]
    if ids := {one.subject: one.id for one in changes if one.id is not None}:
        try:
            update_lock(path, wanted.values(), ids)
        except OSError as error:
            raise GatewayError(f"The lock file {path} cannot be written: {error.strerror}.") from None
    return changes


def differences(installation: Installation) -> dict[str, list[str] | Unresolved]:
    """Tell how each file differs from the registry's newest version; a new subject differs by all."""
    subjects = Subjects(installation.registry())
    return {
        subject: _difference(subject, schema_of(route), subjects)
        for subject, route in routes(installation.contract).items()
    }


def _difference(subject: str, schema: AvroSchema, subjects: Subjects) -> list[str] | Unresolved:
    latest = subjects.latest(subject)
    if latest is None:
        return ["+ the subject is new"]
    if isinstance(latest, Unresolved):
        return latest
    return difference(latest.schema(subject), as_version(schema))


def _status(subject: str, schema: AvroSchema, pin: Pin | None, subjects: Subjects) -> SubjectStatus:
    found, latest, mode = subjects.find(subject, schema), subjects.latest(subject), subjects.mode(subject)
    registry = _registry_agrees(found, latest)
    known = found if isinstance(found, Registered) else None
    lock = _lock_agrees(pin, schema, known)
    return SubjectStatus(
        subject,
        schema.path.name,
        known and known.id,
        known and known.version,
        "" if isinstance(mode, Unresolved) else mode,
        lock,
        registry,
        agrees=registry == lock == AGREES,
        is_answered=not any(isinstance(one, Unresolved) and one.retryable for one in (found, latest)),
    )


def _registry_agrees(found: Registered | Unresolved | None, latest: Registered | Unresolved | None) -> str:
    match found, latest:
        case (Unresolved() as refusal, _) | (_, Unresolved() as refusal):
            return refusal.reason
        case _, None:
            return "the subject is new"
        case None, _:
            return "the file is not registered"
        case Registered() as mine, Registered() as newest if mine.version != newest.version:
            return f"has version {newest.version} since"
    return AGREES


def _lock_agrees(pin: Pin | None, schema: AvroSchema, known: Registered | None) -> str:
    if pin is None:
        return NO_ENTRY
    if not pin.holds_for(schema):
        return "for another text"
    return AGREES if known is None or known.id == pin.id else f"id {pin.id}, of another registry?"


def _register(subject: str, schema: AvroSchema, subjects: Subjects) -> Change:
    found = subjects.find(subject, schema)
    if isinstance(found, Registered):
        return Change(subject, found.id, f"version {found.version} was there")
    answer = found if isinstance(found, Unresolved) else subjects.register(subject, schema)
    return (
        Change(subject, None, answer.reason)
        if isinstance(answer, Unresolved)
        else Change(subject, answer, "registered")
    )


def _look_up(subject: str, schema: AvroSchema, subjects: Subjects) -> Change:
    found = subjects.find(subject, schema)
    if isinstance(found, Registered):
        return Change(subject, found.id, "locked")
    told = found.reason if isinstance(found, Unresolved) else "not registered; `gateway schemas register` does that."
    return Change(subject, None, told)
