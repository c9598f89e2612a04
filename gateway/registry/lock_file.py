"""The lock file: it pins schema ids, so that a start needs no registry.

An entry counts only while the schema's text is the one that the id was given for. The canonical form alone does not do:
it drops defaults and logical types. `canonical_sha256` is kept because other Avro tools print it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fastavro.schema import parse_schema, to_parsing_canonical_form

from gateway import files as durable
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.core.model import AvroSchema, Route


LOCK_FILE = "gateway-schemas.lock"  # beside the spool, or beside the contract


MAXIMUM_ID = 2**31 - 1


MAXIMUM_LOCK_BYTES = 1_000_000


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


def update_lock(lock_path: Path, routes: Iterable[Route], ids: Mapping[str, int]) -> None:
    """Write ids to a lock file; entries of other subjects stay.

    Args:
        lock_path: the file, which need not be there yet.
        routes: those without a schema or an id are passed over.
        ids: by subject.

    Raises:
        OSError: when the file cannot be written.
    """
    new = {one.subject: _pin(one.schema, ids[one.subject]) for one in routes if one.schema and one.subject in ids}
    durable.replace(lock_path, _lock_text(read_lock(lock_path) | new))


def read_lock(lock_path: Path) -> dict[str, Pin]:
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
