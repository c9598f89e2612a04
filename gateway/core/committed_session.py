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

from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.session import NEEDED, PACKET_IDS, Held, Session, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from gateway.core.entry import Entry

BUCKET = 64  # packet ids
ALL = frozenset(range(PACKET_IDS // BUCKET + 1))  # buckets
MOST = PACKET_IDS - 1_024  # messages that may come again; the others may have expired at the broker meanwhile
_HEAD = Struct(">Q")  # number of the session
_ITEM = Struct(">HBQ8s")  # packet id, QoS, offset, digest
_SIZE = _ITEM.size
_QOS, _OFFSET = 2, 3  # places in an item
_offset_at = Struct(">Q").unpack_from
_EMPTY = bytearray(BUCKET * _SIZE)  # a bucket in memory has a place for each packet id; zeros where it is not known
_NEVER = 2**64  # no message has this offset


class _Change(NamedTuple):
    """What a commit changes: buckets, each as it was and as it is then, and which PUBRELs it makes durable."""

    buckets: Mapping[int, tuple[bytearray, bytearray]]
    released: AbstractSet[int]


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
        self._table = [_EMPTY] * len(ALL)  # buckets; another one takes the place of one that changes
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
        return sorted([offset for _, _, offset, _ in self._items()])

    def _items(self) -> Iterator[tuple[int, int, int, bytes]]:
        buckets = [bucket for bucket in self._table if bucket is not _EMPTY]
        return (item for bucket in buckets for item in _ITEM.iter_unpack(bucket) if item[0])

    def _find(self, packet_id: int) -> Held | None:
        if held := self.held.get(packet_id):
            return held
        known, _, offset, found = _ITEM.unpack_from(self._table[packet_id // BUCKET], packet_id % BUCKET * _SIZE)
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
        self._unsaved |= self._pending.buckets.keys()
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
        self._changed |= self._saving.buckets.keys()
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
        self._changed = {packet_id // BUCKET for packet_id, *_ in self._items()}
        self._unsaved = set(ALL if "seen" in saved else ())

    # --- both ----------------------------------------------------------------------------------------------------

    def _change(self, entries: Iterable[Entry]) -> _Change:
        """Change copies of the buckets: add messages, unless they are saved already or older than what is there.

        Released messages become messages of QoS 1.
        """
        table, copies = self._table, dict[int, bytearray]()
        for packet_id in self.released:
            number, at = packet_id // BUCKET, packet_id % BUCKET * _SIZE
            if table[number][at + _QOS] == 2:
                copies.setdefault(number, table[number][:])[at + _QOS] = 1
        for entry in entries:
            packet_id, offset = entry.packet_id, entry.offset
            number, at = packet_id // BUCKET, packet_id % BUCKET * _SIZE
            bucket = copies.get(number) or table[number]
            if not bucket[at + _QOS] or _offset_at(bucket, at + _OFFSET)[0] < offset:
                if number not in copies:
                    copies[number] = bucket = bucket[:]
                reading = entry.reading
                qos = 2 if reading.qos == 2 and packet_id in self.unreleased else 1
                _ITEM.pack_into(bucket, at, packet_id, qos, offset, digest(reading))
        buckets = {number: (table[number], bucket) for number, bucket in copies.items()}
        return _Change(buckets, frozenset(self.released))

    def _apply(self, change: _Change) -> None:
        table = self._table
        for number, (former, bucket) in change.buckets.items():
            table[number] = bucket if table[number] is former else _merged(table[number], bucket)
        self._completed += [packet_id for packet_id in self.released if packet_id in change.released]
        self.released = [packet_id for packet_id in self.released if packet_id not in change.released]
        self.is_outdated = bool(self.released)

    def _buckets(self, changed: AbstractSet[int], change: _Change) -> dict[int, bytes]:
        """Write those buckets that have changed before, and those of a change."""
        head, table, changes = _HEAD.pack(self.number), self._table, change.buckets
        return {
            number: head + _without_gaps(changes[number][1] if number in changes else table[number])
            for number in changed | changes.keys()
        }

    def _load(self, buckets: Iterable[bytes]) -> None:
        """Fill the table with the buckets of this session."""
        self._table = table = [_EMPTY] * len(ALL)
        for bucket in buckets:
            if _HEAD.unpack_from(bucket) == (self.number,):
                for at in range(_HEAD.size, len(bucket) - _SIZE + 1, _SIZE):
                    number, place = divmod(int.from_bytes(bucket[at : at + 2]), BUCKET)
                    if table[number] is _EMPTY:
                        table[number] = _EMPTY[:]
                    table[number][place * _SIZE : (place + 1) * _SIZE] = bucket[at : at + _SIZE]
        self.unreleased = {packet_id for packet_id, qos, _, _ in self._items() if qos == 2}
        self.uses_qos_2 = self.uses_qos_2 or bool(self.unreleased)
        self._unsaved = set(ALL)


def _without_gaps(bucket: bytearray) -> bytes:
    return b"".join([bucket[at : at + _SIZE] for at in range(0, len(bucket), _SIZE) if bucket[at + _QOS]])


def _merged(present: bytearray, other: bytearray) -> bytearray:
    """Take the newer item for each packet id; of the same message, the one that is released."""
    both = zip(_ITEM.iter_unpack(present), _ITEM.iter_unpack(other), strict=True)
    return bytearray().join([_ITEM.pack(*max(pair, key=_rank)) for pair in both])


def _rank(item: tuple[int, int, int, bytes]) -> tuple[bool, int, int]:
    packet_id, qos, offset, _ = item
    return bool(packet_id), offset, -qos
