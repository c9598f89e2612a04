"""Readings that surely do not fit: the many ways in which devices, adapters and people get them wrong.

Each kind takes a good reading and breaks one thing, or says that this reading has nothing of the kind to break. What
it makes is wrong by the contract alone, not by trying: the gateway's own transform is what it is there to test.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.core.codec.precise_encoder import ABSENT, PAYLOAD, source
from gateway.operate.simulate.plausible import RANGES, FieldPlace, Reading, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from gateway.core.codec.scalar_payload import Content
    from gateway.core.model import Stream
    from gateway.operate.simulate.plausible import Path, Schemas

TO_BYTES = msgspec.json.Encoder(decimal_format="number").encode
MARK = "\x02mark\x03"  # stands for what no JSON library would write

_JSON_KIND = {  # what a schema's value is in JSON
    "boolean": "boolean",
    "int": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "string": "text",
    "bytes": "text",
    "fixed": "text",
    "enum": "text",
    "array": "array",
    "map": "object",
    "record": "object",
    "error": "object",
}
_TEXT_OR_NUMBER = {"date", "time-millis", "time-micros"} | {
    f"{zone}timestamp-{unit}" for zone in ("", "local-") for unit in ("millis", "micros", "nanos")
}
_OF_KIND: dict[str, Any] = {
    "boolean": True,
    "number": 42,
    "text": "twenty-one",
    "array": [21.5],
    "object": {"is": 21.5},
}


def written(value: dict[str, Any], content: Content) -> bytes:
    """Write a reading as its device does.

    Args:
        value: an object; one that holds the payload as a whole is not written itself.
        content: what it is written in.
    """
    whole = value.get(PAYLOAD, value)
    return whole.encode() if content == "text" and isinstance(whole, str) else TO_BYTES(whole)


class Broken(NamedTuple):
    """A reading that does not fit.

    Args:
        kind: what is wrong with it, one of `KINDS`.
        topic: where it is published.
        payload: its bytes.
    """

    kind: str
    topic: str
    payload: bytes


class Case(NamedTuple):
    """A good reading on its way to be broken.

    Args:
        stream: whose it is.
        schemas: of the stream's record.
        reading: the good one; it must not be changed.
        topic: its topic.
        random: chooses where.
    """

    stream: Stream
    schemas: Schemas
    reading: Reading
    topic: str
    random: Random

    @property
    def payload(self) -> bytes:
        """The good payload."""
        return written(self.reading.value, self.stream.content)

    @property
    def is_whole(self) -> bool:
        """True when the payload is one value."""
        return PAYLOAD in self.reading.value

    def spots(self) -> Iterator[tuple[FieldPlace, Path]]:
        """Give the places where something stands, in random order, with the path that is read."""
        for spot in self.random.sample(self.reading.spots, len(self.reading.spots)):
            for path in spot.paths:
                if found(self.reading.value, path) is not ABSENT:
                    if path[0] == PAYLOAD or not self.is_whole:  # else only the topic says it
                        yield spot, path
                    break

    def kinds_at(self, spot: FieldPlace) -> set[str]:
        """Tell which JSON kinds a place takes."""
        kinds = {"null"} if self.schemas.takes_null(spot.schema) else set()
        for branch in self.schemas.branches(spot.schema):
            if branch.get("logicalType") in _TEXT_OR_NUMBER and branch["type"] in {"int", "long"}:
                kinds |= {"text", "number"}
            elif branch.get("logicalType") == "decimal":
                kinds |= {"text", "number"}  # text is refused too, but by rules of its own
            else:
                kinds.add(_JSON_KIND[branch["type"]])
        return kinds

    def the_only_type(self, spot: FieldPlace) -> dict[str, Any] | None:
        """Give the one type that a place takes beside null, or None when there are several."""
        branches = self.schemas.branches(spot.schema)
        return branches[0] if len(branches) == 1 else None

    def with_value(self, path: Path, value: Any) -> bytes:
        """Write the reading with another value at a place."""
        changed, (parent, token) = self._copy(path)
        parent[int(token) if isinstance(parent, list) else token] = value
        return written(changed, self.stream.content)

    def with_text(self, path: Path, text: bytes) -> bytes:
        """Write the reading with other JSON text at a place."""
        return self.with_value(path, MARK).replace(TO_BYTES(MARK), text).replace(MARK.encode(), text)

    def without(self, paths: tuple[Path, ...]) -> bytes:
        """Write the reading without a member."""
        changed = deepcopy(self.reading.value)
        for path in paths:
            parent = found(changed, path[:-1])
            if isinstance(parent, dict):
                parent.pop(path[-1], None)
        return TO_BYTES(changed)

    def _copy(self, path: Path) -> tuple[Any, tuple[Any, str]]:
        changed = deepcopy(self.reading.value)
        return changed, (found(changed, path[:-1]), path[-1])


# --- no JSON, or not the JSON it should be ---------------------------------------------------------------------------


def _cut_off(case: Case) -> bytes:
    return case.payload[: case.random.randint(1, len(case.payload) - 1)]


def _member(name: bytes, value: bytes) -> Callable[[Case], bytes]:
    """Add a member whose text no JSON library would write."""

    def add(case: Case) -> bytes:
        rest = case.payload[1:]
        return b"{" + name + b": " + value + (b"," if rest != b"}" else b"") + rest

    return add


def _single_quotes(case: Case) -> bytes | None:
    return case.payload.replace(b'"', b"'") if b'"' in case.payload else None  # an empty object has none


def _always(payload: bytes) -> Callable[[Case], bytes]:
    return lambda _case: payload


# --- JSON that its schema does not take ------------------------------------------------------------------------------


def _missing(case: Case) -> bytes | None:
    for spot, _ in case.spots():
        if spot.is_required:
            return case.without(spot.paths)
    return None


def _wrong_type(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if wrong := sorted(_OF_KIND.keys() - case.kinds_at(spot)):
            return case.with_value(path, _OF_KIND[case.random.choice(wrong)])
    return None


def _null(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if not case.schemas.takes_null(spot.schema):
            return case.with_value(path, None)
    return None


def _number_as_text(case: Case) -> bytes | None:
    for spot, path in case.spots():
        kinds = case.kinds_at(spot)
        if "number" in kinds and "text" not in kinds:
            return case.with_value(path, str(found(case.reading.value, path)))
    return None


def _out_of_range(case: Case) -> bytes | None:
    for spot, path in case.spots():
        only = case.the_only_type(spot) or {"type": ""}
        if spot.is_scaled:
            continue
        if only["type"] in RANGES:
            return case.with_value(path, RANGES[only["type"]][1] + 1)
        if only["type"] in {"float", "double"}:
            return case.with_text(path, b"1e39" if only["type"] == "float" else b"1e400")
    return None


def _of_many_digits(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if (case.the_only_type(spot) or {"type": ""})["type"] in {*RANGES, "float", "double"}:
            return case.with_text(path, b"9" * 5000)
    return None


def _fraction_in_integer(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if not spot.is_scaled and (case.the_only_type(spot) or {"type": ""})["type"] in RANGES:
            return case.with_text(path, b"21.5")
    return None


def _not_a_number(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if "number" in case.kinds_at(spot):
            return case.with_text(path, case.random.choice([b"NaN", b"-Infinity", b"+1", b"01", b".5", b"0x1F"]))
    return None


def _unknown_symbol(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if (case.the_only_type(spot) or {"type": ""})["type"] == "enum":
            return case.with_value(path, "ajar?")
    return None


def _bad_time(case: Case) -> bytes | None:
    for spot, path in case.spots():
        only = case.the_only_type(spot)
        if only and only.get("logicalType") in _TEXT_OR_NUMBER and only["type"] in {"int", "long"}:
            return case.with_value(path, case.random.choice(["yesterday", "2026-02-30T12:00:00Z", "19.2.2020", ""]))
    return None


def _lone_surrogate(case: Case) -> bytes | None:
    for spot, path in case.spots():
        if "text" in case.kinds_at(spot):
            return case.with_text(path, rb'"oven \ud800"')
    return None


def _extra_member(case: Case) -> bytes | None:
    """A member that no field reads: at the top, or beside members that are read."""
    if case.stream.unknown == "ignore" and not _collects(case):
        return None
    if not _collects(case):
        return case.with_value(("unheard_of",), 1)
    for spot, path in case.spots():
        if len(path) > 1 and spot in case.reading.spots and _is_field_of_root(case, spot):
            return case.with_value((*path[:-1], "unheard_of"), 1)
    return None


def _collects(case: Case) -> bool:
    return any(source(field).collects for field in case.schemas.root["fields"])


def _is_field_of_root(case: Case, spot: FieldPlace) -> bool:
    return any(source(field).paths == spot.paths for field in case.schemas.root["fields"])


# --- topic and key ---------------------------------------------------------------------------------------------------


def _topic_mismatch(case: Case) -> bytes | None:
    for parameter in case.random.sample(case.stream.parameters, len(case.stream.parameters)):
        if parameter.pointer:
            path = tuple(t.replace("~1", "/").replace("~0", "~") for t in parameter.pointer.split("/")[1:])
            if len(path) == 1 or isinstance(found(case.reading.value, path[:-1]), dict):
                return case.with_value(path, "somebody-else")
    return None


def _no_key(case: Case) -> bytes | None:
    if case.stream.parameters or not case.stream.route.keys:
        return None  # the topic may say the key
    names = {key.removeprefix("/") for key in case.stream.route.keys}
    fields = [field for field in case.schemas.root["fields"] if field["name"] in names]
    if len(fields) < len(names) or any(field.get("default") for field in fields):
        return None
    changed = deepcopy(case.reading.value)
    for field in fields:
        for path in source(field).paths:
            parent = found(changed, path[:-1])
            if isinstance(parent, dict) and path[-1] in parent:
                parent[path[-1]] = ""
    return TO_BYTES(changed)


def _empty_level(case: Case) -> str | None:
    """Leave out a parameter of the topic: `factory//oven_temp` still matches the subscription `factory/+/+`."""
    levels = case.topic.split("/")
    places = [index for index, level in enumerate(case.stream.address.levels) if level is None]
    if not places or len(levels) == 1:  # an empty topic cannot be published
        return None
    levels[case.random.choice(places)] = ""
    return "/".join(levels)


KINDS: dict[str, Callable[[Case], bytes | None]] = {
    "missing": _missing,
    "wrong type": _wrong_type,
    "cut off": _cut_off,
    "topic mismatch": _topic_mismatch,
    "out of range": _out_of_range,
    "empty": _always(b""),
    "extra member": _extra_member,
    "number as text": _number_as_text,
    "invalid UTF-8": _member(b'"n\xff"', b"1"),
    "null": _null,
    "not a number": _not_a_number,
    "bare word": _always(b"ON"),
    "unknown symbol": _unknown_symbol,
    "bad time": _bad_time,
    "bare number": _always(b"23.5"),
    "no key": _no_key,
    "HTML": _always(b"<html><body>502 Bad Gateway</body></html>"),
    "fraction in integer": _fraction_in_integer,
    "in an array": lambda case: b"[" + case.payload + b"]",
    "byte order mark": lambda case: b"\xef\xbb\xbf" + case.payload,
    "lone surrogate": _lone_surrogate,
    "trailing text": lambda case: case.payload + b"}",
    "of many digits": _of_many_digits,
    "too deep": _member(b'"deep"', b"[" * 500 + b"]" * 500),
    "single quotes": _single_quotes,
    "null alone": _always(b"null"),
    "binary": _always(bytes(range(256))),
    "two at once": lambda case: case.payload + b"\n" + case.payload,
}
EMPTY_LEVEL = "empty topic level"

# Of a payload that is one value there is less to break. Plain text that is no number may be good text.
_OF_ANY_VALUE = {"empty", "binary", "byte order mark", "unknown symbol", "bad time", "out of range", "of many digits"}
_OF_ANY_VALUE |= {"fraction in integer", EMPTY_LEVEL}
_OF_NO_TEXT = {"bare word", "HTML", "not a number", "trailing text", "two at once"}
_OF_JSON = _OF_NO_TEXT | {"wrong type", "null", "number as text", "lone surrogate"}


def _kinds(case: Case) -> set[str]:
    """Tell what can be broken in a reading."""
    if not case.is_whole:
        return {*KINDS, EMPTY_LEVEL}
    if case.stream.content == "json":
        return _OF_ANY_VALUE | _OF_JSON
    is_text = any("text" in case.kinds_at(spot) for spot, _ in case.spots())
    return _OF_ANY_VALUE if is_text else _OF_ANY_VALUE | _OF_NO_TEXT


class Breaker:
    """Breaks the readings of one stream, each time in the next way, so that a few show many kinds."""

    def __init__(self, stream: Stream, schemas: Schemas, random: Random) -> None:
        self._stream = stream
        self._schemas = schemas
        self._random = random
        self._order = [*KINDS, EMPTY_LEVEL]
        self._next = random.randrange(len(self._order))

    def broken(self, reading: Reading, topic: str) -> Broken:
        """Break a good reading.

        Args:
            reading: stays as it is.
            topic: where it would have been published.

        Returns:
            Something that the gateway must refuse.
        """
        case = Case(self._stream, self._schemas, reading, topic, self._random)
        kinds = _kinds(case)
        while True:  # it ends: some kinds need nothing of the reading
            kind = self._order[self._next % len(self._order)]
            self._next += 1
            if kind not in kinds:
                continue
            if kind == EMPTY_LEVEL:
                if elsewhere := _empty_level(case):
                    return Broken(kind, elsewhere, case.payload)
            elif (payload := KINDS[kind](case)) is not None:
                return Broken(kind, topic, payload)
