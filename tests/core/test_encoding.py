"""Encodings by their content types, and payloads as JSON text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.encoding import JSON, Encoding, as_json, encoding_of
from gateway.operate.simulate.encoded import encoded
from tests.core.test_encoded_transform import ALL, CBOR, GZIP, LIMIT, MSGPACK, reading

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES, st.sampled_from(ALL))
def test_as_json_gives_back_every_value_of_json(value: Any, encoding: Encoding) -> None:
    payload = json.dumps(value).encode()
    assert json.loads(as_json(encoding, reading(encoded(payload, encoding)), LIMIT)) == value


@pytest.mark.parametrize(
    ("media_type", "encoding"),
    [
        ("application/json", JSON),
        ("application/vnd.a+b+json; charset=utf-8", JSON),
        ("application/msgpack", MSGPACK),
        ("application/x-msgpack", MSGPACK),
        ("application/vnd.msgpack", MSGPACK),
        ("application/CBOR", CBOR),
        ("application/vnd.plant+cbor", CBOR),
        ("application/gzip", GZIP),
        ("application/json+gzip", GZIP),
        ("application/cbor+gzip", Encoding("cbor", is_gzip=True)),
        ("text/plain", None),
        ("application/xml", None),
        ("application/jsonx", None),
        ("", None),
    ],
)
def test_encoding_of_a_content_type(media_type: str, encoding: Encoding | None) -> None:
    assert encoding_of(media_type) == encoding
