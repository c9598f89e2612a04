"""A lane: the order of readings through failures, and stalls. `test_bridge.py` tests the rest of it."""

from __future__ import annotations

import pytest

from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.spool.lane import STALL_SECONDS, Lane

BEGUN = 1_000.0


def entries(*offsets: int) -> list[Entry]:
    return [Entry(Reading("doors", b"doors/d", b"{}", 0), None, 0, offset) for offset in offsets]


@pytest.fixture
def lane() -> Lane:
    made = Lane("doors")
    made.begin(BEGUN)
    return made


def test_an_empty_lane_never_stalls(lane: Lane) -> None:
    assert not lane.has_stalled(BEGUN + 10 * STALL_SECONDS)


def test_a_lane_stalls_when_nothing_moves_for_so_long_after_its_first_reading(lane: Lane) -> None:
    """The time counts from the first waiting reading, and a stall is reported once."""
    lane.add(entries(0), BEGUN + 100)
    lane.add(entries(1), BEGUN + 120)
    assert not lane.has_stalled(BEGUN + 100 + STALL_SECONDS - 1)
    assert lane.has_stalled(BEGUN + 100 + STALL_SECONDS)
    assert lane.blocked_reason == "readings wait, and Kafka has acknowledged none for 30 s"
    assert not lane.has_stalled(BEGUN + 100 + STALL_SECONDS + 1), "it was reported"


def test_a_lane_that_moves_does_not_stall(lane: Lane) -> None:
    lane.add(entries(0, 1), BEGUN)
    lane.sent(lane.take(2), [], BEGUN)
    lane.settle(1, BEGUN + STALL_SECONDS - 1)
    assert not lane.has_stalled(BEGUN + STALL_SECONDS + 1)


def test_an_acknowledgement_ends_the_stall(lane: Lane) -> None:
    lane.add(entries(0, 1), BEGUN)
    lane.sent(lane.take(2), [], BEGUN)
    assert lane.has_stalled(BEGUN + STALL_SECONDS)
    lane.settle(1, BEGUN + STALL_SECONDS + 5)
    assert not lane.blocked_reason


def test_a_lane_with_a_known_reason_does_not_stall(lane: Lane) -> None:
    lane.add(entries(0), BEGUN)
    lane.sent(taken := lane.take(1), [], BEGUN)
    lane.fail(taken[0], "the topic does not exist", BEGUN + 1)
    assert not lane.has_stalled(BEGUN + 10 * STALL_SECONDS)
    assert lane.blocked_reason == "the topic does not exist"


def test_what_kafka_did_not_take_is_sent_first_next_time(lane: Lane) -> None:
    lane.add(entries(0, 1, 2, 3), BEGUN)
    taken = lane.take(3)
    lane.sent(taken, taken[1:], BEGUN)
    assert [entry.offset for entry in lane.take(lane.sendable(BEGUN))] == [1, 2, 3]


def test_what_failed_and_what_was_not_taken_is_sent_again_by_offset(lane: Lane) -> None:
    """One of several partitions fails in the middle, while older readings of others were not handed over."""
    lane.add(entries(*range(6)), BEGUN)
    taken = lane.take(5)
    lane.sent(taken, [taken[1], taken[3]], BEGUN)
    for entry in (taken[2], taken[4]):
        lane.requeue(entry)
    lane.recover()
    assert [entry.offset for entry in lane.waiting] == [1, 3, 5], "one of those that were taken is in flight"
    lane.settle(1, BEGUN)
    lane.recover()
    assert [entry.offset for entry in lane.waiting] == [1, 2, 3, 4, 5]


def test_sent_notes_when_the_lane_last_sent(lane: Lane) -> None:
    """Pacing decides by it how long a few readings may wait for more."""
    lane.add(entries(0), BEGUN)
    lane.sent(lane.take(1), [], BEGUN + 3)
    assert lane.sent_at == BEGUN + 3


def test_isolate_sends_the_readings_of_a_refused_batch_one_by_one(lane: Lane) -> None:
    """So it shows which of them Kafka refuses."""
    lane.add(entries(0, 1), BEGUN)
    taken = lane.take(2)
    lane.sent(taken, [], BEGUN)
    for entry in taken:
        lane.isolate(entry, "Kafka refused a batch")
    lane.recover()
    assert (lane.is_isolating, lane.sendable(BEGUN)) == (True, 1)
    lane.sent(probe := lane.take(1), [], BEGUN)
    assert (lane.probe, lane.sendable(BEGUN)) == (probe[0], 0)


def on_disk(*offsets: int) -> list[Entry]:
    """Make entries that may leave memory."""
    made = entries(*offsets)
    for each in made:
        each.is_stored = each.is_released = True
    return made


def test_a_reading_that_came_late_is_read_back(lane: Lane) -> None:
    """As a dead letter does that a new contract calls good."""
    lane.add(on_disk(7, 8, 5), BEGUN)
    assert [each.offset for each in lane.leave_to_disk()] == [7, 8, 5]
    assert all(map(lane.has_on_disk, (5, 7, 8)))


def test_a_reading_before_the_backlog_stays_in_memory(lane: Lane) -> None:
    lane.add(on_disk(7, 8), BEGUN)
    lane.leave_to_disk()
    lane.take_from_disk([], 8)
    lane.add(on_disk(9, 5), BEGUN)
    assert [each.offset for each in lane.leave_to_disk()] == [9]
    assert lane.held == 1
    assert not any(map(lane.has_on_disk, (5, 7)))
    assert all(map(lane.has_on_disk, (8, 9)))
