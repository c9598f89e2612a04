"""The time of a record in Kafka: the field that the contract names, where Kafka takes and keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.codec.event_time import RecordTime, TimeSource
from gateway.core.model import Topic
from gateway.core.reading import Reading, Record
from gateway.core.transform import Transform
from tests.contract_values import codec_of, record, stream
from tests.core.avro_schemas import records

if TYPE_CHECKING:
    from collections.abc import Mapping

relaxed = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

Framing = Literal["payload", "header"]

NOW = 1_791_547_200_000
HOUR = 3_600_000
WEEK = 7 * 24 * HOUR
KEPT, MOST = {"retention.ms": "-1"}, str(2**63 - 1)
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
    route: Any = replace(made.route, timestamp="/at", framing=framing)
    payload = b'{"m":"a","last":"","at":' + value.encode() + b"}"
    record_time = RecordTime()
    record_time.limit(configuration or {}, NOW)
    transform = Transform(replace(made, route=route), 7, 1_000, record_times={"s": record_time})
    found = transform(Reading("s", b"s", payload, NOW))
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
        (1, KEPT, True),
        (0, KEPT, False),
        (-1, KEPT, False),
        (NOW - WEEK + 1, {}, True),
        (NOW - WEEK, {}, False),
        (NOW - WEEK, {"cleanup.policy": "compact"}, True),
        (NOW + HOUR, {}, True),
        (NOW + HOUR + 1, {}, False),
        (NOW + HOUR, {"message.timestamp.after.max.ms": "1000"}, False),
        (NOW + 24 * HOUR, {"message.timestamp.after.max.ms": "9223372036854775807"}, True),
        (NOW - HOUR, {"retention.ms": str(HOUR)}, False),
        (NOW - HOUR + 1, {"retention.ms": str(HOUR)}, True),
        (NOW - HOUR, {"retention.ms": "-1"}, True),
        (NOW - HOUR, {"retention.ms": str(HOUR), "cleanup.policy": "compact"}, True),
        (NOW - HOUR, {"retention.ms": str(HOUR), "cleanup.policy": "compact,delete"}, False),
        (NOW - HOUR, {"message.timestamp.before.max.ms": str(HOUR)}, True),
        (NOW - HOUR - 1, {"message.timestamp.before.max.ms": str(HOUR)}, False),
        (NOW - WEEK, {"message.timestamp.before.max.ms": MOST, "retention.ms": MOST}, True),
        (NOW - 1_001, {"message.timestamp.difference.max.ms": "1000"}, False),
        (NOW + 1_001, {"message.timestamp.difference.max.ms": "1000"}, False),
        (NOW + HOUR, {"message.timestamp.difference.max.ms": MOST}, True),
        (NOW - WEEK, {"message.timestamp.type": "LogAppendTime"}, True),
        (NOW - WEEK, {"retention.ms": "soon"}, False),
    ],
)
def test_a_time_that_kafka_would_not_take_or_keep_gives_way_to_the_arrival(
    value: int,
    configuration: dict[str, str],
    is_taken: bool,  # noqa: FBT001 - the expectation of a table
) -> None:
    assert dated(MILLIS, str(value), configuration) == (value if is_taken else NOW)


@pytest.mark.parametrize("step", [10 * WEEK, -10 * WEEK])
def test_the_limits_move_with_the_gateways_clock(step: int) -> None:
    """What the topic keeps is counted from now; what it keeps for ever has no limit."""
    week, new, for_ever = RecordTime(), RecordTime(), RecordTime()
    arrival = NOW + step
    week.limit({"retention.ms": str(WEEK)}, NOW)
    new.limit({"retention.ms": str(WEEK)}, arrival - 5_000)  # looked up when the clock had just been set
    for_ever.limit(KEPT, NOW)
    for each in (week, new, for_ever):
        each.follow(step, arrival)
    assert [week(arrival - WEEK + 1, arrival), week(arrival - WEEK, arrival)] == [arrival - WEEK + 1, arrival]
    assert [week.earliest - new.earliest, week.stepped, new.stepped] == [5_000, step, step]
    assert (for_ever.earliest, for_ever.stepped) == (1, step)


@pytest.mark.parametrize("places", [(0,), (2,), (0, 2)])
@pytest.mark.parametrize("timestamp", [None, "/at"])
def test_an_arrival_that_kafka_would_not_keep_gives_way_to_the_time_of_sending(
    places: tuple[int, ...], timestamp: str | None
) -> None:
    """After a long outage, or where the clock was not set: librdkafka takes 0 for now."""
    made = stream("s", record(("m", "string"), {"name": "at", "type": ["null", MILLIS]}), address="s", keys=("/m",))
    record_time = RecordTime()
    record_time.limit({"retention.ms": str(HOUR)}, NOW)
    dated_by = replace(made.route, timestamp=timestamp)
    transform = Transform(replace(made, route=dated_by), 7, 1_000, record_times={"s": record_time})
    arrivals = [NOW - HOUR if place in places else NOW - 1 for place in range(3)]
    found = transform.transform_all([Reading("s", b"s", b'{"m":"a","at":null}', at) for at in arrivals]).records
    assert [one.timestamp for one in found] == [0 if place in places else NOW - 1 for place in range(3)]


def test_a_limit_holds_from_the_next_record_on() -> None:
    choose = RecordTime()
    assert choose(1, NOW) == 1
    choose.limit({"retention.ms": str(HOUR)}, NOW)
    assert choose(NOW - HOUR, NOW) == NOW
    choose.limit({"retention.ms": str(HOUR)}, NOW + HOUR)
    assert choose(NOW, NOW) == 0
    choose.limit(KEPT, NOW)
    assert choose(1, NOW) == 1


def test_a_record_without_value_has_the_time_of_its_arrival() -> None:
    """A tombstone holds no field."""
    schema = record(("m", "string"), {"name": "at", "type": MILLIS})
    made = stream("s", schema, address="s/{m}", keys=("/m",), locations={"m": "/m"})
    topic = Topic("s", configuration={"cleanup.policy": "compact"})
    transform = Transform(replace(made, route=replace(made.route, topic=topic, timestamp="/at")), 7, 1_000)
    assert transform(Reading("s", b"s/a", b"", NOW)) == Record("s", b"a", None, [], NOW)


@relaxed
@given(st.data())
def test_both_paths_find_the_time_among_fields_of_any_type(data: st.DataObject) -> None:
    """At the outermost level and in a record inside, behind fields of every shape."""
    schema, samples = data.draw(records())
    sample = data.draw(samples)
    at = {"name": "at_", "type": data.draw(st.sampled_from([MILLIS, ["null", MILLIS]]))}
    inner = {"type": "record", "name": "Inner_", "fields": [{"name": "it_", "type": schema}, at]}
    last = {**at, "name": "last_", "type": MILLIS}
    outer = record(("key_", "string"), ("in_", inner), last)
    text = f'{{"key_":"k","in_":{{"it_":{sample.json},"at_":{NOW - 1}}},"last_":"2026-10-09T11:59:59.998Z"}}'
    for pointer, expected in (("/in_/at_", NOW - 1), ("/last_", NOW - 2)):
        made = codec_of(outer, ("/key_",), event_time=pointer)
        assert made.not_fast_because == ""
        assert made.fast(text.encode(), made.prepare(())) == made.encode_precisely(text.encode())
        assert made.fast(text.encode(), made.prepare(()))[2] == expected


@pytest.mark.parametrize(
    ("field", "payload", "expected"),
    [
        ({"type": MILLIS}, f'"at":{NOW}', NOW),
        ({"type": MILLIS, "default": 5}, '"n":1', 5),
        ({"type": MILLIS, "default": 5, "x-source": {"factor": 1000}}, '"n":1', 5),
        ({"type": MILLIS, "default": 5, "x-source": {"factor": 1000}}, '"at":7', 7_000),
        ({"type": ["null", MILLIS], "default": None}, '"n":1', None),
        ({"type": ["null", MILLIS], "default": None}, '"at":null', None),
        ({"type": ["null", MILLIS], "default": None, "x-source": {"factor": 1000}}, '"at":null', None),
        ({"type": ["null", MILLIS], "default": None, "x-source": {"factor": 1000}}, '"n":1', None),
        ({"type": [MILLIS, "null"], "default": 5}, '"at":"2026-10-09T12:00:00Z"', NOW),
        ({"type": MILLIS, "x-source": ["$message.payload#/n", "$message.payload#/at"]}, '"at":7', 7),
        ({"type": {"type": "long", "logicalType": "timestamp-nanos"}}, '"at":-1', -1),
    ],
)
def test_both_paths_read_the_time(field: dict[str, Any], payload: str, expected: int | None) -> None:
    """Defaults, factors, several sources and null included; the fraction of a millisecond is rounded down."""
    members = [{"name": "at", **field}, {"name": "n", "type": ["null", "long"], "default": None}]
    if isinstance(field.get("x-source"), list):
        members.pop()
    made = codec_of(record(("m", "string"), *members), ("/m",), event_time="/at")
    assert made.not_fast_because == ""
    text = f'{{"m":"a",{payload}}}'.encode()
    encoded = made.fast(text, made.prepare(()))
    assert encoded[2] == expected
    assert made.encode_precisely(text) == encoded


BY_UPTIME = (TimeSource("/at", 5), TimeSource("/up", 5, is_uptime=True))


@pytest.mark.parametrize("is_with_decimals", [False, True])
@pytest.mark.parametrize(
    ("field", "payload", "expected"),
    [
        ({"type": "double"}, '"up":2360.4', 2_360_400),
        ({"type": "double"}, '"up":2360.4005', 2_360_400),
        ({"type": "float"}, '"up":1e3', 1_000_000),
        ({"type": "long"}, '"up":7', 7_000),
        ({"type": ["null", "int"]}, '"up":null', None),
        ({"type": ["null", "double"], "default": None}, '"n":1', None),
        ({"type": "double", "default": 1.5}, '"n":1', 1_500),
        ({"type": "long", "default": 5, "x-source": {"factor": 60}}, '"n":1', 5_000),
        ({"type": "double", "x-source": {"factor": 0.001}}, '"up":4294967295', 4_294_967_295),
        ({"type": "double", "x-source": {"parse": "number"}}, '"up":"2360.4"', 2_360_400),
        ({"type": "double"}, '"up":-0.5', None),
        ({"type": "double"}, '"up":1e308', None),
    ],
)
def test_both_paths_read_several_times(
    field: dict[str, Any],
    payload: str,
    expected: int | None,
    is_with_decimals: bool,  # noqa: FBT001 - the column of the table
) -> None:
    """A time and an uptime, which is a number of any kind: read by `x-source`, absent, null or of no device."""
    members = [{"name": "at", "type": ["null", MILLIS], "default": None}, {"name": "up", **field}]
    members.append({"name": "n", "type": ["null", "long"], "default": None})
    if is_with_decimals:
        decimal = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
        members.append({"name": "d", "type": ["null", decimal], "default": None})
    made = codec_of(record(("m", "string"), *members), ("/m",), event_time=BY_UPTIME)
    assert made.not_fast_because == ""
    for at in (None, NOW):
        text = f'{{"m":"a","at":{"null" if at is None else at},{payload}}}'.encode()
        encoded = made.fast(text, made.prepare(()))
        assert encoded[2] == (at, expected)
        assert made.encode_precisely(text) == encoded
