"""What a message demands of members of its payload, as far as that tells it apart from other messages.

A demand is necessary: a payload that does not meet it does not fit the message. It is not sufficient: patterns, limits
and what is below `MAX_LEVELS` are left to the message's own validation. A demand says which kinds of JSON value a place
may hold, `absent` included, and which values, where the schema lists them. Integers and fractions are one kind, because
JSON Schema counts 1.0 as an integer. A place is the names that lead to a member. The last may be several names, of
which the object must have one (`anyOf` of `required`): then its value is True if one is there.

Two messages are told apart where no value meets the demands of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice, product
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.avro_schema import SOURCE
from gateway.core.codec.json_text import ABSENT
from gateway.core.codec.keywords import (
    KINDS,
    WORDS,
    alternatives,
    canonical,
    listed,
    one_or_more,
    properties_of,
    quoted,
    scalar_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from gateway.core.avro_schema import AvroType, Field, Path

Place = tuple[str | tuple[str, ...], ...]

MAX_LEVELS = 3  # members of members that are looked at
MAX_CLAUSES = 16  # of an `anyOf`
KIND_OF = {one: kind for kind, classes in KINDS.items() for one in classes} | {type(ABSENT): "absent"}
_OTHER_NAMES = {"text": "string", "integer": "number"}  # kinds of Avro and types of JSON Schema with another name here
_PRESENT = frozenset(KINDS)
_NESTING = frozenset({"array", "object"})


def kind_of(value: Any) -> str:
    """Name the kind of a JSON value, or of ABSENT."""
    return KIND_OF[type(value)]


def value_at(value: Any, place: Place) -> Any:
    """Follow the names of members; ABSENT where they lead nowhere."""
    for name in place:
        if type(value) is not dict:
            return ABSENT
        value = value.get(name, ABSENT) if isinstance(name, str) else any(one in value for one in name) or ABSENT
    return value


def order(place: Place) -> tuple[int, list[tuple[str, ...]]]:
    """Give what sorts places: the outermost first."""
    return len(place), [(name,) if isinstance(name, str) else name for name in place]


class Demand(NamedTuple):
    """What may be at a place."""

    kinds: frozenset[str]
    values: frozenset[Hashable] | None = None  # those allowed, as `canonical`; None for all of the kinds

    def takes(self, value: Any) -> bool:
        """Tell whether a value, or ABSENT, is allowed."""
        is_listed = self.values is None or value is ABSENT or canonical(value) in self.values
        return kind_of(value) in self.kinds and is_listed

    def excludes(self, other: Demand) -> bool:
        """Tell whether no value meets both."""
        kinds, values = self.both(other)
        if values is None:
            return not kinds
        return "absent" not in kinds and not any(kind_of(scalar_of(one)) in kinds for one in values)

    def both(self, other: Demand) -> Demand:
        """Demand what this one and another do."""
        lists = [values for values in (self.values, other.values) if values is not None]
        return Demand(self.kinds & other.kinds, frozenset.intersection(*lists) if lists else None)

    def difference(self, value: Any) -> str:
        """Say how a value that is not allowed differs from what is."""
        if value is ABSENT:
            return "this member is missing"
        if self == ONLY_ABSENT:
            return "this member is not allowed"
        if self.values is None:
            return f"expected {' or '.join(WORDS[kind] for kind in sorted(self.kinds & _PRESENT))}"
        return f"{quoted(value)} is not {' or '.join(sorted(quoted(scalar_of(one)) for one in self.values))}"

    @property
    def of_any_kind(self) -> Demand:
        """The same without regard to the kind of a value that is not listed."""
        is_any = self.values is None and not self.kinds.isdisjoint(_PRESENT)
        return self._replace(kinds=self.kinds | _PRESENT) if is_any else self

    @property
    def or_absent(self) -> Demand:
        """The same of a member that may be absent."""
        return self._replace(kinds=self.kinds | {"absent"})


ANY = Demand(_PRESENT)
ONLY_ABSENT = Demand(frozenset({"absent"}))
OBJECT = Demand(frozenset({"object"}))


@dataclass(frozen=True, slots=True)
class Demands:
    """All demands of one message."""

    places: dict[Place, Demand] = field(default_factory=dict)
    closed: dict[Path, frozenset[str]] = field(default_factory=dict)  # objects -> the only members that they may have

    def at(self, place: Place) -> Demand:
        """Give the demand at a place, stated or not."""
        if place in self.places:
            return self.places[place]
        if not place:
            return ANY
        above, last = place[:-1], place[-1]
        if isinstance(last, tuple):
            may_be_there = any(self.at((*above, name)) != ONLY_ABSENT for name in last)
        else:
            may_be_there = "object" in self.at(above).kinds and last in self.closed.get(_path(above), (last,))
        return ANY.or_absent if may_be_there else ONLY_ABSENT

    def difference(self, place: Place, value: Any) -> tuple[Path, str]:
        """Say where and how a payload differs from the demand at a place."""
        path, several = _path(place), place[len(_path(place)) :]
        names = [name for each in several for name in each]
        there = next((name for name in names if value_at(value, (*path, name)) is not ABSENT), None)
        if several and there is None:
            return path, f"none of the members {', '.join(names)} is there"
        path = path if there is None else (*path, there)
        return path, self.at(path).difference(value_at(value, path))

    def failed(self, value: Any) -> list[Place]:
        """List the places of a payload that do not meet the demands."""
        others: list[Place] = [
            (*path, name)
            for path, names in self.closed.items()
            if type(found := value_at(value, path)) is dict
            for name in found
            if name not in names
        ]
        return [place for place, demand in self.places.items() if not demand.takes(value_at(value, place))] + others


def _path(place: Place) -> Path:
    return tuple(name for name in place if isinstance(name, str))


def demands_of(schema: Any, record: AvroType | None, tied: Collection[Path] = (), *, rejects: bool = False) -> Demands:
    """Read the demands of a message.

    Args:
        schema: its JSON Schema, references written out; None when `record` describes the payload as well.
        record: that the payload becomes; None when it becomes none.
        tied: members that the topic fills in.
        rejects: the payload may have no member that the record does not read.
    """
    reader = _Reader(rejects=rejects and record is not None)
    whole = record.whole_field if record else None
    if record and not whole:
        reader.put((), OBJECT)
        reader.close_record(record, ())
        reader.read_record(record, (), frozenset(tied), is_sure=True, is_typed=schema is None)
    if schema is not None:
        reader.read_schema(schema, (), is_sure=True)
    elif whole:
        reader.put((), _of_type(whole))
    return reader.demands


class _Reader:
    """Collects demands; `is_sure` says that the place holds a value in every payload that fits."""

    def __init__(self, *, rejects: bool) -> None:
        self.demands = Demands()
        self._rejects = rejects

    def put(self, place: Place, demand: Demand) -> None:
        self.demands.places[place] = demand.both(self.demands.places.get(place, ANY.or_absent))

    def _close(self, path: Path, names: Iterable[str]) -> None:
        self.demands.closed[path] = frozenset(names) & self.demands.closed.get(path, frozenset(names))

    def _is_object(self, path: Path) -> bool:
        return self.demands.places[path].kinds == OBJECT.kinds

    # --- JSON Schema -------------------------------------------------------------------------------------------------

    def read_schema(self, schema: Any, path: Path, *, is_sure: bool) -> None:
        demand = _of_schema(schema)
        self.put(path, demand if is_sure else demand.or_absent)
        if not isinstance(schema, dict):
            return
        for each in listed(schema.get("allOf")):
            self.read_schema(each, path, is_sure=is_sure)
        if len(path) < MAX_LEVELS:
            self._read_members(schema, path)

    def _read_members(self, schema: dict[str, Any], path: Path) -> None:
        properties = properties_of(schema)
        required = [name for name in listed(schema.get("required")) if isinstance(name, str)]
        is_object = self._is_object(path)
        for name in dict.fromkeys([*properties, *required]):
            self.read_schema(properties.get(name, True), (*path, name), is_sure=is_object and name in required)
        if (lists := alternatives(schema.get("anyOf"))) and is_object:  # a name of each list, in all combinations
            for names in islice(product(*lists), MAX_CLAUSES):
                self.put((*path, names), ANY)
        if schema.get("additionalProperties") is False and "patternProperties" not in schema:
            self._close(path, properties)

    # --- Avro --------------------------------------------------------------------------------------------------------

    def read_record(
        self, record: AvroType, path: Path, tied: Collection[Path], *, is_sure: bool, is_typed: bool = True
    ) -> None:
        """Read what a record demands; without its types when a JSON Schema has those of the payload."""
        for one in record.fields:
            if len(one.paths) == 1 and one.paths[0]:
                needs = is_sure and not one.has_default and (*path, *one.paths[0]) not in tied
                self._read_field(one, path, needs=needs, is_typed=is_typed)

    def _read_field(self, one: Field, above: Path, *, needs: bool, is_typed: bool) -> None:
        *outer, _ = places = [(*above, *one.paths[0][:length]) for length in range(1, len(one.paths[0]) + 1)]
        for place, its in [*((each, OBJECT) for each in outer), (places[-1], _of_type(one) if is_typed else ANY)]:
            self.put(place, its if needs else its.or_absent)
        (inner, *others) = one.type.non_null or (one.type,)
        if is_typed and inner.kind == "record" and not others and len(places[-1]) < MAX_LEVELS:
            self.close_record(inner, places[-1])
            self.read_record(inner, places[-1], (), is_sure=needs and self._is_object(places[-1]))

    def close_record(self, record: AvroType, path: Path) -> None:
        if self._rejects and not any(one.collects for one in record.fields):
            self._close(path, [read[0] for one in record.fields for read in one.paths])


def _of_schema(schema: Any) -> Demand:
    if not isinstance(schema, dict):
        return ANY if schema is not False else Demand(frozenset())
    demand = ANY
    types = [_OTHER_NAMES.get(name, name) for name in one_or_more(schema.get("type")) if isinstance(name, str)]
    if types and _PRESENT.issuperset(types):
        demand = Demand(frozenset(types))
    for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
        if isinstance(values, list):
            demand = demand.both(_of_values(values))
    return demand


def _of_values(values: list[Any]) -> Demand:
    kinds = frozenset(map(kind_of, values))
    return Demand(kinds, None if kinds & _NESTING else frozenset(map(canonical, values)))


def _of_type(one: Field) -> Demand:
    """Read the type of a field; a value that `x-source` says how to read may be of any kind."""
    source = one.attributes.get(SOURCE)
    if isinstance(source, dict) and not source.keys() <= {"location", "factor"}:
        return ANY
    kinds = {_OTHER_NAMES.get(kind, kind) for kind in one.type.json_kinds}
    kinds |= {"null"} if one.type.is_nullable else set()
    kinds |= {"number"} if one.factor is not None else set()
    if all(each.kind == "enum" for each in one.type.non_null):
        symbols = {symbol for each in one.type.non_null for symbol in each.symbols}
        return Demand(frozenset(kinds), frozenset(symbols | ({None} if one.type.is_nullable else set())))
    return Demand(frozenset(kinds))
