"""Addresses and evidence -> the streams of a contract.

The key of a stream is made of the parameters of its address: readings of what they name stay in order. A parameter that
a member of the payload equals is tied to it by `location`; every other one gets a field of its own.

Messages that are published at one address are one message with members that may be absent, unless each pair has a
member that is always in one and never in the other: then they are several messages, told apart by these members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.address import Level
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.operate.learn import addresses, types
from gateway.operate.learn.evidence import ARRAY, Evidence
from gateway.operate.learn.types import Context, Typed, nullable, pascal, source
from gateway.operate.learn.units import snake, unit_of
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.operate.learn.evidence import Shape, Topic

EQUAL = 0.99  # share of the messages in which a member equals a level of the topic
SHOWN_WORDS, SHOWN_BYTES = 4, 60
MAX_FIELDS = 200
NAMESPACE = "learned"
PAYLOAD, PARAMETER = "$message.payload#", "$message.parameter#"
TIME_FIRST = ("timestamp", "time", "ts", "at")  # of several times, this one is the record's


class Unmodelled(NamedTuple):
    """A value that has no field, and why."""

    stream: str
    pointer: str
    reason: str


@dataclass(slots=True)
class Parameter:
    """A parameter of an address."""

    name: str
    place: int  # level of the topic
    example: str
    pointer: tuple[str, ...] = ()  # of the member that has its value; empty for none
    lies: int = 0  # messages in which the member has another value


@dataclass(slots=True)
class Message:
    """One kind of message of a stream."""

    name: str  # camel case
    topic: str  # in Kafka
    evidence: Evidence
    form: str  # "object", or a shape of another one
    middle: float
    definition: dict[str, Any] = field(default_factory=dict)  # the Avro record
    keys: list[str] = field(default_factory=list)
    timestamp: str = ""
    required: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    examples: list[Any] = field(default_factory=list)

    @property
    def readings(self) -> Evidence:
        """The evidence of one reading: of an item, where the payload is an array."""
        return self.evidence.items or Evidence() if self.is_array else self.evidence

    @property
    def is_array(self) -> bool:
        """Tell whether a message holds several readings."""
        items = self.evidence.items
        return self.form == ARRAY and items is not None and items.objects == items.count > 0

    @property
    def is_bare(self) -> bool:
        """Tell whether the payload is one value."""
        return self.form != "object" and not self.is_array


@dataclass(slots=True)
class Stream:
    """A stream to propose."""

    name: str
    address: str
    parameters: list[Parameter]
    messages: list[Message]
    topics: list[Topic]
    notes: list[str] = field(default_factory=list)


class Names:
    """Makes names that are not in use."""

    def __init__(self, used: Iterable[str] = ()) -> None:
        self._used = set(used)

    def new(self, name: str) -> str:
        """Give the name, with a number if it is in use."""
        number, one = 1, name
        while one.lower() in self._used:
            number += 1
            one = f"{name}{number}" if not name[-1:].isdigit() else f"{name}_{number}"
        self._used.add(one.lower())
        return one


def streams(
    topics: Iterable[Topic], names: Names, *, shows_values: bool = True
) -> tuple[list[Stream], list[Unmodelled]]:
    """Propose streams for topics."""
    learned = [one for one in topics if one.learned]
    shapes = [(topic, shape) for topic in learned for shape in topic.learned]
    numbers = addresses.classes([shape.features for _, shape in shapes])
    by_topic: dict[tuple[str, ...], list[tuple[int, Shape]]] = {}
    for (topic, shape), number in zip(shapes, numbers, strict=True):
        by_topic.setdefault(topic.levels, []).append((number, shape))
    places = [
        addresses.Place(
            levels, frozenset(number for number, _ in each), all(isinstance(shape.names, str) for _, shape in each)
        )
        for levels, each in by_topic.items()
    ]
    known = {one.levels: one for one in learned}
    proposed, unmodelled = [], list[Unmodelled]()
    for suffix, members in addresses.addresses(places).items():
        each = sorted((known[one.levels] for one in members), key=lambda one: one.levels)
        numbered = [pair for one in each for pair in by_topic[one.levels]]
        stream = _stream(suffix, each, numbered, names, unmodelled)
        for message in stream.messages:
            _describe(stream, message, unmodelled, shows_values=shows_values)
        proposed.append(stream)
    return proposed, unmodelled


def _stream(
    suffix: addresses.Suffix,
    topics: list[Topic],
    shapes: list[tuple[int, Shape]],
    names: Names,
    unmodelled: list[Unmodelled],
) -> Stream:
    words = [part for level in suffix for part in [snake(level.before).strip("_")] if level.before and part]
    name = names.new("_".join(words) or "readings")
    messages = _messages(name, shapes, names, unmodelled)
    parameters = _parameters(suffix, topics, messages)
    levels = [
        Level(level.before, None if level.name is None else next(one.name for one in parameters if one.place == place))
        for place, level in enumerate(suffix)
    ]
    address = "/".join(f"{one.before}{{{one.name}}}{one.after}" if one.name else one.before for one in levels)
    return Stream(name, address, parameters, messages, topics)


# --- messages ----------------------------------------------------------------------------------------------------


def _messages(name: str, shapes: list[tuple[int, Shape]], names: Names, unmodelled: list[Unmodelled]) -> list[Message]:
    by_class: dict[int, list[Shape]] = {}
    for number, shape in shapes:
        by_class.setdefault(number, []).append(shape)
    made = [_message(each) for _, each in sorted(by_class.items())]
    made = _one_form(made, name, unmodelled)
    made = _distinguished(made)
    for number, one in enumerate(made):
        suffix = _distinctive(one, made) if len(made) > 1 else ""
        one.name = name if not number and not suffix else names.new(f"{name}_{suffix or number + 1}")
        one.topic = one.name.replace("_", "-")
    return made


def _message(shapes: Sequence[Shape]) -> Message:
    evidence = Evidence()
    for one in shapes:
        evidence.add(one.evidence)
    middle = (min(one.first for one in shapes) + max(one.last for one in shapes)) / 2
    names = shapes[0].names
    return Message("", "", evidence, names if isinstance(names, str) else "object", middle)


def _one_form(messages: list[Message], name: str, unmodelled: list[Unmodelled]) -> list[Message]:
    """Leave the bare values or the objects of an address: plain text has no members that tell it apart."""
    bare = [one for one in messages if one.is_bare]
    if len(bare) > 1:
        for other in bare[1:]:
            bare[0].evidence.add(other.evidence)
        messages = [one for one in messages if one not in bare[1:]]
    if not bare or len(messages) == 1:
        return messages
    most = max(messages, key=lambda one: one.evidence.count)
    kept = [bare[0]] if most is bare[0] else [one for one in messages if one is not bare[0]]
    for one in messages:
        if one not in kept:
            what = "a bare value" if one.is_bare else "an object or array"
            reason = f"{what} in {one.evidence.count:,} messages, where most messages are of another form"
            unmodelled.append(Unmodelled(name, "", reason))
    return kept


def _distinguished(messages: list[Message]) -> list[Message]:
    """Merge messages that no member tells apart; give all others the members that do."""
    pending = list(messages)
    while len(pending) > 1:
        pair = next(
            ((one, two) for i, one in enumerate(pending) for two in pending[i + 1 :] if not _apart(one, two)), None
        )
        if pair is None:
            break
        pair[0].evidence.add(pair[1].evidence)
        pair[0].middle = max(pair[0].middle, pair[1].middle)
        pending.remove(pair[1])
    for one in pending:
        root = one.readings
        one.required = sorted(name for name, member in root.members.items() if member.count == root.objects)
        never = {_apart(one, other)[1] for other in pending if other is not one and other.form == one.form == "object"}
        one.never = sorted(name for name in never if name)
    return pending


def _apart(one: Message, two: Message) -> tuple[str, str]:
    """Give a member that only the first has, and one that only the second has, always; both empty for none."""
    if one.form != two.form:
        return ("", "other form")
    mine, others = one.evidence.members, two.evidence.members
    left = (name for name, each in mine.items() if each.count == one.evidence.objects and name not in others)
    right = (name for name, each in others.items() if each.count == two.evidence.objects and name not in mine)
    found = min(left, default=""), min(right, default="")
    return found if any(found) else ()  # type: ignore[return-value]  # nothing is false


def _distinctive(one: Message, messages: list[Message]) -> str:
    others = {name for each in messages if each is not one for name in each.evidence.members}
    own = sorted((-each.count, name) for name, each in one.evidence.members.items() if name not in others)
    return snake(own[0][1]) if own else ""


# --- parameters --------------------------------------------------------------------------------------------------


def _parameters(suffix: addresses.Suffix, topics: list[Topic], messages: list[Message]) -> list[Parameter]:
    made: list[Parameter] = []
    names = Names()
    for place, level in enumerate(suffix):
        if level.name is None:
            continue
        example = topics[0].levels[place][len(level.before) :]
        pointers = [_equal(one, place) for one in messages] if not level.before else []
        if pointers and pointers[0] and all(one == pointers[0] for one in pointers):
            pointer = pointers[0]
            lies = sum(_lies(one, pointer, place) for one in messages)
            made.append(Parameter(names.new(snake(pointer[-1])), place, example, pointer, lies))
        else:
            made.append(Parameter(names.new(_named_after(suffix, place, len(made))), place, example))
    return made


def _equal(message: Message, place: int) -> tuple[str, ...]:
    """The member that equals a level of the topic in nearly all messages."""
    if message.form != "object":
        return ()
    best: tuple[float, tuple[str, ...]] = (0, ())
    for pointer, evidence in message.evidence.leaves():
        share = (evidence.equal or {}).get(place, 0) / max(message.evidence.count, 1)
        if len(pointer) <= 2 and share >= EQUAL and share > best[0] and not evidence.arrays:
            best = share, pointer
    return best[1]


def _lies(message: Message, pointer: tuple[str, ...], place: int) -> int:
    evidence = dict(message.evidence.leaves())[pointer]
    return evidence.count - evidence.nulls - (evidence.equal or {}).get(place, 0)


def _named_after(suffix: addresses.Suffix, place: int, earlier: int) -> str:
    """Name a parameter after the literal level before it, where that is a plural."""
    before = snake(suffix[place - 1].before) if place and suffix[place - 1].name is None else ""
    if before.endswith("s") and len(before) > 3 and not before.endswith("ss"):
        return before.removesuffix("s") if not before.endswith("ies") else before.removesuffix("ies") + "y"
    return f"level_{place + 1}" if earlier else "device"


# --- records -----------------------------------------------------------------------------------------------------


def _describe(stream: Stream, message: Message, unmodelled: list[Unmodelled], *, shows_values: bool) -> None:
    """Make the record of a message, its key and its time."""
    evidence, names = message.readings, Names()
    fields: list[dict[str, Any]] = []
    tied = {one.pointer: one for one in stream.parameters if one.pointer}
    times: list[str] = []
    for one in stream.parameters:
        if not one.pointer:
            one_field = names.new(one.name)
            location = f"{PARAMETER}/{one.name}"
            fields.append({"name": one_field, "type": "string", "doc": "Level of the topic.", "x-source": location})
    for pointer, leaf in evidence.leaves():
        if len(fields) >= MAX_FIELDS:
            unmodelled.append(Unmodelled(stream.name, pointer_of(pointer), f"more than {MAX_FIELDS} fields"))
            continue
        name = names.new(snake("_".join(pointer)) if pointer else "value")
        choice = types.typed(leaf, Context(f"{message.name}_{name}", message.middle))
        if isinstance(choice, str):
            unmodelled.append(Unmodelled(stream.name, pointer_of(pointer), choice))
            continue
        if pointer in tied:
            choice = _of_level(choice)
        if choice.is_time:
            times.append(name)
        place = _Place(name, f"{message.name}_{name}", pointer, leaf, evidence.count)
        fields.append(_field(place, choice, shows_values=shows_values))
        if pointer in tied:
            fields[-1] |= {"type": fields[-1]["type"] if isinstance(fields[-1]["type"], str) else "string"}
            fields[-1].pop("default", None)
    message.keys = [f"{PARAMETER}/{one.name}" for one in stream.parameters] or ["$message.header#/mqtt.topic"]
    message.timestamp = next((one for one in TIME_FIRST if one in times), times[0] if times else "")
    message.definition = {
        "type": "record", "name": pascal(message.name), "namespace": NAMESPACE,
        "doc": f"Learned from {evidence.count:,} readings.", "fields": fields,
    }  # fmt: skip


def _of_level(choice: Typed) -> Typed:
    """A member that equals a level of the topic, which is text."""
    return Typed("long", {"parse": "number"}) if choice.avro == "long" else Typed("string")


class _Place(NamedTuple):
    """Where the value of a field is, and what was heard there."""

    name: str
    full: str  # name of its type, where it needs one
    pointer: tuple[str, ...]
    evidence: Evidence
    samples: int  # messages


def _field(place: _Place, choice: Typed, *, shows_values: bool) -> dict[str, Any]:
    name, full, pointer, leaf, samples = place
    zero = _zero(leaf, choice) if leaf.count < samples and not leaf.nulls else None
    is_nullable = choice.is_nullable or leaf.nulls > 0 or (leaf.count < samples and zero is None)
    made = {"name": name, **nullable(choice.avro, full, is_nullable=is_nullable)}
    if zero is not None:
        made["default"] = zero
    if unit := unit_of(snake(pointer[-1])) if pointer and leaf.kind == "number" and not choice.is_time else "":
        made["unit"] = unit
    notes = [choice.note, f"Absent where it is {str(zero).lower()}." * (zero is not None)]
    notes = [*notes, "Unit guessed from the name." * bool(unit)]
    made["doc"] = " ".join([_evidence(leaf, samples, shows_values=shows_values), *filter(None, notes)])
    location = "" if pointer == (name,) else f"{PAYLOAD}{pointer_of(pointer)}"
    return made | source(choice.words, location)


def _zero(leaf: Evidence, choice: Typed) -> Any:
    """The value that a device leaves out, if there is evidence that it does; else None."""
    if choice.words or choice.is_time or choice.avro not in ("boolean", "long", "double"):
        return None
    if choice.avro == "boolean":
        return False if leaf.trues >= types.FEWEST_FOR_ZERO and not leaf.falses else None
    numbers = leaf.numbers
    if numbers is None or numbers.zeros or numbers.count < types.FEWEST_FOR_ZERO or numbers.low is None:
        return None
    is_close = 0 < numbers.low <= (1 if choice.avro == "long" else 0.02 * (numbers.high or 0))
    return (0 if choice.avro == "long" else 0.0) if is_close else None


def _evidence(leaf: Evidence, total: int, *, shows_values: bool) -> str:
    text = f"{leaf.count:,} of {total:,} samples"
    numbers, texts = leaf.numbers, leaf.texts
    if shows_values and numbers and not texts and numbers.low is not None and numbers.high is not None:
        low, high = _short(numbers.low), _short(numbers.high)
        text += f", {low} to {high}" if numbers.low != numbers.high else f", always {low}"
    elif shows_values and texts and texts.words and not (numbers or texts.numeric or texts.zoned or texts.local):
        listed = ", ".join(printable(cut(word, SHOWN_BYTES)) for word in sorted(texts.words)[:SHOWN_WORDS])
        text += f": {listed}{' and more' * (len(texts.words) > SHOWN_WORDS)}"
    return f"{text}, {leaf.nulls:,} null." if leaf.nulls else f"{text}."


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
