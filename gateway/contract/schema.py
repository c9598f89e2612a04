"""The record of a topic: an `.avsc` file, or a schema in the document itself.

- `avro_rules.py` checks it as an Avro schema. `fastavro.parse_schema` runs last: other parts of the gateway use it.
- A location in `x-source` is allowed on fields of the outermost record only: it is a pointer that starts at the
  payload. A list of pointers means the first that is present. A pointer to the whole payload means, on a map field, all
  members that no other field reads; on any other field, the payload itself, which is one value.
- `x-source` may be an object, which also says how the device writes the value (`source_rules.py`). Fields inside other
  records may have such an object too, without a location.
- `x-counter` says that a field counts up (`counters.py`).
- Attributes that begin with `x-` belong to the gateway. They are not sent to the registry, where every change of them
  would make a new version of the same schema.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastavro

from gateway.contract import avro_files, counters, expression, source_rules
from gateway.contract.avro_rules import AvroRules
from gateway.core.avro_schema import LOCATION, SOURCE, build
from gateway.core.model import AvroSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contract.avro_files import Beside
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.core.avro_schema import AvroType, Field

WHOLE = ("",)  # the sources of a field that takes the whole payload, or the members that no other field reads


@dataclass(frozen=True, slots=True)
class Record:
    """A valid record."""

    node: Node
    schema: AvroSchema
    sources: dict[str, tuple[str, ...]]  # pointers into the payload by field name

    def type_at(self, tokens: tuple[str, ...]) -> AvroType | None:
        """The type of a field, or of a field inside records; None when there is none."""
        avro_type = self.schema.record
        for token in tokens:
            field = avro_type.field_named(token)
            if field is None:
                return None
            avro_type = field.type
        return avro_type

    @property
    def whole(self) -> Field | None:
        """The field that takes the whole payload."""
        return self.schema.record.whole_field

    def field_at(self, pointer: str) -> Field | None:
        """The field that reads a place in the payload."""
        name = next((name for name, pointers in self.sources.items() if pointer in pointers), "")
        return self.schema.record.field_named(name)


def load(node: Node, findings: Findings) -> Record | None:
    """Read and check the schema of a record, references followed; None, with findings, when it is invalid."""
    others = avro_files.beside(node)
    rules = AvroRules(findings, is_strict=True, others=others)
    kind = node.at("type").text if node.is_mapping else None
    if kind != "record":
        what = f", not a schema of type {kind!r}" if kind else ""
        rules.wrong(node, f"Expected the Avro schema of a record{what}.", "Make the outermost type a record.")
        return None
    for fault in others.faults:
        rules.wrong(*fault)
    if rules.faults or not all(_is_valid_part(one, others.without(one), findings) for one in others.files):
        return None
    definition = _checked(node, others, rules)
    sources = _Sources(rules.wrong, node).read()
    _check_counters(node, definition, rules)
    if rules.faults or not _accepted_by_fastavro(node, definition, findings):
        return None
    return _record(node, definition, sources)


def _is_valid_part(node: Node, others: Beside, findings: Findings) -> bool:
    """Check a file whose types another one uses."""
    rules = AvroRules(findings, is_strict=True, others=others)
    definition = _checked(node, others, rules)
    _Sources(rules.wrong, node).refuse_inside(node)
    _check_counters(node, definition, rules)
    return not rules.faults


def _checked(node: Node, others: Beside, rules: AvroRules) -> Any:
    """Check a file; gives its schema with the definitions of others written in."""
    rules.check(node)
    definition = others.complete(node.value)
    for fault in () if rules.faults else source_rules.faults(node, build(definition)):
        rules.wrong(*fault)
    return definition


def _check_counters(node: Node, definition: Any, rules: AvroRules) -> None:
    """Check `x-counter` of a file whose fields have valid sources."""
    for fault in () if rules.faults else counters.faults(node, build(definition)):
        rules.wrong(*fault)


def _record(node: Node, definition: Any, sources: dict[str, tuple[str, ...]]) -> Record:
    model = build(definition)
    text = json.dumps(without_extensions(definition), ensure_ascii=False, separators=(",", ":"))
    return Record(node, AvroSchema(node.source.path, model.name, definition, text, model), sources)


def _accepted_by_fastavro(node: Node, definition: Any, findings: Findings) -> bool:
    try:
        fastavro.parse_schema(definition)
    except Exception as error:  # noqa: BLE001 - a malformed schema raises exceptions of many types
        findings.error(node, f"The Avro schema is invalid: {error}.", "Correct the schema.")
        return False
    return True


def without_extensions(schema: Any, untyped: tuple[str, ...] = ()) -> Any:
    """The schema without attributes that begin with `x-`; defaults are data and stay unchanged.

    Types named in `untyped` lose their logical type.
    """
    if isinstance(schema, list):
        return [without_extensions(one, untyped) for one in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"logicalType"} if schema.get("type") in untyped else set()
    return {
        key: value if key == "default" else without_extensions(value, untyped)
        for key, value in schema.items()
        if key not in dropped and not key.startswith("x-")
    }


class _Sources:
    """Reads the sources of a record's fields."""

    def __init__(self, wrong: Callable[[Node, str, str], None], record: Node) -> None:
        self.wrong = wrong
        self.record = record

    def read(self) -> dict[str, tuple[str, ...]]:
        """Read the sources of each field of the outermost record."""
        record, sources = self.record, {}
        for one in record.at("fields").entries():
            name = one.at("name").text
            if name is not None:
                sources[name] = self._source(one, name)
            self.refuse_inside(one.at("type"))
        self._check_overlaps(record, sources)
        return sources

    def _source(self, node: Node, name: str) -> tuple[str, ...]:
        stated = node.at(SOURCE)
        if stated.is_mapping:
            stated = stated.own(LOCATION)
        if stated.is_absent:
            return (f"/{name}",)
        entries = stated.entries() if isinstance(stated.value, list) else [stated]
        if not entries:
            self.wrong(
                stated, "The list of sources is empty.", 'Write an expression, as in ["$message.payload#/member"].'
            )
        pointers = tuple(pointer for one in entries if (pointer := self._pointer(one)) is not None)
        if "" in pointers and isinstance(stated.value, list):
            self.wrong(
                stated,
                "A field that reads the whole payload cannot read anything else.",
                "Write one expression instead of a list.",
            )
        return pointers

    def _pointer(self, node: Node) -> str | None:
        if (stated := expression.read(node, self.wrong, "$message.payload#/member")) is None:
            return None
        if stated.part == "header":
            self.wrong(
                node, "A field can be read from the payload only, not from a header.", "Write $message.payload#/member."
            )
            return None
        if stated.part == "parameter" and len(stated.tokens) != 1:
            self.wrong(node, "A parameter has one name.", "Write $message.parameter#/name.")
            return None
        return stated.member

    def _check_overlaps(self, record: Node, sources: dict[str, tuple[str, ...]]) -> None:
        """Report fields that read the same place, or one inside the other's: unknown members would be ambiguous."""
        taken: dict[str, str] = {}
        for index, one in enumerate(record.at("fields").entries()):
            name = one.at("name").text or ""
            for pointer in sources.get(name, ()):
                other = next((field for known, field in taken.items() if _overlap(known, pointer)), None)
                if other is not None and other != name:
                    place = record.at("fields", str(index), "x-source")
                    what = f"{pointer} or what contains it" if pointer else "the whole payload"
                    message = f"Field {other!r} also reads {what}."
                    self.wrong(one if place.is_absent else place, message, "Let one field read each place.")
                taken[pointer] = name

    def refuse_inside(self, node: Node) -> None:
        """Report locations in fields of a schema that is not the outermost record."""
        for one in node.inside():
            stated = one.own(SOURCE)
            location = stated.own(LOCATION) if stated.is_mapping else stated
            if not location.is_absent:
                message = "A location is allowed on fields of the outermost record only."
                self.wrong(location, message, "Remove it.")


def _overlap(one: str, other: str) -> bool:
    """Whether one place contains the other; the whole payload overlaps only with itself."""
    if "" in {one, other}:
        return one == other
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
