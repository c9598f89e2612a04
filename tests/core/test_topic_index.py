"""The stream of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.address import Address
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED, topic_index
from tests.core.test_address import addresses, topics

if TYPE_CHECKING:
    from collections.abc import Callable

STREAMS = [("doors", "doors/{location}"), ("factory", "factory/{machine}/{sensor}"), ("meter", "sma")]


@pytest.fixture
def stream_of() -> Callable[[bytes], str]:
    """Index three streams."""
    return topic_index((name, Address.parse(text)) for name, text in STREAMS)


@pytest.mark.parametrize(
    ("topic", "stream"),
    [
        (b"doors/a", "doors"),
        (b"factory/a/b", "factory"),
        (b"sma", "meter"),
        (b"doors/", "doors"),
        ("doors/Größe".encode(), "doors"),
        (b"doors", UNMAPPED),
        (b"doors/a/b", UNMAPPED),
        (b"", UNMAPPED),
        (b"$SYS/broker", UNMAPPED),
    ],
)
def test_a_topic_finds_its_stream(stream_of: Callable[[bytes], str], topic: bytes, stream: str) -> None:
    """A topic belongs to the stream whose address it matches, the first time and from memory."""
    assert (stream_of(topic), stream_of(topic)) == (stream, stream)


def test_a_topic_that_is_not_utf_8_finds_its_stream(stream_of: Callable[[bytes], str]) -> None:
    """Bytes that are not UTF-8 still match a parameter, so that the stream's transform refuses them by name."""
    assert stream_of(b"doors/\xff\xfe") == "doors"
    assert stream_of(b"\xff/a") == UNMAPPED


@given(st.lists(addresses(), max_size=12), topics)
def test_the_most_specific_address_has_a_topic(given_addresses: list[Address], topic: str) -> None:
    """Of the addresses that match, the one of the smallest specificity has the topic."""
    named = [(str(place), address) for place, address in enumerate(given_addresses)]
    matching = [address for address in given_addresses if address.match(topic) is not None]
    found = topic_index(named)(topic.encode())
    if not matching:
        assert found == UNMAPPED
    else:
        assert given_addresses[int(found)] in matching
        assert given_addresses[int(found)].specificity == min(each.specificity for each in matching)


@pytest.mark.parametrize(
    ("topic", "stream"),
    [
        (b"zigbee2mqtt/bridge/info", "bridge"),
        (b"zigbee2mqtt/bridge", "devices"),
        (b"zigbee2mqtt/bridge/a/b", "devices"),
        (b"zigbee2mqtt/kitchen/plug", "devices"),
        (b"zigbee2mqtt/kitchen/availability", "availability"),
        (b"zigbee2mqtt/1/kitchen/plug/availability", "availability"),
        (b"zigbee2mqtt/availability", "devices"),
        (b"zigbee2mqtt/kitchen/plug/set", "commands"),
        (b"zigbee2mqtt/bridge/availability", "bridge"),
        (b"zigbee2mqtt", NOT_ADDRESSED),
        (b"zigbee2mqtt/off", NOT_ADDRESSED),
        (b"other/off", UNMAPPED),
        (b"other", UNMAPPED),
    ],
)
def test_a_topic_that_only_a_filter_brings_is_not_addressed(topic: bytes, stream: str) -> None:
    """What a wide filter brings has the most specific address, or none; one that is UNMAPPED counts as none."""
    texts = {
        "devices": "zigbee2mqtt/{name}", "bridge": "zigbee2mqtt/bridge/{what}",
        "availability": "zigbee2mqtt/{name}/availability", "commands": "zigbee2mqtt/{name}/set",
        UNMAPPED: "zigbee2mqtt/off",
    }  # fmt: skip
    named = [(name, Address.parse(text, ["name"])) for name, text in texts.items()]
    assert topic_index(named, ["zigbee2mqtt/#"])(topic) == stream


def test_an_address_of_many_levels_is_found() -> None:
    """The search needs no stack."""
    deep = "/".join(["a"] * 32_000)
    stream_of = topic_index([("deep", Address.parse(deep)), ("other", Address.parse("a/{rest}", ["rest"]))])
    assert (stream_of(deep.encode()), stream_of(f"{deep}/b".encode())) == ("deep", "other")
