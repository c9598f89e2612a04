"""The key on the precise path: text of the record's field, found in the JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.avro_schema import build
from gateway.core.codec.key import Key
from gateway.core.codec.validation_error import ValidationError, pointer
from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of, record

NAME = ("name", "string")
NUMBER = {"name": "number", "type": ["null", "string"], "default": None, "x-source": "$message.payload#/0-0:96.1.0/v"}
EITHER = {"name": "either", "type": "string", "x-source": ["$message.payload#/p/id", "$message.payload#/q/id"]}
SITE = {"name": "site", "type": "string", "default": "home"}
PLACE = {"name": "place", "type": record(("room", "string"), name="Place"), "x-source": "$message.payload#/where"}
ROOM = {"name": "room", "type": "string", "default": "hall"}
TWO_PLACES = {"name": "place", "type": record(ROOM, name="Place"), "default": {"room": "cellar"},
              "x-source": ["$message.payload#/a", "$message.payload#/b"]}  # fmt: skip
COUNT = {"name": "count", "type": ["null", "long"], "default": None}
TENS = {"name": "tens", "type": "int", "x-source": {"location": "$message.payload#/t", "factor": 10}}
OPEN = ("open", "boolean")
STATE = ("state", {"type": "enum", "name": "State", "symbols": ["on", "off"]})
NO_PLACE = {**PLACE, "type": ["null", record(("room", "string"), name="Place")]}


@pytest.mark.parametrize(
    ("fields", "pointers", "value", "key"),
    [
        ([NAME], ("/name",), {"name": "m"}, b"m"),
        ([NAME], ("/name",), {"name": "Öl ☃ \0"}, "Öl ☃ \0".encode()),
        ([NAME, NUMBER], ("/name", "/number"), {"name": "m", "0-0:96.1.0": {"v": "90"}}, b"m"),
        ([NAME, NUMBER], ("/name", "/number"), {"name": "", "0-0:96.1.0": {"v": "90"}}, b"90"),
        ([NAME, NUMBER], ("/number", "/name"), {"name": "m", "0-0:96.1.0": {"v": None}}, b"m"),
        ([NAME, NUMBER], ("/number", "/name"), {"name": "m"}, b"m"),
        ([EITHER], ("/either",), {"q": {"id": "second"}}, b"second"),
        ([EITHER], ("/either",), {"p": {"id": "first"}, "q": {"id": "second"}}, b"first"),
        ([SITE], ("/site",), {}, b"home"),
        ([SITE], ("/site",), {"site": "away"}, b"away"),
        ([PLACE], ("/place/room",), {"where": {"room": "attic"}}, b"attic"),
        ([TWO_PLACES], ("/place/room",), {"a": {}, "b": {"room": "attic"}}, b"hall"),
        ([TWO_PLACES], ("/place/room",), {"b": {"room": "attic"}}, b"attic"),
        ([TWO_PLACES], ("/place/room",), {}, b"cellar"),
        ([NO_PLACE, NAME], ("/place/room", "/name"), {"where": None, "name": "m"}, b"m"),
        ([NO_PLACE, NAME], ("/place/room", "/name"), {"where": {"room": "attic"}, "name": "m"}, b"attic"),
        ([COUNT, NAME], ("/count", "/name"), {"count": None, "name": "m"}, b"m"),
    ],
)
def test_of_gives_the_first_text_that_is_not_empty(
    fields: list[Any], pointers: tuple[str, ...], value: dict[str, Any], key: bytes
) -> None:
    """Pointers are tried in order, each through its field's source and default; the key is UTF-8 of what is found.

    It is the text that the record holds, on both paths.
    """
    assert Key(build(record(*fields)), pointers).of(value) == key
    encoded = codec_of(record(*fields), pointers).encode(json.dumps(value).encode())
    assert not isinstance(encoded, DeadLetter)
    assert encoded[0] == key
    assert key in encoded[1]


@pytest.mark.parametrize(
    ("fields", "parts", "separator", "value", "key"),
    [
        ([COUNT, NAME], ("/count", "/name"), None, {"count": 0, "name": "m"}, b"0"),
        ([COUNT], ("/count",), None, {"count": -(2**63)}, b"-9223372036854775808"),
        ([TENS], ("/tens",), None, {"t": 1.5}, b"15"),
        ([OPEN], ("/open",), None, {"open": False}, b"false"),
        ([STATE], ("/state",), None, {"state": "off"}, b"off"),
        ([NAME], (0,), None, {"name": ""}, b"vienna"),
        ([NAME], ("/name", 1), None, {"name": ""}, b"sites/vienna"),
        ([NAME], (0, "/name"), "/", {"name": "a/b"}, b"vienna/a/b"),
        ([NAME, COUNT, OPEN], ("/name", "/count", "/open"), " \u2013 ", {"name": "m", "count": 7, "open": True},
         "m \u2013 7 \u2013 true".encode()),
        ([NAME], (0, 1), "|", {"name": "m"}, b"vienna|sites/vienna"),
    ],
)  # fmt: skip
def test_of_takes_numbers_booleans_and_the_texts_of_the_topic(
    fields: list[Any], parts: tuple[str | int, ...], separator: str | None, value: dict[str, Any], key: bytes
) -> None:
    codec = codec_of(record(*fields), parts, (None, None), separator=separator)
    assert not codec.not_fast_because
    payload, texts = json.dumps(value).encode(), ("vienna", "sites/vienna")
    precise = codec.encode_precisely(payload, texts)
    assert codec.fast(payload, codec.prepare(texts)) == precise
    assert not isinstance(precise, DeadLetter)
    assert precise[0] == key


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"name": "", "count": 1}, "/name"),
        ({"name": "m", "count": None}, "/count"),
        ({"name": "m"}, "/count"),
    ],
)
def test_a_joined_key_with_an_empty_part_is_a_dead_letter(value: dict[str, Any], place: str) -> None:
    codec = codec_of(record(NAME, COUNT), (0, "/name", "/count"), (None,), separator="/")
    dead_letter = DeadLetter(Reason.NO_KEY, place, "a part of the key is empty or absent")
    assert codec.encode(json.dumps(value).encode(), ("vienna",)) == dead_letter


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_key_is_the_same_on_both_paths(data: st.DataObject) -> None:
    """Of any fields and texts of the topic, in any order, joined or tried; nothing that is empty is a key."""
    kinds = {"t": "string", "n": ["null", "string"], "i": "int", "l": ["null", "long"], "b": "boolean"}
    fields = [{"name": name, "type": kind, "x-source": f"$message.payload#/of/{name}"} for name, kind in kinds.items()]
    choices: list[str | int] = [0, 1, *(f"/{name}" for name in kinds)]
    parts = data.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=4))
    codec = codec_of(record(*fields), tuple(parts), (None, None), separator=data.draw(st.sampled_from([None, "", "/"])))
    text, number = st.text("a/ä", max_size=2), st.integers(-(2**31), 2**31 - 1)
    drawn = {"t": text, "n": st.none() | text, "i": number, "l": st.none() | number, "b": st.booleans()}
    payload = json.dumps({"of": data.draw(st.fixed_dictionaries(drawn))}).encode()
    texts = ("vienna", "sites/vienna")
    encoded = codec.encode(payload, texts)
    assert not codec.not_fast_because
    assert encoded == codec.encode_precisely(payload, texts)
    if isinstance(encoded, DeadLetter):
        assert encoded.reason == Reason.NO_KEY
    else:
        assert encoded == codec.fast(payload, codec.prepare(texts))
        assert encoded[0]


@pytest.mark.parametrize(
    ("fields", "pointers", "value", "place"),
    [
        ([NAME], ("/name",), {"name": ""}, "/name"),
        ([NAME, NUMBER], ("/name", "/number"), {"name": ""}, "/name"),
        ([NUMBER, NAME], ("/number", "/name"), {"name": "", "0-0:96.1.0": {"v": ""}}, "/0-0:96.1.0/v"),
        ([NUMBER], ("/number",), {}, "/0-0:96.1.0/v"),
    ],
)
def test_of_refuses_a_reading_without_key(
    fields: list[Any], pointers: tuple[str, ...], value: dict[str, Any], place: str
) -> None:
    """Without a key there is no order to keep: NO_KEY, at the place of the first pointer in the payload."""
    with pytest.raises(ValidationError) as refused:
        Key(build(record(*fields)), pointers).of(value)
    assert (refused.value.reason, pointer(refused.value.tokens)) == (Reason.NO_KEY, place)


@pytest.mark.parametrize("wrong", ["/nam", "/place/nowhere"])
def test_key_refuses_a_pointer_to_no_field(wrong: str) -> None:
    """A pointer that leads nowhere is found when the key is made, not when readings come."""
    with pytest.raises(KeyError):
        Key(build(record(NAME, PLACE)), (wrong,))


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_of_keeps_every_text(text: str) -> None:
    """Any text that is not empty is a key, unchanged."""
    assert Key(build(record(NAME)), ("/name",)).of({"name": text}).decode() == text
