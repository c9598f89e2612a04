"""The state of each subject of an installation: file, lock file and registry side by side.

    register   sends the files' schemas to the registry; the lock file stays as it is
    lock       writes the registry's ids of the files' schemas to the lock file

The lock file is written only with ids that the registry has just returned, so that ids of another registry do not stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.errors import GatewayError
from gateway.installation import lock_path_of
from gateway.operate.schemas.difference import difference
from gateway.operate.schemas.review import as_version, registered_version, schemas
from gateway.operate.schemas.subjects import Subjects
from gateway.registry.lock_file import LOCK_FILE, load_lock, update_lock
from gateway.registry.registry import Registered, Unresolved

if TYPE_CHECKING:
    from gateway.core.model import AvroSchema
    from gateway.installation import Installation
    from gateway.registry.lock_file import Lock

AGREES, NO_ENTRY, IS_NEW, UNREGISTERED = "agrees", "no entry", "the subject is new", "the file is not registered"
FOREIGN = "of another registry"
SAME = "the same schema; only descriptions differ:"
HEADS = ("subject", "schema", "id", "version", "mode", "lock file", "registry")


class SubjectStatus(NamedTuple):
    """The state of one subject; its fields are members of the JSON."""

    subject: str
    schema: str  # name of the file
    id: int | None  # the registry's for the file's schema; None when it is not registered
    version: int | None
    mode: str  # empty when the registry does not answer
    lock: str  # whether the lock file agrees with file and registry, in words
    registry: str  # whether the registry agrees with the file, in words
    agrees: bool  # all three
    is_answered: bool

    @property
    def row(self) -> tuple[object, ...]:
        """Cells under `HEADS`."""
        return tuple("-" if cell in {None, ""} else cell for cell in self[: len(HEADS)])


class Change(NamedTuple):
    """The result of `register` or `lock` for one subject; without an id, `text` is the reason."""

    subject: str
    id: int | None
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}" if self.id is None else f"{self.subject}: id {self.id}, {self.text}"

    def as_json(self) -> dict[str, Any]:
        """The change as data."""
        return {"subject": self.subject, "id": self.id, "text": self.text}


def subject_statuses(installation: Installation) -> list[SubjectStatus]:
    """Compare file, lock file and registry, subject by subject."""
    subjects, locked = Subjects(installation.registry()), load_lock(lock_path_of(installation.settings))
    return [_status(name, schema, locked, subjects) for name, schema in schemas(installation.contract).items()]


def register(installation: Installation) -> list[Change]:
    """Register the schemas that are not registered yet."""
    subjects = Subjects(installation.registry())
    return [_register(name, schema, subjects) for name, schema in schemas(installation.contract).items()]


def lock(installation: Installation) -> list[Change]:
    """Write the ids that the registry has now to the lock files; a subject without one keeps its entry."""
    registry, path = installation.registry(), lock_path_of(installation.settings)
    subjects = Subjects(registry)
    changes = [_look_up(name, schema, subjects) for name, schema in schemas(installation.contract).items()]
    routes = [route for stream in installation.contract.streams.values() for route in stream.routes]
    if ids := {one.subject: one.id for one in changes if one.id is not None}:
        issuer = registry.issuer()
        try:
            for each in (path, *path.parent.glob(f"worker-*/{LOCK_FILE}")):
                update_lock(each, routes, ids, issuer)
        except OSError as error:
            raise GatewayError(f"The lock file {error.filename or path} cannot be written: {error.strerror}.") from None
    return changes


def differences(installation: Installation) -> dict[str, list[str] | Unresolved]:
    """List how each file differs from the registry's newest version."""
    subjects = Subjects(installation.registry())
    return {name: _difference(name, schema, subjects) for name, schema in schemas(installation.contract).items()}


def _difference(subject: str, schema: AvroSchema, subjects: Subjects) -> list[str] | Unresolved:
    latest = subjects.latest(subject)
    if latest is None:
        return ["+ the subject is new"]
    if isinstance(latest, Unresolved):
        return latest
    lines = difference(registered_version(subject, latest), as_version(schema))
    return [SAME, *lines] if lines and latest.is_same(schema) else lines


def _status(subject: str, schema: AvroSchema, locked: Lock, subjects: Subjects) -> SubjectStatus:
    latest, mode = subjects.latest(subject), subjects.mode(subject)
    is_latest = isinstance(latest, Registered) and latest.is_same(schema)
    registered = latest if is_latest else subjects.find(subject, schema)
    known = registered if isinstance(registered, Registered) else None
    registry, lock_text = _registry_agrees(registered, latest), _lock_agrees(subject, schema, locked, subjects)
    return SubjectStatus(
        subject,
        schema.path.name,
        known and known.id,
        known and known.version,
        "" if isinstance(mode, Unresolved) else mode,
        lock_text,
        registry,
        agrees=registry == lock_text == AGREES,
        is_answered=not any(isinstance(one, Unresolved) and one.retryable for one in (registered, latest)),
    )


def _registry_agrees(registered: Registered | Unresolved | None, latest: Registered | Unresolved | None) -> str:
    match registered, latest:
        case (Unresolved() as refusal, _) | (_, Unresolved() as refusal):
            return refusal.reason
        case _, None:
            return IS_NEW
        case None, _:
            return UNREGISTERED
        case Registered() as mine, Registered() as newest if mine.version != newest.version:
            return f"has a newer version: {newest.version}"
    return AGREES


def _lock_agrees(subject: str, schema: AvroSchema, locked: Lock, subjects: Subjects) -> str:
    pin = locked.pins.get(subject)
    if pin is None:
        return locked.fault(subject) or NO_ENTRY
    if not pin.holds_for(schema):
        return "for another schema"
    if subjects.has(subject, pin.id, schema):  # also when there is no answer
        return AGREES
    return f"id {pin.id}, {FOREIGN}? {pin.registry}".rstrip()


def _register(subject: str, schema: AvroSchema, subjects: Subjects) -> Change:
    registered = subjects.find(subject, schema)
    if isinstance(registered, Registered) and not difference(
        registered_version(subject, registered), as_version(schema)
    ):
        return Change(subject, registered.id, f"already registered as version {registered.version}")
    answer = registered if isinstance(registered, Unresolved) else subjects.register(subject, schema)
    if isinstance(answer, Unresolved):
        return Change(subject, None, answer.reason)
    return Change(subject, answer, "registered")


def _look_up(subject: str, schema: AvroSchema, subjects: Subjects) -> Change:
    registered = subjects.find(subject, schema)
    if isinstance(registered, Registered):
        return Change(subject, registered.id, "locked")
    reason = registered.reason if registered else "not registered. Run `gateway schemas register -c FILE`."
    return Change(subject, None, reason)
