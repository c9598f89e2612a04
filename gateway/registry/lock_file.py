"""The lock file pins schema ids, so that a start needs no registry.

It has one entry a subject:

    {"door-sensors-value": {"id": 1, "canonical_sha256": "...", "schema_sha256": "...", "schema": "door_sensor.avsc",
                            "registry": "https://registry:8081", "cluster": "kafka-cluster=..."}}

- An entry counts only while the schema is the same as the one that the id was given for (`canonical_form.py`).
- An id means something in the registry that gave it and in no other, so an entry names that registry. Its entries may
  be of several registries: those of other subjects stay, because a stream that is switched off for a day needs its id
  tomorrow. Whether an id holds in the registry at hand is for that registry to say (`registry.py`).
- `canonical_sha256` is of Avro's parsing canonical form, which other tools print.
- Entries of earlier versions have `text_sha256`, of the text that was registered, and name no registry.
- An entry that cannot be used does not take the others with it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from fastavro.schema import parse_schema, to_parsing_canonical_form

from gateway import files
from gateway.registry.canonical_form import canonical_form
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.core.model import AvroSchema, Route

LOCK_FILE = "gateway-schemas.lock"  # beside the spool, or beside the contract
MAXIMUM_ID = 2**31 - 1
MAXIMUM_LOCK_BYTES = 1_000_000
LOCK_FIX = "Run `gateway schemas lock -c FILE`."
_JSON_WORDS = {
    "`str`": "text", "`int`": "a whole number", "`float`": "a fraction", "`bool`": "true or false",
    "`object`": "an object", "`array`": "an array",
}  # fmt: skip


class Issuer(NamedTuple):
    """The registry that gives ids."""

    registry: str = ""  # its URL, without user and password
    cluster: str = ""  # what it says about itself; only Confluent's tells


_UNKNOWN = Issuer()


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the lock file; members of a later version are ignored. The digests are hexadecimal."""

    id: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_ID)]
    canonical_sha256: str
    schema_sha256: str = ""  # of the schema's canonical form
    text_sha256: str = ""
    schema: str = ""  # name of the file, for people
    registry: str = ""
    cluster: str = ""

    def holds_for(self, schema: AvroSchema) -> bool:
        """True when the id was given for this very schema."""
        if self.schema_sha256:
            return self.schema_sha256 == _digest(canonical_form(schema.text) or "")
        return self.text_sha256 == _digest(schema.text)


class Lock(NamedTuple):
    """The contents of a lock file."""

    pins: dict[str, Pin]  # by subject
    faults: dict[str, str]  # why an entry is not used, by subject, or "" for the whole file; one sentence

    def pin(self, subject: str, schema: AvroSchema) -> Pin | None:
        """The entry of a subject if it counts."""
        pin = self.pins.get(subject)
        return pin if pin and pin.holds_for(schema) else None

    def fault(self, subject: str) -> str:
        """Why a subject's entry is not used; empty when it can be, or there is none."""
        return self.faults.get(subject) or self.faults.get("", "")


def load_lock(path: Path) -> Lock:
    """Read a lock file; no pins when there is none that can be used."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_LOCK_BYTES + 1)
        if len(data) <= MAXIMUM_LOCK_BYTES:
            return _lock(path, msgspec.json.decode(data, type=dict[str, Any]))
        reason = "it is larger than 1 MB"
    except FileNotFoundError:
        return Lock({}, {})
    except OSError as error:
        reason = str(error.strerror)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reason = "it is not a JSON object with one entry a subject"
    return Lock({}, {"": printable(f"The schema lock file {path} is not used: {reason}.")})


def update_lock(path: Path, routes: Iterable[Route], ids: Mapping[str, int], issuer: Issuer = _UNKNOWN) -> None:
    """Write ids, by subject, to a lock file; routes without a schema or an id are skipped, other subjects stay."""
    new = {
        one.subject: _pin(one.schema, ids[one.subject], issuer) for one in routes if one.schema and one.subject in ids
    }
    entries = msgspec.to_builtins(dict(sorted((load_lock(path).pins | new).items())))
    files.replace(path, json.dumps(entries, indent=2) + "\n")


def _lock(path: Path, entries: dict[str, Any]) -> Lock:
    lock = Lock({}, {})
    for subject, entry in entries.items():
        try:
            lock.pins[subject] = msgspec.convert(entry, Pin)
        except msgspec.ValidationError as error:
            text = f"The entry {subject} of the schema lock file {path} is not used: {_in_json_words(error)}."
            lock.faults[subject] = printable(text)
    return lock


def _in_json_words(error: msgspec.ValidationError) -> str:
    """Put msgspec's message (Expected `str`, got `null` - at `$.schema`) into words of JSON, the place first."""
    message, _, place = str(error).partition(" - at ")
    for name, word in _JSON_WORDS.items():
        message = message.replace(name, word)
    place = place.strip("`").removeprefix("$.")
    words = f"{message[:1].lower()}{message[1:]}".replace(", got", ", found").replace("`", "")
    return f"{place}: {words}" if place else words


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _pin(schema: AvroSchema, schema_id: int, issuer: Issuer) -> Pin:
    canonical = str(to_parsing_canonical_form(parse_schema(json.loads(schema.text))))
    digests = _digest(canonical), _digest(canonical_form(schema.text) or "")
    return Pin(schema_id, *digests, schema=schema.path.name, registry=issuer.registry, cluster=issuer.cluster)
