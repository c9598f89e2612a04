"""The lock file: what is written is read again, and a file that cannot be used is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.registry.lock_file import MAXIMUM_ID, load_lock, read_lock, update_lock
from tests.contract_values import record, route

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
    assert {subject: pin.id for subject, pin in read_lock(lock).items()} == {doors.subject: 7, meter.subject: 8}
    assert all(pin.holds_for(doors.schema) for pin in read_lock(lock).values() if doors.schema)


def test_the_file_is_json_with_sorted_subjects(lock: Path) -> None:
    """As people and version control see it."""
    routes = [route("b", READING), route("a", READING)]
    update_lock(lock, routes, {one.subject: 1 for one in routes})
    text = lock.read_text()
    assert list(json.loads(text)) == ["a-value", "b-value"]
    assert list(json.loads(text)["a-value"]) == ["id", "canonical_sha256", "text_sha256", "schema"]
    assert text.endswith("\n}\n")


def test_members_of_a_later_version_are_ignored(lock: Path) -> None:
    lock.write_text(json.dumps({"doors-value": ENTRY | {"references": []}}))
    (pins, notes) = load_lock(lock)
    assert (pins["doors-value"].id, notes) == (7, ())


def test_a_file_without_schema_names_can_be_used(lock: Path) -> None:
    lock.write_text(json.dumps({"doors-value": {name: ENTRY[name] for name in ENTRY if name != "schema"}}))
    assert read_lock(lock)["doors-value"].schema == ""


@pytest.mark.parametrize("schema_id", [-1, MAXIMUM_ID + 1, True, 1.5, "7", None])
def test_an_id_that_no_registry_gives_makes_the_file_unusable(lock: Path, schema_id: object) -> None:
    lock.write_text(json.dumps({"doors-value": ENTRY | {"id": schema_id}}))
    pins, (note,) = load_lock(lock)
    assert not pins
    assert note == (
        f"The schema lock file {lock} is not used: it does not have the format of `gateway`. "
        "Delete it; the registry has the ids."
    )


def test_a_file_that_is_missing_needs_no_note(lock: Path) -> None:
    assert load_lock(lock) == ({}, ())


def test_a_file_that_cannot_be_read_is_noted(lock: Path) -> None:
    lock.mkdir()
    assert "is not used: Is a directory" in load_lock(lock)[1][0]
