"""The partitions of a topic's last records, against the two common ways to choose a partition from a key.

Java's producers, Kafka Streams, ksqlDB and this gateway hash with murmur2. librdkafka's default, which many clients in
other languages keep, hashes with CRC-32 (`consistent_random`). Two producers that differ write one key to two
partitions, which breaks its order and every join without an error. The gateway's own records always agree, so a record
that does not is another producer's, or older than the topic's present number of partitions.
"""

from __future__ import annotations

import time
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from gateway.kafka.partitions import Partitions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Message

    from gateway.kafka.partitions import Span

SAMPLE = 500  # records per topic
READ_SECONDS = 15.0


class Sample(NamedTuple):
    """What the last records of a topic show."""

    partitions: int  # of the topic
    keyed: int  # records with a key
    murmur2: int  # how many of these are in the partition that Java's producers choose
    crc32: int  # how many are in the partition that librdkafka chooses by default


def sample(properties: Mapping[str, Any], topic: str) -> Sample:
    """Compare the last records of an existing topic with both partitioners."""
    partitions = Partitions(properties)
    spans = partitions.spans([topic])
    records = [(record.key(), record.partition()) for record in _last(partitions, spans)]
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


def _last(partitions: Partitions, spans: list[Span]) -> Iterator[Message]:
    """Yield the last records of all partitions, as far as they arrive in time: the sample may be incomplete."""
    each, deadline = max(1, SAMPLE // len(spans)), time.monotonic() + READ_SECONDS
    last = [span._replace(first=max(span.first, span.until - each)) for span in spans]
    yield from takewhile(lambda _record: time.monotonic() < deadline, partitions.records(*last))
