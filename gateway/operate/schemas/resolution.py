"""Avro's schema resolution as a question: what keeps a reader's schema from reading what a writer's schema wrote?

The rules are those of the Avro specification, section "Schema Resolution", as Apache Avro's SchemaCompatibility reads
them: names match without their namespace or by an alias of the reader; a field is found by its name, then by its
aliases; a union of the reader resolves what any of its branches resolves.

Everything is told at once, each fault with its place. A pair of types that is met again, as in a recursive schema,
counts as compatible: if it is not, that was told where it was met first. While a branch of a reader's union is only
tried, what was assumed on the way is forgotten when the branch fails.

Beyond the verdict: a change of the logical type alone (milliseconds to microseconds, another decimal scale) resolves,
and gives wrong values without an error. That is a caution, not a fault; registries do not see it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gateway.operate.schemas.avsc import Field, Type

PROMOTIONS = {  # the reader's primitive by what else it can read
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
    SYMBOLS = "symbols"
    SIZE = "size"
    UNION = "union"
    LOGICAL = "logical"


class Fault(NamedTuple):
    """Why a reader cannot read a writer's records, or why it reads them wrongly.

    Args:
        rule: the rule that is broken.
        record: full name of the innermost record, the reader's; empty outside of records.
        path: the field from the outermost record on, as `position.samples[]`; empty for the outermost type.
        reader: what the reader expects there.
        writer: what the writer has there; None when it has nothing.
        field: the reader's innermost field; None outside of records.
        candidates: fields of the writer that the reader does not know and could read: perhaps the same, renamed.
    """

    rule: Rule
    record: str
    path: str
    reader: Type
    writer: Type | None
    field: Field | None = None
    candidates: tuple[str, ...] = ()

    @property
    def is_caution(self) -> bool:
        """True when records can be read, but their values may mean something else."""
        return self.rule is Rule.LOGICAL


def faults(reader: Type, writer: Type) -> list[Fault]:
    """Resolve a reader's schema against a writer's.

    Args:
        reader: outermost type of the schema that reads.
        writer: outermost type of the schema that wrote.

    Returns:
        Every fault and caution, in the order of the reader's fields; none when all is well.
    """
    return _Walk().resolve(reader, writer, _Spot())


class _Spot(NamedTuple):
    """Where the walk is."""

    record: str = ""
    path: str = ""
    field: Field | None = None

    def fault(self, rule: Rule, reader: Type, writer: Type | None, candidates: tuple[str, ...] = ()) -> Fault:
        return Fault(rule, self.record, self.path, reader, writer, self.field, candidates)

    def inside(self, record: Type, field: Field) -> _Spot:
        return _Spot(record.name, f"{self.path}.{field.name}".lstrip("."), field)

    def entries(self, kind: str) -> _Spot:
        return self._replace(path=self.path + ("[]" if kind == "array" else "{}"))


class _Walk:
    def __init__(self) -> None:
        self._met: set[tuple[int, int]] = set()

    def resolve(self, reader: Type, writer: Type, spot: _Spot) -> list[Fault]:
        if (pair := (id(reader), id(writer))) in self._met:
            return []
        self._met.add(pair)
        if writer.kind == "union":
            return [fault for branch in writer.branches for fault in self._branch(reader, branch, spot)]
        if reader.kind == "union":
            return self._union(reader, writer, spot)
        if reader.kind != writer.kind:
            is_promoted = writer.kind in PROMOTIONS.get(reader.kind, ())
            return _meaning(reader, writer, spot) if is_promoted else [spot.fault(Rule.TYPE, reader, writer)]
        return _named(reader, writer, spot) + self._parts(reader, writer, spot)

    def _parts(self, reader: Type, writer: Type, spot: _Spot) -> list[Fault]:
        match reader.kind:
            case "record":
                return [fault for one in reader.fields.values() for fault in self._field(reader, one, writer, spot)]
            case "array" | "map":
                return self.resolve(reader.branches[0], writer.branches[0], spot.entries(reader.kind))
            case "enum":
                is_known = set(writer.symbols) <= {*reader.symbols} or reader.symbol_default in reader.symbols
                return [] if is_known else [spot.fault(Rule.SYMBOLS, reader, writer)]
            case "fixed" if reader.size != writer.size:
                return [spot.fault(Rule.SIZE, reader, writer)]
            case _:
                return _meaning(reader, writer, spot)

    def _field(self, record: Type, field: Field, writer: Type, spot: _Spot) -> list[Fault]:
        found = next((writer.fields[name] for name in (field.name, *field.aliases) if name in writer.fields), None)
        inside = spot.inside(record, field)
        if found is not None:
            return self.resolve(field.type, found.type, inside)
        if field.has_default:
            return []
        return [inside.fault(Rule.DEFAULT, field.type, None, _renamed(record, field, writer))]

    def _branch(self, reader: Type, branch: Type, spot: _Spot) -> list[Fault]:
        """Resolve one branch that the writer's union may hold."""
        found = self.resolve(reader, branch, spot)
        is_lacking = any(one.rule is Rule.TYPE and one.path == spot.path for one in found)
        return [spot.fault(Rule.UNION, reader, branch)] if is_lacking else found

    def _union(self, reader: Type, writer: Type, spot: _Spot) -> list[Fault]:
        """Find a branch of the reader's union for what the writer holds, the same type before a promotion."""
        alike = [one for one in reader.branches if one.kind == writer.kind and not _named(one, writer, spot)]
        for branch in (*alike, *reader.branches):
            before = set(self._met)
            found = self.resolve(branch, writer, spot)
            if not _errors(found):
                return found
            self._met = before
        if alike:  # the branch is there: what is wrong lies inside it
            return self.resolve(alike[0], writer, spot)
        return [spot.fault(Rule.UNION, reader, writer)]


def _renamed(record: Type, field: Field, writer: Type) -> tuple[str, ...]:
    """Guess which fields of the writer may be this one under an older name: the reader knows no use for them."""
    known = {name for one in record.fields.values() for name in (one.name, *one.aliases)}
    return tuple(one.name for one in writer.fields.values() if one.name not in known and _is_like(field.type, one.type))


def _is_like(reader: Type, writer: Type) -> bool:
    """Whether two types are of a kind; what lies inside them is not looked at."""
    if reader.kind == writer.kind:
        return reader.short_name == writer.short_name
    return writer.kind in PROMOTIONS.get(reader.kind, ())


def _named(reader: Type, writer: Type, spot: _Spot) -> list[Fault]:
    is_same = reader.short_name == writer.short_name or writer.name in reader.aliases
    return [] if is_same else [spot.fault(Rule.NAME, reader, writer)]


def _meaning(reader: Type, writer: Type, spot: _Spot) -> list[Fault]:
    is_number = reader.logical + writer.logical not in {"", "uuid"}
    return [spot.fault(Rule.LOGICAL, reader, writer)] if is_number and reader.logical != writer.logical else []


def _errors(found: list[Fault]) -> list[Fault]:
    return [one for one in found if not one.is_caution]
