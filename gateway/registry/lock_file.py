"""The lock file pins schema ids, so that a start needs no registry.

It has one entry a subject:

    {"door-sensors-value": {"id": 1, "canonical_sha256": "...", "text_sha256": "...", "schema": "door_sensor.avsc"}}

An entry counts only while the schema's text is the one that the id was given for: the canonical form alone drops
defaults and logical types. `canonical_sha256` is kept because other Avro tools print it. Entries of other subjects
stay: a stream that is switched off for a day needs its id tomorrow.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fastavro.schema import parse_schema, to_parsing_canonical_form

from gateway import files
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
        """True when the id was given for this very schema."""
        return self.text_sha256 == _digest(schema.text) and self.canonical_sha256 == _digest(canonical(schema.text))


def load_lock(path: Path) -> tuple[dict[str, Pin], tuple[str, ...]]:
    """Read a lock file, {} when there is none that can be used; and notes for the operator."""
    try:
        with path.open("rb") as file:
            return _parsed_lock(file.read(MAXIMUM_LOCK_BYTES + 1)), ()
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        reason = str(error.strerror)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = str(error) if type(error) is ValueError else "it does not have the format of `gateway`"
    return {}, (printable(f"The schema lock file {path} is not used: {reason}. Delete it; the registry has the ids."),)


def read_lock(path: Path) -> dict[str, Pin]:
    """Read a lock file; {} when there is none that can be used."""
    return load_lock(path)[0]


def update_lock(path: Path, routes: Iterable[Route], ids: Mapping[str, int]) -> None:
    """Write ids to a lock file; entries of other subjects stay.

    Args:
        path: the file, which need not exist; its folder must.
        routes: those without a schema or an id are skipped.
        ids: by subject.

    Raises:
        OSError: when the file cannot be written.
    """
    new = {one.subject: _pin(one.schema, ids[one.subject]) for one in routes if one.schema and one.subject in ids}
    entries = {subject: asdict(pin) for subject, pin in sorted((read_lock(path) | new).items())}
    files.replace(path, json.dumps(entries, indent=2) + "\n")


def canonical(text: str) -> str:
    """Write the parsing canonical form of a schema, which is equal for schemas that encode data alike.

    Raises:
        ValueError, SchemaParseException: when the text is not a schema.
    """
    return str(to_parsing_canonical_form(parse_schema(json.loads(text))))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _pin(schema: AvroSchema, schema_id: int) -> Pin:
    return Pin(schema_id, _digest(canonical(schema.text)), _digest(schema.text), schema.path.name)


def _parsed_lock(data: bytes) -> dict[str, Pin]:
    if len(data) > MAXIMUM_LOCK_BYTES:
        raise ValueError("it is larger than 1 MB")
    entries = json.loads(data)
    if not isinstance(entries, dict):
        raise TypeError
    return {subject: _parsed(entry) for subject, entry in entries.items()}


def _parsed(entry: Mapping[str, Any]) -> Pin:
    """Read an entry; unknown members, of a later version, are ignored.

    Raises:
        KeyError, TypeError, ValueError: when it is not an entry.
    """
    schema_id = entry["id"]
    if type(schema_id) is not int or not 0 <= schema_id <= MAXIMUM_ID:
        raise ValueError("an id is not a number from 0 to 2147483647")
    return Pin(schema_id, str(entry["canonical_sha256"]), str(entry["text_sha256"]), str(entry.get("schema", "")))
