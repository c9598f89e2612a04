"""What an entry costs."""

from __future__ import annotations

import tracemalloc

from gateway.core.entry import ENTRY_BYTES, Entry
from gateway.core.reading import Reading

COUNT = 10_000


def test_an_entry_takes_no_more_memory_than_the_spool_counts() -> None:
    """Beside its payload: reading, topic, numbers and the entry itself."""
    tracemalloc.start()
    try:
        entries = [Entry(Reading("doors", b"doors/d%d" % n, b"", 10**12 + n, 1), None, n) for n in range(COUNT)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(entries) == COUNT
    assert ENTRY_BYTES / 2 < taken / COUNT <= ENTRY_BYTES
