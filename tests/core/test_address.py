"""Addresses: what MQTT can express, and the way from a topic back to the parameters' values."""

from __future__ import annotations

import re
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.matcher import MQTTMatcher

from gateway.core.address import MAX_BYTES, Address, AddressError, Level

# Few letters, so that random topics and addresses meet; `$` because MQTT treats it apart, "" because levels may be.
words = st.sampled_from(["a", "b", "", "$a", "ä", " "])
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/+#\0"), min_size=1, max_size=8)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    """Addresses with levels of every kind."""
    levels = draw(st.lists(words | st.sampled_from(["{}", "a{}", "{}a", "aa{}"]), max_size=3))
    levels.insert(draw(st.integers(0, len(levels))), draw(words | st.sampled_from(["{}", "{rest}", "{rest}"])))
    text = "/".join(level.replace("{}", f"{{p{place}}}") for place, level in enumerate(levels))
    return Address.parse(text if text and not text.startswith("$") else f"x/{text}", ["rest"])


_PATTERN = ("([^/]*)", "(.*)")
topics = st.lists(words, min_size=1, max_size=4).map("/".join).filter(bool)


@pytest.mark.parametrize(
    ("text", "subscription", "names"),
    [
        ("sma", "sma", ()),
        ("doors/{location}", "doors/+", ("location",)),
        ("factory/{machine}/{sensor}", "factory/+/+", ("machine", "sensor")),
        ("{site}/{line}/state", "+/+/state", ("site", "line")),
        ("{all}", "+", ("all",)),
        ("a//b", "a//b", ()),
        ("/a/", "/a/", ()),
        ("lab/$raw", "lab/$raw", ()),
        ("Größe/{ß}", "Größe/+", ("ß",)),
        ("shelly-{id}/{kind}-sensor", "+/+", ("id", "kind")),
        ("N/{site}/{rest}", "N/+/#", ("site", "rest")),
        ("{rest}", "#", ("rest",)),
        ("esphome/{rest}/sensor/{name}/state", "esphome/#", ("rest", "name")),
    ],
)
def test_parse_gives_filter_and_names(text: str, subscription: str, names: tuple[str, ...]) -> None:
    """Each parameter is one `+` of the subscription filter, or its `#`; the names keep their order."""
    address = Address.parse(text, ["rest"])
    assert (address.text, address.filter, address.names) == (text, subscription, names)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 65,535 bytes"),
        ("a" * (MAX_BYTES + 1), "1 to 65,535 bytes"),
        ("ä" * (MAX_BYTES // 2 + 1), "1 to 65,535 bytes"),
        ("a/{b", "not one {parameter}"),
        ("a/b}", "not one {parameter}"),
        ("a/x{b}y{c}", "not one {parameter}"),
        ("{a}{b}", "not one {parameter}"),
        ("{{a}}", "not one {parameter}"),
        ("{}", "not one {parameter}"),
        ("{a}/{a}", "two parameters of one name"),
        ("a/+", "wildcard"),
        ("a/#", "wildcard"),
        ("a#b", "wildcard"),
        ("$SYS/{name}", "reserved for the broker"),
        ("$share/group/a", "reserved for the broker"),
        ("a/\0", "NUL"),
        ("a/x{rest}", "beside a parameter that takes several levels"),
        ("a/{rest}/{more}", "only one parameter"),
    ],
)
def test_parse_refuses_what_no_filter_can_say(text: str, why: str) -> None:
    """What MQTT cannot subscribe to is refused, and the error says why."""
    with pytest.raises(AddressError, match=why):
        Address.parse(text, ["rest", "more"])


def test_parse_takes_the_longest_address() -> None:
    """65,535 bytes are what an MQTT string holds."""
    assert Address.parse("a" * MAX_BYTES).match("a" * MAX_BYTES) == ()


@pytest.mark.parametrize(
    ("address", "topic", "found"),
    [
        ("factory/{machine}/{sensor}", "factory/a/b", ("a", "b")),
        ("factory/{machine}/{sensor}", "factory/a", None),
        ("factory/{machine}/{sensor}", "factory/a/b/c", None),
        ("factory/{machine}/{sensor}", "Factory/a/b", None),
        ("factory/{machine}/{sensor}", "factory//b", ("", "b")),
        ("factory/{machine}/{sensor}", "factory//", ("", "")),
        ("factory/{machine}/{sensor}", "factory/$x/+", ("$x", "+")),
        ("{all}", "a", ("a",)),
        ("{all}", "", ("",)),
        ("{all}", "$SYS", None),
        ("{all}/b", "$SYS/b", None),
        ("sma", "sma", ()),
        ("sma", "sma/", None),
        ("shelly-{id}/state", "shelly-1pm/state", ("1pm",)),
        ("shelly-{id}/state", "shelly-/state", ("",)),
        ("shelly-{id}/state", "shelly/state", None),
        ("{id}-power", "a-b-power", ("a-b",)),
        ("{id}-power", "$a-power", None),
        ("aa{id}aa", "aaa", None),
        ("a/{rest}", "a/b", ("b",)),
        ("a/{rest}", "a/b//c/", ("b//c/",)),
        ("a/{rest}", "a/", ("",)),
        ("a/{rest}", "a", None),
        ("{rest}", "a/b", ("a/b",)),
        ("z/{rest}/set", "z/a/b/set", ("a/b",)),
        ("z/{rest}/set", "z/a/set", ("a",)),
        ("z/{rest}/set", "z//set", ("",)),
        ("z/{rest}/set", "z/set", None),
        ("z/{rest}/set", "z/a/set/b", None),
        ("{rest}/x-{id}/{kind}", "a/b/x-1/t", ("a/b", "1", "t")),
        ("{rest}", "$SYS/b", None),
        ("/{site}/{rest}", "/x/y/z", ("x", "y/z")),
    ],
)
def test_match_gives_the_values(address: str, topic: str, found: tuple[str, ...] | None) -> None:
    """A topic gives the parameters' values, empty ones too, or does not match."""
    assert Address.parse(address, ["rest"]).match(topic) == found


@given(address=addresses(), data=st.data())
def test_match_gives_back_what_a_topic_was_made_of(address: Address, data: st.DataObject) -> None:
    """A topic built from values matches, and gives just these values back."""
    drawn = tuple(data.draw(values) for _ in address.names)
    topic = address.topic(drawn)
    assert topic.startswith("$") or address.match(topic) == drawn


@given(address=addresses(), topic=topics)
def test_match_agrees_with_paho(address: Address, topic: str) -> None:
    """An address matches topics that its filter matches in paho-mqtt: all of them if its levels are whole."""
    matcher = MQTTMatcher()  # type: ignore[no-untyped-call]  # paho types it not
    matcher[address.filter] = True
    matches = any(matcher.iter_match(topic))  # type: ignore[no-untyped-call]  # as above
    is_wider = address.is_multi or any(level.specificity[0] == 1 for level in address.levels)
    if address.match(topic) is not None:
        assert matches
    elif not is_wider:
        assert not matches


@given(address=addresses(), topic=topics)
def test_match_agrees_with_a_regular_expression(address: Address, topic: str) -> None:
    """An address is its literal text, with one level or several in place of the parameters."""
    parts = [
        re.escape(one.before) + (_PATTERN[one.is_multi] if one.name else "") + re.escape(one.after)
        for one in address.levels
    ]
    found = None if topic.startswith("$") else re.fullmatch("/".join(parts), topic, re.DOTALL)
    assert address.match(topic) == (found and found.groups())


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("a/{x}", "{y}/b", True),
        ("a/{x}", "a/{y}", True),
        ("a/{x}", "a/b", True),
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/{x}", "b/{x}", False),
        ("a/{x}", "a/{x}/c", False),
        ("a/{rest}", "a", False),
        ("a/{rest}", "a/b/c", True),
        ("a/{rest}", "{x}/b", True),
        ("a/{rest}", "{x}/b/{rest}", True),
        ("a/{rest}", "b/{rest}", False),
        ("a/{rest}/b", "a/b", False),
        ("a/{rest}/b", "a/c/b", True),
        ("a/{rest}/b", "a/c/d", False),
        ("a/{rest}/b", "a/{rest}", True),
        ("a/{rest}/b", "a/{rest}/c", False),
        ("a/{rest}/b", "{rest}/x/b", True),
        ("a/{rest}/b", "{rest}/x/c", False),
        ("a/{rest}/b/c", "a/{x}/c", False),
        ("a-{x}", "a-b", True),
        ("a-{x}", "b-{x}", False),
        ("a-{x}", "ab-{x}", False),
        ("a{x}", "ab-{x}", True),
        ("a{x}", "{x}b", True),
        ("a{x}b", "{x}c", False),
    ],
)
def test_overlaps_names_addresses_that_share_topics(one: str, other: str, overlap: bool) -> None:  # noqa: FBT001 - a column of the table
    """Two addresses overlap when a topic may match both."""
    first, second = Address.parse(one, ["rest"]), Address.parse(other, ["rest"])
    assert first.overlaps(second) is overlap
    assert second.overlaps(first) is overlap


@given(one=addresses(), other=addresses(), topic=topics)
def test_overlaps_whenever_a_topic_matches_both(one: Address, other: Address, topic: str) -> None:
    """No topic matches two addresses that do not overlap."""
    if one.match(topic) is not None and other.match(topic) is not None:
        assert one.overlaps(other)


@given(one=addresses(), other=addresses(), topic=topics)
def test_specificity_compares_the_first_level_that_differs(one: Address, other: Address, topic: str) -> None:
    """Two addresses that match a topic are compared at the first level at which their kinds differ."""
    if one.match(topic) is not None and other.match(topic) is not None:
        pairs = zip_longest(map(_kind, one.levels), map(_kind, other.levels), fillvalue=(4, 0))
        first = next((pair for pair in pairs if pair[0] != pair[1]), None)
        assert first is None or (one.specificity < other.specificity) == (first[0] < first[1])


def _kind(level: Level) -> tuple[int, int]:
    """Literal, partly literal with the length of its text, one level, several, the end."""
    if level.name is None:
        return 0, 0
    return (3, 0) if level.is_multi else (1, -len(level.before + level.after)) if level.before + level.after else (2, 0)
