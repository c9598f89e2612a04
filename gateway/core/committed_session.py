"""A session that Kafka remembers: its packet ids are committed together with the readings (`delivery: exactly_once`).

The broker may send a message again whose reading is in Kafka already, when the acknowledgement was lost or the process
ended before it. So the session remembers the newest safe message of each packet id, and which QoS 2 messages have no
PUBREL. A QoS 2 message with PUBREL is remembered as well, as one of QoS 1: after a restart, Mosquitto 2.0 sends such
messages again from the beginning, if it has no PUBCOMP. What the session remembers is stored in the same Kafka
transaction as the readings, or in the same commit of the spool's file. A message is remembered only by a commit that
makes it safe, so `prepare` changes nothing until `commit`.

A broker may ignore the Receive Maximum: Mosquitto 2.0.11 does, once messages wait. So not only the last `window`
messages may come again, but nearly as many as there are packet ids (`most`). Of an older one, the broker has given the
packet id to another message, which may have been lost on the way. Where a broker does not count packet ids upwards,
that may be the case for each that is not among the last `window`. At QoS 2 each message without PUBREL may come again,
also several with the same packet id.

The next process does not know all messages of a connection: those of a stream that waits are not safe, and those that
were dropped are in no transaction. So where packet ids count upwards, a message that is not known, was sent before, and
is older than the newest known one is no sign that all repeats have come; that one itself is.

Packet ids are in buckets of 64. Kafka has a record for each bucket, and the file a note: a commit writes those that
have changed, and a compacted topic keeps the newest record of each. A bucket is the number of the session, and for each
message its packet id, its QoS, its place in the log and its digest.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, repeat
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.session import NEEDED, PACKET_IDS, Held, Session, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from gateway.core.entry import Entry

BUCKET = 64  # packet ids
ALL = frozenset(range(PACKET_IDS // BUCKET + 1))  # buckets
_HEAD = Struct(">Q")  # number of the session
_ITEM = Struct(">HBQ8s")  # packet id, QoS, offset, digest
_QOS, _OFFSET = 2, slice(3, 11)  # in an item
_RELEASED = b"\1"  # the QoS of a message that has its PUBREL, as that of one of QoS 1
Bucket = list[bytes]  # in memory: the items of each packet id, the oldest first; nearly always one
_NEVER = 2**64  # no message has this offset


class _Change(NamedTuple):
    """What a commit changes: buckets, each as it was and as it is then, and which PUBRELs it makes durable."""

    buckets: Mapping[int, tuple[Bucket, Bucket]]
    released: AbstractSet[int]
    newest: int = -1  # offset


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
        self._table = _empty_table()  # another one takes the place of a bucket that changes
        self._newest_safe = -1  # offset of the newest message in it
        self._changed: set[int] = set()  # buckets that differ from Kafka's
        self._unsaved = set(ALL)  # buckets that differ from the file's
        self._pending = self._saving = _NOTHING  # between `prepare` and its outcome; between `to_save` and `note_saved`
        self._written: set[int] = set()  # buckets of the transaction under way
        self._expected_from = _NEVER  # messages with this offset, or a later one, may come again
        self._newest_id = 0  # packet id of the newest message that may come again
        self._waiting: list[int] = []  # offsets of the messages without PUBREL when the client returned

    # --- connections ---------------------------------------------------------------------------------------------

    def resume(self, in_log: Iterable[Entry], next_offset: int) -> None:
        """Note that the client has returned to its session."""
        super().resume(in_log, next_offset)
        self._expected_from = _NEVER
        self._waiting = sorted([offset for _, qos, offset, _ in self._items() if qos == 2])
        if self.held or self.counts_upwards:
            offsets = sorted([offset for _, _, offset, _ in self._items()])
            may_come = offsets[-(self.most if self.counts_upwards else self._window) :]
            self._expected_from = min(may_come, default=_NEVER)
            self.is_resending = bool(self.held or may_come or self.unreleased)
            newest = {each.offset: packet_id for packet_id, each in self.held.items() if not self._has(packet_id, each)}
            newest |= {offset: packet_id for packet_id, _, offset, _ in self._items() if offset == self._newest_safe}
            self._newest = max(newest, default=_NEVER)
            self._newest_id = newest.get(self._newest, 0)

    @property
    def most(self) -> int:
        """How many messages may come again; the others may have expired at the broker meanwhile."""
        return self.packet_ids - self.packet_ids // 64

    def _items(self) -> Iterator[tuple[int, int, int, bytes]]:
        return chain.from_iterable(_ITEM.iter_unpack(items) for bucket in self._table for items in bucket if items)

    def _find(self, packet_id: int, sought: bytes) -> Held | None:
        held = self.held.get(packet_id)
        if not (held and held.digest == sought):
            for _, qos, offset, found in _ITEM.iter_unpack(self._items_of(packet_id)):
                if found == sought and (qos == 2 or offset >= self._expected_from):
                    return Held(found, offset)
        return held

    def _has(self, packet_id: int, held: Held) -> bool:
        """Whether a message is safe; the one in the log is its repeat then."""
        return any(found == held.digest for _, _, _, found in _ITEM.iter_unpack(self._items_of(packet_id)))

    def _is_newest(self, held: Held) -> bool:
        return self.counts_upwards and super()._is_newest(held)

    def _is_new(self, entry: Entry) -> bool:
        ahead = (entry.packet_id - self._newest_id) % self.packet_ids
        return not (entry.reading.dup and self.counts_upwards) or 0 < ahead <= self.packet_ids // 2

    def _items_of(self, packet_id: int) -> bytes:
        return self._table[packet_id // BUCKET][packet_id % BUCKET]

    def _end_resending(self) -> None:
        super()._end_resending()
        self._expected_from = _NEVER

    def clear(self) -> None:
        """Forget everything, because the broker has forgotten it."""
        super().clear()
        self._load(())
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

    def _is_stored(self, _packet_id: int) -> bool:
        return True  # perhaps: PUBCOMP waits for a commit in any case

    def _comes_again(self, packet_id: int) -> bool:
        """Tell it by the next message with the packet id: its turn comes when nearly all before have been released."""
        items = _split(self._items_of(packet_id))
        newer = [int.from_bytes(item[_OFFSET]) for item in items if item[_QOS] == 2]
        return 0 < len(newer) < len(items) and bisect_left(self._waiting, newer[0]) > self.packet_ids // 4

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
        return self._newest_safe + 1

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
        self._pending = self._pending._replace(released=self._pending.released - self._saving.released)
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

        Released messages become messages of QoS 1. Loops in C, as it is done for each reading.
        """
        new = sorted(entries, key=_offset_of)
        newest = new[-1].offset if new else -1
        if new and new[0].offset <= self._newest_safe:
            new = [entry for entry in new if self._is_newer(entry)]
        ids, readings = [entry.packet_id for entry in new], [entry.reading for entry in new]
        qos: Iterable[int] = repeat(1)
        if self.unreleased:
            pairs = zip(ids, readings, strict=True)
            qos = [2 if each.qos == 2 and packet_id in self.unreleased else 1 for packet_id, each in pairs]
        added = map(_ITEM.pack, ids, qos, [entry.offset for entry in new], map(digest, readings))
        released = [(each, items) for each in self._releasing if (items := _released(self._items_of(each)))]
        table, copies, unreleased = self._table, dict[int, Bucket](), self.unreleased
        for packet_id, item in chain(released, zip(ids, added, strict=True)):
            bucket = copies.get(number := packet_id // BUCKET)
            if bucket is None:
                bucket = copies[number] = table[number][:]
            place = packet_id % BUCKET
            is_shared = unreleased and len(unreleased.get(packet_id, ())) > (item[_QOS] == 2)
            bucket[place] = _united(bucket[place], item) if is_shared else item
        buckets = {number: (table[number], bucket) for number, bucket in copies.items()}
        return _Change(buckets, frozenset(self._releasing), newest)

    def _is_newer(self, entry: Entry) -> bool:
        newest = self._items_of(entry.packet_id)[-_ITEM.size :]
        return not newest or int.from_bytes(newest[_OFFSET]) < entry.offset

    def _apply(self, change: _Change) -> None:
        table = self._table
        for number, (former, bucket) in change.buckets.items():
            table[number] = bucket if table[number] is former else self._merged(number, bucket)
        self._newest_safe = max(self._newest_safe, change.newest)
        self._complete([packet_id for packet_id in self._releasing if packet_id in change.released])
        self._releasing = {each: None for each in self._releasing if each not in change.released}
        self.is_outdated = bool(self._releasing)

    def _merged(self, number: int, bucket: Bucket) -> Bucket:
        taken = [self.unreleased.get(packet_id, ()) for packet_id in range(number * BUCKET, (number + 1) * BUCKET)]
        pairs = zip(taken, self._table[number], bucket, strict=True)
        return [(_united if len(each) > 1 else _newest)(one, other) for each, one, other in pairs]

    def _buckets(self, changed: AbstractSet[int], change: _Change) -> dict[int, bytes]:
        """Write those buckets that have changed before, and those of a change."""
        head, table, changes = _HEAD.pack(self.number), self._table, change.buckets
        return {
            number: head + b"".join(changes[number][1] if number in changes else table[number])
            for number in changed | changes.keys()
        }

    def _load(self, buckets: Iterable[bytes]) -> None:
        """Fill the table with the buckets of this session."""
        self._table = _empty_table()
        head = _HEAD.pack(self.number)
        for bucket in buckets:
            if bucket.startswith(head):
                for at in range(len(head), len(bucket) - _ITEM.size + 1, _ITEM.size):
                    number, place = divmod(int.from_bytes(bucket[at : at + 2]), BUCKET)
                    self._table[number][place] += bucket[at : at + _ITEM.size]
        self._newest_safe = max([offset for _, _, offset, _ in self._items()], default=-1)
        self.unreleased = {}
        for packet_id, qos, _, found in self._items():
            if qos == 2:
                self.unreleased[packet_id] = (*self.unreleased.get(packet_id, ()), found)
        self._expected = dict(self.unreleased)
        self.uses_qos_2 = self.uses_qos_2 or bool(self.unreleased)
        self._unsaved = set(ALL)


_offset_of = attrgetter("offset")


def _empty_table() -> list[Bucket]:
    return [[b""] * BUCKET for _ in ALL]


def _split(items: bytes) -> list[bytes]:
    return [items[at : at + _ITEM.size] for at in range(0, len(items), _ITEM.size)]


def _released(items: bytes) -> bytes:
    """Make the oldest item without PUBREL one of QoS 1, and leave out those before; b"" when all have their PUBREL."""
    for at in range(0, len(items), _ITEM.size):
        if items[at + _QOS] == 2:
            return items[at : at + _QOS] + _RELEASED + items[at + _QOS + 1 :]
    return b""


def _newest(one: bytes, other: bytes) -> bytes:
    """Take the newer of two items; of the same message, the one that is released."""
    return max(one, other, key=_rank)


def _united(one: bytes, other: bytes) -> bytes:
    """Unite the items of a packet id: those without PUBREL, and the newest of the others."""
    items = {item[_OFFSET]: item for item in sorted([*_split(one), *_split(other)], key=_rank)}
    newest = max([item[_OFFSET] for item in items.values() if item[_QOS] != 2], default=b"")
    return b"".join([item for item in items.values() if item[_QOS] == 2 or item[_OFFSET] == newest])


def _rank(items: bytes) -> tuple[bytes, bool]:
    newest = items[-_ITEM.size :]
    return newest[_OFFSET], newest[_QOS : _QOS + 1] == _RELEASED
