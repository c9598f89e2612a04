"""The leaders of partitions, at real Kafka brokers that advertise addresses nobody reaches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from gateway.kafka.leaders import Leaders
from gateway.kafka.sink import KafkaSink
from tests.stack.gateway import Gateway
from tests.stack.kafka import Kafka
from tests.stack.ports import HeldPort
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import NewTopic
    from tests.stack.certificates import Certificates

STREAMS = ("machine-sensors", "door-sensors", "widget-readings", "smart-meter", "gateway-dead-letters")
CLOSED = HeldPort()
UNKNOWN = "kafka.internal.invalid:9092"


@pytest.fixture(scope="module")
def strange(certificates: Certificates) -> Iterator[Kafka]:
    """Start a Kafka whose listeners advertise a closed port and an unknown name; topics make themselves."""
    advertised = f"PLAINTEXT://{CLOSED},SSL://{CLOSED},OPEN_SSL://{UNKNOWN}"
    settings = {"advertised.listeners": advertised, "auto.create.topics.enable": "true"}
    with Kafka(certificates=certificates, settings=settings) as cluster:
        yield cluster


def make(cluster: Kafka, name: str) -> None:
    """Let the bootstrap broker make a topic: no request of an administrator gets through."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "allow.auto.create.topics": True, "log_level": 0})
    wait_for(lambda: producer.list_topics(name, timeout=5).topics[name].partitions, 30, f"topic {name}")


def said_of(sink: KafkaSink, topic: str) -> str:
    """What the sink says of a topic's leader, or its missing topics; metadata may be late on a loaded machine."""

    def said() -> str:
        try:
            return f"missing: {sink.missing_topics({topic}, 2)}"
        except ConnectionError as error:
            return "" if "metadata" in str(error) else str(error)

    return wait_for(said, 60, f"an answer about {topic}")


def test_a_leader_at_a_closed_port_is_named(strange: Kafka) -> None:
    make(strange, "doors")
    sink = KafkaSink({"bootstrap.servers": strange.bootstrap})
    assert re.search(f"{CLOSED}: connection refused; .*advertised.listeners", said_of(sink, "doors"))
    assert said_of(sink, "windows") == "missing: {'windows'}"
    sink.close(0.1)


def test_a_leader_whose_name_does_not_resolve_is_named(strange: Kafka, certificates: Certificates) -> None:
    """Over TLS."""
    make(strange, "doors")
    tls = {"security.protocol": "SSL", "ssl.ca.location": str(certificates.ca)}
    sink = KafkaSink({"bootstrap.servers": strange.servers("OPEN_SSL"), **tls})
    assert re.search(f"{UNKNOWN}: its name cannot be resolved.*advertised.listeners", said_of(sink, "doors"))
    sink.close(0.1)


def test_run_is_not_ready_before_a_leader_answers(strange: Kafka) -> None:
    """The bootstrap address answers, and that is not enough."""
    for name in STREAMS:
        make(strange, name)
    peers = {name: {"host": "127.0.0.1:1"} for name in ("factoryBroker", "meterBroker")}
    kafka = {"host": strange.bootstrap, "registry": {"url": "http://127.0.0.1:9"}}
    with Gateway({**peers, "kafka": kafka}) as gateway:
        gateway.start(ready=False)
        seen = set[str]()
        wait_for(
            lambda: seen.add(gateway.states()["kafka"]["state"]) or "unreachable" in seen,  # type: ignore[func-returns-value]  # it notes and looks
            30,
            lambda: str(gateway.states()),
        )
        assert "ok" not in seen
        detail = gateway.states()["kafka"]["detail"]
    assert str(CLOSED) in detail
    assert "advertised.listeners" in detail


def test_a_leader_is_asked_once_and_again_after_an_error(kafka: Kafka, topic: NewTopic) -> None:
    name = topic("doors")
    metadata = Producer({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10)
    leaders, elsewhere = Leaders(), {"bootstrap.servers": str(CLOSED)}
    assert leaders.unreachable({"bootstrap.servers": kafka.bootstrap}, metadata, [name], 10) == ""
    assert leaders.unreachable(elsewhere, metadata, [name], 0.5) == ""
    leaders.note_error(f"{kafka.bootstrap}/bootstrap: Connect failed")
    assert leaders.unreachable(elsewhere, metadata, [name], 0.5) == ""
    leaders.note_error(f"ssl://{kafka.bootstrap}/1: Connect failed")
    assert leaders.unreachable(elsewhere, metadata, [name], 0.5)
