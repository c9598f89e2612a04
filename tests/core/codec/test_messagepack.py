"""MessagePack is as strict as JSON, and says where it is not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.core.codec.messagepack import as_json, decode_strictly
from gateway.core.codec.validation_error import ValidationError

VALUES: list[Any] = [None, True, -1, 2**64 - 1, -(2**63), 0.1, 1e300, "", "\u6c34", [], {}, {"a": [{"b": [1, None]}]}]


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


@pytest.mark.parametrize("value", [*VALUES, nested(32)])
def test_as_json_writes_the_same_value(value: Any) -> None:
    assert json.loads(as_json(msgspec.msgpack.encode(value))) == value


@pytest.mark.parametrize("value", VALUES)
def test_decode_strictly_gives_the_same_value(value: Any) -> None:
    assert decode_strictly(msgspec.msgpack.encode(value)) == value


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), b"x", {1: 2}, {"a": [{2: 3}]}, {"a": {"b": float("inf")}}]
)
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    payload = msgspec.msgpack.encode(value)
    with pytest.raises(msgspec.ValidationError):
        decode_strictly(payload)
    with pytest.raises(ValidationError) as raised:
        as_json(payload)
    assert raised.value.reason == "not_decoded"


def test_as_json_of_too_many_levels_says_where() -> None:
    with pytest.raises(ValidationError) as raised:
        as_json(msgspec.msgpack.encode({"a": nested(33)}))
    assert raised.value.dead_letter().pointer == "/a" + 31 * "/0"
