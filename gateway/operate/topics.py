"""Kafka topics: what the contract wants, what the cluster has, and the steps from one to the other.

What this file decides:

- Only what the contract says counts. A setting that it does not name is the cluster's business, so is a topic.
- Nothing is deleted, and a topic never gets fewer partitions: Kafka cannot, and a new topic would lose its records.
- Two kinds of step have to be allowed by name, because they cannot be taken back. More partitions move keys to other
  partitions, so that the order of a key's records breaks once. Lowering retention, or cleaning up in a way more,
  deletes records; lowering the largest message or the in-sync replicas weakens what producers rely on.
- The number of replicas of a topic that is there is shown and left: moving data between brokers is a task of its own.
- Settings that begin with `confluent.` belong to one vendor's brokers; others refuse them, so they are passed over.
- Steps stand alone: one that Kafka refuses does not keep the others from being made.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library does not declare what it exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from gateway.core.model import Topic
from gateway.errors import GatewayError
from gateway.kafka.errors import ClientErrors, sentence
from gateway.operate.table import table
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.core.model import Contract

ANSWER_SECONDS = 15.0
BY_THE_CLUSTER = -1  # how Kafka is asked for its default number of partitions or replicas
HEADS = ("topic", "setting", "now", "contract", "apply")
VENDOR = "confluent."
UNLIMITED = -1
LOSES_WHEN_LOWERED = {  # with the value that means no limit
    "retention.ms": UNLIMITED,
    "retention.bytes": UNLIMITED,
    "delete.retention.ms": None,
    "max.message.bytes": None,
    "min.insync.replicas": None,
}
_SILENT = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - librdkafka's own names
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Grant this user DESCRIBE, DESCRIBE_CONFIGS, CREATE, ALTER and "
    "ALTER_CONFIGS on the topic, or let an administrator run this.",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Grant this user CREATE on the cluster, or let an administrator run this.",
    KafkaError.INVALID_REPLICATION_FACTOR: "Name fewer replicas in the contract's channel binding, or add brokers.",
    KafkaError.INVALID_CONFIG: "Correct topicConfiguration in the contract's channel binding.",
    KafkaError.POLICY_VIOLATION: "The cluster's own policy forbids it: ask who runs the cluster.",
}


class Need(Enum):
    """What a change waits for."""

    NOTHING = "yes"
    MORE_PARTITIONS = "with --allow-more-partitions: keys move to other partitions, and their order breaks once"
    LOWERING = "with --allow-lowering: it may delete records or weaken what clients rely on"
    HAND = "by hand: kafka-reassign-partitions moves replicas"
    FEWER_PARTITIONS = "never: Kafka cannot take partitions away"


class Change(NamedTuple):
    """One difference between the cluster and the contract.

    Args:
        topic: as the contract wants it.
        setting: `topic` when it is missing, `partitions`, `replicas`, or a setting's name.
        now: what the cluster has; empty when it has nothing.
        wanted: what the contract says.
        need: what it waits for.
    """

    topic: Topic
    setting: str
    now: str
    wanted: str
    need: Need

    def __str__(self) -> str:
        """One change in short."""
        return printable(f"{self.topic.name} {self.setting}: {self.now or 'missing'} -> {self.wanted}")


class Plan(NamedTuple):
    """The differences, and what was passed over.

    Args:
        changes: in the order of the contract.
        notes: sentences.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def as_text(self) -> str:
        """A table for people."""
        rows = [(one.topic.name, one.setting, one.now or "missing", one.wanted, one.need.value) for one in self.changes]
        return "\n".join([table(HEADS, rows) if rows else "The cluster is as the contract says.", *self.notes])

    def as_json(self) -> dict[str, Any]:
        """As data."""
        changes = [
            {"topic": one.topic.name, "setting": one.setting, "now": one.now or None, "wanted": one.wanted,
             "need": one.need.name.lower()}
            for one in self.changes
        ]  # fmt: skip
        return {"changes": changes, "notes": list(self.notes)}

    def split(self, *, more_partitions: bool, lowering: bool) -> tuple[list[Change], list[Change]]:
        """Tell the changes that may be made from those that are left.

        Args:
            more_partitions: adding partitions is allowed.
            lowering: lowering settings is allowed.
        """
        allowed = {Need.NOTHING, *[Need.MORE_PARTITIONS] * more_partitions, *[Need.LOWERING] * lowering}
        may = [one for one in self.changes if one.need in allowed]
        return may, [one for one in self.changes if one.need not in allowed]


class Cluster:
    """A Kafka cluster, asked and changed as an administrator does.

    Args:
        properties: librdkafka's, with `bootstrap.servers`.
        answer_seconds: how long to wait for an answer.
    """

    def __init__(self, properties: Mapping[str, Any], answer_seconds: float = ANSWER_SECONDS) -> None:
        self._wait = answer_seconds
        self._overheard = ClientErrors(properties)
        self._admin = AdminClient(self._overheard.properties)

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Look topics up.

        Args:
            names: of the topics.

        Returns:
            Those that are there, with all their settings.

        Raises:
            GatewayError: when Kafka does not answer or does not show one of them.
        """
        settings = {name: found for name in names if (found := self._settings(name)) is not None}
        metadata = self._metadata() if settings else {}
        return {
            name: Topic(name, len(metadata[name]), min(map(len, metadata[name])), found)
            for name, found in settings.items()
            if name in metadata
        }

    def make(self, change: Change) -> None:
        """Make one change.

        Raises:
            GatewayError: when Kafka refuses it or does not answer.
        """
        try:
            self._request(change).result(2 * self._wait)
        except KafkaException as error:
            raise self._refused(error, change.topic.name) from None

    def _request(self, change: Change) -> Any:
        name, admin, wait = change.topic.name, self._admin, self._wait
        if change.setting == "topic":
            return admin.create_topics([_new(change.topic)], operation_timeout=wait, request_timeout=wait)[name]
        if change.setting == "partitions":
            more = NewPartitions(name, int(change.wanted))
            return admin.create_partitions([more], operation_timeout=wait, request_timeout=wait)[name]
        entry = ConfigEntry(change.setting, change.wanted, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        return admin.incremental_alter_configs([resource], request_timeout=wait)[resource]

    def _settings(self, name: str) -> dict[str, str] | None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        try:
            asked = self._admin.describe_configs([resource], request_timeout=self._wait)[resource]
            return {key: str(entry.value) for key, entry in asked.result(2 * self._wait).items()}
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise self._refused(error, name) from None

    def _metadata(self) -> dict[str, list[list[int]]]:
        """Replicas by partition by topic; asking for all topics creates none by accident."""
        try:
            topics = self._admin.list_topics(timeout=self._wait).topics
        except KafkaException as error:
            raise self._refused(error, "") from None
        return {name: [one.replicas for one in topic.partitions.values()] for name, topic in topics.items()}

    def _refused(self, error: KafkaException, topic: str) -> GatewayError:
        told: KafkaError = error.args[0]
        if told.code() in _SILENT:
            return self._overheard.no_answer(self._admin)
        if told.code() in _RIGHTS:
            place = f"{topic}: " if topic else ""
            return GatewayError(printable(f"{place}Kafka says: {told.str().rstrip('.')}."), _RIGHTS[told.code()])
        return GatewayError(printable(f"Kafka says: {sentence(told, topic)}."))


def wanted(contract: Contract) -> dict[str, Topic]:
    """Name the topics of a contract: those of its streams, and those of their dead letters."""
    routes = (route for stream in contract.streams.values() for route in (*stream.routes, stream.dead_letters))
    return {route.topic.name: route.topic for route in routes}


def plan(topics: Mapping[str, Topic], cluster: Cluster) -> Plan:
    """Compare a cluster with the topics that are wanted.

    Raises:
        GatewayError: when Kafka does not answer or does not show a topic.
    """
    there = cluster.topics(list(topics))
    changes = (change for topic in topics.values() for change in _changes(topic, there.get(topic.name)))
    notes = (
        f"{topic.name}: {key} is passed over: only one vendor's brokers know it."
        for topic in topics.values()
        for key in topic.configuration
        if key.startswith(VENDOR)
    )
    return Plan(tuple(changes), tuple(map(printable, notes)))


def described(topic: Topic) -> str:
    """Tell what the contract says of a topic, in short."""
    counts = {"partitions": topic.partitions, "replicas": topic.replicas}
    facts = {name: count for name, count in counts.items() if count} | _settings(topic)
    return ", ".join(f"{name}={value}" for name, value in facts.items()) or "as the cluster makes topics"


def carry_out(changes: Sequence[Change], cluster: Cluster) -> Iterator[tuple[Change, GatewayError | None]]:
    """Make changes one by one, each with Kafka's refusal or None."""
    for change in changes:
        try:
            cluster.make(change)
        except GatewayError as error:
            yield change, error
        else:
            yield change, None


def _changes(wanted: Topic, there: Topic | None) -> Iterator[Change]:
    if there is None:
        yield Change(wanted, "topic", "", described(wanted), Need.NOTHING)
        return
    if wanted.partitions and there.partitions and wanted.partitions != there.partitions:
        need = Need.MORE_PARTITIONS if wanted.partitions > there.partitions else Need.FEWER_PARTITIONS
        yield Change(wanted, "partitions", str(there.partitions), str(wanted.partitions), need)
    if wanted.replicas and wanted.replicas != there.replicas:
        yield Change(wanted, "replicas", str(there.replicas), str(wanted.replicas), Need.HAND)
    for key, value in _settings(wanted).items():
        now = there.configuration.get(key, "")
        if not _is_same(key, now, value):
            need = Need.LOWERING if now and _loses(key, now, value) else Need.NOTHING
            yield Change(wanted, key, now, value, need)


def _settings(topic: Topic) -> dict[str, str]:
    return {key: value for key, value in topic.configuration.items() if not key.startswith(VENDOR)}


def _is_same(key: str, now: str, wanted: str) -> bool:
    return _policies(now) == _policies(wanted) if key == "cleanup.policy" else now == wanted


def _loses(key: str, now: str, wanted: str) -> bool:
    """Whether a change may delete records, or take away what clients rely on."""
    if key == "cleanup.policy":
        return not _policies(wanted) <= _policies(now)
    if key not in LOSES_WHEN_LOWERED:
        return False
    unlimited = LOSES_WHEN_LOWERED[key]
    try:
        before, after = (float("inf") if int(text) == unlimited else int(text) for text in (now, wanted))
    except ValueError:  # no number: Kafka will say so
        return False
    return after < before


def _policies(text: str) -> set[str]:
    return {one.strip() for one in text.split(",") if one.strip()}


def _new(topic: Topic) -> NewTopic:
    return NewTopic(
        topic.name, topic.partitions or BY_THE_CLUSTER, topic.replicas or BY_THE_CLUSTER, config=_settings(topic)
    )
