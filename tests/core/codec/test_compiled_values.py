"""The fast path's own way to read a number in text; `test_value_reader.py` compares both paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.compiled_values import nearest_number


@given(number=st.floats(allow_nan=False, allow_infinity=False), zeros=st.integers(0, 3))
def test_nearest_number_is_the_float_that_python_reads(number: float, zeros: int) -> None:
    digits = repr(abs(number))
    assert nearest_number(f"{'-' * (number < 0)}{'0' * zeros}{digits}") == number
    assert nearest_number(f"+{digits}") == abs(number)


@pytest.mark.parametrize("text", ["", "nan", "1_0", "0x1", "null", "[1]", "1 2", "12,5", ".5", "\u0663"])
def test_nearest_number_raises_for_what_is_no_number(text: str) -> None:
    with pytest.raises(Exception, match=r".+"):
        nearest_number(text)
