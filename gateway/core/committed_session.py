"""A session that Kafka remembers: its packet ids are committed together with the readings (`delivery: exactly_once`).

The broker may send a message again whose reading is in Kafka already, when the acknowledgement was lost or the process
ended before it. So the session remembers the newest safe message of each packet id, and which QoS 2 messages have no
PUBREL. A QoS 2 message with PUBREL is remembered as well, as one of QoS 1: after a restart, Mosquitto 2.0 sends such
messages again from the beginning, if it has no PUBCOMP. What the session remembers is stored in the same Kafka
transaction as the readings, or in the same commit of the spool's file. A message is remembered only by a commit that
makes it safe, so `prepare` changes nothing until `commit`.

A broker may ignore the Receive Maximum: Mosquitto 2.0.11 does, once it has sent messages again. So not only the last
`window` messages may come again, but nearly as many as there are packet ids (`MOST`). Of an older one, the broker has
given the packet id to another message, which may have been lost on the way. Where a broker does not count packet ids
upwards, that may be the case for each that is not among the last `window`.

Packet ids are in buckets of 64. Kafka has a record for each bucket, and the file a note: a commit writes those that
have changed, and a compacted topic keeps the newest record of each. A bucket is the number of the session, and for each
packet id its QoS, its place in the log and the digest of the message.
"""

from __future__ import annotations

from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.session import NEEDED, PACKET_IDS, Held, Session, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from gateway.core.entry import Entry

BUCKET = 64  # packet ids
ALL = frozenset(range(PACKET_IDS // BUCKET + 1))  # buckets
MOST = PACKET_IDS - 1_024  # messages that may come again; the others may have expired at the broker meanwhile
_HEAD = Struct(">Q")  # number of the session
_ITEM = Struct(">HBQ8s")  # packet id, QoS, offset, digest
_SIZE = _ITEM.size
_QOS, _OFFSET = 2, slice(3, 11)  # in an item
_NEVER = 2**64  # no message has this offset


class _Change(NamedTuple):
    """What a commit changes: items of the table by packet id, and which PUBRELs it makes durable."""

    items: Mapping[int, bytes]
    released: AbstractSet[int]

    @property
    def buckets(self) -> set[int]:
        return {packet_id // BUCKET for packet_id in self.items}


_NOTHING = _Change({}, frozenset())


class CommittedSession(Session):
    """A session of `delivery: exactly_once`; `window` is how many messages the broker may have in flight."""

    delivery = "exactly_once"
    unknown = NEEDED
    is_ordered = False  # Kafka has messages of several spools

    def __init__(self, window: int) -> None:
        super().__init__()
        self.number = 0  # of the broker's session: one more each time that the broker has lost it
        self._window = window
        self._table = bytearray(len(ALL) * BUCKET * _SIZE)  # the item of each packet id that is safe; else zeros
        self._changed: set[int] = set()  # buckets that differ from Kafka's
        self._unsaved = set(ALL)  # buckets that differ from the file's
        self._completed: list[int] = []  # released, and a commit has forgotten them
        self._pending = self._saving = _NOTHING  # between `prepare` and its outcome; between `to_save` and `note_saved`
        self._written: set[int] = set()  # buckets of the transaction under way
        self._expected_from = _NEVER  # messages with this offset, or a later one, may come again

    # --- connections ---------------------------------------------------------------------------------------------

    def suspend(self, unacknowledged: Iterable[Entry]) -> None:
        """Note that the connection has ended; PUBREL will come again."""
        super().suspend(unacknowledged)
        self._completed.clear()

    def resume(self, in_log: Iterable[Entry], next_offset: int) -> None:
        """Note that the client has returned to its session."""
        super().resume(in_log, next_offset)
        self._expected_from = _NEVER
        if self.held or self.counts_upwards:
            may_come = self._offsets()[-(MOST if self.counts_upwards else self._window) :]
            self._expected_from = min(may_come, default=_NEVER)
            self.is_resending = bool(self.held or may_come)

    def _offsets(self) -> list[int]:
        """List the offsets of the messages that are safe, the oldest first."""
        return sorted([offset for packet_id, _, offset, _ in _ITEM.iter_unpack(self._table) if packet_id])

    def _find(self, packet_id: int) -> Held | None:
        if held := self.held.get(packet_id):
            return held
        known, _, offset, found = self._item(packet_id)
        return Held(found, offset) if known and offset >= self._expected_from else None

    def _end_resending(self) -> None:
        super()._end_resending()
        self._expected_from = _NEVER

    def clear(self) -> None:
        """Forget everything, because the broker has forgotten it."""
        super().clear()
        self._load(())
        self._completed.clear()
        self._changed.clear()
        self._pending = self._saving = _NOTHING
        self._written = set()
        self.number += 1
        self.is_outdated = True

    def forget(self) -> None:
        """Forget which messages were acknowledged; the file is another one."""
        super().forget()
        self._unsaved = set(ALL)

    # --- QoS 2 ---------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Forget the released messages; PUBCOMP waits for a commit that has forgotten them, too."""
        self.unreleased.difference_update(self.released)
        self.is_outdated = self.is_outdated or bool(self.released)

    def take_completed(self) -> list[int]:
        """Take the packet ids for which PUBCOMP may be sent."""
        completed, self._completed = self._completed, []
        return completed

    # --- Kafka ---------------------------------------------------------------------------------------------------

    def prepare(self, entries: Iterable[Entry]) -> dict[int, bytes]:
        """Make the buckets that a transaction writes which makes these messages safe."""
        self._pending = self._change(entries)
        buckets = self._buckets(self._changed, self._pending)
        self._changed, self._written = set(), set(buckets)
        return buckets

    def commit(self) -> None:
        """Remember what was prepared: it is committed."""
        self._apply(self._pending)
        self._unsaved |= self._pending.buckets
        self._pending, self._written = _NOTHING, set()

    def discard(self) -> None:
        """Forget what was prepared: it is not committed."""
        self._changed |= self._written
        self._pending, self._written = _NOTHING, set()

    def load(self, number: int, buckets: Iterable[bytes]) -> None:
        """Continue as Kafka has it; buckets of an earlier session are void."""
        self.number = number
        self._load(buckets)
        self._changed.clear()

    # --- the spool's file ----------------------------------------------------------------------------------------

    @property
    def next_offset(self) -> int:
        """The first offset that no message has, also none of another gateway: they are in the order of arrival."""
        return max(self._offsets(), default=-1) + 1

    @property
    def is_saved(self) -> bool:
        """True: Kafka may have something about this session."""
        return True

    def to_save(self, in_log: Iterable[Entry] | None) -> dict[str, Any]:
        """Make what the file needs to have all of the state, as the newer of Kafka's and the file's counts."""
        self._saving = self._change(in_log or ())
        return {"number": self.number, "buckets": self._buckets(self._unsaved, self._saving)}

    def note_saved(self, saved: Mapping[str, Any]) -> None:
        """Remember what was saved."""
        self._changed |= self._saving.buckets
        self._apply(self._saving)
        self._saving, self._unsaved = _NOTHING, self._unsaved - saved["buckets"].keys()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue the session of the previous process; `seen` is of an older version."""
        self.number = saved["number"]
        unreleased = {*saved.get("unreleased", ())}
        items = [
            _ITEM.pack(int(packet_id), 2 if int(packet_id) in unreleased else 1, offset, bytes.fromhex(found))
            for packet_id, (offset, found) in saved.get("seen", {}).items()
        ]
        self._load([*saved["buckets"].values(), *[_HEAD.pack(self.number) + item for item in items]])
        self._changed = {packet_id // BUCKET for packet_id, *_ in _ITEM.iter_unpack(self._table) if packet_id}
        self._unsaved = set(ALL if "seen" in saved else ())

    # --- both ----------------------------------------------------------------------------------------------------

    def _item(self, packet_id: int) -> tuple[int, int, int, bytes]:
        return _ITEM.unpack_from(self._table, packet_id * _SIZE)

    def _change(self, entries: Iterable[Entry]) -> _Change:
        """Make the items of messages, in order; what was saved already, or is older than a newer one, stays."""
        items = {}
        for packet_id in self.released:
            known, qos, offset, found = self._item(packet_id)
            if known and qos == 2:
                items[packet_id] = _ITEM.pack(packet_id, 1, offset, found)
        for entry in sorted(entries, key=attrgetter("offset")):
            packet_id, reading = entry.packet_id, entry.reading
            known, _, offset, _ = self._item(packet_id)
            if not known or offset < entry.offset:
                qos = 2 if reading.qos == 2 and packet_id in self.unreleased else 1
                items[packet_id] = _ITEM.pack(packet_id, qos, entry.offset, digest(reading))
        return _Change(items, frozenset(self.released))

    def _apply(self, change: _Change) -> None:
        """Note what is durable; the file may have newer items meanwhile, or have forgotten a QoS 2 message."""
        table = self._table
        for packet_id, item in change.items.items():
            at = packet_id * _SIZE
            present = bytes(table[at : at + _SIZE])
            if not present[_QOS] or (present[_OFFSET], -present[_QOS]) <= (item[_OFFSET], -item[_QOS]):
                table[at : at + _SIZE] = item
        self._completed += [packet_id for packet_id in self.released if packet_id in change.released]
        self.released = [packet_id for packet_id in self.released if packet_id not in change.released]
        self.is_outdated = bool(self.released)

    def _buckets(self, changed: Iterable[int], change: _Change) -> dict[int, bytes]:
        """Make those buckets that have changed before, and those of a change; b"" for an empty one."""
        size = BUCKET * _SIZE
        buckets = {number: self._table[number * size : (number + 1) * size] for number in changed}
        for packet_id, item in change.items.items():
            number, place = divmod(packet_id, BUCKET)
            if number not in buckets:
                buckets[number] = self._table[number * size : (number + 1) * size]
            buckets[number][place * _SIZE : (place + 1) * _SIZE] = item
        head = _HEAD.pack(self.number)
        return {number: head + _without_gaps(items) for number, items in buckets.items()}

    def _load(self, buckets: Iterable[bytes]) -> None:
        """Fill the table with the buckets of this session."""
        self._table[:] = bytes(len(self._table))
        for bucket in buckets:
            if _HEAD.unpack_from(bucket) == (self.number,):
                for at in range(_HEAD.size, len(bucket) - _SIZE + 1, _SIZE):
                    place = _SIZE * int.from_bytes(bucket[at : at + 2])
                    self._table[place : place + _SIZE] = bucket[at : at + _SIZE]
        self.unreleased = {packet_id for packet_id, qos, _, _ in _ITEM.iter_unpack(self._table) if qos == 2}
        self.uses_qos_2 = self.uses_qos_2 or bool(self.unreleased)
        self._unsaved = set(ALL)


def _without_gaps(items: bytearray) -> bytes:
    return b"".join([items[at : at + _SIZE] for at in range(0, len(items), _SIZE) if items[at] or items[at + 1]])
