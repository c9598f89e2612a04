"""Runtime expressions as sentences: where a field is read from, and what the key and the timestamp are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.expression import ExpressionError, parse
from gateway.core.avro_schema import LISTS
from gateway.core.counter_rules import CONFIRM, PER
from gateway.operate.docs.prose import sentence, value
from gateway.page.blocks import Code, Phrase, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.avro_schema import Field

_REST, _WHOLE = "all members that no other field reads", "the whole payload"
_READ_AS = {"number": "a number", "boolean": "true or false"}


def read_from(field: Field) -> Phrase:
    """Say what `x-source` of a field means: where the value is, and how the device writes it."""
    return sentence(_located(field), *forms(field.words))


def _located(field: Field) -> Phrase:
    source, factor = field.location, field.factor
    times: Phrase = () if factor is None else (" times ", Code(f"{factor:f}"))
    if source is None:
        return ("The value is the payload's number", *times, ".") if times else ()
    if field.takes_whole:
        return (f"The value is {_WHOLE}", *times, ".")
    if isinstance(source, list):
        return ("Read from the first of these that is present: ", *joined([place(one) for one in source]), *times, ".")
    return ("Read from ", *place(source), *times, ".")


def forms(words: Mapping[str, Any]) -> Iterator[Phrase]:
    """Say how the device writes a value, except for its factor: a sentence a word."""
    if parse := words.get("parse"):
        text = f"A text is read as {_READ_AS.get(parse, parse)}."
        yield ("A whole number is read as text." if parse == "string" else text,)
    for word in LISTS:
        if listed := words.get(word):
            verb = "means" if len(listed) == 1 else "mean"
            yield (*joined([value(one) for one in listed]), f" {verb} {word.removesuffix('s')}.")
    if zone := words.get("zone"):
        which = "second" if words.get("repeated") == "second" else "first"
        yield (f"A time without a zone is local time in {zone}; in the hour that repeats in autumn, the {which} one.",)
    if "round" in words:
        yield ("Digits that the type cannot hold are cut off.",)


def counted(stated: Mapping[str, Any]) -> Phrase:
    """Say what `x-counter` of a field means."""
    most, per, tolerance = stated.get("most"), stated.get("per", PER), stated.get("tolerance")
    noise: Phrase = (" by more than ", Code(str(tolerance))) if tolerance else ()
    rise: Phrase = () if most is None else (", and rises by at most ", Code(str(most)), f" in {per}")
    meter: Phrase = ("Another value of ", *place(stated["of"]), " is another meter.") if "of" in stated else ()
    readings = stated.get("confirm", CONFIRM)
    start = f"After {readings} readings that agree, a new start is accepted."
    return sentence(("A counter: it never falls", *noise, *rise, "."), meter, (start,))


def keyed_by(location: Any, separator: Any = None) -> Phrase:
    """Say what `x-location` means: one place, the first of several that is not empty, or all of them, joined."""
    if isinstance(location, list) and isinstance(separator, str):
        return (*joined([keyed_by(one) for one in location], " and "), ", joined by ", Code(separator))
    if isinstance(location, list):
        return joined([keyed_by(one) for one in location], " or, if that is empty, ")
    try:
        parsed = parse(location if isinstance(location, str) else "")
    except ExpressionError:
        return value(location)
    name = Code(".".join(parsed.tokens))
    lead = {"header": "the header ", "parameter": "the topic's "}.get(parsed.part)
    return (lead, name) if lead else (name,)


def dated_by(stated: Any) -> Phrase:
    """Say what `x-timestamp` means: one field, or several times of which the first that is right counts."""
    times = [one for one in (stated if isinstance(stated, list) else [stated]) if one != "arrival"]
    fallback = "; by the arrival of the reading, if that is null or outside the times that the topic keeps."
    if len(times) > 1 or isinstance(stated, dict):
        fallback = "; else by the arrival of the reading."
    return ("Timestamped by ", *joined([_time(one) for one in times], ", else by "), fallback)


def _time(stated: Any) -> Phrase:
    if not isinstance(stated, dict):
        return keyed_by(stated)
    lead = ("the uptime ",) if "clock" in stated else ()
    bound = (f" if it differs from the arrival by {stated['within']} at most",) if "within" in stated else ()
    return (*lead, *keyed_by(stated.get("location")), *bound)


def place(expression: Any) -> Phrase:
    """The place that an expression refers to; an invalid expression is shown as it is."""
    try:
        parsed = parse(expression if isinstance(expression, str) else "")
    except ExpressionError:
        return value(expression)
    if not parsed.pointer:
        return (_REST,)
    if parsed.part == "parameter":
        return (Code(f"{{{parsed.tokens[0]}}}"), " of the topic or of the path to the record")
    if parsed.part == "envelope":
        return (Code(parsed.pointer), " of the message around the record")
    return (Code(parsed.pointer), " in the headers") if parsed.part == "header" else (Code(parsed.pointer),)
