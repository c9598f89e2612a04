"""`x-timestamp` as a list of times: what is read of it, and what is found wrong with it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from gateway.core.codec.event_time import TimeSource
from gateway.core.reading import Reading, Record
from gateway.core.stream_transform import transform_of
from tests import fixes
from tests.contract.conftest import REPOSITORY, Copy
from tests.contract.prose import PROSE

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = "#/components/messages/energyAvro/x-timestamp"
AT, UP, DAY = "$message.payload#/measured_at", "$message.payload#/running", 86_400_000
STATED = f"""x-timestamp:
        - {{location: {AT}, within: 1d}}
        - {{location: {UP}, clock: uptime}}
        - arrival
"""
MEASURED, RUNNING = TimeSource("/measured_at", DAY), TimeSource("/running", DAY, is_uptime=True)


@pytest.fixture
def step(tmp_path: Path) -> Copy:
    """Give a copy of the documentation's step about clocks."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "23", tmp_path, dirs_exist_ok=True)
    return Copy(tmp_path)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (f"[{{location: {AT}, within: 1d}}, {{location: {UP}, clock: uptime}}, arrival]", (MEASURED, RUNNING)),
        (f"[{{location: {AT}, within: 1d}}]", (MEASURED,)),
        (f"{{location: {UP}, clock: uptime, within: 24h}}", (RUNNING,)),
        (f"[{AT}, {{location: {UP}, clock: uptime, within: 90s}}]",
         (TimeSource("/measured_at"), TimeSource("/running", 90_000, is_uptime=True))),
        (f"[{AT}, arrival]", (TimeSource("/measured_at"),)),
        (AT, "/measured_at"),
    ],
)  # fmt: skip
def test_the_contract_holds_the_times_in_their_order(step: Copy, stated: str, expected: object) -> None:
    step.edit(STATED, f"x-timestamp: {stated}\n")
    assert step.contract().streams["receiveAdapters"].route.timestamp == expected
    assert not step.findings()


@pytest.mark.parametrize(
    ("stated", "place", "message", "fix"),
    [
        (f"[arrival, {AT}]", "/1", "It is never used", "Remove it."),
        (f"[{AT}, arrival, arrival]", "/2", "It is never used", "Remove it."),
        ("arrival", "", "without x-timestamp, records get the time of arrival", "Remove it."),
        ("[arrival]", "", "without x-timestamp, records get the time of arrival", "Remove it."),
        ("[]", "", "without x-timestamp, records get the time of arrival", "Remove it."),
        (f"[{{location: {AT}, within: 1 day}}]", "/0/within", "'1 day' is not a time with a unit", "Write within: 1d."),
        (f"[{{location: {AT}, within: 60}}]", "/0/within", "60 is not a time with a unit", "Write within: 1d."),
        (f"[{{location: {AT}, within: 0s}}]", "/0/within", "'0s' is not a time with a unit", "Write within: 1d."),
        (f"[{{location: {AT}, within: null}}]", "/0/within", "null is not a time with a unit", "Write within: 1d."),
        (f"[{{location: {AT}, witin: 1d}}]", "/0/witin", "no member 'witin'", "Did you mean 'within'?"),
        (f"[{{location: {AT}, unit: ms}}]", "/0/unit", "no member 'unit'", "Remove it."),
        (f"[{{location: {UP}, clock: Uptime}}]", "/0/clock", "not 'Uptime'", "Write clock: uptime."),
        (f"[{{location: {UP}, clock: true}}]", "/0/clock", "not true", "Write clock: uptime."),
        ("[{within: 1d}]", "/0", "needs the field that has the time", "Add location:"),
        (f"[{{location: {UP}}}]", "/0/location", "is not an Avro timestamp", "or add clock: uptime"),
        (f"[{UP}]", "/0", "is not an Avro timestamp", "Point at a field whose type is"),
        (f"[{{location: {AT}, clock: uptime}}]", "/0/location", "is not a number of seconds", "Point at a field"),
        ("[{location: $message.payload#/runing, clock: uptime}]", "/0/location", "no field at '/runing'",
         "Did you mean '$message.payload#/running'?"),
        ("[{location: $message.header#/at}]", "/0/location", "must be a field of the record", ""),
        ("[7]", "/0", "'7' is not an expression", ""),
        ("[[a]]", "/0", "is not an expression", ""),
        ("[null]", "/0", "is not an expression", ""),
        ("{location: 7}", "/location", "'7' is not an expression", ""),
    ],
)  # fmt: skip
def test_check_finds_what_is_wrong_with_a_time(step: Copy, stated: str, place: str, message: str, fix: str) -> None:
    """Each finding has its place, and its fix, once applied, leaves no finding of the kind."""
    step.edit(STATED, f"x-timestamp: {stated}\n")
    found = [one for one in step.findings() if message in one.message]
    assert [(one.path, one.severity) for one in found] == [(f"{MESSAGE}{place}", "error")]
    assert fix in found[0].fix
    if fixes.apply(found[0]):
        assert not [one for one in step.findings() if message in one.message]
    else:
        assert found[0].fix in PROSE


def test_check_warns_of_times_that_have_no_effect(step: Copy) -> None:
    step.edit("topicConfiguration: {retention.ms: -1}", "topicConfiguration: {message.timestamp.type: LogAppendTime}")
    assert "x-timestamp has no effect" in step.findings()[0].message


@pytest.mark.parametrize(
    "kind", ['"string"', '["null", "double", "string"]', '{"type": "long", "logicalType": "timestamp-millis"}']
)
def test_check_refuses_an_uptime_that_is_no_number(step: Copy, kind: str) -> None:
    step.edit('"running", "type": ["null", "double"], "default": null', f'"running", "type": {kind}', "energy.avsc")
    assert (f"{MESSAGE}/1/location", True) in [
        (one.path, "is not a number of seconds" in one.message) for one in step.findings()
    ]


def test_the_step_dates_what_its_devices_send(step: Copy) -> None:
    """The examples of the step, as if they had just been sent: a meter of 2005 gets the time of its adapter."""
    stream, now = step.contract().streams["receiveAdapters"], 1_697_622_943_000
    transform = transform_of(stream, [7], 1_000)
    payloads = [b'{"1-0:1.8.0":{"value":83402,"time":1697622940},"sma_time":2360.4}',
                b'{"1-0:1.8.0":{"value":83403,"time":1104625548},"sma_time":2365.4}',
                b'{"1-0:1.8.0":{"value":83404}}']  # fmt: skip
    found = [transform(Reading(stream.name, b"adapters/h7", payload, now)) for payload in payloads]
    times = [(one.timestamp - now, *one.headers) for one in found if isinstance(one, Record)]
    name = "time.source"
    assert times == [(-3_000, (name, b"device")), (0, (name, b"uptime")), (0, (name, b"arrival"))]
