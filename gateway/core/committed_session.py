"""A session that Kafka remembers: its packet ids are committed together with the readings (`delivery: exactly_once`).

The broker may send a message again whose reading is in Kafka already, when the acknowledgement was lost or the process
ended before it. So the session remembers the last `window` messages that are safe, and all QoS 2 messages without
PUBREL. A QoS 2 message with PUBREL is remembered as well, as one of QoS 1: after a restart, Mosquitto 2.0 sends such
messages again from the beginning, if it has no PUBCOMP. What the session remembers is stored in the same Kafka
transaction as the readings, or in the same commit of the spool's file. A message is remembered only by a commit that
makes it safe, so `prepare` changes nothing until `commit`.

In Kafka the packet ids are in buckets of 64, one record for each: a transaction writes the buckets that have changed,
and a compacted topic keeps the newest record of each. A bucket is the number of the session, and for each packet id its
QoS, its place in the log and the digest of the message.
"""

from __future__ import annotations

from itertools import islice
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.session import NEEDED, Held, Session, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from gateway.core.entry import Entry

BUCKET = 64  # packet ids
_HEAD = Struct(">Q")  # number of the session
_ITEM = Struct(">HBQ8s")  # packet id, QoS, offset, digest


class _Change(NamedTuple):
    """What a commit adds and removes."""

    seen: dict[int, Held]
    safe: AbstractSet[int]  # packet ids of QoS 2
    released: AbstractSet[int]

    @property
    def buckets(self) -> set[int]:
        return {packet_id // BUCKET for packet_id in self.seen}


_UNKNOWN = Held(b"", 0)
_NOTHING = _Change({}, frozenset(), frozenset())


def _by_offset(item: tuple[int, Held]) -> int:
    return item[1].offset


class CommittedSession(Session):
    """A session of `delivery: exactly_once`; `window` is how many messages the broker may have in flight."""

    delivery = "exactly_once"
    unknown = NEEDED
    is_ordered = False  # Kafka has messages of several spools

    def __init__(self, window: int) -> None:
        super().__init__()
        self.number = 0  # of the broker's session: one more each time that the broker has lost it
        self._window = window
        self._seen: dict[int, Held] = {}  # messages that are safe, by packet id; the oldest first
        self._safe: set[int] = set()  # QoS 2 messages without PUBREL that are safe
        self._changed: set[int] = set()  # buckets that differ from Kafka's
        self._completed: list[int] = []  # released, and a commit has forgotten them
        self._pending = _NOTHING  # between `prepare` and `commit` or `discard`
        self._saving = _NOTHING  # between `to_save` and `note_saved`
        self._written: set[int] = set()  # buckets, likewise

    # --- connections ---------------------------------------------------------------------------------------------

    def suspend(self, unacknowledged: Iterable[Entry]) -> None:
        """Note that the connection has ended; PUBREL will come again."""
        super().suspend(unacknowledged)
        self._completed.clear()

    def resume(self, in_log: Iterable[Entry], next_offset: int) -> None:
        """Note that the client has returned to its session."""
        super().resume(in_log, next_offset)
        if self.held or self.counts_upwards:
            self.held = self._seen | self.held
            self.is_resending = bool(self.held)

    def clear(self) -> None:
        """Forget everything, because the broker has forgotten it."""
        super().clear()
        for each in (self._seen, self._safe, self._changed, self._completed, self._written):
            each.clear()
        self._pending = self._saving = _NOTHING
        self.number += 1
        self.is_outdated = True

    # --- QoS 2 ---------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Forget the released messages; PUBCOMP waits for a commit that has forgotten them, too."""
        self.unreleased.difference_update(self.released)
        self._changed.update(packet_id // BUCKET for packet_id in self._safe.intersection(self.released))
        self.is_outdated = self.is_outdated or bool(self.released)

    def take_completed(self) -> list[int]:
        """Take the packet ids for which PUBCOMP may be sent."""
        completed, self._completed = self._completed, []
        return completed

    # --- Kafka ---------------------------------------------------------------------------------------------------

    def prepare(self, entries: list[Entry]) -> dict[int, bytes]:
        """Make the buckets that a transaction writes which makes these messages safe."""
        self._pending = self._change(entries)
        self._written = self._changed | self._pending.buckets
        self._changed = set()
        return {bucket: self._bucket(bucket) for bucket in self._written}

    def _change(self, entries: Iterable[Entry]) -> _Change:
        entries = sorted(entries, key=attrgetter("offset"))
        seen = {entry.packet_id: Held(digest(entry.reading), entry.offset) for entry in entries}
        safe = {entry.packet_id for entry in entries if entry.reading.qos == 2}
        return _Change(seen, safe & self.unreleased, frozenset(self.released))

    def _bucket(self, bucket: int) -> bytes:
        seen, safe = self._pending.seen, self._pending.safe | (self._safe & self.unreleased)
        items = [_HEAD.pack(self.number)]
        for packet_id in range(bucket * BUCKET, bucket * BUCKET + BUCKET):
            held = seen.get(packet_id) or self._seen.get(packet_id) or _UNKNOWN
            if packet_id in safe or held is not _UNKNOWN:
                items.append(_ITEM.pack(packet_id, 2 if packet_id in safe else 1, held.offset, held.digest))
        return b"".join(items)

    def commit(self) -> None:
        """Remember what was prepared: it is committed."""
        self._apply(self._pending)
        self._pending, self._written = _NOTHING, set()

    def discard(self) -> None:
        """Forget what was prepared: it is not committed."""
        self._changed |= self._written
        self._pending, self._written = _NOTHING, set()

    def load(self, number: int, buckets: Iterable[bytes]) -> None:
        """Continue as Kafka has it; buckets of an earlier session are void."""
        items = [
            item for bucket in buckets if _HEAD.unpack_from(bucket) == (number,)
            for item in _ITEM.iter_unpack(bucket[_HEAD.size :])
        ]  # fmt: skip
        self.number = number
        self._set(
            {packet_id: Held(found, offset) for packet_id, _, offset, found in items},
            {packet_id for packet_id, qos, _, _ in items if qos == 2},
        )
        self._changed.clear()

    # --- the spool's file ----------------------------------------------------------------------------------------

    @property
    def next_offset(self) -> int:
        """The first offset that no message has, also none of another gateway: they are in the order of arrival."""
        return next(reversed(self._seen.values()), Held(b"", -1)).offset + 1

    @property
    def is_saved(self) -> bool:
        """True: Kafka may have something about this session."""
        return True

    def to_save(self, in_log: Iterable[Entry] | None) -> dict[str, Any]:
        """Make the JSON value for the file; all of it, because the newer of Kafka's state and the file's counts."""
        self._saving = self._change([] if in_log is None else list(in_log))
        return {
            "number": self.number,
            "seen": {key: (each.offset, each.digest.hex()) for key, each in (self._seen | self._saving.seen).items()},
            "unreleased": sorted((self._safe | self._saving.safe) & self.unreleased),
        }

    def note_saved(self, saved: Mapping[str, Any]) -> None:  # noqa: ARG002 - it is what was made last
        """Remember what was saved."""
        self._changed |= self._saving.buckets
        self._apply(self._saving)
        self._saving = _NOTHING

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue the session of the previous process."""
        seen = {int(key): Held(bytes.fromhex(found), at) for key, (at, found) in saved["seen"].items()}
        self.number = saved["number"]
        self._set(seen, set(saved["unreleased"]))
        self._changed = {packet_id // BUCKET for packet_id in (*self._seen, *self._safe)}

    # --- both ----------------------------------------------------------------------------------------------------

    def _apply(self, change: _Change) -> None:
        self._remember(change.seen)
        self._safe = (self._safe | change.safe) - change.released
        self._completed += [packet_id for packet_id in self.released if packet_id in change.released]
        self.released = [packet_id for packet_id in self.released if packet_id not in change.released]
        self.is_outdated = bool(self.released)

    def _remember(self, seen: Mapping[int, Held]) -> None:
        """Add messages, in order; keep the newest ones. Those that were on disk come again, behind newer ones."""
        known, newest = self._seen, next(reversed(self._seen.values()), _UNKNOWN).offset
        new = {key: held for key, held in seen.items() if key not in known or known[key].offset < held.offset}
        for packet_id in new:
            known.pop(packet_id, None)
        known |= new
        if next(iter(new.values()), _UNKNOWN).offset < newest:
            known = dict(sorted(known.items(), key=_by_offset))
        for packet_id in [*islice(known, max(0, len(known) - self._window))]:
            del known[packet_id]
        self._seen = known

    def _set(self, seen: Mapping[int, Held], safe: set[int]) -> None:
        self._seen = {}
        self._remember(dict(sorted(seen.items(), key=_by_offset)))
        self._safe, self.unreleased = safe, set(safe)
        self.uses_qos_2 = self.uses_qos_2 or bool(safe)
