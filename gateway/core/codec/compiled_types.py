r"""The code of the fast path for each type of Avro: lines that check a value, and the parts of its bytes.

A line checks only what would pass otherwise. Nothing but text has `encode`, nothing but an object has `items` or a
`pop` of two arguments: on any other value these raise, and to raise is to leave the reading to the precise path. The
tables of whole numbers check the range but not the class, because True and 1.0 are found under 1.

What comes out for a value of the type ["null", "double"], and for one that is a timestamp-millis:

    if v1 is None: u2 = b'\x00'
    else:
        if v1.__class__ is not float and not (v1.__class__ is int and -9007199254740992 <= v1 <= 9007199254740992): raise FallBack
        u2 = pack_1sd(b'\x02', v1)

    t4 = timestamp_millis5(v3) if v3.__class__ is str else v3
    if t4.__class__ is not int: raise FallBack

The parts of their bytes are `u2` and `LONG[t4]`.
"""  # noqa: E501 - generated lines are as long as they are

from __future__ import annotations

from decimal import Decimal
from functools import cache
from math import isinf
from typing import TYPE_CHECKING, Any

from gateway.core.codec import logical
from gateway.core.codec.compiled_records import RecordCode
from gateway.core.codec.json_text import MAX_DIGITS
from gateway.core.codec.precise_encoder import (
    ABSENT,
    RANGES,
    TEXT_FORMS,
    Encoder,
    Schema,
    Unknown,
    kind_of,
    logical_encoder,
    long,
)
from gateway.core.codec.scale import EXACT
from gateway.core.codec.source_text import Entry, Known, Number, Part
from gateway.core.codec.unsupported import FallBack, UnsupportedSchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.codec.schema_facts import SchemaFacts
    from gateway.core.codec.source_text import SourceWriter

REMEMBERED = 4_096  # whole numbers of each kind whose bytes are kept at hand
LONGEST = 8_192  # lengths whose bytes are looked up; longer texts and lists take the precise path
_EXACT = {"float": 2**24, "double": 2**53}  # integers up to here are exact; larger ones are for the precise path
_NUMBERS = {"int", "float", "Decimal"}
Branch = tuple[bytes, Schema]  # of a union: its index as it is written
_IN_WORDS = {"str": "text", "bool": "booleans", "list": "arrays", "dict": "objects"}


class _Remembered(dict[int, bytes]):
    """The bytes of the whole numbers last seen. A telegram tells its time in every register; sensors count low."""

    def __init__(self, kind: str, prefix: bytes) -> None:
        super().__init__()
        self._kind, self._prefix = kind, prefix

    def __missing__(self, number: int) -> bytes:
        low, high = RANGES[self._kind]
        if not low <= number <= high:
            raise FallBack
        if len(self) >= REMEMBERED:
            self.clear()
        self[number] = encoded = self._prefix + long(number)
        return encoded

    def after(self, prefix: bytes) -> _Remembered:
        """Give the table with other bytes before its own."""
        return _table(self._kind, prefix)


@cache
def _table(kind: str, prefix: bytes = b"") -> _Remembered:
    """Give the table that all streams share."""
    return _Remembered(kind, prefix)


_LENGTHS = [long(number) for number in range(LONGEST)]


class TypeCode:
    """Writes the code of values into a program.

    Args:
        program: to write into.
        schema: of the whole record, in normal form.
        survey: of that schema.
        unknown: what records do with members that no field reads.

    Attributes:
        records: writes the records.
        encoded: of each text written so far, by the variable of its value: the expression of its UTF-8.
        prepared: of each text that is encoded already, by its variable: its Avro string.
    """

    def __init__(self, program: SourceWriter, schema: Schema, survey: SchemaFacts, unknown: Unknown) -> None:
        self._program = program
        self._known: dict[str, str] = {}  # variable -> the class of its value, inside a line that has asked for it
        self._survey = survey
        self.encoded: dict[str, str] = {}
        self.prepared: dict[str, Known] = {}
        self.records = RecordCode(self.write, self.check_class, program, schema, survey, unknown)
        program.bound |= {"ABSENT": ABSENT, "Decimal": Decimal, "EMPTY": {}, "LENGTH": _LENGTHS, "FallBack": FallBack}
        program.bound |= {"finite": _finite, "multiply": EXACT.multiply}
        program.bound |= {_constant(kind): _table(kind) for kind in RANGES}

    # --- any type --------------------------------------------------------------------------------------------------

    def write(self, schema: Schema, value: str) -> list[Part]:
        """Write the checks of one value.

        Args:
            schema: of the value.
            value: its variable.

        Returns:
            The parts of its bytes.

        Raises:
            UnsupportedSchemaError: for a shape that has no code.
        """
        if isinstance(schema, list):
            return self._union(schema, value)
        if isinstance(schema, dict):
            return self._defined(schema, value)
        if schema not in self._survey.definitions:
            return self._primitive(schema, value)
        if self._survey.is_record(schema):
            return [self.records.call(schema, value)]
        return self._defined(self._survey.definitions[schema], value)

    def _defined(self, schema: dict[str, Any], value: str) -> list[Part]:  # noqa: PLR0911 - one return a kind of schema
        if encode := logical_encoder(schema):
            return self._logical(schema, value, encode)
        match schema["type"]:
            case "record" | "error":
                return self.records.write(schema, value)
            case "enum":
                written = {symbol: long(index) for index, symbol in enumerate(schema["symbols"])}
                return [f"{self._program.bind('enum', written)}[{value}]"]
            case "fixed":
                return self._fixed(schema["size"], value)
            case "array":
                return self._array(schema["items"], value)
            case "map":
                return self._map(schema["values"], value)
            case other:
                return self.write(other, value)

    def _primitive(self, kind: str, value: str) -> list[Part]:
        match kind:
            case "null":
                self._program.line(f"if {value} is not None: raise FallBack")
                return []
            case "boolean":
                self.check_class(value, "bool")
                return [Number("B", value)]
            case "int" | "long":
                return self._integer(kind, value)
            case "float" | "double":
                return self._floating(kind, value)
            case "string":
                return self._text(value)
            case "bytes":
                data = self._program.let("s", f"{value}.encode('latin-1')")
                return [f"LENGTH[len({data})]", data]
        raise UnsupportedSchemaError(f"type {kind}")

    def check_class(self, value: str, name: str) -> None:
        """Write the check of a value's class, unless a line above has asked for it."""
        if self._known.get(value) != name:
            self._program.line(f"if {value}.__class__ is not {name}: raise FallBack")

    # --- scalars ---------------------------------------------------------------------------------------------------

    def _integer(self, kind: str, value: str) -> list[Part]:
        self.check_class(value, "int")
        return [Entry(_constant(kind), value)]

    def _floating(self, kind: str, value: str) -> list[Part]:
        if self._survey.has_decimals and self._known.get(value) != "int":
            value = self._program.let("f", f"finite({value}) if {value}.__class__ is Decimal else {value}")
        exact = f"{-_EXACT[kind]} <= {value} <= {_EXACT[kind]}"
        match self._known.get(value):
            case "float":
                pass
            case "int":
                self._program.line(f"if not {exact}: raise FallBack")
            case _:
                is_exact_integer = f"{value}.__class__ is int and {exact}"
                self._program.line(f"if {value}.__class__ is not float and not ({is_exact_integer}): raise FallBack")
        return [Number("f" if kind == "float" else "d", value)]

    def _text(self, value: str) -> list[Part]:
        if value in self.prepared:
            return [self.prepared[value]]
        data = self.encoded[value] = self._program.let("s", f"{value}.encode()")
        return [f"LENGTH[len({data})]", data]

    def _fixed(self, size: int, value: str) -> list[Part]:
        data = self._program.let("s", f"{value}.encode('latin-1')")
        self._program.line(f"if len({data}) != {size}: raise FallBack")
        return [data]

    def _logical(self, schema: dict[str, Any], value: str, encode: Encoder) -> list[Part]:
        kind, name = schema["type"], schema["logicalType"]
        if (kind, name) in TEXT_FORMS:
            return self._time(kind, name, value)
        if (kind, name) == ("string", "uuid"):
            self._program.line(f"{self._program.bind('uuid', logical.uuid)}({value})")
            return self._text(value)
        if name == "decimal" and schema["precision"] >= MAX_DIGITS:
            raise UnsupportedSchemaError(f"a decimal of {MAX_DIGITS} digits or more")
        return [f"{self._program.bind(name, _written_by(encode))}({value})"]

    def _time(self, kind: str, name: str, value: str) -> list[Part]:
        if self._known.get(value) != "int":
            read = self._program.bind(name.replace("-", "_"), TEXT_FORMS[kind, name])
            value = self._program.let("t", f"{read}({value}) if {value}.__class__ is str else {value}")
        return self._integer(name if name in RANGES else kind, value)

    # --- containers ------------------------------------------------------------------------------------------------

    def _array(self, items: Schema, value: str) -> list[Part]:
        self.check_class(value, "list")
        item = self._program.name("i")
        return self._blocks(f"for {item} in {value}:", value, lambda: self.write(items, item))

    def _map(self, values: Schema, value: str) -> list[Part]:
        key, item = self._program.name("k"), self._program.name("i")
        head = f"for {key}, {item} in {value}.items():"
        return self._blocks(head, value, lambda: self._text(key) + self.write(values, item))

    def _blocks(self, head: str, value: str, write: Callable[[], list[Part]]) -> list[Part]:
        blocks = self._program.let("b", f"[LENGTH[len({value})]] if {value} else []")
        with self._program.block(head):
            pieces = self._program.pieces(write())
            self._program.line(f"{blocks} += {', '.join(pieces)}," if pieces else "pass")
        return [f"join({blocks})", b"\0"]

    # --- unions ----------------------------------------------------------------------------------------------------

    def _union(self, branches: list[Schema], value: str) -> list[Part]:
        indexed: list[Branch] = [(long(index), branch) for index, branch in enumerate(branches)]
        null = next((index for index, branch in indexed if kind_of(branch) == "null"), None)
        others = [(index, branch) for index, branch in indexed if kind_of(branch) != "null"]
        if len(branches) == len(others) == 1:
            return [long(0), *self.write(branches[0], value)]
        part, word = self._program.name("u"), "if"
        if null is not None:
            self._program.line(f"if {value} is None: {part} = {null!r}")
            word = "elif"
        if len(others) == 1:
            with self._program.block("else:"):
                self._branch(part, others[0], value)
            return [part]
        for name, choices in self._by_class(others).items():
            with self._program.block(f"{word} {value}.__class__ is {name}:"):
                self._known[value] = name
                self._choose(part, choices, value)
                del self._known[value]
            word = "elif"
        self._program.line("else: raise FallBack")
        return [part]

    def _branch(self, part: str, branch: Branch, value: str) -> None:
        index, schema = branch
        self._program.line(f"{part} = {self._program.joined([index, *self.write(schema, value)])}")

    def _choose(self, part: str, choices: list[Branch], value: str) -> None:
        """Write the first branch for values of a class. Only where it is int the range may lead to the next one."""
        first, *others = choices
        low, high = RANGES["int"]
        if others and self._known[value] == first[1] == "int":
            with self._program.block(f"if {low} <= {value} <= {high}:"):
                self._branch(part, first, value)
            with self._program.block("else:"):
                self._choose(part, others, value)
        else:
            self._branch(part, first, value)

    def _by_class(self, branches: list[Branch]) -> dict[str, list[Branch]]:
        """Sort branches by the classes of the values they take. Only numbers may fall to several."""
        classes: dict[str, list[Branch]] = {}
        for branch in branches:
            for name in self._survey.classes(branch[1]):
                classes.setdefault(name, []).append(branch)
        for name, choices in classes.items():
            if len(choices) > 1 and name not in _NUMBERS:
                raise UnsupportedSchemaError(f"a union with two branches for {_IN_WORDS[name]}")
        return classes


def _constant(kind: str) -> str:
    return kind.upper().replace("-", "_")


def _finite(fraction: Decimal) -> float:
    """Round to the nearest float, as msgspec does by itself where the schema has no decimals."""
    number = float(fraction)
    if isinf(number):
        raise FallBack
    return number


def _written_by(encode: Encoder) -> Callable[[Any], bytes]:
    """Let the precise path's own encoder write a value."""

    def write(value: Any) -> bytes:
        out = bytearray()
        encode(value, out)
        return bytes(out)

    return write
