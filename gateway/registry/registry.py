"""Schema ids: from the lock file, or from the registry by its Confluent REST API.

- **The lock file comes first.** An id never changes, so an edge box that has it needs no registry. The calls are made
  when an id is missing: a box with a complete lock file makes none.
- **An error is a value for one subject.** The incompatible schema of one stream must not stop the others.
  *Final* is what the registry itself says in JSON (401, 403, 404, 409, 422 ...): an operator has to act.
  *Retryable* is everything else: no response, 5xx, 408, 429, and whatever is not a registry's JSON, because a captive
  portal or a proxy may have answered instead.
- **An id is used only when the registry returns the same schema for it.**

Rejected: retries in here (the caller knows better when to try again); ids in the spool's database (the lock file is
made at deploy time and travels with the contract).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from fastavro.schema import SchemaParseException

from gateway.certificate import rejected
from gateway.errors import FileError, PeerError
from gateway.registry.api import (
    CaFileError,
    Endpoint,
    InvalidResponseError,
    NoUrlError,
    RefusedError,
    RegistryApi,
    UnreachableError,
)
from gateway.registry.lock_file import MAXIMUM_ID, canonical, load_lock, update_lock
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.core.model import AvroSchema, Route

_FIXES = {  # by HTTP status
    401: "Check registry.username and registry.password_file, or registry.token_file.",
    403: "Ask for the right to use this subject.",
    409: "Change the schema so that it is compatible, or the subject's compatibility level.",
    422: "Correct the schema file.",
}
_RETRY = "Will retry."
_PERHAPS_ANOTHER = f"A captive portal or a proxy may have answered instead. {_RETRY}"
_NO_PATH = "registry.url must be the base of the Confluent API (Apicurio: .../apis/ccompat/v7)."
_NOT_FOUND_CODES = {40401, 40402, 40403}  # subject, version, schema


class Unresolved(NamedTuple):
    """Why a subject has no schema id."""

    subject: str
    retryable: bool  # the same request may succeed later; else an operator has to act
    reason: str  # sentences for people; no secret, no control characters


class SchemaIds(NamedTuple):
    """The ids of a set of routes."""

    ids: dict[str, int]  # by subject
    refusals: tuple[Unresolved, ...]  # one for each subject without an id
    notes: tuple[str, ...]  # for the operator although the ids are there: the lock file cannot be written


class SchemaRegistry:
    """Finds the schema ids of routes; without `register` it only looks them up. The lock file need not exist.

    Every method may block for the timeout, once for each step of a subject: call it from a background thread. Use an
    instance from one thread at a time.
    """

    def __init__(self, endpoint: Endpoint, lock_path: Path, *, register: bool = True) -> None:
        self._url = endpoint.url
        self._lock_path = lock_path
        self._register = register
        self._api = RegistryApi(endpoint)

    def ids(self, routes: Iterable[Route]) -> SchemaIds:
        """Find the ids of the routes' schemas, in the lock file first; write new ones to the lock file.

        Routes without a schema (dead letters) are skipped. Ids and refusals together name every other subject; no
        response and no lock file makes it raise.
        """
        routes = [route for route in routes if route.schema is not None]
        schemas = {route.subject: route.schema for route in routes if route.schema}
        pins, notes = load_lock(self._lock_path)
        ids = {name: pins[name].id for name, schema in schemas.items() if name in pins and pins[name].holds_for(schema)}
        new, refusals = self._look_up_all({name: schema for name, schema in schemas.items() if name not in ids})
        if new:
            notes += self._lock(routes, new)
        return SchemaIds(ids | new, tuple(refusals.values()), notes)

    def schema(self, schema_id: int) -> str | Unresolved:
        """Fetch the text of a schema."""
        try:
            return self._text_of(schema_id)
        except (PeerError, FileError) as error:
            return self._unresolved(f"schema id {schema_id}", error)

    def ask(self, subject: str, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any | Unresolved | None:
        """Send another request about a subject: its mode, the reasons of an incompatibility.

        The path is quoted, and below the base of the Confluent REST API. The result is the JSON of the response, or
        None when there is no such subject, version or schema.
        """
        try:
            return self._api.request(method, path, body)
        except (PeerError, FileError) as error:
            if isinstance(error, RefusedError) and error.code in _NOT_FOUND_CODES:
                return None
            return self._unresolved(subject, error)

    def _look_up_all(self, schemas: Mapping[str, AvroSchema]) -> tuple[dict[str, int], dict[str, Unresolved]]:
        ids: dict[str, int] = {}
        refusals: dict[str, Unresolved] = {}
        for subject, schema in schemas.items():
            try:
                ids[subject] = self._look_up(subject, schema)
            except (PeerError, FileError) as error:
                refusals[subject] = refusal = self._unresolved(subject, error)
                if isinstance(error, UnreachableError):  # do not wait out the timeout for each subject
                    others = {name: refusal._replace(subject=name) for name in schemas if name not in ids}
                    return ids, others | refusals
        return ids, refusals

    def _look_up(self, subject: str, schema: AvroSchema) -> int:
        path = f"subjects/{quote(subject, safe='')}"
        if self._register:
            path += "/versions"
        response = self._api.request("POST", path, {"schema": schema.text})
        schema_id = response.get("id") if isinstance(response, dict) else None
        if type(schema_id) is not int or not 0 <= schema_id <= MAXIMUM_ID:
            raise InvalidResponseError("it has no schema id")
        if _canonical_or_none(self._text_of(schema_id)) != canonical(schema.text):
            raise InvalidResponseError(f"it names schema id {schema_id}, which is another schema")
        return schema_id

    def _text_of(self, schema_id: int) -> str:
        response = self._api.request("GET", f"schemas/ids/{schema_id}")
        text = response.get("schema") if isinstance(response, dict) else None
        if not isinstance(text, str):
            raise InvalidResponseError(f"it has no schema for id {schema_id}")
        return text

    def _lock(self, routes: Iterable[Route], ids: Mapping[str, int]) -> tuple[str, ...]:
        try:
            update_lock(self._lock_path, routes, ids)
        except OSError as error:
            text = f"The schema lock file {self._lock_path} cannot be written: {error.strerror}."
            return (printable(f"{text} Without it the next start needs the registry."),)
        return ()

    def _unresolved(self, subject: str, error: PeerError | FileError) -> Unresolved:
        retryable, reason = _explain(error, self._register)
        place = f"Registry {_without_login(self._url)}: " if self._url else ""
        return Unresolved(subject, retryable, printable(place + reason))


# --- errors ----------------------------------------------------------------------------------------------------------


def _canonical_or_none(text: str) -> str | None:
    try:
        return canonical(text)
    except (ValueError, TypeError, KeyError, SchemaParseException):
        return None


def _explain(error: PeerError | FileError, register: bool) -> tuple[bool, str]:  # noqa: FBT001 - a setting passed on
    match error:
        case NoUrlError():
            return False, "No registry is configured, and the lock file has no id for this schema. Set registry.url."
        case CaFileError():
            return False, f"registry.ca_file cannot be used: {error}. Set it to a PEM file of CA certificates."
        case RefusedError(code=None):
            return True, _explain_foreign(error.status)
        case RefusedError():
            return _explain_refusal(error, register)
        case UnreachableError():
            return True, f"{_explain_unreachable(error)} {_RETRY}"
    return True, f"invalid response: {error}. {_PERHAPS_ANOTHER}"


def _explain_unreachable(error: UnreachableError) -> str:
    if isinstance(error.tls, ssl.SSLCertVerificationError):
        return f"{rejected(error.tls.verify_message)}."
    if error.tls and error.tls.reason == "WRONG_VERSION_NUMBER":
        return "the port does not use TLS. Check registry.url: is it http, or another port?"
    return f"no answer: {_clean(str(error))}."


def _explain_foreign(status: int) -> str:
    """Explain a status whose body is not a registry's JSON."""
    kind = "with a redirect, which is not followed" if 300 <= status < 400 else "without JSON"
    fix = f"{_NO_PATH} " if status == 404 else f"{_FIXES[status]} " if status in _FIXES else ""
    return f"HTTP {status} {kind}. {fix}{_PERHAPS_ANOTHER}"


def _explain_refusal(error: RefusedError, register: bool) -> tuple[bool, str]:  # noqa: FBT001 - a setting passed on
    status, is_unregistered = error.status, error.code in _NOT_FOUND_CODES and not register
    text = f"{_clean(error.message)} (HTTP {status}, code {error.code})."
    if status >= 500 or status in {408, 429}:
        return True, f"{text} {_RETRY}"
    if status == 404 and is_unregistered:
        return False, f"{text} Register it with `gateway schemas register`, or set registry.register: true."
    return False, f"{text} {_NO_PATH if status == 404 else _FIXES.get(status, '')}".rstrip()


def _clean(message: str) -> str:
    return cut(message).strip().rstrip(".")


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
