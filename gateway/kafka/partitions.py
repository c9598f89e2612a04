"""Kafka's partitions as something with two ends: what they hold between two offsets, and then it is over.

`gateway.tail` follows a topic for ever; here reading ends at the offset that was the end when somebody looked. A record
at the end may be missing (compacted, or a transaction's mark), so Kafka's own "end of partition" ends it as well,
unless it names a lower offset: fewer records than were promised are an error after 30 s, never a short answer.
Reading leaves no trace: no group, no committed offsets.

One consumer a span, so that spans can be read side by side and merged: one consumer of several partitions gives them in
the order of its fetches, and merging would have to hold back whole partitions in memory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateway.errors import GatewayError
from gateway.kafka.errors import ClientErrors, no_answer
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

METADATA_SECONDS = 10.0
SILENCE_SECONDS = 30.0
_OWN = {
    "group.id": "gateway-dlq",  # the client wants one; nothing is committed under it
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",  # where retention, or a topic made anew, left nothing at the offset
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": 4_096,
    "log_level": 0,
}
_GOES_ON = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT}  # noqa: SLF001 - public names, odd spelling
_AT_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - as above


class Span(NamedTuple):
    """A part of a partition.

    Args:
        topic: the Kafka topic.
        partition: of the topic.
        first: offset of its first record.
        until: offset to stop before.
    """

    topic: str
    partition: int
    first: int
    until: int


class Partitions:
    """Reads bounded parts of topics.

    Args:
        properties: librdkafka's, with `bootstrap.servers`.
        answer_seconds: how long to wait for Kafka to say where a topic begins and ends.
    """

    def __init__(self, properties: Mapping[str, Any], answer_seconds: float = METADATA_SECONDS) -> None:
        self._properties = {**properties, **_OWN}
        self._wait = answer_seconds

    def spans(self, topics: Iterable[str], *, is_missing_fine: bool = False) -> list[Span]:
        """Look where the partitions of topics begin and end now.

        Args:
            topics: their names.
            is_missing_fine: True to pass over topics that are not there.

        Raises:
            GatewayError: when Kafka does not answer, or a topic is not there.
        """
        overheard = ClientErrors(self._properties)
        consumer = Consumer(overheard.properties)
        try:
            return [span for name in topics for span in self._spans(consumer, name, is_missing_fine=is_missing_fine)]
        except KafkaException as error:
            raise overheard.no_answer(consumer, error.args[0].str()) from None
        finally:
            consumer.close()

    def _spans(self, consumer: Consumer, topic: str, *, is_missing_fine: bool) -> Iterator[Span]:
        found = consumer.list_topics(topic, self._wait).topics[topic]
        if found.error is not None or not found.partitions:
            if is_missing_fine:
                return
            raise GatewayError(f"Kafka has no topic {printable(topic)}.", "Create it, as the contract's channel says.")
        for number in sorted(found.partitions):
            marks = consumer.get_watermark_offsets(TopicPartition(topic, number), self._wait)
            if marks is None:
                raise no_answer(f"it does not say where partition {number} of {topic} ends")
            yield Span(topic, number, *marks)

    def records(self, span: Span) -> Iterator[Message]:
        """Read the records of a span, oldest first.

        Raises:
            GatewayError: when Kafka refuses, or has been silent for 30 s.
        """
        if span.first >= span.until:
            return
        consumer = Consumer(self._properties)
        try:
            consumer.assign([TopicPartition(span.topic, span.partition, span.first)])
            yield from _until(consumer, span.until)
        finally:
            consumer.close()


def _until(consumer: Consumer, until: int) -> Iterator[Message]:
    heard_at = time.monotonic()
    while True:
        record = consumer.poll(1.0)
        if record is None or ((error := record.error()) is not None and error.code() in _GOES_ON):
            if time.monotonic() - heard_at > SILENCE_SECONDS:
                raise no_answer(f"nothing came for {SILENCE_SECONDS:g} s")
            continue
        if error is not None and error.code() != _AT_END:
            raise GatewayError(f"Kafka says: {printable(error.str())}.", "Check the rights of this user on the topic.")
        if _offset(record) >= until:
            return
        if error is not None:  # an end below the one we were told; what is missing is still to come
            continue
        yield record
        if _offset(record) == until - 1:
            return
        heard_at = time.monotonic()  # after the reader has had its time


def _offset(record: Message) -> int:
    offset = record.offset()
    assert offset is not None, "a record that was read has one"
    return offset
