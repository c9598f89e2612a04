"""The fast path of the codec: Python source written from the Avro schema, compiled once, run for every reading.

It knows success only. Whatever it does not take at once, for whatever cause, raises, and the codec asks the precise
path (`avro.py`), which alone decides. So it may be narrower than the schema, never wider: that is the rule for every
line generated here, and a property test holds it to the same bytes and the same verdicts.

msgspec parses the payload to plain dicts, lists and scalars; the generated code checks their classes as it goes. A
typed msgspec struct for each record lost: it is 0.2 microseconds faster on four fields, but it covers neither recursive
records, nor unions of two numbers, nor a map that collects what no field reads, and needs a second generator.

What a topic contributes is encoded once a topic (`prepare`), not once a reading. What comes out for a record of two
fields, the second filled from the topic and the key:

    def encode(payload, values):
        v0 = decode(payload)
        if v0.__class__ is not dict: raise Miss
        n = 1
        v2 = v0['value']
        v3 = v0.get('machine', ABSENT)
        if v3 is ABSENT: v3 = values[0]
        elif v3 != values[0]: raise Miss
        else: n += 1
        if len(v0) != n: raise Miss
        if v2.__class__ is int:
            if not -9007199254740992 <= v2 <= 9007199254740992: raise Miss
        elif v2.__class__ is not float: raise Miss
        if not values[2]: raise Miss
        return values[2], join((PREFIX, double(v2), values[1]))
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core import logical
from gateway.core.avro import ABSENT, Schema, Unknown, encode_default, long, source
from gateway.core.json_text import MAX_DEPTH
from gateway.core.misfit import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

Prepared = tuple[str | bytes, ...]  # for each parameter of the topic: its text, its encoding as a string, its UTF-8
Encode = Callable[[bytes, Prepared], tuple[bytes, bytes]]

TABLE_SIZE = 8_192  # lengths and small integers whose varints are looked up; longer text takes the precise path
_EXACT = {"float": 2**24, "double": 2**53}  # integers up to here are exact; larger ones are for the precise path
_RANGE = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_DAY = {"time-millis": 86_400_000, "time-micros": 86_400_000_000}
_READERS: dict[tuple[str, str], logical.ToInteger] = {
    ("int", "date"): logical.days,
    ("int", "time-millis"): logical.time_of_day(3),
    ("long", "time-micros"): logical.time_of_day(6),
    ("long", "timestamp-millis"): logical.timestamp(3, zoned=True),
    ("long", "timestamp-micros"): logical.timestamp(6, zoned=True),
    ("long", "local-timestamp-millis"): logical.timestamp(3, zoned=False),
    ("long", "local-timestamp-micros"): logical.timestamp(6, zoned=False),
}


class Miss(Exception):  # noqa: N818 - not an error: it says "ask the precise path"
    """The fast path does not take this payload."""


class NotCoveredError(Exception):
    """The schema has a shape that no code is generated for; the text names it."""


def prepare(values: Sequence[str]) -> Prepared:
    """Encode what a topic contributes.

    Args:
        values: of the address's parameters, in its order.

    Returns:
        What the compiled encoder takes as its second argument.

    Raises:
        UnicodeEncodeError: when a value is no text that UTF-8 can hold.
    """
    encoded = [(value, value.encode()) for value in values]
    return tuple(part for value, data in encoded for part in (value, long(len(data)) + data, data))


def compile_fast(
    schema: dict[str, Any],
    keys: tuple[str, ...],
    parameters: Sequence[str | None],
    unknown: Unknown,
    prefix: bytes,
) -> Encode:
    """Generate and compile the encoder of a stream.

    Args:
        schema: the record's Avro schema in normal form.
        keys: JSON pointers into the record, tried in order.
        parameters: for each parameter of the address a JSON pointer into the payload, or None.
        unknown: what to do with members that no field reads.
        prefix: what stands before the Avro body.

    Returns:
        A function of payload and prepared topic that gives key and value. It raises, anything, when it does not take
        the payload.

    Raises:
        NotCoveredError: for a shape it has no code for.
    """
    return _Generator(schema, unknown, prefix).compile(keys, parameters)


class _Generator:
    """Writes the source. `bound` holds the objects that the source names."""

    def __init__(self, schema: dict[str, Any], unknown: Unknown, prefix: bytes) -> None:
        self._schema = schema
        self._unknown = unknown
        self._lines: list[str] = []
        self._indent = 1
        self._names = 0
        self._records: dict[str, str] = {}
        self._definitions: dict[str, Any] = {}
        self._pending: list[tuple[str, dict[str, Any]]] = []
        self._encoded: dict[str, str] = {}  # variable of a text -> the expression of its UTF-8
        self._prepared: dict[str, int] = {}  # variable that is filled from the topic -> its place in `values`
        self.bound: dict[str, Any] = {
            "ABSENT": ABSENT,
            "LENGTH": [long(number) for number in range(TABLE_SIZE)],
            "Miss": Miss,
            "PREFIX": prefix,
            "decode": msgspec.json.Decoder().decode,
            "double": struct.Struct("<d").pack,
            "float_": struct.Struct("<f").pack,
            "join": b"".join,
            "long": long,
        }
        self._define(schema)

    def compile(self, keys: tuple[str, ...], parameters: Sequence[str | None]) -> Encode:
        """Write all functions and compile them."""
        filled = {_member_of(pointer): place for place, pointer in enumerate(parameters) if pointer}
        self._line("def encode(payload, values):", at=0)
        if self._may_be_deep():
            self._line(f"if payload.count(b'[') + payload.count(b'{{') > {MAX_DEPTH}: raise Miss")
        self._line("v0 = decode(payload)")
        self._names = 1
        fields, parts = self._record_body(self._schema, "v0", filled)
        self._key(keys, fields)
        self._line(f"return key, join((PREFIX, {', '.join(parts)},))" if parts else "return key, PREFIX")
        while self._pending:
            function, schema = self._pending.pop()
            self._line(f"def {function}(v0):", at=0)
            _, parts = self._record_body(schema, "v0", {})
            self._line(f"return {_joined(parts)}")
        source_text = "\n".join(self._lines)
        exec(compile(source_text, f"<encoder of {self._schema['name']}>", "exec"), self.bound)  # noqa: S102 - our own text: names from the schema stand in it as repr() only
        encode: Encode = self.bound["encode"]
        return encode

    # --- writing ---------------------------------------------------------------------------------------------------

    def _line(self, text: str, at: int | None = None) -> None:
        self._lines.append("    " * (self._indent if at is None else at) + text)

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        self._line(head)
        self._indent += 1
        yield
        self._indent -= 1

    def _name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"

    def _bind(self, value: object) -> str:
        name = f"B{len(self.bound)}"
        self.bound[name] = value
        return name

    def _define(self, schema: Schema) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._define(branch)
        elif isinstance(schema, dict):
            if "name" in schema:
                self._definitions[schema["name"]] = schema
            for field in schema.get("fields", ()):
                self._define(field["type"])
            for inner in ("items", "values", "type"):
                self._define(schema.get(inner))

    def _may_be_deep(self) -> bool:
        """True when a payload that fits may nest beyond the limit, which only the precise path counts."""
        return self._unknown == "ignore" or self._depth(self._schema, ()) > MAX_DEPTH

    def _depth(self, schema: Schema, inside: tuple[str, ...]) -> float:  # noqa: PLR0911 - one return a kind of schema
        """Count the levels of JSON that a schema allows; infinite for a record that holds itself."""
        if isinstance(schema, list):
            return max((self._depth(branch, inside) for branch in schema), default=0)
        if isinstance(schema, str):
            if schema in inside:
                return inf
            return self._depth(self._definitions[schema], inside) if schema in self._definitions else 0
        match schema["type"]:
            case "record":
                inside = (*inside, schema["name"])
                steps = (len(path) for field in schema["fields"] for path in source(field).paths)
                deepest = max((self._depth(field["type"], inside) for field in schema["fields"]), default=0)
                return max(steps, default=1) + deepest
            case "array" | "map" as kind:
                return 1 + self._depth(schema["items" if kind == "array" else "values"], inside)
            case "enum" | "fixed":
                return 0
            case other:
                return self._depth(other, inside)

    # --- records ---------------------------------------------------------------------------------------------------

    def _record_body(
        self, schema: dict[str, Any], record: str, filled: dict[str, int]
    ) -> tuple[dict[str, str], list[str]]:
        """Write a record's checks; give the variable of each field, and the parts of its bytes."""
        self._line(f"if {record}.__class__ is not dict: raise Miss")
        sources = {field["name"]: source(field) for field in schema["fields"]}
        paths = [path for found in sources.values() for path in found.paths if path]
        if set(filled) - {path[0] for path in paths if len(path) == 1}:
            raise NotCoveredError("a parameter's location that no field reads")
        needed = {found.paths[0][0] for field in schema["fields"]
                  if "default" not in field and len((found := sources[field["name"]]).paths) == 1
                  and len(found.paths[0]) == 1} - set(filled)  # fmt: skip
        self._line(f"n = {len(needed)}")
        at = self._read_members(record, paths, filled, needed)
        collector = next((name for name, found in sources.items() if found.collects), None)
        rest = self._rest(record, {path[0] for path in paths}, collects=collector is not None)
        fields, parts = {}, []
        for field in schema["fields"]:
            name = field["name"]
            fields[name] = rest if name == collector else self._first(at, sources[name].paths)
            parts += self._field(field, fields[name], may_be_absent=name != collector)
        return fields, parts

    def _read_members(
        self, record: str, paths: list[tuple[str, ...]], filled: dict[str, int], needed: set[str]
    ) -> dict[tuple[str, ...], str]:
        """Write the look-ups; give the variable of each path. `n` counts the members found."""
        at: dict[tuple[str, ...], str] = {}
        for member in dict.fromkeys(path[0] for path in paths):
            below = [path for path in dict.fromkeys(paths) if path[0] == member]
            value = self._name("v")
            is_needed = member in needed and below == [(member,)]
            self._line(f"{value} = {record}" + (f"[{member!r}]" if is_needed else f".get({member!r}, ABSENT)"))
            if member in filled:
                self._fill(value, 3 * filled[member])
            if below == [(member,)]:
                if not is_needed and member not in filled:
                    self._line(f"if {value} is not ABSENT: n += 1")
                at[below[0]] = value
            else:
                at |= self._read_below(value, below)
        return at

    def _fill(self, value: str, place: int) -> None:
        self._prepared[value] = place
        self._line(f"if {value} is ABSENT: {value} = values[{place}]")
        self._line(f"elif {value} != values[{place}]: raise Miss")
        self._line("else: n += 1")

    def _read_below(self, value: str, below: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
        if any(len(path) != 2 for path in below):
            raise NotCoveredError("x-source deeper than two levels, or overlapping")
        at = {path: self._name("v") for path in below}
        with self._block(f"if {value} is ABSENT:"):
            self._line(" = ".join([*at.values(), "ABSENT"]))
        with self._block("else:"):
            self._line(f"if {value}.__class__ is not dict: raise Miss")
            self._line("n += 1")
            for path, name in at.items():
                self._line(f"{name} = {value}.get({path[1]!r}, ABSENT)")
            if self._unknown == "reject":
                found = " + ".join(f"({name} is not ABSENT)" for name in at.values())
                self._line(f"if len({value}) != {found}: raise Miss")
        return at

    def _rest(self, record: str, known: set[str], *, collects: bool) -> str:
        if not collects:
            if self._unknown == "reject":
                self._line(f"if len({record}) != n: raise Miss")
            return ""
        rest, names = self._name("r"), self._bind(frozenset(known))
        self._line(
            f"{rest} = {{}} if len({record}) == n else {{k: v for k, v in {record}.items() if k not in {names}}}"
        )
        return rest

    def _first(self, at: dict[tuple[str, ...], str], paths: tuple[tuple[str, ...], ...]) -> str:
        if len(paths) == 1:
            return at[paths[0]]
        value = self._name("v")
        choice = " else ".join(f"{at[path]} if {at[path]} is not ABSENT" for path in paths)
        self._line(f"{value} = {choice} else ABSENT")
        return value

    def _field(self, field: dict[str, Any], value: str, *, may_be_absent: bool) -> list[str]:
        if not may_be_absent or "default" not in field:
            return self._value(field["type"], value)  # ABSENT has a class that no check lets pass
        part = self._name("p")
        default = self._bind(encode_default(self._schema, field))
        with self._block(f"if {value} is ABSENT:"):
            self._line(f"{part} = {default}")
        with self._block("else:"):
            self._line(f"{part} = {_joined(self._value(field['type'], value))}")
        return [part]

    def _key(self, keys: tuple[str, ...], fields: dict[str, str]) -> None:
        names = [tokens(pointer) for pointer in keys]
        if any(len(path) != 1 for path in names):
            raise NotCoveredError("a key below a nested record")
        if len(keys) == 1 and (encoded := self._encoded.get(fields[names[0][0]])):
            self._line(f"if not {encoded}: raise Miss")
            self._line(f"key = {encoded}")
            return
        for place, (name,) in enumerate(names):
            value = fields[name]
            self._line(f"{'el' * bool(place)}if {value}.__class__ is str and {value}: key = {value}.encode()")
        self._line("else: raise Miss")

    # --- values ----------------------------------------------------------------------------------------------------

    def _value(self, schema: Schema, value: str) -> list[str]:
        """Write the check of one value; give the expressions whose bytes, joined, are its encoding."""
        if isinstance(schema, list):
            return self._union(schema, value)
        if isinstance(schema, str) and schema in self._definitions:
            schema = self._definitions[schema]
        if isinstance(schema, str):
            return self._primitive(schema, value)
        if "logicalType" in schema and (parts := self._logical(schema, value)) is not None:
            return parts
        write = {"record": self._record, "enum": self._enum, "fixed": self._fixed, "array": self._array,
                 "map": self._map}.get(schema["type"])  # fmt: skip
        return write(schema, value) if write else self._value(schema["type"], value)

    def _primitive(self, kind: str, value: str) -> list[str]:
        match kind:
            case "null":
                self._line(f"if {value} is not None: raise Miss")
                return []
            case "boolean":
                self._check_class(value, "bool")
                return [f"(b'\\1' if {value} else b'\\0')"]
            case "int" | "long":
                return self._integer(value, *_RANGE[kind])
            case "float" | "double":
                self._line(f"if {value}.__class__ is int:")
                self._line(f"    if not {-_EXACT[kind]} <= {value} <= {_EXACT[kind]}: raise Miss")
                self._line(f"elif {value}.__class__ is not float: raise Miss")
                return [f"{'double' if kind == 'double' else 'float_'}({value})"]
            case "string":
                return self._text(value, "utf-8")
            case "bytes":
                return self._text(value, "latin-1")
        raise NotCoveredError(kind)

    def _check_class(self, value: str, name: str) -> None:
        self._line(f"if {value}.__class__ is not {name}: raise Miss")

    def _integer(self, value: str, low: int, high: int) -> list[str]:
        self._line(f"if {value}.__class__ is not int or not {low} <= {value} <= {high}: raise Miss")
        return [f"(LENGTH[{value}] if 0 <= {value} < {TABLE_SIZE} else long({value}))"]

    def _text(self, value: str, encoding: str) -> list[str]:
        if encoding == "utf-8" and value in self._prepared:
            place = self._prepared[value]
            self._encoded[value] = f"values[{place + 2}]"
            return [f"values[{place + 1}]"]
        data = self._name("s")
        self._check_class(value, "str")
        self._line(f"{data} = {value}.encode({'' if encoding == 'utf-8' else repr(encoding)})")
        if encoding == "utf-8":
            self._encoded[value] = data
        return [f"LENGTH[len({data})]", data]

    def _fixed(self, schema: dict[str, Any], value: str) -> list[str]:
        data = self._name("s")
        self._check_class(value, "str")
        self._line(f"{data} = {value}.encode('latin-1')")
        self._line(f"if len({data}) != {schema['size']}: raise Miss")
        return [data]

    def _enum(self, schema: dict[str, Any], value: str) -> list[str]:
        self._check_class(value, "str")
        return [f"{self._bind({symbol: long(index) for index, symbol in enumerate(schema['symbols'])})}[{value}]"]

    def _record(self, schema: dict[str, Any], value: str) -> list[str]:
        name = schema["name"]
        if name not in self._records:
            self._records[name] = f"record{len(self._records)}"
            self._pending.append((self._records[name], schema))
        return [f"{self._records[name]}({value})"]

    def _array(self, schema: dict[str, Any], value: str) -> list[str]:
        item = self._name("i")
        self._check_class(value, "list")
        return self._blocks(schema["items"], value, f"for {item} in {value}:", item, key=None)

    def _map(self, schema: dict[str, Any], value: str) -> list[str]:
        key, item = self._name("k"), self._name("i")
        self._check_class(value, "dict")
        return self._blocks(schema["values"], value, f"for {key}, {item} in {value}.items():", item, key)

    def _blocks(self, schema: Schema, value: str, head: str, item: str, key: str | None) -> list[str]:
        blocks = self._name("b")
        self._line(f"{blocks} = [LENGTH[len({value})]] if {value} else []")
        with self._block(head):
            parts = self._text(key, "utf-8") if key else []
            parts += self._value(schema, item)
            self._line(f"{blocks} += ({', '.join(parts)},)" if parts else "pass")
        return [f"join({blocks})", "b'\\0'"]

    def _logical(self, schema: dict[str, Any], value: str) -> list[str] | None:
        kind = (schema["type"], schema["logicalType"])
        if kind in _READERS:
            low, high = (0, _DAY[kind[1]] - 1) if kind[1] in _DAY else _RANGE[kind[0]]
            number = self._name("t")
            self._line(f"{number} = {self._bind(_READERS[kind])}({value}) if {value}.__class__ is str else {value}")
            return self._integer(number, low, high)
        if schema["logicalType"] in {"decimal", "uuid", "timestamp-nanos", "local-timestamp-nanos"}:
            raise NotCoveredError(f"logical type {schema['logicalType']}")
        return None

    # --- unions ----------------------------------------------------------------------------------------------------

    def _union(self, branches: list[Schema], value: str) -> list[str]:
        part = self._name("u")
        indexed = [(long(index), branch) for index, branch in enumerate(branches)]
        others = [(index, branch) for index, branch in indexed if branch != "null"]
        opened = "if"
        for index, branch in indexed:
            if branch == "null":
                self._line(f"if {value} is None: {part} = {index!r}")
                opened = "elif"
        if len(others) == 1:
            index, branch = others[0]
            with self._block("else:" if opened == "elif" else "if True:"):
                self._line(f"{part} = {_joined([repr(index), *self._value(branch, value)])}")
            return [part]
        for name, choices in self._by_class(others).items():
            with self._block(f"{opened} {value}.__class__ is {name}:"):
                self._choose(part, choices, value)
            opened = "elif"
        self._line("else: raise Miss")
        return [part]

    def _by_class(self, branches: list[tuple[bytes, Schema]]) -> dict[str, list[tuple[bytes, Schema]]]:
        """Sort branches by the Python classes of the values they take; a class with two is only covered for numbers."""
        classes: dict[str, list[tuple[bytes, Schema]]] = {}
        for index, branch in branches:
            for name in self._classes(branch):
                classes.setdefault(name, []).append((index, branch))
        for name, choices in classes.items():
            if name != "int" and len(choices) > 1 and not (name == "float"):
                raise NotCoveredError(f"a union with two branches for {name}")
        return classes

    def _classes(self, branch: Schema) -> tuple[str, ...]:
        if isinstance(branch, str) and branch in self._definitions:
            branch = self._definitions[branch]
        if isinstance(branch, dict):
            if "logicalType" in branch:
                raise NotCoveredError("a union with a logical type among several branches")
            branch = branch["type"]
        return {"boolean": ("bool",), "int": ("int",), "long": ("int",), "float": ("int", "float"),
                "double": ("int", "float"), "array": ("list",), "map": ("dict",), "record": ("dict",)}.get(
                    branch, ("str",))  # fmt: skip

    def _choose(self, part: str, choices: list[tuple[bytes, Schema]], value: str) -> None:
        """Write the first choice that takes the value; only whole numbers have more than one."""
        index, branch = choices[0]
        if isinstance(branch, dict) and "name" not in branch and isinstance(branch["type"], str):
            branch = branch["type"] if branch["type"] in _RANGE else branch
        if len(choices) > 1 and branch in _RANGE:
            low, high = _RANGE[branch]
            with self._block(f"if {low} <= {value} <= {high}:"):
                self._line(f"{part} = {_joined([repr(index), *self._value(branch, value)])}")
            with self._block("else:"):
                self._choose(part, choices[1:], value)
        else:
            self._line(f"{part} = {_joined([repr(index), *self._value(branch, value)])}")


def _joined(parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return f"join(({', '.join(parts)}))" if parts else "b''"


def _member_of(pointer: str) -> str:
    path = tokens(pointer)
    if len(path) != 1:
        raise NotCoveredError("a parameter's location below the top level")
    return path[0]
