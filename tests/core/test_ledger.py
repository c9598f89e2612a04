"""The books: what moves from which account to which, and when they balance."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ledger import Books, Ledger
from gateway.core.reading import Reason


def held(ledger: Ledger) -> int:
    """Give the readings that the spool must hold, by books that balance."""
    totals = ledger.totals()
    assert totals["balanced"]
    return int(totals["in_flight"] + totals["spooled"])


def test_books_of_a_new_stream_balance() -> None:
    """Nothing received, nothing to explain."""
    ledger = Ledger(["doors", "sma"])
    assert ledger.totals() == {
        "received": 0,
        "delivered": 0,
        "dead_lettered": 0,
        "spooled": 0,
        "in_flight": 0,
        "dropped": 0,
        "balanced": True,
    }


@given(
    received=st.integers(0, 100),
    explained=st.lists(st.integers(0, 30), min_size=5, max_size=5),
)
def test_missing_is_what_the_books_cannot_explain(received: int, explained: list[int]) -> None:
    """Received less delivered, dead-lettered, spooled, in flight and dropped; repeated readings do not count."""
    delivered, dead_letters, spooled, in_flight, dropped = explained
    books = Books(received, in_flight, spooled, delivered, Counter({Reason.EMPTY: dead_letters}), Counter(x=dropped), 7)
    assert books.missing == received - sum(explained)


def test_totals_do_not_let_one_stream_pay_for_another() -> None:
    """One stream lacks a reading, another has one too many: the sums agree, the books do not balance."""
    ledger = Ledger(["doors", "sma"])
    ledger.books["doors"].received = 1
    ledger.books["sma"].delivered = 1
    totals = ledger.totals()
    assert totals["received"] == totals["delivered"]
    assert not totals["balanced"]


def test_restore_goes_on_with_what_was_saved() -> None:
    """A clean stop: the next process begins with the same figures, and JSON carries them."""
    before = Ledger(["doors"])
    before.books["doors"] = Books(
        received=12,
        spooled=3,
        delivered=5,
        dead_lettered=Counter({Reason.NOT_JSON: 2}),
        dropped=Counter({"spool_full": 2}),
        repeated=1,
        last_reading_at=1_791_547_200_000,
        last_dead_letter_at={Reason.NOT_JSON: 1_791_547_100_000},
    )
    after = Ledger(["doors"])
    after.restore(json.loads(json.dumps(before.saved())), {"doors": 3})
    assert after.books == before.books
    assert held(after) == 3


def test_restore_continues_the_counter_that_a_sequence_monitor_has() -> None:
    """The monitor gets the counter before the books are restored."""
    before, after = Ledger(["doors"]), Ledger(["doors"])
    before.books["doors"].continuity["gaps"] = 2
    counter = after.books["doors"].continuity
    after.restore(before.saved(), {})
    counter["gaps"] += 1
    assert after.books["doors"].continuity == {"gaps": 3}


def test_restore_closes_what_a_crash_left_open() -> None:
    """What was in flight when the books were written was not acknowledged to MQTT: interrupted, not missing."""
    before = Ledger(["doors"])
    before.books["doors"] = Books(received=9, in_flight=4, spooled=5)
    after = Ledger(["doors"])
    after.restore(before.saved(), {"doors": 5})
    assert after.books["doors"].dropped == {"interrupted": 4}
    assert held(after) == 5


@pytest.mark.parametrize(
    ("on_disk", "received", "dropped"),
    [(5, 9, {}), (3, 9, {"lost_on_disk": 2}), (7, 11, {}), (0, 9, {"lost_on_disk": 5})],
)
def test_restore_believes_the_disk(on_disk: int, received: int, dropped: dict[str, int]) -> None:
    """Fewer rows than the books say were lost on disk, by name; more rows were received after they were written."""
    before = Ledger(["doors"])
    before.books["doors"] = Books(received=9, spooled=5, delivered=4)
    after = Ledger(["doors"])
    after.restore(before.saved(), {"doors": on_disk})
    books = after.books["doors"]
    assert (books.received, books.spooled, dict(books.dropped)) == (received, on_disk, dropped)
    assert held(after) == on_disk


def test_restore_keeps_the_books_of_a_stream_that_the_contract_lost() -> None:
    """A stream on disk that the contract no longer names stays in the books."""
    after = Ledger(["doors"])
    after.restore({}, {"old": 4})
    assert (after.books["old"].received, after.books["old"].spooled) == (4, 4)
    assert held(after) == 4
