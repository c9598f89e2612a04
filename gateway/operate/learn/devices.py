"""Families of devices, recognised by their own contracts: topics that fit an address, payloads that fit a message.

A family is proposed as its ready contract has it. It is recognised when one payload at least fits a message that it
wants, and nine of ten payloads on its addresses fit. What it ignores belongs to it as well.

Where its topics begin is a setting of most devices: `zigbee2mqtt` may be `house/zigbee`. If nothing fits at the place
that the family names, and all that fits begins at one other place, its addresses begin there.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import yaml

from gateway import contract as contracts
from gateway.core.address import Address
from gateway.core.reading import DeadLetter, IgnoredReading, Reading
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.operate.init import family as families
from gateway.operate.learn.evidence import total
from gateway.operate.learn.proposal import Note
from gateway.operate.learn.score import PAYLOAD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.operate.learn.evidence import Topic

FITTING = 0.9
ARRIVED = 1_700_000_000_000  # of the payload that is tried; it has no influence on the result
MAX_UNFIT = 100  # payloads that are tried in vain
MAX_PLACES = 5  # at which a family is tried
CHANNELS = re.compile(r"^channels:\n((?: .*\n|\n)*)", re.MULTILINE)
ZONE = re.compile(r'"zone": "([^"]+)"')
EXAMPLES = re.compile(
    r"^(    \w+Avro:\n(?:      .*\n)*?)      examples:\n(?:        .*\n)+", re.MULTILINE
)  # of records
QUARTER = timedelta(minutes=15)
PLAIN = re.compile(r"[\w .:@-]+")  # a level that an address and YAML take as it is

Levels = tuple[str, ...]


class Recognised(NamedTuple):
    """A family that was recognised."""

    family: families.Family
    topics: frozenset[bytes]
    wanted: int  # topics whose payloads become records
    notes: list[Note]

    def with_note(self, pointer: str, text: str) -> Recognised:
        """Add something to know."""
        return self._replace(notes=[*self.notes, Note(pointer, text)])


class _Candidate(NamedTuple):
    """A family whose contract is loaded, because some topics may be its own."""

    family: families.Family
    own: Levels  # where the topics of its contract begin
    places: list[Levels]  # where they may begin, its own first
    is_one_topic: bool  # nothing follows
    stream_of: Callable[[bytes], str]
    transforms: Mapping[str, Any]

    def recognised(self, topics: Mapping[bytes, Topic]) -> Recognised | None:
        """Find its topics at its own place, else at the only other place that has some."""
        found = []
        for place in self.places:
            if one := self._at(place, topics):
                found.append(one)
            if place == self.own and found:
                break
        return found[0] if len(found) == 1 else None

    def _at(self, place: Levels, topics: Mapping[bytes, Topic]) -> Recognised | None:
        fitting, wanted, unfit = set[bytes](), 0, 0
        for name, topic in (_only(place, topics) if self.is_one_topic else topics).items():
            if topic.levels[: len(place)] != place:
                continue
            own = "/".join(self.own + topic.levels[len(place) :]).encode()
            if (stream := self.stream_of(own)) == UNMAPPED:
                continue
            transform = self.transforms.get(stream)
            result = transform(Reading(stream, own, topic.sample, ARRIVED)) if transform else None
            if isinstance(result, DeadLetter):
                unfit += 1
                if unfit > MAX_UNFIT + wanted:
                    return None
                continue
            fitting.add(name)
            wanted += result is not None and not isinstance(result, IgnoredReading)
        is_family = wanted and wanted >= FITTING * (wanted + unfit)
        return Recognised(_moved(self.family, self.own, place), frozenset(fitting), wanted, []) if is_family else None


def recognised(topics: Mapping[bytes, Topic]) -> list[Recognised]:
    """Find the families of topics, those with the most topics first; a topic belongs to one at most."""
    left, every = dict(topics), []
    candidates = [one for name in families.names() if (one := _candidate(families.family(name), topics))]
    first = [(one, found) for one in candidates if (found := one.recognised(left))]
    for candidate, _ in sorted(first, key=lambda each: (-each[1].wanted, each[1].family.name)):
        if again := candidate.recognised(left):
            every.append(again)
            left = {name: topic for name, topic in left.items() if name not in again.topics}
    return every


def in_zone(found: Recognised, topics: Iterable[Topic], now: int) -> Recognised:
    """Write the zone of the devices' clocks, if they show one, into a family's schemas; else say that it is assumed."""
    assumed = sorted({zone for text in found.family.schemas.values() for zone in ZONE.findall(text)})
    if not assumed:
        return found
    moment = datetime.fromtimestamp(now / 1000, UTC)
    expected = {(moment.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()) / QUARTER for zone in assumed}
    seen = sorted(_quarters(topics))
    listed, hours = f"{', '.join(assumed)} in the .avsc files", " and ".join(f"{one / 4:+g} h" for one in seen)
    if not seen or {*seen} == expected:
        why = "as the clocks show now" if seen else "which no clock has shown"
        return found.with_note("zone", f"It is {listed}, {why}: correct it if needed.")
    if len(seen) > 1 or seen[0] % 4:
        return found.with_note("zone", f"WRONG TIMES: it is {listed}, but the clocks are {hours} from UTC: correct it.")
    zone = f"Etc/GMT{-seen[0] // 4:+d}" if seen[0] else "UTC"
    schemas = {name: ZONE.sub(f'"zone": "{zone}"', text) for name, text in found.family.schemas.items()}
    note = f"The clocks are {hours} from UTC: it is {zone} in the .avsc files; name their own if needed."
    family = found.family._replace(schemas=schemas, text=EXAMPLES.sub(r"\1", found.family.text))
    return found._replace(family=family).with_note("zone", note)


def _quarters(topics: Iterable[Topic]) -> set[int]:
    """Quarters of an hour that clocks without a zone are ahead of UTC; what was retained is too old to show it."""
    evidence = total(shape.evidence for topic in topics for shape in topic.shapes[False])
    clocks = (leaf.texts for _, leaf in evidence.leaves() if leaf.texts and leaf.texts.is_clock)
    return {quarter for one in clocks for quarter in one.ahead}


def _candidate(family: families.Family, topics: Mapping[bytes, Topic]) -> _Candidate | None:
    """Load a family's contract if a topic may be its own."""
    addresses = list(addresses_of(family))
    own = _beginning(addresses)
    places = _places(addresses, own, topics)
    if not places:
        return None
    is_one_topic = any(len(one.levels) == len(own) for one in addresses)
    return _Candidate(family, own, places, is_one_topic, *_loaded(family.name))


@cache
def _loaded(name: str) -> tuple[Callable[[bytes], str], Mapping[str, Any]]:
    contract = contracts.load(families.FOLDER / name / families.CONTRACT)
    transforms = {
        name: transform_of(one, [0] * len(one.routes), PAYLOAD_LIMIT) for name, one in contract.streams.items()
    }
    return topic_index(contract.addresses()), transforms


def addresses_of(family: families.Family) -> Iterator[Address]:
    """Read the addresses of a family at the broker."""
    section = CHANNELS.search(family.text)  # the rest takes ten times as long to read
    for channel in yaml.safe_load(section[1] if section else "{}").values():
        if channel["servers"] == [{"$ref": "#/servers/broker"}]:
            parameters = channel.get("parameters", {})
            yield Address.parse(
                channel["address"], [name for name in parameters if parameters[name].get("x-multi-level")]
            )


def _beginning(addresses: list[Address]) -> Levels:
    """The literal levels with which all addresses begin."""
    beginning: list[str] = []
    for levels in zip(*(one.levels for one in addresses), strict=False):
        if any(level.name is not None for level in levels) or len(set(levels)) > 1:
            break
        beginning.append(levels[0].before)
    return tuple(beginning)


def _places(addresses: list[Address], own: Levels, topics: Mapping[bytes, Topic]) -> list[Levels]:
    """Find where a family's topics may begin: before levels that have the literal text of one of its addresses."""
    endings = [one.levels[len(own) :] for one in addresses]
    fixed = [one for one in endings if not any(level.is_multi for level in one)]
    open_ended = [one for one in endings if one not in fixed and one[0].name is None]
    places: Counter[Levels] = Counter()
    for topic in topics.values():
        levels = topic.levels
        for ending in fixed:
            start = len(levels) - len(ending)
            if start >= 0 and all(one.matches(text) for one, text in zip(ending, levels[start:], strict=True)):
                places[levels[:start]] += not ending or any(one.name is None for one in ending)
        for ending in open_ended:
            places.update(levels[:at] for at, text in enumerate(levels[:-1]) if ending[0].matches(text))
    is_its = topic_index([(one.text, one) for one in addresses])
    is_own = any(is_its(name) != UNMAPPED for name in topics)
    others = [one for one, count in places.most_common() if count and one != own and all(map(PLAIN.fullmatch, one))]
    return [*[own] * is_own, *(others if () in endings else others[:MAX_PLACES])]


def _only(levels: Levels, topics: Mapping[bytes, Topic]) -> dict[bytes, Topic]:
    name = "/".join(levels).encode()
    return {name: topics[name]} if name in topics else {}


def _moved(family: families.Family, own: Levels, place: Levels) -> families.Family:
    """Write a family whose topics begin elsewhere: its addresses, and the topics of its examples."""
    if place == own:
        return family
    text = family.text
    for address in addresses_of(family):
        moved = "/".join([*place, *address.text.split("/")[len(own) :]])
        pattern = rf"(?<=    address: )(['\"]?){re.escape(address.text)}\1$"
        text = re.sub(pattern, f"'{moved}'", text, flags=re.MULTILINE)

    def topic(match: re.Match[str]) -> str:
        return f"{match[1]}'{'/'.join([*place, *match[2].split('/')[len(own) :]])}'"

    return family._replace(text=re.sub(r"(mqtt\.topic: )([^{}'\",\s]+)", topic, text))
