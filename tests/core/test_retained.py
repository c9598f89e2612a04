"""Which retained messages count as readings."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reading import Reading
from gateway.core.retained import MAX_TOPICS, Policy, RetainedMessages


def message(topic: bytes = b"doors/dock", payload: bytes = b"open", **more: Any) -> Reading:
    """Make a message, retained unless told otherwise."""
    return Reading("doors", topic, payload, 0, **({"retain": True} | more))


def refused(policy: Policy, *messages: Reading) -> list[bool]:
    """Tell of each message whether it is refused."""
    retained = RetainedMessages(policy)
    return [retained.is_duplicate(each) for each in messages]


@pytest.mark.parametrize(("policy", "expected"), [("once", [0, 1, 1]), ("always", [0, 0, 0]), ("never", [1, 1, 1])])
def test_refuses_the_same_retained_message_as_the_policy_says(policy: Policy, expected: list[int]) -> None:
    assert refused(policy, message(), message(), message()) == [bool(each) for each in expected]


@pytest.mark.parametrize("policy", ["once", "always", "never"])
def test_refuses_nothing_that_is_not_retained(policy: Policy) -> None:
    live = message(retain=False)
    assert refused(policy, live, live, live) == [False] * 3


def test_refuses_no_other_content_of_the_topic_and_none_of_another_topic() -> None:
    assert refused("once", message(), message(payload=b"closed"), message(), message(b"doors/gate")) == [False] * 4


def test_refuses_nothing_that_is_sent_again_because_it_was_not_acknowledged() -> None:
    """It may be the only copy. What it said counts all the same for what follows."""
    assert refused("once", message(), message(dup=True), message()) == [False, False, True]
    assert refused("once", message(dup=True), message()) == [False, True]


def test_never_refuses_also_what_is_sent_again() -> None:
    assert refused("never", message(dup=True)) == [True]


def test_refuses_tells_cut_messages_apart_by_their_digest() -> None:
    """Two huge messages with the same beginning are two contents."""
    one, other = (message(payload=b"x" * 8, size=10_000, sha256=sha256(end).digest()) for end in (b"a", b"b"))
    assert refused("once", one, other, other) == [False, False, True]


def test_topic_and_payload_are_told_apart() -> None:
    assert refused("once", message(b"a", b"bc"), message(b"ab", b"c")) == [False, False]


def test_memory_starts_anew_when_it_is_full() -> None:
    retained = RetainedMessages("once", max_topics=2)
    first, second, third = (message(topic) for topic in (b"1", b"2", b"3"))
    assert [retained.is_duplicate(each) for each in (first, second, first, third, third, first)] == [
        False, False, True, False, True, False,
    ]  # fmt: skip


def test_memory_that_is_full_still_learns_of_its_own_topics() -> None:
    retained = RetainedMessages("once", max_topics=2)
    told = [message(b"1"), message(b"2"), message(b"1", b"closed"), message(b"2"), message(b"1", b"closed")]
    assert [retained.is_duplicate(each) for each in told] == [False, False, False, True, True]


def test_memory_is_bounded_whatever_the_topics_and_payloads() -> None:
    retained = RetainedMessages("once")
    tracemalloc.start()
    try:
        for number in range(MAX_TOPICS + 10):
            retained.is_duplicate(message(b"%d/" % number + b"t" * 1_000, b"x" * 1_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.sampled_from([b"0", b"1"])), max_size=30))
def test_once_lets_through_exactly_the_changes_of_each_topic(told: list[tuple[bytes, bytes]]) -> None:
    last: dict[bytes, bytes] = {}
    changes = []
    for topic, payload in told:
        changes.append(last.get(topic) != payload)
        last[topic] = payload
    assert [not each for each in refused("once", *(message(*each) for each in told))] == changes
