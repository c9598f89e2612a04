"""Strategies: Avro record schemas, and for each a JSON value that fits with the datum that fastavro writes for it."""

from __future__ import annotations

import io
import string
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
from hypothesis import strategies as st

Schema = Any


@dataclass
class Sample:
    """A value in its two forms.

    Args:
        json: JSON text.
        datum: what fastavro writes: unions as (branch, value) where a branch must be named.
    """

    json: str
    datum: Any


names = st.text(string.ascii_lowercase, min_size=1, max_size=6)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


class Namer:
    """Hands out type names that are unique in one schema."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"


def quoted(text: str) -> str:
    import json  # noqa: PLC0415 - the field of Sample has the module's name

    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    return repr(value)


def scalar(kind: str) -> st.SearchStrategy[Sample]:  # noqa: PLR0911 - one return a primitive
    ranges = {"int": 31, "long": 63}
    match kind:
        case "null":
            return st.just(Sample("null", None))
        case "boolean":
            return st.booleans().map(lambda value: Sample(str(value).lower(), value))
        case "int" | "long":
            limit = 2 ** ranges[kind]
            return st.integers(-limit, limit - 1).map(lambda value: Sample(str(value), value))
        case "float":
            floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
            whole = st.integers(-(2**24), 2**24)
            return st.one_of(floats.map(lambda v: Sample(number(v), v)), whole.map(lambda v: Sample(str(v), v)))
        case "double":
            floats = st.floats(allow_nan=False, allow_infinity=False)
            whole = st.integers(-(2**53), 2**53)
            return st.one_of(floats.map(lambda v: Sample(number(v), v)), whole.map(lambda v: Sample(str(v), v)))
        case "string":
            return texts.map(lambda value: Sample(quoted(value), value))
        case "bytes":
            return st.binary(max_size=9).map(lambda value: Sample(quoted(value.decode("latin-1")), value))
    raise AssertionError(kind)


PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "string", "bytes"]
moments = st.datetimes(datetime(1700, 1, 1), datetime(2260, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by hypothesis's rule


def cut_to(moment: datetime, digits: int) -> datetime:
    unit = 10 ** (6 - digits)
    return moment.replace(microsecond=moment.microsecond // unit * unit)


def iso(moment: datetime) -> str:
    return quoted(moment.isoformat())


def timestamp(digits: int) -> st.SearchStrategy[Sample]:
    def sample(moment: datetime) -> Sample:
        moment = cut_to(moment, digits)
        return Sample(iso(moment), moment)

    numbers = st.integers(-(10**11), 10**11).map(lambda value: Sample(str(value), value))
    return st.one_of(moments.map(sample), numbers)


def local_timestamp(digits: int) -> st.SearchStrategy[Sample]:
    def sample(moment: datetime) -> Sample:
        naive = cut_to(moment, digits).replace(tzinfo=None)
        return Sample(iso(naive), naive)

    return moments.map(sample)


def time_of_day(digits: int) -> st.SearchStrategy[Sample]:
    def sample(moment: datetime) -> Sample:
        value = cut_to(moment, digits).time()
        return Sample(quoted(value.isoformat()), value)

    return moments.map(sample)


def nanos(*, zoned: bool) -> st.SearchStrategy[Sample]:
    """Give timestamps that Python's datetime has not the digits for; fastavro takes the integer."""

    def sample(nanoseconds: int) -> Sample:
        seconds, fraction = divmod(nanoseconds, 10**9)
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001 - the zone is written below
        return Sample(quoted(f"{moment.isoformat()}.{fraction:09}{'Z' if zoned else ''}"), nanoseconds)

    return st.integers(-(2**63), 2**63 - 1).map(sample)


def dates() -> st.SearchStrategy[Sample]:
    written = st.dates().map(lambda value: Sample(quoted(value.isoformat()), value))
    counted = st.integers(-10_000, 10_000).map(lambda value: Sample(str(value), date(1970, 1, 1) + timedelta(value)))
    return st.one_of(written, counted)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Sample]:
    unscaled = st.integers(-(10**precision) + 1, 10**precision - 1)
    written = st.sampled_from(["f", "e", ""])  # plain, with an exponent, as Decimal likes
    fractions = st.tuples(unscaled.map(lambda value: Decimal(value).scaleb(-scale)), written)
    whole = st.integers(-(10 ** (precision - scale)) + 1, 10 ** (precision - scale) - 1)
    return st.one_of(
        fractions.map(lambda pair: Sample(format(*pair), pair[0])),
        whole.map(lambda value: Sample(str(value), Decimal(value))),
    )


def big_decimals() -> st.SearchStrategy[Sample]:
    """Give numbers and the bytes of Avro 1.12, which fastavro does not write; two other types of it make them up."""

    def sample(value: Decimal) -> Sample:
        sign, digits, exponent = value.as_tuple()
        unscaled = int("".join(map(str, digits))) * (-1 if sign else 1)
        out = io.BytesIO()
        size = unscaled.bit_length() // 8 + 1
        fastavro.schemaless_writer(out, {"type": "bytes"}, unscaled.to_bytes(size, "big", signed=True))
        fastavro.schemaless_writer(out, {"type": "int"}, -int(exponent) if unscaled else 0)
        return Sample(str(value), out.getvalue())

    return st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30).map(sample)


def durations() -> st.SearchStrategy[Sample]:
    part = st.integers(0, 2**32 - 1)

    def sample(parts: tuple[int, int, int]) -> Sample:
        months, days, milliseconds = parts
        seconds, fraction = divmod(milliseconds, 1000)
        text = f"P{months}M{days}DT{seconds}.{fraction:03}S"
        return Sample(quoted(text), b"".join(each.to_bytes(4, "little") for each in parts))

    return st.tuples(part, part, part).map(sample)


def uuids() -> st.SearchStrategy[Sample]:
    return st.uuids().map(lambda value: Sample(quoted(str(value)), UUID(str(value))))


def named_logical(namer: Namer) -> list[tuple[Schema, st.SearchStrategy[Sample]]]:
    """Give the logical types on fixed, which need a name."""
    decimal = {"type": "fixed", "name": namer("D"), "size": 6, "logicalType": "decimal", "precision": 9, "scale": 3}
    uuid = {"type": "fixed", "name": namer("U"), "size": 16, "logicalType": "uuid"}
    duration = {"type": "fixed", "name": namer("P"), "size": 12, "logicalType": "duration"}
    return [
        (decimal, decimals(9, 3)),
        (uuid, uuids().map(lambda sample: Sample(sample.json, sample.datum.bytes))),
        (duration, durations()),
    ]


LOGICAL: list[tuple[Schema, st.SearchStrategy[Sample]]] = [
    ({"type": "long", "logicalType": "timestamp-millis"}, timestamp(3)),
    ({"type": "long", "logicalType": "timestamp-micros"}, timestamp(6)),
    ({"type": "long", "logicalType": "timestamp-nanos"}, nanos(zoned=True)),
    ({"type": "long", "logicalType": "local-timestamp-nanos"}, nanos(zoned=False)),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, local_timestamp(3)),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, local_timestamp(6)),
    ({"type": "int", "logicalType": "time-millis"}, time_of_day(3)),
    ({"type": "long", "logicalType": "time-micros"}, time_of_day(6)),
    ({"type": "int", "logicalType": "date"}, dates()),
    ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}, decimals(9, 3)),
    ({"type": "bytes", "logicalType": "big-decimal"}, big_decimals()),
    ({"type": "string", "logicalType": "uuid"}, uuids()),
    ({"type": "string", "logicalType": "of-our-own"}, scalar("string")),
]


@st.composite
def schemas(draw: st.DrawFn, namer: Namer, depth: int = 2) -> tuple[Schema, st.SearchStrategy[Sample]]:
    """Draw a schema and the strategy of its samples."""
    kinds = [*PRIMITIVES, "logical", "enum", "fixed", "nullable"]
    kind = draw(st.sampled_from(kinds + (["array", "map", "record", "union"] if depth else [])))
    if kind in PRIMITIVES:
        return kind, scalar(kind)
    if kind == "logical":
        return draw(st.sampled_from(LOGICAL + named_logical(namer)))
    if kind == "enum":
        symbols = draw(st.lists(names, min_size=1, max_size=4, unique=True))
        samples = st.sampled_from(symbols).map(lambda symbol: Sample(quoted(symbol), symbol))
        return {"type": "enum", "name": namer("E"), "symbols": symbols}, samples
    if kind == "fixed":
        size = draw(st.integers(1, 5))
        samples = st.binary(min_size=size, max_size=size).map(lambda v: Sample(quoted(v.decode("latin-1")), v))
        return {"type": "fixed", "name": namer("F"), "size": size}, samples
    return draw(containers(namer, kind, depth))


@st.composite
def containers(draw: st.DrawFn, namer: Namer, kind: str, depth: int) -> tuple[Schema, st.SearchStrategy[Sample]]:
    """Draw a schema that holds others."""
    if kind == "record":
        return draw(records(namer, depth - 1))
    if kind == "union":
        return draw(st.sampled_from([general_union(), union_of_times(), union_of_exact()]))
    inner, samples = draw(schemas(namer, depth - 1).filter(lambda pair: not isinstance(pair[0], list)))
    if kind == "nullable":
        if inner == "null":
            return inner, samples
        order = draw(st.booleans())
        null = st.just(Sample("null", None))
        return (["null", inner] if order else [inner, "null"]), st.one_of(null, samples)
    if kind == "array":
        return {"type": "array", "items": inner}, st.lists(samples, max_size=3).map(
            lambda items: Sample(f"[{','.join(item.json for item in items)}]", [item.datum for item in items])
        )
    return {"type": "map", "values": inner}, st.dictionaries(texts, samples, max_size=3).map(
        lambda items: Sample(
            "{" + ",".join(f"{quoted(key)}:{item.json}" for key, item in items.items()) + "}",
            {key: item.datum for key, item in items.items()},
        )
    )


def general_union() -> tuple[Schema, st.SearchStrategy[Sample]]:
    """Give a union with a branch for each JSON type, and numbers that fall to different branches."""
    whole = st.integers(-(2**63), 2**63 - 1).map(
        lambda value: Sample(str(value), ("int" if -(2**31) <= value < 2**31 else "long", value))
    )
    fractions = st.floats(allow_nan=False, allow_infinity=False).map(lambda v: Sample(number(v), ("double", v)))
    text = texts.map(lambda value: Sample(quoted(value), ("string", value)))
    flags = st.booleans().map(lambda value: Sample(str(value).lower(), ("boolean", value)))
    null = st.just(Sample("null", None))
    return ["null", "int", "long", "boolean", "double", "string"], st.one_of(null, whole, fractions, text, flags)


def named(branch: str, samples: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    """Say which branch of a union the samples are of."""
    return samples.map(lambda sample: Sample(sample.json, (branch, sample.datum)))


def union_of_times() -> tuple[Schema, st.SearchStrategy[Sample]]:
    """Give a union where text and whole numbers are a time."""
    fractions = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: Sample(number(value), value))
    null, flags = st.just(Sample("null", None)), scalar("boolean")
    branches = ["null", {"type": "long", "logicalType": "timestamp-micros"}, "boolean", "double"]
    return branches, st.one_of(null, named("long", timestamp(6)), named("boolean", flags), named("double", fractions))


def union_of_exact() -> tuple[Schema, st.SearchStrategy[Sample]]:
    """Give a union where every number is a decimal and every text a UUID."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}
    branches = [decimal, {"type": "string", "logicalType": "uuid"}, "null"]
    return branches, st.one_of(named("bytes", decimals(9, 3)), named("string", uuids()), st.just(Sample("null", None)))


@st.composite
def records(draw: st.DrawFn, namer: Namer | None = None, depth: int = 2) -> tuple[Schema, st.SearchStrategy[Sample]]:
    """Draw a record; some fields have a default and are then sometimes absent from the JSON."""
    namer = namer or Namer()
    fields, samples = [], {}
    for name in draw(st.lists(names, min_size=1, max_size=5, unique=True)):
        schema, sample = draw(schemas(namer, depth))
        field: dict[str, Any] = {"name": name, "type": schema}
        default = DEFAULTS.get(schema if isinstance(schema, str) else str(type(schema)))
        if default is not None and draw(st.booleans()):
            field["default"] = default
        fields.append(field)
        samples[name] = (sample, field)
    return {"type": "record", "name": namer("R"), "fields": fields}, record_samples(samples)


DEFAULTS: dict[str, Any] = {
    "int": 7,
    "long": -(2**40),
    "string": "none",
    "double": 1.5,
    "boolean": True,
    "bytes": "\xff",
}
DEFAULT_DATUM = DEFAULTS | {"bytes": b"\xff"}


@st.composite
def record_samples(draw: st.DrawFn, fields: dict[str, tuple[st.SearchStrategy[Sample], dict[str, Any]]]) -> Sample:
    """Draw a record's value; members come in any order."""
    members, datum = [], {}
    for name, (samples, field) in fields.items():
        if "default" in field and draw(st.booleans()):
            datum[name] = DEFAULT_DATUM[field["type"]]
            continue
        sample = draw(samples)
        members.append(f"{quoted(name)}: {sample.json}")
        datum[name] = sample.datum
    return Sample("{" + ",".join(draw(st.permutations(members))) + "}", datum)
