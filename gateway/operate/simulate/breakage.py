"""Defects: each makes a valid sample invalid, for one of the reasons that dead letters have.

A defect changes one thing in a sample, or gives None when the sample has nothing of the kind. The result is invalid by
the contract alone; the gateway's transform is not asked, because it is what the simulator tests.
"""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.json_text import ABSENT, parse
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.record_path import PARAMETER
from gateway.core.transform import conversion
from gateway.operate.simulate.limits import Limits
from gateway.operate.simulate.plausible import FieldPlace, Sample, value_at
from gateway.operate.simulate.telegram import telegram
from gateway.operate.simulate.written import RANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from random import Random

    from gateway.core.avro_schema import AvroType
    from gateway.core.codec.conversion import Content
    from gateway.core.message_demands import Demands
    from gateway.core.model import Stream
    from gateway.operate.simulate.plausible import Path

TO_BYTES = msgspec.json.Encoder(decimal_format="number").encode

_VALUES = {"boolean": True, "number": 42, "text": "twenty-one", "array": [21.5], "object": {"is": 21.5}}


class Shape(IntEnum):
    """What a payload is, from the one with the fewest defects to the one with the most."""

    TEXT = 0  # plain text that its field takes as text: almost any other text is valid too
    LITERAL = 1  # plain text of a number or a truth value
    JSON_VALUE = 2
    OBJECT = 3


def written(value: dict[str, Any], content: Content) -> bytes:
    """Write a sample as its device does; of an object that stands for a payload of a single value only that value."""
    if content == "telegram":
        return telegram(value)
    payload = value.get(PAYLOAD, value)
    return payload.encode() if content == "text" and isinstance(payload, str) else TO_BYTES(payload)


class Case(NamedTuple):
    """A valid sample, for a defect to change; defects work on copies."""

    stream: Stream
    record: AvroType
    sample: Sample
    topic: str  # where it would be published
    random: Random  # chooses the place

    @property
    def payload(self) -> bytes:
        """The valid payload."""
        return written(self.sample.value, self.stream.content)

    @property
    def shape(self) -> Shape:
        """What the payload is."""
        if PAYLOAD not in self.sample.value:
            return Shape.OBJECT
        if self.stream.content == "json":
            return Shape.JSON_VALUE
        return Shape.TEXT if any("text" in json_types(place) for place, _ in self.places()) else Shape.LITERAL

    def places(self) -> Iterator[tuple[FieldPlace, Path]]:
        """Give the places that have a value in the payload, in random order, each with the path of the value.

        There is none in a telegram, where what is no number is a text.
        """
        if self.stream.content == "telegram":
            return
        for place in self.random.sample(self.sample.places, len(self.sample.places)):
            path = next((path for path in place.paths if value_at(self.sample.value, path) is not ABSENT), None)
            if path and (path[0] == PAYLOAD or PAYLOAD not in self.sample.value) and not path[0].startswith(PARAMETER):
                yield place, path

    def with_value(self, path: Path, value: Any) -> bytes:
        """Write the sample with another value at a path."""
        changed = deepcopy(self.sample.value)
        parent = value_at(changed, path[:-1])
        parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value
        return written(changed, self.stream.content)

    def changed(self, paths: tuple[Path, ...], change: Callable[[dict[str, Any], str], object]) -> bytes:
        """Write the sample after a change of the objects that hold some members; called with object and name."""
        changed = deepcopy(self.sample.value)
        for path in paths:
            parent = value_at(changed, path[:-1])
            if isinstance(parent, dict) and path[-1] in parent:
                change(parent, path[-1])
        return written(changed, self.stream.content)


def json_types(place: FieldPlace) -> set[str]:
    """List the JSON types that are valid at a place."""
    types = {"null"} if place.type.is_nullable else set()
    types |= {"number" if kind == "integer" else kind for kind in place.also}
    for branch in place.type.non_null:
        types |= {"number" if kind == "integer" else kind for kind in branch.json_kinds}
        if branch.is_exact:
            types.add("text")  # text for a decimal has its own error
    return types


def _cut_off(case: Case) -> bytes:
    end = case.payload.rfind(b"!") if case.stream.content == "telegram" else len(case.payload) - 1
    return case.payload[: case.random.randint(1, end)]


def _invalid_utf8(case: Case) -> bytes:
    rest = case.payload[1:]
    return b'{"n\xff": 1' + (b"," if rest != b"}" else b"") + rest


def _missing(case: Case) -> bytes | None:
    required = (place for place, _ in case.places() if place.is_required)
    return case.changed(place.paths, dict.pop) if (place := next(required, None)) else None


def _wrong_type(case: Case) -> bytes | None:
    for place, path in case.places():
        if wrong := sorted(_VALUES.keys() - json_types(place)):
            return case.with_value(path, _VALUES[case.random.choice(wrong)])
    return None


def _out_of_range(case: Case) -> bytes | None:
    beyond: dict[str, Any] = {name: high + 1 for name, (_, high) in RANGES.items()}
    beyond |= {"float": Decimal("1e39"), "double": Decimal("1e400")}
    for _, path in case.places():
        if (value := Limits(case.stream.payload_schema, path).beyond()) is not None:
            return case.with_value(path, value)
    for place, path in case.places():
        if not place.is_converted and place.only_kind in beyond:
            return case.with_value(path, beyond[place.only_kind])
    return None


def _bad_format(case: Case) -> bytes | None:
    for place, path in case.places():
        if place.only_kind == "enum":
            return case.with_value(path, "ajar?")
        if place.only_kind and place.type.non_null[0].time:
            texts = ["yesterday", "2026-02-30T12:00:00Z", "19.2.2020", *([] if place.is_converted else [""])]
            return case.with_value(path, case.random.choice(texts))
    return None


def _extra_member(case: Case) -> bytes | None:
    """Add a member that no field reads: at the top, or beside members that are read one by one."""
    if not any(field.collects for field in case.record.fields):
        return case.with_value(("unheard_of",), 1) if case.stream.unknown == "reject" else None
    nested = {field.paths for field in case.record.fields}
    unread = conversion(case.stream, case.stream.route).unread.strict
    for place, path in case.places():
        if len(path) > 1 and place.paths in nested and unread.at(path[:-1]).refuses:
            return case.with_value((*path[:-1], "unheard_of"), 1)
    return None


def _topic_mismatch(case: Case) -> bytes | None:
    for parameter in case.random.sample(case.stream.parameters, len(case.stream.parameters)):
        path = tokens(parameter.pointer) if parameter.pointer else ()
        if path and isinstance(value_at(case.sample.value, path[:-1]), dict):
            return case.with_value(path, "somebody-else")
    return None


def _no_key(case: Case) -> bytes | None:
    keys = case.stream.route.keys
    names = {key.removeprefix("/") for key in keys if isinstance(key, str)}
    if case.stream.parameters or not keys or len(names) < len(keys):
        return None  # the topic may hold the key
    fields = [field for field in case.record.fields if field.name in names]
    is_text = all(branch.kind == "string" for field in fields for branch in field.type.non_null)
    if len(fields) < len(names) or not is_text or any(field.default for field in fields):
        return None
    paths = tuple(path for field in fields for path in field.paths)
    return case.changed(paths, lambda parent, name: parent.update({name: ""}))


def _empty_level(case: Case) -> str | None:
    """Empty a parameter of the topic: `factory//oven_temp` still matches the subscription `factory/+/+`."""
    values = list(case.stream.address.match(case.topic) or ())
    if not values:
        return None
    values[case.random.randrange(len(values))] = ""
    return case.stream.address.topic(values) or None  # an empty topic cannot be published


def _other_value(case: Case) -> str | None:
    """Name a parameter of the topic by a value that has no Kafka topic."""
    if (choice := case.stream.route.choice) is None:
        return None
    names, values = case.stream.address.names, case.stream.address.match(case.topic) or ()
    changed = case.random.choice(list(choice.allowed))
    return case.stream.address.topic(
        ["elsewhere" if name == changed else value for name, value in zip(names, values, strict=True)]
    )


class Defect(NamedTuple):
    """A way to make a sample invalid."""

    shape: Shape  # the least shape of a payload that can have it
    make: Callable[[Case], bytes | str | None]  # another payload or topic; None when the sample cannot have it


DEFECTS = {
    "missing": Defect(Shape.OBJECT, _missing),
    "wrong type": Defect(Shape.JSON_VALUE, _wrong_type),
    "cut off": Defect(Shape.OBJECT, _cut_off),
    "topic mismatch": Defect(Shape.OBJECT, _topic_mismatch),
    "out of range": Defect(Shape.TEXT, _out_of_range),
    "empty": Defect(Shape.TEXT, lambda _case: b""),
    "extra member": Defect(Shape.OBJECT, _extra_member),
    "invalid UTF-8": Defect(Shape.OBJECT, _invalid_utf8),
    "bad format": Defect(Shape.TEXT, _bad_format),
    "no key": Defect(Shape.OBJECT, _no_key),
    "empty topic level": Defect(Shape.TEXT, _empty_level),
    "topic value": Defect(Shape.TEXT, _other_value),
}


class Breaker:
    """Makes samples of one message invalid with each defect in turn; one must fit any sample, as `empty` does.

    `others` are the demands of the operation's other messages: the result must not be one of these.
    """

    def __init__(
        self,
        stream: Stream,
        record: AvroType,
        random: Random,
        defects: Mapping[str, Defect],
        others: Sequence[Demands] = (),
    ) -> None:
        self._others = others
        self._stream = stream
        self._record = record
        self._random = random
        self._defects = list(defects.items())
        self._next = random.randrange(len(self._defects))

    def broken(self, sample: Sample, topic: str) -> tuple[str, str, bytes]:
        """Give the name of a defect, and topic and payload of a message with it; made from a valid sample."""
        case = Case(self._stream, self._record, sample, topic, self._random)
        shape = case.shape
        while True:
            kind, defect = self._defects[self._next % len(self._defects)]
            self._next += 1
            made = defect.make(case) if shape >= defect.shape else None
            if isinstance(made, str):
                return kind, made, case.payload
            if made is not None and not self._is_other(made):
                return kind, topic, made

    def _is_other(self, payload: bytes) -> bool:
        """Tell whether a payload may be another message of the operation."""
        try:
            value = parse(payload) if self._others else None
        except ValidationError:
            return False
        return any(not each.failed(value) for each in self._others)
