"""Reading a topic back as it is: key, bytes, headers, place and time of every record, nothing decoded.

No consumer group: every read starts at the beginning and leaves no trace, so tests can read as often as they like.
Records of one partition come in its order; between partitions there is none.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping


OF_NEW_PARTITIONS = {  # what is answered until the brokers know all of a new partition; the client asks again
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - librdkafka's own name
}


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as Kafka keeps it.

    Args:
        key: or None.
        value: or None for a tombstone.
        headers: in the record's order.
        partition: number of the partition.
        offset: in the partition.
        timestamp: milliseconds since 1970 UTC.
    """

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    partition: int
    offset: int
    timestamp: int


def records(
    bootstrap: str, topic: str, count: int, seconds: float = 30, settings: Mapping[str, object] | None = None
) -> list[StoredRecord]:
    """Read the first records of a topic.

    Args:
        bootstrap: servers, comma-separated.
        topic: its name.
        count: how many; more may be there.
        seconds: how long to wait for them.
        settings: more consumer settings, as TLS or `isolation.level`.

    Returns:
        Exactly `count` records.

    Raises:
        AssertionError: they do not come in time.
    """
    consumer = _consumer(bootstrap, settings)
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in _partitions(consumer, topic)])
        return _consume(consumer, topic, count, time.monotonic() + seconds)
    finally:
        consumer.close()


def record_count(bootstrap: str, topic: str, settings: Mapping[str, object] | None = None) -> int:
    """Count what lies between the first and the last offset of all partitions: "and nothing else is there"."""
    consumer = _consumer(bootstrap, settings)
    try:
        marks = (_watermarks(consumer, TopicPartition(topic, number)) for number in _partitions(consumer, topic))
        return sum(high - low for low, high in marks)
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Ask for a partition's first and next offset, again while it is so new that it has no leader that knows of it."""

    def told() -> tuple[int, int] | None:
        try:
            return consumer.get_watermark_offsets(place, timeout=10)
        except KafkaException as error:
            if error.args[0].code() not in OF_NEW_PARTITIONS:
                raise
            return None

    return wait_for(told, 10, f"a leader that knows of {place}") or (0, 0)


def _consumer(bootstrap: str, settings: Mapping[str, object] | None) -> Consumer:
    own = {"bootstrap.servers": bootstrap, "group.id": "tests", "enable.auto.commit": False, "log_level": 3}
    return Consumer(own | dict(settings or {}))


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    metadata = consumer.list_topics(topic, timeout=10).topics[topic]
    assert metadata.error is None, f"topic {topic}: {metadata.error}"
    return sorted(metadata.partitions)


def _consume(consumer: Consumer, topic: str, count: int, deadline: float) -> list[StoredRecord]:
    found: list[StoredRecord] = []
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records of topic {topic} came in time"
        messages = consumer.consume(min(count - len(found), 10_000), timeout=0.2)
        found += [_stored(message) for message in messages if not _is_of_new_partition(message.error())]
    return found


def _is_of_new_partition(error: KafkaError | None) -> bool:
    return error is not None and error.code() in OF_NEW_PARTITIONS


def _stored(message: Message) -> StoredRecord:
    if message.error():
        raise KafkaException(message.error())
    # The library's types know a message before it is sent, too: one that was read has all of these.
    _, timestamp = message.timestamp()
    partition, offset = cast("tuple[int, int]", (message.partition(), message.offset()))
    headers = cast("list[tuple[str, bytes]]", message.headers() or [])
    return StoredRecord(message.key(), message.value(), headers, partition, offset, timestamp)
