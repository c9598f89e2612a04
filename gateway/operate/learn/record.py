"""The Avro record of a message: a field for each parameter that is not tied, and for each value of the payload.

The `doc` of a field is its evidence. Its unit is that of a description, else one that its name suggests, which it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.operate.learn import types
from gateway.operate.learn.descriptions import DescribedMember
from gateway.operate.learn.evidence import total
from gateway.operate.learn.proposal import Names, Note
from gateway.operate.learn.types import Context, Typed, nullable, pascal, source
from gateway.operate.learn.units import has_fractions, snake, ucum, unit_of
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.operate.learn.evidence import Evidence, Pointer, Topic
    from gateway.operate.learn.proposal import Message, Stream

SHOWN_WORDS, SHOWN_BYTES = 4, 60
MAX_FIELDS = 200
NAMESPACE = "learned"
PAYLOAD, PARAMETER = "$message.payload#", "$message.parameter#"
LAG = 5_000  # milliseconds; times are as near to the arrival as each other within it
TIME_FIRST = ("timestamp", "time", "ts", "at")  # of several times, this one is the record's
NOTHING = DescribedMember()


class _Place(NamedTuple):
    """Where the value of a field is, and what is known of it."""

    name: str
    type: str  # name of its type, where it needs one
    pointer: Pointer
    evidence: Evidence
    samples: int  # messages
    described: DescribedMember
    is_tied: bool  # a level of the topic has the same value
    middle: float  # number of the message in the middle of those that were received

    @property
    def measure(self) -> str:
        """The name of what is measured; that of a bare value is its topic's."""
        return self.pointer[-1] if self.pointer else self.type.removesuffix(f"_{self.name}")

    def is_nullable(self, choice: Typed, zero: Any) -> bool:
        """Tell whether it may be null."""
        is_absent = self.evidence.nulls > 0 or (self.evidence.count < self.samples and zero is None)
        return not self.is_tied and (choice.is_nullable or is_absent)


def describe(stream: Stream, message: Message, *, shows_values: bool) -> None:
    """Make the record of a message, and find its time; what is to know about its values becomes notes of the stream."""
    names, untied = Names(), [one for one in stream.parameters if not one.pointer]
    fields = [_of_parameter(one.name, names.new(one.name)) for one in untied]
    own, times, is_sparse = len(fields), list[tuple[Any, ...]](), _is_sparse(message)
    for place in _places(stream, message, names):
        if len(fields) >= MAX_FIELDS:
            stream.notes.append(Note("", f"Only the first {MAX_FIELDS} values have fields."))
            break
        made = _made(place)
        if isinstance(made, str):
            stream.notes.append(Note(pointer_of(place.pointer), f"Not modelled: {made}."))
            continue
        zero = _zero(place, made, stream.topics) if is_sparse else None
        fields.append(_field(place, made, zero, shows_values=shows_values))
        stream.notes += _notes(place, made, zero, stream.topics)
        if made.lag is not None:
            # The best is never null, then the nearest to the arrival in steps of some seconds.
            first = TIME_FIRST.index(place.name) if place.name in TIME_FIRST else len(TIME_FIRST)
            times.append((place.is_nullable(made, zero), int(made.lag / LAG), first, len(times), place.name))
    message.timestamp = min(times)[-1] if times else ""
    if len(fields) == own:
        stream.empty.append(message.name)
    message.definition = {
        "type": "record", "name": pascal(message.name), "namespace": NAMESPACE,
        "doc": f"Learned from {message.readings.count:,} readings.", "fields": fields,
    }  # fmt: skip


def added_field(
    name: str, pointer: Pointer, leaf: Evidence, samples: int, *, shows_values: bool
) -> dict[str, Any] | str:
    """Make a field that may be null for a place that a record did not have; a text says why there is none."""
    place = _Place(name, name, pointer, leaf, samples, NOTHING, is_tied=False, middle=0)
    made = _made(place)
    if isinstance(made, str):
        return made
    return _field(place, made._replace(is_nullable=True), None, shows_values=shows_values)


def _places(stream: Stream, message: Message, names: Names) -> Iterable[_Place]:
    tied = {one.pointer for one in stream.parameters if one.pointer}
    for pointer, leaf in message.readings.leaves():
        name = names.new(snake("_".join(pointer)) if pointer else "value")
        known = message.members.get(pointer_of(pointer), NOTHING)
        samples, is_tied = message.readings.count, pointer in tied
        yield _Place(name, f"{message.name}_{name}", pointer, leaf, samples, known, is_tied, message.middle)


def _of_parameter(parameter: str, name: str) -> dict[str, Any]:
    return {"name": name, "type": "string", "doc": "Level of the topic.", "x-source": f"{PARAMETER}/{parameter}"}


def _made(place: _Place) -> Typed | str:
    leaf, known = place.evidence, place.described
    choice = types.typed(leaf, Context(place.type, place.middle))
    words = leaf.texts.words if leaf.texts else None
    if known.on and known.off and words and leaf.kind == "text" and set(words) <= {known.on, known.off}:
        return Typed("boolean", {"trues": [known.on], "falses": [known.off]}, "By the device's description.")
    if place.is_tied and not isinstance(choice, str):
        return Typed("long", {"parse": "number"}) if choice.avro == "long" else Typed("string")
    unit = known.unit or unit_of(place.measure)
    if not isinstance(choice, str) and choice.avro == "long" and has_fractions(snake(place.measure), unit):
        return choice._replace(avro="double", note=f"{choice.note} Fractions may come.".lstrip())
    return choice


def _field(place: _Place, choice: Typed, zero: Any, *, shows_values: bool) -> dict[str, Any]:
    leaf, known = place.evidence, place.described
    made = {"name": place.name, **nullable(choice.avro, place.type, is_nullable=place.is_nullable(choice, zero))}
    if zero is not None:
        made["default"] = zero
    is_measured = place.pointer and leaf.kind == "number" and not choice.is_moment
    guess = "" if known.unit or not is_measured else unit_of(place.measure)
    if unit := ucum(known.unit) or guess:
        made["unit"] = unit
    notes = [
        known.text,
        _evidence(leaf, place.samples, shows_values=shows_values and not choice.is_moment),
        choice.note,
        choice.clock,
        _left_out(zero),
    ]
    made["doc"] = " ".join(filter(None, [*notes, "Unit guessed from the name." * bool(guess)]))
    location = "" if place.pointer == (place.name,) else f"{PAYLOAD}{pointer_of(place.pointer)}"
    return made | source(choice.words, location)


def _notes(place: _Place, choice: Typed, zero: Any, topics: list[Topic]) -> Iterable[Note]:
    pointer, leaf = pointer_of(place.pointer), place.evidence
    if choice.note and (choice.words or choice.is_moment or choice.is_odd or isinstance(choice.avro, list)):
        yield Note(pointer, f"{choice.note} {choice.clock}".rstrip() + _wrong(choice, place.pointer, topics))
    if zero is not None:
        yield Note(pointer, _left_out(zero))
    if leaf.nulls:
        yield Note(pointer, f"null in {leaf.nulls:,} of {place.samples:,} messages.")


def _wrong(choice: Typed, pointer: Pointer, topics: list[Topic]) -> str:
    """Name topics with a wrong clock, where others have a right one."""
    if not choice.clock or len(topics) < 2:
        return ""
    leaves = ((topic.name, topic.evidence.at(pointer)) for topic in topics)
    every = ((name, types.typed(leaf, Context(pointer[-1]))) for name, leaf in leaves if leaf and pointer)
    names = [name for name, made in every if not isinstance(made, str) and made.clock]
    more = f" and {len(names) - SHOWN_WORDS} more" * (len(names) > SHOWN_WORDS)
    return f" It is wrong in {', '.join(names[:SHOWN_WORDS])}{more}." if names else ""


def _left_out(zero: Any) -> str:
    return "" if zero is None else f"Left out where it is {str(zero).lower()}, as it seems."


def _is_sparse(message: Message) -> bool:
    """Tell whether a message may leave out what is zero, as proto3's JSON does: several members, and none is zero."""
    absent = [leaf for _, leaf in message.readings.leaves() if leaf.count < message.readings.count]
    return len(absent) > 1 and not any(one.has_zero for one in absent)


def _zero(place: _Place, choice: Typed, topics: list[Topic]) -> Any:
    """The value that devices leave out, if there is evidence that each of them does; else None."""
    zero = _zero_left_out(place, choice)
    is_of_all = zero is not None and all(topic.evidence.at(place.pointer) for topic in topics)
    return zero if is_of_all else None


def _zero_left_out(place: _Place, choice: Typed) -> Any:
    leaf, avro = place.evidence, choice.avro
    if leaf.count == place.samples or leaf.nulls or choice.words or choice.is_moment or place.is_tied:
        return None
    if avro == "boolean":
        return False if leaf.trues >= types.FEWEST_FOR_ZERO and not leaf.falses else None
    numbers = leaf.numbers
    if numbers is None or numbers.zeros or numbers.count < types.FEWEST_FOR_ZERO or avro not in ("long", "double"):
        return None
    is_close = 0 < (numbers.low or 0) <= (1 if avro == "long" else 0.02 * (numbers.high or 0))
    return (0 if avro == "long" else 0.0) if is_close else None


def _evidence(leaf: Evidence, total: int, *, shows_values: bool) -> str:
    text = f"{leaf.count:,} of {total:,} samples"
    numbers, texts = leaf.numbers, leaf.texts
    if shows_values and numbers and numbers.low is not None and numbers.high is not None:
        low, high = _short(numbers.low), _short(numbers.high)
        text += f", {low} to {high}" if numbers.low != numbers.high else f", always {low}"
    elif shows_values and texts and texts.words and not (numbers or texts.numeric or texts.zoned or texts.local):
        listed = ", ".join(printable(cut(word, SHOWN_BYTES)) for word in sorted(texts.words)[:SHOWN_WORDS])
        text += f": {listed}{' and more' * (len(texts.words) > SHOWN_WORDS)}"
    return f"{text}, {leaf.nulls:,} null." if leaf.nulls else f"{text}."


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def notes_of_times(topics: Iterable[Topic]) -> Iterable[Note]:
    """Report clocks that are off, of topics whose family has its own record."""
    topics = list(topics)
    for pointer, leaf in total(topic.evidence for topic in topics).leaves():
        made = types.typed(leaf, Context(pointer[-1].lower() if pointer else ""))
        if not isinstance(made, str) and made.clock:
            yield Note(pointer_of(pointer), f"{made.clock}{_wrong(made, pointer, topics)}")
