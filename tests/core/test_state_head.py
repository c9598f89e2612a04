"""Which process has written last, as Kafka's record says."""

from __future__ import annotations

import pytest

from gateway.core.state_head import StateHead
from gateway.errors import TakenOverError

RIVALS = ("Another gateway", "Stop one.")


def head(instance: str, transactional_id: str = "gateway") -> StateHead:
    return StateHead(transactional_id, instance, RIVALS)


def test_has_tells_whether_a_transaction_was_committed() -> None:
    one = head("one")
    assert not one.has({}, 1)
    records = one.record(2)
    assert one.has(records, 2)
    assert not one.has(records, 3)


def test_has_knows_the_record_of_the_predecessor_until_its_own_is_there() -> None:
    one, two = head("one"), head("two")
    before = one.record(5)
    assert not two.has(before, 1)
    assert not two.has(before, 1), "its first transaction was aborted"
    with pytest.raises(TakenOverError, match="Another gateway has taken over"):
        two.has(one.record(6), 1)


def test_has_stops_a_process_whose_id_another_has_taken_over() -> None:
    one, other = head("one"), head("other", "gateway,meter")
    assert not one.has({}, 1)
    records = one.record(1) | other.record(0, "gateway")
    assert other.is_ours(records, "gateway")
    with pytest.raises(TakenOverError):
        one.has(records, 1)
