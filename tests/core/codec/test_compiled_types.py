"""The compiled path for values: the tables of whole numbers."""

from __future__ import annotations

import pytest

from gateway.core.codec.compiled_types import REMEMBERED, _table
from gateway.core.codec.primitives import INT, long
from gateway.core.codec.unsupported import FallBack


def test_a_table_holds_a_bounded_number_of_integers() -> None:
    """However many integers come, each gets its bytes, and few are kept."""
    table = _table((0, 10**6), b"\2")
    assert [table[number] for number in range(3 * REMEMBERED)] == [b"\2" + long(n) for n in range(3 * REMEMBERED)]
    assert len(table) <= REMEMBERED


@pytest.mark.parametrize("number", [INT[0] - 1, INT[1] + 1])
def test_a_table_leaves_numbers_beyond_its_range_to_the_precise_path(number: int) -> None:
    with pytest.raises(FallBack):
        _table(INT)[number]
