"""Avro schema and examples -> JSON samples that a device could have sent.

The schema defines which values are valid; the examples show what they look like. A value of an example is varied:
numbers stay near it, texts are taken from all examples, counters rise as `x-counter` allows, timestamps show the
current time. A field without an example is made from its type, so every stream of a contract can be simulated.

A sample comes with its field places: where its values are and which schema applies there. `breakage.py` needs them to
make a sample invalid for certain.

Rejected: generation from the schema alone, as hypothesis does it (valid, but nothing looks like a press or a meter);
replay of the examples (no distribution of keys, no counters, no order to check).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.json_text import ABSENT
from gateway.core.codec.payload_schema import rules_of
from gateway.core.counter_rules import counter_rules
from gateway.operate.simulate.limits import ATTEMPTS, ENCODERS, Limits
from gateway.operate.simulate.written import Form, decimals, fitting

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gateway.core.avro_schema import AvroType, Field

Path = tuple[str, ...]

MAX_DEPTH = 5  # of recursive records
MAX_EXTRAS = 4  # members that a device sends beside those of the examples, for a field that collects them
PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}

_CLOCK = re.compile(r"(^|_)(time|timestamp|ts|at|date|clock)(_|$)", re.IGNORECASE)
_COUNTER = re.compile(r"energy|count|total|uptime|(^|\D)\d+\.8\.\d", re.IGNORECASE)  # the last: OBIS time integrals
_FIRST_NUMBER = re.compile(r"\d+")
_EPOCH_SECONDS = range(1_000_000_000, 4_200_000_000)
_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {  # of an example's value, by Avro type
    "boolean": bool,
    "int": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "string": str,
    "enum": str,
    "array": list,
    "map": dict,
    "record": dict,
}


class FieldPlace(NamedTuple):
    """A place in a sample."""

    paths: tuple[Path, ...]  # unescaped JSON pointer tokens from the root; the first path that exists is read
    type: AvroType
    is_required: bool = False  # a sample without the value is invalid
    is_converted: bool = False  # `x-source` says how the device writes it
    also: frozenset[str] = frozenset()  # kinds of JSON values that it takes beside those of its type

    @property
    def only_kind(self) -> str:
        """The one Avro type beside null; "" when there are several."""
        return self.type.non_null[0].kind if len(self.type.non_null) == 1 else ""


class Sample(NamedTuple):
    """A JSON value, and the field places in it."""

    value: dict[str, Any]
    places: list[FieldPlace]


@dataclass(slots=True)
class Device:
    """A simulated device: what stays the same from sample to sample, and its counters."""

    number: int  # 0 for the first of its stream
    example: Any  # that its samples resemble, or None
    fixed: dict[Path, Any]  # values that identify this device; ABSENT for a member that it never sends
    habits: dict[Path, bool] = field(default_factory=dict)  # whether it sends an optional member
    levels: dict[Path, float] = field(default_factory=dict)  # the number from which the next one is made
    risen_at: dict[Path, float] = field(default_factory=dict)  # when its counters were read, seconds since 1970
    extras: list[str] | None = None  # members that it sends for a field that collects them


def nth(example: str, number: int) -> str:
    """Make another name of the same form: 3 after `dock-2` is `dock-5`, 3 after `oven` is `oven-3`."""
    if not number:
        return example
    if not (digits := _FIRST_NUMBER.search(example)):
        return f"{example}-{number}"
    counted = str(int(digits[0]) + number).zfill(len(digits[0]))
    return example[: digits.start()] + counted + example[digits.end() :]


def value_at(value: Any, path: Path) -> Any:
    """Follow a path; ABSENT when there is nothing."""
    for token in path:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return ABSENT
    return value


def _put(value: dict[str, Any], path: Path, placed: Any) -> None:
    for token in path[:-1]:
        value = value.setdefault(token, {})
    value[path[-1]] = placed


class _Slot(NamedTuple):
    """A value that is being made: for which device, where, under which name, and what an example has there."""

    device: Device
    path: Path
    name: str
    hint: Any
    form: Form | None = None  # how the device writes it, unless as JSON has it

    @property
    def is_deep(self) -> bool:
        return len(self.path) > MAX_DEPTH

    @property
    def number(self) -> int | float | None:
        return self.hint if isinstance(self.hint, int | float) and not isinstance(self.hint, bool) else None

    def inner(self, path: Path, name: str, hint: Any) -> _Slot:
        return _Slot(self.device, self.path + path, name, hint)


class Plausible:
    """Makes the samples of one stream; the same seed of `random` gives the same samples.

    `in_topic` are the paths of the members that the topic holds as well: they may be left out. `clock` gives seconds
    since 1970 UTC. `schema` is the JSON Schema of the payload, if it has its own.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a stream has of its devices
        self,
        record: AvroType,
        examples: tuple[Any, ...],
        in_topic: frozenset[Path],
        random: Random,
        clock: Callable[[], float],
        schema: Any = None,
        uptimes: frozenset[Path] = frozenset(),
    ) -> None:
        self._root = record
        self._schema = schema
        self._uptimes = uptimes  # places of the seconds since a device started
        rules = counter_rules(record)
        self._counters = {path: rule.slope for rule in rules for path in rule.paths}
        self._meters = {path for rule in rules for path in rule.meters}
        self._known_limits: dict[Path, Limits] = {}
        self._orders: dict[AvroType, list[Field]] = {}
        self._forms: dict[Field, Form | None] = {}
        self._rules = rules_of(Conversion(record, (), schema=schema))
        self._examples = [example for example in examples if isinstance(example, dict)]
        self._in_topic = in_topic
        self._random = random
        self._clock = clock
        self._now = 0.0
        self._places: list[FieldPlace] = []
        self._makers: dict[str, Callable[[_Slot, AvroType], Any]] = {
            "boolean": lambda _slot, _type: random.random() < 0.5,
            "int": self._number,
            "long": self._number,
            "float": self._number,
            "double": self._number,
            "string": self._text,
            "bytes": lambda _slot, _type: self._code_points(random.randint(0, 8)),
            "fixed": lambda _slot, fixed: self._code_points(fixed.size),
            "enum": lambda _slot, enum: random.choice(enum.symbols),
            "array": self._array,
            "map": self._map,
            "record": self._record,
        }
        self._logical: dict[str, Callable[[_Slot, AvroType], Any]] = {
            **{f"{zone}timestamp-{unit}": self._timestamp for zone in ("", "local-") for unit in PER_SECOND},
            "date": self._date,
            "time-millis": self._time_of_day,
            "time-micros": self._time_of_day,
            "uuid": self._uuid,
            "decimal": self._decimal,
            "big-decimal": lambda slot, _type: Decimal(str(self._near(slot, slot.number))),
            "duration": lambda _slot, _type: f"PT{random.randint(0, 90)}M{random.randint(0, 59)}S",
        }

    def sample(self, device: Device) -> Sample:
        """Make a device's next sample, which is valid; its counters advance."""
        self._now = max(self._now, self._clock())  # the devices' time never goes back, even if the clock does
        for _ in range(ATTEMPTS):
            self._places = []
            value = self._record(_Slot(device, (), "", device.example), self._root)
            if self._rules is None or not self._rules.error(value.get(PAYLOAD, value)):
                break
        return Sample(value, self._places)

    # --- records, arrays, maps, unions -------------------------------------------------------------------------------

    def _record(self, slot: _Slot, record: AvroType) -> dict[str, Any]:
        hint = slot.hint if isinstance(slot.hint, dict) else {}
        value: dict[str, Any] = {}
        for field_ in self._in_order(record):
            if field_.collects:
                read = {one.paths[0][0] for one in record.fields if not one.collects}
                value |= self._collected(slot, field_.type.non_null[0], read)
            else:
                self._fill(slot, field_, hint, value)
        return value

    def _in_order(self, record: AvroType) -> list[Field]:
        """The fields in the order in which they get values.

        Short paths first, so that a longer one finds the object that it leads into. Fields with several paths come
        after them: they go where the others have made an object. The collector takes what is left.
        """
        if record not in self._orders:
            self._orders[record] = sorted(record.fields, key=lambda one: (len(one.paths), len(one.paths[0]) or 99))
        return self._orders[record]

    def _form(self, field_: Field) -> Form | None:
        if field_ not in self._forms:
            self._forms[field_] = Form(field_) if field_.words else None
        return self._forms[field_]

    def _fill(self, slot: _Slot, field_: Field, hint: Any, value: dict[str, Any]) -> None:
        places = tuple(slot.path + path for path in field_.paths)
        is_required = not field_.has_default and self._in_topic.isdisjoint(places)
        form = self._form(field_)
        required = self._required(places[0]) if len(places) == 1 else ()
        is_made = is_required or any(required)
        for path in self._chosen(slot, field_.paths, hint, value, is_required=is_made):
            mark = len(self._places)
            inner = slot.inner(path, field_.name, value_at(hint, path))._replace(form=form)
            made = self._made_or_absent(inner, field_.type, is_required=is_made)
            if made is ABSENT or value_at(value, path) is not ABSENT:
                del self._places[mark:]
            else:
                _put(value, path, made)
        is_required |= any(required[-1:])
        self._places.append(FieldPlace(places, field_.type, is_required, form is not None, field_.json_kinds))

    def _required(self, path: Path) -> list[bool]:
        """Tell of each object around a member, and of the member itself last, whether the JSON Schema requires it."""
        return [self._limits(path[:depth]).requires(path[depth]) for depth in range(len(path))]

    def _limits(self, path: Path) -> Limits:
        if path not in self._known_limits:
            self._known_limits[path] = Limits(self._schema, path)
        return self._known_limits[path]

    def _chosen(
        self, slot: _Slot, paths: tuple[Path, ...], hint: Any, value: dict[str, Any], *, is_required: bool
    ) -> list[Path]:
        """Choose where a field goes: of several paths those into objects that are there; for a required field one."""
        if len(paths) == 1:
            return list(paths)
        inside = [path for path in paths if len(path) > 1 and value_at(value, path[:-1]) is not ABSENT]
        chosen = [path for path in inside if self._sends(slot.device, slot.path + path, 0.8)]
        if chosen or not is_required:
            return chosen
        return [next((path for path in paths if value_at(hint, path) is not ABSENT), paths[0])]

    def _made_or_absent(self, slot: _Slot, avro_type: AvroType, *, is_required: bool) -> Any:
        if slot.path in slot.device.fixed:
            is_left_out = slot.path in self._in_topic and not is_required and self._random.random() < 0.2
            return ABSENT if is_left_out else slot.device.fixed[slot.path]
        if not is_required:
            likelihood = 0.95 if slot.hint is not ABSENT else 0.7 if slot.device.example is None else 0.3
            if slot.is_deep or not self._sends(slot.device, slot.path, likelihood):
                return ABSENT
        return self._value(slot, avro_type, is_optional=not is_required)

    def _sends(self, device: Device, path: Path, likelihood: float) -> bool:
        """Decide once for each device and path: a meter has a register or has it not."""
        return device.habits.setdefault(path, self._random.random() < likelihood)

    def _collected(self, slot: _Slot, collector: AvroType, read: set[str]) -> dict[str, Any]:
        hints = slot.hint if isinstance(slot.hint, dict) else {}
        if slot.device.extras is None:
            similar = [nth(name, self._random.randint(2, 99)) for name in sorted(read) if self._random.random() < 0.05]
            slot.device.extras = [name for name in dict.fromkeys([*hints, *similar[:MAX_EXTRAS]]) if name not in read]
        return self._members(slot, collector, {name: hints.get(name, ABSENT) for name in slot.device.extras})

    def _array(self, slot: _Slot, array: AvroType) -> list[Any]:
        hints = slot.hint if isinstance(slot.hint, list) else []
        count = 0 if slot.is_deep else max(len(hints), self._random.randint(0, 3))
        count = self._limits(slot.path).size(count, "minItems", "maxItems")
        hint_of = {str(index): hints[index % len(hints)] if hints else ABSENT for index in range(count)}
        return list(self._members(slot, array, hint_of).values())

    def _map(self, slot: _Slot, of_map: AvroType) -> dict[str, Any]:
        hints = slot.hint if isinstance(slot.hint, dict) else {}
        count = 0 if slot.is_deep else self._random.randint(0, 3)
        count = self._limits(slot.path).size(count, "minProperties", "maxProperties")
        names = [f"{slot.name}-{number}" for number in range(1, count + 1)]
        return self._members(slot, of_map, hints | {name: ABSENT for name in names if name not in hints})

    def _members(self, slot: _Slot, container: AvroType, hints: dict[str, Any]) -> dict[str, Any]:
        """Make a value of an array or a map for each name; an array's names are its indexes."""
        made = {}
        (avro_type,) = container.inner
        for name, hint in hints.items():
            inner = slot.inner((name,), slot.name or name, hint)
            made[name] = self._value(inner, avro_type)
            self._places.append(FieldPlace((inner.path,), avro_type))
        return made

    # --- one value ---------------------------------------------------------------------------------------------------

    def _value(self, slot: _Slot, avro_type: AvroType, *, is_optional: bool = False) -> Any:
        if slot.hint is ABSENT:
            slot = slot._replace(hint=self._hint_from_any_example(slot.path))
        example, branches, form = None if slot.hint is ABSENT else slot.hint, avro_type.non_null, slot.form
        if form and slot.hint is not ABSENT:
            slot = slot._replace(hint=form.hint(slot.hint))
        # An optional value is left out rather than null.
        limits = self._limits(slot.path)
        null = form.null(limits, self._random) if form else None
        may_be_null = avro_type.is_nullable and not (is_optional and null is None) and limits.allow(null)
        if not branches or (may_be_null and (slot.hint is None or slot.is_deep or self._random.random() < 0.05)):
            return null
        mark = len(self._places)
        branch = self._branch(slot, branches)
        if branch.time and not limits.allows_type("string"):
            slot = slot._replace(hint=0)
        made = self._of_type(slot, branch)
        if form:
            made = form.written(made, branch, example, self._random)
        if self._schema is not None:
            made = self._encoded(made, branch, limits) or limits.fitted(made, self._random)
        if len(branches) > 1:
            del self._places[mark:]  # a value that is invalid for one branch may be valid for another
        return made

    def _encoded(self, made: Any, branch: AvroType, limits: Limits) -> str | None:
        """Write bytes in their `contentEncoding`."""
        encode = next(map(ENCODERS.get, limits.of("contentEncoding")), None)
        if encode is None or not branch.is_bytes or not isinstance(made, str):
            return None
        return encode(made.encode("latin-1")).decode()

    def _hint_from_any_example(self, path: Path) -> Any:
        values = (value_at(example, path) for example in self._examples)
        return next((value for value in values if value not in (ABSENT, None)), ABSENT)

    def _branch(self, slot: _Slot, branches: tuple[AvroType, ...]) -> AvroType:
        """Choose the type of the hint, else any; deep inside a recursive record one that ends it."""
        if suitable := [branch for branch in branches if _is_of(branch, slot.hint)]:
            return suitable[0]
        simple = [branch for branch in branches if branch.kind != "record"]
        return self._random.choice(simple if simple and slot.is_deep else branches)

    def _of_type(self, slot: _Slot, avro_type: AvroType) -> Any:
        make = self._logical.get(avro_type.logical_name) if avro_type.logical else None
        return (make or self._makers[avro_type.kind])(slot, avro_type)

    def _text(self, slot: _Slot, _type: AvroType) -> str:
        if slot.path in self._meters:
            return nth(str(slot.name if slot.hint is ABSENT else slot.hint), slot.device.number)
        values = [slot.hint, *(value_at(example, slot.path) for example in self._examples)]
        if texts := [text for text in values if isinstance(text, str)]:
            return self._random.choice(texts)
        return f"{slot.name or 'text'}-{self._random.randint(1, 9)}"

    def _code_points(self, size: int) -> str:
        return "".join(chr(self._random.randint(0, 255)) for _ in range(size))

    def _number(self, slot: _Slot, avro_type: AvroType) -> int | float:
        hint = slot.number
        if slot.path in self._uptimes:
            started = slot.device.levels.setdefault(slot.path, self._now - (hint or self._random.randint(0, 10_000)))
            return fitting(avro_type.kind, round(self._now - started, decimals(hint)))
        is_clock = bool(_CLOCK.search(slot.name) or _CLOCK.search(slot.path[-1]))
        if is_clock and (hint is None or int(hint) in _EPOCH_SECONDS or int(hint) // 1000 in _EPOCH_SECONDS):
            is_millis = hint is not None and int(hint) not in _EPOCH_SECONDS
            number: float = int(self._now * (1000 if is_millis else 1))
        elif slot.path in self._counters:
            number = self._risen(slot, hint)
        elif is_clock or _COUNTER.search(slot.name) or any(map(_COUNTER.search, slot.path)):
            number = self._counted(slot, hint, 1.0 if is_clock else 5.0)
        else:
            number = self._near(slot, hint)
        return fitting(avro_type.kind, number)

    def _counted(self, slot: _Slot, hint: float | None, step: float) -> float:
        levels = slot.device.levels
        start = self._random.randint(0, 10_000) if hint is None else hint * (1 + 0.1 * slot.device.number)
        level = levels.get(slot.path, start) + self._random.uniform(0, step)
        levels[slot.path] = level
        return round(level, decimals(hint))

    def _risen(self, slot: _Slot, hint: float | None) -> float:
        """Let a counter rise by half of what its rule allows since the last sample, at most, and never show more."""
        slope, levels, risen_at = self._counters[slot.path], slot.device.levels, slot.device.risen_at
        start = self._random.randint(0, 10_000) if hint is None else hint * (1 + 0.1 * slot.device.number)
        allowed = 5.0 if slope is None else 500 * slope * (self._now - risen_at.get(slot.path, self._now))
        level = levels[slot.path] = levels.get(slot.path, start) + self._random.uniform(0, allowed)
        risen_at[slot.path] = self._now
        unit = 10 ** decimals(hint)
        return float(floor(level * unit) / unit)

    def _near(self, slot: _Slot, hint: float | None) -> float:
        start = round(self._random.uniform(10, 99), 1) if hint is None else hint
        level = slot.device.levels.setdefault(slot.path, start)
        return round(level + (abs(level) or 1) * self._random.gauss(0, 0.03), max(1, decimals(hint)))

    # --- logical types -----------------------------------------------------------------------------------------------

    def _timestamp(self, slot: _Slot, avro_type: AvroType) -> Any:
        zone, _, unit = avro_type.logical_name.rpartition("-")
        if isinstance(slot.hint, int):
            return int(self._now * PER_SECOND[unit])
        text = self._moment().isoformat(timespec="milliseconds").removesuffix("+00:00")
        return text if zone.startswith("local") else f"{text}Z"

    def _date(self, slot: _Slot, _type: AvroType) -> Any:
        return int(self._now // 86_400) if isinstance(slot.hint, int) else self._moment().date().isoformat()

    def _time_of_day(self, slot: _Slot, avro_type: AvroType) -> Any:
        if isinstance(slot.hint, int):
            return int(self._now % 86_400) * PER_SECOND[avro_type.logical_name.rpartition("-")[2]]
        return self._moment().time().isoformat(timespec="milliseconds")

    def _uuid(self, _slot: _Slot, _type: AvroType) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _decimal(self, slot: _Slot, avro_type: AvroType) -> Decimal:
        scale, digits = avro_type.scale, avro_type.precision or 1
        unscaled = self._random.randrange(10 ** min(digits, scale + 3))
        if slot.path in self._counters:
            return Decimal(str(self._risen(slot, slot.number))).quantize(Decimal(1).scaleb(-scale), ROUND_FLOOR)
        if slot.number is not None:
            limit = 10**digits - 1
            unscaled = max(-limit, min(limit, int(self._near(slot, slot.number) * 10**scale)))
        return Decimal(unscaled).scaleb(-scale)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now, UTC)


def _is_of(avro_type: AvroType, hint: Any) -> bool:
    if isinstance(hint, bool) and avro_type.kind != "boolean":
        return False
    return isinstance(hint, _PYTHON_TYPES.get(avro_type.kind, ()))
