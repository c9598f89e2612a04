"""Rows of the spool: a reading comes back as it was written, or not at all."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reading import Reading
from gateway.spool.row import CRC, format_1_checksum, is_whole, salvaged, to_reading, to_row

numbers = st.integers(-(2**63), 2**63 - 1)
blocks = st.binary(max_size=40)
readings = st.builds(
    Reading,
    stream=st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    topic=st.binary(min_size=1, max_size=20),
    payload=blocks,
    received_at=numbers,
    qos=st.integers(0, 2),
    retain=st.booleans(),
    dup=st.booleans(),
    size=numbers,
    sha256=st.sampled_from([b"", bytes(32)]),
    properties=blocks,
)


@given(numbers, readings)
def test_a_row_gives_the_reading_it_was_made_of(offset: int, reading: Reading) -> None:
    row = to_row(offset, reading)
    assert (to_reading(row), salvaged(row)) == (reading, row)


@given(readings, st.data())
def test_a_row_with_any_other_byte_is_refused(reading: Reading, data: st.DataObject) -> None:
    """Properties count like all the rest, and no byte moves from one column into the next."""
    row = list(to_row(7, reading))
    place = data.draw(st.sampled_from([2, 3, len(row) - 1]))
    row[place] = data.draw(blocks.filter(lambda other: other != row[place]))
    assert not is_whole(tuple(row))
    assert to_reading(tuple(row)) is None


@given(st.binary(min_size=1, max_size=9), blocks, blocks, st.integers(0, 40))
def test_bytes_do_not_move_between_payload_and_properties(
    topic: bytes, payload: bytes, properties: bytes, cut: int
) -> None:
    both = properties + payload
    row = to_row(1, Reading("a", topic, payload, 1, properties=properties))
    moved = (*row[:3], both[cut:], *row[4:-1], both[:cut])
    assert is_whole(moved) == (moved == row)


@given(numbers, readings)
def test_a_row_without_properties_is_one_of_format_2(offset: int, reading: Reading) -> None:
    """Its checksum is what format 2 computed, so what an older version wrote is whole without being touched."""
    bare = Reading(*(getattr(reading, name) for name in Reading.__struct_fields__[:-1]))
    row = to_row(offset, bare)
    values = f"{offset} {bare.stream} {len(bare.topic)} {bare.received_at} {row[5]} {bare.size} ".encode()
    assert row[CRC] == crc32(bare.payload, crc32(bare.topic, crc32(bare.sha256, crc32(values))))
    assert salvaged(row[:-1]) == row


@given(numbers, readings)
def test_a_row_of_format_1_is_salvaged(offset: int, reading: Reading) -> None:
    """Only without properties: format 1 had none, and its checksum would not cover them."""
    bare = Reading(*(getattr(reading, name) for name in Reading.__struct_fields__[:-1]))
    old = (*to_row(offset, bare)[:CRC], format_1_checksum(bare.topic, bare.payload))
    assert salvaged(old) == to_row(offset, bare)
    assert salvaged((*old, b"x")) is None
