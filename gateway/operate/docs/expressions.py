"""Runtime expressions as sentences: where a field comes from, and what makes the key."""

from __future__ import annotations

from typing import Any

from gateway.contract.expression import ExpressionError, parse
from gateway.core.codec.precise_encoder import factor, location, takes_whole
from gateway.operate.docs.prose import value
from gateway.page.blocks import Code, Phrase, joined

REST, WHOLE = "every member that no other field reads", "the payload as a whole"


def read_from(field: dict[str, Any]) -> Phrase:
    """Say what `x-source` of a field means: a place, the first of several that is there, the rest or the whole.

    A number may be taken times a factor.
    """
    source, scale = location(field), factor(field)
    times: Phrase = (" times ", Code(f"{scale.factor:f}")) if scale else ()
    if source is None:
        return ("The payload's number is taken", *times, ".") if times else ()
    if takes_whole(field):
        return (f"It is {WHOLE}", *times, ".")
    if isinstance(source, list):
        return ("Read from the first of these that is there: ", *joined([place(one) for one in source]), *times, ".")
    return ("Read from ", *place(source), *times, ".")


def keyed_by(location: Any) -> Phrase:
    """Say what `x-location` means: one field, or the first of several that is not empty."""
    if isinstance(location, list):
        return joined([keyed_by(one) for one in location], " or, when that is empty, ")
    try:
        parsed = parse(location if isinstance(location, str) else "")
    except ExpressionError:
        return value(location)
    name = Code(".".join(parsed.tokens))
    return ("the header ", name) if parsed.part == "header" else (name,)


def dated_by(location: Any) -> Phrase:
    """Say what `x-timestamp` means."""
    told = "; by the arrival of the reading, when that is null or no time that the topic would keep."
    return ("Dated by ", *keyed_by(location), told)


def place(expression: Any) -> Phrase:
    """The place that an expression means; what is none is shown as it stands."""
    try:
        parsed = parse(expression if isinstance(expression, str) else "")
    except ExpressionError:
        return value(expression)
    if not parsed.pointer:
        return (REST,)
    return (Code(parsed.pointer), " in the headers") if parsed.part == "header" else (Code(parsed.pointer),)
