"""What was heard of each topic: statistics of every value in its payloads, in bounded memory.

Messages of one topic with different members are kept apart (`Shape`), because they may be different messages.
Statistics are kept while listening, so that the end is quick; those of topics with one address are added up there.

What is bounded: topics, members of a topic, members in all, levels of a payload, words of a text, bytes of a payload.
What lies beyond is counted, and reported as not learned.

Retained messages may be older than the devices' present firmware. They count only for topics without another message.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.operate.learn.descriptions import Descriptions, is_description

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TOPICS = 10_000
MAX_MEMBERS = 200  # of a topic
MAX_MEMBERS_IN_ALL = 75_000
MAX_LEVELS = 8  # of a payload
MAX_TOPIC_LEVELS = 12
MAX_SHAPES = 4  # of a topic
MAX_PAYLOAD = 65_536  # bytes that are parsed
MAX_SAMPLE = 16_384  # bytes of a payload that is kept, one of each topic
MAX_SAMPLES = 2**24  # bytes of these in all
MAX_WORDS = 13  # one more than an enum may have
MAX_WORD = 64  # characters
FEWEST_OF_MAP = 30  # members of an object, most of them absent in most messages
MAX_ITEMS = 100  # of an array that are looked at
DAY = 86_400_000
UNITS = {"s": 1_000, "ms": 1, "us": 0.001, "ns": 0.000001}  # of numbers that are times, in milliseconds
NUMERIC = re.compile(r"[ \t]*[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[ \t]*\Z", re.ASCII)
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d(?::?\d\d)?)?\Z",
    re.ASCII,
)
AVAILABILITY = frozenset({"online", "offline", "connected", "disconnected", "lost", "availability", "lwt"})
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
PLAIN, QUOTED, ARRAY = "plain", "quoted", "array"  # shapes of payloads that are no objects


class Moment:
    """The message that is looked at."""

    __slots__ = ("is_cut", "number", "places", "received_at", "room")

    def __init__(self) -> None:
        self.number = 0  # of the message among all that were heard
        self.received_at = 0  # milliseconds since 1970
        self.places: dict[Any, int] = {}  # text or number of a level of the topic -> its place
        self.room = 0  # how many more members may be kept
        self.is_cut = False  # members were left out


class Numbers:
    """The numbers at a place."""

    __slots__ = ("changes", "doubles", "falls", "high", "high2", "integers", "last", "low", "low2", "near", "zeros")

    def __init__(self) -> None:
        self.integers = self.doubles = self.zeros = self.falls = self.changes = 0
        self.low: float | None = None  # the smallest value, and the smallest but one
        self.low2: float | None = None
        self.high: float | None = None
        self.high2: float | None = None
        self.last: float | None = None
        self.near: dict[str, int] = {}  # unit -> how many are a time within a day of the arrival

    @property
    def count(self) -> int:
        """How many there were."""
        return self.integers + self.doubles

    def take(self, value: float, moment: Moment) -> None:
        """Count a number."""
        if type(value) is int:
            self.integers += 1
        else:
            self.doubles += 1
        if not value:
            self.zeros += 1
        last, self.last = self.last, value
        if last is not None and value != last:
            self.changes += 1
            self.falls += value < last
        self._extend(value)
        if value >= 1e9:
            for unit, factor in UNITS.items():
                if abs(value * factor - moment.received_at) <= DAY:
                    self.near[unit] = self.near.get(unit, 0) + 1

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
        for name in ("integers", "doubles", "zeros", "falls", "changes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for value in (other.low2, other.low, other.high2, other.high):
            if value is not None:
                self._extend(value)
        self.near = _sum(self.near, other.near)


class Texts:
    """The texts at a place."""

    __slots__ = ("ahead", "count", "digits", "earliest", "is_varied", "local", "near", "numeric",
                 "points", "words", "zoned")  # fmt: skip

    def __init__(self) -> None:
        self.count = self.numeric = self.points = self.zoned = self.local = self.near = 0
        self.digits = 0  # of the fractions of times
        self.earliest = float("inf")  # of the times, in milliseconds since 1970
        self.ahead: set[int] | None = set()  # hours that local times are ahead of the arrival; None for too many
        self.words: dict[str, int] | None = {}  # others -> the message that had it first; None for too many
        self.is_varied = False  # a topic had several

    def take(self, value: str, moment: Moment) -> None:
        """Count a text."""
        self.count += 1
        if NUMERIC.match(value):
            self.numeric += 1
            self.points += "." in value
        elif (match := TIME.match(value)) and self._is_time(match, moment):
            pass
        elif self.words is not None and value not in self.words:
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
        ahead = milliseconds - moment.received_at
        if zone:
            self.zoned += 1
            self.near += abs(ahead) <= DAY
        else:
            self.local += 1
            self.near += abs(ahead) <= DAY
            if self.ahead is not None:
                self.ahead.add(round(ahead / 900_000))
                self.ahead = self.ahead if len(self.ahead) <= 2 else None
        return True

    def add(self, other: Texts) -> None:
        """Add those of another topic."""
        for name in ("count", "numeric", "points", "zoned", "local", "near"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.earliest = min(self.earliest, other.earliest)
        self.digits = max(self.digits, other.digits)
        self.ahead = None if self.ahead is None or other.ahead is None else self.ahead | other.ahead
        self.is_varied |= other.is_varied
        if self.words is None or other.words is None:
            self.words = None
            return
        for word, number in other.words.items():
            self.words[word] = min(number, self.words.get(word, number))
        if len(self.words) > MAX_WORDS:
            self.words = None


class Evidence:
    """The values at one place of the payloads, and below it."""

    __slots__ = ("arrays", "count", "equal", "falses", "items", "members", "nulls", "numbers", "objects", "texts",
                 "trues")  # fmt: skip

    def __init__(self) -> None:
        self.count = self.nulls = self.trues = self.falses = self.objects = self.arrays = 0
        self.numbers: Numbers | None = None
        self.texts: Texts | None = None
        self.members: dict[str, Evidence] = _NONE
        self.items: Evidence | None = None
        self.equal: dict[int, int] | None = None  # place of a level of the topic -> how often the value was equal

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
                    moment.is_cut = True
                    continue
                moment.room -= 1
                if members is _NONE:
                    members = self.members = {}
                evidence = members[name] = Evidence()
            evidence.take(member, moment, levels - 1)

    def _take_items(self, value: list[Any], moment: Moment, levels: int) -> None:
        if self.items is None:
            if levels <= 1:
                moment.is_cut = True
                return
            self.items = Evidence()
        for item in value[:MAX_ITEMS]:
            self.items.take(item, moment, levels - 1)

    def add(self, other: Evidence) -> None:
        """Add that of another topic."""
        for name in ("count", "nulls", "trues", "falses", "objects", "arrays"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
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
    def is_map(self) -> bool:
        """Tell whether the names of the members are values rather than words of a form."""
        present = sum(member.count for member in self.members.values())
        return len(self.members) > FEWEST_OF_MAP and 2 * present < self.objects * len(self.members)

    def leaves(self, pointer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Evidence]]:
        """The places that are not only objects, with their JSON pointers, in the order of their names."""
        if (
            self.objects < self.count - self.nulls
            or not self.members
            or ((pointer or len(self.members) > MAX_MEMBERS) and self.is_map)
        ):
            yield pointer, self
        else:
            for name, member in sorted(self.members.items()):
                yield from member.leaves((*pointer, name))


_NONE: dict[str, Evidence] = {}


class Shape:
    """Messages of a topic that have the same members, or nearly."""

    __slots__ = ("evidence", "first", "last", "names")

    def __init__(self, names: frozenset[str] | str, number: int) -> None:
        self.names = names
        self.evidence = Evidence()
        self.first = self.last = number  # of its messages

    @property
    def features(self) -> frozenset[tuple[str, str]]:
        """What it is compared by: members with their kinds."""
        evidence = self.evidence
        if self.names == ARRAY:
            item = evidence.items or Evidence()
            return frozenset({("[]", "array"), *((name, each.kind) for name, each in item.members.items())})
        if isinstance(self.names, str):
            return frozenset({("", "bare")})
        return frozenset((name, each.kind) for name, each in evidence.members.items())


class Topic:
    """What was heard of one topic."""

    __slots__ = (
        "is_cut",
        "is_description",
        "levels",
        "members",
        "messages",
        "places",
        "retained",
        "sample",
        "shapes",
        "unread",
    )

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
        self.is_cut = False
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
    """All that was heard."""

    def __init__(self) -> None:
        self.messages = 0
        self.span = (0, 0)  # arrival of the first and of the last, milliseconds since 1970
        self.topics: dict[bytes, Topic] = {}
        self.others: set[int] = set()  # hashes of topics beyond the limit; bounded too
        self.unreadable = 0  # messages of topics that no address can have
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
        if moment.is_cut:
            known.is_cut, moment.is_cut = True, False

    def _names(self, parsed: Parsed) -> frozenset[str] | str:
        if not isinstance(parsed.value, dict):
            return parsed.form
        names = frozenset(parsed.value)
        if len(self._shapes) < MAX_TOPICS:
            return self._shapes.setdefault(names, names)
        return names

    def _new(self, topic: bytes) -> Topic | None:
        try:
            levels = tuple(topic.decode().split("/"))
        except UnicodeDecodeError:
            levels = ()
        if not levels or not all(levels) or len(levels) > MAX_TOPIC_LEVELS or any(map(_is_unfit, levels)):
            self.unreadable += 1
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
    except (msgspec.DecodeError, ValueError):
        return _plain(payload)
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
    if text.startswith(("{", "[")):
        return Unread("neither JSON nor plain text")
    return Parsed(text, PLAIN) if text else Unread("empty")


def _is_unfit(level: str) -> bool:
    """Tell whether no address may have a level: AsyncAPI takes braces for parameters, and control characters hide."""
    return any(mark in level for mark in "{}+#") or not level.isprintable()


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
