"""The lock file: what is written is read again, and a file that cannot be used is none."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from gateway.registry.lock_file import MAXIMUM_ID, Issuer, load_lock, update_lock
from tests.contract_values import avro, record, route

if TYPE_CHECKING:
    from pathlib import Path

READING = record({"name": "machine", "type": "string"}, {"name": "value", "type": "double"})
ENTRY = {"id": 7, "canonical_sha256": "a", "text_sha256": "b", "schema": "reading.avsc"}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Give the path of a file that does not exist."""
    return tmp_path / "gateway-schemas.lock"


def test_update_lock_keeps_other_subjects_and_skips_routes_without_an_id(lock: Path) -> None:
    doors, meter = route("doors", READING), route("meter", READING)
    update_lock(lock, [doors], {doors.subject: 7})
    update_lock(lock, [meter, route("dead-letters"), route("unknown", READING)], {meter.subject: 8})
    assert {subject: pin.id for subject, pin in load_lock(lock).pins.items()} == {doors.subject: 7, meter.subject: 8}
    assert all(pin.holds_for(doors.schema) for pin in load_lock(lock).pins.values() if doors.schema)


def test_the_file_is_json_with_sorted_subjects(lock: Path) -> None:
    """As people and version control see it."""
    routes = [route("b", READING), route("a", READING)]
    update_lock(lock, routes, {one.subject: 1 for one in routes})
    text = lock.read_text()
    assert list(json.loads(text)) == ["a-value", "b-value"]
    assert list(json.loads(text)["a-value"]) == ["id", "canonical_sha256", "schema_sha256", "schema"]
    assert text.endswith("\n}\n")


def test_members_of_a_later_version_are_ignored(lock: Path) -> None:
    lock.write_text(json.dumps({"doors-value": ENTRY | {"references": []}}))
    pins, faults = load_lock(lock)
    assert (pins["doors-value"].id, faults) == (7, {})


def test_a_file_without_schema_names_can_be_used(lock: Path) -> None:
    lock.write_text(json.dumps({"doors-value": {name: ENTRY[name] for name in ENTRY if name != "schema"}}))
    assert load_lock(lock).pins["doors-value"].schema == ""


@pytest.mark.parametrize("schema_id", [-1, MAXIMUM_ID + 1, True, 1.5, "7", None])
def test_an_entry_with_an_id_that_no_registry_gives_is_not_used(lock: Path, schema_id: object) -> None:
    """The others are; the fault names the file, the entry and the member, in JSON's words."""
    lock.write_text(json.dumps({"doors-value": ENTRY | {"id": schema_id}, "meter-value": ENTRY}))
    found = load_lock(lock)
    assert list(found.pins) == ["meter-value"]
    beginning = f"The entry doors-value of the schema lock file {lock} is not used: id: expected a whole number"
    assert found.fault("doors-value").startswith(beginning)
    assert not found.fault("meter-value")
    assert not {"`", "None", "bool", "int,", "str"} & set(found.fault("doors-value").split())


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (ENTRY | {"schema": None}, "schema: expected text, found null."),
        (ENTRY | {"registry": ["http://a"]}, "registry: expected text, found an array."),
        ({"id": 7}, "object missing required field canonical_sha256."),
        (None, "expected an object, found null."),
        (1, "expected an object, found a whole number."),
    ],
)
def test_a_hand_written_entry_is_told_with_its_place(lock: Path, entry: object, fault: str) -> None:
    lock.write_text(json.dumps({"doors-value": entry}))
    assert load_lock(lock).fault("doors-value").endswith(fault)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * 1_000_001])
def test_a_file_that_is_none_is_a_fault_of_every_subject(lock: Path, content: bytes) -> None:
    lock.write_bytes(content)
    assert load_lock(lock).fault("any subject").startswith(f"The schema lock file {lock} is not used: it is ")


def test_a_file_that_is_missing_has_no_fault(lock: Path) -> None:
    assert load_lock(lock) == ({}, {})


def test_a_file_that_cannot_be_read_is_a_fault(lock: Path) -> None:
    lock.mkdir()
    assert "is not used: Is a directory" in load_lock(lock).fault("")


def test_an_entry_names_the_registry_that_gave_its_id(lock: Path) -> None:
    doors, meter = route("doors", READING), route("meter", READING)
    update_lock(lock, [doors], {doors.subject: 7}, Issuer("http://one:8081", "kafka-cluster=a"))
    update_lock(lock, [meter], {meter.subject: 7}, Issuer("http://two:8081"))
    issuers = {subject: (pin.registry, pin.cluster) for subject, pin in load_lock(lock).pins.items()}
    assert issuers == {doors.subject: ("http://one:8081", "kafka-cluster=a"), meter.subject: ("http://two:8081", "")}


def test_an_entry_of_an_earlier_version_counts_for_its_text(lock: Path) -> None:
    schema, other = avro(READING), avro(READING | {"doc": "Another text."})
    entry = {"id": 7, "canonical_sha256": "a", "text_sha256": sha256(schema.text.encode()).hexdigest(), "schema": "a"}
    lock.write_text(json.dumps({"doors-value": entry}))
    found = load_lock(lock)
    assert found.pin("doors-value", schema)
    assert not found.pin("doors-value", other)
