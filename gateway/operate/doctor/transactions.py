"""What `delivery: exactly_once` needs of Kafka: rights, a version, and a log of transactions that survives.

The right to a transactional id shows only when it is used, and to use it would end the transaction of the running
gateway. So a timeout is asked for that no cluster allows: Kafka checks the rights first, then the timeout, and changes
nothing. A producer with a transactional id needs no IDEMPOTENT_WRITE.

Consumers are not visible: their isolation level is their own affair.
"""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it does not declare its exports
    AclOperation,
    AdminClient,
    ConfigResource,
)

from gateway.errors import Finding, GatewayError
from gateway.installation import transactional_id
from gateway.kafka.errors import sentence
from gateway.kafka.state_topic import STATE_TOPIC
from gateway.kafka.transactional_sink import TIMEOUT_MILLISECONDS
from gateway.operate.dlq.dead_letters import topics_of
from gateway.operate.dlq.replay_state import replay_id
from gateway.operate.topics import Cluster
from gateway.service import split
from gateway.text import printable, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.model import Topic
    from gateway.installation import Installation

ANSWER_SECONDS = 10.0
TRANSACTION_LOG = "__transaction_state"
PREFIX = "transaction.state.log"
REFUSED_MILLISECONDS = 2**31 - 1
HOUR_MILLISECONDS = 3_600_000
OLDEST = 2, 5
_PROTOCOL = "inter.broker.protocol.version"
_DENIED = {KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED}


def examine(installation: Installation) -> Iterator[Finding]:
    """Check what transactions need."""
    contract, settings = installation.contract, installation.settings
    peer, properties = contract.kafka.name, _quiet(installation.kafka(producing=False))
    workers = [split.worker(contract, settings, number).contract for number in range(1, settings.workers.count + 1)]
    for each in [*map(transactional_id, workers), replay_id(topics_of(contract))]:
        yield _check_id(peer, each, properties)
    admin = AdminClient(properties)
    try:
        yield _check_state_rights(peer, admin, properties)
        yield from _check_brokers(peer, admin, properties)
    except KafkaException as error:
        what, reason = "settings of the brokers", error.args[0]
        if reason.code() != KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            yield _unseen(peer, what, reason)
        else:
            grant = _grant(properties, ["DESCRIBE_CONFIGS"], "--cluster")
            yield Finding.at(peer, what, "unknown", "this user may not see them, which only the doctor needs", grant)
    advice = "Set isolation.level=read_committed in them; Java's default and kafka-console-consumer's is another."
    yield Finding.at(peer, "consumers", "unknown", "whether they read committed records only is not visible", advice)


def _quiet(properties: Mapping[str, Any]) -> dict[str, Any]:
    silent = logging.Logger("unused", logging.CRITICAL + 1)  # noqa: LOG001 - never registered, and drops all records
    return {**properties, "log_level": 0, "logger": silent, "error_cb": lambda _error: None}


def _unseen(peer: str, what: str, error: KafkaError) -> Finding:
    return Finding.at(peer, what, "unknown", *sentences(printable(sentence(error))))


# --- rights ----------------------------------------------------------------------------------------------------------


def _check_id(peer: str, name: str, properties: Mapping[str, Any]) -> Finding:
    """Check the rights on a transactional id, without using it."""
    what, timeout = f"transactional id {name}", {"transaction.timeout.ms": REFUSED_MILLISECONDS}
    try:
        Producer({**properties, **timeout, "transactional.id": name}).init_transactions(ANSWER_SECONDS)
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            return Finding.at(peer, what, "ok", "may be used")
        if reason.code() in _DENIED:
            grant = _grant(properties, ["WRITE", "DESCRIBE"], "--transactional-id", name)
            return Finding.at(peer, what, "error", "this user may not use it", grant)
        return Finding.at(peer, what, "error", *sentences(printable(sentence(reason))))
    return Finding.at(peer, what, "ok", "may be used")


def _check_state_rights(peer: str, admin: AdminClient, properties: Mapping[str, Any]) -> Finding:
    what, needed = f"topic {STATE_TOPIC} rights", ["READ", "WRITE", "DESCRIBE"]
    topics = TopicCollection([STATE_TOPIC])
    asked = admin.describe_topics(topics, include_authorized_operations=True, request_timeout=ANSWER_SECONDS)
    granted: list[AclOperation] = []
    try:
        granted = asked[STATE_TOPIC].result().authorized_operations or []
    except KafkaException as error:
        if error.args[0].code() not in _DENIED:
            return _unseen(peer, what, error.args[0])
    missing = [each for each in needed if AclOperation[each] not in granted]
    if not missing:
        return Finding.at(peer, what, "ok", ", ".join(needed))
    grant = _grant(properties, missing, "--topic", STATE_TOPIC)
    return Finding.at(peer, what, "error", f"this user lacks {', '.join(missing)}", grant)


def _grant(properties: Mapping[str, Any], operations: list[str], *resource: str) -> str:
    user = properties.get("sasl.username", "NAME")  # a certificate's, which only Kafka knows
    allowed = " ".join(f"--operation {each.title().replace('_', '')}" for each in operations)
    words = f"--bootstrap-server {properties['bootstrap.servers']} --command-config admin.properties --add {allowed}"
    rule = f"--allow-principal {shlex.quote(f'User:{user}')} {' '.join(resource)}"
    return f"Run this, with an administrator's login in admin.properties: kafka-acls.sh {words} {rule}"


# --- the cluster -----------------------------------------------------------------------------------------------------


def _check_brokers(peer: str, admin: AdminClient, properties: Mapping[str, Any]) -> Iterator[Finding]:
    brokers = sorted(admin.list_topics(timeout=ANSWER_SECONDS).brokers)
    resource = ConfigResource(ConfigResource.Type.BROKER, str(brokers[0]))
    answer = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    settings = {name: str(entry.value) for name, entry in answer.items()}
    yield check_version(peer, settings)
    log = _transaction_log(properties)
    replicas = (log and log.replicas) or int(settings[f"{PREFIX}.replication.factor"])
    minimum = log.configuration.get("min.insync.replicas") if log else None
    yield check_log(peer, replicas, int(minimum or settings[f"{PREFIX}.min.isr"]), len(brokers))
    yield from check_times(peer, settings)


def _transaction_log(properties: Mapping[str, Any]) -> Topic | None:
    """Look up Kafka's log of transactions; None before the first transaction, or where this user may not see it."""
    try:
        return Cluster(properties).topics([TRANSACTION_LOG], {}).get(TRANSACTION_LOG)
    except GatewayError:
        return None


def check_version(peer: str, settings: Mapping[str, str]) -> Finding:
    """Check Kafka's version by the settings of a broker: 4.0 has no version of the protocol between brokers."""
    stated = settings.get(_PROTOCOL)
    what, text = "version for transactions", stated or "4.0 or newer"
    numbers = tuple(int(each) for each in (stated or "4.0").partition("-")[0].split(".")[:2] if each.isdecimal())
    if numbers >= OLDEST:
        return Finding.at(peer, what, "ok", text)
    fix = f"Upgrade Kafka to 2.5 or newer, and raise {_PROTOCOL} of its brokers; or choose delivery: at_least_once."
    return Finding.at(peer, what, "error", f"{text}: a producer cannot go on after an error", fix)


def check_log(peer: str, replicas: int, minimum: int, brokers: int) -> Finding:
    """Check whether Kafka's log of transactions can be written, and survives a broker."""
    what, text = f"topic {TRANSACTION_LOG}", f"{replicas} replicas on {brokers} brokers, min.isr {minimum}"
    if replicas > brokers or minimum > replicas:
        fix = (
            f"Set {PREFIX}.replication.factor to {brokers} and {PREFIX}.min.isr to {max(1, brokers - 1)} "
            "in server.properties of all brokers, and restart them."
        )
        return Finding.at(peer, what, "error", f"{text}: no transaction can begin", fix)
    if minimum == replicas > 1:
        fix = f"Set min.insync.replicas of {TRANSACTION_LOG} to {replicas - 1}."
        return Finding.at(peer, what, "warning", f"{text}: one stopped broker blocks all transactions", fix)
    if brokers > 1 and (replicas == 1 or minimum == 1):
        fix = f"Give {TRANSACTION_LOG} three replicas and min.insync.replicas 2, or as many as there are brokers."
        return Finding.at(peer, what, "warning", f"{text}: a commit may be lost with one broker", fix)
    return Finding.at(peer, what, "ok", text)


def check_times(peer: str, settings: Mapping[str, str]) -> Iterator[Finding]:
    """Check how long Kafka allows a transaction to be open, and a transactional id to be idle."""
    name = "transaction.max.timeout.ms"
    if (longest := int(settings.get(name, TIMEOUT_MILLISECONDS))) < TIMEOUT_MILLISECONDS:
        fix = f"Set {name} to {TIMEOUT_MILLISECONDS} or more in server.properties of all brokers, and restart them."
        yield Finding.at(peer, name, "error", f"{longest}, and the gateway's transactions may last longer", fix)
    name = "transactional.id.expiration.ms"
    idle = int(settings.get(name, 7 * 24 * HOUR_MILLISECONDS))
    text = f"{idle / HOUR_MILLISECONDS:,.1f} h without readings"
    if idle >= HOUR_MILLISECONDS:
        yield Finding.at(peer, name, "ok", f"{text}, then the gateway makes a new producer")
        return
    fix = f"Set {name} to {7 * 24 * HOUR_MILLISECONDS} in server.properties of all brokers, and restart them."
    yield Finding.at(peer, name, "warning", f"{text}: each pause costs a new producer, and its readings wait", fix)
