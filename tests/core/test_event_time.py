"""The time of a record in Kafka: the field that the contract names, where Kafka takes and keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.event_time import EventTime
from gateway.core.codec.json_text import parse
from gateway.core.codec.precise_encoder import compile_encoder
from gateway.core.model import Topic
from gateway.core.reading import Reading, Record
from gateway.core.transform import Transform
from tests.contract_values import record, stream
from tests.core.avro_schemas import records

if TYPE_CHECKING:
    from collections.abc import Mapping

Framing = Literal["payload", "header"]

NOW = 1_791_547_200_000
HOUR = 3_600_000
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def dated(
    kind: Any,
    value: str,
    configuration: Mapping[str, str] | None = None,
    framing: Framing = "payload",
    factor: Any = 1,
) -> int:
    """Give the timestamp of a record whose field `at`, of this type and with this factor, has this JSON."""
    field = {"name": "at", "type": kind, **({} if factor == 1 else {"x-source": {"factor": factor}})}
    schema = record(("m", "string"), field, ("last", "string"))
    made = stream("s", schema, address="s", keys=("/m",))
    route: Any = replace(
        made.route, timestamp="/at", topic=Topic("s", configuration=dict(configuration or {})), framing=framing
    )
    payload = b'{"m":"a","last":"","at":' + value.encode() + b"}"
    found = Transform(replace(made, route=route), 7, 1_000)(Reading("s", b"s", payload, NOW))
    assert isinstance(found, Record), found
    return found.timestamp


@pytest.mark.parametrize("framing", ["payload", "header"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (MILLIS, str(NOW - 5)),
        (MILLIS, '"2026-10-09T11:59:59.995Z"'),
        ({"type": "long", "logicalType": "timestamp-micros"}, str((NOW - 5) * 1_000 + 999)),
        ({"type": "long", "logicalType": "timestamp-nanos"}, str((NOW - 5) * 1_000_000)),
        (["null", MILLIS], str(NOW - 5)),
        ([MILLIS, "null"], str(NOW - 5)),
    ],
)
def test_a_record_has_the_time_of_its_field(kind: Any, value: str, framing: Framing) -> None:
    """In milliseconds, whatever the field counts in; the rest of one is cut."""
    assert dated(kind, value, framing=framing) == NOW - 5


@pytest.mark.parametrize(("value", "factor"), [(str(NOW // 1_000 - 5), 1_000), (f"{NOW // 1_000 - 5}.000", "1e3")])
def test_a_record_has_the_time_of_a_field_that_counts_in_another_unit(value: str, factor: Any) -> None:
    """Seconds here: the record's time is the field's, after its factor."""
    assert dated(MILLIS, value, factor=factor) == NOW - 5_000


@pytest.mark.parametrize("kind", [["null", MILLIS], [MILLIS, "null"]])
def test_a_record_whose_field_is_null_has_the_time_of_its_arrival(kind: Any) -> None:
    assert dated(kind, "null") == NOW


@pytest.mark.parametrize(
    ("value", "configuration", "is_taken"),
    [
        (1, {}, True),
        (0, {}, False),
        (-1, {}, False),
        (NOW + HOUR, {}, True),
        (NOW + HOUR + 1, {}, False),
        (NOW + HOUR, {"message.timestamp.after.max.ms": "1000"}, False),
        (NOW + 24 * HOUR, {"message.timestamp.after.max.ms": "9223372036854775807"}, True),
        (NOW - HOUR, {"retention.ms": str(HOUR)}, False),
        (NOW - HOUR + 1, {"retention.ms": str(HOUR)}, True),
        (NOW - HOUR, {"retention.ms": "-1"}, True),
        (NOW - HOUR, {"retention.ms": str(HOUR), "cleanup.policy": "compact"}, True),
        (NOW - HOUR, {"retention.ms": str(HOUR), "cleanup.policy": "compact,delete"}, False),
    ],
)
def test_a_time_that_kafka_would_not_take_or_keep_gives_way_to_the_arrival(
    value: int,
    configuration: dict[str, str],
    is_taken: bool,  # noqa: FBT001 - the expectation of a table
) -> None:
    assert dated(MILLIS, str(value), configuration) == (value if is_taken else NOW)


def test_a_record_without_value_has_the_time_of_its_arrival() -> None:
    """A tombstone holds no field."""
    schema = record(("m", "string"), {"name": "at", "type": MILLIS})
    made = stream("s", schema, address="s/{m}", keys=("/m",), locations={"m": "/m"})
    topic = Topic("s", configuration={"cleanup.policy": "compact"})
    transform = Transform(replace(made, route=replace(made.route, topic=topic, timestamp="/at")), 7, 1_000)
    assert transform(Reading("s", b"s/a", b"", NOW)) == Record("s", b"a", None, [], NOW)


@given(st.data())
def test_the_field_is_found_behind_fields_of_any_type(data: st.DataObject) -> None:
    """Records of every shape are passed over to their end, at the outermost level and in a record inside."""
    schema, samples = data.draw(records())
    sample = data.draw(samples)
    at = {"name": "at_", "type": MILLIS}
    inner = {"type": "record", "name": "Inner_", "fields": [{"name": "it_", "type": schema}, at]}
    outer = {"type": "record", "name": "Outer_", "fields": [{"name": "in_", "type": inner}, {**at, "name": "last_"}]}
    text = f'{{"in_":{{"it_":{sample.json},"at_":{NOW - 1}}},"last_":{NOW - 2}}}'
    out = bytearray()
    compile_encoder(outer)(parse(text.encode()), out)
    assert EventTime(outer, "/in_/at_", 0, {})(bytes(out), NOW) == NOW - 1
    assert EventTime(outer, "/last_", 0, {})(bytes(out), NOW) == NOW - 2
