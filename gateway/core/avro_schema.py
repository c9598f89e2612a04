"""The Avro schema model: an `.avsc` as a graph of types, with every name resolved.

`build` makes it once from parsed JSON; codec, contract checks, docs, simulator and schema comparison read it. A named
type that is used again is the same `AvroType` object again, so a recursive schema has loops: a walk must remember what
it has visited, or use `types`. The JSON must be a valid Avro schema; the contract checks that with fastavro.

Sources of a record's fields: a field reads the member of its name, or what `x-source` names, a JSON pointer from the
record's own object: `$message.payload#/1-0:1.8.0/value`. A list is tried in order. The bare `$message.payload#` on a
map field collects the members that no other field reads; on any other field it is the payload as a whole, which the
codec puts into an object under the name `PAYLOAD` (`codec/scalar_payload.py`). Another expression is the name of a
member that `record_path.py` writes into the record. An object has any of these as its `location`, and says how the
device writes the value (`codec/value_reader.py`). A default is in the field's own unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.logical import Annotated, logical_type
from gateway.core.codec.validation_error import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.codec.logical import LogicalType, TimeForm
    from gateway.core.codec.primitives import Encoder

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED = frozenset({"record", "enum", "fixed"})
PAYLOAD = "$message.payload#"
SOURCE = "x-source"
COUNTER = "x-counter"
LOCATION = "location"  # the member of an `x-source` that is a place; all others are about the form of the value
LISTS = ("nulls", "trues", "falses")  # those that are lists of values
_KIND_OF = {bool: "boolean", int: "integer", float: "number", str: "text", list: "array", dict: "object"}
_JSON_KINDS = {
    "null": (), "boolean": ("boolean",), "int": ("integer",), "long": ("integer",), "float": ("number",),
    "double": ("number",), "string": ("text",), "bytes": ("text",), "enum": ("text",), "fixed": ("text",),
    "array": ("array",), "map": ("object",), "record": ("object",),
}  # fmt: skip

Path = tuple[str, ...]  # names of members, from the record's object to a value
Place = tuple[str, ...]  # keys from the schema's outermost value: ("fields", "0", "type")


@dataclass(frozen=True, slots=True, eq=False)
class AvroType:
    """One type of a schema."""

    kind: str  # `union`, a complex type's name, or a primitive's; an `error` is a `record`
    place: Place = ()  # where it is in the file; for a named type, where it is defined
    # its JSON object; empty for a bare name and a union
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    name: str = ""  # full name of a record, enum or fixed
    inner: tuple[AvroType, ...] = ()  # the branches of a union, the items of an array, the values of a map
    fields: tuple[Field, ...] = field(default=(), repr=False)  # of a record
    symbols: tuple[str, ...] = ()  # of an enum
    size: int = 0  # of a fixed, in bytes

    @property
    def namespace(self) -> str:
        """The namespace of a named type, which names inside it belong to."""
        return self.name.rpartition(".")[0]

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]

    @property
    def aliases(self) -> frozenset[str]:
        """Other full names of a named type."""
        return frozenset(full_name(alias, self.namespace) for alias in self.attributes.get("aliases") or ())

    @property
    def logical_name(self) -> str:
        """The `logicalType` as it is written, known or not; else empty."""
        return str(self.attributes.get("logicalType", ""))

    @property
    def _annotated(self) -> Annotated:
        return Annotated(self.kind, self.logical_name, self.size, self.precision, self.scale)

    @property
    def logical(self) -> LogicalType | None:
        """The logical type; None without one that the codec knows and that belongs to this type."""
        return logical_type(self._annotated) if "logicalType" in self.attributes else None

    @property
    def logical_encoder(self) -> Encoder | None:
        """The encoder of the logical type; None without one."""
        return self.logical.encoder(self._annotated) if self.logical else None

    @property
    def is_exact(self) -> bool:
        """True when the type keeps all digits of a number: decimal and big-decimal."""
        return self.logical is not None and self.logical.is_exact

    @property
    def is_timestamp(self) -> bool:
        """True for a timestamp of a zone, which names a moment."""
        return self.time is not None and self.time.per_millisecond > 0

    @property
    def is_bytes(self) -> bool:
        """True for bytes and fixed of any content, which a logical type would restrict."""
        return self.kind in {"bytes", "fixed"} and self.logical is None

    @property
    def time(self) -> TimeForm | None:
        """How a date or time stands in JSON; None for other types."""
        return self.logical.time if self.logical else None

    @property
    def json_kinds(self) -> frozenset[str]:
        """The kinds of JSON values that the type takes, except null: `integer`, `text`, `array` and so on."""
        if self.kind == "union":
            return frozenset().union(*(branch.json_kinds for branch in self.inner))
        return frozenset(self.logical.json_kinds if self.logical else _JSON_KINDS[self.kind])

    @property
    def precision(self) -> int | None:
        """Digits of a decimal; None when none are declared."""
        precision = self.attributes.get("precision")
        return precision if type(precision) is int else None

    @property
    def scale(self) -> int:
        """Digits of a decimal after the point; -1 when what is declared is not a whole number."""
        scale = self.attributes.get("scale", 0)
        return scale if type(scale) is int else -1

    @property
    def label(self) -> str:
        """The type in one word: its logical type, its name or its kind."""
        return self.logical_name or self.name or self.kind

    @property
    def meaning(self) -> str:
        """The logical type, such as `timestamp-millis` or `decimal(9, 2)`; empty when Avro ignores it."""
        if self.logical is None:
            return ""
        return f"decimal({self.precision}, {self.scale})" if self.logical_name == "decimal" else self.logical_name

    def __str__(self) -> str:
        """Describe the type: `null or double`, `enum DoorState`, `array of long (timestamp-millis)`."""
        if self.kind == "union":
            return " or ".join(map(str, self.inner)) or "an empty union"
        text = f"{self.kind} of {self.inner[0]}" if self.inner else f"{self.kind} {self.short_name}".rstrip()
        return f"{text} ({self.meaning})" if self.meaning else text

    @property
    def branches(self) -> tuple[AvroType, ...]:
        """The branches of a union; any other type is its own only branch."""
        return self.inner if self.kind == "union" else (self,)

    @property
    def is_nullable(self) -> bool:
        """True when null is one of the branches."""
        return any(branch.kind == "null" for branch in self.branches)

    @property
    def non_null(self) -> tuple[AvroType, ...]:
        """The branches without null."""
        return tuple(branch for branch in self.branches if branch.kind != "null")

    @property
    def below(self) -> tuple[AvroType, ...]:
        """The types directly below this one."""
        return (*self.inner, *(each.type for each in self.fields))

    @property
    def whole_field(self) -> Field | None:
        """The field of a record that takes the payload as a whole."""
        return next((each for each in self.fields if each.takes_whole), None)

    @property
    def collects(self) -> bool:
        """True when a field of the record takes the members that no other field reads."""
        return any(each.collects for each in self.fields)

    def field_named(self, name: str) -> Field | None:
        """Find a field of a record; None when there is none, or when the type is not a record."""
        return next((each for each in self.fields if each.name == name), None)

    def located(self, names: Path) -> Located:
        """Find a field by its names from this record down; raises KeyError when there is no such field."""
        name, *below = names
        found = self.field_named(name)
        if found is None:
            raise KeyError(name)
        if not below:
            return Located(found, found.paths)
        inner = found.type.located(tuple(below))
        return Located(inner.field, tuple(outer + rest for outer in found.paths for rest in inner.paths))


@dataclass(frozen=True, eq=False)
class Field:
    """A field of a record."""

    name: str
    type: AvroType
    place: Place
    attributes: Mapping[str, Any] = field(repr=False)  # its JSON object

    @property
    def has_default(self) -> bool:
        """True when a value may be absent."""
        return "default" in self.attributes

    @property
    def default(self) -> Any:
        """The default as JSON; None when there is none."""
        return self.attributes.get("default")

    @property
    def doc(self) -> str:
        """The description; empty where it is no text, which Avro ignores."""
        doc = self.attributes.get("doc")
        return doc if isinstance(doc, str) else ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names that a writer may have used."""
        return tuple(self.attributes.get("aliases") or ())

    @property
    def location(self) -> Any:
        """What `x-source` says of the place: an expression, a list of them, or None for the member of its name."""
        source = self.attributes.get(SOURCE)
        return source.get(LOCATION) if isinstance(source, dict) else source

    @property
    def takes_whole(self) -> bool:
        """True when the field takes the payload as a whole."""
        return self.location == PAYLOAD and self.type.kind != "map"

    @property
    def collects(self) -> bool:
        """True when the field takes the members that no other field reads."""
        return self.paths == ((),)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Where the value stands in the JSON object, tried in order; an empty path collects what no field reads."""
        location = self.location
        if location is None:
            return ((self.name,),)
        if self.takes_whole:
            return ((PAYLOAD,),)
        expressions = [location] if isinstance(location, str) else location
        return tuple(path_of(expression) for expression in expressions)

    @property
    def words(self) -> Mapping[str, Any]:
        """What `x-source` says of the form of the value: `factor`, `parse` and so on; empty when it is as in JSON."""
        source = self.attributes.get(SOURCE)
        return {word: said for word, said in source.items() if word != LOCATION} if isinstance(source, dict) else {}

    @property
    def factor(self) -> Decimal | None:
        """What the numbers of the payload are multiplied by; None when they are taken as they are."""
        return Decimal(str(self.words["factor"])) if "factor" in self.words else None

    @property
    def takes_level(self) -> bool:
        """True when a level of a topic can be its value: a text, or a number or truth value that is read from text."""
        if not {"string", "enum"}.isdisjoint(branch.kind for branch in self.type.branches):
            return True
        is_read = self.words.get("parse") in {"number", "boolean"} or bool(self.texts)
        return is_read and "text" not in self.type.json_kinds

    @property
    def texts(self) -> list[str]:
        """The texts that `x-source` names for true and false."""
        return [each for word in LISTS[1:] for each in self.words.get(word, ()) if isinstance(each, str)]

    @cached_property
    def json_kinds(self) -> frozenset[str]:
        """The kinds of JSON values that the field takes, except null; see `AvroType.json_kinds`."""
        named = [each for word in LISTS for each in self.words.get(word, ())]
        parse = self.words.get("parse")
        read = {"integer" if parse == "string" else "text"} if parse else set()
        return self.type.json_kinds | read | {_KIND_OF[type(each)] for each in named if type(each) in _KIND_OF}


def path_of(expression: str) -> Path:
    """The members that lead to a place; what is not in the record's own object is a member of the expression's name."""
    return tokens(expression.removeprefix(PAYLOAD)) if expression.startswith(PAYLOAD) else (expression,)


class Located(NamedTuple):
    """A field of a record, or of a record inside it."""

    field: Field
    paths: tuple[Path, ...]  # where its value is in the outermost record's object, tried in order


def build(definition: Any) -> AvroType:
    """Build the model from the parsed JSON of a valid Avro schema; an undefined name raises KeyError."""
    return _Builder().type(definition, (), "")


def types(root: AvroType) -> Iterator[AvroType]:
    """List all types of a schema, each object once, in the order of the file."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        avro_type = pending.pop()
        if id(avro_type) not in seen:
            seen.add(id(avro_type))
            yield avro_type
            pending += reversed(avro_type.below)


def full_name(name: str, namespace: str) -> str:
    """Give the full name of a type."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


class _Builder:
    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}

    def type(self, definition: Any, place: Place, namespace: str) -> AvroType:
        """Build one type; `namespace` is that of the named type around it."""
        if isinstance(definition, list):
            branches = (self.type(branch, (*place, str(index)), namespace) for index, branch in enumerate(definition))
            return AvroType("union", place, inner=tuple(branches))
        if isinstance(definition, str):
            return AvroType(definition, place) if definition in PRIMITIVES else self._known(definition, namespace)
        kind = definition["type"]
        if not isinstance(kind, str):
            return self.type(kind, (*place, "type"), namespace)
        if kind in NAMED or kind == "error":
            return self._define(definition, place, namespace)
        if kind in {"array", "map"}:
            key = "items" if kind == "array" else "values"
            return AvroType(kind, place, definition, inner=(self.type(definition[key], (*place, key), namespace),))
        return AvroType(kind, place, definition) if kind in PRIMITIVES else self._known(kind, namespace)

    def _known(self, name: str, namespace: str) -> AvroType:
        return self._named.get(full_name(name, namespace)) or self._named[name]

    def _define(self, definition: dict[str, Any], place: Place, outer: str) -> AvroType:
        kind = "record" if definition["type"] == "error" else definition["type"]
        stated = definition.get("namespace")
        name = full_name(definition["name"], outer if stated is None else stated)
        symbols, size = tuple(definition.get("symbols", ())), definition.get("size", 0)
        made = self._named[name] = AvroType(kind, place, definition, name, symbols=symbols, size=size)
        if kind == "record":  # its fields are set once it is known by its name, because they may refer to it
            fields = enumerate(definition["fields"])
            inside = tuple(self._field(each, (*place, "fields", str(index)), made.namespace) for index, each in fields)
            object.__setattr__(made, "fields", inside)
        return made

    def _field(self, definition: dict[str, Any], place: Place, namespace: str) -> Field:
        return Field(definition["name"], self.type(definition["type"], (*place, "type"), namespace), place, definition)
