"""The state that transactions write, read back as a new process does."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC, read_state

if TYPE_CHECKING:
    from tests.conftest import FreePort
    from tests.stack.kafka import Kafka


@pytest.fixture
def prefix(kafka: Kafka) -> str:
    """Give a transactional id of the test's own; the topic is shared."""
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    return f"gateway-{uuid.uuid4().hex[:8]}"


def write(kafka: Kafka, prefix: str, *records: tuple[str, bytes | None], commits: bool = True) -> Producer:
    """Write records in a transaction of its own."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": f"{prefix}-{uuid.uuid4().hex}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for name, value in records:
        producer.produce(STATE_TOPIC, value, f"{prefix}/{name}", STATE_PARTITION)
    producer.flush(30)
    if commits:
        producer.commit_transaction(30)
    return producer


def test_read_state_gives_the_newest_committed_record_of_each_name(kafka: Kafka, prefix: str) -> None:
    """Not those of another gateway, of an aborted transaction, or that a tombstone has ended."""
    write(kafka, prefix, ("head", b"1"), ("a/1", b"old"), ("a/2", b"x"))
    write(kafka, f"{prefix}x", ("head", b"other"))
    write(kafka, prefix, ("head", b"2"), ("a/1", b"new"), ("a/2", None))
    write(kafka, prefix, ("head", b"3"), commits=False).abort_transaction(30)
    assert read_state({"bootstrap.servers": kafka.bootstrap}, (f"{prefix}/",)) == {
        f"{prefix}/head": b"2",
        f"{prefix}/a/1": b"new",
    }
    assert read_state({"bootstrap.servers": kafka.bootstrap}, (f"{prefix}y/",)) == {}


def test_read_state_waits_for_the_transactions_of_others(kafka: Kafka, prefix: str) -> None:
    """What was committed behind the beginning of an open transaction shows only when that one has ended."""
    other = write(kafka, f"{prefix}x", ("head", b"open"), commits=False)
    write(kafka, prefix, ("head", b"1"))
    with pytest.raises(ConnectionError, match="could not be read to its end"):
        read_state({"bootstrap.servers": kafka.bootstrap}, (f"{prefix}/",), 1.0)
    other.abort_transaction(30)
    assert read_state({"bootstrap.servers": kafka.bootstrap}, (f"{prefix}/",)) == {f"{prefix}/head": b"1"}


def test_read_state_says_why_kafka_cannot_be_reached(free_port: FreePort) -> None:
    with pytest.raises(ConnectionError, match=r"gateway-state|Kafka"):
        read_state({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, ("gateway/",), 0.5)
