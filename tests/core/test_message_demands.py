"""What messages demand of members, and when two exclude each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.json_text import ABSENT
from gateway.core.message_demands import Demands, demands_of
from tests.contract_values import record


def schema(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


SHELLY = schema(["method", "params"], method={"const": "NotifyStatus"}, n={"type": "integer"}, params={
    "type": "object", "required": ["ts"], "properties": {"ts": {"type": "number"}, "em:0": {"type": "object"}},
})  # fmt: skip


@pytest.mark.parametrize(
    ("described", "path", "taken", "refused"),
    [
        (SHELLY, (), [{}], [[], 1, None]),
        (SHELLY, ("method",), ["NotifyStatus"], ["NotifyEvent", 1, ABSENT]),
        (SHELLY, ("n",), [1, 1.0, Decimal("1.5"), ABSENT], ["1", None, True]),
        (SHELLY, ("params", "ts"), [1], [ABSENT, "1"]),
        (SHELLY, ("params", "em:0"), [{}, ABSENT], [1]),
        (SHELLY, ("other",), [ABSENT], [None, 1]),
        (SHELLY, ("other", "below"), [ABSENT], [1]),
        (SHELLY, ("params", "other"), [1, ABSENT], []),
        ({"properties": {"a": {"enum": [1, True, None]}}}, ("a",), [1.0, True, None, ABSENT], [False, 2, "1"]),
        ({"properties": {"a": {"enum": [[1], "x"]}}}, ("a",), [[2], "y"], [1]),  # lists are not compared
        ({"properties": {"a": False}, "required": ["b"]}, ("a",), [ABSENT], [1]),
        ({"required": ["b"]}, ("b",), [1, ABSENT], []),  # a payload that is not an object needs no member
        ({"allOf": [{"type": "object"}, {"required": ["b"], "properties": {"b": {"type": "null"}}}]},
         ("b",), [None], [1, ABSENT]),
        ({"type": "unheard-of"}, (), [1, {}], []),
        (True, ("a",), [1, ABSENT], []),
    ],
)  # fmt: skip
def test_demands_of_a_json_schema(described: Any, path: tuple[str, ...], taken: list[Any], refused: list[Any]) -> None:
    demand = demands_of(described, None).at(path)
    assert [demand.takes(value) for value in taken] == [True] * len(taken)
    assert [demand.takes(value) for value in refused] == [False] * len(refused)


AVRO = record(
    ("id", "string"),
    ("n", "int"),
    {"name": "w", "type": ["null", "double"], "default": None},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["on", "off"]}},
    {"name": "deep", "type": "double", "x-source": "$message.payload#/a/b"},
    {"name": "either", "type": "string", "x-source": ["$message.payload#/x", "$message.payload#/y"]},
    {"name": "inner", "type": record(("v", "boolean"), name="Inner")},
    {"name": "read", "type": "double", "x-source": {"location": "$message.payload#/t", "parse": "number"}},
)


@pytest.mark.parametrize(
    ("path", "taken", "refused"),
    [
        (("id",), ["a", ABSENT], [1]),  # the topic may fill it in
        (("n",), [1], [ABSENT, "1"]),
        (("w",), [1.5, None, ABSENT], ["1"]),
        (("state",), ["on"], ["ajar", ABSENT]),
        (("a",), [{}], [ABSENT, 1]),
        (("a", "b"), [1], [ABSENT]),
        (("x",), [1, ABSENT], []),
        (("inner", "v"), [True], [ABSENT, 1]),
        (("inner", "other"), [ABSENT], [1]),
        (("t",), ["1", 1], [ABSENT]),  # what a word of `x-source` reads may be of any kind
        (("other",), [ABSENT], [1]),
    ],
)
def test_demands_of_an_avro_record(path: tuple[str, ...], taken: list[Any], refused: list[Any]) -> None:
    demand = demands_of(None, build(AVRO), {("id",)}, rejects=True).at(path)
    assert [demand.takes(value) for value in taken] == [True] * len(taken)
    assert [demand.takes(value) for value in refused] == [False] * len(refused)


def test_demands_of_a_bare_value_and_of_an_array() -> None:
    plug = build(record({"name": "watts", "type": "double", "x-source": "$message.payload#"}))
    assert not demands_of(None, plug).at(()).takes({})
    assert demands_of(None, plug).at(()).takes(1)
    assert demands_of({"type": "array"}, None).at(()).takes([])


@pytest.mark.parametrize(
    ("path", "value", "difference"),
    [
        ((), 1, "expected an object"),
        (("method",), "x", "'x' is not 'NotifyStatus'"),
        (("method",), ABSENT, "this member is missing"),
        (("n",), "x", "expected a number"),
        (("other",), 1, "this member is not allowed"),
    ],
)
def test_demand_says_how_a_value_differs(path: tuple[str, ...], value: Any, difference: str) -> None:
    assert demands_of(SHELLY, None).at(path).difference(value) == difference


def test_demands_say_how_an_object_differs_that_has_none_of_several_members_or_one_too_many() -> None:
    one = demands_of({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, None)
    none = demands_of({"type": "object", "properties": {"a": False, "b": False}}, None)
    place = (("a", "b"),)
    assert one.at(place).excludes(none.at(place))
    assert one.failed({"b": 1}) == none.failed({"c": 1}) == []
    assert one.failed({"c": 1}) == [place]
    assert one.difference(place, {"c": 1}) == ((), "none of the members a, b is there")
    assert none.difference(place, {"b": 1}) == (("b",), "this member is not allowed")


def test_demands_list_the_places_that_a_payload_fails() -> None:
    demands = demands_of(SHELLY, None)
    assert demands.failed({"method": "NotifyStatus", "params": {"ts": 1}}) == []
    assert demands.failed({"method": "x", "params": {}, "more": 1}) == [("method",), ("params", "ts"), ("more",)]
    assert Demands().failed([]) == []
