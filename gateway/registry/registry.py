"""Schema ids: from the lock file, or from the registry by its Confluent REST API; and why there is none.

What this file alone decides:

- **The lock file comes first.** An id that was once given is for ever, so an edge box that has it needs no registry.
  An entry counts only while the schema's text is the one the id was given for: the canonical form alone would not
  do, it forgets defaults and logical types. Both digests are kept: `canonical_sha256` is what other Avro tools print.
- **A refusal is a value, one a subject.** One stream's incompatible schema must not hold up the others.
  *Final* is what the registry itself said in JSON (401, 403, 404, 409, 422 ...): an operator has to act.
  *Retryable* is all else: no answer, 5xx, 408, 429, and whatever is not JSON or not a registry's JSON, because a
  captive portal or a proxy may have answered in the registry's place.
- **An id is believed when the registry gives the same schema back for it.** Redirects are not followed at all.
- The calls are made when the first question is asked: a box with a complete lock file asks none.

The lock file, one entry a subject:

    {"door-sensors-value": {"id": 1, "canonical_sha256": "...", "text_sha256": "...", "schema": "door_sensor.avsc"}}

Entries of subjects that nobody asked for stay: a stream that is switched off for a day needs its id tomorrow.

Rejected: retries in here (the caller knows better when to try again); ids in the spool's database (the lock file is
made at deploy time and travels with the contract).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from fastavro.schema import SchemaParseException

from gateway.certificate import Peer, refusal
from gateway.errors import PeerError
from gateway.registry.api import CaFileError, InvalidResponseError, RefusedError, RegistryApi, UnreachableError
from gateway.registry.lock_file import MAXIMUM_ID, _pin, _read_lock, _write_lock, canonical
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.core.model import AvroSchema, Route


_NEXT_STEP = {  # by HTTP status of a registry's own answer
    401: "Check registry.username and registry.password_file, or registry.token_file.",
    403: "Ask for the right to use this subject.",
    409: "Change the schema so that it is compatible, or the subject's compatibility level.",
    422: "Mend the schema file.",
}
_PERHAPS_ANOTHER = "A captive portal or a proxy may have answered in its place; it is asked again."
_NO_PATH = "The address must be the base of the Confluent API (Apicurio: .../apis/ccompat/v7)."
_NOT_FOUND_CODES = {40401, 40402, 40403}  # subject, version, schema


class Unresolved(NamedTuple):
    """Why a subject has no schema id.

    Args:
        subject: the registry's subject.
        retryable: True when the same question may be answered later; False when an operator has to act.
        reason: sentences for people; no secret, no control characters.
    """

    subject: str
    retryable: bool
    reason: str


class SchemaIds(NamedTuple):
    """What was found out about a set of routes.

    Args:
        ids: by subject.
        refusals: one for each subject without an id.
        notes: what the operator should know although the ids are there, e.g. a lock file that cannot be written.
    """

    ids: dict[str, int]
    refusals: tuple[Unresolved, ...]
    notes: tuple[str, ...]


class SchemaRegistry:
    """Finds the schema ids of routes.

    Every method may block for the timeout, once for each step of a subject: call it from a background thread. Use one
    instance from one thread at a time.

    Args:
        url: base of the Confluent REST API, or None when this installation has none.
        lock_path: the lock file; need not exist, its folder must.
        register: True to register schemas, False only to look them up.
        username: for basic authentication, without a colon; empty for none.
        password: goes with it.
        token: bearer token; empty for none.
        ca_file: PEM file of the authorities to trust, instead of the system's.
        timeout_seconds: for connecting, and for each read.
    """

    def __init__(  # noqa: PLR0913 - each is one fact of the installation, all by name
        self,
        *,
        url: str | None,
        lock_path: Path,
        register: bool = True,
        username: str = "",
        password: str = "",
        token: str = "",
        ca_file: Path | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._url = url
        self._lock_path = lock_path
        self._register = register
        self._api = RegistryApi(
            url or "",
            username=username,
            password=password,
            token=token,
            ca_file=ca_file,
            timeout_seconds=timeout_seconds,
        )

    def ids(self, routes: Iterable[Route]) -> SchemaIds:
        """Find the ids of the routes' schemas, from the lock file first; write what is new to the lock file.

        Args:
            routes: those without a schema (dead letters) are passed over.

        Returns:
            Ids and refusals; together they name every subject. It never raises on what peers or the lock file say.
        """
        wanted = {route.subject: route.schema for route in routes if route.schema is not None}
        pins, notes = _read_lock(self._lock_path)
        ids = {name: pins[name].id for name, schema in wanted.items() if name in pins and pins[name].holds_for(schema)}
        missing = {name: schema for name, schema in wanted.items() if name not in ids}
        found, refusals = self._ask_all(missing)
        if found:
            notes += _write_lock(
                self._lock_path, pins | {name: _pin(missing[name], id_) for name, id_ in found.items()}
            )
        return SchemaIds(ids | found, tuple(refusals.values()), notes)

    def schema(self, schema_id: int) -> str | Unresolved:
        """Fetch a schema by its id.

        Args:
            schema_id: as it stands in a record.

        Returns:
            The schema's text, or why it cannot be had.
        """
        try:
            return self._text_of(schema_id)
        except _TROUBLE as error:
            return self._refusal(f"schema id {schema_id}", error)

    def ask(self, about: str, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any | Unresolved | None:
        """Ask about anything else: a subject's mode, the reasons of a verdict.

        Args:
            about: the subject, for a refusal.
            method: of the request.
            path: below the base of the Confluent REST API, quoted.
            body: sent as JSON.

        Returns:
            The answer's JSON, None when there is no such subject, version or schema, or why there is no answer.
        """
        try:
            return self._asked(method, path, body)
        except _TROUBLE as error:
            if isinstance(error, RefusedError) and error.code in _NOT_FOUND_CODES:
                return None
            return self._refusal(about, error)

    def _ask_all(self, wanted: Mapping[str, AvroSchema]) -> tuple[dict[str, int], dict[str, Unresolved]]:
        ids: dict[str, int] = {}
        refusals: dict[str, Unresolved] = {}
        for subject, schema in wanted.items():
            try:
                ids[subject] = self._ask(subject, schema)
            except _TROUBLE as error:
                refusals[subject] = refusal = self._refusal(subject, error)
                if isinstance(error, UnreachableError):  # do not wait out the timeout for each subject
                    others = {name: refusal._replace(subject=name) for name in wanted if name not in ids}
                    return ids, others | refusals
        return ids, refusals

    def _ask(self, subject: str, schema: AvroSchema) -> int:
        where = f"subjects/{quote(subject, safe='')}"
        answer = self._asked("POST", f"{where}/versions" if self._register else where, {"schema": schema.text})
        schema_id = answer.get("id") if isinstance(answer, dict) else None
        if type(schema_id) is not int or not 0 <= schema_id <= MAXIMUM_ID:
            raise InvalidResponseError("it holds no schema id")
        if _canonical_or_none(self._text_of(schema_id)) != canonical(schema.text):
            raise InvalidResponseError(f"it names schema id {schema_id}, but gives another schema for that id")
        return schema_id

    def _text_of(self, schema_id: int) -> str:
        answer = self._asked("GET", f"schemas/ids/{schema_id}")
        text = answer.get("schema") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise InvalidResponseError(f"it holds no schema for id {schema_id}")
        return text

    def _asked(self, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any:
        if not self._url:
            raise NoUrlError
        return self._api.ask(method, path, body)

    def _refusal(self, subject: str, error: _Trouble) -> Unresolved:
        retryable, reason = _explained(error, self._register)
        if isinstance(error, UnreachableError) and isinstance(error.tls, ssl.SSLCertVerificationError):
            reason = f"is not believed: {refusal(_peer(self._url or ''), error.tls)}. It is asked again."
        where = f"The registry at {_shown_url(self._url)} " if self._url else ""
        return Unresolved(subject, retryable, printable(where + reason))


# --- the answers -----------------------------------------------------------------------------------------------------


class NoUrlError(PeerError):
    """There is no registry to ask."""


_Trouble = UnreachableError | RefusedError | InvalidResponseError | CaFileError | NoUrlError
_TROUBLE = (UnreachableError, RefusedError, InvalidResponseError, CaFileError, NoUrlError)


def _canonical_or_none(text: str) -> str | None:
    try:
        return canonical(text)
    except (ValueError, TypeError, KeyError, SchemaParseException):
        return None


def _peer(url: str) -> Peer:
    parts = urlsplit(url)
    return Peer("its", parts.hostname or "", parts.port or 443, "registry.ca_file", "registry.url")


def _explained(error: _Trouble, register: bool) -> tuple[bool, str]:  # noqa: FBT001 - a setting passed on
    """Sort an error: whether to ask again, and what to tell."""
    match error:
        case RefusedError():
            return _explained_answer(error, register)
        case UnreachableError():
            if error.tls and error.tls.reason == "WRONG_VERSION_NUMBER":
                return True, "speaks no TLS there. Check registry.url: is it http, or another port? It is asked again."
            return True, f"does not answer: {_sentence(str(error))}. It is asked again."
        case InvalidResponseError():
            return True, f"gave a strange answer: {error}. {_PERHAPS_ANOTHER}"
        case CaFileError():
            return False, f"cannot be asked: registry.ca_file is not usable ({error})."
        case NoUrlError():
            return False, "No registry is configured, and the lock file has no id for this schema. Set registry.url."


def _explained_answer(error: RefusedError, register: bool) -> tuple[bool, str]:  # noqa: FBT001 - a setting passed on
    status, code = error.status, error.code
    if code is None:
        kind = "a redirect, which is not followed" if 300 <= status < 400 else "no JSON"
        advice = f"{_NO_PATH} " if status == 404 else f"{_NEXT_STEP[status]} " if status in _NEXT_STEP else ""
        return True, f"answered HTTP {status} with {kind}. {advice}{_PERHAPS_ANOTHER}"
    said = f"says: {_sentence(error.message)} (HTTP {status}, code {code})."
    if status >= 500 or status in {408, 429}:
        return True, f"{said} It is asked again."
    if status == 404:
        return False, f"{said} {_not_found(code, register)}"
    return False, f"{said} {_NEXT_STEP.get(status, '')}".rstrip()


def _not_found(code: int, register: bool) -> str:  # noqa: FBT001 - a setting passed on
    if code in _NOT_FOUND_CODES and not register:
        return "Register it with `gateway schemas register`, or set registry.register: true."
    return _NO_PATH


def _sentence(message: str) -> str:
    return cut(message).strip().rstrip(".")


def _shown_url(url: str) -> str:
    """Leave out user and password, should somebody have written them there."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


# --- the lock file ---------------------------------------------------------------------------------------------------
