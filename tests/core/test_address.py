"""Addresses: what MQTT can express, and the way from a topic back to the parameters' values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.matcher import MQTTMatcher

from gateway.core.address import MAX_BYTES, Address, AddressError

# Few letters, so that random topics and addresses meet; `$` because MQTT treats it apart, "" because levels may be.
words = st.sampled_from(["a", "b", "", "$a", "ä", " "])
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/+#\0"), min_size=1, max_size=8)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    levels = draw(st.lists(words | st.just("{}"), min_size=1, max_size=4))
    named = [f"{{p{place}}}" if level == "{}" else level for place, level in enumerate(levels)]
    text = "/".join(named)
    return text if text and not text.startswith("$") else f"x/{text}"


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
    ],
)
def test_parse_gives_filter_and_names(text: str, subscription: str, names: tuple[str, ...]) -> None:
    """Each parameter is one `+` of the subscription filter; the names keep their order."""
    address = Address.parse(text)
    assert (address.text, address.filter, address.names) == (text, subscription, names)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 65,535 bytes"),
        ("a" * (MAX_BYTES + 1), "1 to 65,535 bytes"),
        ("ä" * (MAX_BYTES // 2 + 1), "1 to 65,535 bytes"),
        ("a/{b", "write a whole level as {name}"),
        ("a/b}", "write a whole level as {name}"),
        ("a/x{b}", "write a whole level as {name}"),
        ("{a}{b}", "write a whole level as {name}"),
        ("{{a}}", "write a whole level as {name}"),
        ("{}", "write a whole level as {name}"),
        ("{a}/{a}", "two parameters of one name"),
        ("a/+", "wildcard"),
        ("a/#", "wildcard"),
        ("a#b", "wildcard"),
        ("$SYS/{name}", "reserved for the broker"),
        ("$share/group/a", "reserved for the broker"),
        ("a/\0", "NUL"),
    ],
)
def test_parse_refuses_what_no_filter_can_say(text: str, why: str) -> None:
    """What MQTT cannot subscribe to is refused, and the error says why."""
    with pytest.raises(AddressError, match=why):
        Address.parse(text)


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
    ],
)
def test_match_gives_the_values(address: str, topic: str, found: tuple[str, ...] | None) -> None:
    """A topic gives the parameters' values, empty ones too, or does not match."""
    assert Address.parse(address).match(topic) == found


@given(text=addresses(), data=st.data())
def test_match_gives_back_what_a_topic_was_made_of(text: str, data: st.DataObject) -> None:
    """A topic built from values matches, and gives just these values back."""
    address = Address.parse(text)
    drawn = [data.draw(values if level is None else st.just(level)) for level in address.levels]
    if address.levels[0] is None and drawn[0].startswith("$"):
        drawn[0] = "v"
    expected = tuple(value for value, level in zip(drawn, address.levels, strict=True) if level is None)
    assert address.match("/".join(drawn)) == expected


@given(text=addresses(), topic=topics)
def test_match_agrees_with_paho(text: str, topic: str) -> None:
    """An address matches exactly the topics that its filter matches in paho-mqtt."""
    address = Address.parse(text)
    matcher = MQTTMatcher()  # type: ignore[no-untyped-call]  # paho types it not
    matcher[address.filter] = True
    matches = any(matcher.iter_match(topic))  # type: ignore[no-untyped-call]  # as above
    assert (address.match(topic) is not None) == matches


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
    ],
)
def test_overlaps_names_addresses_that_share_topics(one: str, other: str, overlap: bool) -> None:  # noqa: FBT001 - a column of the table
    """Two addresses overlap when a topic may match both."""
    assert Address.parse(one).overlaps(Address.parse(other)) is overlap
    assert Address.parse(other).overlaps(Address.parse(one)) is overlap


@given(one=addresses(), other=addresses(), topic=topics)
def test_overlaps_whenever_a_topic_matches_both(one: str, other: str, topic: str) -> None:
    """No topic matches two addresses that do not overlap."""
    first, second = Address.parse(one), Address.parse(other)
    if first.match(topic) is not None and second.match(topic) is not None:
        assert first.overlaps(second)
