"""Kafka topics: what the contract says, what the cluster has, and the changes from one to the other.

- Only topics and settings that the contract names are compared and changed.
- Nothing is deleted, and a topic never gets fewer partitions: Kafka cannot, and a new topic would lose its records.
- Two kinds of change need an option of their own, because they cannot be undone. More partitions move keys to other
  partitions, so that the order of a key's records breaks once. Lowering retention, or adding a cleanup policy, deletes
  records; lowering the largest message or the in-sync replicas weakens guarantees that clients rely on.
- The number of replicas of an existing topic is shown but not changed: moving data between brokers is a separate task.
- Settings that begin with `confluent.` belong to one vendor's brokers; others refuse them, so they are skipped.
- Changes are independent: one that Kafka refuses does not stop the others.
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
from gateway.errors import Finding, GatewayError
from gateway.kafka.errors import ClientErrors, sentence
from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from gateway.kafka.topic_settings import describe
from gateway.operate.table import table
from gateway.text import printable, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.core.model import Contract

ANSWER_SECONDS = 15.0
CLUSTER_DEFAULT = -1  # of partitions or replicas, in a request to create a topic
HEADS = ("topic", "setting", "now", "contract", "apply")
MISSING = "missing"
VENDOR = "confluent."
UNLIMITED = -1
UNSAFE_TO_LOWER = {  # with the value that means no limit
    "retention.ms": UNLIMITED,
    "retention.bytes": UNLIMITED,
    "delete.retention.ms": None,
    "max.message.bytes": None,
    "min.insync.replicas": None,
}
_UNREACHABLE = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - librdkafka's own names
_FIXES = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Grant this user DESCRIBE, DESCRIBE_CONFIGS, CREATE, ALTER and "
    "ALTER_CONFIGS on the topic, or let an administrator run this.",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Grant this user CREATE on the cluster, or let an administrator run this.",
    KafkaError.INVALID_REPLICATION_FACTOR: "Set fewer replicas in the contract's channel binding, or add brokers.",
    KafkaError.INVALID_CONFIG: "Correct topicConfiguration in the contract's channel binding.",
    KafkaError.POLICY_VIOLATION: "The cluster's own policy forbids it: ask its administrator.",
}


Hidden = dict[str, GatewayError]  # topics whose settings this user may not read, and why


class Need(Enum):
    """What it takes to make a change."""

    NOTHING = "Run `gateway topics apply -c FILE`."
    MORE_PARTITIONS = (
        "Run `gateway topics apply -c FILE --allow-more-partitions`: keys move, and their order breaks once."
    )
    LOWERING = "Run `gateway topics apply -c FILE --allow-lowering`: it may delete records or weaken guarantees."
    HAND = "Move replicas with kafka-reassign-partitions, or correct the contract."
    FEWER_PARTITIONS = "Correct the contract: Kafka cannot remove partitions."


class Change(NamedTuple):
    """One difference between the cluster and the contract."""

    topic: Topic  # as the contract describes it
    setting: str  # `topic` when it is missing, `partitions`, `replicas`, or a setting's name
    now: str  # empty when the cluster has nothing
    wanted: str
    need: Need

    def __str__(self) -> str:
        return printable(f"{self.topic.name} {self.setting}: {self.now or MISSING} -> {self.wanted}")

    @property
    def finding(self) -> Finding:
        """The difference, and how to remove it."""
        message = self.now or MISSING
        return Finding.at(self.topic.name, self.setting, "error", message, self.need.value, expected=self.wanted)


class Plan(NamedTuple):
    """All differences, in the order of the contract, and sentences about settings that were skipped."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def as_text(self) -> str:
        """A table for people."""
        differences = [change.finding for change in self.changes]
        rows = [(one.source, one.path, one.message, one.expected, one.fix) for one in differences]
        return "\n".join([table(HEADS, rows) if rows else "The cluster matches the contract.", *self.notes])

    def as_json(self) -> dict[str, Any]:
        """The differences as data."""
        changes = [
            {"topic": one.topic.name, "setting": one.setting, "now": one.now or None, "wanted": one.wanted,
             "need": one.need.name.lower()}
            for one in self.changes
        ]  # fmt: skip
        return {"changes": changes, "notes": list(self.notes)}

    def split(self, *, more_partitions: bool, lowering: bool) -> tuple[list[Change], list[Change]]:
        """Separate the changes that are allowed from the others."""
        needs = {Need.NOTHING, *[Need.MORE_PARTITIONS] * more_partitions, *[Need.LOWERING] * lowering}
        allowed = [one for one in self.changes if one.need in needs]
        return allowed, [one for one in self.changes if one.need not in needs]


class Cluster:
    """A Kafka cluster and its topics, through the admin client; GatewayError when it does not answer or refuses."""

    def __init__(self, properties: Mapping[str, Any], answer_seconds: float = ANSWER_SECONDS) -> None:
        self._wait = answer_seconds
        self._client_errors = ClientErrors(properties)
        self._admin = AdminClient(self._client_errors.properties)

    def topics(self, names: Sequence[str], hidden: Hidden | None = None) -> dict[str, Topic]:
        """Look up topics; those that exist are returned with all their settings.

        A topic whose settings this user may not read is an error or, if `hidden` is given, goes there and has none. One
        that this user may not see at all is an error.
        """
        settings = self._settings(names, hidden)
        metadata = self._metadata() if settings else {}
        if refusal := next((one for name, one in (hidden or {}).items() if name not in metadata), None):
            raise refusal
        return {
            name: Topic(name, len(metadata[name]), min(map(len, metadata[name])), entries)
            for name, entries in settings.items()
            if name in metadata
        }

    def make(self, change: Change) -> None:
        """Make one change."""
        try:
            self._request(change).result(2 * self._wait)
        except KafkaException as error:
            raise self._refused(error.args[0], change.topic.name) from None

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

    def _settings(self, names: Sequence[str], hidden: Hidden | None) -> dict[str, dict[str, str]]:
        settings = {}
        for name, answer in describe(self._admin, names, self._wait).items():
            if not isinstance(answer, KafkaError):
                settings[name] = dict(answer)
            elif answer.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                refusal = self._refused(answer, name)
                if hidden is None or answer.code() in _UNREACHABLE:
                    raise refusal
                hidden[name], settings[name] = refusal, {}
        return settings

    def _metadata(self) -> dict[str, list[list[int]]]:
        """List the replicas of each partition by topic; a request for all topics never creates one."""
        try:
            topics = self._admin.list_topics(timeout=self._wait).topics
        except KafkaException as error:
            raise self._refused(error.args[0], "") from None
        return {name: [one.replicas for one in topic.partitions.values()] for name, topic in topics.items()}

    def _refused(self, reason: KafkaError, topic: str) -> GatewayError:
        if reason.code() in _UNREACHABLE:
            return self._client_errors.no_answer(self._admin)
        if reason.code() in _FIXES:
            place = f"{topic}: " if topic else ""
            return GatewayError(printable(f"{place}Kafka reports: {reason.str().rstrip('.')}."), _FIXES[reason.code()])
        return GatewayError(*sentences(printable(f"Kafka reports an error: {sentence(reason, topic)}")))


def wanted(contract: Contract, *, delivers_once: bool = False) -> dict[str, Topic]:
    """The topics of a contract by name: those of its streams and of their dead letters, and that of the state."""
    routes = (route for stream in contract.streams.values() for route in (*stream.routes, stream.dead_letters))
    state = Topic(STATE_TOPIC, STATE_PARTITION + 1, None, STATE_SETTINGS)
    return {route.topic.name: route.topic for route in routes} | ({state.name: state} if delivers_once else {})


def plan(topics: Mapping[str, Topic], cluster: Cluster, hidden: Hidden | None = None) -> Plan:
    """Compare a cluster with the topics of a contract; of those that get into `hidden`, not the settings."""
    present = cluster.topics(list(topics), hidden)
    changes = (change for topic in topics.values() for change in _changes(topic, present.get(topic.name)))
    notes = (
        f"{topic.name}: {key} is skipped: only one vendor's brokers support it."
        for topic in topics.values()
        for key in topic.configuration
        if key.startswith(VENDOR)
    )
    return Plan(tuple(changes), tuple(map(printable, notes)))


def described(topic: Topic) -> str:
    """Write what the contract says about a topic, in short."""
    counts = {"partitions": topic.partitions, "replicas": topic.replicas}
    facts = {name: count for name, count in counts.items() if count} | _settings(topic)
    return ", ".join(f"{name}={value}" for name, value in facts.items()) or "the cluster's defaults"


def carry_out(changes: Sequence[Change], cluster: Cluster) -> Iterator[tuple[Change, GatewayError | None]]:
    """Make changes one by one; yield each with its error, or None."""
    for change in changes:
        try:
            cluster.make(change)
        except GatewayError as error:
            yield change, error
        else:
            yield change, None


def _changes(wanted: Topic, present: Topic | None) -> Iterator[Change]:
    if present is None:
        yield Change(wanted, "topic", "", described(wanted), Need.NOTHING)
        return
    if wanted.partitions and present.partitions and wanted.partitions != present.partitions:
        need = Need.MORE_PARTITIONS if wanted.partitions > present.partitions else Need.FEWER_PARTITIONS
        yield Change(wanted, "partitions", str(present.partitions), str(wanted.partitions), need)
    if wanted.replicas and wanted.replicas != present.replicas:
        yield Change(wanted, "replicas", str(present.replicas), str(wanted.replicas), Need.HAND)
    for key, value in _settings(wanted).items() if present.configuration else ():
        now = present.configuration.get(key, "")
        if not _is_same(key, now, value):
            need = Need.LOWERING if now and _is_unsafe(key, now, value) else Need.NOTHING
            yield Change(wanted, key, now, value, need)


def _settings(topic: Topic) -> dict[str, str]:
    return {key: value for key, value in topic.configuration.items() if not key.startswith(VENDOR)}


def _is_same(key: str, now: str, wanted: str) -> bool:
    return _policies(now) == _policies(wanted) if key == "cleanup.policy" else now == wanted


def _is_unsafe(key: str, now: str, wanted: str) -> bool:
    """Tell whether a change may delete records or weaken guarantees."""
    if key == "cleanup.policy":
        return not _policies(wanted) <= _policies(now)
    if key not in UNSAFE_TO_LOWER:
        return False
    unlimited = UNSAFE_TO_LOWER[key]
    try:
        before, after = (float("inf") if int(text) == unlimited else int(text) for text in (now, wanted))
    except ValueError:  # not a number: Kafka refuses it
        return False
    return after < before


def _policies(text: str) -> set[str]:
    return {one.strip() for one in text.split(",") if one.strip()}


def _new(topic: Topic) -> NewTopic:
    return NewTopic(
        topic.name, topic.partitions or CLUSTER_DEFAULT, topic.replicas or CLUSTER_DEFAULT, config=_settings(topic)
    )
