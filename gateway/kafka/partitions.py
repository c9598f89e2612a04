"""Bounded reads of Kafka partitions: the records between two offsets.

`gateway tail` follows a topic; here reading ends at what was the end offset when it was looked up. A record at the end
may be missing (compacted, or a transaction marker), so Kafka's "end of partition" ends it as well, unless that names a
lower offset: fewer records than expected are an error after 30 s, never a short result. Reading leaves no trace: no
consumer group, no committed offsets.

Spans that are merged have a consumer each: one consumer of several partitions returns their records in the order of its
fetches, and merging would have to hold whole partitions in memory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateway.errors import GatewayError
from gateway.kafka.errors import OF_NO_GROUP, ClientErrors, no_answer
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

METADATA_SECONDS = 10.0
SILENCE_SECONDS = 30.0
_OWN = {
    "group.id": "gateway-dlq",  # the client requires one; nothing is committed under it
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",  # also of `spans`: the records of a transaction that is open are not there yet
    "auto.offset.reset": "earliest",  # where retention or a new topic of the same name left no record at the offset
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": 4_096,
    "log_level": 0,
}
_GOES_ON = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, OF_NO_GROUP}  # noqa: SLF001 - public names, odd spelling
_AT_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - as above


class Span(NamedTuple):
    """A part of a partition: the offsets from `first` to before `until`."""

    topic: str
    partition: int
    first: int
    until: int


class Partitions:
    """Reads bounded parts of topics; GatewayError when Kafka does not answer or refuses."""

    def __init__(self, properties: Mapping[str, Any], answer_seconds: float = METADATA_SECONDS) -> None:
        self._properties = {**properties, **_OWN}
        self._wait = answer_seconds

    def spans(self, topics: Iterable[str], *, is_missing_fine: bool = False) -> list[Span]:
        """Look up the first and the end offsets of all partitions of topics."""
        errors = ClientErrors(self._properties)
        consumer = Consumer(errors.properties)
        try:
            return [span for name in topics for span in self._spans(consumer, name, is_missing_fine=is_missing_fine)]
        except KafkaException as error:
            raise errors.no_answer(consumer, error.args[0].str()) from None
        finally:
            consumer.close()

    def _spans(self, consumer: Consumer, topic: str, *, is_missing_fine: bool) -> Iterator[Span]:
        metadata = consumer.list_topics(topic, self._wait).topics[topic]
        if metadata.error is not None or not metadata.partitions:
            if is_missing_fine:
                return
            raise GatewayError(f"Kafka has no topic {printable(topic)}.", "Create it: `gateway topics apply -c FILE`.")
        for number in sorted(metadata.partitions):
            offsets = consumer.get_watermark_offsets(TopicPartition(topic, number), self._wait)
            if offsets is None:
                raise no_answer(f"no offsets of partition {number} of {topic}")
            yield Span(topic, number, *offsets)

    def records(self, *spans: Span) -> Iterator[Message]:
        """Read the records of spans, each oldest first; GatewayError when none comes for 30 s."""
        spans = tuple(span for span in spans if span.first < span.until)
        if not spans:
            return
        consumer = Consumer(self._properties)
        try:
            consumer.assign([TopicPartition(span.topic, span.partition, span.first) for span in spans])
            yield from _until(consumer, {(span.topic, span.partition): span.until for span in spans})
        finally:
            consumer.close()


def _until(consumer: Consumer, ends: dict[tuple[str | None, int | None], int]) -> Iterator[Message]:
    last_record_at = time.monotonic()
    while ends:
        record = consumer.poll(1.0)
        if record is None or ((error := record.error()) is not None and error.code() in _GOES_ON):
            if time.monotonic() - last_record_at > SILENCE_SECONDS:
                raise no_answer(f"no record for {SILENCE_SECONDS:g} s")
            continue
        if error is not None and error.code() != _AT_END:
            raise GatewayError(f"Kafka reports: {printable(error.str())}.", "Check this user's rights on the topic.")
        place = record.topic(), record.partition()
        left = ends.get(place, 0) - _offset(record)
        if left > 0 and error is None:
            yield record
            last_record_at = time.monotonic()  # after the caller has processed it
        if left <= (error is None):  # the last record, or the end at or above `until`; a lower end means more to come
            ends.pop(place, None)


def _offset(record: Message) -> int:
    offset = record.offset()
    assert offset is not None, "a consumed record has an offset"
    return offset
