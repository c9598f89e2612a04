"""A consumer of whole topics, without a consumer group and without committed offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from gateway.documents.spelling import nearest
from gateway.errors import GatewayError
from gateway.kafka.errors import OF_NO_GROUP, ClientErrors, sentence
from gateway.text import printable, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from confluent_kafka import Message

Start = Literal["beginning", "end"]

METADATA_SECONDS = 10.0
MAXIMUM_NAMES = 20  # of topics that a message lists
OWN_PROPERTIES = {
    "group.id": "gateway-tail",  # required by the client; nothing is committed
    "enable.auto.commit": False,
    "allow.auto.create.topics": False,
}
TRANSIENT = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._PARTITION_EOF, OF_NO_GROUP}  # noqa: SLF001 - public names, odd spelling


class TopicConsumer:
    """Consumes all partitions of some topics, from the oldest records or new ones only; a context manager.

    `properties` are librdkafka's; `streams` are topics by stream, for suggestions. GatewayError when Kafka does not
    answer in time, or a topic does not exist.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topics: Sequence[str],
        start: Start,
        answer_seconds: float = METADATA_SECONDS,
        streams: Mapping[str, str] | None = None,
    ) -> None:
        self._errors = ClientErrors({**properties, **OWN_PROPERTIES})
        self._consumer = Consumer(self._errors.properties)
        self._answer_seconds = answer_seconds
        self._streams = dict(streams or {})
        offset = OFFSET_BEGINNING if start == "beginning" else OFFSET_END
        self._consumer.assign([TopicPartition(name, number, offset) for name, number in self._partitions(topics)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, timeout_seconds: float) -> Message | None:
        """Wait for the next record; None after the timeout. GatewayError when Kafka refuses, as without the right."""
        record = self._consumer.poll(timeout_seconds)
        if record is None:
            return None
        if (error := record.error()) is None:
            return record
        if error.code() in TRANSIENT:
            return None
        raise GatewayError(*sentences(printable(f"Kafka reports an error: {sentence(error, record.topic() or '')}")))

    def _similar(self, name: str) -> str:
        """Suggest a topic for a name that none has; the name may be a stream's."""
        topics = {one: one for one in self._consumer.list_topics(timeout=self._answer_seconds).topics}
        known = {one: topic for one, topic in (self._streams | topics).items() if not one.startswith("__")}
        near = nearest(name, known)
        if near is None:
            names = ", ".join(sorted({*known.values()})[:MAXIMUM_NAMES])
            return f"Its topics are {names}." if names else "It has no topics."
        return f"Did you mean {known[near]!r}?" + (f" It is the topic of {near!r}." if near in self._streams else "")

    def _partitions(self, topics: Sequence[str]) -> Iterator[tuple[str, int]]:
        for name in topics:
            try:
                metadata = self._consumer.list_topics(name, self._answer_seconds).topics[name]
            except KafkaException as error:
                raise self._errors.no_answer(self._consumer, error.args[0].str()) from None
            if metadata.error is not None or not metadata.partitions:
                raise GatewayError(f"Kafka has no topic {printable(name)}.", self._similar(name))
            yield from ((name, number) for number in metadata.partitions)
