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

import json
import ssl
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from fastavro.schema import SchemaParseException, parse_schema, to_parsing_canonical_form

from gateway import durable
from gateway.log import cut, printable
from gateway.peer_certificate import Peer, refusal
from gateway.registry_api import CaFileError, RefusedError, RegistryApi, StrangeAnswerError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.config import Settings
    from gateway.contract.model import AvroSchema, Contract, Route

LOCK_FILE = "gateway-schemas.lock"  # beside the spool, or beside the contract
MAXIMUM_ID = 2**31 - 1
MAXIMUM_LOCK_BYTES = 1_000_000

_NEXT_STEP = {  # by HTTP status of a registry's own answer
    401: "Check registry.username and registry.password_file, or registry.token_file.",
    403: "Ask for the right to use this subject.",
    409: "Change the schema so that it is compatible, or the subject's compatibility level.",
    422: "Mend the schema file.",
}
_PERHAPS_ANOTHER = "A captive portal or a proxy may have answered in its place; it is asked again."
_NO_PATH = "The address must be the base of the Confluent API (Apicurio: .../apis/ccompat/v7)."
_NOT_FOUND_CODES = {40401, 40402, 40403}  # subject, version, schema


class Refusal(NamedTuple):
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
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """An entry of the lock file.

    Args:
        id: the registry's schema id.
        canonical_sha256: of the schema's Avro parsing canonical form, hexadecimal.
        text_sha256: of the text that was registered, hexadecimal.
        schema: name of the schema file, for people.
    """

    id: int
    canonical_sha256: str
    text_sha256: str
    schema: str

    def holds_for(self, schema: AvroSchema) -> bool:
        """Tell whether the id was given for this very schema."""
        return self.text_sha256 == _digest(schema.text) and self.canonical_sha256 == _digest(canonical(schema.text))


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

    def schema(self, schema_id: int) -> str | Refusal:
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

    def ask(self, about: str, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any | Refusal | None:
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

    def _ask_all(self, wanted: Mapping[str, AvroSchema]) -> tuple[dict[str, int], dict[str, Refusal]]:
        ids: dict[str, int] = {}
        refusals: dict[str, Refusal] = {}
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
            raise StrangeAnswerError("it holds no schema id")
        if _canonical_or_none(self._text_of(schema_id)) != canonical(schema.text):
            raise StrangeAnswerError(f"it names schema id {schema_id}, but gives another schema for that id")
        return schema_id

    def _text_of(self, schema_id: int) -> str:
        answer = self._asked("GET", f"schemas/ids/{schema_id}")
        text = answer.get("schema") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise StrangeAnswerError(f"it holds no schema for id {schema_id}")
        return text

    def _asked(self, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any:
        if not self._url:
            raise _NoUrlError
        return self._api.ask(method, path, body)

    def _refusal(self, subject: str, error: _Trouble) -> Refusal:
        retryable, reason = _explained(error, self._register)
        if isinstance(error, UnreachableError) and isinstance(error.tls, ssl.SSLCertVerificationError):
            reason = f"is not believed: {refusal(_peer(self._url or ''), error.tls)}. It is asked again."
        where = f"The registry at {_shown_url(self._url)} " if self._url else ""
        return Refusal(subject, retryable, printable(where + reason))


def pin(lock_path: Path, routes: Iterable[Route], ids: Mapping[str, int]) -> None:
    """Write a lock file for ids that are known without asking a registry.

    Args:
        lock_path: the file; what it held is replaced.
        routes: those without a schema are passed over.
        ids: by subject, one for each route with a schema.

    Raises:
        OSError: when the file cannot be written.
        KeyError: when a subject has no id.
    """
    pins = {route.subject: _pin(route.schema, ids[route.subject]) for route in routes if route.schema is not None}
    durable.replace(lock_path, _lock_text(pins))


def repin(lock_path: Path, routes: Iterable[Route], ids: Mapping[str, int]) -> None:
    """Write ids to a lock file; entries of other subjects stay.

    Args:
        lock_path: the file, which need not be there yet.
        routes: those without a schema or an id are passed over.
        ids: by subject.

    Raises:
        OSError: when the file cannot be written.
    """
    new = {one.subject: _pin(one.schema, ids[one.subject]) for one in routes if one.schema and one.subject in ids}
    durable.replace(lock_path, _lock_text(pins(lock_path) | new))


def pins(lock_path: Path) -> dict[str, Pin]:
    """Read a lock file, for showing: {} when it is not there or not readable."""
    return _read_lock(lock_path)[0]


def canonical(text: str) -> str:
    """Write a schema in Avro's parsing canonical form.

    Args:
        text: a valid schema's JSON.

    Returns:
        The form that is equal for schemas whose data has the same bytes.

    Raises:
        ValueError, SchemaParseException: when it is no schema.
    """
    return str(to_parsing_canonical_form(parse_schema(json.loads(text))))


# --- the answers -----------------------------------------------------------------------------------------------------


class _NoUrlError(Exception):
    """There is no registry to ask."""


_Trouble = UnreachableError | RefusedError | StrangeAnswerError | CaFileError | _NoUrlError
_TROUBLE = (UnreachableError, RefusedError, StrangeAnswerError, CaFileError, _NoUrlError)


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
        case StrangeAnswerError():
            return True, f"gave a strange answer: {error}. {_PERHAPS_ANOTHER}"
        case CaFileError():
            return False, f"cannot be asked: registry.ca_file is not usable ({error})."
        case _NoUrlError():
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


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _pin(schema: AvroSchema, schema_id: int) -> Pin:
    return Pin(schema_id, _digest(canonical(schema.text)), _digest(schema.text), schema.path.name)


def _read_lock(path: Path) -> tuple[dict[str, Pin], tuple[str, ...]]:
    try:
        with path.open("rb") as file:
            return _parsed_lock(file.read(MAXIMUM_LOCK_BYTES + 1)), ()
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        told = str(error.strerror)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        told = str(error) if type(error) is ValueError else "it is not what `gateway` writes"
    return {}, (printable(f"The schema lock file {path} is not used: {told}. Remove it; ids are asked for again."),)


def _parsed_lock(data: bytes) -> dict[str, Pin]:
    if len(data) > MAXIMUM_LOCK_BYTES:
        raise ValueError("it is larger than 1 MB")
    entries = json.loads(data)
    if not isinstance(entries, dict):
        raise TypeError
    return {subject: _parsed(entry) for subject, entry in entries.items()}


def _parsed(entry: Mapping[str, Any]) -> Pin:
    """Read an entry; members that we do not know are a later version's and are passed over.

    Raises:
        KeyError, TypeError, ValueError: when it is no entry.
    """
    schema_id = entry["id"]
    if type(schema_id) is not int or not 0 <= schema_id <= MAXIMUM_ID:
        raise ValueError("an id is no number from 0 to 2147483647")
    return Pin(schema_id, str(entry["canonical_sha256"]), str(entry["text_sha256"]), str(entry.get("schema", "")))


def _lock_text(pins: Mapping[str, Pin]) -> str:
    return json.dumps({subject: asdict(pin) for subject, pin in sorted(pins.items())}, indent=2) + "\n"


def _write_lock(path: Path, pins: Mapping[str, Pin]) -> tuple[str, ...]:
    try:
        durable.replace(path, _lock_text(pins))
    except OSError as error:
        told = f"The schema lock file {path} cannot be written: {error.strerror}."
        return (printable(f"{told} Without it the next start needs the registry."),)
    return ()


def registry_of(contract: Contract, settings: Settings, *, may_register: bool = True) -> SchemaRegistry:
    """Make the registry of an installation.

    Args:
        contract: names the registry where the settings do not.
        settings: address, login, and whether to register.
        may_register: False to look up only, whatever the settings say.

    Returns:
        The registry, not asked yet.

    Raises:
        ConfigurationError: when a secret cannot be used.
    """
    given = settings.server(contract.kafka.name).registry
    return SchemaRegistry(
        url=given.url or contract.kafka.registry_url,
        lock_path=lock_path_of(settings),
        register=given.register and may_register,
        username=given.username or "",
        password=settings.secret(given.password_file).get_secret_value() if given.password_file else "",
        token=settings.secret(given.token_file).get_secret_value() if given.token_file else "",
        ca_file=settings.locate(given.ca_file) if given.ca_file else None,
    )


def lock_path_of(settings: Settings) -> Path:
    """Tell where an installation's lock file is: beside the spool, because that folder can be written."""
    return settings.resolve(settings.spool.path).parent / LOCK_FILE
