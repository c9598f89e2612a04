"""A fault in words: who cannot read what, the rule of the specification, and a compatible change.

The change depends on the direction. When new readers fail on old records, the new schema can be corrected. When old
readers fail on new records, the readers are deployed already: the change has to wait, or to take another form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.errors import Finding
from gateway.operate.schemas.resolution import Rule

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType, Place
    from gateway.errors import Severity
    from gateway.operate.schemas.mode import Direction
    from gateway.operate.schemas.resolution import Problem

RULES = {  # in the words of the specification's "Schema Resolution", shortened
    Rule.TYPE: "The types must match, or the writer's be promotable: int to long, float, double; long to float, "
    "double; float to double; string to bytes and back.",
    Rule.NAME: "Records, enums and fixed must have the same name without namespace, or the reader an alias.",
    Rule.DEFAULT: "A reader's field that the writer's record lacks must have a default.",
    Rule.TWICE: "A reader's field must be one field of the writer's record, by its name or an alias; else Java throws.",
    Rule.SYMBOLS: "A symbol that is not in the reader's enum is an error, unless that enum has a default.",
    Rule.SIZE: "Both fixed must have the same size.",
    Rule.UNION: "Each branch that the writer may write must match the reader's type or one of its branches.",
    Rule.LOGICAL: "The bytes resolve, but no conversion between logical types takes place.",
}
_MESSAGES = {
    Rule.TYPE: "{readers} expect {expected}, {records} hold {found}.",
    Rule.NAME: "{readers} expect the {reader.kind} {reader.name}, {records} hold {writer.name}.",
    Rule.DEFAULT: "{readers} need this field, {records} lack it, and it has no default.",
    Rule.TWICE: "{records} hold {several}, and in {readers} all of them are this field.",
    Rule.SYMBOLS: "{records} may hold {unknown}, which {readers} do not know, without a default symbol.",
    Rule.SIZE: "{readers} expect {reader.size} bytes, {records} hold {writer.size}.",
    Rule.UNION: "{records} may hold {found}, {readers} expect {expected}.",
    Rule.LOGICAL: "{readers} read as {expected} what {records} hold as {found}.",
}
_IN_STEPS = "Add a new field beside it, with a default; keep the old one, and drop it when no reader uses it any more."
_CHANGES: dict[Rule, dict[Direction, str]] = {
    Rule.TYPE: {"backward": _IN_STEPS, "forward": _IN_STEPS},
    Rule.NAME: {
        "backward": 'Keep the name, or add "aliases": ["{writer.name}"] to {reader.name}.',
        "forward": "Keep the name {reader.name}: old readers have no alias for it.",
    },
    Rule.DEFAULT: {
        "backward": 'Make it optional: "type": {optional}, "default": null.',
        "forward": "Keep the field. To drop it: give it a default in a version of its own, wait until all readers "
        "have that, then drop it.",
    },
    Rule.TWICE: {
        "backward": "Remove the aliases that old records hold as fields of their own.",
        "forward": "Give the new field another name: old readers have this one as an alias.",
    },
    Rule.SYMBOLS: {
        "backward": 'Keep the symbols, or give the enum a "default" symbol.',
        "forward": 'Give the enum a "default" symbol in a version of its own, wait until all readers have that, then '
        "add symbols.",
    },
    Rule.SIZE: {"backward": _IN_STEPS, "forward": _IN_STEPS},
    Rule.UNION: {
        "backward": "Keep the branch {found}: make the type a union that has it.",
        "forward": "Put the new branch into a new field with a default, and leave this one as it is.",
    },
    Rule.LOGICAL: {"backward": _IN_STEPS, "forward": _IN_STEPS},
}
_SIDES: dict[Direction, dict[str, str]] = {
    "backward": {"readers": "new readers", "records": "old records"},
    "forward": {"readers": "old readers", "records": "new records"},
}


def advise(problem: Problem) -> Finding:
    """Put a problem into words; a caution is a warning."""
    facts, fault = as_json(problem), problem.fault
    path = " ".join(filter(None, (fault.record, fault.path and f"field {fault.path}"))) or "the outermost type"
    message = f"{facts['message']} Avro: {facts['rule']}"
    severity: Severity = "warning" if fault.is_caution else "error"
    return Finding(facts["file"], facts["line"], path, message, f"Instead: {facts['way']}", severity)


def as_json(problem: Problem) -> dict[str, Any]:
    """Put a problem into words, as data."""
    fault = problem.fault
    facts = _facts(problem)
    return {
        "file": problem.new.label,
        "line": problem.new.line(_place(problem)),
        "record": fault.record,
        "path": fault.path,
        "message": f"{_MESSAGES[fault.rule].format_map(facts)} ({problem.direction}, against {problem.old.label})",
        "rule": RULES[fault.rule],
        "way": _CHANGES[fault.rule][problem.direction].format_map(facts) + _renamed(problem),
        "is_caution": fault.is_caution,
    }


def _facts(problem: Problem) -> dict[str, Any]:
    reader, writer = problem.fault.reader, problem.fault.writer
    facts = {
        "reader": reader,
        "writer": writer,
        "expected": str(reader),
        "found": str(writer) if writer else "",
        "unknown": ", ".join(one for one in (writer.symbols if writer else ()) if one not in reader.symbols),
        "several": " and ".join(problem.fault.candidates),
        "optional": json.dumps(["null", *map(_short, reader.non_null)]),
    }
    return facts | _SIDES[problem.direction]


def _short(branch: AvroType) -> str:
    """A branch of a type in one word; `...` if it takes more."""
    is_more = branch.inner or branch.logical_name
    return branch.name or ("..." if is_more else branch.kind)


def _renamed(problem: Problem) -> str:
    is_missing = problem.fault.rule is Rule.DEFAULT and problem.direction == "backward"
    known = problem.fault.candidates if is_missing else ()
    aliases = " or ".join(f'"aliases": ["{name}"]' for name in known)
    return f" If it is an old field renamed, add {aliases} to it." if known else ""


def _place(problem: Problem) -> Place:
    fault = problem.fault
    if problem.direction == "backward" and fault.field is not None:
        return fault.field.place
    new = fault.reader if problem.direction == "backward" else fault.writer
    return problem.new.type.place if new is None else new.place
