"""What was received of each topic: statistics of every value in its payloads, in bounded memory.

Messages of one topic with different members are kept apart (`Shape`), because they may be different messages.
Statistics are kept while listening, so that the end is quick; those of topics with one address are added up there.

What is bounded: topics, members of a topic, members in all, levels of a payload, words of a text, bytes of a payload.
What lies beyond is counted, and reported as not learned.

Retained messages may be older than the devices' present firmware. They count only for topics without another message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.operate.learn.descriptions import Descriptions, is_description

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TOPICS = 10_000
MAX_MEMBERS = 200  # of a topic
MAX_MEMBERS_IN_ALL = 75_000
MAX_LEVELS = 8  # of a payload
LIMITS = f"{MAX_MEMBERS:,} of a topic, {MAX_MEMBERS_IN_ALL:,} in all, {MAX_LEVELS} levels"
MAX_TOPIC_LEVELS = 12
MAX_SHAPES = 4  # of a topic
MAX_PAYLOAD = 65_536  # bytes that are parsed
MAX_SAMPLE = 16_384  # bytes of a payload that is kept, one of each topic
MAX_SAMPLES = 2**24  # bytes of these in all
MAX_WORDS = 13  # one more than an enum may have
MAX_WORD = 64  # characters
FEWEST_OF_MAP = 30  # members of an object, most of them absent in most messages
MAX_ITEMS = 100  # of an array that are looked at
DAY, QUARTER = 86_400_000, 900_000
MAX_UNFIT, MAX_TOPIC = 1_000, 200  # topics that are reported, and characters of one
EXACT = 2**53  # up to it a double holds all integers
FIRST_TIME = 1e9  # the smallest number that may be a time near the arrival
UNITS = {"s": 1_000, "ms": 1, "us": 0.001, "ns": 0.000001}  # of numbers that are times, in milliseconds
NUMERIC = re.compile(r"[ \t]*[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[ \t]*\Z", re.ASCII)
EPOCH = re.compile(r"\d{10,19}\Z", re.ASCII)
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d(?::?\d\d)?)?\Z",
    re.ASCII,
)
AVAILABILITY = frozenset({"online", "offline", "connected", "disconnected", "lost", "availability", "lwt"})
ODD = re.compile(  # texts that are numbers or times, as nothing in x-source reads them
    r"(?P<comma>[+-]?\d+,\d+)\Z"
    r"|(?P<unit>[+-]?\d+(?:[.,]\d+)? ?(?:%|°[CF]?|[CFK]|[kM]?Wh?|[km]?[VA]|[hk]?Pa|m?bar|k?Hz|lx|ppm|[kcm]?m|k?g))\Z"
    r"|(?P<date>(?:\d{4}[./-]\d\d?[./-]\d\d?|\d\d?[./-]\d\d?[./-]\d{4})(?:[ T,]+\d\d?:\d\d(?::\d\d)?(?: ?[AP]M)?)?)\Z",
    re.ASCII | re.IGNORECASE,
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
Pointer = tuple[str, ...]
VALUE = "value"  # a name that tells nothing
PLAIN, QUOTED, ARRAY = "plain", "quoted", "array"  # shapes of payloads that are no objects


@dataclass(slots=True)
class Moment:
    """The message that is looked at."""

    number: int = 0  # of the message among all that were received
    received_at: int = 0  # milliseconds since 1970
    places: dict[Any, int] = field(default_factory=dict)  # text or number of a level of the topic -> its place
    room: int = 0  # how many more members may be kept
    cut: int = 0  # members that were left out


def _summed(one: Any, other: Any, *names: str) -> None:
    for name in names:
        setattr(one, name, getattr(one, name) + getattr(other, name))


@dataclass(slots=True, eq=False)
class Near:
    """Values that are times within a day of the arrival of their messages."""

    counts: dict[str, int] = field(default_factory=dict)  # by unit; "" of times in words
    lag: float = 0  # milliseconds from the arrivals, all added up

    def take(self, unit: str, distance: float) -> bool:
        """Count a time, if it is one."""
        if is_near := abs(distance) <= DAY:
            self.counts[unit] = self.counts.get(unit, 0) + 1
            self.lag += abs(distance)
        return is_near

    def take_number(self, value: float, moment: Moment) -> None:
        """Count a number, in the unit in which it is a time."""
        for unit, factor in UNITS.items():
            if self.take(unit, value * factor - moment.received_at):
                return

    def plus(self, other: Near) -> Near:
        """Add those of another topic."""
        return Near(_sum(self.counts, other.counts), self.lag + other.lag) if other.counts else self

    @property
    def unit(self) -> str:
        """The most frequent unit; "" for none."""
        return max(self.counts, key=lambda unit: self.counts[unit], default="")

    @property
    def mean(self) -> float:
        """Milliseconds from the arrival, on average."""
        return self.lag / max(sum(self.counts.values()), 1)


NOWHERE = Near()  # never changed


@dataclass(slots=True, eq=False)
class Numbers:
    """The numbers at a place."""

    integers: int = 0
    doubles: int = 0
    zeros: int = 0
    falls: int = 0
    changes: int = 0
    topics: int = 0
    lossy: int = 0  # integers that a double does not hold
    low: float | None = None  # the smallest value, and the smallest but one
    low2: float | None = None
    high: float | None = None
    high2: float | None = None
    last: float | None = None
    near: Near = NOWHERE

    @property
    def count(self) -> int:
        """How many there were."""
        return self.integers + self.doubles

    def take(self, value: float, moment: Moment) -> None:
        """Count a number."""
        if type(value) is int:
            self.integers += 1
            self.lossy += not -EXACT <= value <= EXACT and int(float(value)) != value
        else:
            self.doubles += 1
        if not value:
            self.zeros += 1
        self.topics = 1
        last, self.last = self.last, value
        if last is not None and value != last:
            self.changes += 1
            self.falls += value < last
        self._extend(value)
        if value >= FIRST_TIME:
            self.near = Near() if self.near is NOWHERE else self.near
            self.near.take_number(value, moment)

    def _extend(self, value: float) -> None:
        if self.low is None or value < self.low:
            self.low2, self.low = self.low, value
        elif value > self.low and (self.low2 is None or value < self.low2):
            self.low2 = value
        if self.high is None or value > self.high:
            self.high2, self.high = self.high, value
        elif value < self.high and (self.high2 is None or value > self.high2):
            self.high2 = value

    def add(self, other: Numbers) -> None:
        """Add those of another topic."""
        _summed(self, other, "integers", "doubles", "zeros", "falls", "changes", "topics", "lossy")
        for value in (other.low2, other.low, other.high2, other.high):
            if value is not None:
                self._extend(value)
        self.near = self.near.plus(other.near)


@dataclass(slots=True, eq=False)
class Texts:
    """The texts at a place."""

    count: int = 0
    numeric: int = 0
    points: int = 0  # of the numeric ones, those with a fraction
    zoned: int = 0  # times with a zone, and without
    local: int = 0
    digits: int = 0  # of the fractions of times
    earliest: float = inf  # of the times, in milliseconds since 1970
    last: float | None = None
    changes: int = 0  # times that differ from the one before
    topics: int = 0  # with times
    near: Near = NOWHERE
    ahead: frozenset[int] = frozenset()  # quarters of an hour that local times near the arrival are ahead of it
    words: dict[str, int] | None = field(default_factory=dict)  # others -> the message that had it first
    is_varied: bool = False  # a topic had several words
    odd: int = 0  # in a form that nothing reads, and the last one
    form: str = ""

    @property
    def is_clock(self) -> bool:
        """Tell whether the times go on; the start of a total does not."""
        return self.changes > 0 or self.topics == self.zoned + self.local

    def take(self, value: str, moment: Moment) -> None:
        """Count a text."""
        self.count += 1
        if NUMERIC.match(value):
            self.numeric += 1
            self.points += "." in value
            if EPOCH.match(value):
                self.near = Near() if self.near is NOWHERE else self.near
                self.near.take_number(int(value), moment)
        elif (match := TIME.match(value)) and self._is_time(match, moment):
            pass
        else:
            self._take_word(value, moment)

    def _take_word(self, value: str, moment: Moment) -> None:
        if (self.odd or self.count == 1) and (match := ODD.match(value)):
            self.odd += 1
            self.form = match.lastgroup or ""
        if self.words is not None and value not in self.words:
            self.words[value] = moment.number
            self.is_varied = len(self.words) > 1
            if len(self.words) > MAX_WORDS or len(value) > MAX_WORD:
                self.words = None

    def _is_time(self, match: re.Match[str], moment: Moment) -> bool:
        day, clock, fraction, zone = match.groups()
        milliseconds = _milliseconds(f"{day} {clock}", zone)
        if milliseconds is None:
            return False
        self.digits = max(self.digits, len(fraction or ""))
        self.earliest = min(self.earliest, milliseconds)
        self.topics = 1
        self.changes += self.last not in {None, milliseconds}
        self.last = milliseconds
        self.zoned += bool(zone)
        self.local += not zone
        self.near = Near() if self.near is NOWHERE else self.near
        ahead = milliseconds - moment.received_at
        if self.near.take("", ahead) and not zone:
            self.ahead |= {round(ahead / QUARTER)}
        return True

    def add(self, other: Texts) -> None:
        """Add those of another topic."""
        _summed(self, other, "count", "numeric", "points", "zoned", "local", "changes", "topics", "odd")
        self.form = self.form or other.form
        self.earliest = min(self.earliest, other.earliest)
        self.digits = max(self.digits, other.digits)
        self.ahead |= other.ahead
        self.is_varied |= other.is_varied
        self.near = self.near.plus(other.near)
        if self.words is None or other.words is None:
            self.words = None
            return
        for word, number in other.words.items():
            self.words[word] = min(number, self.words.get(word, number))
        if len(self.words) > MAX_WORDS:
            self.words = None


_NONE: dict[str, Evidence] = {}


@dataclass(slots=True, eq=False)
class Evidence:
    """The values at one place of the payloads, and below it."""

    count: int = 0
    nulls: int = 0
    trues: int = 0
    falses: int = 0
    objects: int = 0
    arrays: int = 0
    numbers: Numbers | None = None
    texts: Texts | None = None
    members: dict[str, Evidence] = field(default_factory=lambda: _NONE)
    items: Evidence | None = None
    equal: dict[int, int] | None = None  # place of a level of the topic -> how often the value was equal

    def take(self, value: Any, moment: Moment, levels: int = MAX_LEVELS) -> None:
        """Count a value."""
        self.count += 1
        kind = type(value)
        if kind is float or kind is int:
            if self.numbers is None:
                self.numbers = Numbers()
            self.numbers.take(value, moment)
            if kind is int and value in moment.places:
                self._equals(moment.places[value])
        elif kind is str:
            if self.texts is None:
                self.texts = Texts()
            self.texts.take(value, moment)
            if value in moment.places:
                self._equals(moment.places[value])
        elif kind is bool:
            self.trues += value
            self.falses += not value
        elif value is None:
            self.nulls += 1
        elif kind is dict:
            self.objects += 1
            self._take_members(value, moment, levels)
        else:
            self.arrays += 1
            self._take_items(value, moment, levels)

    def _equals(self, place: int) -> None:
        self.equal = self.equal or {}
        self.equal[place] = self.equal.get(place, 0) + 1

    def _take_members(self, value: dict[str, Any], moment: Moment, levels: int) -> None:
        members = self.members
        for name, member in value.items():
            evidence = members.get(name)
            if evidence is None:
                if moment.room <= 0 or levels <= 1:
                    moment.cut += 1
                    continue
                moment.room -= 1
                if members is _NONE:
                    members = self.members = {}
                evidence = members[name] = Evidence()
            evidence.take(member, moment, levels - 1)

    def _take_items(self, value: list[Any], moment: Moment, levels: int) -> None:
        if self.items is None:
            if levels <= 1:
                moment.cut += 1
                return
            self.items = Evidence()
        for item in value[:MAX_ITEMS]:
            self.items.take(item, moment, levels - 1)

    def add(self, other: Evidence) -> None:
        """Add that of another topic."""
        _summed(self, other, "count", "nulls", "trues", "falses", "objects", "arrays")
        if other.numbers:
            self.numbers = self.numbers or Numbers()
            self.numbers.add(other.numbers)
        if other.texts:
            self.texts = self.texts or Texts()
            self.texts.add(other.texts)
        if other.items:
            self.items = self.items or Evidence()
            self.items.add(other.items)
        if other.equal:
            self.equal = _sum(self.equal or {}, other.equal)
        if other.members:
            self.members = {} if self.members is _NONE else self.members
        for name, member in other.members.items():
            self.members.setdefault(name, Evidence()).add(member)

    @property
    def kind(self) -> str:
        """The most frequent kind of value."""
        counts = {
            "number": self.numbers.count if self.numbers else 0,
            "text": self.texts.count if self.texts else 0,
            "boolean": self.trues + self.falses,
            "object": self.objects,
            "array": self.arrays,
        }
        return max(counts, key=lambda kind: counts[kind]) if any(counts.values()) else "null"

    @property
    def has_zero(self) -> bool:
        """Tell whether zero, false, null or an empty text was among the values."""
        is_empty = self.texts is not None and "" in (self.texts.words or ())
        return bool(self.falses or self.nulls or is_empty or (self.numbers and self.numbers.zeros))

    @property
    def is_time(self) -> bool:
        """Tell whether most of the numbers are times near the arrival."""
        return self.numbers is not None and 2 * max(self.numbers.near.counts.values(), default=0) > self.count

    @property
    def is_map(self) -> bool:
        """Tell whether the names of the members are data, such as ids of devices, instead of names of fields."""
        present = sum(member.count for member in self.members.values())
        return len(self.members) > FEWEST_OF_MAP and 2 * present < self.objects * len(self.members)

    def at(self, pointer: Pointer) -> Evidence | None:
        """The evidence of a place below it; None when nothing was there."""
        found: Evidence | None = self
        for name in pointer:
            found = found.members.get(name) if found else None
        return found

    def leaves(self, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Evidence]]:
        """The places that are not only objects, with their JSON pointers, in the order of their names."""
        is_map = (pointer or len(self.members) > MAX_MEMBERS) and self.is_map
        if is_map or not self.members or self.objects < self.count - self.nulls:
            yield pointer, self
        else:
            for name, member in sorted(self.members.items()):
                yield from member.leaves((*pointer, name))


def total(each: Iterable[Evidence]) -> Evidence:
    """Add evidence up."""
    added = Evidence()
    for one in each:
        added.add(one)
    return added


class Shape:
    """Messages of a topic that have the same members, or nearly."""

    __slots__ = ("evidence", "first", "last", "names")

    def __init__(self, names: frozenset[str] | str, number: int) -> None:
        self.names = names
        self.evidence = Evidence()
        self.first = self.last = number  # of its messages

    def includes(self, other: Shape) -> bool:
        """Tell whether the members of another shape are all among its own."""
        are_objects = not isinstance(self.names, str) and not isinstance(other.names, str)
        return are_objects and other.evidence.members.keys() <= self.evidence.members.keys()

    def plus(self, other: Shape) -> Shape:
        """Add another shape of the topic."""
        both = Shape(self.names, min(self.first, other.first))
        both.last, both.evidence = max(self.last, other.last), total((self.evidence, other.evidence))
        return both

    @property
    def features(self) -> frozenset[tuple[str, str]]:
        """What it is compared by: members with their kinds."""
        evidence = self.evidence
        if self.names == ARRAY:
            item = evidence.items or Evidence()
            return frozenset({("[]", "array"), *((name, each.kind) for name, each in item.members.items())})
        if isinstance(self.names, str):
            return frozenset({("", "bare")})
        return frozenset(
            (name, "time" if name == VALUE and each.is_time else each.kind) for name, each in evidence.members.items()
        )


class Topic:
    """What was received of one topic."""

    __slots__ = ("cut", "is_description", "levels", "members", "messages", "places", "retained", "sample",
                 "shapes", "unread")  # fmt: skip

    def __init__(self, levels: tuple[str, ...], *, is_description: bool = False) -> None:
        self.levels = levels
        self.is_description = is_description
        self.places: dict[Any, int] = {}
        for place, level in enumerate(levels):
            if level:
                self.places[level] = place
                if level.isdecimal() and level.isascii() and len(level) < 16:
                    self.places[int(level)] = place
        self.messages = self.retained = self.members = 0
        self.cut = 0  # members that were left out of a payload, at most
        self.shapes: dict[bool, list[Shape]] = {False: [], True: []}  # of messages that were retained, and of others
        self.unread: dict[str, int] = {}  # why messages were not learned from -> how many
        self.sample = b""  # a payload

    @property
    def name(self) -> str:
        """The topic."""
        return "/".join(self.levels)

    @property
    def learned(self) -> list[Shape]:
        """The shapes that count."""
        return self.shapes[False] or self.shapes[True]

    @property
    def evidence(self) -> Evidence:
        """All that counts."""
        return total(shape.evidence for shape in self.learned)

    @property
    def is_availability(self) -> bool:
        """Tell whether the topic says only that a device is connected."""
        shapes = self.learned
        texts = shapes[0].evidence.texts if len(shapes) == 1 else None
        if texts and texts.words and {word.lower() for word in texts.words} <= AVAILABILITY:
            return texts.count == shapes[0].evidence.count
        is_bare = len(shapes) == 1 and shapes[0].names == PLAIN and not shapes[0].evidence.numbers
        return is_bare and self.levels[-1].lower() in AVAILABILITY

    def shape(self, names: frozenset[str] | str, number: int, *, retain: bool) -> Shape:
        """Find the shape of a message, or make it."""
        shapes = self.shapes[retain]
        for shape in shapes:
            if shape.names == names:
                shape.last = number
                return shape
        if len(shapes) < MAX_SHAPES or isinstance(names, str):
            shapes.append(Shape(names, number))
            return shapes[-1]
        nearest = max(shapes, key=lambda shape: _likeness(shape.names, names))
        nearest.last = number
        return nearest


class Traffic:
    """All that was received."""

    def __init__(self) -> None:
        self.messages = 0
        self.span = (0, 0)  # arrival of the first and of the last, milliseconds since 1970
        self.topics: dict[bytes, Topic] = {}
        self.others: set[int] = set()  # hashes of topics beyond the limit; bounded too
        self.unfit: dict[str, str] = {}  # topics that no address can have -> why, so many as are shown
        self.unreadable = 0  # messages of these
        self.descriptions = Descriptions()
        self._room, self._sample_room = MAX_MEMBERS_IN_ALL, MAX_SAMPLES
        self._shapes: dict[frozenset[str], frozenset[str]] = {}
        self._moment = Moment()

    def take(self, topic: bytes, payload: bytes, received_at: int, *, retain: bool = False) -> None:
        """Learn from a message."""
        self.messages += 1
        self.span = (self.span[0] or received_at, received_at)
        known = self.topics.get(topic)
        if known is None:
            if (known := self._new(topic)) is None:
                return
            self.topics[topic] = known
        known.messages += 1
        known.retained += retain
        if known.is_description:
            self.descriptions.take(topic, payload)
            return
        if not known.sample and len(payload) <= min(MAX_SAMPLE, self._sample_room):
            known.sample = payload
            self._sample_room -= len(payload)
        parsed = parse(payload)
        if isinstance(parsed, Unread):
            known.unread[parsed.reason] = known.unread.get(parsed.reason, 0) + 1
            return
        moment = self._moment
        moment.number, moment.received_at, moment.places = self.messages, received_at, known.places
        moment.room = room = min(MAX_MEMBERS - known.members, self._room)
        shape = known.shape(self._names(parsed), self.messages, retain=retain)
        shape.evidence.take(parsed.value, moment)
        known.members += room - moment.room
        self._room -= room - moment.room
        if moment.cut:
            known.cut, moment.cut = max(known.cut, moment.cut), 0

    def _names(self, parsed: Parsed) -> frozenset[str] | str:
        if not isinstance(parsed.value, dict):
            return parsed.form
        names = frozenset(parsed.value)
        if len(self._shapes) < MAX_TOPICS:
            return self._shapes.setdefault(names, names)
        return names

    def _new(self, topic: bytes) -> Topic | None:
        name = topic.decode(errors="replace")
        levels = tuple(name.split("/"))
        if why := _unfit(topic, levels):
            self.unreadable += 1
            if len(self.unfit) < MAX_UNFIT:
                self.unfit.setdefault(name[:MAX_TOPIC], why)
            return None
        if len(self.topics) >= MAX_TOPICS:
            if len(self.others) < 10 * MAX_TOPICS:
                self.others.add(hash(topic))
            return None
        return Topic(levels, is_description=is_description(topic))


class Parsed(NamedTuple):
    """A payload's value, and the form that it has: `object`, or a shape of another one."""

    value: Any
    form: str


class Unread(NamedTuple):
    """Why a payload is not learned from."""

    reason: str


_decode = msgspec.json.Decoder().decode


def parse(payload: bytes) -> Parsed | Unread:
    """Read a payload as JSON, else as plain text."""
    if len(payload) > MAX_PAYLOAD:
        return Unread(f"more than {MAX_PAYLOAD:,} bytes")
    try:
        value = _decode(payload)
    except RecursionError:
        return Unread("nested too deeply")
    except (msgspec.DecodeError, ValueError) as error:
        return Unread("a number beyond 64 bits of floating point") if "out of range" in str(error) else _plain(payload)
    if isinstance(value, dict):
        return Parsed(value, "object")
    if isinstance(value, list):
        return Parsed(value, ARRAY)
    return Parsed("null" if value is None else value, QUOTED if isinstance(value, str) else PLAIN)


def _plain(payload: bytes) -> Parsed | Unread:
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        return Unread("binary")
    if CONTROL.search(text):
        return Unread("binary")
    if text.startswith("\ufeff"):
        return Unread("text after a byte order mark, which JSON does not have")
    if text.startswith(("{", "[")):
        return Unread("neither JSON nor plain text")
    return Parsed(text, PLAIN) if text else Unread("empty")


def _unfit(topic: bytes, levels: tuple[str, ...]) -> str:
    """Say why no address may have a topic: AsyncAPI takes braces for parameters, and control characters hide."""
    if any(not level.isprintable() or "\ufffd" in level for level in levels):
        return "a topic with characters that cannot be shown"
    if any(mark in topic for mark in b"{}+#"):
        return "a topic with { } + or #, which addresses cannot have"
    if topic[:1] == b"$" or not any(levels):
        return "a topic of the broker, or without a name"
    return f"a topic of more than {MAX_TOPIC_LEVELS} levels" if len(levels) > MAX_TOPIC_LEVELS else ""


def _likeness(one: frozenset[str] | str, other: frozenset[str] | str) -> float:
    if isinstance(one, str) or isinstance(other, str):
        return float(one == other)
    return len(one & other) / (len(one | other) or 1)


def _sum(one: dict[Any, int], other: dict[Any, int]) -> dict[Any, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def _milliseconds(text: str, zone: str | None) -> int | None:
    try:
        offset = "" if not zone else "+00:00" if zone in "Zz" else zone
        moment = datetime.fromisoformat(f"{text}{offset}")
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
