"""The choice among messages: by the places that tell them apart, compiled or not."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.json_text import parse
from gateway.core.codec.unsupported import FallBack
from gateway.core.message_choice import MessageChoice, telling
from gateway.core.message_demands import demands_of
from tests.core.test_message_demands import schema

NUMBER = {"type": "number"}
BY_METHOD = [schema(["method"], method={"const": name}, params={}) for name in ("status", "full", "event")]
BY_MEMBERS = [
    schema(["contact"], contact={"type": "boolean"}, battery=NUMBER),
    schema(["temperature", "humidity"], temperature=NUMBER, humidity=NUMBER, battery=NUMBER),
    schema(["power"], power=NUMBER, state={"enum": ["ON", "OFF"]}, update={"type": "object"}),
    schema(["power", "temperature"], power=NUMBER, temperature=NUMBER),
]
BY_KINDS = [schema(["v"], v={"type": kind}) for kind in ("string", "number", "object", "null", "boolean")]
BY_VALUES = [schema(["v"], v={"enum": values}) for values in ([1, "a"], [True, 2.5], [None, 0])]
BY_ROOT = [{"type": "array"}, {"type": "number"}, schema(["v"], v={"const": "x"}), schema([], v={"const": "y"})]
OPEN = [{"type": "object", "required": ["temperature"], "properties": {"temperature": NUMBER}},
        {"type": "object", "required": ["contact"], "properties": {"contact": {"type": "boolean"}, "temperature": False,
         }},
        {"type": "object", "required": ["a"], "properties": {"contact": False, "temperature": False}}]  # fmt: skip
SOME = [schema(["p"], p={"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}),
        schema(["p"], p={"type": "object", "properties": {"a": False, "b": False}}),
        {"type": "object", "properties": {"p": False}, "anyOf": [{"required": ["q"]}, {"required": ["v"]}]},
        {"type": "object", "properties": {"p": False, "q": False, "v": False}}]  # fmt: skip
BELOW = [schema(["p"], p=schema(["a"], a=NUMBER)), schema(["p"], p=schema(["b"], b=NUMBER)), schema(["q"], q=NUMBER)]
ALL = {
    "method": BY_METHOD, "members": BY_MEMBERS, "kinds": BY_KINDS, "values": BY_VALUES, "root": BY_ROOT, "below": BELOW,
    "open": OPEN, "some": SOME,
}  # fmt: skip
CHOICES = {name: MessageChoice([demands_of(each, None) for each in schemas]) for name, schemas in ALL.items()}

VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, 2.5, True, False, None, "a", "x", "y", "status", "event", "ON", [], {}, {"a": 1}, {"b": 2}, {"b": 2, "c": 0}]
)
NAMES = st.sampled_from(["method", "v", "contact", "temperature", "humidity", "power", "state", "p", "q", "battery"])
PAYLOADS = st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=4))


def meeting(name: str, value: Any) -> list[int]:
    """The messages all of whose demands a payload meets."""
    return [number for number, each in enumerate(ALL[name]) if not demands_of(each, None).failed(value)]


@given(name=st.sampled_from(sorted(ALL)), payload=PAYLOADS)
def test_choice_leaves_the_message_whose_demands_a_payload_meets(name: str, payload: Any) -> None:
    """There is at most one such message. The compiled choice finds it, or raises."""
    expected = meeting(name, payload)
    assert len(expected) <= 1
    choice = CHOICES[name]
    value = parse(json.dumps(payload).encode())
    remaining = choice.remaining(value)
    try:
        chosen = choice.compiled()(payload)
    except Exception:  # noqa: BLE001 - the precise choice decides
        chosen = None
    if expected:
        assert remaining == expected
        assert chosen in {1 << expected[0], None}


NAMES_LISTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=2)
MEMBER = st.sampled_from([False, True, {}, NUMBER, {"type": "object"}, {"const": 1}, {"enum": ["x", None]}])
OBJECTS = st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("abc"), MEMBER)}, optional={
    "type": st.just("object"), "required": NAMES_LISTS, "additionalProperties": st.booleans(),
    "anyOf": st.lists(st.fixed_dictionaries({"required": NAMES_LISTS}), min_size=1, max_size=3),
})  # fmt: skip
SCHEMAS = st.recursive(OBJECTS, lambda inner: st.builds(
    lambda outer, name, below: {**outer, "properties": {**outer["properties"], name: below}},
    OBJECTS, st.sampled_from("abc"), inner,
), max_leaves=2)  # fmt: skip
SENT: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([0, 1, None, "x", [], {}]),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner),
    max_leaves=6,
)


@given(one=SCHEMAS, other=SCHEMAS, payload=SENT)
def test_demands_are_met_by_what_is_valid_and_no_payload_suits_two_that_are_told_apart(
    one: Any, other: Any, payload: Any
) -> None:
    """The library's verdict is the oracle; of two messages that are told apart, the choice finds the valid one."""
    fits = [jsonschema.Draft7Validator(each).is_valid(payload) for each in (one, other)]
    demands = [demands_of(each, None) for each in (one, other)]
    assert [fit for fit, each in zip(fits, demands, strict=True) if each.failed(payload)] in ([], [False], [False] * 2)
    if telling(*demands):
        assert not all(fits)
        choice = MessageChoice(demands)
        if any(fits):
            assert choice.remaining(payload) == [fits.index(True)]
            assert choice.compiled()(payload) == 1 << fits.index(True)


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("method", {"method": "full"}, [1]),
        ("method", {"method": "other"}, []),  # no message lists the value
        ("method", {"method": 5}, []),
        ("method", {}, []),
        ("members", {"temperature": 1, "humidity": 2}, [1]),
        ("members", {"temperature": "1", "humidity": 2}, [1]),  # of the wrong type, but still of this message
        ("members", {"temperature": 1}, []),
        ("members", {}, []),
        ("members", {"contact": 1}, [0]),
        ("kinds", {"v": []}, []),  # only the type tells these apart
        ("some", {"p": {"a": 1}}, [0]),
        ("some", {"p": {"b": 1, "c": 1}}, [0]),
        ("some", {"p": {"b": 1}}, []),  # it lacks c
        ("some", {"p": {"c": 1}}, [1]),
        ("some", {"p": 1}, [1]),  # of the wrong type
        ("some", {"v": None}, [2]),
        ("some", {"q": 1, "v": None}, [2]),
        ("some", {}, [3]),
        ("open", {"contact": "yes"}, [1]),
        ("open", {"temperature": "1", "contact": True}, [0]),
    ],
)
def test_choice_leaves_none_or_one(name: str, payload: Any, expected: list[int]) -> None:
    assert CHOICES[name].remaining(payload) == expected


@pytest.mark.parametrize(("name", "payload"), [
    ("method", {"method": "event", "params": []}), ("members", {"power": 1, "state": "ON"}), ("kinds", {"v": {}}),
    ("kinds", {"v": 1.5}), ("values", {"v": 1}), ("values", {"v": True}), ("values", {"v": None}), ("root", [1]),
    ("some", {"p": {"a": 1}}), ("some", {"p": {}}), ("some", {"v": 1}), ("some", {}),
    ("root", 5), ("root", {"v": "x"}), ("root", {}), ("below", {"p": {"b": 1}}), ("below", {"q": 1}),
])  # fmt: skip
def test_compiled_choice_decides_alone(name: str, payload: Any) -> None:
    assert [CHOICES[name].compiled()(payload)] == [1 << number for number in meeting(name, payload)]


def test_compiled_choice_leaves_fractions_beside_listed_numbers_to_the_precise_one() -> None:
    """A float has lost digits; the precise choice has all of them."""
    with pytest.raises(FallBack):
        CHOICES["values"].compiled()({"v": 2.5})
    assert CHOICES["values"].remaining({"v": 2.5}) == [1]


def test_nearest_is_the_message_with_the_fewest_failed_demands() -> None:
    assert CHOICES["members"].nearest({"temperature": 1, "battery": 3}, range(4)) == (1, ("humidity",))
    assert CHOICES["members"].nearest({}, [2, 3]) == (2, ("power",))
    assert CHOICES["method"].nearest({"method": "other"}, range(3)) == (0, ("method",))
    assert CHOICES["kinds"].nearest({"v": []}, range(5)) == (0, ("v",))


@pytest.mark.parametrize(
    ("one", "other", "places"),
    [
        (BY_METHOD[0], BY_METHOD[1], [("method",)]),
        (BY_MEMBERS[0], BY_MEMBERS[1], [("contact",), ("humidity",), ("temperature",)]),
        (BELOW[0], BELOW[1], [("p", "a"), ("p", "b")]),
        ({"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}, []),
        ({"type": "object", "required": ["a"]}, {"type": "object", "properties": {"a": False}}, [("a",)]),
        (schema([], v=NUMBER), schema([], v={"type": "string"}), []),  # a payload without v fits both
        (SOME[0], SOME[1], [("p", ("a", "b"))]),  # a and c do not tell
        (SOME[2], SOME[3], [(("q", "v"),)]),
        ({"anyOf": [{"required": ["a"]}]}, {"properties": {"a": False}}, []),  # which may be no objects
        (
            {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"type": "object", "properties": {"a": False}},
            [],
        ),
    ],
)
def test_telling_names_the_places_that_no_payload_shares(one: Any, other: Any, places: list[Any]) -> None:
    assert telling(demands_of(one, None), demands_of(other, None)) == places
