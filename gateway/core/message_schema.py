"""The JSON Schema of a message that holds several readings: the part of its records, and the rest.

A record's part is the schema at the end of the path, and the schemas of what it reads of the envelope; the codec
applies it, and decodes by it. The rest is applied to the whole message: numbers of items, members that must be there,
and what no record reads. What the path to the records demands anyway is left out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.keywords import TESTS, one_or_more, properties_of
from gateway.core.codec.payload_schema import Place, Reader
from gateway.core.codec.unread import is_open, unread
from gateway.core.record_path import common, envelope_path, reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.avro_schema import AvroType, Path
    from gateway.core.codec.conversion import Unknown
    from gateway.core.codec.payload_schema import Rules
    from gateway.core.codec.unread import Unread
    from gateway.core.record_path import Step

_COUNTS = frozenset({"minItems", "maxItems", "minProperties", "maxProperties"})
_TYPE_OF = {"member": "object", "items": "array", "members": "object"}


def unknown_around(schema: Any) -> Unknown:
    """What happens to members of an object with this schema, of a reading or around it, that no field reads."""
    return "ignore" if isinstance(schema, dict) and is_open(schema) else "reject"


def unread_around(schema: Any) -> Unread:
    """What objects of the envelope do with members that no record reads."""
    return unread(schema, ignores=unknown_around(schema) == "ignore")


def keywords(step: Step) -> Path:
    """Where the schema of a step's values is in the schema of the value that it is taken from."""
    return {"member": ("properties", step.name), "items": ("items",), "members": ("additionalProperties",)}[step.kind]


def schema_at(schema: Any, steps: Iterable[Step], path: Iterable[str] = ()) -> Any:
    """Find the schema of values that steps and then members lead to; None where none is described."""
    for keyword in (
        *(each for step in steps for each in keywords(step)),
        *(each for name in path for each in ("properties", name)),
    ):
        schema = schema.get(keyword) if isinstance(schema, dict) else None
    return schema


def without_records(schema: Any, steps: Sequence[Step]) -> Any:
    """The schema of a message without that of its records."""
    if not steps or not isinstance(schema, dict):
        return {}
    key, *name = keywords(steps[0])
    below = without_records(schema_at(schema, steps[:1]), steps[1:])
    return schema | {key: schema[key] | {name[0]: below} if name else below}


def schema_of_record(schema: Any, around: Any, steps: Sequence[Step], record: AvroType) -> Any:
    """The schema of a record's JSON text, from that of the record alone and that of the message around it."""
    expressions = reads(record)
    if not expressions:
        return schema
    members = {expression: _schema_of(expression, around, steps) for expression in expressions}
    required = [expression for expression in expressions if _is_required(expression, around, steps)]
    if record.whole_field:
        return {"properties": {PAYLOAD: schema or {}, **members}, "required": required}
    own = {key: value for key, value in (schema or {}).items() if key == "type" or key not in TESTS}
    return _with_members(own, members) | {"required": [*own.get("required", ()), *required]}


def rules_around(schema: Any, steps: Sequence[Step], record: AvroType) -> Rules | None:
    """Make the rules of a message beyond those of its records; None when there are none."""
    return Reader().rules(_Rest(steps, record).of(schema, 0), Place())


def only_counts(rules: Rules) -> bool:
    """Tell whether rules look at no value, but only at how many there are."""
    return all(test.keyword in _COUNTS for test in rules.tests) and all(map(only_counts, rules.below))


def _schema_of(expression: str, around: Any, steps: Sequence[Step]) -> Any:
    path = envelope_path(expression)
    shared = common(steps, path)
    return (path and schema_at(around, steps[:shared], path[shared:])) or {}


def _is_required(expression: str, around: Any, steps: Sequence[Step]) -> bool:
    """Tell whether the schema of a message demands a place of the envelope."""
    path = envelope_path(expression)
    shared = common(steps, path)
    objects = (schema_at(around, steps[:shared], path[shared:depth]) for depth in range(shared, len(path)))
    demands = (
        isinstance(one, dict) and name in one.get("required", ())
        for one, name in zip(objects, path[shared:], strict=True)
    )
    return bool(path) and all(demands)


def _with_members(schema: Any, members: dict[str, Any]) -> Any:
    """Describe members that a schema cannot know."""
    if not isinstance(schema, dict):
        return schema
    every = {"allOf": [_with_members(each, {name: {} for name in members}) for each in schema.get("allOf", ())]}
    return schema | {"properties": properties_of(schema) | members} | (every if every["allOf"] else {})


class _Rest:
    """Leaves out of the schema of a message what the path demands, and what each record's own schema has."""

    def __init__(self, steps: Sequence[Step], record: AvroType) -> None:
        self._steps = steps
        self._record_is_alone = not reads(record) or record.whole_field is not None
        self._read = set(map(envelope_path, reads(record)))

    def of(self, schema: Any, depth: int) -> Any:
        """Reduce the schema of the value that the step at a depth is taken from."""
        if not isinstance(schema, dict):
            return {}
        if depth == len(self._steps):  # tests of a record as a whole would see what it reads of the envelope
            return {} if self._record_is_alone else _own_tests(schema)
        step = self._steps[depth]
        below = self.of(schema_at(schema, [step]), depth + 1)
        members = self._members(schema, depth) if step.kind == "member" else properties_of(schema)
        required = [name for name in schema.get("required", ()) if not self._is_demanded(name, depth)]
        kept = _own_tests(schema) | {"allOf": schema.get("allOf", []), "required": required}
        kept |= {} if _TYPE_OF[step.kind] in one_or_more(schema.get("type")) else {"type": schema.get("type", {})}
        if step.kind == "member":
            members |= {step.name: below} if below else {}
        else:
            kept |= {keywords(step)[0]: below}
        kept |= {"properties": members}
        return {key: value for key, value in kept.items() if value not in ({}, [])}

    def _members(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """The schemas of the members beside a step that no record reads."""
        above = tuple(map(str, self._steps[:depth]))
        return {
            name: one
            for name, one in properties_of(schema).items()
            if (*above, name) not in self._read and name != self._steps[depth].name
        }

    def _is_demanded(self, name: Any, depth: int) -> bool:
        step, above = self._steps[depth], tuple(map(str, self._steps[:depth]))
        return step.kind == "member" and (name == step.name or (*above, name) in self._read)


def _own_tests(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key in TESTS and key != "type"}
