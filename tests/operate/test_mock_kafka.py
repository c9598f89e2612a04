"""The mock cluster: enough of Kafka for a demo, and for faults on order."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.stack.mock_kafka import PRODUCE, MockCluster
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_ENOUGH_REPLICAS = 19
MESSAGE_TOO_LARGE = 10


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Start a mock cluster with a topic `readings` of three partitions."""
    with MockCluster({"readings": 3}) as started:
        yield started


def producer(cluster: MockCluster, **properties: Any) -> Producer:
    return Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0, "reconnect.backoff.max.ms": 100}
        | properties
    )


def send(client: Producer, values: list[bytes]) -> list[KafkaError | None]:
    """Produce, and give the delivery reports."""
    reports: list[KafkaError | None] = []
    for value in values:
        client.produce("readings", value, on_delivery=lambda error, _record: reports.append(error))
    wait_for(lambda: client.poll(0.05) is None or len(reports) == len(values), 60, "delivery reports")
    return reports


def stored(cluster: MockCluster, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition("readings", partition, 0) for partition in range(3)])
    values: list[bytes] = []

    def take() -> bool:
        record = consumer.poll(0.1)
        if record is not None and not record.error():
            values.append(record.value() or b"")
        return len(values) >= count

    wait_for(take, 60, lambda: f"{count} records, {len(values)} are there")
    consumer.close()
    return values


def test_topics_have_the_partitions_asked_for(cluster: MockCluster) -> None:
    """A topic has the number of partitions it was made with."""
    cluster.create_topic("dead-letters", 1)
    topics = producer(cluster).list_topics(timeout=10).topics
    assert {name: len(topics[name].partitions) for name in topics} == {"readings": 3, "dead-letters": 1}


def test_create_topic_twice_is_refused(cluster: MockCluster) -> None:
    """A topic that is there is not made again."""
    with pytest.raises(RuntimeError, match="readings"):
        cluster.create_topic("readings", 3)


def test_records_are_kept_and_read(cluster: MockCluster) -> None:
    """What an idempotent producer delivers, a consumer reads."""
    values = [b"%d" % number for number in range(100)]
    assert send(producer(cluster, **{"enable.idempotence": True}), values) == [None] * 100
    assert sorted(stored(cluster, 100)) == sorted(values)


def test_another_process_reaches_it(cluster: MockCluster) -> None:
    """The cluster is there for other processes, on loopback."""
    assert cluster.bootstrap.startswith("127.0.0.1:")
    program = (
        "import sys; from confluent_kafka import Producer\n"
        "client = Producer({'bootstrap.servers': sys.argv[1]})\n"
        "client.produce('readings', b'from a child')\n"
        "sys.exit(client.flush(20))\n"
    )
    subprocess.run([sys.executable, "-c", program, cluster.bootstrap], check=True)
    assert stored(cluster, 1) == [b"from a child"]


def test_down_holds_deliveries_until_up(cluster: MockCluster) -> None:
    """While the broker is down nothing is delivered; afterwards everything is."""
    client = producer(cluster)
    assert send(client, [b"before"]) == [None]
    cluster.down()
    reports: list[KafkaError | None] = []
    client.produce("readings", b"meanwhile", on_delivery=lambda error, _record: reports.append(error))
    assert client.flush(0.5) == 1
    cluster.up()
    assert client.flush(20) == 0
    assert reports == [None]
    assert sorted(stored(cluster, 2)) == [b"before", b"meanwhile"]


def test_rtt_delays_answers(cluster: MockCluster) -> None:
    """With a round trip time of 300 ms a delivery takes at least that long."""
    client = producer(cluster)
    send(client, [b"warm"])
    cluster.rtt(300)
    started = time.monotonic()
    assert send(client, [b"slow"]) == [None]
    assert time.monotonic() - started >= 0.3


def test_push_errors_are_retried_or_reported(cluster: MockCluster) -> None:
    """A passing error is retried by the client; one that stays is in the delivery report."""
    client = producer(cluster)
    send(client, [b"warm"])
    cluster.push_errors(PRODUCE, [NOT_ENOUGH_REPLICAS])
    assert send(client, [b"retried"]) == [None]
    cluster.push_errors(PRODUCE, [MESSAGE_TOO_LARGE])
    (error,) = send(client, [b"refused"])
    assert error is not None
    assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_close_twice_does_nothing(cluster: MockCluster) -> None:
    """Closing again is no fault."""
    cluster.close()
    cluster.close()
