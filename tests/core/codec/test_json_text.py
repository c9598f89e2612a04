"""JSON text: what RFC 8259 allows is taken with its exact value, everything else is refused with its reason."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.json_text import MAX_DEPTH, MAX_DIGITS, MAX_NESTING, Unrepresentable, parse
from gateway.core.codec.validation_error import ValidationError, pointer
from gateway.core.reading import Reason

TAKEN: list[tuple[bytes, Any]] = [
    (b"null", None),
    (b"true", True),
    (b"false", False),
    (b" \t\r\n1\n ", 1),
    (b"0", 0),
    (b"-0", 0),
    (b"-1", -1),
    (b"9007199254740993", 9007199254740993),
    (b"0.1", Decimal("0.1")),
    (b"-0.0", Decimal("-0.0")),
    (b"1e2", Decimal(100)),
    (b"1E+2", Decimal(100)),
    (b"1.5e-3", Decimal("0.0015")),
    (b"1e400", Decimal("1e400")),
    (b"1e999999999", Decimal("1e999999999")),
    (b'""', ""),
    (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
    (b'"\\u00e4\\u0000"', "ä\0"),
    (b'"\\ud83d\\ude00"', "😀"),
    ('"😀 äß"'.encode(), "😀 äß"),
    (b'"\x7f"', "\x7f"),
    (b'"[{]}\\"["', '[{]}"['),
    (b"[]", []),
    (b"[1,[2],{}]", [1, [2], {}]),
    (b"{}", {}),
    (b'{"":1}', {"": 1}),
    (b'{"a":1,"a":2}', {"a": 2}),
    (b'{"a":{"b":[true,null]}}', {"a": {"b": [True, None]}}),
]


@pytest.mark.parametrize(("payload", "value"), TAKEN)
def test_parse_takes_what_the_standard_allows(payload: bytes, value: Any) -> None:
    """A JSON text becomes its value; numbers keep theirs exactly; of a repeated member the last one counts."""
    found = parse(payload)
    assert found == value
    assert type(found) is type(value)


REFUSED: list[tuple[bytes, Reason]] = [
    (b"", Reason.EMPTY),
    (b" ", Reason.NOT_JSON),
    (b"NaN", Reason.NOT_JSON),
    (b"[NaN]", Reason.NOT_JSON),
    (b"Infinity", Reason.NOT_JSON),
    (b'{"a":-Infinity}', Reason.NOT_JSON),
    (b"nan", Reason.NOT_JSON),
    (b"True", Reason.NOT_JSON),
    (b"nul", Reason.NOT_JSON),
    (b"01", Reason.NOT_JSON),
    (b"-01", Reason.NOT_JSON),
    (b"+1", Reason.NOT_JSON),
    (b".5", Reason.NOT_JSON),
    (b"5.", Reason.NOT_JSON),
    (b"1e", Reason.NOT_JSON),
    (b"1e+", Reason.NOT_JSON),
    (b"- 1", Reason.NOT_JSON),
    (b"0x1", Reason.NOT_JSON),
    (b"1_000", Reason.NOT_JSON),
    (b"1 2", Reason.NOT_JSON),
    ("\N{ARABIC-INDIC DIGIT ONE}".encode(), Reason.NOT_JSON),
    ("\N{NO-BREAK SPACE}1".encode(), Reason.NOT_JSON),
    (b"\0", Reason.NOT_JSON),
    (b"1\0", Reason.NOT_JSON),
    (b"'a'", Reason.NOT_JSON),
    (b'"a', Reason.NOT_JSON),
    (b'"a\\', Reason.NOT_JSON),
    (b'"\\x41"', Reason.NOT_JSON),
    (b'"\\u12"', Reason.NOT_JSON),
    (b'"\n"', Reason.NOT_JSON),
    (b'"\x1f"', Reason.NOT_JSON),
    (b"[1,]", Reason.NOT_JSON),
    (b"[,1]", Reason.NOT_JSON),
    (b"[1 2]", Reason.NOT_JSON),
    (b"[", Reason.NOT_JSON),
    (b"]", Reason.NOT_JSON),
    (b"[}", Reason.NOT_JSON),
    (b"]" * 100 + b"[" * 100, Reason.NOT_JSON),
    (b'{"a":1,}', Reason.NOT_JSON),
    (b'{"a"}', Reason.NOT_JSON),
    (b"{a:1}", Reason.NOT_JSON),
    (b"{1:1}", Reason.NOT_JSON),
    (b'{"a" "b"}', Reason.NOT_JSON),
    (b"// 1\n1", Reason.NOT_JSON),
    (b"\xff", Reason.BAD_ENCODING),
    (b'"\xc3"', Reason.BAD_ENCODING),
    (b'"\xed\xa0\x80"', Reason.BAD_ENCODING),
    (b'"\xf4\x90\x80\x80"', Reason.BAD_ENCODING),
    (b"\xef\xbb\xbf1", Reason.BAD_ENCODING),
    ("1".encode("utf-16"), Reason.BAD_ENCODING),
    ("[1]".encode("utf-32"), Reason.BAD_ENCODING),
    (b'"\\ud800"', Reason.BAD_ENCODING),
    (b'"\\udc00\\ud800"', Reason.BAD_ENCODING),
    (b'"\\uD83D\\u0041"', Reason.BAD_ENCODING),
    (b"[" * (MAX_NESTING + 1), Reason.TOO_DEEP),
    (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), Reason.TOO_DEEP),
]


@pytest.mark.parametrize(("payload", "reason"), REFUSED)
def test_parse_refuses_the_rest_with_its_reason(payload: bytes, reason: Reason) -> None:
    """What is no JSON text is refused; the reason tells which rule it breaks."""
    with pytest.raises(ValidationError) as refused:
        parse(payload)
    assert refused.value.reason == reason


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_parse_takes_32_levels_and_not_33(pair: tuple[bytes, bytes]) -> None:
    """Thirty-two levels are taken, whatever brackets make them; the next one is too deep."""
    start, end = pair
    inner = b"1" if b":" in start else b""
    parse(start * MAX_DEPTH + inner + end * MAX_DEPTH)
    with pytest.raises(ValidationError) as refused:
        parse(start * (MAX_DEPTH + 1) + inner + end * (MAX_DEPTH + 1))
    assert refused.value.reason == Reason.TOO_DEEP


def test_parse_counts_levels_and_not_brackets() -> None:
    """Many brackets beside each other, or inside text, are not deep."""
    assert parse(b"[" + b"[]," * 500 + b"{}]") == [[]] * 500 + [{}]
    text = '["' + "[{" * 500 + '\\"' + "[" * 500 + '"]'
    assert parse(text.encode()) == ["[{" * 500 + '"' + "[" * 500]


def test_parse_refuses_100_000_brackets_without_recursion() -> None:
    """Depth is checked before anything walks into it."""
    for text in (b"[" * 100_000, b'{"a":' * 100_000, b'["' + b"[" * 50 + b'",' + b"[" * 100_000):
        with pytest.raises(ValidationError) as refused:
            parse(text)
        assert refused.value.reason == Reason.TOO_DEEP


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        (b'{"a":["x","\\ud800"]}', "/a/1"),
        (b'{"a":{"b/c":"\\udfff"}}', "/a/b~1c"),
        (b'{"a":{"\\udfff":1}}', "/a"),
        (b'"\\udfff"', ""),
        (b'{"pair":"\\ud83d\\ude00","lone":"\\ud83d"}', "/lone"),
    ],
)
def test_parse_names_the_place_of_a_lone_surrogate(payload: bytes, place: str) -> None:
    """A surrogate pair is a character; half of one is refused with the place where it stands."""
    with pytest.raises(ValidationError) as refused:
        parse(payload)
    assert (refused.value.reason, pointer(refused.value.tokens)) == (Reason.BAD_ENCODING, place)


@pytest.mark.parametrize("digits", [MAX_DIGITS + 1, 5_000, 500_000])
def test_parse_does_not_convert_huge_integers(digits: int) -> None:
    """An integer of more digits than any type has is a stand-in: to convert it would take long, or raise."""
    assert isinstance(parse(b"1" * digits), Unrepresentable)
    assert isinstance(parse(b"[-" + b"9" * digits + b"]")[0], Unrepresentable)


def test_parse_takes_a_fraction_that_decimal_cannot_hold() -> None:
    """An exponent beyond Decimal's is a stand-in as well; many digits behind the point are kept."""
    assert isinstance(parse(b"1e99999999999999999999"), Unrepresentable)
    assert parse(b"0." + b"3" * 5_000) == Decimal("0." + "3" * 5_000)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


@given(value=json_values, is_ascii=st.booleans(), indent=st.sampled_from([None, 0, 2]))
def test_parse_reads_what_the_standard_library_writes(value: Any, is_ascii: bool, indent: int | None) -> None:  # noqa: FBT001 - drawn
    """A value comes back as it was written, escaped or not, with white space or without."""
    assert parse(json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()) == value


@given(payload=st.binary(max_size=40) | st.text('[]{}":,\\ 1eNaduD8é', max_size=40).map(str.encode))
def test_parse_raises_nothing_but_misfits(payload: bytes) -> None:
    """Whatever the bytes are, they are taken or refused; nothing else is raised."""
    with suppress(ValidationError):
        parse(payload)


def test_parse_counts_levels_only_of_the_member_that_counts() -> None:
    """What a later member of the same name replaces may nest deeper, as far as a parser can walk down."""
    deep = b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1)
    assert parse(b'{"a":' + deep + b',"a":1}') == {"a": 1}
    with pytest.raises(ValidationError) as refused:
        parse(b'{"a":[' + deep + b'],"a":1}')
    assert refused.value.reason == Reason.TOO_DEEP


@pytest.mark.parametrize("text", ["0e99999999999999999999", "-0E+99999999999999999999", "1e-99999999999999999999",
                                  "-12.5e-99999999999999999999"])  # fmt: skip
def test_parse_takes_an_exponent_beyond_decimal_for_what_it_is(text: str) -> None:
    """Zero stays zero whatever its exponent, and what is too small for every type rounds to zero with its sign."""
    found = parse(text.encode())
    assert repr(float(found)) == repr(float(text))
    assert bool(found) == ("1" in text)
