"""How long the loop waits, as tables: the state after a turn, and the waits that follow from it."""

from __future__ import annotations

import pytest

from gateway.bridge.pacing import QUANTUM, Arrivals, Pacing, Turn, Wait

NOW = 1_000.0
PACING = Pacing()
LINGER = Pacing(linger_seconds=0.05)


def turn(
    received: int = 0,
    in_flight: int = 0,
    *,
    silence: float = 0.0,
    work_in: float = 1.0,
    began: float = 0.0,
    linger: float = 0.0,
) -> Turn:
    """Describe a turn that began, and a report that came, so many seconds ago."""
    return Turn(NOW - began, received, in_flight, NOW - silence, NOW + work_in, linger)


def waits(pacing: Pacing, state: Turn) -> tuple[float, float, float]:
    """Compute the lengths of the three waits; the clock stands still between them, except for the waits."""
    wait = pacing.wait(state, NOW)
    at, lengths = NOW, []
    for until in wait:
        lengths.append(max(0.0, until - at))
        at = max(at, until)
    return lengths[0], lengths[1], lengths[2]


DISTANCES = {
    "nothing in flight": (turn(5), 0.0),
    "few in flight": (turn(5, 20), 0.0),
    "more in flight": (turn(5, 21), 21 * 0.000035),
    "very many in flight": (turn(5, 5_000), 0.003),
    "more in flight, after a turn that read a full request": (turn(64, 21), 0.0007),
    "very many in flight, after a turn that read a full request": (turn(64, 5_000), 0.0007),
    "very many in flight, with work to do": (turn(5, 5_000, work_in=0.0), 0.003),
    "very many in flight, after a turn that took a part of the distance": (turn(5, 5_000, began=0.001), 0.002),
    "very many in flight, after a long turn": (turn(5, 5_000, began=1.0), 0.0),
}


@pytest.mark.parametrize("case", DISTANCES)
def test_wait_keeps_a_distance_between_turns(case: str) -> None:
    state, seconds = DISTANCES[case]
    assert waits(PACING, state)[0] == pytest.approx(seconds, abs=1e-9)


LINGERS = {
    "an idle link: a single reading is not delayed": (LINGER, turn(), 0.0),
    "the report came within the turn": (LINGER, turn(1), 0.05),
    "one in flight": (LINGER, turn(1, 1), 0.05),
    "very many in flight": (LINGER, turn(5, 5_000), 0.05),
    "very many in flight, with work to do": (LINGER, turn(5, 5_000, work_in=0.0), 0.003),
    "few in flight, with work overdue": (LINGER, turn(5, 5, work_in=-1.0), 0.0),
    "the brokers may have more": (LINGER, turn(QUANTUM, 5), 0.0),
    "shorter than the distance": (Pacing(linger_seconds=0.001), turn(5, 5_000), 0.003),
    "longer than allowed": (Pacing(linger_seconds=20.0), turn(1, 1), 0.1),
    "one that follows the rate": (PACING, turn(1, 1, linger=0.002), 0.002),
    "one that follows the rate, part of which the turn took": (PACING, turn(1, 1, linger=0.002, began=0.0015), 0.0005),
    "one that follows the rate, with work to do": (PACING, turn(1, 1, linger=0.002, work_in=0.0), 0.0),
    "one that follows the rate, with more in flight": (PACING, turn(1, 21, linger=0.002), 21 * 0.000035),
    "one that the installation has set to 0": (Pacing(linger_seconds=0.0), turn(1, 1, linger=0.002), 0.0),
}


@pytest.mark.parametrize("case", LINGERS)
def test_wait_lingers_while_readings_arrive_or_records_are_in_flight(case: str) -> None:
    pacing, state, seconds = LINGERS[case]
    assert waits(pacing, state)[0] == pytest.approx(seconds, abs=1e-9)


def arrivals(rate: float, readings: int = 200, each: int = 1, before: Arrivals | None = None) -> Arrivals:
    """Let readings arrive at a steady rate, so many in each turn."""
    state = before or Arrivals()
    for number in range(readings):
        state = PACING.follow(state, NOW + number * each / rate, each)
    return state


RATES = [  # readings a second, in each turn, seconds
    (1, 1, 0.0),
    (200, 1, 0.0),
    (300, 1, 0.00125),
    (400, 1, 0.0025),
    (1_000, 1, 0.0025),
    (1_000, 3, 0.0025),
    (1_600, 4, 0.0025),
    (3_200, 4, 0.00125),
    (10_000, 10, 0.0004),
    (300, 20, 0.0),  # twenty at once, and nothing in between
]


@pytest.mark.parametrize(("rate", "each", "seconds"), RATES)
def test_follow_sets_a_linger_that_fits_the_rate(rate: float, each: int, seconds: float) -> None:
    assert arrivals(rate, each=each).linger == pytest.approx(seconds, abs=1e-9)


BURSTS = {
    "a single reading": (1, 1),
    "many readings in one turn": (1, 1_000),
    "three readings, a millisecond apart": (3, 1),
}


@pytest.mark.parametrize("case", BURSTS)
@pytest.mark.parametrize("before", [Arrivals(), arrivals(1_000)], ids=["at the start", "after a pause of a minute"])
def test_follow_sets_no_linger_for_a_few_readings(before: Arrivals, case: str) -> None:
    readings, each = BURSTS[case]
    state = before._replace(at=before.at - 60)
    assert arrivals(1_000, readings, each, state).linger == 0


def test_follow_sets_no_linger_after_a_turn_without_readings() -> None:
    state = PACING.follow(arrivals(1_000), NOW + 0.2, 0)
    assert state.linger == 0
    assert PACING.follow(state, NOW + 0.201, 1).linger > 0, "the next reading"


def cycles(state: Arrivals, count: int, seconds: float, *, is_empty: bool = True) -> tuple[Arrivals, int]:
    """Let lingers end so; count those that there were."""
    lingers, now = 0, state.at
    for _ in range(count):
        lingers += bool(state.linger)
        if state.linger:
            now += state.linger
            state = PACING.follow(state, now, not is_empty)
        if is_empty:
            now += seconds
            state = PACING.follow(state, now, 1)
    return state, lingers


def test_follow_rests_when_no_reading_comes_in_lingers() -> None:
    """A broker that allows one unacknowledged message sends the next after the linger: it gets hardly any."""
    state, lingers = cycles(arrivals(1_000), 1_000, 0.001)
    assert lingers < 10
    assert state.rest_until > state.at
    state, lingers = cycles(state, 10_000, 0.001)
    assert 8 <= lingers <= 12, "one a second"
    assert cycles(state, 2_000, 0.001, is_empty=False)[0].rest_until == state.rest_until


def test_follow_lingers_on_after_some_empty_ones() -> None:
    state = arrivals(1_000)
    for _ in range(100):
        for received in (0, 1, 1, 1):
            state = PACING.follow(state, state.at + 0.0012, received)
    assert state.linger > 0


WAITS = {  # seconds of pause, for reports, at the sockets
    "idle": (turn(), (0.0, 0.0, 1.0)),
    "idle, with work to do": (turn(work_in=0.0), (0.0, 0.0, 0.0)),
    "a report may come": (turn(1, 1), (0.0, 0.02, 0.02)),
    "a report may come, with work soon": (turn(1, 1, work_in=0.005), (0.0, 0.005, 0.0)),
    "a report may come, with work after it is overdue": (turn(1, 1, work_in=0.03), (0.0, 0.02, 0.01)),
    "a report may come, with work to do": (turn(1, 1, work_in=0.0), (0.0, 0.0, 0.0)),
    "a report is nearly overdue": (turn(1, 1, silence=0.019), (0.0, 0.001, 0.02)),
    "a report is overdue": (turn(1, 1, silence=0.02), (0.0, 0.0, 0.02)),
    "a report has been overdue for some time": (turn(1, 1, silence=0.06), (0.0, 0.0, 0.06)),
    "Kafka is away": (turn(1, 1, silence=60.0), (0.0, 0.0, 0.1)),
    "Kafka is away, with work soon": (turn(1, 1, silence=60.0, work_in=0.03), (0.0, 0.0, 0.03)),
    "very many in flight": (turn(1, 5_000), (0.003, 0.017, 0.02)),
    "very many in flight, Kafka is away": (turn(1, 5_000, silence=60.0), (0.003, 0.0, 0.1)),
}


@pytest.mark.parametrize("case", WAITS)
def test_wait_is_for_reports_while_they_may_come_then_for_readings(case: str) -> None:
    state, seconds = WAITS[case]
    assert waits(PACING, state) == pytest.approx(seconds, abs=1e-9)


def test_wait_looks_for_reports_less_and_less_often() -> None:
    """Each wait at the sockets doubles the silence, up to a tenth of a second."""
    silence = 0.0
    looks: list[float] = []
    while len(looks) < 6:
        wait = PACING.wait(Turn(NOW, 0, 1, NOW, NOW + 60), NOW + silence)
        silence = wait.sockets_until - NOW
        looks.append(silence)
    assert looks == pytest.approx([0.04, 0.08, 0.16, 0.26, 0.36, 0.46])


def test_wait_gives_times_in_the_order_in_which_they_are_waited_for() -> None:
    assert PACING.wait(turn(1, 5_000), NOW) == Wait(NOW + 0.003, NOW + 0.02, NOW + 0.04)


@pytest.mark.parametrize(
    ("lanes", "in_flight", "sendable", "expected"),
    [
        (6, QUANTUM - 48, [8] * 6, True),
        (6, QUANTUM, [0] * 6, True),
        (6, QUANTUM - 48, [7] * 6, False),
        (6, 0, [1_000] * 6, False),
        (5, 10_000, [1_000] * 5, False),
    ],
    ids=["many", "many in flight", "few readings", "nothing in flight", "few lanes"],
)
def test_is_batching_with_many_readings_in_many_lanes(
    lanes: int, in_flight: int, sendable: list[int], *, expected: bool
) -> None:
    assert PACING.is_batching(lanes, in_flight, sendable) is expected


@pytest.mark.parametrize(("waiting", "until"), [(0, 0.0), (1, NOW + 0.2), (63, NOW + 0.2), (64, 0.0), (1_000, 0.0)])
def test_gathers_until_some_time_after_the_lane_sent_when_it_has_few_readings(waiting: int, until: float) -> None:
    assert PACING.gathers_until(waiting, NOW) == until
