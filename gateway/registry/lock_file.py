"""The lock file pins schema ids, so that a start needs no registry.

It has one entry a subject:

    {"door-sensors-value": {"id": 1, "canonical_sha256": "...", "text_sha256": "...", "schema": "door_sensor.avsc"}}

An entry counts only while the schema's text is the one that the id was given for: the canonical form alone drops
defaults and logical types. `canonical_sha256` is kept because other Avro tools print it. Entries of other subjects
stay: a stream that is switched off for a day needs its id tomorrow.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import msgspec
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


class Pin(msgspec.Struct, frozen=True):
    """An entry of the lock file; members of a later version are ignored. The digests are hexadecimal."""

    id: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_ID)]
    canonical_sha256: str  # of the schema's Avro parsing canonical form
    text_sha256: str  # of the text that was registered
    schema: str = ""  # name of the file, for people

    def holds_for(self, schema: AvroSchema) -> bool:
        """True when the id was given for this very schema."""
        return self.text_sha256 == _digest(schema.text) and self.canonical_sha256 == _digest(canonical(schema.text))


def load_lock(path: Path) -> tuple[dict[str, Pin], tuple[str, ...]]:
    """Read a lock file, {} when there is none that can be used; and notes for the operator."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_LOCK_BYTES + 1)
        if len(data) <= MAXIMUM_LOCK_BYTES:
            return msgspec.json.decode(data, type=dict[str, Pin]), ()
        reason = "it is larger than 1 MB"
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        reason = str(error.strerror)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reason = "it does not have the format of `gateway`"
    return {}, (printable(f"The schema lock file {path} is not used: {reason}. Delete it; the registry has the ids."),)


def read_lock(path: Path) -> dict[str, Pin]:
    """Read a lock file; {} when there is none that can be used."""
    return load_lock(path)[0]


def update_lock(path: Path, routes: Iterable[Route], ids: Mapping[str, int]) -> None:
    """Write ids, by subject, to a lock file; routes without a schema or an id are skipped, other subjects stay."""
    new = {one.subject: _pin(one.schema, ids[one.subject]) for one in routes if one.schema and one.subject in ids}
    entries = msgspec.to_builtins(dict(sorted((read_lock(path) | new).items())))
    files.replace(path, json.dumps(entries, indent=2) + "\n")


def canonical(text: str) -> str:
    """Write the parsing canonical form, equal for schemas that encode alike; ValueError or SchemaParseException."""
    return str(to_parsing_canonical_form(parse_schema(json.loads(text))))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _pin(schema: AvroSchema, schema_id: int) -> Pin:
    return Pin(schema_id, _digest(canonical(schema.text)), _digest(schema.text), schema.path.name)
