"""Why a dead letter does not fit, in words: what the schema has at the place, what would fit there, and an example.

The place is a JSON pointer into the payload; fields with `x-source` stand elsewhere in the payload than in the record,
so the schema is walked by the fields' sources, not by their names.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.precise_encoder import PAYLOAD, factor, normal_form, source
from gateway.core.codec.scalar_payload import whole_field
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.core.codec.validation_error import tokens
from gateway.core.reading import DeadLetter, Reason
from gateway.operate.dlq.dead_letters import iso
from gateway.operate.dlq.verdict import Fits, Undecidable
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import Contract, Stream
    from gateway.operate.dlq.dead_letters import Letter
    from gateway.operate.dlq.verdict import Verdict

DEEPEST = 3  # levels of a type that are written out; a type may hold itself

_PRIMITIVES = {
    "null": "null",
    "boolean": "true or false",
    "int": "an integer from -2147483648 to 2147483647",
    "long": "an integer of 64 bits",
    "float": "a number that 32 bits hold",
    "double": "a number",
    "string": "text",
    "bytes": "text, one character from U+0000 to U+00FF for each byte",
}
_UNITS = {"millis": "milliseconds", "micros": "microseconds", "nanos": "nanoseconds"}


def explain(contract: Contract, letter: Letter, verdict: Verdict) -> str:
    """Tell a person what was wrong, how it stands today, and what would fit.

    Args:
        contract: today's.
        letter: the dead letter.
        verdict: on it.

    Returns:
        Lines, with everything from outside escaped.
    """
    lines = [
        f"{letter.place.topic} {letter.place}",
        f"MQTT topic {cut(letter.reading.topic)}, received {iso(letter.reading.received_at)}",
        f"then: {_told(letter.reason, letter.pointer, letter.detail)} ({letter.reading.stream})",
        *_now(contract, verdict),
    ]
    return "\n".join(map(printable, lines))


def _now(contract: Contract, verdict: Verdict) -> list[str]:
    if isinstance(verdict, Fits):
        first, *others = verdict.records
        more = f", and {len(others)} more" if others else ""
        return [f"now: fits ({verdict.stream}); its record goes to {first.topic} with key {cut(first.key)}{more}"]
    if isinstance(verdict, Undecidable):
        return [f"now: not judged. {verdict.told}"]
    refusal = verdict.letter
    now = f"now: still {_told(refusal.reason, refusal.pointer, refusal.detail)} ({verdict.stream})"
    if stream := contract.streams.get(verdict.stream):
        return [now, *advice(stream, refusal)]
    addresses = ", ".join(stream.address.text for stream in contract.streams.values())
    return [now, f"what would fit: a topic of {addresses}"]


def _told(reason: str, pointer: str, detail: str) -> str:
    place = f" at {cut(pointer)}" if pointer else ""
    return f"{reason}{place}: {cut(detail)}"


def advice(stream: Stream, refusal: DeadLetter) -> list[str]:
    """Say what the schema has at the place of a refusal, and what would fit there.

    Args:
        stream: that refuses.
        refusal: its reason and place.

    Returns:
        Up to three lines.
    """
    schema = stream.route.schema
    assert schema is not None, "the contract gives every route of readings a schema"
    if refusal.reason in {Reason.BAD_TOPIC, Reason.UNMAPPED_TOPIC}:
        return [f"what would fit: a topic of {stream.address.text}, each level valid UTF-8 and not empty"]
    if refusal.reason in {Reason.TOO_LARGE, Reason.REFUSED}:
        return []
    path = tokens(refusal.pointer)
    if stream.is_array:
        path = path[1:]  # which of the readings it was
    whole = (PAYLOAD,) if whole_field(schema.definition) else ()
    walk = SchemaWalk(schema.definition)
    if refusal.reason == Reason.EXTRA_FIELD:
        return [f"what would fit: {_nearest(walk, path, whole)}"]
    found = walk.at(whole + path)
    lines = []
    if found.field:
        doc = f": {found.field['doc']}" if found.field.get("doc") else ""
        times = f" (what the payload says, times {scale.factor:f})" if (scale := factor(found.field)) else ""
        lines.append(f"schema: field {found.field['name']} of {schema.path.name}{doc}{times}")
    if found.node is not None:
        lines.append(f"what would fit: {walk.words(found.node)}")
    examples = (_member(example, path) for example in stream.example_readings)
    example = next((value for value in examples if value is not None), None)
    return lines if example is None else [*lines, f"for example: {cut(json.dumps(example, ensure_ascii=False))}"]


def _nearest(walk: SchemaWalk, path: tuple[str, ...], whole: tuple[str, ...]) -> str:
    names = walk.members(whole + path[:-1])
    near = difflib.get_close_matches(path[-1], names, n=1)
    where = f" of {pointer_of(path[:-1])}" if len(path) > 1 else ""
    told = f"the members{where} that the schema reads are {', '.join(names) or 'none'}"
    return f"{told}. Did you mean {near[0]}?" if near else told


def _member(value: Any, path: tuple[str, ...]) -> Any:
    """Look a place up in an example; None when it has none."""
    for token in path:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    return value


class Found(NamedTuple):
    """A place in a schema.

    Args:
        node: the Avro type there, or None.
        field: the innermost record field around it, or None.
    """

    node: Any
    field: dict[str, Any] | None


class SchemaWalk:
    """Finds places of the payload in an Avro schema.

    Args:
        definition: the JSON of a record schema, `x-source` included.
    """

    def __init__(self, definition: dict[str, Any]) -> None:
        self._root = normal_form(definition)
        self._named = {node["name"]: node for node in _nodes(self._root) if isinstance(node, dict) and "name" in node}

    def at(self, path: tuple[str, ...]) -> Found:
        """Find the type and the field at a place of the payload."""
        return self._at(self._root, path, None) or Found(None, None)

    def members(self, path: tuple[str, ...]) -> list[str]:
        """List the members that some field reads of the object at a place."""
        names: list[str] = []
        node = self._resolved(self.at(path).node)
        for record, below in ((node, ()), (self._root, path)):
            for branch in record if isinstance(record, list) else [record]:
                names += _read_below(self._resolved(branch), below)
        return list(dict.fromkeys(names))

    def words(self, node: Any, depth: int = 0) -> str:
        """Say in words what JSON fits a type."""
        node = self._resolved(node)
        if isinstance(node, list):
            return " or ".join(self.words(branch, depth) for branch in node)
        if isinstance(node, str):
            return _PRIMITIVES.get(node, node)
        if (logical := _logical(node)) or depth > DEEPEST:
            return logical or "a value"
        return self._words_of_kind(node, depth)

    def _words_of_kind(self, node: dict[str, Any], depth: int) -> str:
        match node["type"]:
            case "enum":
                told = "one of " + ", ".join(map(json.dumps, node["symbols"]))
            case "array":
                told = f"an array; each item {self.words(node['items'], depth + 1)}"
            case "map":
                told = f"an object; each member {self.words(node['values'], depth + 1)}"
            case "record":
                told = f"an object with {', '.join(_read_below(node, ()))}"
            case "fixed":
                told = f"text of {node['size']} characters"
            case plain:
                told = self.words(plain, depth)
        return told

    def _resolved(self, node: Any) -> Any:
        return self._named.get(node, node) if isinstance(node, str) else node

    def _at(self, node: Any, path: tuple[str, ...], field: dict[str, Any] | None) -> Found | None:
        node = self._resolved(node)
        if not path:
            return Found(node, field)
        if isinstance(node, list):
            found = (self._at(branch, path, field) for branch in node)
            return next((place for place in found if place and place.field is not field), None)
        if not isinstance(node, dict):
            return None
        if node["type"] == "record":
            return self._in_record(node, path)
        inner = node.get("items") or node.get("values")
        return self._at(inner, path[1:], field) if inner else None

    def _in_record(self, record: dict[str, Any], path: tuple[str, ...]) -> Found | None:
        for field in record["fields"]:
            for read in filter(None, source(field).paths):
                if path[: len(read)] == read:
                    return self._at(field["type"], path[len(read) :], field) or Found(None, field)
                if read[: len(path)] == path:
                    return Found(None, field)
        collector = next((field for field in record["fields"] if source(field).collects), None)
        return self._at(collector["type"], path, collector) if collector else None


def _nodes(node: Any) -> Iterator[Any]:
    """Walk over all types of a schema in normal form, each where it is defined."""
    yield node
    if isinstance(node, list):
        inner = node
    elif isinstance(node, dict):
        inner = [field["type"] for field in node.get("fields", ())]
        inner += [node[key] for key in ("items", "values") if key in node]
        inner += [node["type"]] if isinstance(node["type"], dict | list) else []
    else:
        return
    for each in inner:
        yield from _nodes(each)


def _read_below(record: Any, path: tuple[str, ...]) -> list[str]:
    """List the members below a place that the fields of one record read."""
    fields = record.get("fields", ()) if isinstance(record, dict) else ()
    reads = [read for field in fields for read in source(field).paths]
    return list(dict.fromkeys(read[len(path)] for read in reads if len(read) > len(path) and read[: len(path)] == path))


def _logical(node: dict[str, Any]) -> str:
    name = str(node.get("logicalType", ""))
    kind, _, unit = name.rpartition("-")
    if kind == "timestamp" and unit in _UNITS:
        return f'an ISO 8601 time with zone such as "2020-02-19T12:22:45Z", or {_UNITS[unit]} since 1970 as an integer'
    if kind == "local-timestamp" and unit in _UNITS:
        return f"an ISO 8601 time without zone, or {_UNITS[unit]} since 1970 as an integer"
    if kind == "time" and unit in _UNITS:
        return f"a time HH:MM:SS, or {_UNITS[unit]} since midnight as an integer"
    return {
        "date": "a date YYYY-MM-DD, or days since 1970 as an integer",
        "uuid": "text in the 8-4-4-4-12 form of a UUID",
        "decimal": f"a number of up to {node.get('precision')} digits, {node.get('scale', 0)} of them a fraction",
    }.get(name, "")
