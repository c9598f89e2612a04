"""Compares the results of two contracts for one reading: each difference has a kind, a place, and both values.

Records are compared topic by topic, in order. Topics that only one of the contracts has are paired in order. Values are
compared as consumers read them, decoded with the schema that wrote them: a field that becomes a `long` and keeps its
numbers is not a difference, one that gets another `logicalType` may be.

An addition is a difference that does not affect consumers which ignore what they do not know.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.framing import SCHEMA_ID_HEADER
from gateway.core.reading import DeadLetter, Record
from gateway.operate.dlq.dead_letters import iso
from gateway.operate.drift.partitioner import murmur2
from gateway.operate.shadow.pipeline import NOT_SUBSCRIBED
from gateway.operate.tail.decoder import decoded, unframed
from gateway.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.core.model import Contract
    from gateway.core.reading import Headers
    from gateway.operate.shadow.pipeline import Outcome

KINDS = {  # of differences
    "dead": "newly dead",
    "lost": "no longer received",
    "dropped": "newly dropped",
    "reason": "dead for another reason",
    "stream": "other stream",
    "topic": "other topic",
    "records": "other number of records",
    "key": "other key",
    "partition": "other partition",
    "value": "other value",
    "header": "other header",
    "timestamp": "other time",
    "subscription": "subscription lost",
    "schema": "schema not compatible",
}
ADDITIONS = {
    "accepted": "newly accepted",
    "also": "also goes to",
    "field": "new field",
    "subscribed": "subscription won",
    "evolved": "schema compatible",
}
QUOTING = frozenset({"accepted", "dead", "field", "header", "key", "value"})  # their before and after quote a device
SHOWN_BYTES = 120  # of a value


ABSENT: Any = "absent"  # stands for a missing value; compared by identity


class Difference(NamedTuple):
    """A difference between the two outcomes of a reading."""

    kind: str  # of `KINDS` or `ADDITIONS`
    where: str  # reason and pointer, path in the record, header, topic ...; with the kind it makes a group
    before: str = ""
    after: str = ""
    is_moved: bool = False  # to another partition


class Comparison:
    """Compares outcomes under the contracts that made them; `schemas` are those of the placeholders."""

    def __init__(self, present: Contract, new: Contract, schemas: Sequence[Any]) -> None:
        self._schemas = schemas
        self._partitions = [_partitions(present), _partitions(new)]
        self._is_split = self._partitions[0] != self._partitions[1]  # so that equal records may differ in their place

    def __call__(self, old: Outcome, new: Outcome) -> Iterator[Difference]:
        """Give the differences; none when consumers see the same."""
        if isinstance(old.made, list) and isinstance(new.made, list):
            if old.stream != new.stream:
                yield Difference("stream", new.stream, old.stream, new.stream)
            if old.made != new.made or self._is_split:
                yield from self._records(old.made, new.made)
        elif isinstance(new.made, list):
            yield Difference("accepted", *_fate(old), ", ".join(dict.fromkeys(one.topic for one in new.made)))
        elif isinstance(new.made, DeadLetter):
            yield from _dead(old, new)
        elif not isinstance(old.made, str):
            kind = "lost" if new.made == NOT_SUBSCRIBED else "dropped"
            yield Difference(kind, new.made, _fate(old)[0], new.made)

    def _records(self, old: list[Record], new: list[Record]) -> Iterator[Difference]:
        before, after = _by_topic(old), _by_topic(new)
        pairs = [(before[topic], after[topic]) for topic in before if topic in after]
        gone = [before[topic] for topic in before if topic not in after]
        begun = [after[topic] for topic in after if topic not in before]
        for one, other in zip_longest(gone, begun, fillvalue=()):
            left, right = (each[0].topic if each else ABSENT for each in (one, other))
            kind, where = ("topic", f"{left} -> {right}") if one else ("also", right)
            yield Difference(kind, where, left, right)
            pairs += [(one, other)] if one and other else []
        for one, other in pairs:
            if len(one) != len(other):
                yield Difference("records", other[0].topic, str(len(one)), str(len(other)))
            for each, its in zip(one, other, strict=False):
                if each != its or self._is_split:
                    yield from self._record(each, its)

    def _record(self, old: Record, new: Record) -> Iterator[Difference]:
        places = [_partition(one, of) for one, of in zip((old, new), self._partitions, strict=True)]
        is_moved = old.topic == new.topic and None not in places and places[0] != places[1]
        if old.key != new.key:
            yield Difference("key", new.topic, _shown(old.key), _shown(new.key), is_moved)
        elif is_moved:
            yield Difference("partition", new.topic, str(places[0]), str(places[1]), is_moved)
        if old.value != new.value or old.headers != new.headers:
            for path, before, after in differing(self._decoded(old), self._decoded(new)):
                yield Difference(
                    "field" if before is ABSENT else "value", path or "(record)", _shown(before), _shown(after)
                )
        if old.headers != new.headers:
            yield from _headers(old.headers, new.headers)
        if old.timestamp != new.timestamp:
            yield Difference("timestamp", new.topic, iso(old.timestamp), iso(new.timestamp))

    def _decoded(self, record: Record) -> Any:
        if record.value is None:
            return "tombstone"
        schema_id, body = unframed(record.value, dict(record.headers))  # type: ignore[arg-type]  # our own headers have values
        assert schema_id is not None, "the transform has framed it"
        return decoded(self._schemas[schema_id], body)


def differing(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give the places where two values differ, `*` being any item of an array; numbers of all types are compared."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            below = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from differing(old.get(name, ABSENT), new.get(name, ABSENT), below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from differing(one, other, f"{path}/*")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, old, new


def _dead(old: Outcome, new: Outcome) -> Iterator[Difference]:
    """Compare with a dead letter."""
    reason, detail = _fate(new)
    former, _ = _fate(old)
    if not isinstance(old.made, DeadLetter):
        yield Difference("dead", reason, former, detail)
    elif former != reason:
        yield Difference("reason", reason, former, reason)
    elif old.dead_letters != new.dead_letters:
        where = f"{old.dead_letters} -> {new.dead_letters}"
        yield Difference("topic", where, old.dead_letters, new.dead_letters)


def _fate(outcome: Outcome) -> tuple[str, str]:
    """Name what becomes of a reading, and say why."""
    match outcome.made:
        case DeadLetter(reason, pointer, detail):
            return f"{reason} {cut(pointer, SHOWN_BYTES)}".rstrip(), cut(detail, SHOWN_BYTES)
        case str() as why:
            return why, ""
        case records:
            return ", ".join(dict.fromkeys(one.topic for one in records)), ""


def _by_topic(records: list[Record]) -> dict[str, list[Record]]:
    found = defaultdict[str, list[Record]](list)
    for one in records:
        found[one.topic].append(one)
    return found


def _headers(old: Headers, new: Headers) -> Iterator[Difference]:
    before, after = _by_name(old), _by_name(new)
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            left, right = (", ".join(each[name]) if name in each else ABSENT for each in (before, after))
            yield Difference("header", name, left, right)


def _by_name(headers: Headers) -> dict[str, list[str]]:
    """Collect the values of headers by name; the id of a schema is a placeholder, so only its presence counts."""
    found = defaultdict[str, list[str]](list)
    for name, value in headers:
        found[name].append("" if name == SCHEMA_ID_HEADER else cut(value or b"", SHOWN_BYTES))
    return found


def _partitions(contract: Contract) -> dict[str, int | None]:
    topics = (route.topic for stream in contract.streams.values() for route in stream.routes)
    return {topic.name: topic.partitions for topic in topics}


def _partition(record: Record, partitions: Mapping[str, int | None]) -> int | None:
    """Where Kafka puts a record; None when the contract leaves the number of partitions to the cluster."""
    count = partitions.get(record.topic)
    return (murmur2(record.key) & 0x7FFFFFFF) % count if count else None


def _shown(value: Any) -> str:
    is_text = value is ABSENT or isinstance(value, bytes)
    return cut(value if is_text else json.dumps(value, ensure_ascii=False), SHOWN_BYTES)
