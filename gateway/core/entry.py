"""A reading in the gateway, with what is needed to acknowledge it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.reading import DeadLetter, Reading


ENTRY_BYTES = 400  # memory of an entry without its payload and properties, measured on CPython 3.11


class Acknowledger(Protocol):
    """The connection that delivered a reading. Once closed it sends no acknowledgements: packet ids are reused."""

    @property
    def session(self) -> object:
        """The session whose packet ids they are."""

    @property
    def acknowledge(self) -> Callable[[Iterable[Entry]], None]:
        """Acknowledge QoS 1 or 2 messages."""


class Entry(Struct, gc=False):
    """A reading, its place in the log and what has happened to it."""

    reading: Reading
    connection: Acknowledger | None  # delivered it; None when it was read back from disk
    packet_id: int  # to acknowledge it with; 0 for QoS 0, and when the broker no longer has the session
    offset: int = -1  # its place in the log, assigned by the spool
    size: int = 0  # memory it takes, bytes; computed by the spool
    dead_letter: DeadLetter | None = None  # set once the reading is known to be one
    is_cut: bool = False  # Kafka refused the complete dead letter, so only the beginning of the payload is sent
    is_dated_now: bool = False  # Kafka refused the timestamp of its record, so that is the time of sending
    is_stored: bool = False  # it is on disk
    is_earlier: bool = False  # of an earlier boot of the machine: steps of the clock do not change its time
    is_settled: bool = False  # Kafka has committed its record or dead letter, or it was dropped
    is_released: bool = False  # it has left the log, because it is on disk

    @property
    def outcome(self) -> str:
        """What its settlement means for the books (`Books.book`): Kafka has its record, or its dead letter."""
        return f"dead_lettered/{self.dead_letter.reason}" if self.dead_letter else ""


# Three times as fast to set: msgspec's own setattr serves the garbage collector, which does not see entries, and the
# interpreter specialises object's only. In the body of the class, msgspec would replace them.
Entry.__setattr__, Entry.__delattr__ = object.__setattr__, object.__delattr__  # type: ignore[method-assign]
