"""The tests that keywords are; `test_payload_schema.py` has what they do in both paths."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.core.codec.json_text import Unrepresentable
from gateway.core.codec.keywords import TESTS, canonical


@pytest.mark.parametrize(
    ("keyword", "argument", "value", "detail"),
    [
        ("minimum", 0, -5, "-5 is less than 0 (minimum)"),
        ("maximum", 0.5, Decimal("0.50001"), "0.50001 is more than 0.5 (maximum)"),
        ("exclusiveMaximum", 7, 7, "7 is not less than 7 (exclusiveMaximum)"),
        ("minLength", 3.0, "ab", "'ab' has less than 3 characters (minLength)"),
        ("maxItems", 1, [None, True], "the array has more than 1 items (maxItems)"),
        ("enum", ["on", None, True], False, 'false is not one of ["on", null, true] (enum)'),
        ("const", None, {}, "the object is not null (const)"),
        ("type", ["integer", "null"], True, "true is not an integer or null (type)"),
        ("pattern", "^a$", "b" * 500, f"'{'b' * 39}... does not match ^a$ (pattern)"),
        (
            "pattern",
            "^a{99}$",
            "a" * 9_805,
            f"'{'a' * 39}... is too long to be tested: more than 9,803 characters (pattern)",
        ),
        ("multipleOf", 1, Unrepresentable(), "the number is too long to be tested: more than 400 digits (multipleOf)"),
        ("multipleOf", 2, Decimal("1e400"), "1E+400 is too long to be tested: more than 400 digits (multipleOf)"),
        ("multipleOf", 2, Decimal("1e-900"), "1E-900 is not a multiple of 2 (multipleOf)"),
        ("type", "integer", Decimal("1.5e400001"), None),
        ("type", "integer", Decimal("1e-900"), "1E-900 is not an integer (type)"),
        ("minimum", 0, Unrepresentable(is_negative=True), "the number is less than 0 (minimum)"),
        ("maximum", 1e300, Unrepresentable(), "the number is more than 1e+300 (maximum)"),
    ],
)
def test_an_error_says_value_and_keyword(keyword: str, argument: Any, value: Any, detail: str | None) -> None:
    """In words of JSON, and short."""
    test = TESTS[keyword](keyword, argument)
    assert test is not None
    error = test.error(value)
    assert (error and error.detail) == detail


@pytest.mark.parametrize("value", ["1e-999999999999", "-1e-999999", "9" * 100_000 + ".5", "1." + "3" * 100_000])
def test_no_number_keeps_a_test_busy(value: str) -> None:
    """A division that writes out all digits between two exponents would take for ever."""
    test = TESTS["multipleOf"]("multipleOf", 0.1)
    assert test is not None
    assert test.error(Decimal(value)) is not None


def test_canonical_is_equal_for_equal_json() -> None:
    equal: list[list[Any]] = [
        [1, Decimal("1.0"), 1.0],
        [[1], [Decimal(1)]],
        [{"a": 1, "b": []}, {"b": [], "a": 1.0}],
        [True, True],
    ]
    assert all(len({canonical(one) for one in values}) == 1 for values in equal)
    different: list[Any] = [
        1,
        True,
        "1",
        None,
        [],
        {},
        [1],
        {"a": 1},
        ["array"],
        [[]],
        0,
        False,
        Decimal("0.1"),
        "array",
    ]
    assert len({canonical(one) for one in different}) == len(different)
