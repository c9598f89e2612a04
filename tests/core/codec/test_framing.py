"""The wire format's five bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.framing import frame


@pytest.mark.parametrize(
    ("schema_id", "written"),
    [
        (0, "00 00000000"),
        (1, "00 00000001"),
        (256, "00 00000100"),
        (2**24 + 2, "00 01000002"),
        (2**31 - 1, "00 7fffffff"),
    ],
)
def test_frame_is_the_magic_byte_and_the_id_big_endian(schema_id: int, written: str) -> None:
    """Byte 0, then the schema id in four bytes, the highest first."""
    assert frame(schema_id) == bytes.fromhex(written)


@given(schema_id=st.integers(0, 2**31 - 1))
def test_frame_tells_its_id(schema_id: int) -> None:
    """Five bytes for every id, from which a reader gets it back."""
    framed = frame(schema_id)
    assert (len(framed), framed[0], int.from_bytes(framed[1:])) == (5, 0, schema_id)
