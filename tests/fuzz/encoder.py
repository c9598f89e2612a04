"""Fuzzing of the encoder in C: whatever schema and payload come, it says what Python says.

    python -m tests.fuzz.encoder --seconds 60 --seed 1

A schema is made at random, with a JSON Schema and a topic in some cases; then payloads for it, in JSON or MessagePack,
most of them wounded: in their values, or in their bytes. The codec with the encoder in C, the one without, and the
precise path must give the same for each. The seed decides everything, so a failure comes back with it. `make
fuzz-native` runs it on a build that checks each access to memory.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.native import MODULE
from gateway.core.reading import Reading
from tests.contract_values import codec_of
from tests.fuzz import packing
from tests.fuzz.command import run_fuzzer
from tests.fuzz.wounds import Wounds

if TYPE_CHECKING:
    from gateway.core.codec.codec import Codec
    from gateway.core.reading import Record

PAYLOADS = 60  # for each schema
TEXTS = [
    "",
    "a",
    "ab",
    "é",
    "ÿ",
    "Ā",
    "€",
    "😀",
    'a"b',
    "\\",
    "\n",
    "\u0000",
    "/",
    "machine",
    "x" * 70,
    "longer than eight",
]
NUMBERS = ["0", "-0", "1", "-1", "7.5", "-0.0", "0.1", "1e2", "1E-7", "2147483648", "-2147483649", "16777217", "1e39",
           "9007199254740993", "123456789012345678", "1234567890123456789", "99.99999999999999999", "1e400", "1e-400",
           "3.141592653589793238462643383", "100", "100.0", "0.30000000000000004", "12345678901234.5"]  # fmt: skip
SCALARS = ("null", "boolean", "int", "long", "float", "double", "string")
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
TIMES = (MILLIS, {"type": "int", "logicalType": "time-millis"})
OTHERS = (
    "bytes",
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9},
)
TOPIC_TEXTS = ["a", "a", "a", "", "é", "x" * 70]
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e", b"\0", b"\xc3", b"\xff",
          b"\xed\xa0\x80", b"\\u", b"\\ud800", b"\\u00e9", b" ", b"null", b"[" * 40, b'{"a":' * 33]  # fmt: skip


class Case(NamedTuple):
    """A schema with what belongs to it, as `codec_of` takes it."""

    record: dict[str, Any]
    keys: tuple[str | int, ...]
    parameters: list[str | None]
    more: dict[str, Any]

    def codec(self, *, is_native: bool) -> Codec:
        """Make the codec."""
        return codec_of(self.record, self.keys, self.parameters, is_native=is_native, **self.more)


class Maker:
    """Makes cases, and payloads for them; the seed decides all."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._wounds = Wounds(self._chance, PIECES), Wounds(self._chance, packing.PIECES)
        self._packer = packing.Packer(self._chance)
        self._names = 0

    # --- schemas -----------------------------------------------------------------------------------------------------

    def case(self) -> Case:
        """Make a record with a key, and with a JSON Schema, times and a topic in some cases."""
        chance, keyed = self._chance.random, {"name": "key", "type": self._chance.choice(["string", "long", "boolean"])}
        record = self._record(3, keyed)
        more: dict[str, Any] = {"unknown": self._chance.choice(["reject", "ignore"]), "prefix": b"\0\0\0\0\1"}
        if chance() < 0.4:
            more["content"] = "msgpack"
        if chance() < 0.5:
            more["schema"] = self._schema(record)
        if chance() < 0.3:
            record["fields"].append({"name": "at", "type": MILLIS, **self._default(0.5, 1_700_000_000_123)})
            more["event_time"] = "/at"
        if chance() < 0.3:
            record["fields"].append({"name": "count", "type": "long"})
            more["sequence"] = "/count"
        if keyed["type"] == "string" and chance() < 0.5:
            return Case(record, ("/key",), ["/key"], more)
        if chance() < 0.3:
            return Case(record, ("/key", 0), [None], {**more, "separator": "/"})
        return Case(record, ("/key",), [], more)

    def _record(self, levels: int, *fields: dict[str, Any]) -> dict[str, Any]:
        more = [self._field(place, levels) for place in range(self._chance.randrange(1, 6))]
        if self._chance.random() < 0.2:
            map_ = {"type": "map", "values": self._type(0)}
            more.append({"name": "rest", "type": map_, "x-source": "$message.payload#"})
        return {"type": "record", "name": self._name(), "fields": [*fields, *more]}

    def _field(self, place: int, levels: int) -> dict[str, Any]:
        field: dict[str, Any] = {"name": f"f{place}", "type": self._type(levels)}
        if self._chance.random() < 0.2:
            field["x-source"] = f"$message.payload#/d{self._chance.randrange(2)}/f{place}"
        elif self._chance.random() < 0.1 and isinstance(field["type"], str):
            field["x-source"] = [f"$message.payload#/f{place}", f"$message.payload#/d0/g{place}"]
        if field["type"] == ["null", "string"] and self._chance.random() < 0.7:
            field["default"] = None
        if field["type"] == "double" and self._chance.random() < 0.5:
            field["default"] = 1.5
        return field

    def _type(self, levels: int) -> Any:  # noqa: PLR0911 - one return a kind of type
        kinds = ["scalar"] * 4 + [
            "null",
            "enum",
            "logical",
            *(["array", "map", "record", "union"] * (levels > 0)),
        ]
        match self._chance.choice(kinds):
            case "null":
                return ["null", "string"]
            case "enum":
                return {"type": "enum", "name": self._name(), "symbols": ["a", "ab", "machine"]}
            case "logical":
                return self._chance.choice(TIMES if self._chance.random() < 0.9 else OTHERS)
            case "array":
                return {"type": "array", "items": self._type(levels - 1)}
            case "map":
                return {"type": "map", "values": self._type(levels - 1)}
            case "record":
                return self._record(levels - 1)
            case "union":
                return self._chance.sample(SCALARS, self._chance.randrange(1, 4))
        return self._chance.choice(SCALARS)

    def _schema(self, record: dict[str, Any]) -> dict[str, Any]:
        names = [field["name"] for field in record["fields"]]
        schema: dict[str, Any] = {"properties": {name: self._rules() for name in names if self._chance.random() < 0.5}}
        if self._chance.random() < 0.3:
            schema["required"] = self._chance.sample([*names, "d0"], 1)
        if self._chance.random() < 0.4:
            schema["additionalProperties"] = self._chance.choice([True, False, self._rules()])
        return schema

    def _rules(self) -> dict[str, Any]:
        number = self._chance.choice([0, 1, 7.5, 100, 0.1, 1e20])
        return self._chance.choice([
            {self._chance.choice(LIMITS): number}, {self._chance.choice(["minLength", "maxLength"]): 2},
            {"enum": ["a", "é"]}, {"const": "a"}, {"type": "string"}, {"type": "number"}, {"type": ["integer", "null"]},
            {"minItems": 1}, {"maxProperties": 1}, {"items": {"maximum": 7}}, {"pattern": "^a"},
            {"allOf": [{"maximum": 7}, {"maxLength": 3}]}, {"additionalProperties": {"type": "number"}},
        ])  # fmt: skip

    def _default(self, probability: float, value: Any) -> dict[str, Any]:
        return {"default": value} if self._chance.random() < probability else {}

    def _name(self) -> str:
        self._names += 1
        return f"N{self._names}"

    # --- payloads ----------------------------------------------------------------------------------------------------

    def payload(self, case: Case) -> bytes:
        """Make a payload that may be wounded."""
        text = self._object(case.record["fields"])
        is_packed = "content" in case.more
        data = self._packer.pack(text) if is_packed else text.encode()
        for _ in range(self._chance.choice([0, 0, 0, 0, 1, 2])):
            data = self._wounds[is_packed].wound(data)
        return data

    def topic(self, case: Case) -> tuple[str, ...]:
        """Make the texts that the topic has."""
        return tuple(self._chance.choice(TOPIC_TEXTS) for _ in case.parameters)

    def _object(self, fields: list[dict[str, Any]]) -> str:
        members: dict[str, Any] = {}
        for field in fields:
            if self._chance.random() < (0.5 if "default" in field else 0.03):
                continue
            self._put(members, field)
        if self._chance.random() < 0.05:
            members["stranger"] = self._chance.choice([*NUMBERS, "{}", "[[]]", '"x"'])
        pairs = [
            f"{self._text(name)}:{each if isinstance(each, str) else self._nested(each)}"
            for name, each in members.items()
        ]
        if self._chance.random() < 0.3:
            self._chance.shuffle(pairs)
        space = self._chance.choice(["", "", " ", "\n\t"])
        return "{" + f"{space},{space}".join(pairs) + space + "}"

    def _nested(self, members: dict[str, Any]) -> str:
        return "{" + ",".join(f"{json.dumps(name)}:{each}" for name, each in members.items()) + "}"

    def _put(self, members: dict[str, Any], field: dict[str, Any]) -> None:
        source = field.get("x-source", f"$message.payload#/{field['name']}")
        path = (source if isinstance(source, str) else self._chance.choice(source)).partition("#")[2].split("/")[1:]
        if not path:
            members[self._chance.choice(TEXTS)] = self._value(field["type"]["values"])
        elif len(path) == 1:
            members[path[0]] = self._value(field["type"])
        else:
            members.setdefault(path[0], {})[path[1]] = self._value(field["type"])

    def _value(self, kind: Any) -> str:  # noqa: C901, PLR0911 - one return a kind of type
        if self._chance.random() < 0.02:
            return self._chance.choice([*NUMBERS, "null", "true", '"a"', "[]", "{}", "[1,[2]]"])
        if isinstance(kind, list):
            return self._value(self._chance.choice(kind))
        match kind if isinstance(kind, str) else kind.get("logicalType", kind["type"]):
            case "null":
                return "null"
            case "boolean":
                return self._chance.choice(["true", "false"])
            case "int" | "long" | "timestamp-millis" | "time-millis":
                return str(self._chance.randrange(-9, 99)) if self._chance.random() < 0.9 else self._number()
            case "float" | "double" | "decimal":
                return self._number()
            case "enum":
                return json.dumps(self._chance.choice(kind["symbols"]))
            case "array":
                return "[" + ",".join(self._value(kind["items"]) for _ in range(self._chance.randrange(4))) + "]"
            case "map":
                names = self._chance.sample(TEXTS, self._chance.randrange(4))
                return "{" + ",".join(f"{self._text(name)}:{self._value(kind['values'])}" for name in names) + "}"
            case "record":
                return self._object(kind["fields"])
        return self._text(self._chance.choice([*TEXTS, "a", "a", "a", "a"]))

    def _number(self) -> str:
        if self._chance.random() < 0.5:
            return self._chance.choice(NUMBERS)
        kind = self._chance.randrange(4)
        return str(
            self._chance.randrange(-(2 ** (12 * kind + 1)), 2 ** (20 * kind + 1))
            if kind
            else self._chance.uniform(-1e3, 1e3)
        )

    def _text(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self._chance.random() < 0.3)


def difference(case: Case, codecs: tuple[Codec, Codec], payload: bytes, values: tuple[str, ...]) -> str:
    """Tell how the codecs differ about a payload with these texts of the topic; empty when they do not."""
    native, plain = (codec.encode(payload, values) for codec in codecs)
    precise = codecs[0].encode_precisely(payload, values)
    if repr(native) == repr(plain) == repr(precise) and in_run(codecs[0], payload, values) in {None, repr(native)}:
        return ""
    return f"{case}\n{values} {payload!r}\nC      {native}\nPython {plain}\nprecise {precise}"


def in_run(codec: Codec, payload: bytes, values: tuple[str, ...]) -> str | None:
    """Tell what the loop in C over readings makes of one; None when it leaves that to Python."""
    records: list[Record] = []
    if MODULE:
        facts: dict[bytes, Any] = {b"t": (codec.fast, codec.prepare(values), "topic", [])}
        MODULE.encode_run(facts, [Reading("s", b"t", payload, 0)], 0, len(payload), records)
    if not records:
        return None
    (one,), (_, _, moment, *_) = records, codec.fast(payload, codec.prepare(values))  # a record has a time of its own
    return repr((one.key, one.value, moment, one.number, one.counts))


def fuzz(seed: int, seconds: float) -> tuple[int, int, str]:
    """Try payloads for so long; give how many, how many of them had an encoder in C, and the first fault."""
    maker, until, count, natively = Maker(seed), time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        case = maker.case()
        codecs = case.codec(is_native=True), case.codec(is_native=False)
        for _ in range(PAYLOADS):
            count += 1
            natively += codecs[0].is_native
            if fault := difference(case, codecs, maker.payload(case), maker.topic(case)):
                return count, natively, fault
    return count, natively, ""


if __name__ == "__main__":
    sys.exit(run_fuzzer(__doc__, fuzz, "payloads", "in C"))
