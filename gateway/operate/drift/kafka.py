"""Kafka against the contract: topics and their settings, and where the records of each topic lie.

What differs is what `gateway topics plan` shows. The records that are looked at are the last ones, whoever made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.errors import GatewayError
from gateway.operate.drift.observation import Observation, Verdict
from gateway.operate.drift.partitioner import Sample, sample
from gateway.operate.topics import Cluster, Need, described, plan, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.installation import Installation
    from gateway.operate.topics import Change

MURMUR2 = "murmur2, as Java's"
NEXT_STEPS = {
    Need.NOTHING: "`gateway topics apply` brings it there.",
    Need.MORE_PARTITIONS: "`gateway topics apply --allow-more-partitions`, when no order hangs on it.",
    Need.LOWERING: "`gateway topics apply --allow-lowering`, or correct the contract.",
    Need.HAND: "Move replicas with kafka-reassign-partitions, or correct the contract.",
    Need.FEWER_PARTITIONS: "Correct the contract: Kafka cannot take partitions away.",
}


def compare(installation: Installation) -> Iterator[Observation]:
    """Compare the cluster with the contract.

    Args:
        installation: its files.

    Yields:
        What was seen.

    Raises:
        GatewayError: when Kafka cannot be asked.
    """
    peer, properties = installation.contract.kafka.name, installation.kafka(producing=False)
    topics = wanted(installation.contract)
    changes = plan(topics, Cluster(properties)).changes
    for topic in topics.values():
        mine = [change for change in changes if change.topic is topic]
        yield from (_changed(peer, change) for change in mine)
        if not mine:
            yield Observation(peer, f"topic {topic.name}", described(topic), "the same", Verdict.AGREES)
    missing = {change.topic.name for change in changes if change.setting == "topic"}
    keyed = dict.fromkeys(route.topic.name for one in installation.contract.streams.values() for route in one.routes)
    yield from (_placed(peer, name, properties) for name in keyed if name not in missing)


def _changed(peer: str, change: Change) -> Observation:
    what = f"topic {change.topic.name}" + ("" if change.setting == "topic" else f" {change.setting}")
    return Observation(peer, what, change.wanted, change.now or "missing", Verdict.DRIFT, NEXT_STEPS[change.need])


def _placed(peer: str, topic: str, properties: Mapping[str, Any]) -> Observation:
    what = f"topic {topic} partitioner"
    try:
        found = sample(properties, topic)
    except GatewayError as error:
        return Observation(peer, what, MURMUR2, error.message, Verdict.UNSEEN, error.hint)
    if not found.keyed:
        return Observation(peer, what, MURMUR2, "no records with a key", Verdict.UNSEEN)
    told = f"seen, {found.murmur2} of {found.keyed} records agree"
    if found.murmur2 == found.keyed:
        return Observation(peer, what, MURMUR2, told, Verdict.AGREES)
    return Observation(peer, what, MURMUR2, f"{told}{_other(found)}", Verdict.DRIFT, _advice(found))


def _other(found: Sample) -> str:
    return f"; {found.crc32} agree with consistent_random" if found.crc32 > found.murmur2 else ""


def _advice(found: Sample) -> str:
    others = "Set partitioner=murmur2_random at the other producers"
    return f"{others}." if found.crc32 > found.murmur2 else f"{others}; or were there fewer than {found.partitions}?"
