"""The plan of a broker's filters: no two overlap, and together they bring every address's topics."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.matcher import MQTTMatcher

from gateway.core.filters import overlap, plan
from tests.core.test_address import addresses, topics

if TYPE_CHECKING:
    from gateway.core.address import Address


@pytest.mark.parametrize(
    ("filters", "planned"),
    [
        ([], []),
        (["a/+", "b/+"], ["a/+", "b/+"]),
        (["a/+", "a/+"], ["a/+"]),
        (["a/b", "a/+"], ["a/+"]),
        (["a/#", "a/b/c", "a"], ["a/#"]),
        (["zigbee2mqtt/bridge/+", "zigbee2mqtt/#"], ["zigbee2mqtt/#"]),
        (["a/+/c", "a/b/+"], ["a/+/+"]),
        (["a/+", "+/b/#"], ["+/+/#"]),
        (["+/b", "a/#"], ["+/#"]),
        (["a/b", "+/#"], ["+/#"]),
        (["a/b/+", "c/d", "a/+/c", "+/d"], ["a/+/+", "+/d"]),
        (["x/1", "+/1/+", "x/+/y", "x/+"], ["x/+", "+/+/+"]),
    ],
)
def test_plan_replaces_what_overlaps(filters: list[str], planned: list[str]) -> None:
    """A filter that another covers is left out; two that overlap become the narrowest that covers both."""
    assert sorted(plan(filters)) == sorted(planned)
    assert sorted(each for covered in plan(filters).values() for each in covered) == sorted(set(filters))


@given(st.lists(addresses(), max_size=8))
def test_plan_has_no_overlap(given_addresses: list[Address]) -> None:
    """No two of the planned filters overlap, in whatever order the addresses are."""
    filters = [each.filter for each in given_addresses]
    planned = plan(filters)
    assert not [pair for pair in combinations(planned, 2) if overlap(*pair)]
    assert {_normal(each) for each in planned} == {_normal(each) for each in plan(reversed(filters))}


@given(st.lists(addresses(), max_size=8), topics)
def test_plan_brings_every_topic_once(given_addresses: list[Address], topic: str) -> None:
    """A topic that some address matches is brought by exactly one of the planned filters, and no topic by more."""
    planned = plan(each.filter for each in given_addresses)
    bringing = [each for each in planned if _brings(each, topic)]
    assert len(bringing) <= 1
    for address in given_addresses:
        if address.match(topic) is not None:
            assert address.filter in planned[bringing[0]]


def _brings(topic_filter: str, topic: str) -> bool:
    matcher = MQTTMatcher()  # type: ignore[no-untyped-call]  # paho types it not
    matcher[topic_filter] = True
    return any(matcher.iter_match(topic))  # type: ignore[no-untyped-call]  # as above


def _normal(topic_filter: str) -> str:
    """The same for `#` and `+/#`, which match the same topics."""
    return topic_filter.removesuffix("+/#") + "#" if topic_filter.endswith("+/#") else topic_filter
