"""Writes the program of a schema for the encoder in C (`native/encoder.c`, which has the layouts).

A schema with a shape that C has no code for keeps the encoder in Python: unions that only text could decide, bytes,
decimals, UUIDs, times of a zone, values as devices write them (`value_reader.py`), patterns and other keywords. C also
leaves to Python every payload that it does not take at once. So results, dead letters and pointers are the same.

A block is a list of numbers. A reference to another block is a `Block` in it, until all of them have their places.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.compiled_records import tree_of
from gateway.core.codec.compiled_schema import EXACT_IN_FLOAT
from gateway.core.codec.key import text_of
from gateway.core.codec.keywords import ANY, ARRAY, NUMBERS, OBJECT, TEXT, is_number, one_or_more
from gateway.core.codec.payload_schema import NO_MEMBER
from gateway.core.codec.precise_encoder import encode_default, unread_by
from gateway.core.codec.primitives import INT, LONG
from gateway.core.codec.unsupported import UnsupportedSchemaError
from gateway.core.codec.validation_error import tokens
from gateway.core.codec.value_reader import reader_of
from gateway.core.native import MODULE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.codec.compiled_records import Tree
    from gateway.core.codec.conversion import Conversion, Encode, Prepared
    from gateway.core.codec.event_time import DatedBy
    from gateway.core.codec.keywords import Test
    from gateway.core.codec.payload_schema import Rules
    from gateway.core.codec.unread import Unread
    from gateway.core.counter_rules import CounterRule

NOTHING = -1
_NO_MEMBER = -2
_NULL, _BOOLEAN, _INTEGER, _FRACTION, _TEXT, _ARRAY, _OBJECT = (1 << place for place in range(7))
_KINDS = {
    "null": _NULL, "boolean": _BOOLEAN, "integer": _INTEGER, "number": _INTEGER | _FRACTION, "text": _TEXT,
    "string": _TEXT, "array": _ARRAY, "object": _OBJECT,
}  # fmt: skip
_TYPES = {
    "null": 0, "boolean": 1, "int": 2, "long": 2, "float": 3, "double": 4, "string": 5, "enum": 6, "array": 7, "map": 8,
    "record": 9, "union": 10,
}  # fmt: skip
_ALLOWED, _MINIMUM, _MAXIMUM, _ABOVE, _BELOW, _MIN_LENGTH, _MAX_LENGTH, _MIN_COUNT, _MAX_COUNT, _CHOICE, _FORBIDDEN = (
    range(11)
)
_LIMITS = {"minimum": _MINIMUM, "maximum": _MAXIMUM, "exclusiveMinimum": _ABOVE, "exclusiveMaximum": _BELOW}
_SIZES = {"minLength": _MIN_LENGTH, "maxLength": _MAX_LENGTH, "minItems": _MIN_COUNT, "maxItems": _MAX_COUNT,
          "minProperties": _MIN_COUNT, "maxProperties": _MAX_COUNT}  # fmt: skip
_MASKS = {NUMBERS: _INTEGER | _FRACTION, TEXT: _TEXT, ARRAY: _ARRAY, OBJECT: _OBJECT, ANY: 0x7F}
_AS_COUNT, _AS_METER, _AS_NUMBER, _AS_MOMENT = range(4)
_LARGEST = 2**31 - 1
_MOST_TIES = 64


class NativeCode(NamedTuple):
    """The encoder in C, which takes the same as the one in Python, but the topic prepared in its own way."""

    prepare: Callable[[Sequence[str]], Prepared]
    encode: Encode


class Block(list["int | Block"]):
    """A block of a program; two blocks with the same content are not equal."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # lists have none

    def __eq__(self, other: object) -> bool:
        return self is other


def compile_native(
    conversion: Conversion, rules: Rules | None, prepare: Callable[[Sequence[str]], Prepared], encode: Encode
) -> NativeCode | None:
    """Make the encoder in C of a stream whose encoder in Python is given; None where there is none."""
    if MODULE is None:
        return None
    try:
        program = _Program(conversion, rules)
    except UnsupportedSchemaError:
        return None

    def prepare_both(texts: Sequence[str]) -> Prepared:
        return (prepare(texts), *[text.encode() for text in texts])

    return NativeCode(prepare_both, MODULE.make_encoder(*program.parts(), encode))


class _Program:
    """Collects blocks and tables; a shape that C has no code for raises UnsupportedSchemaError."""

    def __init__(self, conversion: Conversion, rules: Rules | None) -> None:
        if conversion.content not in {"json", "msgpack"}:
            raise UnsupportedSchemaError(conversion.content)
        self._blocks: list[Block] = []
        self._texts: dict[bytes, int] = {}
        self._doubles: list[float] = []
        self._integers: list[int] = []
        self._constants: list[Any] = []
        self._records: dict[tuple[int, int], Block] = {}  # by identity, and by that of what it does with unread members
        self._leaves: dict[Block, dict[Path, int]] = {}  # of each record: where it keeps what is at a path
        first, self._record_type, self._conversion = self._block(), conversion.record, conversion
        outermost = self._record(conversion.record, conversion.unread)
        self._outer = self._leaves[outermost]
        first += [
            self._text(conversion.prefix),
            outermost,
            self._rules(rules) if rules else NOTHING,
            self._text(PAYLOAD.encode()) if conversion.whole_field else NOTHING,
            self._key(conversion.keys, conversion.separator),
            self._moment(conversion.event_time),
            self._number(conversion.sequence),
            self._counts(conversion.counters) if conversion.counters else NOTHING,
            self._ties(conversion.parameters),
            conversion.content == "msgpack",
        ]

    def parts(self) -> tuple[bytes, bytes, bytes, tuple[bytes, ...], tuple[Any, ...]]:
        """Give what the encoder is made of: code, doubles, integers, texts and constants."""
        places = dict(zip(self._blocks, accumulate(map(len, self._blocks), initial=0), strict=False))
        code = [places[each] if isinstance(each, Block) else each for each in chain.from_iterable(self._blocks)]
        tables = array("i", code), array("d", self._doubles), array("q", self._integers)
        return *(each.tobytes() for each in tables), tuple(self._texts), tuple(self._constants)  # type: ignore[return-value]  # three

    def _block(self, *content: int | Block) -> Block:
        block = Block(content)
        self._blocks.append(block)
        return block

    def _text(self, data: bytes) -> int:
        return self._texts.setdefault(data, len(self._texts))

    # --- types -------------------------------------------------------------------------------------------------------

    def _type(self, avro_type: AvroType, unread: Unread) -> Block:
        kind = avro_type.kind
        if avro_type.time:
            return self._integer(avro_type.time.limits)
        if avro_type.logical:
            raise UnsupportedSchemaError(avro_type.logical_name)
        match kind:
            case "int" | "long":
                return self._integer(INT if kind == "int" else LONG)
            case "record":
                return self._record(avro_type, unread)
            case "bytes" | "fixed":
                raise UnsupportedSchemaError(kind)
            case "enum":
                content: list[int | Block] = _counted(self._names(avro_type.symbols))
            case "array" | "map":
                content = [self._type(avro_type.inner[0], unread.item if kind == "array" else unread.members)]
            case "union":
                content = self._branches(avro_type.inner, unread)
            case _:
                content = []
        return self._block(_TYPES[kind], *content)

    def _branches(self, branches: Sequence[AvroType], unread: Unread) -> list[int | Block]:
        content: list[int | Block] = [len(branches)]
        for branch in branches:
            content += [_mask(branch.json_kinds or {"null"}), self._type(branch, unread)]
        return content

    def _integer(self, limits: tuple[int, int]) -> Block:
        self._integers += limits
        return self._block(_TYPES["int"], len(self._integers) - len(limits))

    def _names(self, names: Sequence[str]) -> list[int]:
        return [self._text(name.encode()) for name in names]

    def _record(self, record: AvroType, unread: Unread) -> Block:
        key = id(record), id(unread)
        if key not in self._records:
            self._records[key] = block = self._block()
            self._fill(block, record, unread)
        return self._records[key]

    def _fill(self, block: Block, record: AvroType, unread: Unread) -> None:
        tree = tree_of(path for field in record.fields for path in field.paths)
        leaves = self._leaves[block] = {}
        unread = unread.strict if record.collects else unread
        top = self._tree(tree, (), unread, leaves, is_open=record.collects)
        fields = [each for field in record.fields for each in self._field(field, record, unread, leaves)]
        block += [_TYPES["record"], len(leaves), top, len(record.fields), *fields]

    def _tree(
        self, tree: Tree, above: Path, unread: Unread, leaves: dict[Path, int], *, is_open: bool = False
    ) -> Block:
        block = self._block(unread.at(above).refuses and not is_open, len(tree))
        for name, below in tree.items():
            path = *above, name
            leaf = leaves.setdefault(path, len(leaves)) if below is None else NOTHING
            block += [self._text(name.encode()), leaf, self._tree(below, path, unread, leaves) if below else NOTHING]
        return block

    def _field(self, field: Field, record: AvroType, unread: Unread, leaves: Mapping[Path, int]) -> list[int | Block]:
        if reader_of(field):
            raise UnsupportedSchemaError("a field whose x-source converts values")
        known = self._type(field.type, unread_by(field, record, unread))
        if field.collects:
            return [known, NOTHING, 0]
        default = self._text(encode_default(field)) if field.has_default else NOTHING
        return [known, default, *_counted(leaves[path] for path in field.paths)]

    # --- rules of the payload's schema -------------------------------------------------------------------------------

    def _rules(self, rules: Rules) -> Block:
        if rules.decode:
            raise UnsupportedSchemaError("contentEncoding")
        block = self._block()
        tests = [each for test in rules.tests for each in self._test(test)]
        block += [len(rules.tests), *tests, self._members(rules), self._rules(rules.items) if rules.items else NOTHING]
        block += _counted(self._rules(each) for each in rules.also)
        return block

    def _members(self, rules: Rules) -> Block | int:
        if not (rules.required or rules.named or rules.others):
            return NOTHING
        below = {name: self._rules(each) for name, each in rules.members.items()}
        named = [each for name in sorted(rules.named) for each in (*self._names([name]), below.get(name, NOTHING))]
        others = self._rules(rules.others) if rules.others and rules.others is not NO_MEMBER else NOTHING
        last = _NO_MEMBER if rules.others is NO_MEMBER else others
        return self._block(*_counted(self._names(rules.required)), len(rules.named), *named, last)

    def _test(self, test: Test) -> tuple[int, int, int | Block]:
        keyword, argument, kinds = test.keyword, test.argument, _MASKS[test.kinds]
        if keyword in _LIMITS and abs(argument) <= EXACT_IN_FLOAT:
            self._doubles.append(argument)
            return kinds, _LIMITS[keyword], len(self._doubles) - 1
        if keyword in _SIZES:
            return kinds, _SIZES[keyword], min(argument, _LARGEST)
        if keyword == "type":
            return kinds, _ALLOWED, _mask(one_or_more(argument))
        choices = argument if keyword == "enum" else [argument]
        if keyword in {"enum", "const"} and all(isinstance(one, str) for one in choices):
            return kinds, _CHOICE, self._block(*_counted(self._names(choices)))
        if keyword == "false":
            return kinds, _FORBIDDEN, 0
        raise UnsupportedSchemaError(keyword)

    # --- what else the encoder gives ---------------------------------------------------------------------------------

    def _outer_field(self, names: Path) -> Field:
        field = self._record_type.field_named(names[0])
        if len(names) > 1 or field is None or field.collects:
            raise UnsupportedSchemaError("a key, time or counter below the outermost record")
        return field

    def _outer_leaf(self, path: Path) -> int:
        if path not in self._outer:
            raise UnsupportedSchemaError("a member that no field reads as a whole")
        return self._outer[path]

    def _outer_leaves(self, field: Field) -> list[int | Block]:
        return _counted(self._outer[path] for path in field.paths)

    def _key(self, keys: Sequence[str | int], separator: str | None) -> Block:
        between = NOTHING if separator is None else self._text(separator.encode())
        return self._block(between, *_counted(map(self._key_part, keys)))

    def _key_part(self, part: str | int) -> Block:
        if isinstance(part, int):
            return self._block(1 + part, NOTHING, 0)
        field = self._outer_field(tokens(part))
        if (place := self._conversion.tied(field.paths[0])) is not None:
            return self._block(1 + place, NOTHING, 0)
        return self._block(NOTHING, self._text(text_of(field.default).encode()), *self._outer_leaves(field))

    def _moment(self, dated_by: DatedBy | None) -> Block | int:
        if dated_by is None:
            return NOTHING
        if not isinstance(dated_by, str):
            raise UnsupportedSchemaError("x-timestamp with several times")
        field = self._outer_field(tokens(dated_by))
        form = field.type.non_null[0].time
        assert form is not None, "the contract takes no field but a timestamp"
        unit = form.per_millisecond
        return self._result(_AS_MOMENT, None if field.default is None else field.default // unit, field, unit)

    def _number(self, sequence: str | None) -> Block | int:
        if sequence is None:
            return NOTHING
        return self._block(_AS_NUMBER, 1, self._constant(None), 1, self._outer_leaf(tokens(sequence)))

    def _counts(self, counters: Sequence[CounterRule]) -> Block:
        results = []
        for rule in counters:
            field = self._outer_field(rule.names)
            results.append(self._result(_AS_COUNT, field.default if is_number(field.default) else None, field))
            meter = self._outer_field(rule.meter) if rule.meter else None
            results.append(
                self._result(_AS_METER, meter.default, meter)
                if meter
                else self._block(_AS_METER, 1, self._constant(None), 0)
            )
        return self._block(*_counted(results))

    def _result(self, what: int, default: Any, field: Field, unit: int = 1) -> Block:
        return self._block(what, unit, self._constant(default), *self._outer_leaves(field))

    def _constant(self, value: Any) -> int:
        self._constants.append(value)
        return len(self._constants) - 1

    def _ties(self, parameters: Sequence[str | None]) -> Block:
        tied = [(self._outer_leaf(tokens(pointer)), 1 + place) for place, pointer in enumerate(parameters) if pointer]
        if len(tied) > _MOST_TIES:
            raise UnsupportedSchemaError(f"more than {_MOST_TIES} parameters with a location")
        return self._block(len(tied), *chain.from_iterable(tied))


def _counted(items: Iterable[int | Block]) -> list[int | Block]:
    """Put the number of items before them."""
    listed = list(items)
    return [len(listed), *listed]


def _mask(kinds: Iterable[str]) -> int:
    mask = 0
    for kind in kinds:
        mask |= _KINDS[kind]
    return mask
