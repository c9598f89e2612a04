"""The fuzz target itself, and a short run of it with every run of the tests."""

from __future__ import annotations

from tests.fuzz.packets import Maker, feed, fuzz

SECONDS = 3
STREAMS = 2_000


def test_readers_read_or_refuse_whatever_comes() -> None:
    count, fault = fuzz(seed=1, seconds=SECONDS)
    assert not fault
    assert count > 0


def test_a_seed_makes_the_same_streams_again() -> None:
    one, other = Maker(7), Maker(7)
    assert [one.make() for _ in range(100)] == [other.make() for _ in range(100)]


def test_streams_are_read_to_the_end_about_as_often_as_they_are_refused() -> None:
    """Else a fault behind the first packets would never be reached."""
    maker = Maker(1)
    outcomes = [feed(stream.version, [stream.data]) for stream in (maker.make() for _ in range(STREAMS))]
    refused = sum(outcome.is_refused for outcome in outcomes)
    assert STREAMS / 4 < refused < STREAMS * 3 / 4
    assert sum(len(outcome.readings) > 1 for outcome in outcomes) > STREAMS / 6
