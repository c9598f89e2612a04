"""The evidence of a value -> the type of its field, and the words of `x-source` that read it.

Each choice needs evidence, and the one that loses nothing wins where there is doubt: text stays text, a mixture becomes
a union, an enum needs `ENUM_SAMPLES` and no new word in the later half of what was received. What is guessed by a name
alone says so in the note.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.operate.learn.evidence import UNITS, total

if TYPE_CHECKING:
    from gateway.operate.learn.evidence import Evidence, Numbers, Texts

ENUM_SAMPLES, ENUM_WORDS = 50, 12
FEWEST_FOR_ZERO = 20  # samples, before an absent member is taken for a zero that is left out
NO_VALUES = frozenset({"", "n/a", "na", "nan", "null", "none", "unknown", "unavailable", "-", "--", "err", "error"})
SENTINELS = frozenset({
    -9999, -9999.9, -999, -999.9, -127, -32768, -3276.8, -3276.7, 32767, 65535, 6553.5, 9999, 9999.9, 99999, 4294967295,
})  # fmt: skip
ANY = ("double", "string", "boolean")  # of a value that was always null
BEYOND = "integers that neither a long nor a double holds"
FORMS = {
    "comma": "numbers with a decimal comma", "unit": "numbers with their unit", "date": "times, but not of ISO 8601",
}  # fmt: skip
TIME_NAMES = frozenset({"t", "ts", "time", "timestamp", "date", "datetime", "epoch", "at", "when"})
PLAUSIBLE = 9.4e8, 4.2e9  # seconds since 1970: from 1999 to 2103
UNSET = 1.26e12  # milliseconds since 1970; a time before 2010 is of a clock that was never set
PRECISIONS = {"s": "millis", "ms": "millis", "us": "micros", "ns": "nanos"}  # by the unit of numbers that are times
SPELLED = {"s": "Seconds", "ms": "Milliseconds", "us": "Microseconds", "ns": "Nanoseconds"}
NUMBERED = re.compile(r"\d\Z", re.ASCII)  # a name of one of many; there may be more
SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
LONGEST_LONG = 2**63 - 1


class Typed(NamedTuple):
    """The type of a field."""

    avro: Any  # without null
    words: dict[str, Any] = {}  # noqa: RUF012 - of x-source; never changed
    note: str = ""
    is_nullable: bool = False  # because a word makes null
    is_moment: bool = False  # it is a time
    clock: str = ""  # what is wrong with the clock
    lag: float | None = None  # milliseconds from the arrival, of what may be the time of the record
    is_odd: bool = False  # an expert may know better


class Context(NamedTuple):
    """What a type depends on beside the values."""

    name: str  # of the field
    middle: float = 0  # number of the message in the middle of those that were received


def typed(evidence: Evidence, context: Context) -> Typed | str:
    """Choose the type of a field that is not an object; a text says why there is none."""
    numbers, texts, booleans = evidence.numbers, evidence.texts, evidence.trues + evidence.falses
    is_scalar = bool(numbers or texts or booleans)
    if evidence.objects or evidence.arrays:
        if is_scalar or (evidence.objects and evidence.arrays):
            return "an object or array in some messages, another value in others"
        return _array(evidence, context) if evidence.arrays else _map(evidence, context)
    if not is_scalar:
        return Typed([*ANY], note="Never had a value but null: any plain value may come.", is_nullable=True)
    if numbers and _is_beyond(numbers):
        others = "fractions" if numbers.doubles else "booleans" if booleans else ""
        text = Typed("string", {"parse": "string"}, f"Has {BEYOND}: as text.")
        return f"{BEYOND}, and {others}" if others else text
    if not booleans and (read := _text(texts, numbers, context) if texts else numbers and _number(numbers, context)):
        return read
    kinds = _kinds(evidence)
    return Typed(kinds[0]) if len(kinds) == 1 else Typed(kinds, note=f"Values of several kinds: {', '.join(kinds)}.")


def _kinds(evidence: Evidence) -> list[str]:
    """The types of plain values that take all that there were."""
    kinds = ["boolean"] * bool(evidence.trues + evidence.falses)
    return kinds + ([_number_type(evidence.numbers)] if evidence.numbers else []) + ["string"] * bool(evidence.texts)


# --- numbers -----------------------------------------------------------------------------------------------------


def _number(numbers: Numbers, context: Context) -> Typed:
    if unit := _unit_of_time(numbers, context.name):
        return _time(numbers, unit)
    sentinels = [value for value in _extremes(numbers) if value in SENTINELS]
    note = "Never fell." if not numbers.falls and numbers.changes > 1 else ""
    if not sentinels:
        return Typed(_number_type(numbers), note=note)
    listed = ", ".join(map(str, sentinels))
    return Typed(
        _number_type(numbers), {"nulls": sentinels}, f"{listed} is far from all others: null.", is_nullable=True
    )


def _number_type(numbers: Numbers) -> str:
    is_long = not numbers.doubles and -LONGEST_LONG <= (numbers.low or 0) <= (numbers.high or 0) <= LONGEST_LONG
    return "long" if is_long else "double"


def _is_beyond(numbers: Numbers) -> bool:
    """Tell whether a double would lose digits of what was received."""
    return _number_type(numbers) == "double" and (numbers.lossy > 0 or not numbers.doubles)


def _extremes(numbers: Numbers) -> list[float]:
    """The least and the greatest value, if they are further from the rest than the rest is wide."""
    low, low2, high2, high = numbers.low, numbers.low2, numbers.high2, numbers.high
    if low is None or low2 is None or high2 is None or high is None or numbers.count < FEWEST_FOR_ZERO:
        return []
    far = []
    if low2 - low > max(high - low2, abs(high)):
        far.append(low)
    if high - high2 > max(high2 - low, abs(low)):
        far.append(high)
    return far


def _unit_of_time(numbers: Numbers, name: str) -> str:
    """The unit of numbers that are times: half of them near the arrival, or by name; zero may stand for none."""
    low = numbers.low2 if numbers.low == 0 else numbers.low
    if low is None or numbers.high is None:
        return ""
    first, last = PLAUSIBLE
    if unit := numbers.near.unit:
        is_time = 2 * numbers.near.counts[unit] >= numbers.count - numbers.zeros
        return unit if is_time and first <= low * UNITS[unit] / 1000 else ""
    units = ("s", "ms") if name.rpartition("_")[2] in TIME_NAMES else ()
    factors = {unit: UNITS[unit] / 1000 for unit in units}
    return next((unit for unit, one in factors.items() if first <= low * one and numbers.high * one <= last), "")


class _Times(NamedTuple):
    """Times that were seen."""

    seen: int
    near: int  # those within a day of the arrival
    lag: float  # of these, on average, in milliseconds
    earliest: float  # in milliseconds since 1970
    is_clock: bool  # they go on; the start of a total does not


def _time(numbers: Numbers, unit: str) -> Typed:
    words: dict[str, Any] = {"factor": 1000} if unit == "s" else {}
    if numbers.doubles:
        words["round"] = "floor"
    if numbers.zeros:
        words["nulls"] = [0]
    earliest = ((numbers.low2 if numbers.zeros else numbers.low) or 0) * UNITS[unit]
    seen, goes_on = numbers.count - numbers.zeros, numbers.changes > 0 or numbers.topics == numbers.count
    times = _Times(seen, numbers.near.counts.get(unit, 0), numbers.near.mean, earliest, goes_on)
    return _moment(PRECISIONS[unit], words, f"{SPELLED[unit]} since 1970.{' Null for 0.' * bool(numbers.zeros)}", times)


def _moment(precision: str, words: dict[str, Any], note: str, times: _Times) -> Typed:
    """Make the type of times; one that never changes, such as the start of a total, says nothing about a clock."""
    off, year = times.seen - times.near, 1970 + int(times.earliest / 31_556_952_000)
    clock = f"{off:,} of {times.seen:,} samples are not within a day of the arrival; the earliest is of {year}."
    is_wrong = off and (times.is_clock or times.earliest < UNSET)
    return Typed(
        {"type": "long", "logicalType": f"timestamp-{precision}"}, words, note, "nulls" in words, is_moment=True,
        clock=clock if is_wrong else "", lag=times.lag if times.is_clock and not off else None,
    )  # fmt: skip


# --- text --------------------------------------------------------------------------------------------------------


def _text(texts: Texts, numbers: Numbers | None, context: Context) -> Typed | None:
    others = texts.count - texts.numeric - texts.zoned - texts.local
    nothing = sorted(texts.words) if texts.words is not None else []
    if others and (texts.words is None or not all(word.strip().lower() in NO_VALUES for word in nothing)):
        return None if numbers else _words(texts, context)
    words: dict[str, Any] = {"nulls": nothing} if others else {}
    note = f" Null for {', '.join(map(repr, nothing))}." if others else ""
    if texts.zoned + texts.local:
        is_mixed = bool(texts.numeric or numbers or (texts.zoned and texts.local))
        read = _written_time(texts, words, note)
        return read if not is_mixed else None if numbers else Typed("string", note="Times and other text.")
    if texts.near.counts.get(texts.near.unit) == texts.numeric and not (texts.points or numbers):
        unit, times = texts.near.unit, _Times(texts.numeric, texts.numeric, texts.near.mean, 0, is_clock=True)
        words |= {"parse": "number"} | ({"factor": 1000} if unit == "s" else {})
        return _moment(PRECISIONS[unit], words, f"{SPELLED[unit]} since 1970, in text.{note}", times)
    if numbers or texts.points or (texts.numeric and others):
        whole = not texts.points and (not numbers or _number_type(numbers) == "long")
        kind = "long" if whole and not others and numbers else "double"
        share = f"{texts.numeric:,} of {texts.count + (numbers.count if numbers else 0):,} samples are numbers in text."
        parse = {"parse": "number"} if texts.numeric else {}
        return Typed(kind, {**words, **parse}, (share * bool(parse) + note).strip(), is_nullable=bool(others))
    if texts.numeric:
        return Typed("string", note="Numbers only; kept as text, because they may be names.")
    return _words(texts, context)


def _written_time(texts: Texts, words: dict[str, Any], note: str) -> Typed:
    precision = "millis" if texts.digits <= 3 else "micros" if texts.digits <= 6 else "nanos"
    count = texts.zoned + texts.local
    times = _Times(count, texts.near.counts.get("", 0), texts.near.mean, texts.earliest, texts.is_clock)
    if texts.zoned:
        words = {**words, "round": "floor"} if texts.digits > 9 else words
        return _moment(precision, words, f"ISO 8601 with zone.{note}", times)
    hours = " or ".join(f"{one / 4:+g}" for one in sorted(texts.ahead))
    ahead = f" The clock was {hours} h from UTC." if texts.is_clock and len(texts.ahead) in {1, 2} else ""
    note = f"ISO 8601 without zone: for a moment, use a timestamp and `zone` in x-source.{ahead}"
    made = _moment(precision, words, note, times)
    return made._replace(avro={"type": "long", "logicalType": f"local-timestamp-{precision}"}, lag=None)


def _words(texts: Texts, context: Context) -> Typed:
    words = texts.words or {}
    if words.keys() == {"true", "false"}:
        return Typed("boolean", {"parse": "boolean"}, "In text.")
    if {word.lower() for word in words} == {"true", "false"}:
        is_true = {word: word.lower() == "true" for word in sorted(words)}
        trues, falses = ([word for word, one in is_true.items() if one is kind] for kind in (True, False))
        return Typed("boolean", {"trues": trues, "falses": falses}, "In text.")
    if texts.form and texts.odd == texts.count:
        return Typed("string", note=f"Looks like {FORMS[texts.form]}; kept as text.", is_odd=True)
    is_closed = texts.count >= ENUM_SAMPLES and 2 <= len(words) <= ENUM_WORDS and max(words.values()) <= context.middle
    if not is_closed or not texts.is_varied or not all(map(SYMBOL.match, words)) or all(map(NUMBERED.search, words)):
        return Typed("string")
    return Typed({"type": "enum", "symbols": sorted(words)}, note="No other word in the later half of these samples.")


# --- arrays, maps, records inside the record -----------------------------------------------------------------------


def _array(evidence: Evidence, context: Context) -> Typed | str:
    item = evidence.items
    if item is None or not item.count:
        return "an array that was always empty"
    inner = _inner(item, context)
    return inner if is_reason(inner) else Typed({"type": "array", "items": inner})


def _map(evidence: Evidence, context: Context) -> Typed | str:
    if not evidence.members:
        return "an object without members that were looked at"
    value = total(evidence.members.values())
    inner = _inner(value, context)
    return inner if is_reason(inner) else Typed({"type": "map", "values": inner})


def _inner(evidence: Evidence, context: Context) -> Any:
    """The type of items and of values of a map: x-source has no words for them, so text stays text."""
    inner: Any
    if evidence.objects and evidence.objects >= evidence.count - evidence.nulls:
        inner = nested(evidence, context)
    elif evidence.objects or evidence.arrays:
        inner = "an array or object of several kinds"
    else:
        kinds = _kinds(evidence) or [*ANY]
        is_beyond = evidence.numbers is not None and _is_beyond(evidence.numbers)
        inner = BEYOND if is_beyond else kinds[0] if len(kinds) == 1 else kinds
    if not evidence.nulls or is_reason(inner):
        return inner
    return ["null", *(inner if isinstance(inner, list) else [inner])]


def is_reason(inner: Any) -> bool:
    """Tell whether a type is a text that says why there is none."""
    return isinstance(inner, str) and " " in inner


def nested(evidence: Evidence, context: Context) -> dict[str, Any] | str:
    """Make a record inside the record; members whose names Avro does not take have no field."""
    fields = []
    for name, member in sorted(evidence.members.items()):
        if not SYMBOL.match(name):
            continue
        full = f"{context.name}_{name}"
        if member.objects and member.objects == member.count - member.nulls and member.members:
            inner = nested(member, context._replace(name=full))
            choice: Typed | str = inner if isinstance(inner, str) else Typed(inner)
        else:
            choice = typed(member, context._replace(name=full))
        if isinstance(choice, str):
            continue
        is_nullable = choice.is_nullable or member.nulls > 0 or member.count < evidence.objects
        fields.append({"name": name, **nullable(choice.avro, full, is_nullable=is_nullable)} | source(choice.words, ""))
    return {"type": "record", "name": pascal(context.name), "fields": fields} if fields else "an object of no fields"


def nullable(avro: Any, name: str, *, is_nullable: bool) -> dict[str, Any]:
    """Give the type of a field its name where it needs one, and null with its default."""
    if isinstance(avro, dict) and avro.get("type") == "enum":
        avro = {"type": "enum", "name": pascal(name), "symbols": avro["symbols"]}
    if not is_nullable:
        return {"type": avro}
    branches = avro if isinstance(avro, list) else [avro]
    return {"type": ["null", *(one for one in branches if one != "null")], "default": None}


def source(words: dict[str, Any], location: str) -> dict[str, Any]:
    """Give the `x-source` of a field: nothing where its member has its name and its form."""
    if words:
        return {"x-source": {"location": location, **words} if location else words}
    return {"x-source": location} if location else {}


def pascal(name: str) -> str:
    """Write a name in snake case as that of a type."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))
