"""What the doctor says about transactions, at a real Kafka that asks for rights."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.installation import open_installation
from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from gateway.operate.doctor.transactions import check_log, check_times, check_version, examine
from tests.stack.gateway import ROOT, Gateway
from tests.stack.wait import wait_for
from tests.test_end_to_end import TOPICS, servers

if TYPE_CHECKING:
    from gateway.errors import Finding, Severity
    from tests.conftest import StartKafka, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

IDS = ["transactional id iot-gateway,iot-gateway-meter", "transactional id replay,gateway-dead-letters"]
RIGHTS, SETTINGS = f"topic {STATE_TOPIC} rights", "settings of the brokers"


def seen(gateway: Gateway) -> dict[str, Finding]:
    return {one.path: one for one in examine(open_installation(gateway.settings_file, {}))}


def apply(fix: str, kafka: Kafka) -> None:
    """Do what the quoted kafka-acls command does."""
    words = shlex.split(fix.partition("kafka-acls.sh ")[2])
    options = [(name.removeprefix("--"), value) for name, value in pairwise([*words, "kafka-cluster"])]
    (user,) = [value.removeprefix("User:") for name, value in options if name == "allow-principal"]
    ((kind, name),) = [each for each in options if each[0] in {"topic", "transactional-id", "cluster"}]
    kinds = {"topic": "TOPIC", "transactional-id": "TRANSACTIONAL_ID", "cluster": "BROKER"}
    for operation in [value for name, value in options if name == "operation"]:
        kafka.allow(user, name, re.sub("(?<=[a-z])(?=[A-Z])", "_", operation).upper(), kinds[kind])


def test_the_rights_that_the_doctor_asks_for_are_enough(
    kafka_cluster: StartKafka, mosquitto: StartMosquitto, registry: Registry, tmp_path: Path
) -> None:
    """Each finding's command is applied; then the doctor is content, and the gateway is ready."""
    guarded = kafka_cluster(
        users={"gateway": "secret"},
        settings={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    guarded.create_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    for name in TOPICS:
        guarded.create_topic(name, 3)
        guarded.allow("gateway", name, "WRITE")
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    contract = Path(shutil.copy(ROOT / "asyncapi.yaml", tmp_path))
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("secret")
    peers = servers(mosquitto(), guarded, registry)
    sasl = {"mechanism": "PLAIN", "username": "gateway", "password_file": str(tmp_path / "password")}
    peers["kafka"] |= {"host": guarded.servers("SASL_PLAINTEXT"), "sasl": sasl}
    with Gateway(peers, contract, delivery="exactly_once") as gateway:
        rows = seen(gateway)
        assert [rows[name].message for name in IDS] == ["this user may not use it"] * 2
        assert rows[RIGHTS].message == "this user lacks READ, WRITE, DESCRIBE"
        assert rows[SETTINGS].severity == "unknown"
        for name in (*IDS, RIGHTS, SETTINGS):
            apply(rows[name].fix, guarded)
        wait_for(lambda: all(seen(gateway)[name].severity == "ok" for name in (*IDS, RIGHTS)), 60, "the rights")
        wait_for(lambda: SETTINGS not in seen(gateway), 60, "the right to see them")
        gateway.start()


def test_the_doctor_disturbs_no_transaction_of_the_running_gateway(
    kafka: Kafka, mosquitto: StartMosquitto, registry: Registry, tmp_path: Path
) -> None:
    """Its transactional id is not used, only tried."""
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    text = (ROOT / "asyncapi.yaml").read_text().replace("clientId: iot-gateway", f"clientId: {tmp_path.name}")
    (tmp_path / "asyncapi.yaml").write_text(text)
    peers = servers(mosquitto(), kafka, registry)
    with Gateway(peers, tmp_path / "asyncapi.yaml", delivery="exactly_once") as gateway:
        gateway.start(ready=False)
        gateway.wait_subscribed()
        rows = seen(gateway)
        assert {one.severity for one in rows.values()} == {"ok", "unknown"}, rows
        assert rows["version for transactions"].message == "4.0 or newer"
        assert "isolation.level=read_committed" in rows["consumers"].fix
        assert gateway.metric("gateway_transactions_total", outcome="aborted") == 0
        assert "Kafka client reports an error" not in gateway.log


@pytest.mark.parametrize(("version", "severity"), [("2.4-IV1", "error"), ("2.5-IV0", "ok"), ("3.9-IV0", "ok")])
def test_version_is_that_of_the_protocol_between_brokers(version: str, severity: Severity) -> None:
    assert check_version("kafka", {"inter.broker.protocol.version": version}).severity == severity


@pytest.mark.parametrize(
    ("replicas", "minimum", "brokers", "severity"),
    [
        (1, 1, 1, "ok"), (3, 2, 3, "ok"), (3, 2, 1, "error"), (1, 2, 1, "error"), (3, 3, 3, "warning"),
        (1, 1, 3, "warning"), (3, 1, 3, "warning"),
    ],
)  # fmt: skip
def test_log_of_transactions_survives_a_broker_and_can_be_written(
    replicas: int, minimum: int, brokers: int, severity: Severity
) -> None:
    assert check_log("kafka", replicas, minimum, brokers).severity == severity


def test_times_leave_room_for_transactions_and_pauses() -> None:
    assert [one.severity for one in check_times("kafka", {})] == ["ok"]
    short = {"transaction.max.timeout.ms": "5000", "transactional.id.expiration.ms": "60000"}
    assert [one.severity for one in check_times("kafka", short)] == ["error", "warning"]


def test_a_log_of_transactions_that_cannot_be_made_is_seen(
    kafka_cluster: StartKafka, mosquitto: StartMosquitto, registry: Registry, tmp_path: Path
) -> None:
    """One broker with Kafka's defaults for three; with the fix, transactions begin."""
    defaults = {"transaction.state.log.replication.factor": 3, "transaction.state.log.min.isr": 2}
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    contract = Path(shutil.copy(ROOT / "asyncapi.yaml", tmp_path))
    single = kafka_cluster(settings=defaults)
    with Gateway(servers(mosquitto(), single, registry), contract, delivery="exactly_once") as gateway:
        row = seen(gateway)["topic __transaction_state"]
    assert row.severity == "error"
    assert "transaction.state.log.replication.factor to 1 and transaction.state.log.min.isr to 1" in row.fix
