"""What an entry costs, and the loops over entries, which C and Python run alike."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.entry import ENTRY_BYTES, Batch, Entry, measure, number, settle, split, take_settled
from gateway.core.native import MODULE
from gateway.core.reading import Reading, Record

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 10_000
CONNECTIONS: list[Any] = [None, object(), object()]
NEEDS_C = pytest.mark.skipif(MODULE is None, reason="the module in C is not there")


def entry(payload: bytes, properties: bytes, connection: Any, packet_id: int, size: int, *marks: bool) -> Entry:
    """Make an entry, perhaps stored and settled."""
    reading, (is_stored, is_settled) = Reading("s", b"t", payload, 0, properties=properties), marks
    return Entry(reading, connection, packet_id, 7, size, is_stored=is_stored, is_settled=is_settled)


entries = st.lists(
    st.tuples(
        st.binary(max_size=70),
        st.binary(max_size=9),
        st.sampled_from(CONNECTIONS),
        st.sampled_from([0, 1, 65_535]),
        st.integers(0, 2**40),
        st.booleans(),
        st.booleans(),
    ).map(lambda facts: entry(*facts)),
    max_size=20,
)


def in_both(loop: Callable[[list[Entry]], Any], given_entries: list[Entry]) -> Any:
    """Give what a loop gives and leaves behind, which is the same in C and in Python."""
    copies = [[Entry(*parts(each)) for each in given_entries] for _ in range(2)]
    found = loop(copies[0])
    with patch("gateway.core.entry.MODULE", None):
        assert loop(copies[1]) == found
    assert copies[0] == copies[1]
    return found


def parts(entry: Entry) -> list[Any]:
    """Give the members of an entry, in order."""
    return [getattr(entry, name) for name in entry.__struct_fields__]


def test_an_entry_takes_no_more_memory_than_the_spool_counts() -> None:
    """Beside its payload: reading, topic, numbers and the entry itself."""
    tracemalloc.start()
    try:
        made = [Entry(Reading("doors", b"doors/d%d" % n, b"", 10**12 + n, 1), None, n) for n in range(COUNT)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made) == COUNT
    assert ENTRY_BYTES / 2 < taken / COUNT <= ENTRY_BYTES


@given(entries, st.integers(0, 2**40))
def test_entries_are_numbered_and_their_sizes_summed(some: list[Entry], first: int) -> None:
    def loop(own: list[Entry]) -> Any:
        return number(own, first), [(each.offset, each.size) for each in own]

    total, facts = in_both(loop, some)
    sizes = [len(each.reading.payload) + len(each.reading.properties) + ENTRY_BYTES for each in some]
    assert (total, facts) == (sum(sizes), [*zip(range(first, first + len(some)), sizes, strict=True)])


@given(entries)
def test_entries_are_measured(some: list[Entry]) -> None:
    sizes = [each.size for each in some]
    assert in_both(measure, some) == (sum(sizes), max(sizes, default=0))


@given(entries)
def test_entries_are_settled(some: list[Entry]) -> None:
    assert in_both(settle, some) == any(each.is_stored for each in some)
    settle(some)
    assert all(each.is_settled for each in some)


@given(entries)
def test_those_before_the_first_that_is_not_settled_are_taken(some: list[Entry]) -> None:
    taken, size, connection = in_both(take_settled, some)
    count = next((place for place, each in enumerate(some) if not each.is_settled), len(some))
    assert (taken, size) == (some[:count], sum(each.size for each in some[:count]))
    found = {each.connection if each.packet_id else None for each in taken}
    assert connection is (found.pop() if len(found) == 1 else None)


@given(st.lists(st.binary(max_size=2)), st.dictionaries(st.binary(max_size=2), st.integers(0, 3)))
def test_records_are_split_by_partition(keys: list[bytes], known: dict[bytes, int]) -> None:
    records = [Record("t", key, b"%d" % place, [], 0) for place, key in enumerate(keys)]

    def loop(own: list[Entry]) -> Any:
        return split(records, own, known, -1)

    runs = in_both(loop, [Entry(Reading("s", b"t", b"", 0), None, place) for place in range(len(keys))])
    for partition, (run, its) in runs.items():
        places = [place for place, key in enumerate(keys) if known.get(key, -1) == partition]
        assert [int(each.value or b"") for each in run] == [each.packet_id for each in its] == places
    assert sum(len(run) for run, _ in runs.values()) == len(keys)


@NEEDS_C
@pytest.mark.parametrize("wrong", [None, 1, "text", Reading("s", b"t", b"", 0), [()]], ids=repr)
def test_a_loop_in_c_refuses_what_is_no_entry(wrong: Any) -> None:
    """So that a mistake in Python is an error, not a wrong access to memory."""
    for loop in (measure, settle, lambda own: number(own, 0)):
        with pytest.raises((TypeError, SystemError)):
            loop([wrong])
        with pytest.raises((TypeError, SystemError)):
            loop(wrong)
    with pytest.raises(TypeError):
        take_settled([wrong])
    with pytest.raises(TypeError):
        split([wrong], [Entry(Reading("s", b"t", b"", 0), None, 1)], {}, -1)


def test_a_batch_knows_its_streams_and_whether_it_has_flags() -> None:
    batch = Batch()
    batch.add(Entry(Reading("a", b"t", b"", 0), None, 1))
    batch.add(Entry(Reading("b", b"t", b"", 0, 1), None, 1))
    assert (batch.streams, batch.has_flags, len(batch)) == ({"a", "b"}, False, 2)
    batch.add(Entry(Reading("b", b"t", b"", 0, 1, dup=True), None, 1))
    assert batch.has_flags
