"""Kafka against the contract: topics and their settings, and the partitions of the last records of each topic.

The differences are those of `gateway topics plan`. The records may come from any producer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.errors import Finding, GatewayError
from gateway.operate.drift.partitioner import Sample, sample
from gateway.operate.topics import Cluster, Hidden, described, plan, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.installation import Installation

MURMUR2 = "murmur2, as Java's"
FIX = "Set partitioner=murmur2_random at the other producers"


def compare(installation: Installation) -> Iterator[Finding]:
    """Compare the cluster with the contract."""
    peer, properties = installation.contract.kafka.name, installation.kafka(producing=False)
    topics = wanted(installation.contract, delivers_once=installation.delivers_once)
    hidden: Hidden = {}
    changes = plan(topics, Cluster(properties), hidden).changes
    for topic in topics.values():
        mine = [change for change in changes if change.topic is topic]
        for change in mine:
            setting = "" if change.setting == "topic" else f" {change.setting}"
            yield replace(change.finding, source=peer, path=f"topic {topic.name}{setting}")
        if refusal := hidden.get(topic.name):
            yield Finding.at(peer, f"topic {topic.name} settings", "unknown", refusal.message, refusal.hint)
        elif not mine:
            yield Finding.at(peer, f"topic {topic.name}", "ok", "the same", expected=described(topic))
    missing = {change.topic.name for change in changes if change.setting == "topic"}
    keyed = dict.fromkeys(route.topic.name for one in installation.contract.streams.values() for route in one.routes)
    yield from (_partitioner(peer, name, properties) for name in keyed if name not in missing)


def _partitioner(peer: str, topic: str, properties: Mapping[str, Any]) -> Finding:
    what = f"topic {topic} partitioner"
    try:
        records = sample(properties, topic)
    except GatewayError as error:
        return Finding.at(peer, what, "unknown", error.message, error.hint, expected=MURMUR2)
    if not records.keyed:
        return Finding.at(peer, what, "unknown", "no records with a key", expected=MURMUR2)
    text = f"{records.murmur2} of {records.keyed} records agree"
    if records.murmur2 == records.keyed:
        return Finding.at(peer, what, "ok", text, expected=MURMUR2)
    return _differs(peer, what, text, records)


def _differs(peer: str, what: str, text: str, records: Sample) -> Finding:
    if records.crc32 > records.murmur2:
        text = f"{text}; {records.crc32} agree with consistent_random"
        return Finding.at(peer, what, "error", text, f"{FIX}.", expected=MURMUR2)
    fix = f"{FIX}, unless the topic once had fewer than {records.partitions} partitions."
    return Finding.at(peer, what, "error", text, fix, expected=MURMUR2)
