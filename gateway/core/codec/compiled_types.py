r"""The fast path's code for each type of Avro: lines that check a value, and the parts of its bytes.

A line checks only what would pass otherwise. Only text has `encode`, only an object has `items` or a `pop` of two
arguments: on any other value these raise, which leaves the reading to the precise path. The tables of whole numbers
check the range but not the class, because True and 1.0 are found under 1.

This is the code for a value of the type ["null", "double"], and for a timestamp-millis:

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

from gateway.core.codec.compiled_records import RecordCode
from gateway.core.codec.event_time import uptime
from gateway.core.codec.json_text import ABSENT, MAX_DIGITS
from gateway.core.codec.primitives import INT, LONG, Encoder, long
from gateway.core.codec.scale import EXACT
from gateway.core.codec.source_text import Entry, Known, Number, Part
from gateway.core.codec.unsupported import FallBack, UnsupportedSchemaError
from gateway.core.codec.validation_error import tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.avro_schema import AvroType, Path
    from gateway.core.codec.event_time import DatedBy
    from gateway.core.codec.logical import LogicalType, TimeForm
    from gateway.core.codec.schema_facts import SchemaFacts
    from gateway.core.codec.source_text import SourceWriter
    from gateway.core.codec.unread import Unread
    from gateway.core.counter_rules import CounterRule

Limits = tuple[int, int]
Branch = tuple[bytes, "AvroType"]  # of a union: its index as it is written

REMEMBERED = 4_096  # whole numbers of each range whose bytes are kept
LONGEST = 8_192  # lengths whose bytes are remembered; longer texts and lists take the precise path
_EXACT = {"float": 2**24, "double": 2**53}  # integers up to here are exact; the precise path decides on larger ones
_NUMBERS = {"int", "float", "Decimal"}
_IN_WORDS = {"str": "text", "bool": "booleans", "list": "arrays", "dict": "objects"}


class _Remembered(dict[int, bytes]):
    """The bytes of recent whole numbers: a telegram repeats its time in every register, and sensors count low."""

    def __init__(self, limits: Limits, prefix: bytes) -> None:
        super().__init__()
        self._limits, self._prefix = limits, prefix

    def __missing__(self, number: int) -> bytes:
        low, high = self._limits
        if not low <= number <= high:
            raise FallBack
        if len(self) >= REMEMBERED:
            self.clear()
        self[number] = encoded = self._prefix + long(number)
        return encoded

    def after(self, prefix: bytes) -> _Remembered:
        """Give the table with other bytes before its own."""
        return _table(self._limits, prefix)


@cache
def _table(limits: Limits, prefix: bytes = b"") -> _Remembered:
    """Give the table that all streams share."""
    return _Remembered(limits, prefix)


_LENGTHS = _table((0, LONGEST - 1))


class TypeCode:
    """Writes the code of values into a program; a shape that no code is generated for raises UnsupportedSchemaError."""

    def __init__(self, program: SourceWriter, facts: SchemaFacts, unread: dict[str, Unread]) -> None:
        self._program = program
        self._facts = facts
        self._known: dict[str, str] = {}  # variable -> the class of its value, where a line above has checked it
        self._integers: dict[str, str] = {}  # variable of a date or time -> that of its integer
        self.encoded: dict[str, str] = {}  # variable of a text written so far -> the expression of its UTF-8
        self.prepared: dict[str, Known] = {}  # variable of a text that is encoded already -> its Avro string
        self.records = RecordCode(self.write, self.check_class, program, facts, unread)
        program.bound |= {"ABSENT": ABSENT, "Decimal": Decimal, "EMPTY": {}, "LENGTH": _LENGTHS, "FallBack": FallBack}
        program.bound |= {"finite": _finite, "multiply": EXACT.multiply}

    # --- any type --------------------------------------------------------------------------------------------------

    def write(self, avro_type: AvroType, value: str) -> list[Part]:  # noqa: PLR0911 - one return a kind of type
        """Write the checks of a value, which the variable holds; give the parts of its bytes."""
        if (known := avro_type.logical) and (encode := avro_type.logical_encoder):
            return self._logical(avro_type, known, encode, value)
        match avro_type.kind:
            case "union":
                return self._union(avro_type.inner, value)
            case "record":
                return self.records.write(avro_type, value)
            case "enum":  # a look-up in a table: KeyError for what is not a symbol
                written = {symbol: long(index) for index, symbol in enumerate(avro_type.symbols)}
                return [f"{self._program.bind('enum', written)}[{value}]"]
            case "fixed":
                return self._fixed(avro_type.size, value)
            case "array":
                return self._array(avro_type.inner[0], value)
            case "map":
                return self._map(avro_type.inner[0], value)
        return self._primitive(avro_type.kind, value)

    def moment(self, value: str, dated_by: DatedBy) -> str:
        """Give the expression of what dates a record; pointers lead there from a record that is written."""
        if isinstance(dated_by, str):
            return self._event_time(value, tokens(dated_by))
        each = [(self._uptime if one.is_uptime else self._event_time)(value, tokens(one.pointer)) for one in dated_by]
        return f"({', '.join(f'({one})' for one in each)},)"

    def _uptime(self, value: str, names: Path) -> str:
        self._program.bound["uptime"] = uptime
        field, variable = self.records.find(value, names)
        moment = f"uptime({self.records.read_as(variable)})"
        if field.default is None:
            return moment
        return f"{uptime(field.source.default)} if {variable} is ABSENT else {moment}"

    def _event_time(self, value: str, names: Path) -> str:
        field, variable = self.records.find(value, names)
        form = field.type.non_null[0].time
        assert form is not None, "the contract takes no field but a timestamp"
        # the integer that was checked above, after a text was read and a factor applied
        read = self.records.read_as(variable)
        moment = f"{self._integers[read]} // {form.per_millisecond}"
        # null and an absent member come before it
        if field.type.is_nullable:
            moment = f"None if {read} is None else {moment}"
        if field.default is None:
            return moment
        default = field.source.default
        return f"{None if default is None else default // form.per_millisecond} if {variable} is ABSENT else {moment}"

    def count(self, value: str, rule: CounterRule) -> tuple[str, str]:
        """Give the expressions of a counter's number and of its meter; the record of a variable has been written."""
        return self._plain(value, rule.names), self._plain(value, rule.meter) if rule.meter else "None"

    def _plain(self, value: str, names: Path) -> str:
        """Give the expression of a number as int or float, of a text, or of None."""
        field, variable = self.records.find(value, names)
        read = found = self.records.read_as(variable)
        is_number = "number" in field.type.json_kinds
        if self._facts.has_decimals and is_number:
            found = f"{read} if {read} is None or {read}.__class__ is int else float({read})"
        if field.default is not None:
            default = field.source.default
            default = None if is_number and isinstance(default, str) else default  # of a decimal, written as bytes
            found = f"{default!r} if {variable} is ABSENT else {found}"
        return found

    def _primitive(self, kind: str, value: str) -> list[Part]:
        match kind:
            case "null":
                self._program.line(f"if {value} is not None: raise FallBack")
                return []
            case "boolean":
                self.check_class(value, "bool")
                return [Number("B", value)]
            case "int" | "long":
                return self._integer(kind, LONG if kind == "long" else INT, value)
            case "float" | "double":
                return self._floating(kind, value)
            case "string":
                return self._text(value)
            case "bytes":  # Avro's JSON form: one byte a code point, so others raise
                data = self._program.let("s", f"{value}.encode('latin-1')")
                return [f"LENGTH[len({data})]", data]
        raise UnsupportedSchemaError(f"type {kind}")

    def check_class(self, value: str, name: str) -> None:
        """Write the check of a value's class, unless a line above has asked for it."""
        if self._known.get(value) != name:
            self._program.line(f"if {value}.__class__ is not {name}: raise FallBack")

    # --- scalars ---------------------------------------------------------------------------------------------------

    def _integer(self, name: str, limits: Limits, value: str) -> list[Part]:
        self.check_class(value, "int")
        table = name.upper().replace("-", "_")
        self._program.bound[table] = _table(limits)
        return [Entry(table, value)]

    def _floating(self, kind: str, value: str) -> list[Part]:
        # where a decimal is in the schema, every fraction was parsed as one
        if self._facts.has_decimals and self._known.get(value) != "int":
            value = self._program.let("f", f"finite({value}) if {value}.__class__ is Decimal else {value}")
        # an integer counts as a number too, as long as the float holds it exactly
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
        if value in self.prepared:  # from the topic: encoded once for all its readings
            return [self.prepared[value]]
        data = self.encoded[value] = self._program.let("s", f"{value}.encode()")
        return [f"LENGTH[len({data})]", data]

    def _fixed(self, size: int, value: str) -> list[Part]:
        data = self._program.let("s", f"{value}.encode('latin-1')")
        self._program.line(f"if len({data}) != {size}: raise FallBack")
        return [data]

    def _logical(self, avro_type: AvroType, known: LogicalType, encode: Encoder, value: str) -> list[Part]:
        name = avro_type.logical_name.replace("-", "_")
        if known.time:
            return self._time(name, known.time, value)
        if known.check_text and avro_type.kind == "string":
            self._program.line(f"{self._program.bind(name, known.check_text)}({value})")
            return self._text(value)
        if (avro_type.precision or 0) >= MAX_DIGITS:
            raise UnsupportedSchemaError(f"a decimal of {MAX_DIGITS} digits or more")
        return [f"{self._program.bind(name, _written_by(encode))}({value})"]

    def _time(self, name: str, form: TimeForm, value: str) -> list[Part]:
        number = value
        if self._known.get(value) != "int":  # it may be a text, such as one of ISO 8601
            read = self._program.bind(name, form.read)
            number = self._program.let("t", f"{read}({value}) if {value}.__class__ is str else {value}")
        self._integers[value] = number
        return self._integer({INT: "int", LONG: "long"}.get(form.limits, name), form.limits, number)

    # --- containers ------------------------------------------------------------------------------------------------

    def _array(self, items: AvroType, value: str) -> list[Part]:
        self.check_class(value, "list")
        item = self._program.name("i")
        self.records.unread[item] = self.records.unread_of(value).item
        return self._blocks(f"for {item} in {value}:", value, lambda: self.write(items, item))

    def _map(self, values: AvroType, value: str) -> list[Part]:
        key, item = self._program.name("k"), self._program.name("i")
        head = f"for {key}, {item} in {value}.items():"
        self.records.unread[item] = self.records.unread_of(value).members
        return self._blocks(head, value, lambda: self._text(key) + self.write(values, item))

    def _blocks(self, head: str, value: str, write: Callable[[], list[Part]]) -> list[Part]:
        # one block holds all items, and a zero ends the blocks; an empty list has only the zero
        blocks = self._program.let("b", f"[LENGTH[len({value})]] if {value} else []")
        with self._program.block(head):
            pieces = self._program.pieces(write())
            self._program.line(f"{blocks} += {', '.join(pieces)}," if pieces else "pass")
        return [f"join({blocks})", b"\0"]

    # --- unions ----------------------------------------------------------------------------------------------------

    def _union(self, branches: tuple[AvroType, ...], value: str) -> list[Part]:
        indexed: list[Branch] = [(long(index), branch) for index, branch in enumerate(branches)]
        null = next((index for index, branch in indexed if branch.kind == "null"), None)
        others = [(index, branch) for index, branch in indexed if branch.kind != "null"]
        # a union of one type is that type after its index
        if len(branches) == len(others) == 1:
            return [long(0), *self.write(branches[0], value)]
        # null first: most optional values are null or of the one other type
        part, word = self._program.name("u"), "if"
        if null is not None:
            self._program.line(f"if {value} is None: {part} = {null!r}")
            word = "elif"
        if len(others) == 1:
            with self._program.block("else:"):
                self._branch(part, others[0], value)
            return [part]
        # several types: the class of the value chooses, and what it is known to be is not checked again
        for name, choices in self._by_class(others).items():
            with self._program.block(f"{word} {value}.__class__ is {name}:"):
                self._known[value] = name
                self._choose(part, choices, value)
                del self._known[value]
            word = "elif"
        self._program.line("else: raise FallBack")
        return [part]

    def _branch(self, part: str, branch: Branch, value: str) -> None:
        index, avro_type = branch
        self._program.line(f"{part} = {self._program.joined([index, *self.write(avro_type, value)])}")

    def _choose(self, part: str, choices: list[Branch], value: str) -> None:
        """Write the first branch for values of a class. Only for an int may the range lead to the next branch."""
        first, *others = choices
        low, high = INT
        if others and self._known[value] == first[1].label == "int":
            with self._program.block(f"if {low} <= {value} <= {high}:"):
                self._branch(part, first, value)
            with self._program.block("else:"):
                self._choose(part, others, value)
        else:
            self._branch(part, first, value)

    def _by_class(self, branches: list[Branch]) -> dict[str, list[Branch]]:
        """Group branches by the classes of the values they take. Only numbers may be taken by several."""
        classes: dict[str, list[Branch]] = {}
        for branch in branches:
            for name in self._facts.classes(branch[1]):
                classes.setdefault(name, []).append(branch)
        for name, choices in classes.items():
            if len(choices) > 1 and name not in _NUMBERS:
                raise UnsupportedSchemaError(f"a union with two branches for {_IN_WORDS[name]}")
        return classes


def _finite(fraction: Decimal) -> float:
    """Round to the nearest float, as msgspec does by itself where the schema has no decimals."""
    number = float(fraction)
    if isinf(number):
        raise FallBack
    return number


def _written_by(encode: Encoder) -> Callable[[Any], bytes]:
    """Let the encoder of the precise path write a value."""

    def write(value: Any) -> bytes:
        out = bytearray()
        encode(value, out)
        return bytes(out)

    return write
