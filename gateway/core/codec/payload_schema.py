"""What the JSON Schema of a payload demands beyond its Avro record: the tree of tests that every payload has to pass.

The schema is that of the payload as it was sent, before members are filled in from the topic. A demand that the codec
makes anyway, because of the Avro types and what the fields read, is left out, so that a schema which only describes the
record costs nothing. The codec reports its own error first. References in the schema are written out.

Text with a `contentEncoding` is decoded where an Avro type of bytes takes it; elsewhere it is only checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gateway.core.codec.keywords import ENCODINGS, FORBIDDEN, TESTS, Test, is_number, listed, one_or_more, properties_of
from gateway.core.codec.unread import REFUSED
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.codec.conversion import Conversion
    from gateway.core.codec.keywords import Decode

_TYPES = {
    "null": {"null"}, "boolean": {"boolean"}, "integer": {"integer"}, "number": {"integer", "number"},
    "string": {"text"}, "array": {"array"}, "object": {"object"},
}  # fmt: skip
# Keywords that restrict a value too; `gateway check` says that they are not enforced.
UNENFORCED = frozenset({
    "additionalItems", "contains", "dependencies", "dependentRequired", "dependentSchemas", "discriminator",
    "else", "format", "if", "maxContains", "minContains", "not", "nullable", "oneOf", "patternProperties",
    "prefixItems", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
SIZES = ("Length", "Items", "Properties")
ENFORCED = frozenset({*TESTS, "additionalProperties", "allOf", "items", "properties", "required"})


@dataclass(slots=True)
class Rules:
    """The tests of one place of the payload, and those below it."""

    tests: list[Test] = field(default_factory=list)  # of the value itself
    required: list[str] = field(default_factory=list)  # the members that an object must have
    members: dict[str, Rules] = field(default_factory=dict)  # of members by name
    named: frozenset[str] = frozenset()  # all members that are described, with rules or without
    others: Rules | None = None  # of all members that are not named; `NO_MEMBER` when there must be none
    items: Rules | None = None  # of each item of an array
    decode: Decode | None = None  # makes bytes of a text; None to leave it
    also: list[Rules] = field(default_factory=list)  # further rules of the same value

    @property
    def of_objects(self) -> bool:
        """True when the rules are about the members of an object at most."""
        return not (self.tests or self.items or self.decode or self.also)

    @property
    def below(self) -> list[Rules]:
        """The rules directly below, and of the same value."""
        return [each for each in (*self.members.values(), self.others, self.items, *self.also) if each]

    @property
    def decodes(self) -> bool:
        """True when a text is decoded, here or below."""
        return self.decode is not None or any(each.decodes for each in self.below)

    def error(self, value: Any) -> ValidationError | None:
        """Give the first error of a value, its place included; None when it passes."""
        found = next((error for test in self.tests if (error := test.error(value))), None)
        if found is None and type(value) is dict:
            found = self._missing(value) or _first(self._members(value))
        elif found is None and type(value) is list and self.items:
            found = _first((str(index), self.items, item) for index, item in enumerate(value))
        return found or next((error for rules in self.also if (error := rules.error(value))), None)

    def _missing(self, value: dict[str, Any]) -> ValidationError | None:
        name = next((name for name in self.required if name not in value), None)
        return None if name is None else ValidationError(Reason.MISSING, "the schema requires this member", name)

    def _members(self, value: dict[str, Any]) -> Iterator[tuple[str, Rules, Any]]:
        for name, member in value.items():
            if rules := self.of_member(name):
                yield name, rules, member

    def of_member(self, name: str) -> Rules | None:
        """Find the rules of a member."""
        if name in self.named:
            return self.members.get(name)
        return self.others

    def decoded(self, value: Any) -> Any:
        """Decode texts, in place below the value itself; raises ValidationError, BAD_ENCODING."""
        if self.decode is not None and type(value) is str:
            return decoded(self.decode, value)
        if type(value) is dict:
            for name, rules, member in list(self._members(value)):
                value[name] = _below(rules, member, name)
        elif type(value) is list and self.items:
            value[:] = [_below(self.items, item, str(index)) for index, item in enumerate(value)]
        for rules in self.also:
            value = rules.decoded(value)
        return value


def decoded(decode: Decode, text: str) -> str:
    """Decode a text to one of the code points 0 to 255, as Avro's bytes are written; raises ValidationError."""
    try:
        return decode(text).decode("latin-1")
    except ValueError:
        name = next(name for name, known in ENCODINGS.items() if known is decode)
        raise ValidationError(Reason.BAD_ENCODING, f"the text is not {name} (contentEncoding)") from None


def _below(rules: Rules, value: Any, token: str) -> Any:
    try:
        return rules.decoded(value)
    except ValidationError as error:
        raise error.under(token) from None


def _first(places: Iterable[tuple[str, Rules, Any]]) -> ValidationError | None:
    for token, rules, value in places:
        if error := rules.error(value):
            return error.under(token)
    return None


_FORBIDDEN = Rules([FORBIDDEN])
NO_MEMBER = Rules([FORBIDDEN._replace(reason=Reason.EXTRA_FIELD, clause="is the value of a member that the schema does "
                                      "not allow (additionalProperties)")])  # fmt: skip


# --- what the codec demands anyway -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """What the codec does with the value at a place of the payload."""

    types: tuple[AvroType, ...] = ()  # that take it; the branches of a union
    parts: tuple[tuple[Path, Field], ...] = ()  # fields that read below it, with the rest of their paths
    is_certain: bool = True  # it is refused unless one of the types takes it

    @property
    def kinds(self) -> set[str] | None:
        """The kinds of JSON values that pass; None when any may."""
        kinds = {kind for each in self.types for kind in each.json_kinds or {each.kind}}
        kinds |= {"object" for _, field in self.parts if len(field.paths) == 1}
        return kinds if kinds and self.is_certain else None

    @property
    def may_be_object(self) -> bool:
        """True when an object may pass."""
        return "object" in (self.kinds or {"object"})

    @cached_property
    def _reads(self) -> dict[str, list[tuple[Path, Field]]]:
        """The fields that read a member, by its name, with the rest of their paths."""
        fields = [(path, field) for each in self.types for field in each.fields for path in field.paths if path]
        reads: dict[str, list[tuple[Path, Field]]] = {}
        for path, one in [*self.parts, *fields]:
            reads.setdefault(path[0], []).append((path[1:], one))
        return reads

    def names(self) -> set[str]:
        """The members that are read by name."""
        return set(self._reads)

    def member(self, name: str) -> Place:
        """Give the place of a member of an object."""
        read = self._reads.get(name, [])
        types = [branch for path, field in read if not path for branch in field.type.branches]
        types += [branch for each in self.types if each.kind == "map" for branch in each.inner[0].branches]
        parts = tuple((path, field) for path, field in read if path)
        # a member that another one comes before is not looked at, and `x-source` may take what the types do not
        is_certain = all(len(field.paths) == 1 and not field.words for path, field in read if not path)
        return Place(tuple(types), parts, is_certain) if types or parts else self.other()

    def other(self) -> Place:
        """A member that is not read by name: collected, in a map, or ignored."""
        collectors = [field.type.non_null[0] for each in self.types for field in each.fields if field.collects]
        maps = [each.inner[0] for each in (*self.types, *collectors) if each.kind == "map"]
        return Place(tuple(branch for each in maps for branch in each.branches))

    @property
    def item(self) -> Place:
        """The place of an array's items."""
        arrays = [each.inner[0] for each in self.types if each.kind == "array"]
        return Place(tuple(branch for each in arrays for branch in each.branches))

    def demands(self, name: str) -> bool:
        """Tell whether an object without the member is refused."""
        if len([each for each in self.types if each.kind != "null"]) > 1 or not self.is_certain:
            return False
        read = [field for path, field in self._reads.get(name, []) if not path]
        return any(not field.has_default and len(field.paths) == 1 for field in read)

    def refuses_others(self) -> bool:
        """Tell whether an object with a member that no field reads is refused, where the stream rejects such."""
        reads = [each for each in self.types if each.kind in {"record", "map"}]
        is_read = all(each.kind == "record" and not any(field.collects for field in each.fields) for each in reads)
        return bool(reads or self.parts) and is_read


class Reader:
    """Reads the rules of schemas, without what the codec demands anyway.

    Args:
        rejects: a payload may have no member that its record does not read.
        tied: members that the topic fills in.
    """

    def __init__(self, *, rejects: bool = False, tied: Collection[Path] = ()) -> None:
        self._rejects = rejects
        self._tied = tied

    def rules(self, schema: Any, place: Place, path: Path | None = ()) -> Rules | None:
        """Read the rules of a place, if any; `path` leads there, None where no parameter of the address can."""
        if not isinstance(schema, dict):
            return _FORBIDDEN if schema is False else None
        kept = {key: value for key, value in schema.items() if key in TESTS}
        kinds = place.kinds
        if kinds is not None and kinds <= _allowed(schema.get("type")):
            kept.pop("type", None)
        encoding = schema.get("contentEncoding")
        decode = ENCODINGS[encoding] if encoding in list(ENCODINGS) and _takes_bytes(place) else None
        if decode:
            del kept["contentEncoding"]
        made = self._of_members(schema, place, path)
        made.tests, made.decode = tests_of(kept), decode
        made.items = self.rules(schema.get("items"), place.item, None)
        made.also = [each for one in listed(schema.get("allOf")) if (each := self.rules(one, place, path))]
        return None if made.of_objects and not (made.required or made.members or made.others) else made

    def _of_members(self, schema: dict[str, Any], place: Place, path: Path | None) -> Rules:
        additional = True if "patternProperties" in schema else schema.get("additionalProperties", True)

        def below(described: Any, name: str) -> Rules | None:
            return self.rules(described, place.member(name), None if path is None else (*path, name))

        members = {name: below(each, name) for name, each in properties_of(schema).items()}
        others = self._others(additional, place, members.keys())
        if isinstance(additional, dict):
            read = {name: below(additional, name) for name in sorted(place.names() - members.keys())}
            first = next(iter(read.values()), others)
            if others and all(each == first for each in read.values()):
                others = first  # it demands no less than what it replaces: one rule for all costs less
            else:
                members |= read
        if others is None or others.of_objects:  # which is nothing for members that cannot be one
            members = {name: one for name, one in members.items() if one or place.member(name).may_be_object}
        return Rules(
            required=[name for name in listed(schema.get("required")) if not self._is_demanded(name, place, path)],
            members={name: one for name, one in members.items() if one},
            named=frozenset(members),
            others=others,
        )

    def _others(self, additional: Any, place: Place, described: Iterable[str]) -> Rules | None:
        """Read what is demanded of the members that no field reads by name."""
        is_refused = self._rejects and place.refuses_others()
        if additional is False:
            return None if is_refused and place.names() <= set(described) else NO_MEMBER
        return None if is_refused else self.rules(additional, place.other(), None)

    def _is_demanded(self, name: Any, place: Place, path: Path | None) -> bool:
        if not isinstance(name, str):
            return True
        return place.demands(name) and (path is None or (*path, name) not in self._tied)


def tests_of(schema: dict[str, Any]) -> list[Test]:
    """The tests of a value itself."""
    return [test for key, value in schema.items() if key in TESTS and (test := TESTS[key](key, value))]


def rules_of(conversion: Conversion) -> Rules | None:
    """Make the rules of a stream's payload; None when its schema demands no more than its record."""
    tied = {tokens(pointer) for pointer in conversion.parameters if pointer}
    reader = Reader(rejects=conversion.unread is REFUSED, tied=tied)
    return reader.rules(conversion.schema, _outermost(conversion.record, conversion.whole_field))


def outermost(record: AvroType) -> Place:
    """Give the place of the whole payload."""
    return _outermost(record, record.whole_field)


def _outermost(record: AvroType, whole: Field | None) -> Place:
    return Place(whole.type.branches if whole else (record,))


def schemas(schema: Any, place: Place, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any], Place]]:
    """List a schema and those inside it that are objects: the path to each, and its place in the payload."""
    if isinstance(schema, dict):
        yield path, schema, place
        for keyword, token, below, inner in _below_schema(schema, place):
            yield from schemas(below, inner, (*path, keyword, *token))


def unenforced(schema: dict[str, Any], place: Place) -> Iterator[str]:
    """List the keywords of a schema, not of those inside it, that have no effect."""
    for keyword, argument in schema.items():
        if keyword in TESTS:
            is_made = TESTS[keyword](keyword, argument) is not None
        elif keyword == "additionalProperties":
            is_made = argument is False or not place.refuses_others()
        elif keyword == "items":
            is_made = not isinstance(argument, list)
        else:
            is_made = keyword in ENFORCED
        if not is_made:
            yield keyword


def contradiction(schema: dict[str, Any]) -> str:
    """Name a keyword of a schema whose values the other keywords exclude, all of them; "" for none."""
    for low, high in (("minimum", "maximum"), *((f"min{what}", f"max{what}") for what in SIZES)):
        limits: list[Any] = [schema.get(low), schema.get(high)]
        if all(map(is_number, limits)) and limits[0] > limits[1]:
            return low
    tests = tests_of(schema)
    choices = [schema["const"]] if "const" in schema else listed(schema.get("enum"))
    is_excluded = bool(choices) and all(any(test.error(one) for test in tests) for one in choices)
    return ("const" if "const" in schema else "enum") if is_excluded else ""


def _below_schema(schema: dict[str, Any], place: Place) -> Iterator[tuple[str, Path, Any, Place]]:
    for name, described in properties_of(schema).items():
        yield "properties", (name,), described, place.member(name)
    yield "additionalProperties", (), schema.get("additionalProperties"), place.other()
    yield "items", (), schema.get("items"), place.item
    for index, one in enumerate(listed(schema.get("allOf"))):
        yield "allOf", (str(index),), one, place


def _allowed(stated: Any) -> set[str]:
    return set().union(*(_TYPES.get(name, ()) for name in one_or_more(stated) if isinstance(name, str)))


def _takes_bytes(place: Place) -> bool:
    """Tell whether the first type that takes text is one of bytes, in which any byte may be."""
    first = next((each for each in place.types if "text" in each.json_kinds), None)
    return first is not None and first.is_bytes
