"""Karapace, Redpanda and Apicurio: what the gateway and its commands say of each, through a schema's whole life."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.operate.schemas.subjects import Subjects
from gateway.registry.api import Endpoint
from gateway.registry.lock_file import LOCK_FILE
from gateway.registry.registry import Registered, SchemaRegistry, Unresolved
from tests.contract_values import avro, record, route
from tests.stack.gateway import ROOT
from tests.stack.scripted_registry import KARAPACE, REDPANDA, ScriptedRegistry
from tests.test_cli import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack.registry import Registry

A, B = {"name": "a", "type": "int"}, {"name": "b", "type": "int"}
FIRST, WIDER, WRONG = record(A), record(A, B | {"default": 0}), record(A, B)
ROUTE = route("readings", FIRST)
CLOSED = "127.0.0.1:9"


@pytest.fixture(params=[KARAPACE, REDPANDA], ids=["karapace", "redpanda"])
def other(request: pytest.FixtureRequest) -> Iterator[ScriptedRegistry]:
    """Serve one of them."""
    with ScriptedRegistry(request.param) as server:
        yield server


def client(server: ScriptedRegistry, folder: Path, *, register: bool = True) -> SchemaRegistry:
    return SchemaRegistry(Endpoint(server.url), folder / LOCK_FILE, register=register)


def test_a_schema_is_registered_found_confirmed_and_refused(other: ScriptedRegistry, tmp_path: Path) -> None:
    refusal = client(other, tmp_path, register=False).ids([ROUTE]).refusals[0]
    assert "not found (HTTP 404, code 40401). Register it with" in refusal.reason
    assert client(other, tmp_path).ids([ROUTE]).ids == {"readings-value": 1}
    confirmed = client(other, tmp_path).ids([ROUTE])
    assert (confirmed.ids, confirmed.unverified, confirmed.refusals) == ({"readings-value": 1}, "", ())
    (tmp_path / LOCK_FILE).unlink()
    assert client(other, tmp_path, register=False).ids([ROUTE]).ids == {"readings-value": 1}
    (refusal,) = client(other, tmp_path).ids([route("readings", WRONG)]).refusals
    assert not refusal.retryable
    assert "HTTP 409, code 409). Change the schema so that it is compatible, or the subject's" in refusal.reason
    assert "ncompatible" in refusal.reason


def test_compatibility_is_checked_with_the_latest_or_with_all(other: ScriptedRegistry, tmp_path: Path) -> None:
    registry = client(other, tmp_path)
    subjects = Subjects(registry)
    assert subjects.rejections("s", avro(FIRST), "BACKWARD") is None, "the subject is new"
    assert subjects.rejections("s", avro(FIRST), "FULL_TRANSITIVE") is None
    assert registry.register("s", avro(FIRST)) == 1
    assert registry.register("s", avro(WIDER)) == 2
    assert subjects.rejections("s", avro(FIRST), "BACKWARD") is None
    assert subjects.rejections("s", avro(WRONG), "BACKWARD") is None, "the latest has the field"
    other.requests.clear()
    assert subjects.rejections("s", avro(WRONG), "BACKWARD_TRANSITIVE") == ("b",), "the registry's own words"
    assert [path[-14:] for _, path in other.requests[1:]] == ["1?verbose=true", "2?verbose=true"]
    other.modes["s"] = "FORWARD"
    assert subjects.mode("s") == "FORWARD"
    assert subjects.mode("other") == "BACKWARD"


def test_a_deleted_subject_is_new_and_its_id_stays_good(other: ScriptedRegistry, tmp_path: Path) -> None:
    """Records with the id can be read; the gateway goes on with it, and the commands say that the subject is new."""
    assert client(other, tmp_path).ids([ROUTE]).ids == {"readings-value": 1}
    other.delete("readings-value")
    found = client(other, tmp_path).ids([ROUTE])
    assert (found.ids, found.refusals) == ({"readings-value": 1}, ())
    assert Subjects(client(other, tmp_path)).latest("readings-value") is None
    assert client(other, tmp_path).register("readings-value", avro(FIRST)) == 1
    latest = Subjects(client(other, tmp_path)).latest("readings-value")
    assert isinstance(latest, Registered)
    assert (latest.version, latest.id) == (2, 1)


def test_references_are_followed_or_refused_in_the_registrys_words(other: ScriptedRegistry, tmp_path: Path) -> None:
    registry, parent = client(other, tmp_path), record(("r", FIRST["name"]), name="P")
    assert registry.register("part", avro(FIRST)) == 1
    body = {"schema": json.dumps(parent), "references": [{"name": FIRST["name"], "subject": "part", "version": 1}]}
    answer = registry.ask("p-value", "POST", "subjects/p-value/versions", body)
    if isinstance(answer, Unresolved):
        assert "Schema references are not supported for 'AVRO' schema type (HTTP 422, code 44302)" in answer.reason
        return
    assert isinstance(answer, dict)
    whole = record(("r", FIRST), name="P")
    assert client(other, tmp_path, register=False).ids([route("p", whole)]).ids == {"p-value": answer["id"]}


def test_a_schema_that_is_none_is_refused(other: ScriptedRegistry, tmp_path: Path) -> None:
    answer = client(other, tmp_path).ask("s", "POST", "subjects/s/versions", {"schema": '{"type": "recor"}'})
    assert isinstance(answer, Unresolved)
    code = other.words.invalid_code  # Redpanda has 42201 only for an empty schema
    assert f"(HTTP 422, code {code}). Correct the schema file." in answer.reason


def test_commands_go_through_the_life_of_a_schema(other: ScriptedRegistry, tmp_path: Path) -> None:
    kafka = {"host": CLOSED, "registry": {"url": other.url}}
    (tmp_path / "gateway.yaml").write_text(
        json.dumps({"contract": str(ROOT / "asyncapi.yaml"), "servers": {"kafka": kafka}})
    )
    texts = {
        "check --registry": "door-sensors-value: new (BACKWARD)",
        "register": "door-sensors-value: id 2, registered",
        "lock": "door-sensors-value: id 2, locked",
        "diff": "no difference",
        "list": "agrees",
    }
    for verb, text in texts.items():
        done = command("schemas", *verb.split(), "-c", "gateway.yaml", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert text in done.stdout
    done = command("schemas", "check", "--registry", "-c", "gateway.yaml", folder=tmp_path)
    assert "door-sensors-value: compatible with version 1 (BACKWARD)" in done.stdout
    for verb in ("drift", "doctor"):
        done = command(verb, *(["--seconds", "0"] if verb == "drift" else []), "-c", "gateway.yaml", folder=tmp_path)
        assert "id 2, version 1" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr


def test_apicurio_says_the_same_of_a_deleted_subject(registry: Registry, tmp_path: Path) -> None:
    """It deletes for good, and without a word; the id stays good all the same."""
    wanted = route(f"deleted-{tmp_path.name}", FIRST)
    found = SchemaRegistry(Endpoint(registry.url), tmp_path / LOCK_FILE).ids([wanted])
    httpx.delete(f"{registry.url}/subjects/{wanted.subject}", timeout=30).raise_for_status()
    again = SchemaRegistry(Endpoint(registry.url), tmp_path / LOCK_FILE)
    assert again.ids([wanted]).ids == found.ids
    assert Subjects(again).latest(wanted.subject) is None
    assert Subjects(again).rejections(wanted.subject, avro(FIRST), "BACKWARD_TRANSITIVE") is None
