"""Properties of a PUBLISH: what any client library writes is read, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.core.mqtt_properties import (
    CONTENT_TYPE,
    CORRELATION_DATA,
    RESPONSE_TOPIC,
    USER_PROPERTY,
    MalformedPropertiesError,
    parse,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
some_properties = st.fixed_dictionaries(
    {},
    optional={
        "PayloadFormatIndicator": st.integers(0, 1),
        "MessageExpiryInterval": st.integers(0, 2**32 - 1),
        "ContentType": texts,
        "ResponseTopic": texts,
        "CorrelationData": st.binary(max_size=300),
        "SubscriptionIdentifier": st.integers(1, 268_435_455),
        "TopicAlias": st.integers(1, 65_535),
        "UserProperty": st.lists(st.tuples(texts, texts), min_size=1, max_size=4),
    },
)


def packed(told: dict[str, Any]) -> bytes:
    """Let paho write them; give what stands behind their length."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho types it not
    for name, value in told.items():
        setattr(properties, name, value)
    data = bytes(properties.pack())  # type: ignore[no-untyped-call]  # likewise
    return data[next(place for place, byte in enumerate(data) if byte < 0x80) + 1 :]


@given(some_properties)
def test_parse_reads_what_paho_writes(told: dict[str, Any]) -> None:
    """Texts, bytes and user properties come out, these in their order; the others are passed over."""
    found = parse(packed(told))
    assert [each[1:] for each in found if each[0] == USER_PROPERTY] == [
        (name.encode(), value.encode()) for name, value in told.get("UserProperty", [])
    ]
    assert {each[0]: each[2] for each in found if each[0] != USER_PROPERTY} == {
        identifier: value if isinstance(value, bytes) else value.encode()
        for identifier, value in (
            (CONTENT_TYPE, told.get("ContentType")),
            (RESPONSE_TOPIC, told.get("ResponseTopic")),
            (CORRELATION_DATA, told.get("CorrelationData")),
        )
        if value is not None
    }


@given(some_properties, st.data())
def test_parse_takes_no_part_of_a_property(told: dict[str, Any], data: st.DataObject) -> None:
    """Cut between two properties it is their beginning; cut anywhere else it is malformed."""
    section = packed(told)
    whole = parse(section)
    try:
        found = parse(section[: data.draw(st.integers(0, len(section)))])
    except MalformedPropertiesError:
        return
    assert found == whole[: len(found)]


@given(st.binary(max_size=40))
def test_parse_reads_or_refuses_any_bytes(section: bytes) -> None:
    with suppress(MalformedPropertiesError):
        assert all(identifier in section for identifier, _, _ in parse(section))


@pytest.mark.parametrize("section", [b"\x26", b"\x26\0\1a", b"\x26\0\1a\0\5b", b"\x7f\0", b"\x01", b"\x0b\x80", b"\0"])
def test_parse_refuses_what_is_no_property(section: bytes) -> None:
    with pytest.raises(MalformedPropertiesError):
        parse(section)
