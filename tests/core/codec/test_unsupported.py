"""The two limits of the compiled encoder: payloads that it refuses, and schemas that it does not support."""

from __future__ import annotations

import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.compiled import compile_fast
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.unsupported import FallBack, UnsupportedSchemaError
from gateway.errors import CodecLimit
from tests.contract_values import codec_of, record

SUPPORTED = record(("door", "string"), ("count", "int"))
AMBIGUOUS = record(("door", "string"), ("either", ["bytes", "string"]))


def test_a_payload_that_the_compiled_encoder_refuses_takes_the_precise_path() -> None:
    codec = codec_of(SUPPORTED, ("/door",))
    payload = b'{"door":"d1","count":true}'
    with pytest.raises(FallBack):
        codec.fast(payload, codec.prepare(()))
    assert codec.encode(payload) == codec.encode_precisely(payload)


def test_the_precise_path_may_accept_what_the_compiled_encoder_refuses() -> None:
    codec = codec_of(record(("door", "string"), ("level", "double")), ("/door",))
    payload = b'{"door":"d1","level":9007199254740994}'  # exact, but above what the generated code takes at once
    with pytest.raises(FallBack):
        codec.fast(payload, codec.prepare(()))
    assert isinstance(codec.encode(payload), tuple)


def test_an_unsupported_schema_says_why() -> None:
    with pytest.raises(UnsupportedSchemaError, match=r"^a union with two branches for text$"):
        compile_fast(Conversion(build(AMBIGUOUS), ("/door",)))


def test_a_codec_of_an_unsupported_schema_names_the_reason_and_encodes_precisely() -> None:
    codec = codec_of(AMBIGUOUS, ("/door",))
    assert codec.not_fast_because == "a union with two branches for text"
    payload = b'{"door":"d1","either":"x"}'
    with pytest.raises(FallBack):
        codec.fast(payload, codec.prepare(()))
    assert codec.encode(payload) == (b"d1", b"\x04d1\x00\x02x", None, None, None)


def test_a_supported_schema_has_no_reason() -> None:
    assert codec_of(SUPPORTED, ("/door",)).not_fast_because == ""


@pytest.mark.parametrize("limit", [FallBack, UnsupportedSchemaError])
def test_a_limit_of_the_compiled_encoder_is_no_fault_of_the_data(limit: type[Exception]) -> None:
    assert issubclass(limit, CodecLimit)
