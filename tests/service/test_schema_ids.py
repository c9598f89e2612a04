"""Schema ids while the gateway runs: a registry that is another one, was rebuilt, or answers something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.installation import open_installation
from gateway.operate.doctor.peers import examine_registry
from gateway.operate.drift import registry as drift
from gateway.operate.schemas.review import schemas as schemas_of
from gateway.operate.schemas.subject_status import differences, lock, register, subject_statuses
from gateway.registry.lock_file import LOCK_FILE
from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.scripted_http import Scripted
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

OTHERS = ('"string"', '"bytes"', '"long"', '"int"', '"double"', '"float"', '"boolean"')


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    return Topics(kafka, tmp_path)


@pytest.fixture
def broker(mosquitto: StartMosquitto) -> Mosquitto:
    return mosquitto()


@pytest.fixture
def gateway(broker: Mosquitto, kafka: Kafka, registry: Registry, topics: Topics) -> Iterator[Gateway]:
    """Prepare a gateway that has run before: its ids are in the lock file."""
    with Gateway(servers(broker, kafka, registry), topics.contract) as one:
        one.start()
        one.stop_and_read_ledger()
        yield one


def publish(broker: Mosquitto, gateway: Gateway) -> None:
    gateway.wait_subscribed("factoryBroker")
    with Publisher(broker.port) as publisher:
        publisher.publish([("doors/dock-1", b'{"state": "open"}')] * 10)


def registry_states(gateway: Gateway) -> list[tuple[str, str]]:
    """State and detail, one for each reason why streams wait."""
    states = json.loads(gateway.get("/readyz")[1])["states"]
    return [(one["state"], one["detail"]) for one in states if one["peer"] == "registry"]


def waiting(gateway: Gateway) -> str:
    """The details of a registry that has other ids."""
    return "\n".join(detail for state, detail in registry_states(gateway) if state == "no_schema_id")


def schemas(gateway: Gateway, verb: str, exit_code: int = 0) -> str:
    done = gateway.command("schemas", verb, "-c", str(gateway.settings_file))
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout


def fill(registry: Registry) -> None:
    """Let the registry use the low ids for schemas of others."""
    for number, text in enumerate(OTHERS):
        registry.register(f"other-{number}", text)


def test_run_waits_where_the_registry_is_another_one(
    broker: Mosquitto, gateway: Gateway, registry: Registry, own_registry: Registry, topics: Topics
) -> None:
    """It names both registries and the commands that help, and goes on without a restart; also after a rebuild."""
    subject = f"{topics('door-sensors')}-value"
    another = own_registry
    fill(another)
    gateway.settings_file.write_text(gateway.settings_file.read_text().replace(registry.url, another.url))
    gateway.start(ready=False)
    wait_for(lambda: "receiveDoors" in waiting(gateway).partition("lock file")[2], 30, lambda: waiting(gateway))
    detail = waiting(gateway)
    assert f"Registry {another.url}: schema id" in detail
    assert f"It was given by {registry.url}. Run `gateway schemas register -c {gateway.settings_file}`" in detail
    publish(broker, gateway)
    wait_for(lambda: gateway.metric("gateway_received_total") == 10, 30, "readings to come in")
    assert not gateway.is_ready()
    assert gateway.metric("gateway_peer_ready", peer="registry") == 0
    assert topics.count("door-sensors") == 0
    assert "of another registry" in schemas(gateway, "list", exit_code=1)

    schemas(gateway, "register")
    schemas(gateway, "lock")
    wait_for(gateway.is_ready, 60, lambda: str(gateway.states()))
    gateway.wait_settled(10)
    assert topics.count("door-sensors") == 10
    (pin,) = [json.loads((gateway.folder / LOCK_FILE).read_text())[subject]]
    assert pin["registry"] == another.url
    value = topics.records("door-sensors", 10)[0].value or b""
    assert int.from_bytes(value[1:5]) == pin["id"]

    another.stop()
    another.start()
    assert httpx.get(f"{another.url}/subjects").json() == []
    fill(another)
    wait_for(lambda: "receiveDoors" in waiting(gateway), 90, "the registry's new contents to be noticed")
    assert not gateway.is_ready()
    publish(broker, gateway)
    wait_for(lambda: gateway.metric("gateway_received_total") == 20, 30, "readings to come in")
    assert topics.count("door-sensors") == 10
    ledger = gateway.stop_and_read_ledger()
    assert (ledger["delivered"], ledger["spooled"]) == (10, 10)
    assert gateway.log.count('"message": "Readings wait, because their schema has no id."') <= 2 * len(OTHERS)


def test_run_goes_on_with_pinned_ids_that_no_registry_confirms(
    broker: Mosquitto, gateway: Gateway, registry: Registry, topics: Topics
) -> None:
    """An answer that says nothing about ids stops no reading, and the registry is not called ok."""
    lock = gateway.folder / LOCK_FILE
    old = {name: pin | {"registry": ""} for name, pin in json.loads(lock.read_text()).items()}
    lock.write_text(json.dumps(old | {"hand-written": {"id": 1, "canonical_sha256": "a", "schema": None}}))
    with Scripted(401, '{"error_code": 40101, "message": "Unauthorized"}') as refusing:
        gateway.settings_file.write_text(gateway.settings_file.read_text().replace(registry.url, refusing.url))
        gateway.start()
        publish(broker, gateway)
        gateway.wait_settled(10)
        expected = (
            f"The schema ids are those of the lock file, and not confirmed. Registry {refusing.url}: Unauthorized "
            "(HTTP 401, code 40101). Check registry.username and registry.password_file, or registry.token_file; "
            "a renewed file is read again. "
            "Will retry."
        )
        assert registry_states(gateway) == [("pinned", expected)]
        gateway.stop_and_read_ledger()
    assert topics.count("door-sensors") == 10
    assert gateway.log.count('"message": "The registry does not confirm the schema ids of the lock file."') == 1
    fault = f"The entry hand-written of the schema lock file {lock} is not used: schema: expected text, found null."
    assert gateway.log.count(json.dumps(f"{fault} Run `gateway schemas lock -c {gateway.settings_file}`.")) == 1


def test_run_takes_the_schemas_that_others_registered_as_the_files_stand(
    broker: Mosquitto, kafka: Kafka, registry: Registry, topics: Topics
) -> None:
    """With `register: false`; and every command says that file, lock file and registry agree."""
    given = servers(broker, kafka, registry)
    given["kafka"]["registry"]["register"] = False
    with Gateway(given, topics.contract) as gateway:
        installation = open_installation(gateway.settings_file, {})
        texts = {subject: schema.path.read_text() for subject, schema in schemas_of(installation.contract).items()}
        assert any("x-source" in text for text in texts.values())
        ids = {subject: registry.register(subject, text) for subject, text in texts.items()}
        gateway.start()
        assert registry_states(gateway) == [("ok", "")]
        pins = json.loads((gateway.folder / LOCK_FILE).read_text())
        assert {subject: pin["id"] for subject, pin in pins.items()} == ids
        assert all(lines == [] for lines in differences(installation).values())
        assert {change.text for change in register(installation)} == {"already registered as version 1"}
        assert {change.subject: change.id for change in lock(installation)} == ids
        assert all(status.agrees for status in subject_statuses(installation))
        for findings in (drift.compare(installation), examine_registry(installation)):
            assert {finding.severity for finding in findings} == {"ok"}

        path = next(iter(schemas_of(installation.contract).values())).path
        path.write_text(path.read_text().replace('"doc": "', '"doc": "Corrected: ', 1))
        described = open_installation(gateway.settings_file, {})
        assert all(status.agrees for status in subject_statuses(described))
        (lines,) = filter(None, differences(described).values())
        assert lines[0] == "the same schema; only descriptions differ:"
        assert {change.text for change in register(described)} == {"already registered as version 1", "registered"}
        assert all(status.agrees for status in subject_statuses(described))
