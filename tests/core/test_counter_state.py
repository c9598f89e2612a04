"""Values of one key, one after the other: which are good, and what becomes the base."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.avro_schema import build
from gateway.core.counter_rules import counter_rules
from gateway.core.counter_state import DAY, FELL, JUMPED, ROSE, SWAPPED, KeyState, Moment

START = 1_767_592_800_000  # 2026-01-05T06:00:00Z
HOUR, MINUTE, SECOND = 3_600_000, 60_000, 1_000
METER = "$message.payload#/meter"


class Meter:
    """A key with its rules; the signs of its verdicts are f(ell), j(umped), r(eset), s(wapped) and . for good."""

    def __init__(self, *rules: dict[str, Any], seconds: float = 10, has_clock: bool = True) -> None:
        fields: list[dict[str, Any]] = [{"name": "meter", "type": ["null", "string"], "default": None}]
        fields += [{"name": f"c{number}", "type": "double", "x-counter": rule} for number, rule in enumerate(rules)]
        self.rules = counter_rules(build({"type": "record", "name": "R", "fields": fields}))
        self.state = KeyState([None] * len(rules))
        self.step = int(seconds * SECOND)
        self.has_clock = has_clock
        self.arrived = self.at = START - self.step
        self.details: list[str] = []

    def come(self, *values: Any, meter: str | None = None) -> str:
        """Let readings come, one a step; a number is the value of every counter."""
        return "".join(self.reading(value, meter) for value in values)

    def reading(
        self, value: Any, meter: str | None = None, *, late: int = 0, again: bool = False, stop: bool = False
    ) -> str:
        """Let one come that is late by milliseconds, is sent again, or comes in the same moment as the one before."""
        step = 0 if stop else self.step
        self.arrived, self.at = self.arrived + step, self.at + step
        values = value if isinstance(value, tuple) else (value,) * len(self.rules)
        counts = tuple(each for one in values for each in (one, meter))
        at = self.at - late if self.has_clock else self.arrived
        verdict = self.state.check(self.rules, counts, Moment(at, self.arrived, again))
        if verdict.wrong is not None:
            self.details.append(verdict.detail)
        signs = {FELL: "f", JUMPED: "j"} if verdict.wrong is not None else {SWAPPED: "s", ROSE: "r"}
        return signs.get(verdict.outcome, ".")

    def wait(self, milliseconds: int) -> Meter:
        """Let time pass."""
        self.arrived, self.at = self.arrived + milliseconds, self.at + milliseconds
        return self

    @property
    def base(self) -> Any:
        """The base of the first counter."""
        assert self.state.bases[0] is not None
        return self.state.bases[0].value


WH = {"most": 36_000, "per": "1h", "tolerance": 1}  # a household in Wh: 100 Wh in 10 s


@pytest.mark.parametrize(
    ("rule", "values", "signs"),
    [
        ({}, (5, 5, 6, 1e9), "...."),
        ({}, (5, 4, 6), ".f."),
        ({}, (5, 4.999999, 5), ".f."),
        ({"tolerance": 0.1}, (13_423.7, 13_423.6, 13_423.7, 13_423.5, 13_423.6), "...f."),
        ({"tolerance": 0.5}, (10, 9.5, 9.1, 9.5), "..f."),  # the base does not move down
        (WH, (1000, 1100, 1200), "..."),
        (WH, (1000, 1150, 1160), ".j."),  # 150 in 10 s are too many, 160 in 20 s are not
        (WH, (1000, 0, 0, 0, 1010), ".fff."),
        (WH, (1000, -5, 1010), ".f."),
        (WH, (1000, None, 0, None, 1010), "..f.."),
        (WH, (0, 0, 50, 90), "...."),
        (WH, (1000.0, 1000.0, 999, 998.9, 1000), "...f."),
    ],
)
def test_check_finds_falls_and_jumps(rule: dict[str, Any], values: tuple[Any, ...], signs: str) -> None:
    assert Meter(rule).come(*values) == signs


def test_check_says_what_is_wrong() -> None:
    meter = Meter(WH)
    assert meter.come(1000, 3, 5000) == ".fj"
    assert meter.details == [
        "3 after 1000: a counter does not fall by more than 1",
        "5000 after 1000, 20 s later: the contract allows a rise of 36000 in 1h",
    ]


# --- time -------------------------------------------------------------------------------------------------------------


def test_check_counts_the_time_since_the_value_was_first_seen() -> None:
    """A gas meter repeats its value for an hour; then it rises by the consumption of that hour."""
    gas = Meter({"most": 6, "per": "1h"})
    assert gas.come(*[100.0] * 359, 105.9, *[105.9] * 359, 111.8) == "." * 720
    assert gas.come(118) == "j"


def test_check_takes_the_first_rise_of_a_value_that_repeats() -> None:
    """It may have been the meter's for an hour already."""
    assert Meter({"most": 6, "per": "1h"}).come(100.0, 100.0, 104.0, 104.0, 108.0) == "....j"
    assert Meter({"most": 6, "per": "1h"}).come(100.0, 104.0) == ".j"


@pytest.mark.parametrize("has_clock", [True, False])
def test_check_allows_what_a_gap_of_days_allows(*, has_clock: bool) -> None:
    meter = Meter(WH, has_clock=has_clock)
    assert meter.come(1000, 1010) == ".."
    assert meter.wait(3 * DAY).come(1010 + 3 * 24 * 36_000) == "."
    assert meter.come(10_000_000) == "j"


def test_check_takes_what_arrives_at_once_after_an_outage() -> None:
    """The broker kept eight hours of readings without a time of their own; afterwards the rule holds again."""
    meter = Meter(WH, has_clock=False)
    assert meter.come(1000, 1010) == ".."
    meter.wait(8 * HOUR)
    assert "".join(meter.reading(1010 + 5 * number, stop=number > 0) for number in range(8 * 360)) == "." * 8 * 360
    last = 1010 + 5 * (8 * 360 - 1)
    assert meter.come(*(last + 5 * number for number in range(1, 361))) == "." * 360
    assert meter.come(last + 5 * 360 + 1000) == "j"


def test_check_judges_by_the_device_what_arrives_at_once() -> None:
    meter = Meter(WH)
    signs = [
        meter.state.check(meter.rules, (1000 + 90 * n, None), Moment(START + 10_000 * n, START)).wrong
        for n in range(99)
    ]
    assert signs == [None] * 99
    assert meter.state.check(meter.rules, (20_000, None), Moment(START + 1_000_000, START)).wrong == 0


def test_check_takes_readings_within_one_second() -> None:
    """A clock of whole seconds shows two readings at one time, and then leaves one out."""
    meter = Meter(WH, seconds=1)
    at = [0, 1, 2, 2, 4, 5, 5, 7]
    moments = [Moment(START + 1_000 * second, START + 1_000 * number) for number, second in enumerate(at)]
    assert [meter.state.check(meter.rules, (9 * n, None), now).wrong for n, now in enumerate(moments)] == [None] * 8


@pytest.mark.parametrize("shift", [-HOUR, HOUR])
def test_check_takes_a_clock_that_changes_by_an_hour(shift: int) -> None:
    """A device with local time, in autumn and in spring."""
    meter = Meter(WH)
    assert meter.come(1000, 1050) == ".."
    meter.at += shift
    assert meter.come(1100, 1150, 1200, 0, 1300) == "...f."


@pytest.mark.parametrize("years", [-21, 1])
def test_check_takes_a_clock_that_is_years_off_for_a_reading(years: int) -> None:
    meter = Meter(WH)
    assert meter.come(1000, 1050) == ".."
    off = Moment(START + years * 365 * DAY, START + 20_000)
    assert meter.state.check(meter.rules, (1100, None), off).wrong is None
    assert meter.wait(10_000).come(1150, 1200) == ".."
    assert meter.come(0, 5000, 1300) == "fj."


def test_check_takes_any_rise_when_the_gateways_clock_was_set_back() -> None:
    meter = Meter(WH, has_clock=False)
    assert meter.come(1000, 1050) == ".."
    meter.arrived -= 30 * DAY
    assert meter.come(2000, 2050, 0, 9000) == "..fj"


@pytest.mark.parametrize("has_clock", [True, False])
def test_check_goes_on_when_the_gateways_clock_was_corrected(*, has_clock: bool) -> None:
    """A shifted point that comes just then is not a new start, and a rise of a minute is good."""
    meter = Meter(WH, has_clock=has_clock)
    assert meter.come(1_000_000, 1_000_010) == ".."
    meter.arrived -= 15_000
    assert meter.come(*[10_000_100] * 100) == "j" * 100
    meter.arrived -= meter.step * 101
    assert meter.come(10_000_100, 1_000_020) == "j."


# --- late and again ---------------------------------------------------------------------------------------------------


def test_check_takes_a_late_reading_and_keeps_its_base() -> None:
    meter = Meter(WH)
    assert meter.come(1000, 1050, 1100) == "..."
    assert meter.reading(1050, late=20_000) == "."
    assert meter.base == 1100
    assert meter.reading(1, late=20_000) == "f", "no rule allows a rise from there"
    assert meter.reading(1050) == "f", "it is not late"


def test_check_takes_a_late_reading_from_before_a_rise_of_a_whole_period() -> None:
    """The gas meter has shown the consumption of an hour since then."""
    gas = Meter({"most": 6, "per": "1h"})
    for hour in range(3):
        assert gas.come(*[100.0 + 2 * hour] * 360) == "." * 360
        assert gas.come(102.0 + 2 * hour) == "."
        assert gas.reading(100.0 + 2 * hour, late=20_000) == "."
        assert gas.reading(100.0 + 2 * hour, again=True) == "."
        assert gas.reading(0.0, late=20_000) == "f"


def test_check_takes_no_zero_for_a_late_reading_where_any_rise_is_allowed() -> None:
    meter = Meter({}, {})
    assert meter.come((900, 70), (0, 71), (901, 0), (902, 71)) == ".ff."
    assert meter.reading((0, 71), again=True) == "f"
    assert meter.reading((901, 0), late=60_000) == "f"
    assert meter.reading((901, 71), late=60_000) == "."


@pytest.mark.parametrize("has_clock", [True, False])
def test_check_takes_what_the_broker_sends_again(*, has_clock: bool) -> None:
    meter = Meter(WH, has_clock=has_clock)
    assert meter.come(1000, 1050, 1100) == "..."
    assert "".join(meter.reading(value, late=30_000, again=True, stop=True) for value in (1000, 1050, 1100)) == "..."
    assert meter.base == 1100
    assert meter.come(1150) == "."


@pytest.mark.parametrize("rule", [WH, {}])
def test_check_refuses_again_what_was_wrong(rule: dict[str, Any]) -> None:
    """Also without `most`, where a reading that is sent again may have any lower value."""
    meter = Meter(rule, has_clock=False)
    assert meter.come(1000, 0) == ".f"
    assert meter.reading(0, again=True, stop=True) == "f"
    assert meter.reading(1000, again=True, stop=True) == "."


# --- a new start ------------------------------------------------------------------------------------------------------


def test_check_accepts_a_counter_that_was_reset() -> None:
    """The last of at least five readings in a row, over a minute, that rise as the rule says; zeros do not count."""
    meter = Meter(WH)
    assert meter.come(13_000_000, 13_000_050, 0, 0, 1, 5, 9, 14, 20, 26, 33, 41) == "..ffffffffr."
    assert meter.come(13_000_100) == "j"
    assert meter.come(50) == "."


@pytest.mark.parametrize(
    ("rule", "seconds", "signs"),
    [
        ({**WH, "confirm": 2}, 10, "..ffffffr"),  # over a minute all the same
        ({**WH, "confirm": 2}, 60, "..fr....."),
        (WH, 900, "..ffffr.."),
        ({**WH, "confirm": 9}, 60, "..fffffff"),
        ({}, 60, "..ffffr.."),
    ],
)
def test_check_accepts_a_start_after_confirm_readings_and_a_minute(
    rule: dict[str, Any], seconds: float, signs: str
) -> None:
    assert Meter(rule, seconds=seconds).come(70_000, 70_001, 1, 2, 3, 4, 5, 6, 7) == signs


def test_check_accepts_no_start_of_readings_that_do_not_agree() -> None:
    meter = Meter(WH)
    assert meter.come(100_000, *[5000, 900] * 20) == "." + "f" * 40
    assert meter.come(*[7000, 100_000] * 20) == "f." * 20, "nor of some with good ones between"


def test_check_accepts_a_meter_that_was_replaced_by_one_that_shows_more() -> None:
    meter = Meter(WH)
    assert meter.come(1_000_000, *range(4_444_000, 4_444_090, 10)) == ".jjjjjjr.."


def test_check_never_accepts_zero() -> None:
    """An inverter that is off at night shows 0, for hours."""
    meter = Meter(WH)
    assert meter.come(1_000_000, *[0] * 3600, 1_000_000, 1_000_020) == "." + "f" * 3600 + ".."


@pytest.mark.parametrize("factor", [10, 100, 1000, 0.1, 0.01, 0.001])
def test_check_does_not_accept_a_shifted_point_for_hours(factor: float) -> None:
    """Ten times as much for 90 minutes, and then as before; 4 kWh are used meanwhile."""
    true = [35_548_800 + 7 * number for number in range(540)]
    meter = Meter(WH)
    assert meter.come(35_548_790) == "."
    assert meter.come(*(value * factor for value in true)) == ("j" if factor > 1 else "f") * 540
    assert meter.come(35_548_800 + 7 * 540) == "."


def test_check_accepts_another_unit_in_the_end() -> None:
    """It was the first value that was wrong, or the device was set up anew."""
    meter = Meter(WH, seconds=60)
    assert (
        meter.come(35_548_800, *(35_548 + number / 10 for number in range(1, 380))) == "." + "f" * 360 + "r" + "." * 18
    )


def test_check_keeps_a_start_apart_from_the_zero_of_another_counter() -> None:
    """A meter was replaced: it has drawn something, and fed nothing yet."""
    meter = Meter(WH, WH)
    assert meter.come((50_000, 700), *((5 + number, 0) for number in range(8))) == ".ffffffr."


# --- meters -----------------------------------------------------------------------------------------------------------


def test_check_accepts_another_meter_at_once() -> None:
    meter = Meter({**WH, "of": METER})
    assert meter.come(1000, 1050, meter="A") + meter.come(7, 20, meter="B") == "..s."
    assert meter.come(1060, meter="B") == "j"


def test_check_takes_late_readings_of_the_former_meter_for_no_swap() -> None:
    """They come again after the meter was replaced."""
    meter = Meter({**WH, "of": METER})
    assert meter.come(1000, 1050, meter="A") + meter.come(7, 20, meter="B") == "..s."
    assert meter.reading(1050, "A", late=60_000) + meter.reading(1050, "A", again=True) == ".."
    assert meter.come(30, meter="B") == "."


def test_check_takes_no_number_for_the_same_meter() -> None:
    meter = Meter({**WH, "of": METER})
    assert meter.come(1000, meter=None) + meter.come(1010, meter="A") + meter.come(1020, meter="") == "..."
    assert meter.come(0, meter=None) == "f"
    assert meter.come(5, meter="B") == "s"


def test_check_needs_all_counters_of_a_record_to_be_good() -> None:
    """A reading with a wrong counter moves no base."""
    meter = Meter(WH, WH)
    assert meter.come((1000, 500), (1050, 400), (1040, 500), (1050, 510)) == ".f.."


def test_check_compares_counters_apart() -> None:
    """Two tariffs, of which one counts at a time; a third register that comes once an hour."""
    meter = Meter(WH, WH, {"most": 6, "per": "1h"})
    day: list[Any] = [(1000 + 50 * number, 500, None) for number in range(360)]
    night: list[Any] = [(1000 + 50 * 359, 500 + 50 * number, None) for number in range(1, 360)]
    day[0], day[-1], night[-1] = (1000, 500, 70.0), (*day[-1][:2], 75.5), (*night[-1][:2], 81.0)
    assert meter.come(*day, *night) == "." * 719


# --- any values -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans()), max_size=60), st.booleans())
def test_check_lets_through_only_what_follows_the_rule(values: list[tuple[int, bool]], has_clock: bool) -> None:  # noqa: FBT001 - drawn
    """Without late ones, good values fall by the tolerance at most, except for a new start."""
    meter = Meter({"most": 720, "per": "1h", "tolerance": 2}, has_clock=has_clock)
    highest = -1.0
    for value, is_slow in values:
        sign = meter.wait(600_000 * is_slow).come(value)
        if sign == "r":
            highest = value
        if sign == ".":
            assert value >= highest - 2
            highest = max(highest, value)
        state = msgspec.json.decode(msgspec.json.encode(meter.state), type=KeyState)
        assert state == meter.state, "it can be saved"


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(-1, 60), st.integers(-1, 60), st.sampled_from([None, "A", "B"]))
    ),
    st.sampled_from([{}, {"most": 720, "per": "1h"}, {"most": 720, "per": "1h", "tolerance": 2}]),
)
def test_count_does_what_check_does(steps: list[tuple[int, int, int, str | None]], rule: dict[str, Any]) -> None:
    quick, precise = Meter(rule), Meter(rule)
    at = arrived = START
    for value, seconds, by_arrival, meter in steps:
        at, arrived = at + seconds * SECOND, arrived + by_arrival * SECOND
        good = precise.state.check(precise.rules, (value, meter), Moment(at, arrived)).wrong is None
        if quick.state.count(quick.rules[0].slope, (value, meter), at, arrived):
            assert good
        else:
            quick.state.check(quick.rules, (value, meter), Moment(at, arrived))
        assert quick.state == precise.state
