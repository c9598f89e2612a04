"""The schema registry's client, against a real registry, and against servers that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from gateway.registry.api import Endpoint
from gateway.registry.lock_file import Issuer, load_lock, update_lock
from gateway.registry.registry import Registered, SchemaRegistry, Unresolved
from gateway.settings import pem
from tests.contract_values import record, route
from tests.stack.ports import HeldPort
from tests.stack.scripted_http import Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.model import Route
    from tests.stack.registry import Registry

READING = record({"name": "machine", "type": "string"}, {"name": "value", "type": "double"})
OTHER = record({"name": "machine", "type": "string"}, {"name": "value", "type": "string"})


WITH_SOURCES = json.dumps(READING | {"doc": "By CI.", "x-owner": "line 4"}, indent=2)
PORTAL = "<html><script>location='http://portal'</script>Welcome to our hotel</html>"
ELSEWHERE = Issuer("http://elsewhere:8081", "kafka-cluster=k")


def unused_topic(definition: dict[str, Any] = READING) -> Route:
    return route(f"topic-{uuid4().hex}", definition)


def same_topic(other: Route, definition: dict[str, Any]) -> Route:
    return route(other.topic.name, definition)


def refusal_of(url: str, lock: Path, *, register: bool = True, timeout_seconds: float = 5) -> Unresolved:
    registry = SchemaRegistry(Endpoint(url, timeout_seconds=timeout_seconds), lock, register=register)
    found = registry.ids([unused_topic()])
    assert not found.ids
    assert not lock.exists()
    return found.refusals[0]


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
    assert {subject: entry.id for subject, entry in load_lock(lock).pins.items()} == found.ids


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


# --- ids of another registry ----------------------------------------------------------------------------------------


def pinned(lock: Path, schema_id: int, issuer: Issuer = ELSEWHERE) -> Route:
    """Pin an id of a schema that no subject has."""
    wanted = unused_topic()
    update_lock(lock, [wanted], {wanted.subject: schema_id}, issuer)
    return wanted


def foreign(registry: Registry, lock: Path, wanted: Route) -> str:
    """Give the reason why the id of the lock file is refused; it stays in the file."""
    before = lock.read_text()
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
    assert not found.ids
    assert not found.unverified
    assert lock.read_text() == before
    (refusal,) = found.refusals
    assert not refusal.retryable
    return refusal.reason


def test_ids_refuses_an_id_that_the_registry_does_not_know(registry: Registry, lock: Path) -> None:
    """It says who gave the id and what to do; nothing is registered."""
    wanted = pinned(lock, 2_000_000_000)
    assert foreign(registry, lock, wanted) == (
        f"Registry {registry.url}: schema id 2000000000 of the lock file is unknown here. It was given by "
        f"{ELSEWHERE.registry} (kafka-cluster=k). Run `gateway schemas register -c FILE`, then "
        "`gateway schemas lock -c FILE`, or correct registry.url."
    )
    assert SchemaRegistry(Endpoint(registry.url), lock).latest(wanted.subject) is None


def test_ids_refuses_an_id_that_belongs_to_another_schema_here(registry: Registry, lock: Path) -> None:
    wanted = pinned(lock, registry.register(unused_topic().subject, json.dumps(OTHER)), Issuer())
    reason = foreign(registry, lock, wanted)
    assert "belongs to another schema here. The lock file does not say who gave it. Run `gateway schemas reg" in reason


def test_ids_names_one_command_where_the_schema_is_registered_under_another_id(registry: Registry, lock: Path) -> None:
    wanted = pinned(lock, 2_000_000_000)
    registry.register(wanted.subject, WITH_SOURCES)
    assert "Run `gateway schemas lock -c FILE`, or correct registry.url." in foreign(registry, lock, wanted)


def test_ids_confirms_an_id_that_is_of_the_same_schema(registry: Registry, lock: Path) -> None:
    """Also where another registry gave it, another subject has it, or it was written in another way."""
    for text in (json.dumps(READING), WITH_SOURCES):
        wanted = pinned(lock, schema_id := registry.register(unused_topic().subject, text))
        found = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
        assert (found.ids, found.refusals, found.unverified) == ({wanted.subject: schema_id}, (), "")


def test_ids_confirms_each_subject_by_itself(registry: Registry, lock: Path) -> None:
    """One id that does not hold takes no other with it; a schema that is not pinned is registered."""
    wrong, new = pinned(lock, 2_000_000_000), unused_topic()
    right = pinned(lock, registry.register(unused_topic().subject, json.dumps(READING)))
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([wrong, right, new])
    assert set(found.ids) == {right.subject, new.subject}
    assert [refusal.subject for refusal in found.refusals] == [wrong.subject]
    assert load_lock(lock).pins[new.subject].registry == registry.url


JSON_401 = '{"error_code": 40101, "message": "Unauthorized"}'


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, PORTAL, "invalid response"),
        (200, "{}", "invalid response"),
        (302, "", "redirect"),
        (401, JSON_401, "password_file"),
        (401, PORTAL, "password_file"),
        (403, '{"error_code": 40301, "message": "Denied"}', "Ask for the right"),
        (404, PORTAL, "registry.url must be the base"),
        (404, '{"error_code": 404, "message": "HTTP 404 Not Found"}', "registry.url must be the base"),
        (500, '{"error_code": 50001, "message": "Backend"}', "Backend"),
        (503, "", "without JSON"),
    ],
)
def test_ids_keeps_pins_that_an_answer_says_nothing_about(lock: Path, status: int, body: str, cause: str) -> None:
    """They stay in use, and are not called confirmed."""
    one, two = pinned(lock, 7), pinned(lock, 8)
    with Scripted(status, body, location="http://127.0.0.1:9/") as server:
        found = SchemaRegistry(Endpoint(server.url), lock).ids([one, two])
    assert found.ids == {one.subject: 7, two.subject: 8}
    assert not found.refusals
    assert cause in found.unverified


def test_ids_keeps_pins_without_an_answer_and_asks_once(lock: Path) -> None:
    one, two, new = pinned(lock, 7), pinned(lock, 8), unused_topic()
    with Scripted(200, "", silent=True) as server:
        found = SchemaRegistry(Endpoint(server.url, timeout_seconds=0.3), lock).ids([one, two, new])
        assert len(server.requests) == 1
    assert found.ids == {one.subject: 7, two.subject: 8}
    assert "timed out" in found.unverified
    assert [refusal.subject for refusal in found.refusals] == [new.subject]


def test_issuer_has_what_confluents_registry_says_about_itself(lock: Path) -> None:
    body = {"id": "", "scope": {"path": [], "clusters": {"kafka-cluster": "k", "schema-registry-cluster": "s"}}}
    with Scripted(200, json.dumps(body)) as server:
        issuer = SchemaRegistry(Endpoint(server.url), lock).issuer()
    assert issuer == (server.url, "kafka-cluster=k, schema-registry-cluster=s")


@pytest.mark.parametrize("body", ["", PORTAL, "[]", "1", '{"scope": 1}', '{"scope": {"clusters": []}}'])
def test_issuer_without_such_an_answer_is_the_url(lock: Path, body: str) -> None:
    with Scripted(200, body) as server:
        assert SchemaRegistry(Endpoint(server.url), lock).issuer() == (server.url, "")


def test_issuer_has_no_user_and_password(lock: Path) -> None:
    assert SchemaRegistry(Endpoint("http://me:secret@[::1]:9"), lock).issuer() == ("http://[::1]:9", "")


# --- the same schema, registered in another way ----------------------------------------------------------------------


def test_ids_takes_the_id_of_the_same_schema(registry: Registry, lock: Path) -> None:
    """Whoever registered the .avsc as it stands registered this schema: no second version is made of it."""
    for register in (False, True):
        wanted = unused_topic()
        schema_id = registry.register(wanted.subject, WITH_SOURCES)
        client = SchemaRegistry(Endpoint(registry.url), lock, register=register)
        assert client.ids([wanted]).ids == {wanted.subject: schema_id}
        latest = client.latest(wanted.subject)
        assert isinstance(latest, Registered)
        assert (latest.version, latest.id) == (1, schema_id)


def test_ids_takes_the_newest_of_the_same_schemas(registry: Registry, lock: Path) -> None:
    """Older versions count as well, if a newer one is another schema."""
    wanted = unused_topic()
    more = READING["fields"] + [{"name": "added", "type": "int", "default": 0}]
    texts = [WITH_SOURCES, WITH_SOURCES.replace("CI", "hand"), json.dumps(READING | {"fields": more})]
    _, second, _ = (registry.register(wanted.subject, text) for text in texts)
    assert SchemaRegistry(Endpoint(registry.url), lock, register=False).ids([wanted]).ids == {wanted.subject: second}


def test_ids_takes_the_id_of_a_schema_that_refers_to_others(registry: Registry, lock: Path) -> None:
    """A type that the registry has under a subject of its own is written in the contract's file."""
    name = f"State{uuid4().hex}"
    state = {"type": "enum", "name": name, "symbols": ["on", "off"]}
    registry.register(f"{name}-type", json.dumps(state))
    wanted = unused_topic(record({"name": "state", "type": state}))
    body = {
        "schema": json.dumps(record({"name": "state", "type": name})),
        "references": [{"name": name, "subject": f"{name}-type", "version": 1}],
    }
    answer = httpx.post(f"{registry.url}/subjects/{wanted.subject}/versions", json=body).raise_for_status()
    found = SchemaRegistry(Endpoint(registry.url), lock, register=False).ids([wanted])
    assert found.ids == {wanted.subject: answer.json()["id"]}


def test_ids_does_not_take_the_id_of_another_schema(registry: Registry, lock: Path) -> None:
    """What a reader sees differs: the registry's answer stands."""
    wanted = unused_topic()
    registry.register(wanted.subject, json.dumps(READING | {"aliases": ["Old"]}))
    (refusal,) = SchemaRegistry(Endpoint(registry.url), lock, register=False).ids([wanted]).refusals
    assert "code 40403" in refusal.reason
    assert "`gateway schemas register -c FILE`" in refusal.reason


@pytest.mark.parametrize(
    "references", [1, [1], [{}], [{"subject": "a"}], [{"subject": "a", "version": "../x"}], {"subject": 1}]
)
def test_ids_asks_again_after_strange_references(lock: Path, references: object) -> None:
    body = {"id": 3, "version": 1, "schema": json.dumps(READING), "references": references}
    with Scripted(200, json.dumps(body)) as strange:
        assert refusal_of(strange.url, lock).retryable


def test_references_in_a_circle_end(lock: Path) -> None:
    body = {"id": 3, "schema": '"string"', "references": [{"subject": "a", "version": 1}]}
    with Scripted(200, json.dumps(body)) as strange:
        assert "another schema" in refusal_of(strange.url, lock).reason


def test_schema_gives_the_text_by_id(registry: Registry, lock: Path) -> None:
    """A schema is found by its id, and an unknown id is refused."""
    wanted = unused_topic()
    client = SchemaRegistry(Endpoint(registry.url), lock)
    text = client.schema(client.ids([wanted]).ids[wanted.subject])
    assert isinstance(text, str)
    assert json.loads(text)["name"] == READING["name"]
    assert client.schema(2_000_000_000) is None


def test_ids_needs_no_registry_once_the_lock_file_is_there(lock: Path, registry: Registry) -> None:
    """With the lock file the ids of a registry that is gone are there, also in a new process."""
    wanted = unused_topic()
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
    offline = SchemaRegistry(Endpoint("http://127.0.0.1:9"), lock).ids([wanted])
    assert offline == found._replace(unverified=offline.unverified)
    reason = "no answer: connection refused. Check its address, and that it runs."
    assert offline.unverified == f"Registry http://127.0.0.1:9: {reason}"


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
    ],
    ids=["type", "default"],
)
def test_ids_does_not_use_a_pin_of_another_schema(lock: Path, changed: dict[str, Any]) -> None:
    """An entry counts only while the schema is the one it was made for."""
    wanted = route("topic", READING)
    update_lock(lock, [wanted], {wanted.subject: 7})
    found = SchemaRegistry(Endpoint(""), lock).ids([route("topic", changed)])
    assert not found.ids
    assert not found.refusals[0].retryable
    assert "registry.url" in found.refusals[0].reason


def test_ids_uses_the_pin_of_a_schema_with_other_descriptions(lock: Path) -> None:
    """A corrected description must not stop a box that is offline."""
    wanted = route("topic", READING)
    update_lock(lock, [wanted], {wanted.subject: 7})
    described = record({"name": "machine", "type": "string"}, {"name": "value", "type": "double", "doc": "in degrees"})
    found = SchemaRegistry(Endpoint(""), lock).ids([route("topic", described)])
    assert (found.ids, found.unverified) == ({wanted.subject: 7}, "No registry is configured.")


def test_ids_keeps_the_pins_of_other_subjects(lock: Path, registry: Registry) -> None:
    """Writing a new id leaves the entries of streams that are switched off today."""
    old = route("switched-off", READING)
    update_lock(lock, [old], {old.subject: 7})
    SchemaRegistry(Endpoint(registry.url), lock).ids([unused_topic()])
    assert load_lock(lock).pins[old.subject].id == 7
    assert len(load_lock(lock).pins) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": {"id": "1"}}', b"\xff\xfe", b"[" * 100_000, b" " * 1_000_001]
)
def test_ids_goes_on_without_a_broken_lock_file(lock: Path, content: bytes, registry: Registry) -> None:
    """A lock file that is none is named in a note; the ids come from the registry and the file is written anew."""
    lock.write_bytes(content)
    wanted = unused_topic()
    found = SchemaRegistry(Endpoint(registry.url), lock).ids([wanted])
    assert str(lock) in found.notes[0]
    assert {subject: entry.id for subject, entry in load_lock(lock).pins.items()} == found.ids


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
    assert refusal.reason.endswith("no answer: connection refused. Check its address, and that it runs.")


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
    """A CA file that is none is the operator's to mend."""
    (lock.parent / "ca.pem").write_text("not PEM")
    files = pem.read({"ca_file": lock.parent / "ca.pem"}, None)
    registry = SchemaRegistry(Endpoint("https://127.0.0.1:9", tls=files), lock)
    (refusal,) = registry.ids([unused_topic()]).refusals
    assert not refusal.retryable
    assert "no certificate in PEM" in refusal.reason
