"""Kafka away, frozen, killed, without rights, topics or replicas: readings wait in order, and no figure is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.faults.device import publish_bad
from tests.faults.site import LETTERS
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.conftest import StartKafka
    from tests.faults.conftest import StartSite
    from tests.stack.kafka import Kafka

ON_DISK_SOON = {"after": "100ms"}


@pytest.mark.parametrize("fault", [pytest.param("frozen", marks=pytest.mark.gate), "killed"])
def test_run_keeps_an_outage_of_kafka_on_disk_and_drains_it_in_order(
    site: StartSite, away_kafka: Kafka, fault: str
) -> None:
    """The gateway goes on receiving, and the spool is sent in order; if Kafka was frozen, each reading once."""
    here = site(spool=ON_DISK_SOON)
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(200)
        away_kafka.freeze() if fault == "frozen" else away_kafka.kill()
        here.wait_for("gateway_spooled", 500)
        assert here.gateway.is_alive()
        wait_for(lambda: not here.gateway.is_ready(), 60, "the trouble in /readyz")
        away_kafka.thaw() if fault == "frozen" else away_kafka.start()
        here.device.wait_for_more(300)
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


def test_run_waits_for_a_topic_deleted_under_it(site: StartSite, away_kafka: Kafka) -> None:
    """Readings published while the topic is missing wait, `/readyz` names the topic, and they arrive in order."""
    here = site(spool=ON_DISK_SOON)
    here.gateway.start()
    here.device.publish(100)
    here.gateway.wait_settled(100)
    away_kafka.delete_topic(here.topic())
    here.device.promised.clear()  # Kafka deleted what it had
    here.device.publish(200)
    wait_for(lambda: here.gateway.states()["kafka"]["state"] == "topic_missing", 60, "the missing topic to be named")
    here.wait_for("gateway_spooled", 200)
    away_kafka.create_topic(here.topic(), 3)
    verdict = here.verdict(is_exact=False)
    assert verdict.is_clean, verdict


def test_run_keeps_dead_letters_while_their_topic_is_missing(site: StartSite, away_kafka: Kafka) -> None:
    """More dead letters wait than memory holds: good readings pass them, and none is lost, also after `kill -9`."""
    here = site(spool={"after": "100ms", "memory": "256KiB"})
    here.gateway.start()
    here.device.publish(10)
    here.gateway.wait_settled(10)
    away_kafka.delete_topic(here.topic(LETTERS))
    wait_for(lambda: here.gateway.states()["kafka"]["state"] == "topic_missing", 60, "the missing topic to be named")
    for _ in range(10):
        here.device.publish(200)
        publish_bad(here.broker.port, 200)
    here.wait_for("gateway_delivered_total", 2_010, 60)
    here.wait_for("gateway_spooled", 2_000)
    assert here.gateway.metric("gateway_spool_memory_bytes") < 2 * 2**18
    assert here.gateway.metric("gateway_dropped_total") == 0
    here.gateway.kill()
    here.gateway.start(ready=False)
    here.gateway.wait_subscribed()
    here.device.publish(100)
    publish_bad(here.broker.port, 1_000)
    here.wait_for("gateway_spooled", 3_000)
    away_kafka.create_topic(here.topic(LETTERS), 3)
    wait_for(lambda: here.count(LETTERS) >= 3_000, 60, lambda: f"all dead letters: {here.count(LETTERS)}")
    verdict = here.verdict(is_exact=False)
    assert verdict.is_clean, verdict
    assert here.count(LETTERS) == 3_000, "the good ones may come twice: the kill fell before their rows were deleted"


def test_run_keeps_good_and_bad_readings_apart_through_an_outage_beyond_memory(
    site: StartSite, away_kafka: Kafka
) -> None:
    """All topics are missing and memory is full: each good reading and each dead letter arrives once."""
    here = site(spool={"after": "100ms", "memory": "256KiB"})
    here.gateway.start()
    here.device.publish(10)
    here.gateway.wait_settled(10)
    for name in (here.topic(), here.topic(LETTERS)):
        away_kafka.delete_topic(name)
    here.device.promised.clear()  # Kafka deleted what it had
    wait_for(lambda: here.gateway.states()["kafka"]["state"] == "topic_missing", 60, "the missing topics to be named")
    for _ in range(100):
        here.device.publish(15)
        publish_bad(here.broker.port, 15)
    here.wait_for("gateway_spooled", 3_000)
    for name in (here.topic(), here.topic(LETTERS)):
        away_kafka.create_topic(name, 3)
    wait_for(lambda: here.count(LETTERS) >= 1_500, 60, lambda: f"all dead letters: {here.count(LETTERS)}")
    verdict = here.verdict(is_exact=False)
    assert verdict.is_clean, verdict
    assert (here.count(LETTERS), verdict.duplicates) == (1_500, 0), verdict


def test_run_makes_a_dead_letter_of_what_the_topic_refuses(site: StartSite) -> None:
    """A record above the topic's own limit is a dead letter with the reason; the records around it arrive."""
    here = site(topic_settings={"max.message.bytes": "3000"})
    here.gateway.start()
    here.device.publish(50)
    # Random digits: what compresses well would fit.
    noise = "".join(f"{number * 2654435761 % 2**32:08x}" for number in range(2_000))
    with Publisher(here.broker.port) as publisher:
        publisher.publish([("factory/machine-0/s", b'{"value":1,"units":"%s"}' % noise.encode())])
    here.device.publish(50)
    verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert (verdict.records, verdict.duplicates) == (100, 0), verdict
    assert here.count(LETTERS) == 1


def test_run_holds_readings_while_kafka_denies_it(site: StartSite, away_kafka: Kafka) -> None:
    """A wrong password is named and tried a few times a minute; once it is right, no reading is missing."""
    here = site(spool=ON_DISK_SOON)
    right = here.gateway.settings_file.read_text()
    login = '"sasl": {"mechanism": "SCRAM-SHA-512", "username": "gateway", "password_file": "password"}'
    listener = away_kafka.servers("SASL_PLAINTEXT")
    here.gateway.settings_file.write_text(
        right.replace(f'"host": "{away_kafka.bootstrap}"', f'"host": "{listener}", {login}')
    )
    password = here.gateway.folder / "password"
    password.touch(0o600)
    password.write_text("wrong")
    here.gateway.start(ready=False)
    here.gateway.wait_subscribed()
    here.device.publish(300)
    here.wait_for("gateway_spooled", 300)
    told = "user name or password rejected"
    wait_for(lambda: told in here.gateway.states()["kafka"]["detail"], 60, "the reason in /readyz")
    here.terminate()
    password.write_text("secret")
    here.gateway.start()
    verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


def test_run_outlives_a_leader_and_too_few_replicas(site: StartSite, kafka_cluster: StartKafka) -> None:
    """The leader is killed, then the topic has too few replicas: no reading is lost or out of order."""
    cluster = kafka_cluster(nodes=3)
    here = site(kafka=cluster, topic_settings={"min.insync.replicas": "2"}, spool=ON_DISK_SOON, rate=300)
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(100)
        leader = cluster.leader(here.topic())
        cluster.kill(leader)
        here.wait_for("gateway_delivered_total", len(here.device.promised) + 100)
        _require_replicas(cluster, here.topic(), 3)
        here.wait_for("gateway_spooled", 200)
        cluster.start_node(leader)
        here.device.wait_for_more(100)
        verdict = here.verdict()
    assert verdict.is_clean, verdict


def _require_replicas(cluster: Kafka, topic: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    entry = ConfigEntry("min.insync.replicas", str(count), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)
