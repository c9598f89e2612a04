"""The fields of a record that count up, and what the contract says of each: `x-counter` on a field of an `.avsc`.

    most, per     the highest rise, in the field's unit, in a time: 36000 in 1h
    tolerance     a fall up to here is the noise of the device
    of            the place in the payload of the meter's number: another number is another meter
    confirm       readings that must agree before they are a new start (`counters.py`)

A counter has one value in each record: it is a field of the outermost record, or of a record inside it. Items of arrays
and members of maps have no name by which the next reading could be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.avro_schema import COUNTER, path_of
from gateway.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.avro_schema import AvroType, Field, Path

PER = "1h"
CONFIRM = 5


class CounterRule(NamedTuple):
    """What is true of a counter."""

    names: Path  # of the field, from the record down
    paths: tuple[Path, ...]  # where its value is in the JSON, tried in order
    slope: float | None  # the highest rise in a millisecond; None when it may rise at any rate
    limit: str  # the same in the words of the contract
    tolerance: float
    confirm: int
    meter: Path | None  # the names of the field that has the meter's number
    meters: tuple[Path, ...] = ()  # where that is in the JSON, tried in order
    factor: str = ""  # by which the payload's number is multiplied: with another one, values cannot be compared


def counter_rules(record: AvroType) -> tuple[CounterRule, ...]:
    """List the counters of a valid record, in the order of its fields."""
    return tuple(_rule(record, names, paths, field) for names, paths, field in counters(record))


def counters(record: AvroType) -> Iterator[tuple[Path, tuple[Path, ...], Field]]:
    """List the fields that count, each with its names from the record down and the places of its value."""
    return _counters(record, (), ((),), frozenset())


def _counters(
    record: AvroType, names: Path, around: tuple[Path, ...], inside: frozenset[AvroType]
) -> Iterator[tuple[Path, tuple[Path, ...], Field]]:
    for field in record.fields:
        own = *names, field.name
        paths = tuple(outer + path for outer in around for path in field.paths)
        if COUNTER in field.attributes:
            yield own, paths, field
        if (below := only_record(field)) and below not in inside:
            yield from _counters(below, own, paths, inside | {below})


def only_record(field: Field) -> AvroType | None:
    """The record that is the value of a field whenever it is not null; None for other fields."""
    types = field.type.non_null
    return types[0] if len(types) == 1 and types[0].kind == "record" else None


def field_reading(record: AvroType, path: Path) -> tuple[Path, Field] | None:
    """The field that reads a place of the payload, with its names from the record down; None when there is none."""
    for field in record.fields:
        for read in filter(None, field.paths):
            if path == read:
                return (field.name,), field
            below = only_record(field) if path[: len(read)] == read else None
            if below and (found := field_reading(below, path[len(read) :])):
                return (field.name, *found[0]), found[1]
    return None


def _rule(record: AvroType, names: Path, paths: tuple[Path, ...], field: Field) -> CounterRule:
    stated = field.attributes[COUNTER]
    most, per = stated.get("most"), stated.get("per", PER)
    of = path_of(stated["of"]) if "of" in stated else ()
    meter = field_reading(record, of) if of else None
    return CounterRule(
        names,
        paths,
        None if most is None else most / (1_000 * (duration(per) or 1.0)),
        "" if most is None else f"{most} in {per}",
        stated.get("tolerance", 0),
        stated.get("confirm", CONFIRM),
        meter[0] if meter else None,
        (meter[1].paths if len(meter[0]) == 1 else (of,)) if meter else (),
        str(field.factor or ""),
    )
