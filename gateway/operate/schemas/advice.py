"""A fault in words: who cannot read what, the rule of the specification, and the way that is compatible.

The way depends on the direction. When new readers fail on old records, the new schema can be mended. When old readers
fail on new records, they are out there and cannot be: the change has to wait, or to take another shape.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.operate.schemas.resolution import Rule
from gateway.text import printable

if TYPE_CHECKING:
    from gateway.operate.schemas.avsc import Place, Type
    from gateway.operate.schemas.mode import Direction, Problem
    from gateway.operate.schemas.resolution import Fault

RULES = {  # in the words of the specification's "Schema Resolution", shortened
    Rule.TYPE: "The types must match, or the writer's be promotable: int to long, float, double; long to float, "
    "double; float to double; string to bytes and back.",
    Rule.NAME: "Records, enums and fixed must have the same name without namespace, or the reader an alias.",
    Rule.DEFAULT: "A reader's field that the writer's record lacks must have a default.",
    Rule.SYMBOLS: "A symbol that is not in the reader's enum is an error, unless that enum has a default.",
    Rule.SIZE: "Both fixed must have the same size.",
    Rule.UNION: "Whatever branch of its union the writer wrote must match the reader's type or one of its branches.",
    Rule.LOGICAL: "The bytes resolve, but nothing converts between logical types.",
}
_IN_STEPS = "Add a new field beside it, with a default; keep the old one, and drop it when nobody reads it any more."
_WAYS: dict[tuple[Rule, Direction], str] = {
    (Rule.TYPE, "backward"): _IN_STEPS,
    (Rule.TYPE, "forward"): _IN_STEPS,
    (Rule.NAME, "backward"): 'Keep the name, or add "aliases": ["{found.name}"] to {expected.name}.',
    (Rule.NAME, "forward"): "Keep the name {expected.name}: old readers know no alias for it.",
    (Rule.DEFAULT, "backward"): 'Make it optional: "type": {optional}, "default": null.',
    (Rule.DEFAULT, "forward"): "Keep the field. To drop it: give it a default in a version of its own, wait until all "
    "readers have that, then drop it.",
    (Rule.SYMBOLS, "backward"): 'Keep the symbols, or give the enum a "default" symbol.',
    (Rule.SYMBOLS, "forward"): 'Give the enum a "default" symbol in a version of its own, wait until all readers have '
    "that, then add symbols.",
    (Rule.SIZE, "backward"): _IN_STEPS,
    (Rule.SIZE, "forward"): _IN_STEPS,
    (Rule.UNION, "backward"): "Keep the branch {found}: make the type a union that has it.",
    (Rule.UNION, "forward"): "Put what is new into a new field with a default, and leave this one as it is.",
    (Rule.LOGICAL, "backward"): _IN_STEPS,
    (Rule.LOGICAL, "forward"): _IN_STEPS,
}
_MESSAGES = {
    Rule.TYPE: "{reader} readers expect {expected}, {writer} records hold {found}.",
    Rule.NAME: "{reader} readers expect the {expected.kind} {expected.name}, {writer} records hold {found.name}.",
    Rule.DEFAULT: "{reader} readers need this field, {writer} records lack it, and it has no default.",
    Rule.SYMBOLS: "{writer} records may hold {unknown}, which {reader} readers do not know, without a default symbol.",
    Rule.SIZE: "{reader} readers expect {expected.size} bytes, {writer} records hold {found.size}.",
    Rule.UNION: "{writer} records may hold {found}, {reader} readers expect {expected}.",
    Rule.LOGICAL: "{reader} readers take for {expected} what {writer} records hold as {found}.",
}
_SIDES: dict[Direction, dict[str, str]] = {
    "backward": {"reader": "new", "writer": "old"},
    "forward": {"reader": "old", "writer": "new"},
}


class Advice(NamedTuple):
    """A problem in words.

    Args:
        file: what the new version is called.
        line: 1-based line in it, or 0.
        record: full name of the innermost record; may be empty.
        path: of the field; may be empty.
        message: who cannot read what, one sentence.
        rule: the rule that is broken, one sentence.
        way: what to do instead.
        is_caution: True when records can be read, but may mean something else.
    """

    file: str
    line: int
    record: str
    path: str
    message: str
    rule: str
    way: str
    is_caution: bool

    def __str__(self) -> str:
        """One line for people."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = " ".join(filter(None, (self.record, self.path and f"field {self.path}"))) or "the outermost type"
        kind = "caution" if self.is_caution else "error"
        return printable(f"{kind}: {place} {what}: {self.message} Avro: {self.rule} Instead: {self.way}")


def advise(problem: Problem) -> Advice:
    """Put a problem into words."""
    fault = problem.fault
    facts = _facts(fault) | _SIDES[problem.direction]
    return Advice(
        problem.new.label,
        problem.new.line(_place(problem)),
        fault.record,
        fault.path,
        f"{_MESSAGES[fault.rule].format_map(facts)} ({problem.direction}, against {problem.old.label})",
        RULES[fault.rule],
        _WAYS[fault.rule, problem.direction].format_map(facts) + _renamed(problem),
        fault.is_caution,
    )


def _facts(fault: Fault) -> dict[str, Any]:
    """Name what the sentences speak of."""
    written = fault.writer.symbols if fault.writer else ()
    return {
        "expected": fault.reader,
        "found": fault.writer,
        "unknown": ", ".join(one for one in written if one not in fault.reader.symbols),
        "optional": json.dumps(["null", *_branches(fault.reader)]),
    }


def _renamed(problem: Problem) -> str:
    known = problem.fault.candidates if problem.direction == "backward" else ()
    aliases = " or ".join(f'"aliases": ["{name}"]' for name in known)
    return f" If it is an old field renamed, add {aliases} to it." if known else ""


def _branches(one: Type) -> list[Any]:
    """Name the branches of an optional type, in short: what takes more than a name is left to the reader."""
    types = [branch for branch in one.branches if branch.kind != "null"] if one.kind == "union" else [one]
    return [branch.name or ("..." if branch.branches or branch.logical else branch.kind) for branch in types]


def _place(problem: Problem) -> Place:
    """Where to look in the new file."""
    fault = problem.fault
    if problem.direction == "backward" and fault.field is not None:
        return fault.field.place
    new = fault.reader if problem.direction == "backward" else fault.writer
    return problem.new.type.place if new is None else new.place
