"""The fast path's code for records: where a field's value is in the JSON, and what stands for an absent one.

An object that has as many members as are read, and all of these, has no others. Otherwise its members are taken out of
it one by one, and what is left is what no field reads: it is refused, ignored or collected without comparing names. So
the precise path has to decode the payload again.

A member that is read in parts is taken out first, and its parts out of it. A default that a payload could have
contained stands in for the absent member, and is then checked as any value; another default is encoded here, once. This
is the code for three fields, read from /register/value, from /register/time or else /time, and from /state:

    v1 = v0.pop('register', EMPTY)
    v2 = v0.pop('time', ABSENT)
    v3 = v0.pop('state', 'open')
    if v0: raise FallBack
    if len(v1) == 2:
        v4 = v1['value']
        v5 = v1['time']
    else:
        v4 = v1.pop('value')
        v5 = v1.pop('time', ABSENT)
        if v1: raise FallBack
    hash((v5, v2))
    v6 = v5 if v5 is not ABSENT else v2 if v2 is not ABSENT else None

The member that is passed over may be anything but deep, and `hash` refuses whatever nests.

The code of a record is written where the record is first used; every further use calls a function, so that a record
may hold itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.compiled_values import ReaderCode
from gateway.core.codec.precise_encoder import encode_default, unread_by
from gateway.core.codec.unread import REFUSED
from gateway.core.codec.unsupported import UnsupportedSchemaError
from gateway.core.codec.validation_error import ValidationError
from gateway.core.codec.value_reader import reader_of, reader_of_level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.codec.schema_facts import SchemaFacts
    from gateway.core.codec.source_text import Part, SourceWriter
    from gateway.core.codec.unread import Unread
    from gateway.core.codec.value_reader import ValueReader

_Use = tuple[int, int]  # a record by its identity, and by that of what it does with members that no field reads
Tree = dict[str, Any]  # name of a member -> None when it is read whole, or the tree of what is read of it


class FieldCode(NamedTuple):
    """A field to be written."""

    source: Field
    absent: str = ""  # the expression that stands for an absent member; empty when there must be one
    default: bytes | None = None  # the bytes of its default, where `absent` is not a value that the type takes
    reader: ValueReader | None = None  # what reads its value; the default is not read

    @property
    def type(self) -> AvroType:
        """The field's type."""
        return self.source.type

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the value is in the record's object."""
        return self.source.paths


class RecordCode:
    """Writes the code of records into a program.

    `write_value` writes the checks of a field's value and gives the parts of its bytes; `check_class` writes the check
    of a value's class. A shape that no code is generated for raises UnsupportedSchemaError.
    """

    def __init__(
        self,
        write_value: Callable[[AvroType, str], list[Part]],
        check_class: Callable[[str, str], None],
        program: SourceWriter,
        facts: SchemaFacts,
        unread: dict[str, Unread],
    ) -> None:
        self._write_value = write_value
        self._check_class = check_class
        self._program = program
        self._facts = facts
        self.unread = unread  # variable of an object, or of what holds objects -> what it does with unread members
        self._readers = ReaderCode(program, has_decimals=facts.has_decimals)
        self._read_as: dict[str, str] = {}  # variable of a value in the payload -> of what its reader makes of it
        self._functions: dict[_Use, str] = {}  # records that are used again -> their functions
        self._unwritten: list[tuple[AvroType, Unread]] = []  # records whose function is still to be written
        self._begun: set[_Use] = set()  # records whose code is written in place
        self._written: dict[str, dict[str, tuple[FieldCode, str]]] = {}  # an object's variable -> fields and variables
        self._members: dict[str, Mapping[Path, str]] = {}  # an object's variable -> the variables of its members

    def write(
        self, record: AvroType, value: str, filled: Mapping[str, str] | None = None, counted: Path | None = None
    ) -> list[Part]:
        """Write the checks of a record whose object a variable holds; give the parts of its bytes.

        `filled` has the variable of the text for each member that the topic contains too. `counted` is the path of the
        member that `number` is asked for: no default stands in for it.
        """
        use = id(record), id(self.unread_of(value))
        if use in self._begun:
            return [self._call(record, value)]
        self._begun.add(use)
        return self._write_in_place(record, value, filled or {}, counted)

    def _write_in_place(
        self, record: AvroType, value: str, filled: Mapping[str, str], counted: Path | None = None
    ) -> list[Part]:
        # first all members are taken out, then each value is checked and encoded, in the order of the fields
        fields = [_field_code(field, counted) for field in record.fields]
        unread = self.unread_of(value).strict if record.collects else self.unread_of(value)
        values = self._read(fields, value, filled, unread)
        for field, variable in zip(fields, values, strict=True):
            self.unread[variable] = unread_by(field.source, record, unread)
        self._written[value] = {
            field.source.name: (field, variable) for field, variable in zip(fields, values, strict=True)
        }
        return [part for field, variable in zip(fields, values, strict=True) for part in self._value(field, variable)]

    def find(self, value: str, names: Path) -> tuple[FieldCode, str]:
        """Find the field at `names`, from the record of an object's variable down, and the variable of its value.

        To read the variable raises where no line has set it, because a record above is absent. Where another member
        than the one that is written could be meant, this raises UnsupportedSchemaError.
        """
        for depth, name in enumerate(names, start=1):
            if self.read_as(value) not in self._written:
                raise UnsupportedSchemaError("a key or time inside a record that is used twice")
            field, value = self._written[self.read_as(value)][name]
            if depth < len(names) and len(field.paths) > 1:
                raise UnsupportedSchemaError("a key or time inside a record with several sources")
        return field, value

    def key(self, value: str, names: Path) -> tuple[AvroType, str]:
        """Find a field of the key, its type without null, and the variable of its value; see `find`."""
        field, variable = self.find(value, names)
        if field.default is not None:
            raise UnsupportedSchemaError("a key with a default that a payload cannot contain")
        if len(field.type.non_null) != 1:
            raise UnsupportedSchemaError(f"a key that is {field.type}")
        return field.type.non_null[0], self.read_as(variable)

    def read_as(self, variable: str) -> str:
        """Give the variable of a field's value after its reader, if it has one."""
        return self._read_as.get(variable, variable)

    def number(self, value: str, path: Path) -> str:
        """Give the expression of a member that counts, or of None; `path` leads to it from the record's object."""
        variable = self._members[value].get(path)
        if variable is None:
            raise UnsupportedSchemaError("a sequence number that no field reads")
        counted = self._readers.before_factor.get(variable, variable)
        is_there = "" if counted == variable else f"{variable} is not ABSENT and "  # else nothing has set the other one
        return f"{counted} if {is_there}{counted}.__class__ is int and {counted} >= 0 else None"

    def _call(self, record: AvroType, value: str) -> str:
        """Write the call of a record's function; give the expression of its bytes."""
        unread = self.unread_of(value)
        use = id(record), id(unread)
        if use not in self._functions:
            self._functions[use] = f"record{len(self._functions)}"
            self._unwritten.append((record, unread))
        return f"{self._functions[use]}({value})"

    def unread_of(self, variable: str) -> Unread:
        """Give what the value of a variable does with members that no field reads."""
        return self.unread.get(variable, REFUSED)

    def write_functions(self) -> None:
        """Write the functions that are called."""
        while self._unwritten:
            (record, unread), value = self._unwritten.pop(), self._program.name("v")
            self.unread[value] = unread
            with self._program.block(f"def {self._functions[id(record), id(unread)]}({value}):"):
                parts = self._write_in_place(record, value, {})
                self._program.line(f"return {self._program.joined(parts)}")

    # --- fields ----------------------------------------------------------------------------------------------------

    def _value(self, field: FieldCode, value: str) -> list[Part]:
        if field.default is None:
            return self._write_value(field.type, self._after_reading(field, value))  # ABSENT passes no check
        # a default that a payload cannot contain was encoded when the code was made
        part, default = self._program.name("p"), self._program.bind("default", field.default)
        self._program.line(f"if {value} is ABSENT: {part} = {default}")
        with self._program.block("else:"):
            parts = self._write_value(field.type, self._after_reading(field, value))
            self._program.line(f"{part} = {self._program.joined(parts)}")
        return [part]

    def _after_reading(self, field: FieldCode, value: str) -> str:
        """Write what the field's reader does; give the variable of the result."""
        if not field.reader:
            return value
        self._read_as[value] = read = self._readers.write(field.reader, field.type, value)
        self.unread[read] = self.unread_of(value)
        return read

    # --- members ---------------------------------------------------------------------------------------------------

    def _read(self, fields: list[FieldCode], value: str, filled: Mapping[str, str], unread: Unread) -> list[str]:
        """Write the taking out of all members; give the variable of each field's value."""
        # a member that two fields read stays one object, so neither may take members out of it
        paths = [path for field in fields for path in field.paths]
        shared = {path for path in paths if paths.count(path) > 1}
        if any(self._facts.nests(field.type) and shared.intersection(field.paths) for field in fields):
            raise UnsupportedSchemaError("fields that read one array or object")
        # a field with a member of its own gets its default from `pop` itself
        alone = [field for field in fields if len(field.paths) == 1 and field.paths[0] not in shared]
        absent = {field.paths[0]: field.absent for field in alone}
        tree, collects = tree_of(paths), () in paths
        members = _Members(self._program, absent, unread)
        members.at[()] = value
        if not any(paths):
            self._check_class(value, "dict")

        # what the topic contains is compared first, and its text is used from then on
        for member, text in filled.items():
            if tree.pop(member, tree) is not None:
                raise UnsupportedSchemaError("a parameter's location that no field reads as a whole")
            members.at[member,] = self._level(member, text, value, [field.source for field in fields])
        members.take(value, tree, leaves_rest=collects)
        self._members[value] = members.at
        return [self._first(field, members) for field in fields]

    def _level(self, member: str, text: str, value: str, fields: Iterable[Field]) -> str:
        """Write the comparison of a member with the topic's text; give the variable of the one that is used."""
        if (read := reader_of_level(fields, (member,))) is None:
            self._program.line(f"if {value}.pop({member!r}, {text}) != {text}: raise FallBack")
            return text
        found, same = self._program.name("v"), self._program.bind("read", read)
        self._program.line(f"{found} = {value}.pop({member!r}, {text})")
        is_other = f"{found}.__class__ is float or {same}({found}) != {same}({text})"
        self._program.line(f"if {found} != {text} and ({is_other}): raise FallBack")
        return found

    def _first(self, field: FieldCode, members: _Members) -> str:
        """Write the choice of the first member that is there, where there is a choice."""
        if field.paths[0] in members.absent:
            return members.at[field.paths[0]]
        # hash() raises for an object or array among the candidates: the precise path decides about it
        variables = [members.at[path] for path in field.paths]
        if len(variables) > 1 and not self._facts.nests(field.type):
            self._program.line(f"hash(({', '.join(variables)}))")
        tried = " else ".join(f"{variable} if {variable} is not ABSENT" for variable in variables)
        return self._program.let("v", f"{tried} else {field.absent or 'ABSENT'}")


def _field_code(field: Field, counted: Path | None = None) -> FieldCode:
    reader = reader_of(field)
    if not field.has_default or field.collects:
        return FieldCode(field, reader=reader)
    try:
        default = encode_default(field)
    except ValidationError:
        raise UnsupportedSchemaError(f"the default of {field.name}, which its type does not take") from None
    is_unread = reader is None or field.default is None  # a reader leaves null as it is
    if is_unread and field.paths != (counted,) and _may_stand_in(field, default):
        return FieldCode(field, repr(field.default), reader=reader)
    return FieldCode(field, "ABSENT", default, reader)


def _may_stand_in(field: Field, default: bytes) -> bool:
    """Tell whether the default may stand in for an absent member: a payload that contains it gives the same bytes.

    A mutable default may not, because records would share it.
    """
    if not isinstance(field.default, bool | int | float | str):
        return field.default is None
    try:
        return encode_default(field, logical=True) == default
    except ValidationError:
        return False


class _Members:
    """Writes the taking out of what is read of an object, and of the objects in it.

    Args:
        program: the program.
        absent: for each path that belongs to one field, which has no other path: what stands for an absent member, or
            nothing if it must be there. A field with other paths has to choose, and must see that a member is absent.
        unread: tells which objects with a member that is not read are left to the precise path, which refuses them.
    """

    def __init__(self, program: SourceWriter, absent: Mapping[Path, str], unread: Unread) -> None:
        self._program = program
        self._unread = unread
        self.absent = absent
        self.at: dict[Path, str] = {}  # the variable of each path

    def take(self, value: str, tree: Tree, above: Path = (), *, leaves_rest: bool = False) -> None:
        """Write the taking out of a tree of members; `above` is the path of the object, which may keep the rest."""
        # the members of this object
        at = {(*above, member): self._program.name("v") for member in tree}
        self.at |= at
        refuses = self._unread.at(above).refuses and not leaves_rest
        if refuses and tree and not any(tree.values()):
            self._take_all(value, tree, at)
        else:
            self._pop(value, tree, at, refuses=refuses)
        # the members of the objects in it
        for (path, variable), below in zip(at.items(), tree.values(), strict=True):
            if below:
                self.take(variable, below, path)

    def _take_all(self, value: str, tree: Tree, at: Mapping[Path, str]) -> None:
        """Write the reading of an object that must hold nothing else: by its size, while nothing is absent."""
        if not any(self.absent.get(path, "ABSENT") for path in at):
            self._program.line(f"if len({value}) != {len(at)}: raise FallBack")
            self._get(value, at)
            return
        with self._program.block(f"if len({value}) == {len(at)}:"):
            self._get(value, at)
        with self._program.block("else:"):
            self._pop(value, tree, at, refuses=True)

    def _get(self, value: str, at: Mapping[Path, str]) -> None:
        for path, variable in at.items():
            self._program.line(f"{variable} = {value}[{path[-1]!r}]")

    def _pop(self, value: str, tree: Tree, at: Mapping[Path, str], *, refuses: bool) -> None:
        for path, variable in at.items():
            absent = "EMPTY" if tree[path[-1]] else self.absent.get(path, "ABSENT")
            self._program.line(f"{variable} = {value}.pop({', '.join(filter(None, (repr(path[-1]), absent)))})")
        if refuses:
            self._program.line(f"if {value}: raise FallBack")


def tree_of(paths: Iterable[Path]) -> Tree:
    """Make the tree of what is read at several places; raises UnsupportedSchemaError for one inside another."""
    tree: Tree = {}
    for path in filter(None, paths):
        node = tree
        for token in path[:-1]:
            node = node.setdefault(token, {})
            if node is None:
                raise UnsupportedSchemaError("fields that read a member as a whole and in parts")
        if node.setdefault(path[-1], None) is not None:
            raise UnsupportedSchemaError("fields that read a member as a whole and in parts")
    return tree
