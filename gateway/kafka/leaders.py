"""The leaders of partitions: whether each answers at the address that Kafka advertises.

Metadata comes from any broker, also over an address that only leads into the cluster. Records go to the leader of their
partition, at the address that its broker advertises (`advertised.listeners`). This machine may not know or reach that.

Each leader is asked once, for an offset, by a client of its own, with TLS and login; and again after the producer has
reported an error of its address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_INVALID, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library does not declare what it exports
    AdminClient,
    OffsetSpec,
)

from gateway.kafka.errors import ADVERTISED, ADVERTISED_FIX, ClientErrors
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # as above
        ClusterMetadata,
        PartitionMetadata,
    )


class Leaders:
    """Remembers which leaders have answered. Any thread may call it."""

    def __init__(self) -> None:
        self._answered: set[str] = set()  # host:port

    def note_error(self, text: str) -> None:
        """Forget that a leader has answered, if an error of the producer is about its address."""
        if broker := ADVERTISED.match(text):
            self._answered.discard(broker[1])

    def unreachable(
        self, properties: Mapping[str, Any], metadata: ClusterMetadata, names: Iterable[str], timeout_seconds: float
    ) -> str:
        """Say which leader of topics cannot be reached, why, and the fix; empty if all have answered. It blocks."""
        unknown: dict[str, TopicPartition] = {}  # by address; one partition each
        for name, partition in _partitions(metadata, names):
            broker = metadata.brokers.get(partition.leader)
            if broker is None:
                return printable(f"partition {partition.id} of {name} has no leader; start the missing Kafka brokers")
            if (address := f"{broker.host}:{broker.port}") not in self._answered:
                unknown[address] = TopicPartition(name, partition.id)
        return self._ask(properties, unknown, timeout_seconds) if unknown else ""

    def _ask(self, properties: Mapping[str, Any], leaders: Mapping[str, TopicPartition], timeout_seconds: float) -> str:
        errors = ClientErrors(properties)
        admin, latest = AdminClient(errors.properties), OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library does not type it
        answers = {
            address: admin.list_offsets({place: latest}, request_timeout=timeout_seconds)[place]
            for address, place in leaders.items()
        }
        silent = [address for address, answer in answers.items() if not _has_come(answer, 2 * timeout_seconds)]
        self._answered.update(answers.keys() - set(silent))
        if not silent:
            return ""
        unexplained = f"Kafka at {silent[0]}: no answer within {timeout_seconds:g} s; {ADVERTISED_FIX}"
        return printable(errors.first(admin) or unexplained)


def _partitions(metadata: ClusterMetadata, names: Iterable[str]) -> Iterator[tuple[str, PartitionMetadata]]:
    for name in names:
        if topic := metadata.topics.get(name):
            yield from ((name, partition) for partition in topic.partitions.values())


def _has_come(answer: Any, timeout_seconds: float) -> bool:
    """Wait for an answer; an error that the broker sent is one too, an invalid offset is none."""
    try:
        return bool(answer.result(timeout_seconds).offset != OFFSET_INVALID)
    except KafkaException as error:
        return bool(error.args[0].code() >= 0)
