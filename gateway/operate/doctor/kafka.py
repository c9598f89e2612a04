"""Kafka: missing topics, in-sync replicas against replicas, and the partitioner of other producers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.errors import Finding
from gateway.operate.drift import kafka
from gateway.operate.topics import MISSING, Cluster, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import Topic
    from gateway.installation import Installation

MINIMUM = "min.insync.replicas"


def examine(installation: Installation) -> Iterator[Finding]:
    """Check the cluster.

    Raises:
        GatewayError: when Kafka does not answer or refuses.
    """
    for finding in kafka.compare(installation):
        # Without its topic no reading is delivered; all other differences concern order, retention or joins.
        is_minor = finding.severity == "error" and finding.message != MISSING
        yield replace(finding, severity="warning") if is_minor else finding
    cluster, peer = Cluster(installation.kafka(producing=False)), installation.contract.kafka.name
    for topic in cluster.topics(list(wanted(installation.contract))).values():
        yield check_replicas(peer, topic)


def check_replicas(peer: str, topic: Topic) -> Finding:
    """Check whether a topic of the cluster can be written to, now and with one broker less."""
    what, replicas = f"topic {topic.name} in-sync replicas", topic.replicas or 1
    minimum = int(topic.configuration.get(MINIMUM, "1"))
    text = f"{MINIMUM} {minimum} of {replicas}"
    if minimum > replicas:
        fix = f"Lower {MINIMUM}, or add replicas: until then Kafka rejects every record."
        return Finding.at(peer, what, "error", text, fix)
    if minimum == replicas > 1:
        fix = f"Set {MINIMUM} to {replicas - 1}: now one stopped broker blocks all writes."
        return Finding.at(peer, what, "warning", text, fix)
    return Finding.at(peer, what, "ok", text)
