"""The key on the precise path: text of the record's field, found in the JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
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
