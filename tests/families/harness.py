"""What a contract makes of published messages, without servers: records, a dead letter, or nothing.

An outcome is compared as readers see it: `Kafka topic`, key, and the record as an example of the Kafka message would
state it, so fields with a default may be absent.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import fastavro

from gateway import contract as contracts
from gateway.contract.examples import as_read, encoded
from gateway.core.filters import plan
from gateway.core.reading import DeadLetter, Reading, Record
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED, topic_index

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.model import Stream

LIMIT = 1_000_000
NOW = 1_767_592_800_000


@dataclass
class Published:
    """A message of a table, and what is expected of it."""

    name: str
    topic: str
    payload: str
    records: list[dict[str, Any]] | None = None  # of one topic, or each with its own
    key: str | list[str] | None = None
    to: str | list[str] | None = None  # Kafka topics
    dead: str | None = None  # reason, and pointer if there is one
    dropped: str | None = None  # reason
    source: str = ""  # where the payload was seen


class Outcomes:
    """The transforms of all streams of a contract."""

    def __init__(self, path: Path) -> None:
        contract, self.findings = contracts.examine(path)
        assert contract is not None, [str(one) for one in self.findings]
        self.streams: dict[str, Stream] = contract.streams
        self._ignored = contract.ignored
        filters = plan(one.address.filter for one in self.streams.values())
        self._stream_of = topic_index(contract.addresses(), filters)

    @cached_property
    def _transforms(self) -> dict[str, Any]:
        return {name: transform_of(one, range(len(one.routes)), LIMIT) for name, one in self.streams.items()}

    def of(self, topic: str, payload: bytes) -> str | list[tuple[Record, Any]]:
        """The records of a message, each with its schema; or `dead: reason pointer`, or `dropped: reason`."""
        name = self._stream_of(topic.encode())
        if name in {UNMAPPED, NOT_ADDRESSED}:
            return f"dropped: {name.replace(UNMAPPED, 'not subscribed')}"
        if name in self._ignored:
            return "dropped: ignored"
        results = self._transforms[name].transform_all([Reading(name, topic.encode(), payload, NOW)])
        if results.ignored:
            return "dropped: ignored"
        if results.dead_letters:
            (letter,) = results.dead_letters.values()
            assert isinstance(letter, DeadLetter)
            return f"dead: {letter.reason} {letter.pointer}".rstrip()
        made = [one for each in results.records for one in (each if isinstance(each, list) else [each])]
        return [(one, self.streams[name].routes[_schema_id(one)].schema) for one in made]


def _schema_id(record: Record) -> int:
    assert record.value is not None
    return int.from_bytes(record.value[1:5])


def check(outcomes: Outcomes, message: Published) -> None:
    """A message gives what the table says, to the byte."""
    result = outcomes.of(message.topic, message.payload.encode())
    if message.dead or message.dropped:
        assert result == (f"dead: {message.dead}" if message.dead else f"dropped: {message.dropped}"), result
        return
    assert not isinstance(result, str), result
    assert message.records is not None
    given = [_shown(record, schema) for record, schema in result]
    wanted = [_completed(one, schema) for one, (_, schema) in zip(message.records, result, strict=False)]
    assert given == wanted, "\n".join(_differences(wanted, given))
    assert len(message.records) == len(result), given[len(wanted) :]
    for expected, attribute in ((message.key, "key"), (message.to, "topic")):
        if expected is not None:
            each = expected if isinstance(expected, list) else [expected] * len(result)
            found = [getattr(record, attribute) for record, _ in result]
            texts = [one.decode() if isinstance(one, bytes) else one for one in found]
            assert texts == each, texts


def _differences(wanted: list[Any], given: list[Any]) -> list[str]:
    return [
        f"{index} {name}: {one.get(name)!r}, expected {other.get(name)!r}"
        for index, (other, one) in enumerate(zip(wanted, given, strict=False))
        for name in other
        if one.get(name) != other.get(name)
    ]


def _shown(record: Record, schema: Any) -> Any:
    assert record.value is not None
    return fastavro.schemaless_reader(io.BytesIO(record.value[5:]), as_read(schema.definition), None)


def _completed(expected: Any, schema: Any) -> Any:
    definition = as_read(schema.definition)
    return fastavro.schemaless_reader(io.BytesIO(encoded(expected, definition)), definition, None)
