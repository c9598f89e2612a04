"""What is known of the counters of one key, and whether the next values count as the contract says (`x-counter`).

Each counter has a base: its last good value, and when that was. A value is compared with its base:

    higher      good, if the rise is at most `most` in the time since the base; it becomes the base
    equal       good; so is a value that is lower by no more than `tolerance`; the base stays
    lower       good, if the reading is late; the base stays
    any         good, if the meter has another number: a swap; it becomes the base
    all else    fell, or jumped; the base stays

The time since the base is the longer one of two: by the timestamps of the records, which are those of the device where
the contract has `x-timestamp`, and by arrival. So what a broker kept during an outage and sends at once is compared by
the device's clock, and a device whose clock was set back by arrival. If the gateway's clock was corrected by less than
a minute between the two, at most a minute has passed by arrival. If it was set back further, there is nothing to
compare.

The part of that time that a rise has not needed is spare, and left for the next ones, as far as

    the counter's period    a gas meter repeats its value for an hour, and then rises by the consumption of that hour;
                            the period is that between two rises, and follows them slowly, by a factor of two;
                            before the first rise it may be an hour, if the value repeats
    the last gap            after an outage all that the broker kept comes at once; this ends ten times as fast as the
                            gap lasted

Late is a reading of a time before the base, or one that the broker delivers again (DUP), if the rule allows a rise from
it to the base in that time and the counter's period, or if it is of another meter. Where any rise is allowed, 0 is not
late: devices send it that do not know better. A time of more than a day before the base is that of a clock that was not
set.

Values that fell or jumped may be a new start: a counter that was reset, or a meter that was replaced. They are compared
with each other by the same rules. After `confirm` of them in a row, over a minute at least, the last one is good and
becomes the base. There are two exceptions:

    0                         is never a start: devices send it that do not know better; a real counter counts on
    ten, a hundred or a       takes six hours: it is a shifted point, or another unit, and mostly ends by itself
    thousand times as much,
    or as little, as expected

A reading is good when all its counters are; only then bases change.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from gateway.core.codec.validation_error import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.counter_rules import CounterRule
    from gateway.core.reading import Counts

HOUR, DAY = 3_600_000, 86_400_000  # milliseconds
LEAST, LEAST_SHIFTED = 60_000, 6 * HOUR  # that the readings of a new start take
CORRECTED = 60_000  # a clock that was set back by less; so less than that has passed since
SECOND = 1_000  # milliseconds; the readings of the first one may have come at once, so any rise is good
FRESH = -1.0  # spare time in this second
UNKNOWN, BEGUN = -2.0, -1.0  # the period of a counter before its first rise, and before its second
DECAY = 10  # spare time ends so many times as fast as it lasted
NEAR = 1e-14  # relative; differences of floats are not exact
SHIFTS = (10, 100, 1_000, 0.1, 0.01, 0.001)
SHIFTED = 1e-3  # relative; a shifted value may have lost its last digits


class Moment(Struct, frozen=True, gc=False):
    """When a reading came; times are milliseconds since 1970."""

    at: int  # timestamp of its record
    arrived: int
    is_repeated: bool = False  # the broker says that it was delivered before


class Outcome(Enum):
    """What a value is, compared with its base."""

    SAME = "same"
    ROSE = "rose"
    LATE = "late"
    SWAPPED = "swapped"
    FELL = "fell"
    JUMPED = "jumped"


SAME, ROSE, LATE, SWAPPED, FELL, JUMPED = Outcome
WRONG = frozenset({FELL, JUMPED})


class Base(Struct, gc=False, array_like=True):
    """The last good value of a counter; times are milliseconds since 1970."""

    value: int | float
    at: int  # timestamp of its record; 0 when no other may be compared with it
    arrived: int
    meter: int | str | None
    spare: float = FRESH  # milliseconds that rises have not needed
    still: float = 0.0  # milliseconds since the last rise
    period: float = UNKNOWN  # milliseconds between two rises

    def elapsed(self, now: Moment) -> float:
        """Tell how many milliseconds ago it was; infinite when that is not known."""
        by_arrival: float = now.arrived - self.arrived
        if by_arrival < 0:
            by_arrival = CORRECTED if by_arrival > -CORRECTED else inf
        return max(now.at - self.at if self.at else 0, by_arrival)

    def late(self, now: Moment) -> int:
        """Tell how many milliseconds before it a reading is, a day at most; 0 when it is not."""
        late = self.at - now.at if self.at else 0
        if 0 < late <= DAY:
            return late
        return DAY if now.is_repeated else 0

    def highest(self, rule: CounterRule, now: Moment) -> float:
        """Give the highest value that may follow."""
        elapsed = self.elapsed(now)
        if rule.slope is None or (self.spare == FRESH and elapsed < SECOND):
            return inf
        return self.value + rule.slope * (max(0, self.spare) + elapsed) + rule.tolerance + NEAR * abs(self.value)

    def move(self, rule: CounterRule, value: float, now: Moment) -> None:
        """Move to a value that is not lower."""
        elapsed = self.elapsed(now)
        if self.spare == FRESH and elapsed < SECOND:
            self.value = value
            return
        if rule.slope is not None:
            is_certain = elapsed - (now.arrived - self.arrived) <= DAY  # else the device's clock may be wrong
            self._spend((value - self.value) / rule.slope, elapsed, min(elapsed, DAY) if is_certain else 0.0)
        self.value, self.arrived = value, now.arrived
        self.at = now.at if now.at >= self.at - DAY else 0

    def _spend(self, needed: float, elapsed: float, certain: float) -> None:
        """Spend the time that a rise has needed."""
        usual = HOUR if self.period < 0 else self.period
        left = max(0.0, self.spare) + certain - needed
        self.spare = max(0.0, min(left, max(certain, usual, self.spare - DECAY * elapsed)))
        self.still += certain
        if self.period == UNKNOWN:  # a value that repeats may be older than its first reading
            self.spare = min(self.spare, self.still) if needed else max(self.spare, HOUR)
        if needed:
            self.still, self.period = 0.0, _next_period(self.period, self.still, certain)


def _after(old: Base | None, new: Base | None) -> Base | None:
    """Let a new base go on with the period of the old one, because the same device reports it."""
    if old and new:
        new.period = max(old.period, new.period)
        new.spare = max(new.spare, new.period)
    return new


def _next_period(period: float, still: float, elapsed: float) -> float:
    """Follow the times between rises, slowly, because a counter may stand still for a night."""
    if period < 0:  # the first rise ends a time whose beginning was not seen
        return still if period == BEGUN else BEGUN
    return min(max(still, period / 2), max(2 * period, elapsed))


class Start(Struct, gc=False, array_like=True):
    """Readings in a row that broke the rules and agree with each other."""

    bases: list[Base | None]
    at: int  # of the first one
    arrived: int
    readings: int = 1


class Verdict(NamedTuple):
    """What a reading is."""

    wrong: int | None = None  # the counter that broke its rule, by its number; None when the reading is good
    outcome: Outcome = SAME  # of that counter; SWAPPED when a meter was replaced; ROSE after a reset
    detail: str = ""  # one sentence on what is wrong


GOOD, SWAP, RESET = Verdict(), Verdict(None, SWAPPED), Verdict(None, ROSE)


class KeyState(Struct, gc=False, array_like=True):
    """What is known of a key."""

    bases: list[Base | None]  # by counter; None before its first value
    start: Start | None = None
    wrong: tuple[Any, ...] | None = None  # those of the last reading that broke a rule

    def count(self, slope: float | None, counts: Counts, at: int, arrived: int) -> bool:
        """Do what `check` does for one counter of most readings, in a tenth of the time; False leaves it to that."""
        base, (value, meter) = self.bases[0], counts
        if base is None or self.start is not None or meter != base.meter or value is None:
            return False
        rise, elapsed, by_arrival = value - base.value, at - base.at, arrived - base.arrived
        if rise < 0 or elapsed < 0 or by_arrival < 0 or not base.at:
            return False
        if slope is not None:
            elapsed = by_arrival if by_arrival > elapsed else elapsed  # noqa: FURB136 - calls of max() cost too much here
            spare, usual = base.spare, base.period
            most = usual if usual > elapsed else elapsed  # noqa: FURB136 - as above
            if usual < 0 or not 0 <= spare <= most or elapsed > DAY:
                return False
            spare += elapsed - rise / slope
            if spare < 0:
                return False
            base.spare = spare if spare < most else most  # noqa: FURB136 - as above
            still = base.still + elapsed
            if rise:
                base.period = still if usual <= 2 * still <= 4 * usual else _next_period(usual, still, elapsed)
                still = 0.0
            base.still = still
        base.value, base.at, base.arrived = value, at, arrived
        return True

    def check(self, rules: Sequence[CounterRule], counts: Counts, now: Moment) -> Verdict:
        """Compare a reading with the bases, and move them if it is good."""
        outcomes = compare(rules, self.bases, counts, now)
        is_late = LATE in outcomes
        if WRONG.isdisjoint(outcomes) and not (is_late and counts == self.wrong):
            if not is_late:
                move(rules, self.bases, outcomes, counts, now)
                self.start = None
            return SWAP if SWAPPED in outcomes else GOOD
        return self._wrong(rules, outcomes, counts, now)

    def _wrong(self, rules: Sequence[CounterRule], outcomes: list[Outcome], counts: Counts, now: Moment) -> Verdict:
        self.wrong = counts
        wrong = [number for number, outcome in enumerate(outcomes) if outcome in WRONG | {LATE}]
        if any(counts[2 * number] for number in wrong):
            start = self.start = self._continued(rules, counts, now)
            is_shifted = all(self._is_shifted(rules[number], number, counts[2 * number], now) for number in wrong)
            lasted = max(now.at - start.at, now.arrived - start.arrived)
            confirm = max(rules[number].confirm for number in wrong)
            if start.readings >= confirm and lasted >= (LEAST_SHIFTED if is_shifted else LEAST):
                for number in wrong:
                    self.bases[number] = _after(self.bases[number], start.bases[number])
                outcomes = [SAME if number in wrong else outcome for number, outcome in enumerate(outcomes)]
                move(rules, self.bases, outcomes, counts, now)
                self.start = None
                return RESET
        number, outcome = wrong[0], outcomes[wrong[0]]
        return Verdict(number, JUMPED if outcome is JUMPED else FELL, self._detail(rules[number], number, outcome, now))

    def _detail(self, rule: CounterRule, number: int, outcome: Outcome, now: Moment) -> str:
        base, counts = self.bases[number], self.wrong
        assert base is not None, "there was something to compare with"
        assert counts is not None, "they have just been compared"
        found = f"{shown(counts[2 * number])} after {shown(base.value)}"
        if outcome is JUMPED:
            return f"{found}, {base.elapsed(now) / 1000:g} s later: the contract allows a rise of {rule.limit}"
        return f"{found}: a counter does not fall" + (f" by more than {rule.tolerance}" if rule.tolerance else "")

    def _is_shifted(self, rule: CounterRule, number: int, value: float, now: Moment) -> bool:
        """Tell whether a value looks like the expected one with another place of its point."""
        base = self.bases[number]
        if base is None or base.value <= 0:
            return False
        highest = base.highest(rule, now)
        if highest > 2 * base.value:  # too much may follow to tell
            return False
        low, high = base.value * (1 - SHIFTED), highest * (1 + SHIFTED)
        return any(low <= value / shift <= high for shift in SHIFTS)

    def _continued(self, rules: Sequence[CounterRule], counts: Counts, now: Moment) -> Start:
        """Add a reading to the new start, or begin another one with it."""
        if start := self.start:
            outcomes = compare(rules, start.bases, counts, now)
            if WRONG.isdisjoint(outcomes) and SWAPPED not in outcomes:
                if LATE not in outcomes:
                    move(rules, start.bases, outcomes, counts, now)
                    start.readings += 1
                return start
        start = Start([None] * len(rules), now.at, now.arrived)
        move(rules, start.bases, [ROSE] * len(rules), counts, now)
        return start


def compare(rules: Sequence[CounterRule], bases: Sequence[Base | None], counts: Counts, now: Moment) -> list[Outcome]:
    """Compare the values of a reading with their bases."""
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return [_compare(rule, base, *pair, now) for rule, base, pair in zip(rules, bases, pairs, strict=True)]


def _compare(rule: CounterRule, base: Base | None, value: Any, meter: Any, now: Moment) -> Outcome:
    if value is None:
        return SAME
    if base is None:
        return ROSE
    if meter != base.meter and meter and base.meter:
        return LATE if base.late(now) else SWAPPED
    if value > base.value:
        return ROSE if value <= base.highest(rule, now) else JUMPED
    if base.value - value <= rule.tolerance + NEAR * abs(base.value):
        return SAME
    return LATE if _is_late(rule, base, value, now) else FELL


def _is_late(rule: CounterRule, base: Base, value: float, now: Moment) -> bool:
    """Tell whether a lower value is of a time before the base."""
    late = base.late(now)
    if late <= 0 or rule.slope is None:
        return late > 0 and value != 0
    usual = HOUR if base.period < 0 else base.period  # the base may have risen by as much at once
    return base.value - value <= rule.slope * (late + usual) + rule.tolerance


def move(
    rules: Sequence[CounterRule], bases: list[Base | None], outcomes: Sequence[Outcome], counts: Counts, now: Moment
) -> None:
    """Move the bases to the values of a good reading."""
    for number, (rule, base, outcome) in enumerate(zip(rules, bases, outcomes, strict=True)):
        value, meter = counts[2 * number : 2 * number + 2]
        if outcome is SWAPPED or (base is None and value is not None):
            bases[number] = _after(base, Base(value, now.at, now.arrived, meter))
        elif base is not None and value is not None:
            base.meter = meter or base.meter
            base.move(rule, max(value, base.value), now)
