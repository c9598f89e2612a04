"""The stream of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.address import Address
from gateway.core.topic_index import UNMAPPED, topic_index

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


def test_topics_beyond_the_memory_are_still_found() -> None:
    """However many topics there are, each finds its stream, and memory stays bounded."""
    stream_of = topic_index([("doors", Address.parse("doors/{location}"))], max_topics=100)
    for _ in range(2):
        assert {stream_of(b"doors/%d" % number) for number in range(1_000)} == {"doors"}
        assert {stream_of(b"stranger/%d" % number) for number in range(1_000)} == {UNMAPPED}
    assert len(stream_of.__self__) <= 100  # type: ignore[attr-defined]  # it is the look-up of a dict
