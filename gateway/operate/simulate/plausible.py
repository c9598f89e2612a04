"""Avro schema and examples -> JSON readings that a device could have sent.

The schema says what is allowed, the examples say what it looks like. A value that an example holds is varied: numbers
around it, texts taken from all the examples, what counts up counts up, clocks show the time. A field that no
example holds is made from its type. So a stream that somebody adds to the contract is simulated at once, well when
it has an example and validly in any case.

Every reading comes with its spots: the places where a value stands, and what may stand there. `breakage.py` needs
them to break a reading in a way that is surely wrong.

Rejected: hypothesis-like generation from the schema alone (valid, but nobody recognises a press in it); replaying the
examples (every value the same: no key distribution, no counter, no order to check).
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from gateway.core.codec.precise_encoder import ABSENT, factor, normal_form, source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from gateway.core.codec.precise_encoder import Schema
    from gateway.core.codec.scale import Factor

Path = tuple[str, ...]

MAX_DEPTH = 5  # of recursive records
RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
EXACT_IN_FLOAT = 2**24

_CLOCK = re.compile(r"(^|_)(time|timestamp|ts|at|date|clock)(_|$)", re.IGNORECASE)
_COUNTER = re.compile(r"energy|count|total|uptime|(^|\D)\d+\.8\.\d", re.IGNORECASE)  # the last: OBIS time integrals
_FIRST_NUMBER = re.compile(r"\d+")
_EPOCH_SECONDS = range(1_000_000_000, 4_200_000_000)


class FieldPlace(NamedTuple):
    """A place in a reading.

    Args:
        paths: where the value may stand, as unescaped JSON pointer tokens from the root; the first there counts.
        schema: what may stand there, in normal form.
        is_required: True when a reading without it is refused.
        name: of the field that reads it.
        is_scaled: True for a number that has a factor.
    """

    paths: tuple[Path, ...]
    schema: Schema
    is_required: bool
    name: str
    is_scaled: bool = False


@dataclass(slots=True)
class Device:
    """One made-up sender: what stays the same from reading to reading, and its counters.

    Args:
        number: 0 for the first of its stream.
        example: the example it resembles, or None.
        fixed: values by path that make this device itself; ABSENT for a member that it never sends.
    """

    number: int
    example: Any
    fixed: dict[Path, Any]
    habits: dict[Path, bool] = field(default_factory=dict)
    levels: dict[Path, float] = field(default_factory=dict)
    extras: tuple[str, ...] | None = None


class Reading(NamedTuple):
    """A reading as its JSON value, and where what stands in it."""

    value: dict[str, Any]
    spots: list[FieldPlace]


def nth(example: str, number: int) -> str:
    """Make another name of the same kind: `dock-2` is `dock-5` three further, `oven` is `oven-3`."""
    if not number:
        return example
    if not (digits := _FIRST_NUMBER.search(example)):
        return f"{example}-{number}"
    counted = str(int(digits[0]) + number).zfill(len(digits[0]))
    return example[: digits.start()] + counted + example[digits.end() :]


def _sibling(name: str, random: Random) -> str:
    """Make a name of the same form: `1-0:1.8.0` may become `1-0:46.8.0`; a name without digits gets a number."""
    groups = list(_FIRST_NUMBER.finditer(name))
    if not groups:
        return f"{name}-{random.randint(2, 99)}"
    group = random.choice(groups[2:] or groups)
    return name[: group.start()] + str(random.randint(10, 99)) + name[group.end() :]


def found(value: Any, path: Path) -> Any:
    """Follow a path; ABSENT when it leads nowhere."""
    for token in path:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return ABSENT
    return value


def place(value: dict[str, Any], path: Path, placed: Any) -> None:
    """Put a value at a path, making the objects on the way."""
    for token in path[:-1]:
        value = value.setdefault(token, {})
    value[path[-1]] = placed


class Schemas:
    """A record's schema in normal form, with its named types."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.root: dict[str, Any] = normal_form(definition)
        self._named = {schema["name"]: schema for schema in _inner_schemas(self.root) if "name" in schema}

    def resolved(self, schema: Schema) -> Schema:
        """Follow a name to its definition; `{"type": "long"}` and `"long"` become `{"type": "long"}`."""
        if isinstance(schema, str):
            return self._named.get(schema, {"type": schema})
        if isinstance(schema, dict) and not isinstance(schema["type"], str):
            return self.resolved(schema["type"])
        return schema

    def branches(self, schema: Schema) -> list[dict[str, Any]]:
        """Give the types that a value may have, null left out."""
        schema = self.resolved(schema)
        branches = schema if isinstance(schema, list) else [schema]
        return [branch for branch in map(self.resolved, branches) if branch["type"] != "null"]

    def takes_null(self, schema: Schema) -> bool:
        """Tell whether null may stand there."""
        schema = self.resolved(schema)
        return any(self.resolved(s)["type"] == "null" for s in (schema if isinstance(schema, list) else [schema]))


def _inner_schemas(schema: Schema) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _inner_schemas(branch)
    elif isinstance(schema, dict):
        yield schema
        below = [schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))]
        for inner in [*below, schema["type"]]:
            if isinstance(inner, dict | list):
                yield from _inner_schemas(inner)


class Plausible:
    """Makes the readings of one stream.

    Args:
        definition: JSON of the record's Avro schema, `x-source` attributes included.
        examples: payloads of the stream's messages.
        from_topic: paths of the members that the topic says as well; they may be left out.
        random: the source of all chance; the same seed gives the same readings.
        clock: seconds since 1970 UTC.
    """

    def __init__(
        self,
        definition: dict[str, Any],
        examples: tuple[Any, ...],
        from_topic: frozenset[Path],
        random: Random,
        clock: Callable[[], float],
    ) -> None:
        self.schemas = Schemas(definition)
        self._examples = [example for example in examples if isinstance(example, dict)]
        self._from_topic = from_topic
        self._random = random
        self._clock = clock
        self._now = 0.0
        scaled = [(field, scale) for field in self.schemas.root["fields"] if (scale := factor(field))]
        self._factors = {path: scale for field, scale in scaled for path in source(field).paths}
        self._spots: list[FieldPlace] = []
        self._makers: dict[str, Callable[[_Place, Any], Any]] = {
            "null": lambda _place, _schema: None,
            "boolean": lambda _place, _schema: random.random() < 0.5,
            "int": self._number,
            "long": self._number,
            "float": self._number,
            "double": self._number,
            "string": self._text,
            "bytes": lambda _place, _schema: self._code_points(random.randint(0, 8)),
            "fixed": lambda _place, schema: self._code_points(schema["size"]),
            "enum": lambda _place, schema: random.choice(schema["symbols"]),
            "array": self._array,
            "map": self._map,
            "record": self._record,
            "error": self._record,
        }
        self._logical: dict[tuple[str, str], Callable[[_Place, Any], Any]] = {
            **{("long", f"{zone}timestamp-{unit}"): self._timestamp for zone in ("", "local-") for unit in PER_SECOND},
            ("int", "date"): self._date,
            ("int", "time-millis"): self._time_of_day,
            ("long", "time-micros"): self._time_of_day,
            ("string", "uuid"): self._uuid,
            ("fixed", "uuid"): self._uuid,
            ("bytes", "decimal"): self._decimal,
            ("fixed", "decimal"): self._decimal,
        }

    def reading(self, device: Device) -> Reading:
        """Make a device's next reading.

        Args:
            device: its counters are moved on.

        Returns:
            A reading that fits the schema.
        """
        self._now = max(self._now, self._clock())  # a clock that is set back must not turn the devices' clocks
        self._spots = []
        value = self._record(_Place(device, (), "", device.example), self.schemas.root)
        return Reading(value, self._spots)

    # --- records, arrays, maps, unions -------------------------------------------------------------------------------

    def _record(self, at: _Place, schema: dict[str, Any]) -> dict[str, Any]:
        hint = at.hint if isinstance(at.hint, dict) else {}
        value: dict[str, Any] = {}
        fields = [(source(field).paths, field) for field in schema["fields"]]
        # Short paths first, so that what reads inside a member finds it made; several paths last: they go where
        # the others have made a place.
        for paths, field_ in sorted(fields, key=lambda item: (len(item[0]), len(item[0][0]) or 99)):
            if paths == ((),):
                self._collect(at, field_, {paths[0][0] for paths, _ in fields if paths != ((),)}, value)
            elif len(paths) == 1:
                self._fill(at, field_, paths[0], hint, value)
            else:
                self._fill_one_of(at, field_, paths, hint, value)
        return value

    def _fill(self, at: _Place, field_: dict[str, Any], path: Path, hint: Any, value: dict[str, Any]) -> None:
        whole = at.path + path
        is_required = "default" not in field_ and whole not in self._from_topic
        inner = at.inner(path, field_["name"], found(hint, path))
        mark = len(self._spots)
        made = self._made_or_left_out(inner, field_["type"], is_required=is_required)
        if made is ABSENT or found(value, path) is not ABSENT:
            del self._spots[mark:]
            return
        place(value, path, made)
        self._spots.append(FieldPlace((whole,), field_["type"], is_required, field_["name"], whole in self._factors))

    def _fill_one_of(
        self, at: _Place, field_: dict[str, Any], paths: tuple[Path, ...], hint: Any, value: dict[str, Any]
    ) -> None:
        """Fill a field with several sources wherever its neighbours are; a required one at least at its first."""
        likely = [path for path in paths if found(hint, path) is not ABSENT] or list(paths[:1])
        homes = [path for path in paths if len(path) > 1 and found(value, path[:-1]) is not ABSENT]
        chosen = [path for path in homes if self._has(at.device, at.path + path, 0.8)]
        is_required = "default" not in field_
        for path in chosen or (likely[:1] if is_required else []):
            if found(value, path) is ABSENT:
                inner = at.inner(path, field_["name"], found(hint, path))
                made = self._value(inner, field_["type"], is_optional=not is_required)
                place(value, path, made)
        places = tuple(at.path + path for path in paths)
        is_scaled = not self._factors.keys().isdisjoint(places)
        self._spots.append(FieldPlace(places, field_["type"], is_required, field_["name"], is_scaled))

    def _made_or_left_out(self, at: _Place, schema: Schema, *, is_required: bool) -> Any:
        if at.path in at.device.fixed:
            said = at.device.fixed[at.path]
            is_left_out = at.path in self._from_topic and self._random.random() < 0.2
            return ABSENT if is_left_out else said
        if not is_required:
            likelihood = (0.7 if at.device.example is None else 0.3) if at.hint is ABSENT else 0.95
            if at.depth > MAX_DEPTH or not self._has(at.device, at.path, likelihood):
                return ABSENT
        return self._value(at, schema, is_optional=not is_required and at.depth <= MAX_DEPTH)

    def _has(self, device: Device, path: Path, likelihood: float) -> bool:
        """Decide once for each device and place: a meter has a register or it has not."""
        return device.habits.setdefault(path, self._random.random() < likelihood)

    def _collect(self, at: _Place, field_: dict[str, Any], read: set[str], value: dict[str, Any]) -> None:
        """Add members that no field reads, for the map field that takes them."""
        (schema,) = self.schemas.branches(field_["type"])
        hint = at.hint if isinstance(at.hint, dict) else {}
        if at.device.extras is None:
            in_example = tuple(name for name in hint if name not in read)
            made = [_sibling(name, self._random) for name in sorted(read) if self._random.random() < 0.05]
            at.device.extras = tuple(name for name in dict.fromkeys((*in_example, *made[:4])) if name not in read)
        for name in at.device.extras:
            inner = at.inner((name,), name, hint.get(name, ABSENT))
            value[name] = self._value(inner, schema["values"])
            self._spots.append(FieldPlace((inner.path,), schema["values"], is_required=False, name=name))

    def _array(self, at: _Place, schema: dict[str, Any]) -> list[Any]:
        hints = at.hint if isinstance(at.hint, list) else []
        count = 0 if at.depth > MAX_DEPTH else max(len(hints), self._random.randint(0, 3))
        items = []
        for index in range(count):
            inner = at.inner((str(index),), at.name, hints[index % len(hints)] if hints else ABSENT)
            items.append(self._value(inner, schema["items"]))
            self._spots.append(FieldPlace((inner.path,), schema["items"], is_required=False, name=at.name))
        return items

    def _map(self, at: _Place, schema: dict[str, Any]) -> dict[str, Any]:
        hints = at.hint if isinstance(at.hint, dict) else {}
        count = 0 if at.depth > MAX_DEPTH else self._random.randint(0, 3)
        names = [*hints, *(f"{at.name}-{number}" for number in range(1, count + 1))]
        made = {}
        for name in names:
            inner = at.inner((name,), at.name, hints.get(name, ABSENT))
            made[name] = self._value(inner, schema["values"])
            self._spots.append(FieldPlace((inner.path,), schema["values"], is_required=False, name=at.name))
        return made

    # --- one value ---------------------------------------------------------------------------------------------------

    def _value(self, at: _Place, schema: Schema, *, is_optional: bool = False) -> Any:
        branches = self.schemas.branches(schema)
        if at.hint is ABSENT:
            at = at._replace(hint=self._seen_elsewhere(at.path))
        scale = self._factors.get(at.path)
        raw_hint = at.hint if isinstance(at.hint, int | float) and not isinstance(at.hint, bool) else None
        if scale and raw_hint is not None:
            at = at._replace(hint=_number_of(scale(Decimal(str(raw_hint)))))
        may_be_null = self.schemas.takes_null(schema) and not is_optional  # what is optional is rather left out
        if not branches or (may_be_null and (at.hint is None or at.depth > MAX_DEPTH or self._random.random() < 0.05)):
            return None
        mark = len(self._spots)
        chosen = next((branch for branch in branches if _suits(branch, at.hint)), None) or self._branch(at, branches)
        made = self._of_type(at, chosen)
        if scale and isinstance(made, int | float | Decimal) and not isinstance(made, bool):
            made = _unscaled(made, scale, chosen, raw_hint)
        if len(branches) > 1:
            del self._spots[mark:]  # what is wrong for one branch may be right for another
        return made

    def _seen_elsewhere(self, path: Path) -> Any:
        return next((seen for seen in (found(e, path) for e in self._examples) if seen not in (ABSENT, None)), ABSENT)

    def _branch(self, at: _Place, branches: list[dict[str, Any]]) -> dict[str, Any]:
        simple = [branch for branch in branches if branch["type"] not in {"record", "error"}]
        return self._random.choice(simple if simple and at.depth > MAX_DEPTH else branches)

    def _of_type(self, at: _Place, schema: dict[str, Any]) -> Any:
        logical = self._logical.get((schema["type"], schema.get("logicalType", "")))
        if logical and not (schema["logicalType"] == "uuid" and schema.get("size", 16) != 16):
            return logical(at, schema)
        return self._makers[schema["type"]](at, schema)

    def _text(self, at: _Place, _schema: Schema) -> str:
        texts = [text for text in (found(example, at.path) for example in self._examples) if isinstance(text, str)]
        if isinstance(at.hint, str):
            texts.append(at.hint)
        if texts:
            return self._random.choice(texts)
        return f"{at.name or 'text'}-{self._random.randint(1, 9)}"

    def _code_points(self, size: int) -> str:
        return "".join(chr(self._random.randint(0, 255)) for _ in range(size))

    def _number(self, at: _Place, schema: dict[str, Any]) -> int | float:
        kind = schema["type"]
        hint = at.hint if isinstance(at.hint, int | float) and not isinstance(at.hint, bool) else None
        is_clock = bool(_CLOCK.search(at.name) or _CLOCK.search(at.path[-1]))
        if is_clock and (hint is None or int(hint) in _EPOCH_SECONDS or int(hint) // 1000 in _EPOCH_SECONDS):
            scale = 1000 if hint is not None and int(hint) not in _EPOCH_SECONDS else 1
            return _fitting(kind, int(self._now * scale))
        if is_clock or _COUNTER.search(at.name) or any(map(_COUNTER.search, at.path)):
            return _fitting(kind, self._counted(at, hint, 1.0 if is_clock else 5.0))
        return _fitting(kind, self._around(at, hint))

    def _counted(self, at: _Place, hint: float | None, step: float) -> float:
        levels = at.device.levels
        start = (hint or 0) * (1 + 0.1 * at.device.number) if hint is not None else self._random.randint(0, 10_000)
        level = levels.get(at.path, start) + self._random.uniform(0, step)
        levels[at.path] = level
        return round(level, _decimals(hint))

    def _around(self, at: _Place, hint: float | None) -> float:
        level = at.device.levels.setdefault(
            at.path, hint if hint is not None else round(self._random.uniform(10, 99), 1)
        )
        return round(level + (abs(level) or 1) * self._random.gauss(0, 0.03), max(1, _decimals(hint)))

    # --- logical types -----------------------------------------------------------------------------------------------

    def _timestamp(self, at: _Place, schema: dict[str, Any]) -> Any:
        name = schema["logicalType"]
        unit = name.rpartition("-")[2]
        if isinstance(at.hint, int):
            return int(self._now * PER_SECOND[unit])
        text = datetime.fromtimestamp(self._now, UTC).isoformat(timespec="milliseconds")
        return text.removesuffix("+00:00") + ("" if name.startswith("local-") else "Z")

    def _date(self, at: _Place, _schema: Schema) -> Any:
        return int(self._now // 86_400) if isinstance(at.hint, int) else self._moment().date().isoformat()

    def _time_of_day(self, at: _Place, schema: dict[str, Any]) -> Any:
        if isinstance(at.hint, int):
            return int(self._now % 86_400) * PER_SECOND[schema["logicalType"].rpartition("-")[2]]
        return self._moment().time().isoformat(timespec="milliseconds")

    def _uuid(self, _at: _Place, _schema: Schema) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _decimal(self, at: _Place, schema: dict[str, Any]) -> Any:
        scale, digits = schema.get("scale", 0), schema["precision"]
        if schema["type"] == "fixed":
            digits = min(digits, (8 * schema["size"] - 1) * 30103 // 100_000)  # log10(2)
        unscaled = self._random.randrange(10 ** min(digits, scale + 3))
        if isinstance(at.hint, int | float) and not isinstance(at.hint, bool):
            wished = int(self._around(at, at.hint) * 10**scale)
            unscaled = max(-(10**digits) + 1, min(10**digits - 1, wished))
        return Decimal(unscaled).scaleb(-scale)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now, UTC)


class _Place(NamedTuple):
    """Where a value is being made, for whom, and what an example has there."""

    device: Device
    path: Path
    name: str
    hint: Any

    @property
    def depth(self) -> int:
        return len(self.path)

    def inner(self, path: Path, name: str, hint: Any) -> _Place:
        return _Place(self.device, self.path + path, name, deepcopy(hint) if isinstance(hint, dict | list) else hint)


def _number_of(product: int | Decimal) -> float:
    """Give an example's number in the unit of its field."""
    is_whole = product == product.to_integral_value() if isinstance(product, Decimal) else True
    return int(product) if is_whole else float(product)


def _unscaled(value: float | Decimal, scale: Factor, kind: dict[str, Any], hint: float | None) -> int | float:
    """Make a raw number whose product fits a type: near a value, and exactly where the type must be met exactly."""
    exact = Decimal(str(value))
    if not scale.is_integral and kind.get("logicalType") != "decimal":
        raw = float(f"{exact / scale.factor:.12g}")
        return _fitting(kind["type"], raw if hint is None else round(raw, _decimals(hint)))
    places = int(kind.get("scale", 0))
    step, unit = scale.factor.scaleb(places).as_integer_ratio()  # so much more of the type is so much more of the raw
    return int(exact.scaleb(places)) // step * unit


_SUITING: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "string": (str,),
    "enum": (str,),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
}


def _suits(branch: dict[str, Any], hint: Any) -> bool:
    """Tell whether an example's value is of a union's branch."""
    if isinstance(hint, bool) and branch["type"] != "boolean":
        return False
    return isinstance(hint, _SUITING.get(branch["type"], ()))


def _decimals(number: float | None) -> int:
    return len(str(number).partition(".")[2].rstrip("0")) if isinstance(number, float) else 0


def _fitting(kind: str, number: float) -> int | float:
    """Make a number that its Avro type holds exactly, or rounds as every reader does."""
    if kind in RANGES:
        low, high = RANGES[kind]
        return max(low, min(high, round(number)))
    if isinstance(number, int) or number.is_integer():
        return int(number) if abs(number) < EXACT_IN_FLOAT else float(number)
    return number
