"""Topics -> addresses: which levels are parameters.

Topics form a tree by level. From its leaves upwards, siblings with similar subtopics and similar payloads become one
parameter. A level without siblings becomes one if it looks like an identifier. These stay literal:

- siblings with bare values that are all named after what they measure, as temperature and humidity: each is a stream;
- siblings with different subtopics or different payloads.

Topics of different depth that have similar payloads and the same last levels get a parameter of several levels. So do
bare values under a common prefix, if they would be more than `MOST_OF_BARE` streams.

Where a level has several kinds of siblings that would be parameters, each becomes partly literal (`door-{device}`), if
their names begin differently, else all become one parameter: then their address has several messages.

A parameter at the first level makes the gateway subscribe to `+/#` where another address overlaps with it. Then up to
`MOST_APART` names get an address each.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.address import Address, Level
from gateway.core.filters import plan
from gateway.operate.learn.units import is_measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PARAMETER = Level("", "?")
IDENTIFIER = re.compile(r"\d{3}|(?=.*\d)[0-9a-fA-F:-]{8,}\Z|[_-]?\d+\Z", re.ASCII)
FEWEST_SYSTEMS = 3  # siblings at the first level, which mostly names a system, that make a parameter
LIKE = 0.5  # of what follows a level, that is known of its siblings
CONTAINED, SHARED = 0.8, 0.66  # of the members of a payload, and of the members of two payloads: these look alike
MOST_OF_BARE = 16  # addresses of bare values that begin alike
MOST_APART = 16
MOST_COMPARED = 50  # kinds of siblings of a level that are compared with each other

Suffix = tuple[Level, ...]


class Place(NamedTuple):
    """A topic, as far as addresses depend on it."""

    levels: tuple[str, ...]  # the last one may have slashes, where a description says that it is one name
    classes: frozenset[int]  # what its payloads look like
    is_bare: bool = False  # they are bare values, or objects of one member
    is_device: bool = False  # a description says that the last level is the name of a device


NO_DEVICE = Place((), frozenset())


def addresses(places: Iterable[Place], others: Iterable[str] = ()) -> dict[Suffix, list[Place]]:
    """Find the addresses of topics, each with its topics; parameters have no names yet.

    `others` are filters that are subscribed as well.
    """
    found = _apart(_gathered(_below(sorted(places), 0)), others)
    return dict(sorted(found.items(), key=lambda each: _sortable(each[0])))


def _apart(found: dict[Suffix, list[Place]], others: Iterable[str]) -> dict[Suffix, list[Place]]:
    """Write the names of a first level where another filter would widen it."""
    filters = {suffix: Address("", suffix).filter for suffix in found}
    planned = plan([*filters.values(), *others])
    widened = {one for wider, covered in planned.items() if wider not in covered for one in covered}
    result: dict[Suffix, list[Place]] = {}
    for suffix, places in found.items():
        is_kept = suffix[0].name is None or filters[suffix] not in widened
        if is_kept or len({place.levels[0] for place in places}) > MOST_APART:
            result.setdefault(suffix, []).extend(places)
        else:
            for place in places:
                result.setdefault((Level(place.levels[0]), *suffix[1:]), []).append(place)
    return result


def _gathered(found: dict[Suffix, list[Place]]) -> dict[Suffix, list[Place]]:
    """Make one address of many for bare values that begin alike: a tree of values is one stream."""
    by_first: dict[Level, list[Suffix]] = {}
    for suffix, places in found.items():
        if len(suffix) > 1 and all(place.is_bare for place in places):
            by_first.setdefault(suffix[0], []).append(suffix)
    for first, suffixes in by_first.items():
        if len(suffixes) > MOST_OF_BARE and first.name is None:
            fewest = min(map(len, suffixes)) - 1
            common = suffixes[0][: next((n for n in range(fewest) if len({one[n] for one in suffixes}) > 1), fewest)]
            is_multi = any(len(one) > len(common) + 1 for one in suffixes)
            gathered = (*common, PARAMETER._replace(is_multi=is_multi))
            found.setdefault(gathered, []).extend(place for one in suffixes for place in found.pop(one))
    return found


def classes(features: Sequence[frozenset[tuple[str, str]]]) -> list[int]:
    """Number the features of payloads; those that look alike get the same number."""
    numbers: dict[frozenset[tuple[str, str]], int] = {}
    unions: list[set[tuple[str, str]]] = []
    for one in sorted(set(features), key=lambda each: (-len(each), sorted(each))):
        alike = (number for number, union in enumerate(unions[:MOST_COMPARED]) if _alike(one, union))
        number = next(alike, len(unions))
        if number == len(unions):
            unions.append(set())
        unions[number] |= one
        numbers[one] = number
    return [numbers[one] for one in features]


def _alike(one: frozenset[tuple[str, str]], union: set[tuple[str, str]]) -> bool:
    common = len(one & union)
    return common >= CONTAINED * len(one) or common > SHARED * len(one | union)


def _below(places: Sequence[Place], depth: int) -> dict[Suffix, list[Place]]:
    found = _many_levels(places, depth)
    several = {place for each in found.values() for place in each}
    places = [place for place in places if place not in several]
    by_name: dict[str, list[Place]] = {}
    for place in places:
        if len(place.levels) == depth:
            found.setdefault((), []).append(place)
        else:
            by_name.setdefault(place.levels[depth], []).append(place)
    below = {name: _below(each, depth + 1) for name, each in by_name.items()}
    for level, names in _levels(below, depth):
        parts = [below[name] for name in names]
        if any(part.keys() != parts[0].keys() for part in parts):
            parts = [_below([place for name in names for place in by_name[name]], depth + 1)]
        for part in parts:
            for suffix, members in part.items():
                is_multi = level.name is not None and any("/" in name for name in names)
                found.setdefault((level._replace(is_multi=is_multi), *suffix), []).extend(members)
    return found


def _many_levels(places: Sequence[Place], depth: int) -> dict[Suffix, list[Place]]:
    """Find topics below a level that differ in depth, and look and end alike."""
    by_end: dict[tuple[str, frozenset[int]], list[Place]] = {}
    ends = Counter(place.levels[-1] for place in places if len(place.levels) > depth + 1)
    for place in places if depth else ():
        end = place.levels[-1] if ends[place.levels[-1]] > 1 else ""
        if not place.is_bare and len(place.levels) > depth + bool(end):
            by_end.setdefault((end, place.classes), []).append(place)
    found: dict[Suffix, list[Place]] = {}
    for (end, _), each in by_end.items():
        if len({len(one.levels) for one in each}) > 1 and len({one.levels[depth] for one in each}) > 1:
            suffix = (PARAMETER._replace(is_multi=True), *([Level(end)] if end else []))
            found.setdefault(suffix, []).extend(each)
    return found


def _levels(below: dict[str, dict[Suffix, list[Place]]], depth: int) -> list[tuple[Level, list[str]]]:
    """Choose the level of each name: literal, partly literal, or a parameter."""
    groups = _groups(below)
    parameters = [names for names in groups if all(names) and _is_parameter(names, below, depth)]
    literal = [name for names in groups if names not in parameters for name in names]
    levels = [(Level(name), [name]) for name in sorted(literal)]
    if len(parameters) < 2:
        return levels + [(PARAMETER, names) for names in parameters]
    prefixes = [_common(names) for names in parameters]
    if all(len(one) > 1 and sum(name.startswith(one) for name in below) == len(names)
           for one, names in zip(prefixes, parameters, strict=True)):  # fmt: skip
        return levels + [(Level(one, "?"), names) for one, names in zip(prefixes, parameters, strict=True)]
    return [*levels, (PARAMETER, sorted(name for names in parameters for name in names))]


def _groups(below: dict[str, dict[Suffix, list[Place]]]) -> list[list[str]]:
    """Group the names of a level whose topics go on alike."""
    by_signature: dict[frozenset[tuple[Suffix, int]], list[str]] = {}
    for name, suffixes in below.items():
        every = ((suffix, number) for suffix, each in suffixes.items() for place in each for number in place.classes)
        by_signature.setdefault(frozenset(every), []).append(name)
    groups: list[tuple[set[tuple[Suffix, int]], list[str]]] = []
    for signature, names in sorted(by_signature.items(), key=lambda each: (-len(each[0]), each[1])):
        alike = (one for one in groups[:MOST_COMPARED] if len(signature & one[0]) >= LIKE * len(signature))
        if (group := next(alike, None)) is None:
            groups.append((set(signature), list(names)))
        else:
            group[0].update(signature)
            group[1].extend(names)
    return [sorted(names) for _, names in groups]


def _common(names: Sequence[str]) -> str:
    """Give what names begin with, up to a mark between words."""
    low, high = min(names), max(names)
    shared = next((place for place, mark in enumerate(low) if high[place : place + 1] != mark), len(low))
    return re.sub(r"[^_.:-]*\Z", "", low[:shared])


def _is_parameter(names: list[str], below: dict[str, dict[Suffix, list[Place]]], depth: int) -> bool:
    if all(place.is_device for name in names for place in below[name].get((), [NO_DEVICE])):
        return True
    are_identifiers = all(map(IDENTIFIER.search, names))
    if len(names) == 1:
        return are_identifiers and depth > 0
    is_bare = all(place.is_bare for name in names for place in below[name].get((), ()))
    if is_bare and all(() in below[name] for name in names) and all(map(is_measure, names)):
        return False
    return are_identifiers or depth > 0 or len(names) >= FEWEST_SYSTEMS


def _sortable(suffix: Suffix) -> list[tuple[str, str, str]]:
    return [(level.before, level.name or "", level.after) for level in suffix]
