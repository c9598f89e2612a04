"""The schema registry's client, against a real registry, and against servers that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from gateway.registry.api import Endpoint
from gateway.registry.lock_file import read_lock, update_lock
from gateway.registry.registry import SchemaRegistry, Unresolved
from tests.contract_values import record, route
from tests.stack.ports import HeldPort
from tests.stack.scripted_http import Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.model import Route
    from tests.stack.registry import Registry

READING = record({"name": "machine", "type": "string"}, {"name": "value", "type": "double"})
OTHER = record({"name": "machine", "type": "string"}, {"name": "value", "type": "string"})


def unused_topic(definition: dict[str, Any] = READING) -> Route:
    return route(f"topic-{uuid4().hex}", definition)


def same_topic(other: Route, definition: dict[str, Any]) -> Route:
    return route(other.topic.name, definition)


def refusal_of(url: str, lock: Path, *, register: bool = True, timeout_seconds: float = 5) -> Unresolved:
    registry = SchemaRegistry(Endpoint(url, timeout_seconds=timeout_seconds), lock, register=register)
    ids, (refusal,), _ = registry.ids([unused_topic()])
    assert not ids
    assert not lock.exists()
    return refusal


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "gateway-schemas.lock"


# --- a real registry -------------------------------------------------------------------------------------------------


def test_ids_registers_and_pins_new_schemas(registry: Registry, lock: Path) -> None:
    """A new schema is registered; its id is in the answer and in the lock file."""
    one, two = unused_topic(), unused_topic(OTHER)
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([one, two, route("dead-letters")])
    assert set(found.ids) == {one.subject, two.subject}
    assert not found.refusals
    assert not found.notes
    assert {subject: entry.id for subject, entry in read_lock(lock).items()} == found.ids


def test_ids_is_the_same_when_registered_twice(registry: Registry, lock: Path) -> None:
    """Registering again gives the id of the first time."""
    wanted = unused_topic()
    first = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
    lock.unlink()
    assert SchemaRegistry(Endpoint(registry.url), lock).ids([wanted]) == first


def test_ids_looks_up_what_somebody_registered(registry: Registry, lock: Path) -> None:
    """With `register: false` the id of a schema that is there is found."""
    wanted = unused_topic()
    assert wanted.schema is not None
    schema_id = registry.register(wanted.subject, wanted.schema.text)
    found = SchemaRegistry(Endpoint(registry.url), lock, register=False).ids([wanted])
    assert found.ids == {wanted.subject: schema_id}


def test_ids_refuses_to_look_up_an_unknown_subject_and_says_what_to_do(registry: Registry, lock: Path) -> None:
    """With `register: false` an unknown subject is final, and the next step is named."""
    refusal = refusal_of(registry.url, lock, register=False)
    assert not refusal.retryable
    assert "register: true" in refusal.reason


def test_ids_tells_the_registrys_own_words_on_an_incompatible_schema(registry: Registry, lock: Path) -> None:
    """A 409 is final for its subject; the other subject gets its id."""
    taken, fine = unused_topic(), unused_topic()
    client = SchemaRegistry(Endpoint(registry.url), lock)
    assert not client.ids([taken]).refusals
    found = client.ids([same_topic(taken, OTHER), fine])
    (refusal,) = found.refusals
    assert (refusal.subject, refusal.retryable) == (taken.subject, False)
    assert "HTTP 409" in refusal.reason
    assert "compatib" in refusal.reason.lower()
    assert list(found.ids) == [fine.subject]


def test_schema_gives_the_text_by_id(registry: Registry, lock: Path) -> None:
    """A schema is found by its id, and an unknown id is refused."""
    wanted = unused_topic()
    client = SchemaRegistry(Endpoint(registry.url), lock)
    text = client.schema(client.ids([wanted]).ids[wanted.subject])
    assert isinstance(text, str)
    assert json.loads(text)["name"] == READING["name"]
    assert isinstance(client.schema(2_000_000_000), Unresolved)


def test_ids_needs_no_registry_once_the_lock_file_is_there(lock: Path, registry: Registry) -> None:
    """With the lock file the ids of a registry that is gone are there, also in a new process."""
    wanted = unused_topic()
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
    assert SchemaRegistry(Endpoint("http://127.0.0.1:9"), lock).ids([wanted]) == found


# --- the lock file ---------------------------------------------------------------------------------------------------


def test_ids_takes_no_client_library(lock: Path) -> None:
    """A small board has no memory to spare for one, least of all when the lock file has every id."""
    wanted = route("topic", READING)
    update_lock(lock, [wanted], {wanted.subject: 7})
    program = (
        "import sys; from pathlib import Path\n"
        "from gateway.registry.api import Endpoint\n"
        "from gateway.registry.registry import SchemaRegistry\n"
        "from tests.contract_values import record, route\n"
        f"registry = SchemaRegistry(Endpoint('http://127.0.0.1:9'), Path({str(lock)!r}))\n"
        f"found = registry.ids([route('topic', {READING!r}), route('dead-letters')])\n"
        "assert found.ids == {'topic-value': 7}, found\n"
        "loaded = [m for m in sys.modules if m.startswith(('confluent_kafka', 'httpx', 'authlib'))]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "changed",
    [
        OTHER,
        record({"name": "machine", "type": "string"}, {"name": "value", "type": "double", "default": 1.5}),
        record({"name": "machine", "type": "string"}, {"name": "value", "type": "double", "doc": "in degrees"}),
    ],
    ids=["type", "default", "doc"],
)
def test_ids_does_not_use_a_pin_of_another_text(lock: Path, changed: dict[str, Any]) -> None:
    """An entry counts only while the schema's text is the one it was made for."""
    wanted = route("topic", READING)
    update_lock(lock, [wanted], {wanted.subject: 7})
    found = SchemaRegistry(Endpoint(""), lock).ids([route("topic", changed)])
    assert not found.ids
    assert not found.refusals[0].retryable
    assert "registry.url" in found.refusals[0].reason


def test_ids_keeps_the_pins_of_other_subjects(lock: Path, registry: Registry) -> None:
    """Writing a new id leaves the entries of streams that are switched off today."""
    old = route("switched-off", READING)
    update_lock(lock, [old], {old.subject: 7})
    SchemaRegistry(Endpoint(registry.url), lock).ids([unused_topic()])
    assert read_lock(lock)[old.subject].id == 7
    assert len(read_lock(lock)) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": {"id": "1"}}', b"\xff\xfe", b"[" * 100_000, b" " * 1_000_001]
)
def test_ids_goes_on_without_a_broken_lock_file(lock: Path, content: bytes, registry: Registry) -> None:
    """A lock file that is none is named in a note; the ids come from the registry and the file is written anew."""
    lock.write_bytes(content)
    wanted = unused_topic()
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
    assert str(lock) in found.notes[0]
    assert {subject: entry.id for subject, entry in read_lock(lock).items()} == found.ids


def test_ids_goes_on_when_the_lock_file_cannot_be_written(tmp_path: Path, registry: Registry) -> None:
    """The ids are given all the same, and a note says what is the matter."""
    wanted = unused_topic()
    found = SchemaRegistry(Endpoint(registry.url), tmp_path / "no such folder" / "lock").ids([wanted])
    assert found.ids
    assert "cannot be written: No such file or directory" in found.notes[0]


def test_ids_leaves_no_temporary_file(lock: Path, registry: Registry) -> None:
    """After writing, the folder holds the lock file and nothing else."""
    SchemaRegistry(Endpoint(registry.url), lock).ids([unused_topic()])
    assert list(lock.parent.iterdir()) == [lock]


# --- servers that are no registry ------------------------------------------------------------------------------------

PORTAL = "<html><script>location='http://portal'</script>Welcome to our hotel</html>"


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500, 511])
def test_ids_asks_again_after_an_html_page(lock: Path, status: int) -> None:
    """A captive portal's page is no registry's word, whatever its status: it is asked again."""
    with Scripted(status, PORTAL, "text/html") as portal:
        refusal = refusal_of(portal.url, lock)
    assert refusal.retryable
    assert "captive portal" in refusal.reason
    assert "Welcome" not in refusal.reason


@pytest.mark.parametrize(
    "body", ["null", "[]", "1", '"id"', "{}", '{"id": "1"}', '{"id": true}', '{"id": -1}', "[" * 9999]
)
def test_ids_asks_again_after_json_without_an_id(lock: Path, body: str) -> None:
    """JSON that holds no schema id is a strange answer, never an exception."""
    with Scripted(200, body) as strange:
        assert refusal_of(strange.url, lock).retryable


def test_ids_follows_no_redirect(lock: Path) -> None:
    """A redirect to another host is not followed, and said to be one."""
    with Scripted(200, '{"id": 1}') as other, Scripted(302, "", location=other.url) as portal:
        refusal = refusal_of(portal.url, lock)
        assert other.requests == []
    assert refusal.retryable
    assert "redirect" in refusal.reason


def test_ids_refuses_an_id_that_belongs_to_another_schema(lock: Path) -> None:
    """An id is used only when the registry gives the same schema back for it."""
    with Scripted(200, json.dumps({"id": 3, "schema": '"string"'})) as wrong:
        refusal = refusal_of(wrong.url, lock)
    assert refusal.retryable
    assert "schema id 3" in refusal.reason


@pytest.mark.parametrize(
    ("status", "is_retryable"), [(401, False), (403, False), (422, False), (500, True), (429, True)]
)
def test_ids_sorts_the_registrys_own_words(lock: Path, status: int, is_retryable: bool) -> None:  # noqa: FBT001 - a column
    """What the registry itself says is told; only its own trouble is worth another try."""
    said = json.dumps({"error_code": status * 100, "message": "its \u001b[31mown\nwords"})
    with Scripted(status, said) as server:
        refusal = refusal_of(server.url, lock)
    assert refusal.retryable is is_retryable
    assert r"its \u001b[31mown\nwords" in refusal.reason


def test_ids_does_not_wait_for_a_silent_server(lock: Path) -> None:
    """A server that takes the connection and says nothing is given up after the timeout, once for all subjects."""
    with Scripted(200, "", silent=True) as server:
        client = SchemaRegistry(Endpoint(server.url, timeout_seconds=0.3), lock)
        found = client.ids([unused_topic(), unused_topic()])
        assert len(server.requests) == 1
    assert [refusal.retryable for refusal in found.refusals] == [True, True]
    assert len({refusal.subject for refusal in found.refusals}) == 2


def test_ids_asks_again_when_nobody_listens(lock: Path) -> None:
    """A refused connection is worth another try."""
    port = HeldPort()
    refusal = refusal_of(f"http://{port}", lock)
    port.release()
    assert refusal.retryable
    assert refusal.reason.endswith("Connection refused. Will retry.")


def test_ids_forgets_a_strange_answer(lock: Path) -> None:
    """After a wrong answer the next question goes to the server again, not to a cache."""
    with Scripted(200, json.dumps({"id": 3, "schema": '"string"'})) as wrong:
        client, wanted = SchemaRegistry(Endpoint(wrong.url), lock), unused_topic()
        client.ids([wanted])
        client.ids([wanted])
        assert len(wrong.requests) == 4


def test_ids_signs_in_and_never_tells_the_secret(lock: Path) -> None:
    """Basic and bearer credentials go into the request, and into nothing else."""
    with Scripted(401, json.dumps({"error_code": 40101, "message": "Unauthorized"})) as server:
        basic = SchemaRegistry(Endpoint(server.url, username="gateway", password="hunter:2"), lock)
        bearer = SchemaRegistry(Endpoint(server.url, token="s3cr3t"), lock)
        refusals = [*basic.ids([unused_topic()]).refusals, *bearer.ids([unused_topic()]).refusals]
        assert [request[2] for request in server.requests] == ["Basic Z2F0ZXdheTpodW50ZXI6Mg==", "Bearer s3cr3t"]
    for secret in ("hunter", "s3cr3t"):
        assert secret not in repr([refusals, basic, bearer])
    assert "password_file" in refusals[0].reason


def test_ids_refuses_an_unusable_ca_file(lock: Path) -> None:
    """A CA file that is not there is the operator's to mend."""
    registry = SchemaRegistry(Endpoint("https://127.0.0.1:9", ca_file=lock.parent / "absent.pem"), lock)
    (refusal,) = registry.ids([unused_topic()]).refusals
    assert not refusal.retryable
    assert "ca_file" in refusal.reason
