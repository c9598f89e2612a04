"""Families of devices, recognised by their own contracts: topics that fit an address, payloads that fit a message.

A family is proposed as its ready contract has it. It is recognised when one payload at least fits a message that it
wants, and nine of ten payloads on its addresses fit. What it ignores belongs to it as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import yaml

from gateway import contract as contracts
from gateway.core.address import Address
from gateway.core.reading import DeadLetter, IgnoredReading, Reading
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.operate.init import family as families
from gateway.operate.learn.score import PAYLOAD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.operate.learn.evidence import Topic

FITTING = 0.9
ARRIVED = 1_700_000_000_000  # of the payload that is tried; it has no influence on the result


class Recognised(NamedTuple):
    """A family that was recognised."""

    family: families.Family
    topics: frozenset[bytes]
    wanted: int  # topics whose payloads become records


def recognised(topics: Mapping[bytes, Topic]) -> list[Recognised]:
    """Find the families of topics, those with the most topics first; a topic belongs to one at most."""
    left, every = dict(topics), []
    candidates = [families.family(name) for name in families.names()]
    matched = [one for name in candidates if _has_topic(name, left) and (one := _recognised(name, left))]
    for one in sorted(matched, key=lambda each: (-each.wanted, each.family.name)):
        again = _recognised(one.family, left)
        if again:
            every.append(again)
            left = {name: topic for name, topic in left.items() if name not in again.topics}
    return every


def _has_topic(family: families.Family, topics: Mapping[bytes, Topic]) -> bool:
    """Tell whether a topic may be the family's, without loading its contract."""
    channels = yaml.safe_load(family.text)["channels"].values()
    mqtt = [one for one in channels if one["servers"] == [{"$ref": "#/servers/broker"}]]
    parsed = [
        Address.parse(
            one["address"], [name for name, each in one.get("parameters", {}).items() if each.get("x-multi-level")]
        )
        for one in mqtt
    ]
    return any(one.match(topic.decode()) for one in parsed for topic in topics)


def _recognised(family: families.Family, topics: Mapping[bytes, Topic]) -> Recognised | None:
    contract = contracts.load(families.FOLDER / family.name / families.CONTRACT)
    stream_of = topic_index(contract.addresses())
    transforms = {
        name: transform_of(one, [0] * len(one.routes), PAYLOAD_LIMIT) for name, one in contract.streams.items()
    }
    fitting, wanted, unfit = set[bytes](), 0, 0
    for name, topic in topics.items():
        stream = stream_of(name)
        if stream == UNMAPPED:
            continue
        result = transforms[stream](Reading(stream, name, topic.sample, ARRIVED)) if stream in transforms else None
        if isinstance(result, DeadLetter):
            unfit += 1
            continue
        fitting.add(name)
        wanted += result is not None and not isinstance(result, IgnoredReading)
    is_family = wanted and wanted >= FITTING * (wanted + unfit)
    return Recognised(family, frozenset(fitting), wanted) if is_family else None
