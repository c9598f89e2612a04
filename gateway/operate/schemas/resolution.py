"""Avro's schema resolution: what keeps a reader's schema from reading what a writer's schema wrote.

The rules are those of the Avro specification, section "Schema Resolution", as Apache Avro's SchemaCompatibility applies
them: names match without their namespace or by an alias of the reader; a field is found by its name or by one of its
aliases, and must not be found twice; a union of the reader resolves what any of its branches resolves.

All faults are returned at once, each with its place. A pair of types that is visited again, as in a recursive schema,
counts as compatible: if it is not, the first visit has returned the fault. When a branch of a reader's union fails,
the pairs that were visited while it was tried are forgotten.

A change of the logical type alone (milliseconds to microseconds, another decimal scale) resolves, and gives wrong
values without an error. That is a caution, not a fault; registries do not report it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.avro_schema import AvroType, Field
    from gateway.operate.schemas.avsc import Schema
    from gateway.operate.schemas.mode import Direction, Mode

PROMOTIONS = {  # the reader's primitive -> the writer's that it can read, too
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class Rule(Enum):
    """The rules of schema resolution that a pair of schemas can break."""

    TYPE = "type"
    NAME = "name"
    DEFAULT = "default"
    TWICE = "twice"
    SYMBOLS = "symbols"
    SIZE = "size"
    UNION = "union"
    LOGICAL = "logical"


class Fault(NamedTuple):
    """Why a reader cannot read a writer's records, or why it reads them wrongly."""

    rule: Rule
    record: str  # full name of the innermost record, the reader's; empty outside of records
    path: str  # from the outermost record on, as `position.samples[]`; empty for the outermost type
    reader: AvroType
    writer: AvroType | None  # None when it has nothing there
    field: Field | None = None  # the reader's innermost; None outside of records
    candidates: tuple[str, ...] = ()  # the writer's that the field may be: perhaps renamed, or several that it matches

    @property
    def is_caution(self) -> bool:
        """True when records can be read, but their values may mean something else."""
        return self.rule is Rule.LOGICAL


def faults(reader: AvroType, writer: AvroType) -> list[Fault]:
    """Resolve a reader's schema against a writer's; faults and cautions are in the order of the reader's fields."""
    return _Walk().resolve(reader, writer, _Position())


class Problem(NamedTuple):
    """A fault between two versions."""

    direction: Direction  # backward when the new schema reads, forward when the old one does
    fault: Fault
    new: Schema
    old: Schema


def problems(new: Schema, earlier: Sequence[Schema], mode: Mode) -> list[Problem]:
    """List faults and cautions against earlier versions, the oldest first; those against the newest come first."""
    try:
        return [
            Problem(direction, fault, new, old)
            for old in reversed(mode.counted(earlier))
            for direction in mode.directions
            for fault in (faults(new.type, old.type) if direction == "backward" else faults(old.type, new.type))
        ]
    except RecursionError:
        raise ConfigurationError([Finding(new.label, 0, "", "It is nested too deep to be compared.")]) from None


class _Position(NamedTuple):
    record: str = ""
    path: str = ""
    field: Field | None = None

    def fault(self, rule: Rule, reader: AvroType, writer: AvroType | None, candidates: tuple[str, ...] = ()) -> Fault:
        return Fault(rule, self.record, self.path, reader, writer, self.field, candidates)

    def inside(self, record: AvroType, field: Field) -> _Position:
        return _Position(record.name, f"{self.path}.{field.name}".lstrip("."), field)

    def entries(self, kind: str) -> _Position:
        return self._replace(path=self.path + ("[]" if kind == "array" else "{}"))


class _Walk:
    def __init__(self) -> None:
        self._visited: set[tuple[int, int]] = set()

    def resolve(self, reader: AvroType, writer: AvroType, position: _Position) -> list[Fault]:
        if (pair := (id(reader), id(writer))) in self._visited:
            return []
        self._visited.add(pair)
        if writer.kind == "union":
            return [fault for branch in writer.branches for fault in self._branch(reader, branch, position)]
        if reader.kind == "union":
            return self._union(reader, writer, position)
        if reader.kind != writer.kind:
            is_promoted = writer.kind in PROMOTIONS.get(reader.kind, ())
            return _meaning(reader, writer, position) if is_promoted else [position.fault(Rule.TYPE, reader, writer)]
        return _named(reader, writer, position) + self._parts(reader, writer, position)

    def _parts(self, reader: AvroType, writer: AvroType, position: _Position) -> list[Fault]:
        match reader.kind:
            case "record":
                return [fault for one in reader.fields for fault in self._field(reader, one, writer, position)]
            case "array" | "map":
                return self.resolve(reader.inner[0], writer.inner[0], position.entries(reader.kind))
            case "enum":
                is_known = {*writer.symbols} <= {*reader.symbols} or reader.attributes.get("default") in reader.symbols
                return [] if is_known else [position.fault(Rule.SYMBOLS, reader, writer)]
            case "fixed" if reader.size != writer.size:
                return [position.fault(Rule.SIZE, reader, writer)]
            case _:
                return _meaning(reader, writer, position)

    def _field(self, record: AvroType, field: Field, writer: AvroType, position: _Position) -> list[Fault]:
        inside = position.inside(record, field)
        found = [one for one in writer.fields if one.name in {field.name, *field.aliases}]
        if len(found) > 1:
            return [inside.fault(Rule.TWICE, field.type, None, tuple(one.name for one in found))]
        if found:
            return self.resolve(field.type, found[0].type, inside)
        if field.has_default:
            return []
        return [inside.fault(Rule.DEFAULT, field.type, None, _renamed(record, field, writer))]

    def _branch(self, reader: AvroType, branch: AvroType, position: _Position) -> list[Fault]:
        inside = self.resolve(reader, branch, position)
        is_missing = any(one.rule is Rule.TYPE and one.path == position.path for one in inside)
        return [position.fault(Rule.UNION, reader, branch)] if is_missing else inside

    def _union(self, reader: AvroType, writer: AvroType, position: _Position) -> list[Fault]:
        """Find a branch of the reader's union for what the writer holds, the same type before a promotion."""
        alike = [one for one in reader.branches if one.kind == writer.kind and not _named(one, writer, position)]
        for branch in (*alike, *reader.branches):
            before = set(self._visited)
            inside = self.resolve(branch, writer, position)
            if all(fault.is_caution for fault in inside):
                return inside
            self._visited = before
        if alike:  # the branch exists, so the fault is inside it
            return self.resolve(alike[0], writer, position)
        return [position.fault(Rule.UNION, reader, writer)]


def _renamed(record: AvroType, field: Field, writer: AvroType) -> tuple[str, ...]:
    """List fields of the writer that the reader does not use: one of them may be this field under an older name."""
    known = {name for one in record.fields for name in (one.name, *one.aliases)}
    return tuple(one.name for one in writer.fields if one.name not in known and _is_like(field.type, one.type))


def _is_like(reader: AvroType, writer: AvroType) -> bool:
    """Tell whether two types are of the same kind, whatever they contain."""
    if reader.kind == writer.kind:
        return reader.short_name == writer.short_name
    return writer.kind in PROMOTIONS.get(reader.kind, ())


def _named(reader: AvroType, writer: AvroType, position: _Position) -> list[Fault]:
    is_same = reader.short_name == writer.short_name or writer.name in reader.aliases
    return [] if is_same else [position.fault(Rule.NAME, reader, writer)]


def _meaning(reader: AvroType, writer: AvroType, position: _Position) -> list[Fault]:
    expected, written = reader.meaning, writer.meaning
    is_changed = expected != written and {expected, written} != {"", "uuid"}
    return [position.fault(Rule.LOGICAL, reader, writer)] if is_changed else []
