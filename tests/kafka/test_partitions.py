"""Bounded reads of Kafka's partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from gateway.errors import GatewayError
from gateway.kafka.partitions import Partitions, Span

if TYPE_CHECKING:
    from tests.conftest import FreePort, NewTopic
    from tests.stack.kafka import Kafka


@pytest.fixture
def partitions(kafka: Kafka) -> Partitions:
    """Read from the shared Kafka."""
    return Partitions({"bootstrap.servers": kafka.bootstrap})


def produce(kafka: Kafka, topic: str, count: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(count):
        producer.produce(topic, b"%d" % number, partition=partition)
    assert producer.flush(30) == 0


def test_spans_are_the_offsets_of_every_partition(kafka: Kafka, topic: NewTopic, partitions: Partitions) -> None:
    name = topic("readings", 2)
    produce(kafka, name, 3, partition=1)
    assert partitions.spans([name]) == [Span(name, 0, 0, 0), Span(name, 1, 0, 3)]


def test_spans_of_a_missing_topic_are_an_error_unless_it_may_be_missing(
    topic: NewTopic, partitions: Partitions
) -> None:
    missing = f"{topic()}-not"
    assert partitions.spans([missing], is_missing_fine=True) == []
    with pytest.raises(GatewayError) as raised:
        partitions.spans([missing])
    assert str(raised.value) == f"Kafka has no topic {missing}. Create it: `gateway topics apply -c FILE`."


def test_spans_without_kafka_are_an_error_with_the_address(free_port: FreePort) -> None:
    port = free_port()
    with pytest.raises(GatewayError, match=f"Kafka does not answer: .*127.0.0.1:{port}"):
        Partitions({"bootstrap.servers": f"127.0.0.1:{port}"}, answer_seconds=1).spans(["readings"])


def test_records_are_those_of_the_span_and_no_later_ones(kafka: Kafka, topic: NewTopic, partitions: Partitions) -> None:
    name = topic("readings", 1)
    produce(kafka, name, 5)
    (span,) = partitions.spans([name])
    produce(kafka, name, 5)
    assert [record.value() for record in partitions.records(span)] == [b"0", b"1", b"2", b"3", b"4"]
    assert [record.value() for record in partitions.records(span._replace(first=2, until=4))] == [b"2", b"3"]
    assert not list(partitions.records(span._replace(first=5)))


def test_records_of_several_spans_are_read_together(kafka: Kafka, topic: NewTopic, partitions: Partitions) -> None:
    """Each is in order, and ends where it should while others go on."""
    name = topic("readings", 3)
    produce(kafka, name, 5)
    produce(kafka, name, 200, partition=1)
    spans = partitions.spans([name])
    produce(kafka, name, 5)
    assert [span.until for span in spans] == [5, 200, 0]
    read: dict[int | None, list[bytes | str | None]] = {0: [], 1: []}
    for record in partitions.records(spans[0], spans[1]._replace(first=100), spans[2]):
        read[record.partition()].append(record.value())
    assert read == {0: [b"%d" % number for number in range(5)], 1: [b"%d" % number for number in range(100, 200)]}


def test_records_and_spans_leave_out_transactions_that_are_not_committed(
    kafka: Kafka, topic: NewTopic, partitions: Partitions
) -> None:
    """A dead letter of an aborted transaction was never one, and one of an open transaction may come to be."""
    name = topic("letters", 1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    for value, end in ((b"lost", producer.abort_transaction), (b"kept", producer.commit_transaction), (b"open", None)):
        producer.begin_transaction()
        producer.produce(name, value)
        producer.flush(30)
        if end:
            end(30)
    (span,) = partitions.spans([name])
    assert span.until == 4, "two records and two marks of transactions"
    assert [record.value() for record in partitions.records(span)] == [b"kept"]
    producer.abort_transaction(30)
