"""CBOR: the examples of RFC 8949, and data that is no CBOR, or that JSON does not have."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.cbor import decode
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

# Appendix A: those that JSON has, in its order. Decimal compares the exact values.
EXAMPLES = """\
00 0|01 1|0a 10|17 23|1818 24|1819 25|1864 100|1903e8 1000|1a000f4240 1000000|1b000000e8d4a51000 1000000000000
1bffffffffffffffff 18446744073709551615|c249010000000000000000 18446744073709551616
3bffffffffffffffff -18446744073709551616|c349010000000000000000 -18446744073709551617|20 -1|29 -10|3863 -100|3903e7 -1000
f90000 0.0|f98000 -0.0|f93c00 1.0|fb3ff199999999999a 1.1|f93e00 1.5|f97bff 65504.0|fa47c35000 100000.0
fa7f7fffff 3.4028234663852886e+38|fb7e37e43c8800759c 1.0e+300|f90001 5.960464477539063e-8|f90400 0.00006103515625
f9c400 -4.0|fbc010666666666666 -4.1|f4 false|f5 true|f6 null|f7 null
c074323031332d30332d32315432303a30343a30305a "2013-03-21T20:04:00Z"|c11a514b67b0 1363896240
c1fb41d452d9ec200000 1363896240.5|d82076687474703a2f2f7777772e6578616d706c652e636f6d "http://www.example.com"
60 ""|6161 "a"|6449455446 "IETF"|62225c "\\"\\\\"|62c3bc "\\u00fc"|63e6b0b4 "\\u6c34"|64f0908591 "\\ud800\\udd51"
80 []|83010203 [1,2,3]|8301820203820405 [1,[2,3],[4,5]]|a0 {}|a26161016162820203 {"a":1,"b":[2,3]}
826161a161626163 ["a",{"b":"c"}]|a56161614161626142616361436164614461656145 {"a":"A","b":"B","c":"C","d":"D","e":"E"}
98190102030405060708090a0b0c0d0e0f101112131415161718181819 [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]
9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]
7f657374726561646d696e67ff "streaming"|9fff []|9f018202039f0405ffff [1,[2,3],[4,5]]|9f01820203820405ff [1,[2,3],[4,5]]
83018202039f0405ff [1,[2,3],[4,5]]|83019f0203ff820405 [1,[2,3],[4,5]]|bf61610161629f0203ffff {"a":1,"b":[2,3]}
826161bf61626163ff ["a",{"b":"c"}]|bf6346756ef563416d7421ff {"Fun":true,"Amt":-2}
c48221196ab3 273.15|d9d9f783010203 [1,2,3]"""  # noqa: E501 - and two of sections 3.4.4 and 3.4.6

# Appendix A: those that JSON does not have.
NOT_JSON = """f97c00 f97e00 f9fc00 fa7f800000 fa7fc00000 faff800000 fb7ff0000000000000 fb7ff8000000000000
fbfff0000000000000 f0 f8ff d74401020304 d818456449455446 40 4401020304 a201020304 5f42010243030405ff c5822003"""

# Appendix F: not well-formed.
MALFORMED = """18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000
41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203
81 818181818181818181 8200 a1 a20102 a100 a2000000 c0 5f4100 7f6100 9f 9f0102 bf bf01020102 819f 9f8000
9f9f9f9f9fffffffff 9f819f819f9fffffff 1c 1d 1e 3c 3d 3e 5c 5d 5e 7c 7d 7e 9c 9d 9e bc bd be dc dd de fc fd fe
f800 f801 f818 f81f 5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff 5f5f4100ffff 7f7f6100ffff
ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff 9f829f819f9fffffffff bf00ff bf000000ff 1f 3f df"""


def test_decode_reads_the_examples_of_the_rfc() -> None:
    for example in EXAMPLES.replace("\n", "|").split("|"):
        data, expected = example.split(" ", 1)
        written = msgspec.json.encode(decode(bytes.fromhex(data)))
        assert json.loads(written, parse_float=Decimal) == json.loads(expected, parse_float=Decimal), example


@pytest.mark.parametrize("data", [*NOT_JSON.split(), *MALFORMED.split()])
def test_decode_refuses_what_is_malformed_or_not_in_json(data: str) -> None:
    with pytest.raises(ValidationError) as raised:
        decode(bytes.fromhex(data))
    assert raised.value.reason == Reason.NOT_DECODED
    assert raised.value.detail.startswith("CBOR: ")


@pytest.mark.parametrize(
    ("data", "reason", "pointer", "detail"),
    [
        (b"\xa1\x61a\x82\x01\x41x", "not_decoded", "/a/1", "a byte string"),
        (b"\xa1\x61a\xa1\x01\x02", "not_decoded", "/a", "a key is not text: 1"),
        (b"\xa1\x61a\x61\xff", "bad_encoding", "/a", "byte 0 of a text is not valid UTF-8"),
        (b"\x01\x02", "not_decoded", "", "1 bytes follow"),
        (b"\x81" * 33 + b"\x01", "too_deep", "/0" * 32, "nested deeper than 32 levels"),
        (b"\xc1" * 33 + b"\x01", "too_deep", "", "nested deeper"),
        (b"\x81" * 100_000, "too_deep", "/0" * 32, "nested deeper"),
        (b"\x9f" * 100_000, "too_deep", "/0" * 32, "nested deeper"),
        (b"\xa1" * 100_000, "too_deep", "", "nested deeper"),
        (b"\xbf" * 100_000, "too_deep", "", "nested deeper"),
        (b"\xa1\xa1\x01\x02\x03", "not_decoded", "", "a key is not text: 1"),
        (b"\xc2\x5a\x00\x01\x00\x00" + b"\xff" * 65_536, "not_decoded", "", "a bignum is not"),
        (b"\xc4\x82\x01\x61x", "not_decoded", "", "a decimal fraction is not"),
        (b"\xc4\x82\x01\xf5", "not_decoded", "", "a decimal fraction is not"),
        (b"\xc4\x82\xf5\x01", "not_decoded", "", "a decimal fraction is not"),
        (b"\xc4\x82\x20\xc4\x82\x20\x0f", "not_decoded", "", "a decimal fraction of a decimal fraction"),
        (b"\xa1\xc2\x49\x01" + bytes(8) + b"\x01", "not_decoded", "", "a key is not text: a number"),
    ],
)
def test_decode_says_where_and_why(data: bytes, reason: str, pointer: str, detail: str) -> None:
    with pytest.raises(ValidationError) as raised:
        decode(data)
    dead_letter = raised.value.dead_letter()
    assert (dead_letter.reason, dead_letter.pointer) == (reason, pointer)
    assert detail in dead_letter.detail


@given(st.binary(max_size=40))
def test_decode_of_anything_is_a_value_or_a_reason(data: bytes) -> None:
    try:
        value = decode(data)
    except ValidationError:
        return
    json.loads(msgspec.json.encode(value))
