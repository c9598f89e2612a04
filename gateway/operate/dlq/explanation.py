"""Why a dead letter does not fit, in words: the schema at the place, what would fit there, and an example.

The place is a JSON pointer into the payload. Fields with `x-source` are elsewhere in the payload than in the record, so
the schema is searched by the sources of its fields, not by their names.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.precise_encoder import ABSENT, PAYLOAD, factor, normal_form, source
from gateway.core.codec.scalar_payload import whole_field
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.core.codec.validation_error import tokens
from gateway.core.reading import DeadLetter, Reason
from gateway.operate.dlq.dead_letters import iso
from gateway.operate.dlq.verdict import Fits, Undecidable
from gateway.operate.simulate.plausible import value_at
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import Contract, Stream
    from gateway.operate.dlq.dead_letters import StoredDeadLetter
    from gateway.operate.dlq.verdict import Verdict

MAX_DEPTH = 3  # levels of a type that are written out; a type may contain itself

_PRIMITIVES = {
    "null": "null",
    "boolean": "true or false",
    "int": "an integer from -2147483648 to 2147483647",
    "long": "an integer of 64 bits",
    "float": "a number within the range of 32 bits",
    "double": "a number",
    "string": "text",
    "bytes": "text, one character from U+0000 to U+00FF for each byte",
}
_UNITS = {"millis": "milliseconds", "micros": "microseconds", "nanos": "nanoseconds"}


def explain(contract: Contract, dead_letter: StoredDeadLetter, verdict: Verdict) -> str:
    """Write what was wrong, the verdict under the current contract, and what would fit; everything is escaped."""
    lines = [
        f"{dead_letter.place.topic} {dead_letter.place}",
        f"MQTT topic {cut(dead_letter.reading.topic)}, received {iso(dead_letter.reading.received_at)}",
        f"then: {_problem(dead_letter)} ({dead_letter.reading.stream})",
        *_now(contract, verdict),
    ]
    return "\n".join(map(printable, lines))


def _now(contract: Contract, verdict: Verdict) -> list[str]:
    if isinstance(verdict, Fits):
        first, *others = verdict.records
        more = f", and {len(others)} more" if others else ""
        return [f"now: fits ({verdict.stream}); its record goes to {first.topic} with key {cut(first.key)}{more}"]
    if isinstance(verdict, Undecidable):
        return [f"now: unknown. {verdict.reason}"]
    now = f"now: still {_problem(verdict.dead_letter)} ({verdict.stream})"
    if stream := contract.streams.get(verdict.stream):
        return [now, *advice(stream, verdict.dead_letter)]
    addresses = ", ".join(stream.address.text for stream in contract.streams.values())
    return [now, f"what would fit: a topic of {addresses}"]


def _problem(dead_letter: StoredDeadLetter | DeadLetter) -> str:
    place = f" at {cut(dead_letter.pointer)}" if dead_letter.pointer else ""
    return f"{dead_letter.reason}{place}: {cut(dead_letter.detail)}"


def advice(stream: Stream, dead_letter: DeadLetter) -> list[str]:
    """Write the schema's field at the place of an error, what would fit, and an example: up to three lines."""
    schema = stream.route.schema
    assert schema is not None, "the contract gives every route of readings a schema"
    if dead_letter.reason in {Reason.BAD_TOPIC, Reason.UNMAPPED_TOPIC}:
        return [f"what would fit: a topic of {stream.address.text}, each level valid UTF-8 and not empty"]
    if dead_letter.reason in {Reason.TOO_LARGE, Reason.REFUSED}:
        return []
    path = tokens(dead_letter.pointer)
    if stream.is_array:
        path = path[1:]  # without the index of the reading
    whole = (PAYLOAD,) if whole_field(schema.definition) else ()
    search = SchemaSearch(schema.definition)
    if dead_letter.reason == Reason.EXTRA_FIELD:
        return [f"what would fit: {_nearest(search, path, whole)}"]
    node, field = search.at(whole + path)
    lines = []
    if field:
        doc = f": {field['doc']}" if field.get("doc") else ""
        times = f" (the payload's number times {scale.factor:f})" if (scale := factor(field)) else ""
        lines.append(f"schema: field {field['name']} of {schema.path.name}{doc}{times}")
    if node is not None:
        lines.append(f"what would fit: {search.words(node)}")
    examples = (value_at(example, path) for example in stream.example_readings)
    if (example := next((value for value in examples if value not in (None, ABSENT)), None)) is not None:
        lines.append(f"for example: {cut(json.dumps(example, ensure_ascii=False))}")
    return lines


def _nearest(search: SchemaSearch, path: tuple[str, ...], whole: tuple[str, ...]) -> str:
    names = search.members(whole + path[:-1])
    near = difflib.get_close_matches(path[-1], names, n=1)
    where = f" of {pointer_of(path[:-1])}" if len(path) > 1 else ""
    text = f"the members{where} that the schema reads are {', '.join(names) or 'none'}"
    return f"{text}. Did you mean {near[0]}?" if near else text


class SchemaPlace(NamedTuple):
    """A place in a schema: the Avro type there, and the innermost record field around it; None for none."""

    node: Any
    field: dict[str, Any] | None


class SchemaSearch:
    """Finds places of the payload in an Avro schema.

    Args:
        definition: the JSON of a record schema, `x-source` included.
    """

    def __init__(self, definition: dict[str, Any]) -> None:
        self._root = normal_form(definition)
        self._named = {node["name"]: node for node in _nodes(self._root) if isinstance(node, dict) and "name" in node}

    def at(self, path: tuple[str, ...]) -> SchemaPlace:
        """Find the type and the field at a place of the payload."""
        return self._at(self._root, path, None) or SchemaPlace(None, None)

    def members(self, path: tuple[str, ...]) -> list[str]:
        """List the members that fields read of the object at a place."""
        names: list[str] = []
        node = self._resolved(self.at(path).node)
        for record, below in ((node, ()), (self._root, path)):
            for branch in record if isinstance(record, list) else [record]:
                names += _read_below(self._resolved(branch), below)
        return list(dict.fromkeys(names))

    def words(self, node: Any, depth: int = 0) -> str:
        """Describe the JSON that fits a type."""
        node = self._resolved(node)
        if isinstance(node, list):
            return " or ".join(self.words(branch, depth) for branch in node)
        if isinstance(node, str):
            return _PRIMITIVES.get(node, node)
        if (logical := _logical(node)) or depth > MAX_DEPTH:
            return logical or "a value"
        return self._words_of_kind(node, depth)

    def _words_of_kind(self, node: dict[str, Any], depth: int) -> str:
        match node["type"]:
            case "enum":
                return "one of " + ", ".join(map(json.dumps, node["symbols"]))
            case "array":
                return f"an array; each item {self.words(node['items'], depth + 1)}"
            case "map":
                return f"an object; each member {self.words(node['values'], depth + 1)}"
            case "record":
                return f"an object with {', '.join(_read_below(node, ()))}"
            case "fixed":
                return f"text of {node['size']} characters"
            case inner:
                return self.words(inner, depth)

    def _resolved(self, node: Any) -> Any:
        return self._named.get(node, node) if isinstance(node, str) else node

    def _at(self, node: Any, path: tuple[str, ...], field: dict[str, Any] | None) -> SchemaPlace | None:
        node = self._resolved(node)
        if not path:
            return SchemaPlace(node, field)
        if isinstance(node, list):
            places = (self._at(branch, path, field) for branch in node)
            return next((place for place in places if place and place.field is not field), None)
        if not isinstance(node, dict):
            return None
        if node["type"] == "record":
            return self._in_record(node, path)
        inner = node.get("items") or node.get("values")
        return self._at(inner, path[1:], field) if inner else None

    def _in_record(self, record: dict[str, Any], path: tuple[str, ...]) -> SchemaPlace | None:
        for field in record["fields"]:
            for read in filter(None, source(field).paths):
                if path[: len(read)] == read:
                    return self._at(field["type"], path[len(read) :], field) or SchemaPlace(None, field)
                if read[: len(path)] == path:
                    return SchemaPlace(None, field)
        collector = next((field for field in record["fields"] if source(field).collects), None)
        return self._at(collector["type"], path, collector) if collector else None


def _nodes(node: Any) -> Iterator[Any]:
    """Give all types of a schema in normal form, each where it is defined."""
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
