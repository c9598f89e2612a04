"""The partitions of a topic's last records, against the two common ways to choose a partition from a key.

Java's producers, Kafka Streams, ksqlDB and this gateway hash with murmur2. librdkafka's default, which many clients in
other languages keep, hashes with CRC-32 (`consistent_random`). Two producers that differ write one key to two
partitions, which breaks its order and every join without an error. The gateway's own records always agree, so a record
that does not is another producer's, or older than the topic's present number of partitions.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from confluent_kafka import Consumer, KafkaError, TopicPartition

from gateway.errors import GatewayError
from gateway.kafka.partitions import Partitions
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Message

    from gateway.kafka.partitions import Span

SAMPLE = 500  # records per topic
READ_SECONDS = 15.0
_OWN = {
    "group.id": "gateway-drift",  # required by the client; no offset is committed
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    "log_level": 0,
}


class Sample(NamedTuple):
    """What the last records of a topic show."""

    partitions: int  # of the topic
    keyed: int  # records with a key
    murmur2: int  # how many of these are in the partition that Java's producers choose
    crc32: int  # how many are in the partition that librdkafka chooses by default


def sample(properties: Mapping[str, Any], topic: str) -> Sample:
    """Compare the last records of an existing topic with both partitioners."""
    spans = Partitions(properties).spans([topic])
    records = [(record.key(), record.partition()) for record in _last(properties, spans)]
    keyed = [(key if isinstance(key, bytes) else str(key).encode(), at) for key, at in records if key]
    return Sample(
        len(spans),
        len(keyed),
        sum((murmur2(key) & 0x7FFFFFFF) % len(spans) == at for key, at in keyed),
        sum(crc32(key) % len(spans) == at for key, at in keyed),
    )


def murmur2(data: bytes) -> int:
    """Hash a key as Kafka's Java clients do, in 32 bits without sign."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        hashed = hashed * multiplier & mask ^ (word ^ word >> 24) * multiplier & mask
    if tail := data[whole:]:
        hashed = (hashed ^ int.from_bytes(tail, "little")) * multiplier & mask
    hashed = (hashed ^ hashed >> 13) * multiplier & mask
    return hashed ^ hashed >> 15


def _last(properties: Mapping[str, Any], spans: list[Span]) -> Iterator[Message]:
    """Yield the last records of all partitions, as far as they arrive in time: the sample may be incomplete."""
    each = max(1, SAMPLE // len(spans))
    unread = {one.partition: one for one in spans if one.first < one.until}
    if not unread:
        return
    consumer = Consumer({**properties, **_OWN})
    try:
        starts = (max(one.first, one.until - each) for one in unread.values())
        places = zip(unread.values(), starts, strict=True)
        consumer.assign([TopicPartition(one.topic, one.partition, start) for one, start in places])
        until = time.monotonic() + READ_SECONDS
        while unread and time.monotonic() < until:
            if (record := consumer.poll(0.2)) is None:
                continue
            if (error := record.error()) is None:
                yield record
            if _is_end(record, error, unread):
                unread.pop(record.partition() or 0, None)
    finally:
        consumer.close()


def _is_end(record: Message, error: KafkaError | None, unread: Mapping[int, Span]) -> bool:
    """Tell whether a partition ended; raise what is neither a record nor an end."""
    if error is None:
        span = unread.get(record.partition() or 0)
        return span is not None and (record.offset() or 0) >= span.until - 1
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public name, oddly spelt
        return True
    if error.code() in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}:  # noqa: SLF001 - as above
        return False
    raise GatewayError(f"Kafka reports: {printable(error.str())}.", "Check this user's rights on the topic.")
