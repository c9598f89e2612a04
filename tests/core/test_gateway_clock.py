"""The gateway's clock: steps, and the time of readings that were read back from disk."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.entry import Entry
from gateway.core.gateway_clock import MAX_BOOTS, STEP, GatewayClock
from gateway.core.reading import Reading

BOOT, OTHER = b"b" * 16, b"o" * 16
PAST = 1_451_606_400_000  # 2016-01-01
YEARS = 300_000_000_000


class Times:
    """The time since 1970, and since the boot, as a test sets them."""

    def __init__(self, now: int = PAST, uptime: int = 9_000) -> None:
        self.now, self.uptime = now, uptime

    def __call__(self) -> tuple[int, int]:
        return self.now, self.uptime

    def pass_by(self, milliseconds: int, step: int = 0) -> None:
        self.now += milliseconds + step
        self.uptime += milliseconds


def reading(at: int) -> Reading:
    return Reading("s", b"t", b"1", at)


def unsynchronised(boot: bytes, times: Times) -> GatewayClock:
    clock = GatewayClock(boot, times)
    clock.is_synchronised = False
    return clock


@pytest.mark.parametrize("step", [YEARS, -YEARS, STEP, -STEP])
def test_step_gives_what_the_clock_was_set_by_once(step: int) -> None:
    times = Times()
    clock = GatewayClock(BOOT, times)
    times.pass_by(5_000)
    assert clock.step() == 0
    times.pass_by(10, step)
    assert [clock.step(), clock.step()] == [step, 0]


def test_now_does_not_follow_what_the_clocks_differ_by_from_look_to_look() -> None:
    """Else it would go back by a few milliseconds again and again; what adds up to a difference is followed."""
    times = Times()
    clock = GatewayClock(BOOT, times)
    for difference in (7, -7, 7, 7, -14):
        times.pass_by(5, difference)
        assert clock.step() == 0
        assert clock.now() == times.uptime + clock.offset
    assert clock.offset == GatewayClock(BOOT, times).offset
    times.pass_by(5, 25)
    assert clock.step() == 0
    assert clock.now() == times.now


def test_step_is_none_for_a_leap_second_which_now_follows() -> None:
    times = Times()
    clock = GatewayClock(BOOT, times)
    times.pass_by(5_000, -1_000)
    assert clock.now() == times.now + 1_000
    assert clock.step() == 0
    assert clock.now() == times.now


@given(st.integers(-YEARS, YEARS), st.integers(0, 10**9))
def test_dated_moves_a_reading_of_this_boot_by_the_step(step: int, later: int) -> None:
    """A reading that was moved in memory gets the same row, but for a step that is none."""
    times = Times()
    clock = unsynchronised(BOOT, times)
    boot, uptime, is_unsynchronised = clock.stamp(reading(PAST - 500))
    assert (boot, uptime, is_unsynchronised) == (BOOT, 8_500, True)
    times.pass_by(later, step)
    stepped = clock.step()
    moved = PAST - 500 + stepped
    assert abs(clock.stamp(reading(moved))[1] - uptime) < STEP
    dated, is_earlier = clock.dated(structs.replace(reading(PAST - 500), is_unsynchronised=True), boot, uptime)
    assert (dated, is_earlier) == (reading(moved), False)


def test_dated_keeps_a_reading_whose_row_names_no_boot() -> None:
    """It is of an older format, or this machine has no boot id."""
    clock = GatewayClock(BOOT, Times())
    assert clock.stamp(reading(5), is_earlier=True) == (b"", 0, False)
    assert clock.dated(reading(5), b"", 0) == (reading(5), True)
    nameless = GatewayClock(b"", Times())
    assert nameless.stamp(reading(5)) == (b"", 0, False)
    assert nameless.dated(reading(5), BOOT, 7) == (reading(5), True)


@pytest.mark.parametrize("is_set", [False, True])
def test_dated_uses_what_is_saved_of_an_earlier_boot(is_set: bool) -> None:  # noqa: FBT001 - the column of the table
    times = Times()
    clock = unsynchronised(BOOT, times)
    row = clock.stamp(reading(PAST))
    times.pass_by(100, YEARS if is_set else 0)
    clock.step()
    clock.is_synchronised = is_set
    later = GatewayClock(OTHER, Times(PAST + 2 * YEARS, 1_000))
    later.restore(json.loads(json.dumps(clock.saved())))
    dated, is_earlier = later.dated(reading(PAST), *row[:2])
    assert dated == structs.replace(reading(PAST + YEARS * is_set), is_unsynchronised=not is_set)
    assert is_earlier


def test_restore_knows_that_this_boot_was_synchronised() -> None:
    """A restart of the gateway alone does not wait for a time service again."""
    before = GatewayClock(BOOT, Times())
    after = unsynchronised(BOOT, Times())
    after.restore(before.saved())
    assert after.is_synchronised
    elsewhere = unsynchronised(OTHER, Times())
    elsewhere.restore(before.saved())
    assert not elsewhere.is_synchronised


def test_saved_holds_the_last_boots_only() -> None:
    saved: dict[str, list[object]] = {}
    for number in range(2 * MAX_BOOTS):
        clock = GatewayClock(b"%16d" % number, Times())
        clock.restore(saved)
        saved = clock.saved()
    assert list(saved) == [(b"%16d" % number).hex() for number in range(MAX_BOOTS, 2 * MAX_BOOTS)]


def waiting(times: Times, wait: int = 60_000) -> GatewayClock:
    return GatewayClock(BOOT, times, wait, is_synchronised=False)


def test_step_ends_the_wait_after_its_time() -> None:
    times = Times()
    clock = waiting(times)
    times.pass_by(59_999)
    assert (clock.step(), clock.is_waiting) == (0, True)
    times.pass_by(1)
    assert (clock.step(), clock.is_waiting, clock.is_synchronised) == (0, False, False)


@pytest.mark.parametrize("is_set_by_service", [False, True])
def test_step_ends_the_wait_when_the_clock_is_set(is_set_by_service: bool) -> None:  # noqa: FBT001 - the column of the table
    """A time service may take several steps until it says that the clock is right; without one the first step does."""
    times = Times()
    clock = waiting(times)
    clock.is_set_by_service = is_set_by_service
    times.pass_by(5, YEARS)
    assert (clock.step(), clock.is_waiting) == (YEARS, is_set_by_service)
    clock.is_synchronised = True
    assert (clock.step(), clock.is_waiting, clock.steps) == (0, False, 1)


def test_mark_is_for_what_is_sent_while_the_clock_is_not_synchronised() -> None:
    """It goes when a reading is sent again later; readings of an earlier boot keep theirs."""
    clock = waiting(Times(), 0)
    doubted = structs.replace(reading(2), is_unsynchronised=True)
    entries = [Entry(reading(1), None, 1), Entry(reading(2), None, 2, is_earlier=True)]
    entries.append(Entry(doubted, None, 3, is_earlier=True))
    assert (clock.has_doubts, clock.is_waiting) == (True, False)
    clock.mark(entries)
    assert [each.reading.is_unsynchronised for each in entries] == [True, False, True]
    clock.is_synchronised = True
    clock.mark(entries)
    assert [each.reading.is_unsynchronised for each in entries] == [False, False, True]
    trusted = GatewayClock(BOOT, Times())
    trusted.mark(entries)
    assert not trusted.has_doubts


def test_dated_notes_that_a_reading_needs_the_mark() -> None:
    before = waiting(Times())
    row = before.stamp(reading(PAST))
    later = GatewayClock(OTHER, Times())
    later.restore(before.saved())
    assert not later.has_doubts
    assert later.dated(reading(PAST), *row[:2])[0].is_unsynchronised
    assert later.has_doubts
