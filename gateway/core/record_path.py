"""The records inside a message: where they are, and how each is cut out with what it reads of the message around it.

A path leads from the message to its records. A step is a member of an object, each item of an array, or each member of
an object, whose name a record may know as a parameter. A plain array of readings is the path of one step, each item.

Each record is cut out as the bytes that were sent. What its fields read of the message around it (the *envelope*) is
written into its JSON text, as members with the names of the expressions that read them:

    {"id":"a","v":1.5,"$message.envelope#/timestamp":1767592800,"$message.parameter#/device":"Device A"}

So the codec knows nothing of this, and both of its paths read such a text as that of any reading. A record that is not
an object, because one field takes it as a whole, becomes the member PAYLOAD of such an object. A record that already
has a member of such a name is refused, because its value would be taken for the message's.

Around the records the rules are those of any reading: a member that no field reads is refused, unless the schema
of the message allows such members. Every byte is checked, those of ignored members too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.json_text import MAX_DEPTH, check_nesting, parse
from gateway.core.codec.precise_encoder import UNREAD
from gateway.core.codec.primitives import wrong_type
from gateway.core.codec.unread import REFUSED
from gateway.core.codec.validation_error import ValidationError, shown, tokens
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.core.avro_schema import AvroType, Path
    from gateway.core.codec.unread import Unread

MAX_RECORDS = 10_000
MAX_BYTES = 16 * 2**20  # of the texts of a message's records, and of the keys, values and headers of those in Kafka
ENVELOPE, PARAMETER = "$message.envelope#", "$message.parameter#/"

_BLANK = b" \t\r\n"
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode

Tree = dict[str, Any]  # name of a member -> the expression that reads it whole, or the tree of what is read of it


class Step(NamedTuple):
    """One step of the path."""

    kind: Literal["member", "items", "members"]
    name: str = ""  # of the member; of the parameter that has the names of all members, if the records may know them

    def __str__(self) -> str:
        return self.name if self.kind == "member" else f"{{{self.name}}}" if self.name else "*"


EACH_ITEM = (Step("items"),)


def leads_to_several(path: str) -> bool:
    """Tell whether a path, as the contract writes it, leads to several records of a message."""
    return any(step == "*" or step.startswith("{") for step in path.split("/"))


class Group(NamedTuple):
    """Records that were cut out of one array or object."""

    place: Path  # of the array or object, in the message
    tokens: Sequence[str | int]  # that lead from there to each record
    texts: list[bytes]  # JSON of each record, with what it reads of the envelope


class RecordPath:
    """Cuts the records out of a stream's messages.

    Args:
        steps: lead to the records; without a step to several, to one.
        record: the Avro record that each becomes; its fields say what is read of the envelope.
        unread: what objects of the message around the records do with members that no field reads.
    """

    def __init__(self, steps: Sequence[Step], record: AvroType, unread: Unread = REFUSED) -> None:
        self._steps = steps
        self._unread = [unread]  # of the values that each step is taken from
        for step in steps:
            self._unread.append(unread_after(step, self._unread[-1]))
        self._reads = reads(record)
        self._is_whole = record.whole_field is not None
        self._is_plain = steps == EACH_ITEM and not self._reads
        self._trees = [beside(steps, depth, {each: each for each in self._reads}) for depth in range(len(steps))]

    def cut(self, payload: bytes) -> list[Group]:
        """Cut out the records, at least one; raises ValidationError when there is none, or too many."""
        check_nesting(payload)
        try:
            if self._is_plain and 0 < len(items := _items(payload)) <= MAX_RECORDS:
                return [Group((), range(len(items)), list(map(bytes, items)))]
        except msgspec.DecodeError:
            pass  # what follows finds the reason
        cuts = _Cuts()
        try:
            self._descend(payload.strip(_BLANK), (), [], cuts)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            parse(payload)  # which finds the reason
            raise ValidationError(Reason.NOT_JSON, str(error)) from None
        if not cuts.number:
            raise ValidationError(Reason.EMPTY, "the message holds no reading")
        return cuts.groups

    def place(self, groups: list[Group], number: int, path: Path) -> Path:
        """Where a place in the JSON text of a record is in the message; records are numbered from 0."""
        for group in groups:
            if number < len(group.texts):
                return self._place((*group.place, str(group.tokens[number])), path)
            number -= len(group.texts)
        raise IndexError(number)

    def read_at(self, path: Path) -> Path | None:
        """Where a place of the message is in the JSON text of a record; None when no record reads it."""
        if _leads(self._steps, path):
            return path[len(self._steps) :]
        for expression in self._reads:
            read = envelope_path(expression)
            shared = common(self._steps, read)
            if read and _leads(self._steps[:shared], path) and path[shared : len(read)] == read[shared:]:
                return expression, *path[len(read) :]
        return None

    def readings(self, example: Any) -> list[Any]:
        """The readings in an example of a message, each with what it reads of the envelope; none if it is invalid."""
        try:
            return [json.loads(text) for group in self.cut(json.dumps(example).encode()) for text in group.texts]
        except ValidationError:
            return []

    # --- cutting -----------------------------------------------------------------------------------------------------

    def _descend(self, text: Any, place: Path, around: list[bytes], cuts: _Cuts) -> None:
        """Add the records below a value; `around` are the members that they read of what is above."""
        step = self._steps[len(place)]
        tokens, texts, more = self._taken(step, text, place)
        if len(place) + 1 == len(self._steps):
            cuts.count(texts, around)
            cuts.groups.append(Group(place, tokens, self._written(texts, around, more, place, tokens)))
            return
        for number, (token, below) in enumerate(zip(tokens, texts, strict=True)):
            self._descend(below, (*place, str(token)), [*around, *more[number : number + 1]], cuts)

    def _taken(self, step: Step, text: Any, place: Path) -> tuple[Sequence[str | int], list[Any], list[bytes]]:
        """Take a step: give the tokens of the values that it leads to, these, and what is read beside each, if any."""
        if step.kind == "items":
            items = _array(text, place)
            return range(len(items)), items, []
        members = _object(text, place)
        if step.kind == "members":
            expression = PARAMETER + step.name
            names = [_member(expression, _quoted(name)) for name in members] if expression in self._reads else []
            return list(members), list(members.values()), names
        below = members.pop(step.name, None)
        beside = list(self._beside(members, self._trees[len(place)], self._unread[len(place)], place))
        if below is None:
            raise ValidationError(Reason.MISSING, "the records of the message are here", *place, step.name)
        return [step.name], [below], [b",".join(beside)] if beside else []

    def _written(
        self, texts: list[Any], around: list[bytes], names: list[bytes], place: Path, tokens: Sequence[str | int]
    ) -> list[bytes]:
        """Write the JSON text of each record."""
        if not self._reads:
            return list(map(bytes, texts))
        arounds = [b",".join([*around, name]) for name in names] or [b",".join(around)] * len(texts)
        written = []
        for token, raw, members in zip(tokens, texts, arounds, strict=True):
            text = bytes(raw)
            has_no_dollar = b"$" not in text and b"\\u0024" not in text  # so it has no name of the envelope
            if text.startswith(b'{"') and members and not self._is_whole and has_no_dollar:  # most are so
                written.append(b"{%b,%b" % (members, text[1:]))
            else:
                written.append(self._with(text, members, (*place, str(token))))
        return written

    def _with(self, text: bytes, around: bytes, place: Path) -> bytes:
        """Write what a record reads of the envelope into its text; raises ValidationError."""
        if self._is_whole:
            return b"{%b}" % b",".join(filter(None, (_member(PAYLOAD, text), around)))
        if not text.startswith(b"{"):
            return text  # the codec refuses it
        self._refuse_names_of_the_envelope(text, place)
        if not around:
            return text
        return b"{%b,%b" % (around, text[1:]) if text[1:-1].strip(_BLANK) else b"{%b}" % around

    def _refuse_names_of_the_envelope(self, text: bytes, place: Path) -> None:
        for name in _members(text):
            if name in self._reads:
                detail = f"a record cannot have the member {shown(name)}, which stands for the message"
                raise ValidationError(Reason.EXTRA_FIELD, detail, *place, name)

    # --- the envelope ------------------------------------------------------------------------------------------------

    def _beside(self, members: dict[str, msgspec.Raw], tree: Tree, unread: Unread, place: Path) -> Iterator[bytes]:
        """Write what is read of an object, as members; check those that are not read."""
        for name, text in members.items():
            read = tree.get(name)
            if read is None and unread.refuses:
                raise ValidationError(Reason.EXTRA_FIELD, UNREAD, *place, name)
            if isinstance(read, dict):
                inside = _object(text, (*place, name))
                yield from self._beside(inside, read, unread.member(name), (*place, name))
                continue
            _check(text, (*place, name))
            if read is not None:
                yield _member(read, text)

    def _place(self, place: Path, path: Path) -> Path:
        """Where a place in a record's JSON text is; `place` is that of the record."""
        if not path or path[0] not in (PAYLOAD, *self._reads):
            return place + path
        expression, rest = path[0], path[1:]
        if expression == PAYLOAD:
            return place + rest
        if expression.startswith(PARAMETER):
            steps, name = [str(step) for step in self._steps], f"{{{expression.removeprefix(PARAMETER)}}}"
            return place[: 1 + steps.index(name)] if name in steps else place  # the other ones are the topic's
        read = envelope_path(expression)
        shared = common(self._steps, read)
        return place[:shared] + read[shared:] + rest


class _Cuts:
    """The records that have been cut out of a message."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.number = 0
        self._size = 0

    def count(self, texts: list[Any], around: list[bytes]) -> None:
        """Count records before they are written, each with the members around it; raises ValidationError."""
        self.number += len(texts)
        self._size += sum(map(len, texts)) + len(texts) * sum(map(len, around))
        if self.number > MAX_RECORDS:
            raise ValidationError(Reason.TOO_LARGE, f"{self.number} readings or more; the limit is {MAX_RECORDS}")
        if self._size > MAX_BYTES:
            detail = f"its readings, each with what it reads of the message, have more than {MAX_BYTES} bytes"
            raise ValidationError(Reason.TOO_LARGE, detail)


def reads(record: AvroType) -> list[str]:
    """List the expressions by which fields of a record read the message around it."""
    return list(dict.fromkeys(path[0] for field in record.fields for path in field.paths if is_around(path)))


def unread_after(step: Step, unread: Unread) -> Unread:
    """Give what the values that a step leads to do with members that no field reads."""
    if step.kind == "items":
        return unread.item
    return unread.member(step.name) if step.kind == "member" else unread.members


def envelope_path(expression: str) -> Path:
    """The place in the message that an expression reads; () for one that reads a parameter."""
    return tokens(expression.removeprefix(ENVELOPE)) if expression.startswith(ENVELOPE) else ()


def beside(steps: Sequence[Step], depth: int, values: Mapping[str, Any]) -> Tree:
    """Arrange what belongs to expressions by the members that they read of the object that a step is taken from."""
    tree: Tree = {}
    for expression, value in values.items():
        path = envelope_path(expression)
        if path and common(steps, path) == depth:
            node = tree
            for token in path[depth:-1]:
                node = node.setdefault(token, {})
            node[path[-1]] = value
    return tree


def _leads(steps: Sequence[Step], path: Path) -> bool:
    """Tell whether steps lead to a place or to what it is in."""
    pairs = zip(steps, path, strict=False)
    return len(path) >= len(steps) and all(step.kind != "member" or step.name == token for step, token in pairs)


def is_around(path: Path) -> bool:
    """Tell whether a place in a record's JSON text stands for one of the message around it."""
    return bool(path) and path[0].startswith((ENVELOPE, PARAMETER))


def common(steps: Sequence[Step], path: Sequence[str]) -> int:
    """How many first steps a place of the envelope has in common with the path to the records."""
    same = (str(step) == token for step, token in zip(steps, path, strict=False))
    return next((depth for depth, is_same in enumerate(same) if not is_same), min(len(steps), len(path)))


def _member(name: str, text: Any) -> bytes:
    return b"%b:%b" % (_quoted(name), text)


def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


def _array(text: Any, place: Path) -> list[msgspec.Raw]:
    if bytes(memoryview(text)[:1]) != b"[":
        raise _wrong("an array of readings", text, place)
    return _items(text)


def _object(text: Any, place: Path) -> dict[str, msgspec.Raw]:
    if bytes(memoryview(text)[:1]) != b"{":
        raise _wrong("an object", text, place)
    return _members(text)


def _wrong(expected: str, text: Any, place: Path) -> ValidationError:
    return wrong_type(expected, parse(bytes(text))).under(*place)


def _check(text: msgspec.Raw, place: Path) -> None:
    """Check a text that may be read by no codec; raises ValidationError."""
    data = bytes(text)
    try:
        if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
            _any(data)
            return
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # the strict parser knows the reason, or takes it, as a number that no float holds
    try:
        parse(data)
    except ValidationError as error:
        raise error.under(*place) from None
