"""Rows of the spool: a reading comes back as it was written, or not at all."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

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
    is_unsynchronised=st.booleans(),
)
boots = st.sampled_from([b"", bytes(range(16))])


def bare(reading: Reading) -> Reading:
    """Give a reading as format 2 held it: without properties, and its time never in doubt."""
    return structs.replace(reading, properties=b"", is_unsynchronised=False)


@given(numbers, readings, boots, numbers)
def test_a_row_gives_the_reading_it_was_made_of(offset: int, reading: Reading, boot: bytes, uptime: int) -> None:
    row = to_row(offset, reading, boot, uptime)
    assert row[-2:] == (boot, uptime)
    assert (to_reading(row), salvaged(row)) == (reading, row)


@given(readings, st.data())
def test_a_row_with_any_other_byte_is_refused(reading: Reading, data: st.DataObject) -> None:
    """Properties count like all the rest, and no byte moves from one column into the next."""
    row = list(to_row(7, reading, data.draw(boots), data.draw(numbers)))
    place = data.draw(st.sampled_from([2, 3, CRC + 1, CRC + 2, CRC + 3]))
    values = numbers if place == CRC + 3 else blocks
    row[place] = data.draw(values.filter(lambda other: other != row[place]))
    assert not is_whole(tuple(row))
    assert to_reading(tuple(row)) is None


@given(st.binary(min_size=1, max_size=9), blocks, blocks, st.integers(0, 40))
def test_bytes_do_not_move_between_payload_and_properties(
    topic: bytes, payload: bytes, properties: bytes, cut: int
) -> None:
    both = properties + payload
    row = to_row(1, Reading("a", topic, payload, 1, properties=properties))
    moved = (*row[:3], both[cut:], *row[4 : CRC + 1], both[:cut], b"", 0)
    assert is_whole(moved) == (moved == row)


@given(numbers, readings)
def test_a_row_without_properties_is_one_of_format_2(offset: int, reading: Reading) -> None:
    """Its checksum is what format 2 computed, so what an older version wrote is whole without being touched."""
    old = bare(reading)
    row = to_row(offset, old)
    values = f"{offset} {old.stream} {len(old.topic)} {old.received_at} {row[5]} {old.size} ".encode()
    assert row[CRC] == crc32(old.payload, crc32(old.topic, crc32(old.sha256, crc32(values))))
    assert salvaged(row[: CRC + 1]) == row


@given(numbers, readings)
def test_a_row_without_boot_is_one_of_format_3(offset: int, reading: Reading) -> None:
    """Its checksum is what format 3 computed."""
    row = to_row(offset, reading)
    lengths = f"{len(reading.topic)} {len(reading.properties)}" if reading.properties else f"{len(reading.topic)}"
    values = f"{offset} {reading.stream} {lengths} {reading.received_at} {row[5]} {reading.size} ".encode()
    crc = crc32(reading.topic, crc32(reading.sha256, crc32(values)))
    assert row[CRC] == crc32(reading.payload, crc32(reading.properties, crc))
    assert salvaged(row[: CRC + 2]) == row


@given(numbers, readings)
def test_a_row_of_format_1_is_salvaged(offset: int, reading: Reading) -> None:
    """Only without properties: format 1 had none, and its checksum would not cover them."""
    row = to_row(offset, bare(reading))
    old = (*row[:CRC], format_1_checksum(reading.topic, reading.payload))
    assert salvaged(old) == row
    assert salvaged((*old, b"x")) is None
