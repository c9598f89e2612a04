"""Descriptions that devices leave on the broker, retained: units, limits and words that no sample shows.

    zigbee2mqtt.py          BASE/bridge/devices
    home_assistant.py       PREFIX/COMPONENT/[NODE/]OBJECT/config, also of a whole device
    tasmota.py              tasmota/discovery/MAC/config and .../sensors

`described` reads one message. `merged` joins what several messages say about one topic. `Descriptions` keeps what was
read, in bounded memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.codec.json_text import parse
from gateway.core.codec.validation_error import ValidationError
from gateway.operate.learn.descriptions import home_assistant, tasmota, zigbee2mqtt
from gateway.operate.learn.descriptions.description import Described, DescribedMember

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_BYTES", "Described", "DescribedMember", "Descriptions", "described", "is_description", "merged"]

MAX_BYTES = 16 * 1024 * 1024  # of a payload; a bridge with 200 devices takes about two
MAX_DESCRIBED = 200_000  # devices and members that are kept
READERS = (zigbee2mqtt, tasmota, home_assistant)  # the one that says most is the first


def is_description(topic: bytes) -> bool:
    """Whether messages to a topic may be descriptions, by its name."""
    return any(one.TOPIC.fullmatch(topic.decode(errors="replace")) for one in READERS)


def described(topic: bytes, payload: bytes) -> list[Described]:
    """Read a message that may be a description; nothing if it is none, or cannot be read."""
    name = topic.decode(errors="replace")
    for reader in READERS if len(payload) <= MAX_BYTES else ():
        if match := reader.TOPIC.fullmatch(name):
            try:
                found: list[Described] = reader.read(match, parse(payload))
            except ValidationError:
                return []
            return found
    return []


def merged(descriptions: Iterable[Described]) -> list[Described]:
    """Make one description of each topic, and one without a topic if more is ignored; in any order the same."""
    ranks = {one.SOURCE: rank for rank, one in enumerate(READERS)}
    ordered = sorted(descriptions, key=lambda one: (ranks[one.source], one.topic, one.id, sorted(one.members)))
    topics = {(one.source, one.id): one.topic for one in ordered if one.topic and one.id}
    joined: dict[str, Described] = {}
    for one in ordered:
        topic = one.topic or topics.get((one.source, one.id), "")
        known = one._replace(topic=topic) if topic else one._replace(members={})
        joined[topic] = joined[topic].with_more(known) if topic in joined else known
    return [one._replace(ignored=tuple(each for each in one.ignored if each not in joined)) for one in joined.values()]


class Descriptions:
    """The last description of each topic: a bridge publishes its own again whenever a device changes."""

    def __init__(self, room: int = MAX_DESCRIBED) -> None:
        self._last: dict[bytes, tuple[int, list[Described]]] = {}  # with the hash of the payload
        self._room = room

    def take(self, topic: bytes, payload: bytes) -> None:
        """Read a description, if it is a new one; what there is no room for is left out."""
        digest = hash(payload)
        last, known = self._last.get(topic, (None, []))
        if last != digest:
            found = described(topic, payload)
            self._room += _size(known)
            kept = found if _size(found) <= self._room else []
            self._room -= _size(kept)
            self._last[topic] = digest, kept

    def merged(self) -> list[Described]:
        """Make one description of each topic that is described."""
        return merged(one for _, each in self._last.values() for one in each)


def _size(each: list[Described]) -> int:
    return sum(1 + len(one.members) for one in each)
