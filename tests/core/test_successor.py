"""A stream's transform after its address has changed: readings from before go as before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.core.address import Address
from gateway.core.reading import Reading, Reason
from gateway.core.stream_transform import transform_of
from gateway.core.successor import Successor
from tests.contract_values import record, route, stream

if TYPE_CHECKING:
    from gateway.core.model import Stream

SCHEMA = record(("key", "string"), ("number", "int"))
OLD = stream("old", SCHEMA, address="lab/a", keys=("/key",))
NEW = replace(OLD, address=Address.parse("lab/b"), route=route("new", SCHEMA, ("/key",)))
TWICE = replace(OLD, also=(route("copy", SCHEMA, ("/key",)),))


def reading(topic: str, payload: bytes = b'{"key": "k", "number": 1}') -> Reading:
    return Reading("old", topic.encode(), payload, 0)


def successor(former: Stream, now: Stream = NEW) -> Successor:
    return Successor(transform_of(now, [2], 1_000), transform_of(former, [1] * len(former.routes), 1_000))


def test_transform_all_gives_readings_of_former_topics_to_the_former_transform() -> None:
    """All keep their places: records of both, and a dead letter of each."""
    readings = [
        reading("lab/b"),
        reading("lab/a"),
        reading("lab/b", b"?"),
        reading("lab/a", b"?"),
        reading("lab/b"),
        reading("lab/c"),
    ]
    results = successor(OLD).transform_all(readings)
    assert [each.topic for (each,) in results.records] == ["new", "old", "new"]
    assert {place: each.reason for place, each in results.dead_letters.items()} == {
        2: Reason.NOT_JSON,
        3: Reason.NOT_JSON,
        5: Reason.UNMAPPED_TOPIC,
    }
    assert results.readings == 6


def test_transform_all_gives_lists_where_one_of_both_does() -> None:
    """The sink takes either records or lists of records at a time."""
    results = successor(TWICE).transform_all([reading("lab/b"), reading("lab/a")])
    assert [[each.topic for each in made] for made in results.records] == [["new"], ["old", "copy"]]


@pytest.mark.parametrize("schema", [record(("key", "string"), {"name": "number", "type": "int", "x-counter": {}})])
def test_transform_all_leaves_counters_of_former_readings_out(schema: dict[str, object]) -> None:
    """The stream's monitor does not know their topic any more."""
    former = replace(OLD, route=route("old", schema, ("/key",)))
    now = replace(NEW, route=route("new", schema, ("/key",)))
    results = successor(former, now).transform_all([reading("lab/b"), reading("lab/a")])
    assert [each.counts is None for (each,) in results.records] == [False, True]


def test_successor_of_a_successor_knows_the_topics_of_all() -> None:
    third = replace(OLD, address=Address.parse("lab/c"), route=route("third", SCHEMA, ("/key",)))
    second = Successor(transform_of(third, [3], 1_000), successor(OLD))
    made = second.transform_all([reading("lab/c"), reading("lab/a"), reading("lab/b")]).records
    assert [each.topic for (each,) in made] == ["third", "old", "new"]
