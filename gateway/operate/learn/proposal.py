"""Addresses and evidence -> the streams of a contract.

The key of a stream is made of the parameters of its address: readings of what they name stay in order. A parameter that
a member of the payload equals is tied to it by `location`. Where the payloads of some topics have another value there,
their messages would be dead letters, so the parameter is not tied, and the topics are reported.

Messages that are published at one address are one message with members that may be absent, unless each has a member
that is always in it and never in the others: then they are several messages, told apart by these members. What was
rarely received does not become a message of its own, so that its readings stay in order with the others.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.address import Address
from gateway.operate.learn import addresses
from gateway.operate.learn.descriptions import DescribedMember
from gateway.operate.learn.evidence import ARRAY, PLAIN, Evidence, Pointer, total
from gateway.operate.learn.units import snake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.operate.learn.descriptions import Described
    from gateway.operate.learn.evidence import Shape, Topic

EQUAL = 0.99  # share of the messages in which a member equals a level of the topic
MOST = 0.5  # share of the topics in which it does, so that the others are at fault
MAX_MESSAGES = 8  # at one address
FEW, RARE, RARER = 20, 0.1, 0.01  # messages are rare: below 1 % of all, or below 10 % if fewer than 20 were received
VENUS = re.compile(r"N/[0-9a-f]{12}/")  # the topics of Venus OS
MAX_NAME = 60  # characters
KINDS = ("model", "type", "kind", "method", "event", "name")  # members that may name the kind of a message


class Note(NamedTuple):
    """Something to know about a place of the payloads."""

    pointer: str
    text: str


class Group(NamedTuple):
    """Messages of a topic that look alike."""

    topic: Topic
    shape: Shape
    look: int  # the same number for all messages of the same shape


@dataclass(slots=True)
class Parameter:
    """A parameter of an address."""

    name: str
    example: str
    pointer: Pointer = ()  # of the member that has its value; empty for none
    is_multi: bool = False


@dataclass(slots=True)
class Message:
    """One kind of message of a stream."""

    evidence: Evidence
    form: str  # "object", or a shape of another one
    middle: float  # number of the message in the middle of those that were received
    members: Mapping[str, DescribedMember]  # what descriptions say of them
    name: str = ""  # snake case
    topic: str = ""  # in Kafka
    definition: dict[str, Any] = field(default_factory=dict)  # the Avro record
    timestamp: str = ""  # the field that is the record's time
    never: list[str] = field(default_factory=list)  # members that others have
    examples: list[Any] = field(default_factory=list)

    @property
    def is_array(self) -> bool:
        """Tell whether a message holds several readings."""
        items = self.evidence.items
        return self.form == ARRAY and items is not None and items.objects == items.count > 0

    @property
    def is_bare(self) -> bool:
        """Tell whether the payload is one value."""
        return self.form != "object" and not self.is_array

    @property
    def readings(self) -> Evidence:
        """The evidence of one reading: of an item, where the payload is an array."""
        return self.evidence.items or Evidence() if self.is_array else self.evidence

    @property
    def required(self) -> list[str]:
        """The members that all readings have."""
        return sorted(name for name, each in self.readings.members.items() if each.count == self.readings.objects)


@dataclass(slots=True)
class Stream:
    """A stream to propose."""

    name: str  # snake case
    address: str
    parameters: list[Parameter]
    messages: list[Message]
    topics: list[Topic]
    notes: list[Note] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)  # messages of which nothing could be modelled

    @property
    def parsed(self) -> Address:
        """Its address."""
        return Address.parse(self.address, [one.name for one in self.parameters if one.is_multi])


class Names:
    """Makes names that are not in use."""

    def __init__(self, used: Iterable[str] = ()) -> None:
        self._used = set(used)

    def new(self, name: str) -> str:
        """Give the name, with a number if it is in use."""
        number, one = 1, name[:MAX_NAME].strip("_")
        while one in self._used:
            number += 1
            one = f"{name[:MAX_NAME]}_{number}" if name[-1:].isdigit() else f"{name[:MAX_NAME]}{number}"
        self._used.add(one)
        return one


def streams(
    topics: Iterable[Topic], descriptions: Mapping[str, Described], names: Names, others: Iterable[str] = ()
) -> list[Stream]:
    """Propose streams for topics, without records; `others` are filters that are subscribed as well."""
    shapes = [(topic, shape) for topic in topics for shape in _shapes(topic)]
    looks = addresses.classes([shape.features for _, shape in shapes])
    by_levels: dict[tuple[str, ...], list[Group]] = {}
    for (topic, shape), look in zip(shapes, looks, strict=True):
        by_levels.setdefault(_levels(topic, descriptions.get(topic.name)), []).append(Group(topic, shape, look))
    places = [_place(levels, each, descriptions) for levels, each in by_levels.items()]
    found = addresses.addresses(places, others)
    return [
        _stream(suffix, [one for place in sorted(each) for one in by_levels[place.levels]], descriptions, names)
        for suffix, each in found.items()
    ]


def _shapes(topic: Topic) -> list[Shape]:
    """Give the shapes of a topic; one whose members are all among another's is the same message without some."""
    shapes: list[Shape] = []
    for one in sorted(topic.learned, key=lambda each: -len(each.evidence.members)):
        place = next((number for number, wider in enumerate(shapes) if wider.includes(one)), len(shapes))
        shapes[place:] = [shapes[place].plus(one), *shapes[place + 1 :]] if place < len(shapes) else [one]
    return shapes


def _levels(topic: Topic, one: Described | None) -> tuple[str, ...]:
    """The levels of a topic; the name of a described device is one of them, also if it has slashes."""
    if one and one.device and topic.name.endswith(f"/{one.device}"):
        return (*topic.name.removesuffix(f"/{one.device}").split("/"), one.device)
    return topic.levels


def _place(levels: tuple[str, ...], each: list[Group], descriptions: Mapping[str, Described]) -> addresses.Place:
    is_bare = all(isinstance(one.shape.names, str) or len(one.shape.names) == 1 for one in each)
    one = descriptions.get("/".join(levels))
    is_device = one is not None and one.device == levels[-1]
    return addresses.Place(levels, frozenset(one.look for one in each), is_bare, is_device)


def _stream(
    suffix: addresses.Suffix, groups: list[Group], descriptions: Mapping[str, Described], names: Names
) -> Stream:
    topics = list({one.topic.levels: one.topic for one in groups}.values())
    stream = Stream(names.new(_name(suffix, topics)), "", [], [], topics)
    stream.messages = _messages(stream, groups, descriptions, names)
    _add_parameters(stream, suffix, groups)
    return stream


def _name(suffix: addresses.Suffix, topics: list[Topic]) -> str:
    """Name a stream after the literal levels; a letter or two say too little."""
    words = [word for level in suffix if level.before and (word := snake(level.before).strip("_"))]
    if all(VENUS.match(topic.name) for topic in topics):
        words[0] = "venus_os"
    name = "_".join(words)
    return name if len(name) > 2 else f"{name}_readings".lstrip("_")


# --- messages ----------------------------------------------------------------------------------------------------


def _messages(
    stream: Stream, groups: list[Group], descriptions: Mapping[str, Described], names: Names
) -> list[Message]:
    by_look: dict[int, list[Group]] = {}
    for one in groups:
        by_look.setdefault(one.look, []).append(one)
    if len(by_look) > MAX_MESSAGES:
        stream.notes.append(
            Note("", f"{len(by_look):,} kinds of messages, so they are one, whose members may be absent.")
        )
        by_look = {0: groups}
    made = [_message(each, descriptions) for _, each in sorted(by_look.items())]
    made = _distinguished(_of_one_form(made, stream))
    for message in made:
        suffix = _kind(message, made) if len(made) > 1 else ""
        message.name = names.new(f"{stream.name}_{suffix}") if suffix else stream.name
        message.topic = message.name.replace("_", "-")
    return made


def _message(each: Sequence[Group], descriptions: Mapping[str, Described]) -> Message:
    members = dict[str, DescribedMember]()
    for one in each:
        known = descriptions.get(one.topic.name)
        members = {**(known.members if known else {}), **members}
    middle = (min(one.shape.first for one in each) + max(one.shape.last for one in each)) / 2
    names = each[0].shape.names
    evidence = total(one.shape.evidence for one in each)
    return Message(evidence, names if isinstance(names, str) else "object", middle, members)


def _of_one_form(messages: list[Message], stream: Stream) -> list[Message]:
    """Leave the bare values or all others of an address: plain text has no members that tell it apart."""
    bare = [one for one in messages if one.is_bare]
    if not bare or len(messages) == 1:
        return messages
    others = [one for one in messages if not one.is_bare]
    kept, left = (
        (bare, others) if bare[0].evidence.count > sum(one.evidence.count for one in others) else (others, bare)
    )
    what = "objects" if kept is bare else "bare values"
    stream.notes.append(Note("", f"{sum(one.evidence.count for one in left):,} messages are {what}: not modelled."))
    return kept


def _distinguished(messages: list[Message]) -> list[Message]:
    """Merge messages that no member tells apart; say of all others which members they never have."""
    pending = list(messages)
    while pairs := list(_alike(pending)):
        pair = max(pairs, key=_likeness)
        pair[0].evidence.add(pair[1].evidence)
        pair[0].middle = max(pair[0].middle, pair[1].middle)
        pending.remove(pair[1])
    for one in pending:
        one.never = sorted({_only(other, one) for other in pending if other is not one} - {""})
    return pending


def _alike(messages: list[Message]) -> Iterator[tuple[Message, Message]]:
    received = sum(one.readings.count for one in messages)
    for one, two in combinations(messages, 2):
        fewer = min(one.readings.count, two.readings.count)
        is_rare = fewer < RARER * received or (fewer < FEW and fewer < RARE * received)
        if one.form == two.form and (is_rare or not (_only(one, two) and _only(two, one))):
            yield one, two


def _likeness(pair: tuple[Message, Message]) -> float:
    names, others = (one.readings.members.keys() for one in pair)
    return len(names & others) / (len(names | others) or 1)


def _only(one: Message, other: Message) -> str:
    """Give a member that one message always has, and another never."""
    if one.form != "object" or other.form != "object":
        return ""
    return min((name for name in one.required if name not in other.evidence.members), default="")


def _kind(one: Message, messages: list[Message]) -> str:
    """Name a message by the value of a member that names its kind, else by a member that only it has."""
    for name in KINDS:
        words = [each.evidence.members[name].texts for each in messages if name in each.evidence.members]
        single = [next(iter(each.words)) for each in words if each and each.words and len(each.words) == 1]
        if len(set(single)) == len(messages):
            return snake(single[messages.index(one)])
    others = {name for each in messages if each is not one for name in each.evidence.members}
    own = sorted((-each.count, name) for name, each in one.readings.members.items() if name not in others)
    return snake(own[0][1]) if own else one.form


# --- parameters --------------------------------------------------------------------------------------------------


def _add_parameters(stream: Stream, suffix: addresses.Suffix, groups: list[Group]) -> None:
    names, parts, is_counted = Names(), [], True
    for place, level in enumerate(suffix):
        is_counted = is_counted and not level.is_multi
        if level.name is None:
            parts.append(level.before)
            continue
        pointer, mismatches = _equal(groups, place) if is_counted and not level.before else ((), [])
        name = names.new(snake(pointer[-1]) if pointer else _named_after(suffix, place))
        if mismatches:
            stream.notes += _mismatch_notes(pointer, mismatches)
        is_tied = not mismatches and all(one.readings.at(pointer) for one in stream.messages)
        stream.parameters.append(Parameter(name, "", pointer if is_tied else (), level.is_multi))
        parts.append(f"{level.before}{{{name}}}{level.after}")
    stream.address = "/".join(parts)
    for one, value in zip(stream.parameters, stream.parsed.match(stream.topics[0].name) or (), strict=False):
        one.example = value


def _equal(groups: list[Group], place: int) -> tuple[Pointer, list[Group]]:
    """Find the member that equals a level of the topic in nearly all topics, and the topics in which it differs."""
    best: tuple[int, Pointer, list[Group]] = (len(groups), (), [])
    pointers = Counter(pointer for one in groups for pointer, _ in one.shape.evidence.leaves() if 0 < len(pointer) <= 2)
    for pointer in sorted(pointers):
        if pointer[-1] == "value" or pointers[pointer] < MOST * len(groups):
            continue
        mismatches = [one for one in groups if not _is_equal(one.shape.evidence, pointer, place)]
        if len(mismatches) < best[0] and len(mismatches) < MOST * len(groups):
            best = len(mismatches), pointer, mismatches
    return best[1], best[2]


def _is_equal(evidence: Evidence, pointer: Pointer, place: int) -> bool:
    """Tell whether a member, where it is not absent, equals a level of the topic; else the topic fills in."""
    leaf = evidence.at(pointer)
    return leaf is None or (leaf.equal or {}).get(place, 0) >= EQUAL * leaf.count


def _mismatch_notes(pointer: Pointer, mismatches: list[Group]) -> list[Note]:
    """Report topics whose payloads name another device: they would be dead letters if the parameter were tied."""
    place = f"/{'/'.join(pointer)}"
    return [Note(place, f"{one.topic.name} has another {place} than its topic: not tied.") for one in mismatches[:3]]


def _named_after(suffix: addresses.Suffix, place: int) -> str:
    """Name a parameter after the literal level before it, where that is a plural."""
    before = snake(suffix[place - 1].before) if place and suffix[place - 1].name is None else ""
    if before.endswith("s") and len(before) > 3 and not before.endswith(("ss", "us")):
        return f"{before[:-3]}y" if before.endswith("ies") else before[:-1]
    return f"level{place + 1}"


def is_text(message: Message, stream: Stream) -> bool:
    """Tell whether the payload of a message is plain text."""
    return message.form == PLAIN and len(stream.messages) == 1
