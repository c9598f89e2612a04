"""Which clock dates a record: the device's, its time since the start, or the gateway's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.codec.event_time import RecordTime, TimeSource
from gateway.core.dating import DRIFT, UptimeClocks
from gateway.core.dead_letter import SOURCE_HEADER
from gateway.core.model import Topic
from gateway.core.reading import Reading, Record
from gateway.core.transform import Transform
from tests.contract_values import record, stream

NOW = 1_791_547_200_000
SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
IN_2005 = 1_104_625_548_000  # the sample of the data sheet of Oesterreichs Energie's adapter
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
SCHEMA = record(
    ("m", "string"),
    {"name": "at", "type": ["null", MILLIS], "default": None},
    {"name": "up", "type": ["null", "double"], "default": None},
)
BY_ALL = (TimeSource("/at", DAY), TimeSource("/up", DAY, is_uptime=True))


def transform(dated_by: Any = BY_ALL, configuration: dict[str, str] | None = None, **more: Any) -> Transform:
    """Make a transform whose records say what dated them."""
    made = stream("s", SCHEMA, address="s/{d}", keys=("/m",))
    route = replace(made.route, timestamp=dated_by, headers=frozenset({SOURCE_HEADER}), **more)
    record_time = RecordTime()
    record_time.limit(configuration or {"retention.ms": "-1"}, NOW)
    return Transform(replace(made, route=route), 7, 1_000, record_times={"s": record_time})


def reading(members: str = "", at: int = NOW, key: str = "a", **more: Any) -> Reading:
    payload = f'{{"m":"{key}"{"," if members else ""}{members}}}'.encode()
    return Reading("s", b"s/a", payload, at, **more)


def dated(made: Transform, *readings: Reading) -> list[tuple[int, str]]:
    """Give each record's time, relative to its arrival, and what it says of it."""
    found = made.transform_all([*readings])
    assert not found.dead_letters
    return [
        (one.timestamp - each.received_at, dict(one.headers)[SOURCE_HEADER].decode())  # type: ignore[union-attr]  # it has one
        for one, each in zip(found.records, readings, strict=True)
    ]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (f'"at":{NOW - 5}', (-5, "device")),
        (f'"at":{NOW - DAY}', (-DAY, "device")),
        (f'"at":{NOW - DAY - 1}', (0, "arrival")),
        (f'"at":{NOW + DAY}', (0, "arrival")),
        (f'"at":{NOW + HOUR}', (HOUR, "device")),
        (f'"at":{IN_2005}', (0, "arrival")),
        (f'"at":{IN_2005},"up":782238.7', (0, "uptime")),
        ('"at":null,"up":5', (0, "uptime")),
        ("", (0, "arrival")),
        ('"up":null', (0, "arrival")),
        ('"up":-1', (0, "arrival")),
        ('"up":1e300', (0, "arrival")),
        ('"up":1E9', (0, "uptime")),
        ('"up":1e10', (0, "uptime")),
        ('"up":10000000001', (0, "arrival")),
    ],
)
def test_the_first_time_that_is_there_and_within_its_bound_counts(members: str, expected: tuple[int, str]) -> None:
    """A clock of 2005 passes where the topic keeps its records for ever, unless it has a bound."""
    made = transform()
    assert dated(made, reading(members)) == [expected]
    assert dated(made, reading(members)) == [expected], "again, by the fast path that knows the topic"


def test_a_time_without_a_bound_must_be_one_that_the_topic_takes() -> None:
    unbound = (TimeSource("/at"), TimeSource("/up", DAY, is_uptime=True))
    assert dated(transform(unbound), reading(f'"at":{IN_2005}')) == [(IN_2005 - NOW, "device")]
    week = transform(unbound, {"retention.ms": str(7 * DAY)})
    assert dated(week, reading(f'"at":{IN_2005},"up":3'), reading(f'"at":{IN_2005}')) == [(0, "uptime"), (0, "arrival")]


@pytest.mark.parametrize("dated_by", ["/at", None])
def test_the_header_is_there_without_a_list_too(dated_by: str | None) -> None:
    expected = [(-5, "device"), (0, "arrival")] if dated_by else [(0, "arrival")] * 2
    assert dated(transform(dated_by), reading(f'"at":{NOW - 5}'), reading()) == expected


def test_a_stream_that_declares_neither_makes_plain_records() -> None:
    plain = transform(None)
    headers: Any = {"headers": frozenset()}
    made = stream("s", SCHEMA, address="s/{d}", keys=("/m",))
    silent = Transform(replace(made, route=replace(made.route, timestamp=BY_ALL, **headers)), 7, 1_000)
    found = silent(reading('"up":5'))
    assert isinstance(found, Record)
    assert (found.headers, plain(reading()).headers) == ([], [(SOURCE_HEADER, b"arrival")])  # type: ignore[union-attr]  # it fits


def test_a_tombstone_has_the_time_of_its_arrival() -> None:
    """An empty payload ends its key in a compacted topic; it has no time of its own."""
    made = stream("s", SCHEMA, address="s/{m}", keys=("/m",), locations={"m": "/m"})
    topic = Topic("s", configuration={"cleanup.policy": "compact"})
    route: Any = replace(made.route, topic=topic, timestamp=BY_ALL, headers=frozenset({SOURCE_HEADER}))
    ends = Transform(replace(made, route=route), 7, 1_000)(structs.replace(reading(), payload=b""))
    assert ends == Record("s", b"a", None, [(SOURCE_HEADER, b"arrival")], NOW)


def test_an_uptime_takes_the_shortest_way_that_it_has_seen() -> None:
    """Messages are on the way for 0.2 to 9 s, one is held up for six hours: all get the time of sending."""
    ways = [900, 200, 5_000, 9_000, 6 * HOUR, 200, 300]
    started, made = NOW - 100 * SECOND, transform()
    sent = [started + (100 + 10 * number) * SECOND for number in range(len(ways))]
    readings = [reading(f'"up":{(at - started) / 1_000}', at + way) for at, way in zip(sent, ways, strict=True)]
    found = dated(made, *readings)
    assert found[0] == (0, "uptime"), "the first one counts as just measured"
    best = [one.received_at + late - at for one, (late, _), at in zip(readings, found, sent, strict=True)]
    assert all(200 <= each <= 210 for each in best[1:]), best
    assert {source for _, source in found} == {"uptime"}


def test_an_uptime_that_falls_starts_anew() -> None:
    """The device started again, or its milliseconds in 32 bits overflowed; a float and a whole number are alike."""
    made = transform()
    overflow = 2**32 / 1_000
    assert dated(made, reading(f'"up":{overflow - 5}'), reading(f'"up":{overflow - 1}', NOW + 9_000)) == [
        (0, "uptime"),
        (-5_000, "uptime"),
    ]
    assert dated(made, reading('"up":2', NOW + 12_000), reading('"up":12.5', NOW + 23_000)) == [
        (0, "uptime"),
        (-499, "uptime"),
    ]


@pytest.mark.parametrize("again", [{"dup": True}, {"at": NOW}])
def test_a_reading_that_is_sent_again_starts_nothing_anew(again: dict[str, Any]) -> None:
    """The broker repeats one, or Kafka did not take it."""
    made = transform()
    dated(made, reading('"up":100'), reading('"up":110', NOW + 10_000))
    late = {"at": NOW + 30_000} | again
    assert made(reading('"up":100', **late)).timestamp == NOW  # type: ignore[union-attr]  # it fits
    assert dated(made, reading('"up":120', NOW + 25_000)) == [(-4_999, "uptime")]


def test_devices_are_told_apart_by_topic_and_key() -> None:
    made = transform()
    assert dated(made, reading('"up":100'), reading('"up":50', key="b"), reading('"up":101', NOW + 1_500)) == [
        (0, "uptime"),
        (0, "uptime"),
        (-500, "uptime"),
    ]
    other = structs.replace(reading('"up":5', NOW + 2_000), topic=b"s/b")
    assert dated(made, other, reading('"up":102', NOW + 2_500)) == [(0, "uptime"), (-500, "uptime")]


def test_an_uptime_beyond_its_bound_is_forgotten() -> None:
    """A device that stood still for two days, such as one that slept: its next reading is the new beginning."""
    made = transform()
    readings = [reading(f'"up":{up}', NOW + at) for up, at in ((100, 0), (101, 2 * DAY), (111, 2 * DAY + 11_000))]
    assert dated(made, *readings) == [(0, "uptime"), (0, "arrival"), (0, "uptime")]


def test_an_uptime_follows_the_steps_of_the_gateways_clock() -> None:
    """Ten years, as a machine without a battery starts; while the clock is not synchronised, the arrival counts."""
    made = transform()
    (record_time,) = made._record_times  # noqa: SLF001 - the bridge has it from the service
    past = NOW - 3_650 * DAY
    assert dated(made, reading('"up":100', past)) == [(0, "uptime")]
    record_time.follow(3_650 * DAY, NOW)
    assert dated(made, reading('"up":110', NOW + 10_200)) == [(-199, "uptime")]
    assert dated(made, reading('"up":120', past, is_unsynchronised=True)) == [(0, "arrival")]
    assert dated(made, reading('"up":130', NOW + 30_300)) == [(-297, "uptime")]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**7), st.booleans()), max_size=30))
def test_event_time_is_never_after_the_arrival(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever a device and the network do."""
    clocks, arrival = UptimeClocks(), NOW
    for passed, uptime, dup in steps:
        arrival += passed
        assert clocks.event_time(1, uptime, Reading("s", b"s", b"", arrival, dup=dup)) <= arrival


def test_a_slow_device_is_followed() -> None:
    """A crystal that runs slow by 50 ppm would date the readings of a month two minutes early."""
    clocks, found = UptimeClocks(), 0
    for minute in range(30 * 24 * 60):
        arrival = NOW + minute * 60 * SECOND
        found = clocks.event_time(1, minute * 60 * SECOND - minute * 3, Reading("s", b"s", b"", arrival)) - arrival
    assert found == 0
    assert DRIFT < 20_000


def test_only_so_many_devices_are_remembered() -> None:
    clocks = UptimeClocks(max_devices=2)

    def lateness(device: int, uptime: int, arrival: int) -> int:
        return clocks.event_time(device, uptime, Reading("s", b"s", b"", arrival)) - arrival

    assert [lateness(1, 0, 0), lateness(2, 0, 0), lateness(1, 1, 9), lateness(3, 0, 9)] == [0, 0, -8, 0]
    assert [lateness(1, 2, 99), lateness(2, 1, 9)] == [-97, 0], "2 is the one that was forgotten"


@pytest.mark.parametrize(
    ("local", "now", "expected"),
    [
        ("2026-03-29T01:59:59", 1_774_745_999_000, (0, "device")),
        ("2026-03-29T03:00:00", 1_774_746_000_000, (0, "device")),
        ("2026-10-25T02:30:00", 1_792_888_200_000, (0, "device")),
        ("2026-10-25T02:30:00", 1_792_891_800_000, (0, "arrival")),
        ("2026-10-25T03:00:00", 1_792_893_600_000, (0, "device")),
    ],
)
def test_a_local_time_passes_both_changes_of_the_clocks(local: str, now: int, expected: tuple[int, str]) -> None:
    """Of the hour that repeats in autumn only the first is known; a bound keeps the second from being an hour off."""
    local_time = {"zone": "Europe/Vienna", "repeated": "first"}
    schema = record(("m", "string"), {"name": "at", "type": MILLIS, "x-source": local_time})
    made = stream("s", schema, address="s/{d}", keys=("/m",))
    by_local = (TimeSource("/at", HOUR // 2),)
    route = replace(made.route, timestamp=by_local, headers=frozenset({SOURCE_HEADER}))
    assert dated(Transform(replace(made, route=route), 7, 1_000), reading(f'"at":"{local}"', now)) == [expected]
