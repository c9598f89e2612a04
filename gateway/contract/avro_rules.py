"""The rules that make a JSON value an Avro schema (Avro 1.12, "Schema Declaration" and "Names").

All errors of a schema are reported, each with its place. `fastavro.parse_schema` was rejected: it stops at the first
error, names no place, says of "flot" only that it is unknown, and accepts ["null", "null"] and names with spaces.

`is_strict` adds the gateway's own rules, for what is valid Avro and would not work:

- A type that has no value: an empty union or enum, a fixed of 0 bytes, a record that always contains itself.
- A default that the field could not hold, or that is not of the union's first branch: readers may be older than 1.12.
- A logical type at a place where Avro ignores it. One that Avro does not define is only a warning.
- An alias that is the name or alias of another field: readers could not tell which is meant.
"""

from __future__ import annotations

import json
import re
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.contract.avro_files import NO_FILES
from gateway.contract.document import quoted
from gateway.contract.references import references
from gateway.core.avro_names import fullname_of
from gateway.core.avro_schema import NAMED, PRIMITIVES, AvroType, build, full_name
from gateway.core.codec.logical import LOGICAL_TYPES, digits_of
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from gateway.contract.avro_files import Beside
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

COMPLEX = ("record", "enum", "array", "map", "fixed")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
RANGES = {"int": 31, "long": 63}
FLOATS = {"float": "<f", "double": "<d"}
ORDERS = ("ascending", "descending", "ignore")
MAX_SIZE = 2**31 - 1  # bytes of a fixed, which Java counts in an int
OTHER_TYPES = {  # of other languages, and what Avro has
    "bigint": "long", "byte": "int", "number": "double", "real": "double", "short": "int", "text": "string",
    "varchar": "string",
}  # fmt: skip
DEFINE = "Define a named type at its first use, and use its name afterwards."
NAMES = "Use A-Z, a-z, 0-9 and _, and no digit first."


class AvroRules:
    """Checks one schema, and finds its named types; `others` are files whose types it may use."""

    def __init__(self, findings: Findings, *, is_strict: bool, others: Beside = NO_FILES) -> None:
        self.findings = findings
        self.faults = 0
        self._is_strict = is_strict
        self._others = others
        # definitions by their full names, which they have as their names
        self._foreign = others.types
        self._named: dict[str, Any] = dict(self._foreign)
        self._finite: set[AvroType] = set()  # records that do not contain themselves without end

    def check(self, node: Node) -> None:
        """Check a schema; `faults` counts its errors."""
        for one in references(node):
            self.wrong(one, "Avro has no $ref.", DEFINE)
        if not self.faults:
            self._type(node, "")
        if not self.faults and self._is_strict:
            self._check_ends(node)

    def wrong(self, node: Node, message: str, fix: str) -> None:
        """Add an error."""
        self.faults += 1
        self.findings.error(node, message, fix)

    def definition(self, name: str, namespace: str) -> Any:
        """The definition that a name means in a namespace; None when there is none."""
        own = None if name in self._foreign else self._named.get(name)  # as Avro for Java reads it in one schema
        return self._named.get(full_name(name, namespace)) or own

    def _refuse(self, node: Node, message: str, fix: str) -> None:
        """Add an error of a strict rule."""
        if self._is_strict:
            self.wrong(node, message, fix)

    def _type(self, node: Node, namespace: str) -> None:
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
        if name in PRIMITIVES or self.definition(name, namespace):
            return
        if name in COMPLEX:
            self.wrong(node, f'"{name}" needs a definition.', f'Write {{"type": "{name}", ...}}.')
            return
        if name in LOGICAL_TYPES:
            definition = json.dumps(_base_of(name, node) | {"logicalType": name})
            self.wrong(node, f'"{name}" is a logical type, which has a type below it.', f"Write {definition}.")
            return
        other = OTHER_TYPES.get(name.lower())
        defined = [*self._named, *self._others.names]
        known = [*PRIMITIVES, *(one.removeprefix(f"{namespace}.") for one in defined)]
        fix = f"Did you mean {other!r}?" if other else suggestion(name, [one for one in known if one != name])
        what = ""
        if namespace and "." not in name and name in defined:
            what, fix = f": here it means {namespace}.{name}", f'Define it in the namespace "{namespace}".'
        self.wrong(node, f'Unknown Avro type "{name}"{what}.', fix or DEFINE)

    def _union(self, node: Node, namespace: str) -> None:
        seen: set[str] = set()
        if not node.value:
            self._refuse(node, "The union has no branches.", 'Write its types, as in ["null", "string"].')
        for branch in node.entries():
            if isinstance(branch.value, list):
                self.wrong(branch, "A union cannot contain a union.", "Move its branches into the outer union.")
                continue
            self._type(branch, namespace)
            name = _branch(branch.value, namespace)
            if name in seen:
                self.wrong(branch, f'The union has two branches of type "{name}".', "Remove one.")
            seen.add(name)

    def _definition(self, node: Node, namespace: str) -> None:
        kind = node.at("type")
        match kind.text:
            case "record" | "error":
                self._fields(node, self._name_of(node, "record", namespace))
            case "enum":
                self._name_of(node, "enum", namespace)
                self._symbols(node)
            case "fixed":
                self._name_of(node, "fixed", namespace)
                self._size(node.at("size"))
            case "array":
                self._type(node.at("items"), namespace)
            case "map":
                self._type(node.at("values"), namespace)
            case None:
                fix = "Write a type's name here. A definition or a union stands where the type is used, in no object."
                self.wrong(kind, f"The type of a definition is a name, not {quoted(kind.value)}.", fix)
            case name:
                self._name(kind, name, namespace)
        self._logical(node, kind.text)

    # --- logical types -----------------------------------------------------------------------------------------------

    def _logical(self, node: Node, base: str | None) -> None:
        logical = node.at("logicalType")
        if logical.is_absent:
            return
        known = LOGICAL_TYPES.get(logical.text or "")
        if known is None:
            self._unknown_logical(logical)
        elif base is not None and base not in known.bases:
            expected = " or ".join(known.bases)
            message = f"{logical.text} is a logical type of {expected}, not of {quoted(base)}."
            self._refuse(logical, message, f"Write {_members(_base_of(logical.text or '', node))}, or remove it.")
        elif logical.text == "decimal":
            self._decimal(node)
        elif base == "fixed" and node.at("size").integer != known.size:
            self._refuse(node.at("size"), f"A {logical.text} has {known.size} bytes.", f'Write "size": {known.size}.')

    def _unknown_logical(self, node: Node) -> None:
        """Warn of a logical type that Avro does not define; Avro ignores it."""
        fix = f"Remove it, unless readers of the topic use it. {suggestion(node.text or '', LOGICAL_TYPES)}".rstrip()
        self.findings.warning(node, f"Unknown logical type {quoted(node.value)}: it has no effect.", fix)

    def _decimal(self, node: Node) -> None:
        precision, scale = node.at("precision"), node.at("scale")
        digits = digits_of(node.at("size").integer or 1)
        if (precision.integer or 0) < 1:
            self._refuse(node, "A decimal needs a precision, a whole number from 1.", 'Add it, as in "precision": 9.')
        elif node.at("type").text == "fixed" and precision.value > digits:
            message = f"A fixed of this size has {digits} digits, not {precision.value}."
            self._refuse(precision, message, f'Write "precision": {digits}, or increase the size.')
        elif not scale.is_absent and not 0 <= (-1 if scale.integer is None else scale.integer) <= precision.value:
            message = "The scale must be a whole number from 0 to the precision."
            self._refuse(scale, message, 'Write such a number, as in "scale": 0.')

    def _misplaced_logical(self, field: Node) -> None:
        """Refuse a logical type next to a field's type, where Avro ignores it."""
        logical = field.at("logicalType")
        if logical.text in LOGICAL_TYPES:
            moved = {key: field.value[key] for key in ("logicalType", "precision", "scale") if key in field.value}
            right = _annotated(field.at("type").value, moved)
            fix = "Remove it." if right is None else f"Write {_members({'type': right})}, and remove it here."
            self._refuse(logical, f"{logical.text} is next to the type, where Avro ignores it.", fix)
        elif not logical.is_absent:
            self._unknown_logical(logical)

    # --- named types -------------------------------------------------------------------------------------------------

    def _name_of(self, node: Node, kind: str, outer: str) -> str:
        """Check the name of a definition; returns the namespace of the names in it."""
        name = node.at("name")
        self._check_name(node, kind)
        self._aliases(node)
        fullname = fullname_of(node.value, outer)
        if fullname in PRIMITIVES:
            self.wrong(name, f'"{fullname}" is a type of Avro.', "Choose another name, or add a namespace.")
        elif fullname in self._named:
            self.wrong(name, f'The name "{fullname}" is already defined.', "Define a type once, then use its name.")
        self._named.setdefault(fullname, node.value | {"name": fullname})
        return fullname.rpartition(".")[0]

    def _check_name(self, node: Node, kind: str) -> None:
        name, stated = node.at("name"), node.at("namespace")
        if not name.text:
            self.wrong(name, f"The {kind} has no name.", 'Add it, as in "name": "Reading".')
        elif not _is_name(name.text):
            self.wrong(name, f"{quoted(name.value)} is not an Avro name.", NAMES)
        is_ignored = "." in (name.text or "") and stated.text is not None
        if not (stated.value in (None, "") or stated.is_absent or is_ignored or _is_name(stated.text or "")):
            message = f"{quoted(stated.value)} is not an Avro namespace."
            self.wrong(stated, message, f"Write names, separated by dots. {NAMES}")

    def _aliases(self, node: Node) -> list[Node]:
        """The aliases of a field or named type; invalid ones are reported."""
        stated = node.at("aliases")
        if not stated.is_absent and not isinstance(stated.value, list):
            self.wrong(stated, "Expected a list of names.", 'Write "aliases": ["former_name"].')
        for one in stated.entries():
            if not _is_name(one.text or ""):
                self.wrong(one, f"{quoted(one.value)} is not an Avro name.", NAMES)
        return [one for one in stated.entries() if one.text]

    def _symbols(self, node: Node) -> None:
        symbols, seen, default = node.at("symbols"), set(), node.at("default")
        if not isinstance(symbols.value, list):
            self.wrong(symbols, "An enum needs a list of symbols.", 'Write it, as in "symbols": ["open", "closed"].')
        elif not symbols.value:
            self._refuse(symbols, "The enum has no symbols.", 'Write some, as in "symbols": ["open", "closed"].')
        for one in symbols.entries():
            if not NAME.match(one.text or ""):
                self.wrong(one, f"{quoted(one.value)} is not a symbol.", NAMES)
            elif one.text in seen:
                self.wrong(one, f"The symbol {quoted(one.value)} is repeated.", "Remove one.")
            seen.add(one.text)
        if not default.is_absent and (default.text is None or default.text not in seen):
            self.wrong(default, f"The default {quoted(default.value)} is not one of the symbols.", "Write one of them.")

    def _size(self, size: Node) -> None:
        if size.integer is None or not 0 <= size.integer <= MAX_SIZE:
            message = f"A fixed needs a size in bytes, a whole number up to {MAX_SIZE}."
            self.wrong(size, message, 'Write it, as in "size": 16.')
        elif not size.integer:
            self._refuse(size, "A fixed of 0 bytes has no value.", 'Write a whole number from 1, as in "size": 16.')

    # --- fields ------------------------------------------------------------------------------------------------------

    def _fields(self, node: Node, namespace: str) -> None:
        fields, seen = node.at("fields"), set()
        if not isinstance(fields.value, list):
            self.wrong(fields, "A record needs a list of fields.", 'Write "fields": [...].')
        for one in fields.entries():
            name = one.at("name")
            if not name.text:
                self.wrong(one, "The field has no name.", 'Add it, as in "name": "temperature".')
            elif not NAME.match(name.text):
                self.wrong(one, f"{quoted(name.value)} is not an Avro name.", NAMES)
            elif name.text in seen:
                self.wrong(name, f"The record has two fields {quoted(name.value)}.", "Rename one.")
            seen.add(name.text)
            self._field(one, namespace)
        self._check_aliases(fields)

    def _field(self, node: Node, namespace: str) -> None:
        before, avro_type, order = self.faults, node.at("type"), node.at("order")
        self._type(avro_type, namespace)
        if self.faults == before and not node.at("default").is_absent:
            self._default(avro_type, node.at("default"), namespace)
        if not order.is_absent and order.text not in ORDERS:
            self.wrong(order, f"{quoted(order.value)} is not an order of a field.", f"Use {', '.join(ORDERS)}.")
        self._misplaced_logical(node)

    def _check_aliases(self, fields: Node) -> None:
        """Readers look up fields by aliases too, so names and aliases must be unique."""
        owners = {one.at("name").text: index for index, one in enumerate(fields.entries())}
        for index, one in enumerate(fields.entries()):
            for alias in self._aliases(one):
                if owners.setdefault(alias.text, index) != index:
                    message = f"{quoted(alias.value)} is the name or alias of another field."
                    self._refuse(alias, message, "Remove it.")

    # --- defaults ----------------------------------------------------------------------------------------------------

    def _default(self, avro_type: Node, default: Node, namespace: str) -> None:
        with suppress(KeyError, TypeError, IndexError):  # an invalid named type, which is reported
            if not self._fits(avro_type.value, default.value, namespace):
                is_union = isinstance(avro_type.value, list) and self._is_strict
                fix = "Write a value of the union's first branch." if is_union else "Write a value of this type."
                if is_union and default.value is None and "null" in avro_type.value:
                    fix = 'Write "null" first in the type: a default is of the union\'s first branch.'
                self.wrong(default, f"The default {quoted(default.value)} does not match the field's type.", fix)

    def _fits(self, avro_type: Any, value: Any, namespace: str) -> bool:
        """Whether a default matches a valid type."""
        if isinstance(avro_type, list):
            branches = avro_type[:1] if self._is_strict else avro_type
            return any(self._fits(branch, value, namespace) for branch in branches)
        if isinstance(avro_type, dict):
            return self._fits_definition(avro_type, value, namespace)
        if avro_type in PRIMITIVES:
            return self._fits_primitive(avro_type, value)
        return self._fits_definition(self.definition(avro_type, namespace), value, "")

    def _fits_definition(self, avro_type: dict[str, Any], value: Any, namespace: str) -> bool:
        match avro_type["type"]:
            case "record" | "error":
                inner = fullname_of(avro_type, namespace).rpartition(".")[0]
                return isinstance(value, dict) and all(
                    self._fits(one["type"], value.get(one["name"]), inner)
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
                return self._fits_primitive("bytes", value) and len(value) == avro_type["size"]
            case other:
                return self._fits(other, value, namespace)

    def _fits_primitive(self, kind: str, value: Any) -> bool:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind in RANGES:
            return is_number and isinstance(value, int) and -(2 ** RANGES[kind]) <= value < 2 ** RANGES[kind]
        if kind in FLOATS:
            return is_number and (not self._is_strict or _holds(FLOATS[kind], value))
        if kind == "bytes":
            return isinstance(value, str) and all(ord(character) < 256 for character in value)
        return isinstance(value, {"null": type(None), "boolean": bool, "string": str}[kind])

    # --- records in themselves ---------------------------------------------------------------------------------------

    def _check_ends(self, node: Node) -> None:
        """A record that always contains itself has no value; an array, a map or a union with null ends it."""
        model = build(self._others.complete(node.value))
        for index, field in enumerate(model.fields):
            if self._is_endless(field.type, (model,)):
                place = node.at("fields", str(index), "type")
                fix = 'Make it a union with "null", or an array.'
                self.wrong(place, "The record contains itself without end.", fix)

    def _is_endless(self, avro_type: AvroType, inside: tuple[AvroType, ...]) -> bool:
        if avro_type.kind == "union":
            return all(self._is_endless(branch, inside) for branch in avro_type.inner)
        if avro_type.kind != "record" or avro_type in self._finite:
            return False
        if avro_type in inside:
            return True
        if any(self._is_endless(field.type, (*inside, avro_type)) for field in avro_type.fields):
            return True
        self._finite.add(avro_type)
        return False


def _is_name(text: str) -> bool:
    """Whether a text is an Avro name, or several with dots between them."""
    return all(map(NAME.match, text.split(".")))


def _branch(branch: Any, namespace: str) -> str:
    """The name that must be unique among the branches of a union."""
    if not isinstance(branch, dict):
        return branch if branch in PRIMITIVES else full_name(str(branch), namespace)
    kind = branch.get("type")
    if isinstance(kind, str) and kind in {*NAMED, "error"}:
        return fullname_of(branch, namespace)
    return str(kind) if kind in (*PRIMITIVES, "array", "map") else full_name(str(kind), namespace)


def _annotated(avro_type: Any, attributes: dict[str, Any]) -> Any:
    """The type with the attributes of a logical type in the first place that they belong to; None without one."""
    if isinstance(avro_type, list):
        branches = [_annotated(branch, attributes) for branch in avro_type]
        first = next((index for index, branch in enumerate(branches) if branch is not None), None)
        return None if first is None else [*avro_type[:first], branches[first], *avro_type[first + 1 :]]
    definition = (avro_type if isinstance(avro_type, dict) else {"type": avro_type}) | attributes
    kind, size = definition.get("type"), definition.get("size", 0)
    if not isinstance(kind, str) or not isinstance(size, int):
        return None
    return definition if AvroType(kind, attributes=definition, size=size).logical else None


def _base_of(logical_name: str, node: Node) -> dict[str, Any]:
    """The members that give a definition a type that the logical type belongs to."""
    known = LOGICAL_TYPES[logical_name]
    base: dict[str, Any] = {"type": known.bases[0]}
    if known.bases == ("fixed",):
        base |= {"name": logical_name.capitalize(), "size": known.size}
    if logical_name == "decimal" and (node.at("precision").integer or 0) < 1:
        base["precision"] = 9
    return base


def _members(members: dict[str, Any]) -> str:
    """Members of a JSON object, as they are written in it."""
    return json.dumps(members, ensure_ascii=False)[1:-1]


def _holds(form: str, value: float) -> bool:
    with suppress(OverflowError, struct.error):
        return bool(struct.pack(form, value))
    return False
