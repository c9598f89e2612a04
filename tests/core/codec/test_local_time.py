"""The offset of a local time: also in the hour that repeats, and in the one that is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.codec.local_time import REMEMBERED, LocalTime
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("2026-01-05T06:00:00", 60, 60),
        ("2026-07-05T06:00:00", 120, 120),
        ("2026-03-29T01:59:59", 60, 60),
        ("2026-03-29T03:00:00", 120, 120),
        ("2026-10-25T01:59:59", 120, 120),
        ("2026-10-25T02:00:00", 120, 60),
        ("2026-10-25T02:59:59", 120, 60),
        ("2026-10-25T03:00:00", 60, 60),
        ("2099-07-05T06:00:00", 120, 120),
    ],
)
def test_offset_of_the_hour_that_repeats_is_the_one_that_is_asked_for(text: str, first: int, second: int) -> None:
    """All other local times name one moment."""
    for is_second, expected in ((False, first), (True, second)):
        assert LocalTime("Europe/Vienna", is_second=is_second).offset(at(text)) == timedelta(minutes=expected)


@pytest.mark.parametrize("is_second", [False, True])
@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Vienna", "2026-03-29T02:00:00"),
        ("Europe/Vienna", "2026-03-29T02:59:59"),
        ("America/New_York", "2026-03-08T02:30:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:29:59"),  # half an hour
    ],
)
def test_a_time_that_the_clocks_skip_is_invalid(zone: str, text: str, *, is_second: bool) -> None:
    with pytest.raises(ValidationError) as refused:
        LocalTime(zone, is_second=is_second).offset(at(text))
    assert refused.value.reason == Reason.BAD_FORMAT
    assert refused.value.detail == f"{at(text)} does not exist in {zone}, because the clocks are put forward there then"


ZONES = ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Monrovia", "UTC"]


@settings(max_examples=500, deadline=None)
@given(zone=st.sampled_from(ZONES), moment=st.datetimes(datetime(1870, 1, 2), datetime(2100, 1, 1)))  # noqa: DTZ001 - local
def test_offset_is_that_of_the_database(zone: str, moment: datetime) -> None:
    """A moment that is written as its local time is found again, up to the hour that repeats."""
    utc = moment.replace(tzinfo=UTC, microsecond=0)
    local = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    found = [local - LocalTime(zone, is_second=is_second).offset(local) for is_second in (False, True)]
    assert utc.replace(tzinfo=None) in found


def test_a_bounded_number_of_hours_is_remembered() -> None:
    zone = LocalTime("Europe/Vienna")
    for hour in range(REMEMBERED + 5):
        zone.offset(at("2026-01-01T00:00:00") + timedelta(hours=hour))
    assert len(zone._hours) <= REMEMBERED  # noqa: SLF001 - the bound is the fact


def test_an_unknown_zone_raises() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        LocalTime("Europe/Wien")
