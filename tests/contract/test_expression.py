"""Runtime expressions of AsyncAPI, as far as the gateway reads them."""

from __future__ import annotations

import pytest

from gateway.contract.expression import Expression, ExpressionError, parse


@pytest.mark.parametrize(
    ("text", "part", "pointer"),
    [
        ("$message.payload#/machine", "payload", "/machine"),
        ("$message.payload#/1-0:1.8.0/value", "payload", "/1-0:1.8.0/value"),
        ("$message.payload#", "payload", ""),
        ("$message.payload#/", "payload", "/"),
        ("$message.header#/mqtt.topic", "header", "/mqtt.topic"),
        ("$message.parameter#/site", "parameter", "/site"),
    ],
)
def test_parse_takes_the_grammar(text: str, part: str, pointer: str) -> None:
    assert parse(text) == Expression(part, pointer)


@pytest.mark.parametrize(
    "text",
    ["", "machine", "/machine", "$message.payload", "$message.payload#machine", "$message.body#/x",
     "$message.payload#/a~", "$message.payload#/a~2", " $message.payload#/x", "$message.payload/x"],
)  # fmt: skip
def test_parse_refuses_anything_else(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)
