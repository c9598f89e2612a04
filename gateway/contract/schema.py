"""Avro schemas of the contract: an `.avsc` file, or a schema in the document itself.

- The checks are the gateway's own and report all errors of a schema with their places. `fastavro.parse_schema` stops at
  the first error, names no place, and says of "flot" only that it is unknown. It runs last, for what these checks miss.
- The default of a union must match its first branch. Avro 1.12 allows any branch, but readers may be older.
- `x-source` is allowed on fields of the outermost record only: it is a pointer that starts at the payload. A list of
  pointers means the first that is present. A pointer to the whole payload means, on a map field, all members that no
  other field reads; on any other field, the payload itself, which is one value.
- `x-source` may be an object with a factor (`scale.py`).
- Attributes that begin with `x-` belong to the gateway. They are not sent to the registry, where every change of them
  would make a new version of the same schema.
"""

from __future__ import annotations

import json
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastavro

from gateway.contract import scale
from gateway.contract.document import quoted
from gateway.contract.expression import ExpressionError, parse
from gateway.contract.references import references
from gateway.core.avro_schema import NAMED, PRIMITIVES, build, full_name
from gateway.core.codec.logical import LOGICAL_TYPES, digits_of
from gateway.core.model import AvroSchema
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.core.avro_schema import AvroType, Field

COMPLEX = ("record", "enum", "array", "map", "fixed")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
RANGES = {"int": 31, "long": 63}
FLOATS = {"float": "<f", "double": "<d"}
ORDERS = ("ascending", "descending", "ignore")
DEFINE = "Define a named type at its first use, and use its name afterwards."
NAMES = "Use A-Z, a-z, 0-9 and _, and no digit first."
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

    def reader(self, pointer: str) -> str | None:
        """The field that reads a place in the payload."""
        return next((name for name, pointers in self.sources.items() if pointer in pointers), None)


def load(node: Node, findings: Findings) -> Record | None:
    """Read and check the schema of a record, references followed; None, with findings, when it is invalid."""
    reader = _Reader(findings)
    kind = node.at("type").text if node.is_mapping else None
    if kind != "record":
        what = f", not a schema of type {kind!r}" if kind else ""
        reader.wrong(node, f"Expected the Avro schema of a record{what}.", "Make the outermost type a record.")
        return None
    for one in references(node):
        reader.wrong(one, "Avro has no $ref.", DEFINE)
    if reader.faults:
        return None
    reader.check_type(node, "")
    sources = reader.sources(node)
    if not reader.faults:
        reader.check_ends(node)
    if reader.faults or not _accepted_by_fastavro(node, findings):
        return None
    return _record(node, sources)


def _record(node: Node, sources: dict[str, tuple[str, ...]]) -> Record:
    definition, model = node.value, build(node.value)
    text = json.dumps(without_extensions(definition), ensure_ascii=False, separators=(",", ":"))
    return Record(node, AvroSchema(node.source.path, model.name, definition, text, model), sources)


def _accepted_by_fastavro(node: Node, findings: Findings) -> bool:
    try:
        fastavro.parse_schema(node.value)
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


class _Reader:
    """Checks one schema, and collects its named types."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.faults = 0
        self.named: dict[str, Any] = {}
        self.finite: set[AvroType] = set()  # records that do not contain themselves without end

    def wrong(self, node: Node, message: str, fix: str) -> None:
        """Add an error."""
        self.faults += 1
        self.findings.error(node, message, fix)

    def check_type(self, node: Node, namespace: str) -> None:
        """Check a type: a name, a definition or a union."""
        if node.text is not None:
            self._name(node, node.text, namespace)
        elif isinstance(node.value, list):
            self._union(node, namespace)
        elif node.is_mapping:
            self._definition(node, namespace)
        else:
            self.wrong(node, "Expected an Avro type.", 'Write a name such as "string", or a definition.')

    def _name(self, node: Node, name: str, namespace: str) -> None:
        if name in PRIMITIVES or name in self.named or full_name(name, namespace) in self.named:
            return
        if name in COMPLEX:
            self.wrong(node, f'"{name}" needs a definition.', f'Write {{"type": "{name}", ...}}.')
            return
        fix = suggestion(name, [*PRIMITIVES, *self.named]) or DEFINE
        self.wrong(node, f'Unknown Avro type "{name}".', fix)

    def _union(self, node: Node, namespace: str) -> None:
        seen: set[str] = set()
        if not node.value:
            self.wrong(node, "The union has no branches.", 'Write its types, as in ["null", "string"].')
        for branch in node.entries():
            if isinstance(branch.value, list):
                self.wrong(branch, "A union cannot contain a union.", "Move its branches into the outer union.")
                continue
            self.check_type(branch, namespace)
            name = self._branch(branch.value, namespace)
            if name in seen:
                self.wrong(branch, f'The union has two branches of type "{name}".', "Remove one.")
            seen.add(name)

    def _branch(self, branch: Any, namespace: str) -> str:
        """The name that must be unique among the branches of a union."""
        if not isinstance(branch, dict):
            return branch if branch in PRIMITIVES else full_name(str(branch), namespace)
        kind = branch.get("type")
        if isinstance(kind, str) and kind in NAMED:
            return full_name(str(branch.get("name")), str(branch.get("namespace") or namespace))
        return str(kind)

    def _definition(self, node: Node, namespace: str) -> None:
        kind = node.at("type")
        if kind.text is None:
            self.check_type(kind, namespace)
        elif kind.text in NAMED:
            self._named(node, kind.text, namespace)
        elif kind.text == "array":
            self.check_type(node.at("items"), namespace)
        elif kind.text == "map":
            self.check_type(node.at("values"), namespace)
        else:
            self._name(kind, kind.text, namespace)
        self._logical(node, kind.text)

    def _logical(self, node: Node, base: str | None) -> None:
        logical = node.at("logicalType")
        if logical.is_absent:
            return
        known = LOGICAL_TYPES.get(logical.text or "")
        if known is None:
            self._unknown_logical(logical)
        elif base not in known.bases:
            self.wrong(
                logical,
                f"{logical.text} is a logical type of {' or '.join(known.bases)}, not of {base}.",
                f'Write "type": "{known.bases[0]}".',
            )
        elif logical.text == "decimal":
            self._decimal(node)
        elif base == "fixed" and node.at("size").integer != known.size:
            self.wrong(node.at("size"), f"A {logical.text} has {known.size} bytes.", f'Write "size": {known.size}.')

    def _unknown_logical(self, node: Node) -> None:
        """Warn of a logical type that Avro does not define; Avro ignores it."""
        fix = f"Remove it, unless readers of the topic use it. {suggestion(node.text or '', LOGICAL_TYPES)}".rstrip()
        self.findings.warning(node, f"Unknown logical type {quoted(node.value)}: it has no effect.", fix)

    def _decimal(self, node: Node) -> None:
        precision, scale = node.at("precision"), node.at("scale")
        if (precision.integer or 0) < 1:
            self.wrong(node, "A decimal needs a precision, a whole number from 1.", 'Add it, as in "precision": 9.')
        elif node.at("type").text == "fixed" and precision.value > (digits := digits_of(node.at("size").integer or 1)):
            message = f"A fixed of this size has {digits} digits, not {precision.value}."
            self.wrong(precision, message, "Increase the size, or reduce the precision.")
        elif not scale.is_absent and not 0 <= (-1 if scale.integer is None else scale.integer) <= precision.value:
            self.wrong(scale, "The scale must be a whole number from 0 to the precision.", "Write such a number.")

    def _named(self, node: Node, kind: str, outer: str) -> None:
        name, stated = node.at("name"), node.at("namespace")
        self._check_name(node, kind)
        self._aliases(node)
        fullname = full_name(name.text or "", stated.text if stated.text is not None else outer)
        if fullname in self.named or fullname in PRIMITIVES:
            self.wrong(name, f'The name "{fullname}" is already defined.', "Define a type once, then use its name.")
        self.named.setdefault(fullname, node.value)
        inner = fullname.rpartition(".")[0]
        {"record": self._fields, "enum": self._symbols, "fixed": self._size}[kind](node, inner)

    def _check_name(self, node: Node, kind: str) -> None:
        name, stated = node.at("name"), node.at("namespace")
        if not name.text:
            self.wrong(name, f"The {kind} has no name.", "Add `name`.")
        elif not all(map(NAME.match, name.text.split("."))):
            self.wrong(name, f"{name.text!r} is not an Avro name.", NAMES)
        is_valid = stated.is_absent or stated.text == "" or all(map(NAME.match, (stated.text or "").split(".")))
        if not is_valid:
            message = f"{quoted(stated.value)} is not an Avro namespace."
            self.wrong(stated, message, f"Write names, separated by dots. {NAMES}")

    def _fields(self, node: Node, namespace: str) -> None:
        fields, seen = node.at("fields"), set()
        if not isinstance(fields.value, list):
            self.wrong(fields, "A record needs a list of fields.", 'Write "fields": [...].')
        for one in fields.entries():
            name = one.at("name")
            if not NAME.match(name.text or ""):
                message = f"{name.text!r} is not an Avro name." if name.text else "The field has no name."
                self.wrong(one, message, NAMES if name.text else "Add `name`.")
            elif name.text in seen:
                self.wrong(name, f"The record has two fields {name.text!r}.", "Rename one.")
            seen.add(name.text)
            self._field(one, namespace)
        self._check_aliases(fields)

    def _field(self, node: Node, namespace: str) -> None:
        before = self.faults
        avro_type = node.at("type")
        self.check_type(avro_type, namespace)
        default = node.at("default")
        if self.faults == before and not default.is_absent and not self._suits(avro_type, default, namespace):
            is_union = isinstance(avro_type.value, list)
            fix = "Write a value of the union's first branch." if is_union else "Write a value of this type."
            self.wrong(default, f"The default {quoted(default.value)} does not match the field's type.", fix)

        self._check_attributes(node, avro_type)

    def _check_attributes(self, node: Node, avro_type: Node) -> None:
        order, logical = node.at("order"), node.at("logicalType")
        if not order.is_absent and order.text not in ORDERS:
            self.wrong(order, f"{quoted(order.value)} is not an order of a field.", f"Use {', '.join(ORDERS)}.")
        if logical.text in LOGICAL_TYPES:
            message = f"{logical.text} is next to the type, where Avro ignores it."
            fix = json.dumps({"type": {"type": avro_type.value, "logicalType": logical.text}})
            self.wrong(logical, message, f"Write {fix[1:-1]}.")

    def _check_aliases(self, fields: Node) -> None:
        """Readers look up fields by aliases too, so names and aliases must be unique."""
        names = {one.at("name").text for one in fields.entries()}
        for one in fields.entries():
            for alias in self._aliases(one):
                if alias.text in names:
                    self.wrong(alias, f"{alias.text!r} is the name or alias of another field.", "Remove it.")
                names.add(alias.text)

    def _aliases(self, node: Node) -> list[Node]:
        """The aliases of a field or named type; invalid ones are reported."""
        stated = node.at("aliases")
        if not stated.is_absent and not isinstance(stated.value, list):
            self.wrong(stated, "Expected a list of names.", 'Write "aliases": ["former_name"].')
        for one in stated.entries():
            if not all(map(NAME.match, (one.text or "").split("."))):
                self.wrong(one, f"{quoted(one.value)} is not an Avro name.", NAMES)
        return [one for one in stated.entries() if one.text]

    def _suits(self, avro_type: Node, default: Node, namespace: str) -> bool:
        try:
            return self._fits(avro_type.value, default.value, namespace)
        except (KeyError, TypeError, IndexError):  # an invalid named type, which is reported
            return True

    def _symbols(self, node: Node, _namespace: str) -> None:
        symbols, seen = node.at("symbols"), set()
        if not isinstance(symbols.value, list) or not symbols.value:
            self.wrong(symbols, "An enum needs a list of symbols.", 'Write "symbols": [...].')
        for one in symbols.entries():
            if not NAME.match(one.text or ""):
                self.wrong(one, f"{quoted(one.value)} is not a symbol.", NAMES)
            elif one.text in seen:
                self.wrong(one, f"The symbol {one.text!r} is repeated.", "Remove one.")
            seen.add(one.text)
        default = node.at("default")
        if not default.is_absent and default.text not in seen:
            self.wrong(default, f"The default {quoted(default.value)} is not one of the symbols.", "Write one of them.")

    def _size(self, node: Node, _namespace: str) -> None:
        if (node.at("size").integer or 0) < 1:
            self.wrong(
                node.at("size"), "A fixed needs a size in bytes, a whole number from 1.", 'Add it, as in "size": 16.'
            )

    def _fits(self, avro_type: Any, value: Any, namespace: str) -> bool:
        """Whether a default matches a valid type."""
        if isinstance(avro_type, list):
            return self._fits(avro_type[0], value, namespace)
        if isinstance(avro_type, dict):
            return self._fits_definition(avro_type, value, namespace)
        if avro_type in PRIMITIVES:
            return _fits_primitive(avro_type, value)
        definition = self.named.get(avro_type) or self.named[full_name(avro_type, namespace)]
        return self._fits_definition(definition, value, namespace)

    def _fits_definition(self, avro_type: dict[str, Any], value: Any, namespace: str) -> bool:
        match avro_type["type"]:
            case "record":
                return isinstance(value, dict) and all(
                    self._fits(one["type"], value.get(one["name"]), namespace)
                    for one in avro_type["fields"]
                    if one["name"] in value or "default" not in one
                )
            case "array":
                return isinstance(value, list) and all(self._fits(avro_type["items"], one, namespace) for one in value)
            case "map":
                return isinstance(value, dict) and all(
                    self._fits(avro_type["values"], one, namespace) for one in value.values()
                )
            case "enum":
                return value in avro_type["symbols"]
            case "fixed":
                return _fits_primitive("bytes", value) and len(value) == avro_type["size"]
            case other:
                return self._fits(other, value, namespace)

    def check_ends(self, record: Node) -> None:
        """A record that always contains itself has no value; an array, a map or a union with null ends it."""
        model = build(record.value)
        for index, field in enumerate(model.fields):
            if self._is_endless(field.type, (model,)):
                place = record.at("fields", str(index), "type")
                fix = 'Make it a union with "null", or an array.'
                self.wrong(place, "The record contains itself without end.", fix)

    def _is_endless(self, avro_type: AvroType, inside: tuple[AvroType, ...]) -> bool:
        if avro_type.kind == "union":
            return all(self._is_endless(branch, inside) for branch in avro_type.inner)
        if avro_type.kind != "record" or avro_type in self.finite:
            return False
        if avro_type in inside:
            return True
        if any(self._is_endless(field.type, (*inside, avro_type)) for field in avro_type.fields):
            return True
        self.finite.add(avro_type)
        return False

    def sources(self, record: Node) -> dict[str, tuple[str, ...]]:
        """Read the sources of each field of the outermost record."""
        sources: dict[str, tuple[str, ...]] = {}
        for one in record.at("fields").entries():
            name = one.at("name").text
            if name is not None:
                sources[name] = self._source(one, name)
            self._no_source_inside(one.at("type"))
        self._check_overlaps(record, sources)
        return sources

    def _source(self, node: Node, name: str) -> tuple[str, ...]:
        stated = node.at("x-source")
        if stated.is_mapping:
            for fault in scale.faults(stated, self._resolved(node.at("type").value)):
                self.wrong(*fault)
            stated = stated.own("location")
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

    def _resolved(self, avro_type: Any) -> Any:
        """The type with its own name, or those of its branches, looked up; the innermost of `{"type": ...}`."""
        if isinstance(avro_type, list):
            return [self._resolved(branch) for branch in avro_type]
        if isinstance(avro_type, dict) and isinstance(avro_type.get("type"), (dict, list)):
            return self._resolved(avro_type["type"])
        found = [one for name, one in self.named.items() if isinstance(avro_type, str) and name.endswith(avro_type)]
        return found[0] if found else avro_type

    def _pointer(self, node: Node) -> str | None:
        try:
            expression = parse(str(node.value))
        except ExpressionError as error:
            self.wrong(node, f"{error}.", "Write $message.payload#/member.")
            return None
        if expression.part != "payload":
            self.wrong(
                node, "A field can be read from the payload only, not from a header.", "Write $message.payload#/member."
            )
            return None
        return expression.pointer

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
                    self.wrong(one if place.is_absent else place, message, "Read each place once.")
                taken[pointer] = name

    def _no_source_inside(self, node: Node) -> None:
        for one in node.inside():
            if one.is_mapping and "x-source" in one.value:
                message = "x-source is allowed on fields of the outermost record only."
                self.wrong(one.own("x-source"), message, "Remove it.")


def _overlap(one: str, other: str) -> bool:
    """Whether one place contains the other; the whole payload overlaps only with itself."""
    if "" in {one, other}:
        return one == other
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _fits_primitive(kind: str, value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in RANGES:
        return is_number and isinstance(value, int) and -(2 ** RANGES[kind]) <= value < 2 ** RANGES[kind]
    if kind in FLOATS:
        return is_number and _holds(FLOATS[kind], value)
    if kind == "bytes":
        return isinstance(value, str) and all(ord(character) < 256 for character in value)
    return isinstance(value, {"null": type(None), "boolean": bool, "string": str}[kind])


def _holds(form: str, value: float) -> bool:
    with suppress(OverflowError, struct.error):
        return bool(struct.pack(form, value))
    return False
