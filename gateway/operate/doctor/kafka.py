"""Kafka: topics that are missing, in-sync replicas against replicas, and where other producers put a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.doctor.diagnosis import Diagnosis, State, diagnosed
from gateway.operate.drift import kafka
from gateway.operate.topics import Cluster, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import Topic
    from gateway.installation import Installation
    from gateway.operate.drift.observation import Observation

MINIMUM = "min.insync.replicas"


def examine(installation: Installation) -> Iterator[Diagnosis]:
    """Look at the cluster.

    Args:
        installation: its files.

    Raises:
        GatewayError: when Kafka cannot be asked.
    """
    for observation in kafka.compare(installation):
        yield diagnosed(observation, _hurts)
    cluster, peer = Cluster(installation.kafka(producing=False)), installation.contract.kafka.name
    for topic in cluster.topics(list(wanted(installation.contract))).values():
        yield judge(peer, topic)


def judge(peer: str, topic: Topic) -> Diagnosis:
    """Judge whether a topic can be written to, now and with a broker less.

    Args:
        peer: the contract's name of the cluster.
        topic: as the cluster has it.
    """
    what, replicas, minimum = f"topic {topic.name} in-sync replicas", topic.replicas or 1, _minimum(topic)
    told = f"{MINIMUM} {minimum} of {replicas}"
    if minimum > replicas:
        fix = f"Lower {MINIMUM}, or add replicas: Kafka takes nothing like this."
        return Diagnosis(peer, what, State.WRONG, told, fix)
    if minimum == replicas > 1:
        fix = f"Set {MINIMUM} to {replicas - 1}, or one broker away stops all writing."
        return Diagnosis(peer, what, State.WARNING, told, fix)
    return Diagnosis(peer, what, State.OK, told)


def _minimum(topic: Topic) -> int:
    return int(topic.configuration.get(MINIMUM, "1"))


def _hurts(observation: Observation) -> State:
    """Without its topic no reading gets through; all else is a matter of order, age or joins."""
    is_topic = len(observation.what.split()) == 2  # and not one of its settings
    return State.WRONG if is_topic and observation.seen == "missing" else State.WARNING
