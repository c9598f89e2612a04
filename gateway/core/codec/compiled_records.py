"""The code of the fast path for records: where a field's value stands in the JSON, and what stands for an absent one.

An object that has as many members as are read, and all of these, has no other. Otherwise its members are taken out of
it one by one, and what is left is what no field reads: it is refused, ignored or collected, without a second look at
the names. So a payload is decoded anew for the precise path.

A member that is read in parts is taken out first, and its parts out of it. A default that a payload could have said
stands in for the absent member, and then takes the way of any value; another one is encoded here, once. What comes out
for three fields, read from /register/value, from /register/time or else /time, and from /state:

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

The member that is passed over may be anything but deep, and `hash` takes nothing that nests.

A record stands where its type is defined; where the type is only named, there is a call of a function, so that a record
may hold itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.precise_encoder import encode_default, factor, source
from gateway.core.codec.unsupported import UnsupportedSchemaError
from gateway.core.codec.validation_error import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.core.codec.precise_encoder import Schema, Unknown
    from gateway.core.codec.scale import Factor
    from gateway.core.codec.schema_facts import SchemaFacts
    from gateway.core.codec.source_text import Part, SourceWriter

Path = tuple[str, ...]
Tree = dict[str, Any]  # name of a member -> None when it is read whole, or the tree of what is read of it


class _Field(NamedTuple):
    """A field to be written.

    Args:
        name: of the field.
        type: its schema.
        paths: members from the record's object, tried in order; the empty one collects what no field reads.
        absent: the expression that stands for it when no member is there; empty when there must be one.
        default: the bytes of its default, where `absent` is not a value that the type takes.
        scale: what multiplies its numbers; the default is not multiplied.
    """

    name: str
    type: Schema
    paths: tuple[Path, ...]
    absent: str
    default: bytes | None = None
    scale: Factor | None = None


class RecordCode:
    """Writes the code of records into a program.

    Args:
        write_value: writes the checks of a field's value, and gives the parts of its bytes.
        check_class: writes the check of a value's class.
        program: to write into.
        schema: of the whole record, in normal form.
        survey: of that schema.
        unknown: what records do with members that no field reads.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the two callables stand for `TypeCode`, which this module must not import
        self,
        write_value: Callable[[Schema, str], list[Part]],
        check_class: Callable[[str, str], None],
        program: SourceWriter,
        schema: Schema,
        survey: SchemaFacts,
        unknown: Unknown,
    ) -> None:
        self._write_value = write_value
        self._check_class = check_class
        self._program = program
        self._schema = schema
        self._survey = survey
        self._unknown = unknown
        self._functions: dict[str, str] = {}  # name of a record -> the function that is called for it
        self._unwritten: list[str] = []  # names of records whose function is still to be written
        self._written: dict[str, dict[str, tuple[_Field, str]]] = {}  # an object's variable -> its fields, with theirs

    def write(self, schema: dict[str, Any], value: str, filled: Mapping[str, str] | None = None) -> list[Part]:
        """Write the checks of a record.

        Args:
            schema: of the record.
            value: the variable of its object.
            filled: member -> the variable of its text, where the topic says it too.

        Returns:
            The parts of its bytes.

        Raises:
            UnsupportedSchemaError: for a shape that has no code.
        """
        fields = [self._field(field) for field in schema["fields"]]
        values = self._read(fields, value, filled or {})
        self._written[value] = {field.name: (field, values[field.name]) for field in fields}
        return [part for field in fields for part in self._value(field, values[field.name])]

    def variable(self, value: str, path: Path) -> str:
        """Find the variable of a field's value that is text.

        Args:
            value: the variable of a record's object.
            path: names of fields, from that record down.

        Returns:
            The variable. To read it raises where no line has set it, because a record on the way is absent.

        Raises:
            UnsupportedSchemaError: when another member than the one that is written could be meant.
        """
        for depth, name in enumerate(path, start=1):
            if value not in self._written:
                raise UnsupportedSchemaError("a key below what is no record")
            field, value = self._written[value][name]
            if depth < len(path) and len(field.paths) > 1:
                raise UnsupportedSchemaError("a key below a record with several sources")
        if field.default is not None:
            raise UnsupportedSchemaError("a key with a default that is written another way than a payload's text")
        return value

    def call(self, name: str, value: str) -> str:
        """Write the call of a record's function.

        Args:
            name: of the record.
            value: the variable of its object.

        Returns:
            The expression of its bytes.
        """
        if name not in self._functions:
            self._functions[name] = f"record{len(self._functions)}"
            self._unwritten.append(name)
        return f"{self._functions[name]}({value})"

    def write_functions(self) -> None:
        """Write the functions that are called."""
        while self._unwritten:
            name, value = self._unwritten.pop(), self._program.name("v")
            with self._program.block(f"def {self._functions[name]}({value}):"):
                parts = self.write(self._survey.definitions[name], value)
                self._program.line(f"return {self._program.joined(parts)}")

    # --- fields ----------------------------------------------------------------------------------------------------

    def _field(self, field: dict[str, Any]) -> _Field:
        name, schema, paths, scale = field["name"], field["type"], source(field).paths, factor(field)
        if "default" not in field or paths == ((),):
            return _Field(name, schema, paths, "", None, scale)
        try:
            default = encode_default(self._schema, field)
        except ValidationError:
            raise UnsupportedSchemaError(f"the default of {name}, which its type does not take") from None
        if self._may_be_said(field, default) and not scale:
            return _Field(name, schema, paths, repr(field["default"]))
        return _Field(name, schema, paths, "ABSENT", default, scale)

    def _may_be_said(self, field: dict[str, Any], default: bytes) -> bool:
        """Tell whether a payload that says the default means the same by it. One that can change is not shared."""
        if not isinstance(field["default"], bool | int | float | str):
            return field["default"] is None
        try:
            return encode_default(self._schema, field, logical=True) == default
        except ValidationError:
            return False

    def _value(self, field: _Field, value: str) -> list[Part]:
        if field.default is None:
            return self._write_value(field.type, self._scaled(field, value))  # ABSENT passes no check
        part, default = self._program.name("p"), self._program.bind("default", field.default)
        self._program.line(f"if {value} is ABSENT: {part} = {default}")
        with self._program.block("else:"):
            parts = self._write_value(field.type, self._scaled(field, value))
            self._program.line(f"{part} = {self._program.joined(parts)}")
        return [part]

    def _scaled(self, field: _Field, value: str) -> str:
        """Write the product; give its variable. Of a quotient of integers Python gives the nearest float."""
        if not (scale := field.scale):
            return value
        if scale.is_integral or not self._survey.is_floating(field.type):
            return self._program.let("n", f"{self._program.bind('scale', scale)}({value})")
        whole = f"{value} * {scale.numerator} / {scale.denominator} if {value}.__class__ is int"
        fraction = f"finite(multiply({value}, {self._program.bind('factor', scale.factor)}))"
        return self._program.let("n", f"{whole} else {fraction} if {value}.__class__ is Decimal else {value}")

    # --- members ---------------------------------------------------------------------------------------------------

    def _read(self, fields: list[_Field], value: str, filled: Mapping[str, str]) -> dict[str, str]:
        """Write the taking out of all members; give the variable of each field's value."""
        paths = [path for field in fields for path in field.paths]
        shared = {path for path in paths if paths.count(path) > 1}
        if any(self._survey.nests(field.type) and shared.intersection(field.paths) for field in fields):
            raise UnsupportedSchemaError("fields that read one array or object")
        alone = [field for field in fields if len(field.paths) == 1 and field.paths[0] not in shared]
        absent = {field.paths[0]: field.absent for field in alone}
        tree, collects = _tree(paths), () in paths
        members = _Members(self._program, absent, is_strict=collects or self._unknown == "reject")
        members.at[()] = value
        if not any(paths):
            self._check_class(value, "dict")
        for member, text in filled.items():
            if tree.pop(member, tree) is not None:
                raise UnsupportedSchemaError("a parameter's location that no field reads as a whole")
            self._program.line(f"if {value}.pop({member!r}, {text}) != {text}: raise FallBack")
            members.at[member,] = text
        members.take(value, tree, leaves_rest=collects)
        return {field.name: self._first(field, members) for field in fields}

    def _first(self, field: _Field, members: _Members) -> str:
        """Write the choice of the first member that is there, where there is a choice."""
        if field.paths[0] in members.absent:
            return members.at[field.paths[0]]
        variables = [members.at[path] for path in field.paths]
        if len(variables) > 1 and not self._survey.nests(field.type):
            self._program.line(f"hash(({', '.join(variables)}))")
        tried = " else ".join(f"{variable} if {variable} is not ABSENT" for variable in variables)
        return self._program.let("v", f"{tried} else {field.absent or 'ABSENT'}")


class _Members:
    """Writes the taking out of what is read of an object, and of the objects in it.

    Args:
        program: to write into.
        absent: for each path that one field alone reads, and no other path: what stands for an absent member, or
            nothing if it must be there. Of other paths the field has to choose, and must see that a member is absent.
        is_strict: a member that is not read is for the precise path to refuse.

    Attributes:
        at: the variable of each path.
    """

    def __init__(self, program: SourceWriter, absent: Mapping[Path, str], *, is_strict: bool) -> None:
        self._program = program
        self._is_strict = is_strict
        self.absent = absent
        self.at: dict[Path, str] = {}

    def take(self, value: str, tree: Tree, above: Path = (), *, leaves_rest: bool = False) -> None:
        """Write the taking out of members.

        Args:
            value: the variable of the object.
            tree: what is read of it.
            above: the object's own path.
            leaves_rest: what is not read stays in the object.
        """
        at = {(*above, member): self._program.name("v") for member in tree}
        self.at |= at
        refuses = self._is_strict and not leaves_rest
        if refuses and tree and not any(tree.values()):
            self._take_all(value, tree, at)
        else:
            self._pop(value, tree, at, refuses=refuses)
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


def _tree(paths: Iterable[Path]) -> Tree:
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
