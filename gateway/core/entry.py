"""A reading in the gateway, with what it takes to acknowledge it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.reading import DeadLetter, Reading


ENTRY_BYTES = 400  # what an entry costs beside its payload and properties, measured on CPython 3.11


class Acknowledger(Protocol):
    """The connection a reading came over; it drops acknowledgements once it is closed (packet ids are reused)."""

    @property
    def acknowledge(self) -> Callable[[int], None]:
        """Acknowledge one QoS 1 message, by its packet id."""


class Entry(Struct, gc=False):
    """A reading on its way, with the means to acknowledge it.

    Args:
        reading: as it arrived.
        connection: what it came over; None when it was read back from disk.
        packet_id: to acknowledge it with; 0 for QoS 0, or when that is done.
        offset: its place in the log, given by the spool.
        size: what it takes of memory, bytes; reckoned by the spool.
        letter: set once it is known to be a dead letter.
        is_cut: True when Kafka refused the whole dead letter, so that only its beginning is sent.
        is_stored: True when the disk has it.
        is_settled: True when Kafka has acknowledged it.
        is_released: True when the log has let it go, because the disk has it.
    """

    reading: Reading
    connection: Acknowledger | None
    packet_id: int
    offset: int = -1
    size: int = 0
    letter: DeadLetter | None = None
    is_cut: bool = False
    is_stored: bool = False
    is_settled: bool = False
    is_released: bool = False
