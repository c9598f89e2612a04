"""Schema ids: from the lock file, or from the registry by its Confluent REST API.

- **The lock file comes first.** An edge box that has an id needs no registry. But an id means something in one registry
  only, and that may have been rebuilt, or be another one. So the registry is asked whether it has the schema under that
  id. No answer leaves the id in use, *unverified*; an answer that knows it for no schema, or for another one, refuses
  it. Registering again without being told to was rejected: a wrong registry.url would look like success.
- **The same schema** is one rule for all commands (`canonical_form.py`). A registry compares text, and the schema
  may have been registered as another text, such as the .avsc with its `x-source`. So where the registry finds no such
  text, the versions of the subject are compared, the newest first.
- **An error is a value for one subject.** The incompatible schema of one stream must not stop the others.
  `errors.py` says which of them may pass.
- **An id is used only when the registry returns the same schema for it.**

Rejected: retries in here (the caller knows better when to try again); ids in the spool's database (the lock file is
made at deploy time and travels with the contract).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

from gateway.errors import FileError, PeerError
from gateway.registry.api import Endpoint, InvalidResponseError, NoUrlError, RefusedError, RegistryApi, UnreachableError
from gateway.registry.canonical_form import is_same
from gateway.registry.errors import NO_SUCH_SCHEMA, NOT_FOUND_CODES, ForeignIdError, explain, without_login
from gateway.registry.lock_file import LOCK_FIX, MAXIMUM_ID, Issuer, load_lock, update_lock
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from gateway.core.model import AvroSchema, Route
    from gateway.registry.lock_file import Pin

_Answer = TypeVar("_Answer")


class Unresolved(NamedTuple):
    """Why a subject has no schema id."""

    subject: str
    retryable: bool  # the same request may succeed later; else an operator has to act
    reason: str  # sentences for people; no secret, no control characters


class SchemaIds(NamedTuple):
    """The ids of a set of routes."""

    ids: dict[str, int]  # by subject
    refusals: tuple[Unresolved, ...]  # one for each subject without an id
    notes: tuple[str, ...]  # for the operator although the ids are there: the lock file cannot be read or written
    unverified: str = ""  # why ids are the lock file's and not confirmed; empty when the registry confirms all


class Registered(NamedTuple):
    """A version of a subject."""

    version: int  # from 1
    id: int  # of the schema, in the whole registry
    text: str  # JSON of the schema
    references: tuple[str, ...] = ()  # JSON of the schemas that it refers to, each after those that it needs itself

    def is_same(self, schema: AvroSchema) -> bool:
        """Whether it is the contract's schema."""
        return is_same(schema.text, self.text, self.references)


class SchemaRegistry:
    """Finds the schema ids of routes; without `register` it only looks them up. The lock file need not exist.

    Every method may block for the timeout, once for each step of a subject: call it from a background thread. Use an
    instance from one thread at a time.
    """

    def __init__(self, endpoint: Endpoint, lock_path: Path, *, register: bool = True) -> None:
        self.endpoint = endpoint
        self._url = endpoint.url
        self._lock_path = lock_path
        self._register = register
        self._api = RegistryApi(endpoint)

    # --- for the gateway ----------------------------------------------------------------------------------------

    def ids(self, routes: Iterable[Route]) -> SchemaIds:
        """Confirm the ids of the lock file, find the others, and write those to the lock file.

        Routes without a schema (dead letters) are skipped. Ids and refusals together name every other subject.
        """
        routes = [route for route in routes if route.schema is not None]
        schemas = {route.subject: route.schema for route in routes if route.schema}
        lock = load_lock(self._lock_path)
        notes = tuple(f"{fault} {LOCK_FIX}" for fault in lock.faults.values())
        pins = {name: pin for name, schema in schemas.items() if (pin := lock.pin(name, schema))}
        ids, errors = self._resolve_all(schemas, pins)
        if new := {name: schema_id for name, schema_id in ids.items() if name not in pins}:
            notes += self._lock(routes, new)
        refusals, unverified = [], ""
        for name, error in errors.items():
            reason = self._unresolved(name, error)
            if name in pins and not isinstance(error, ForeignIdError):
                ids[name] = pins[name].id
                unverified = "No registry is configured." if isinstance(error, NoUrlError) else reason.reason
            else:
                refusals.append(reason)
        return SchemaIds(ids, tuple(refusals), notes, unverified)

    def _resolve_all(
        self, schemas: Mapping[str, AvroSchema], pins: Mapping[str, Pin]
    ) -> tuple[dict[str, int], dict[str, PeerError | FileError]]:
        ids: dict[str, int] = {}
        errors: dict[str, PeerError | FileError] = {}
        for subject, schema in schemas.items():
            try:
                ids[subject] = (
                    self._confirm(subject, schema, pins[subject]) if subject in pins else self._look_up(subject, schema)
                )
            except (PeerError, FileError) as error:
                errors[subject] = error
                if isinstance(error, UnreachableError):  # do not wait out the timeout for each subject
                    return ids, dict.fromkeys(schemas.keys() - ids.keys(), error) | errors
        return ids, errors

    def _confirm(self, subject: str, schema: AvroSchema, pin: Pin) -> int:
        try:
            is_used = True
            if self._is_id_of(pin.id, schema):
                return pin.id
        except RefusedError as error:
            if error.code not in NOT_FOUND_CODES:
                raise
            is_used = False
        raise ForeignIdError(pin, is_used=is_used, is_registered=isinstance(self.find(subject, schema), Registered))

    def _look_up(self, subject: str, schema: AvroSchema) -> int:
        try:
            schema_id = _id_of(self._match(subject, schema))
        except RefusedError as error:
            if error.code not in NOT_FOUND_CODES or not self._register:
                raise
            schema_id = self._register_version(subject, schema)
        if not self._is_id_of(schema_id, schema):
            raise InvalidResponseError(f"it names schema id {schema_id}, which is another schema")
        return schema_id

    def _lock(self, routes: Iterable[Route], ids: Mapping[str, int]) -> tuple[str, ...]:
        try:
            update_lock(self._lock_path, routes, ids, self.issuer())
        except OSError as error:
            text = f"The schema lock file {self._lock_path} cannot be written: {error.strerror}."
            return (printable(f"{text} Without it the next start needs the registry."),)
        return ()

    # --- for operators ------------------------------------------------------------------------------------------

    def schema(self, schema_id: int) -> str | Unresolved | None:
        """Fetch the text of a schema; None when there is none."""
        return self._answer(f"schema id {schema_id}", lambda: self._schema(schema_id)[0])

    def find(self, subject: str, schema: AvroSchema) -> Registered | Unresolved | None:
        """Find the version of a subject that is the contract's schema; None when there is none."""
        return self._answer(subject, lambda: self._registered(self._match(subject, schema)))

    def latest(self, subject: str) -> Registered | Unresolved | None:
        """Fetch the newest version; None when the subject is new."""
        return self._answer(subject, lambda: self._registered(self._version(subject, "latest")))

    def versions(self, subject: str) -> list[int] | Unresolved | None:
        """List the numbers of a subject's versions; None when the subject is new."""
        return self._answer(subject, lambda: self._versions(subject))

    def is_id_of(self, subject: str, schema_id: int, schema: AvroSchema) -> bool | Unresolved:
        """Whether the registry has the contract's schema under an id."""
        answer = self._answer(subject, lambda: self._is_id_of(schema_id, schema))
        return False if answer is None else answer

    def register(self, subject: str, schema: AvroSchema) -> int | Unresolved | None:
        """Register a schema as the next version, and give its id."""
        return self._answer(subject, lambda: self._register_version(subject, schema))

    def ask(self, subject: str, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any | Unresolved | None:
        """Send another request about a subject: its mode, the reasons of an incompatibility.

        The path is quoted, and below the base of the Confluent REST API. The result is the JSON of the response, or
        None when there is no such subject, version or schema.
        """
        return self._answer(subject, lambda: self._api.request(method, path, body))

    def issuer(self) -> Issuer:
        """Name this registry, as an entry of the lock file does."""
        answer = self.ask("", "GET", "v1/metadata/id")  # only Confluent's registry has it
        return Issuer(without_login(self._url), _cluster(answer))

    def _answer(self, subject: str, send: Callable[[], _Answer]) -> _Answer | Unresolved | None:
        try:
            return send()
        except (PeerError, FileError) as error:
            if isinstance(error, RefusedError) and error.code in NOT_FOUND_CODES:
                return None
            return self._unresolved(subject, error)

    # --- requests -----------------------------------------------------------------------------------------------

    def _match(self, subject: str, schema: AvroSchema) -> Any:
        """Find a schema's version: as it is written here or, where the registry finds no such text, the newest same."""
        try:
            return self._api.request("POST", _path(subject), {"schema": schema.text})
        except RefusedError as error:
            if error.code != NO_SUCH_SCHEMA:
                raise
            for number in sorted(self._versions(subject), reverse=True):
                response = self._version(subject, number)
                if self._registered(response).is_same(schema):
                    return response
            raise

    def _register_version(self, subject: str, schema: AvroSchema) -> int:
        return _id_of(self._api.request("POST", f"{_path(subject)}/versions", {"schema": schema.text}))

    def _versions(self, subject: str) -> list[int]:
        numbers = self._api.request("GET", f"{_path(subject)}/versions")
        if isinstance(numbers, list) and all(type(number) is int for number in numbers):
            return numbers
        raise InvalidResponseError("it does not list the versions of a subject")

    def _version(self, subject: str, number: int | Literal["latest"]) -> Any:
        return self._api.request("GET", f"{_path(subject)}/versions/{number}")

    def _registered(self, response: Any) -> Registered:
        version = response.get("version") if isinstance(response, dict) else None
        if type(version) is not int:
            raise InvalidResponseError("it is not a version of a subject")
        return Registered(version, _id_of(response), *self._text_of(response))

    def _is_id_of(self, schema_id: int, schema: AvroSchema) -> bool:
        return is_same(schema.text, *self._schema(schema_id))

    def _schema(self, schema_id: int) -> tuple[str, tuple[str, ...]]:
        return self._text_of(self._api.request("GET", f"schemas/ids/{schema_id}"))

    def _text_of(self, response: Any) -> tuple[str, tuple[str, ...]]:
        """Give the text of a response's schema, and the texts that it refers to, each after those that it needs."""
        texts: dict[tuple[str, int], str] = {}
        return self._collect(response, texts), tuple(texts.values())

    def _collect(self, response: Any, texts: dict[tuple[str, int], str]) -> str:
        text = response.get("schema") if isinstance(response, dict) else None
        if not isinstance(text, str):
            raise InvalidResponseError("it has no schema")
        for place in _references(response):
            if place not in texts:
                texts[place] = ""  # a loop of references ends here
                referenced = self._collect(self._version(*place), texts)
                del texts[place]
                texts[place] = referenced
        return text

    def _unresolved(self, subject: str, error: PeerError | FileError) -> Unresolved:
        retryable, reason = explain(error, self._register)
        place = f"Registry {without_login(self._url)}: " if self._url else ""
        return Unresolved(subject, retryable, printable(place + reason))


def _path(subject: str) -> str:
    return f"subjects/{quote(subject, safe='')}"


def _id_of(response: Any) -> int:
    schema_id = response.get("id") if isinstance(response, dict) else None
    if type(schema_id) is not int or not 0 <= schema_id <= MAXIMUM_ID:
        raise InvalidResponseError("it has no schema id")
    return schema_id


def _references(response: dict[str, Any]) -> list[tuple[str, int]]:
    try:
        places = [(one["subject"], one["version"]) for one in response.get("references") or ()]
    except (LookupError, TypeError):
        places = [("", "")]
    if all(isinstance(subject, str) and type(version) is int for subject, version in places):
        return places
    raise InvalidResponseError("it refers to schemas without their subject and version")


def _cluster(answer: Any) -> str:
    try:
        return printable(cut(", ".join(f"{name}={one}" for name, one in answer["scope"]["clusters"].items())))
    except (AttributeError, LookupError, TypeError):
        return ""
