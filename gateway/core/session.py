"""What is known of a broker's session: which messages the broker may send again.

When a client returns to its session, the broker first sends all messages again that it has no acknowledgement for: in
order, with their packet ids and marked as DUP [MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-3.3.1-1]. A message that the gateway
has already is a *repeat*. It is not stored again, and acknowledged in its turn. No message is dropped for DUP alone.

QoS 1   A packet id is free as soon as the broker has the PUBACK. So a repeat has the packet id of a message whose
        PUBACK was not sent, or perhaps not received, on an earlier connection of the session; the same topic and
        payload; DUP; and no new message came before it on its connection. If the broker got the last PUBACK before
        the cut, gave its packet id to a message with the same topic and payload, and that one was lost on the way, it
        is taken for a repeat. No broker that counts its packet ids upwards does this.
QoS 2   A packet id is taken until PUBREL. So a message with the packet id of one that is not released is a repeat,
        whatever it contains: there is no ambiguity.

A session that the broker does not have any more is cleared: its packet ids mean nothing.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.core.entry import Entry
    from gateway.core.reading import Reading


class Held(NamedTuple):
    """A QoS 1 message that may come again."""

    digest: bytes  # of topic and payload; empty when the gateway did not keep them, because it dropped the message
    offset: int  # its place in the log


class Session:
    """One session of one broker; only the bridge's loop uses it.

    The reader adds to `released`. A queue of acknowledgements whose connection has ended adds to `unacknowledged`.
    """

    delivery = "at_least_once"

    def __init__(self) -> None:
        self.held: dict[int, Held] = {}  # QoS 1, by packet id
        self.unreleased: set[int] = set()  # packet ids of QoS 2 messages without PUBREL
        self.released: list[int] = []  # packet ids of PUBRELs without PUBCOMP
        self.unacknowledged: list[Entry] = []  # their acknowledgements were not sent, as their connection had ended
        self.uses_qos_2 = False
        self.is_resending = False  # the broker may still send messages again: no new one has come
        self.is_outdated = False  # the spool's file knows of messages that must be forgotten
        self._saved_unreleased: set[int] = set()  # as the spool's file has them
        self._has_saved_held = False

    @property
    def is_saved(self) -> bool:
        """True when the spool's file has something about this session."""
        return self._has_saved_held or bool(self._saved_unreleased)

    # --- connections --------------------------------------------------------------------------------------------------

    def suspend(self, unacknowledged: Iterable[Entry]) -> None:
        """Note that the connection has ended, with messages whose acknowledgement the broker may not have received."""
        self.unacknowledged += unacknowledged
        self.released.clear()  # the broker sends PUBREL again

    def resume(self, in_log: Iterable[Entry]) -> None:
        """Note that the client has returned to its session; `in_log` are its messages that are not acknowledged yet."""
        for entry in (*self.unacknowledged, *in_log):
            if entry.reading.qos != 2:
                self.held[entry.packet_id] = Held(digest(entry.reading), entry.offset)
        self.unacknowledged.clear()
        self.is_resending = bool(self.held)

    def clear(self) -> None:
        """Forget everything, because the broker has forgotten it."""
        for each in (self.held, self.unreleased, self.unacknowledged, self.released):
            each.clear()
        self.is_resending = False
        self.is_outdated = self.is_saved

    # --- messages ------------------------------------------------------------------------------------------------

    @property
    def must_look(self) -> bool:
        """False when no message can be a repeat, so `repeats` need not be called."""
        return self.is_resending or self.uses_qos_2

    def repeats(self, entries: Iterable[Entry]) -> list[Entry]:
        """Find the repeats among messages that have arrived, in order; note the others as received."""
        return [entry for entry in entries if entry.packet_id and self._is_repeat(entry)]

    def _is_repeat(self, entry: Entry) -> bool:
        packet_id, reading = entry.packet_id, entry.reading
        held = self.held.get(packet_id) if self.is_resending and reading.dup else None
        is_repeat = held is not None and held.digest == digest(reading)
        if reading.qos == 2:
            is_repeat = is_repeat or packet_id in self.unreleased
            self.unreleased.add(packet_id)
        if self.is_resending and not is_repeat and not (held and not held.digest):
            self._end_resending()
        return is_repeat

    def _end_resending(self) -> None:
        self.is_resending = False
        self.held.clear()
        self.is_outdated = self.is_outdated or self._has_saved_held

    def release(self) -> None:
        """Forget the released QoS 2 messages."""
        self.unreleased.difference_update(self.released)
        self.is_outdated = self.is_outdated or not self._saved_unreleased.isdisjoint(self.released)

    def take_completed(self) -> list[int]:
        """Take the packet ids for which PUBCOMP may be sent: neither memory nor disk has them any more."""
        self.release()
        if not self._saved_unreleased.isdisjoint(self.released):
            return []
        completed, self.released = self.released, []
        return completed

    # --- the spool's file ----------------------------------------------------------------------------------------

    def to_save(self, in_log: Iterable[Entry] | None) -> dict[str, Any]:
        """Make the JSON value for the file: packet ids of messages that are safe once it is written.

        `in_log` are the session's messages in memory, when all of them are on disk with this write. Without them,
        messages are only removed from what the file has.
        """
        if in_log is None:
            return {"unreleased": sorted(self._saved_unreleased & self.unreleased)}
        held = {packet_id: each.offset for packet_id, each in self.held.items()}
        held |= {each.packet_id: each.offset for each in (*self.unacknowledged, *in_log) if each.reading.qos == 1}
        return {"held": held, "unreleased": sorted(self.unreleased)}

    def note_saved(self, saved: Mapping[str, Any]) -> None:
        """Note what the file has now."""
        self._has_saved_held = bool(saved.get("held"))
        self._saved_unreleased = set(saved["unreleased"])
        self.is_outdated = False

    def restore(self, saved: Mapping[str, Any], reading_at: Callable[[int], Reading | None]) -> None:
        """Continue the session of the previous process; `reading_at` gives the reading on disk at an offset."""
        readings = [(int(packet_id), offset, reading_at(offset)) for packet_id, offset in saved.get("held", {}).items()]
        self.held = {packet_id: Held(digest(reading), offset) for packet_id, offset, reading in readings if reading}
        self.unreleased = set(saved["unreleased"])
        self.uses_qos_2 = bool(self.unreleased)
        self.note_saved(saved)


def digest(reading: Reading) -> bytes:
    """Hash what a repeat has in common with the message; the properties may differ, as the expiry interval does."""
    if not reading.topic:
        return b""
    parts = (bytes([reading.qos]), len(reading.topic).to_bytes(2), reading.topic, reading.payload, reading.sha256)
    return blake2b(b"".join(parts), digest_size=8).digest()
