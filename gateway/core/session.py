"""What is known of a broker's session: which messages the broker may send again.

When a client returns to its session, the broker first sends all messages again that it has no acknowledgement for: in
order, with their packet ids and marked as DUP [MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-3.3.1-1]. A message that the gateway
has already is a *repeat*. It is not stored again, and acknowledged in its turn. No message is dropped for DUP alone.

QoS 1   A packet id is free as soon as the broker has read the PUBACK. So a repeat has the packet id of a message on
        the last connection whose PUBACK the broker has perhaps not read; the same topic and payload; DUP; and its
        place: behind the repeats of older messages, and before the first new message.
        If one of these messages is not acknowledged yet, the broker sends that one before any new message, so what
        fits in front of it is a repeat. If all are acknowledged, the broker may have read that and given a packet id
        to an equal message that was lost on the way. So then nothing is a repeat, unless the broker has been seen to
        count packet ids upwards: such a broker uses a packet id again after 65,535 messages. And only the next
        connection counts then, on which a message that was not sent before has no DUP.
QoS 2   A packet id is taken until PUBREL. So a message with the packet id of one that is not released is a repeat, if
        it has the same topic and payload: once, in order, when the client has returned; and on the same connection, if
        the other one came not long before. It then needs no answer but a PUBREC that was sent already. Another message
        is new, though no broker should send it: Mosquitto 2.0.11 sends all messages that wait at once, and uses packet
        ids again that are taken. A PUBREL is for the oldest message of its packet id then. The PUBREL of a message may
        also have reached another gateway, whose disk this one does not have: the next message takes its place.

A session that the broker does not have any more is cleared: its packet ids mean nothing.

The broker has read an acknowledgement when it answers a ping that was sent later, as MQTT is one stream of bytes; other
packets from it prove nothing. The first new message after that answer tells how the broker chooses packet ids: one that
uses free ones again at once would not go on upwards.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.entry import Entry
    from gateway.core.reading import Reading


PACKET_IDS = 65_535
NEEDED = 2  # times that the broker must be seen to count upwards,
LONGEST_STEP = 4_096  # so far at most, as other messages were under way
DIGEST_BYTES = 8
UNKNOWN = b""  # in the place of a digest
_DIGEST = blake2b(digest_size=DIGEST_BYTES)
_QOS = [b"\0", b"\1", b"\2"]
Digests = tuple[bytes, ...]  # of messages with the same packet id, the oldest first


class Held(NamedTuple):
    """A message that may come again."""

    digest: bytes  # of topic and payload; empty when the gateway did not keep them, because it dropped the message
    offset: int  # its place in the log


class Session:
    """One session of one broker; only the bridge's loop uses it.

    The reader adds to `released`, and the queue of acknowledgements to `unread`; one whose connection has ended adds to
    `unacknowledged` until the client has returned.
    """

    delivery = "at_least_once"
    unknown = 0  # `upwards` of a broker of which nothing was seen yet
    is_ordered = True  # by their offsets, messages are in the order of their arrival
    packet_ids = PACKET_IDS

    def __init__(self) -> None:
        self.held: dict[int, Held] = {}  # by packet id
        self.unreleased: dict[int, Digests] = {}  # of QoS 2 messages without PUBREL, by packet id
        self.released: list[int] = []  # packet ids of PUBRELs that have come since `release`
        self.retransmitted: list[int] = []  # packet ids of QoS 2 messages that came again on the same connection
        self.gathering: set[int] = set()  # packet ids of messages that are not in the log yet
        self.unread: list[Entry] = []  # acknowledged on the last connection; the broker has perhaps not read that
        self.unacknowledged: list[Entry] = []  # of the last connection, which ended before it was acknowledged
        self.upwards = self.unknown  # times that the broker counted upwards; below 0 once it did not
        self.uses_qos_2 = False
        self.is_resending = False  # the broker may still send messages again: no new one has come
        self.is_outdated = False  # the spool's file knows of messages that must be forgotten
        self._expected: dict[int, Digests] = {}  # those of `unreleased` that may come again
        self._arrived_at: dict[int, int] = {}  # QoS 2 packet ids of this connection: how many messages came before
        self._arrivals = 0  # messages of this connection
        self._releasing: dict[int, None] = {}  # packet ids that are released, but not in what is stored
        self._completed: list[int] = []  # packet ids that are released, also in what is stored
        self._saved_unreleased: dict[int, Digests] = {}  # as the spool's file has them
        self._saved: dict[int, Held] = {}  # likewise
        self._restored: dict[int, Held] = {}  # of the former process, until the client has returned
        self._is_sure = False  # the broker sends some of `held` again
        self._next_saved: dict[int, Held] = {}  # between `to_save` and `note_saved`
        self._digests: dict[int, Held] = {}  # of what was saved last, by offset
        self._passed = self._newest = -1  # offsets: of the last repeat, and of the newest message that may come again
        self._since = 0  # the first offset of the last connection
        self._freed = 0  # newest packet id that the broker has just been seen to have free
        self._earlier = 0  # messages that came before, and are not looked at yet

    @property
    def is_saved(self) -> bool:
        """True when the spool's file has something about this session."""
        return bool(self._saved or self._saved_unreleased)

    # --- connections --------------------------------------------------------------------------------------------------

    def suspend(self, unacknowledged: Iterable[Entry]) -> None:
        """Note that the connection has ended, with acknowledgements that were not sent."""
        self.unacknowledged += unacknowledged
        self._forget_answers()  # the broker sends PUBREL again

    def resume(self, in_log: Iterable[Entry], next_offset: int) -> None:
        """Note that the client has returned to its session; `in_log` are its messages that are not acknowledged yet."""
        if not (self.held and self._is_sure):  # else all that came on the last connection were repeats of these
            waiting = [entry for entry in (*self.unacknowledged, *in_log) if entry.offset >= self._since]
            unread = self.unread if waiting or self.counts_upwards else ()
            self.held, self._is_sure = self._restored | self._known([*unread, *waiting]), bool(waiting)
        self._newest = max((each.offset for each in self.held.values()), default=-1)
        self.unread.clear()
        self._restored = {}
        self.unacknowledged = []  # so that what is acknowledged from now on is not added
        self._since, self._passed, self._freed = next_offset, -1, 0
        self.is_resending = bool(self.held)
        self._expected = dict(self.unreleased)
        self._arrived_at, self._arrivals = {}, 0
        self.is_outdated = self.is_outdated or (bool(self._saved) and not self._is_sure)

    def clear(self) -> None:
        """Forget everything, because the broker has forgotten it."""
        self.is_outdated = self.is_saved
        for known in (self.held, self.unreleased, self._expected, self._arrived_at):
            known.clear()
        self._forget_answers()
        self.gathering.clear()
        self.unread.clear()
        self.unacknowledged, self._restored, self._saved, self._saved_unreleased = [], {}, {}, {}
        self.is_resending = False
        self.upwards, self._freed = self.unknown, 0

    def _forget_answers(self) -> None:
        for packet_ids in (self.released, self.retransmitted, self._releasing, self._completed):
            packet_ids.clear()

    def forget(self) -> None:
        """Forget which QoS 1 messages were acknowledged, because some of them may be lost."""
        self.unread.clear()
        self.held.clear()
        self._restored = {}

    # --- messages ------------------------------------------------------------------------------------------------

    @property
    def must_look(self) -> bool:
        """False when `repeats` need not be called, as no message can be a repeat, or tell anything of the broker."""
        return self.is_resending or self.uses_qos_2 or self._freed > 0

    def repeats(self, entries: Sequence[Entry]) -> list[Entry]:
        """Find the repeats among messages that have arrived, in order; note the others as received."""
        if self._freed:
            self._watch(entries)
            if not (self.is_resending or self.uses_qos_2):
                return []
        repeats = []
        for self._arrivals, entry in enumerate(entries, self._arrivals + 1):  # noqa: B020 - counts on
            if entry.packet_id and self._is_repeat(entry):
                repeats.append(entry)
        return repeats

    def _is_repeat(self, entry: Entry) -> bool:
        packet_id, reading = entry.packet_id, entry.reading
        may_be_held = self.is_resending and reading.dup
        found = digest(reading) if may_be_held or reading.qos == 2 else b""
        held = self._find(packet_id, found) if may_be_held else None
        if held and self.is_ordered and held.offset <= self._passed:
            held = None  # the broker would have sent it earlier
        is_repeat = held is not None and held.digest == found
        if reading.qos == 2:
            is_repeat = self._is_taken(entry, found) or (is_repeat and packet_id not in self._arrived_at)
            self._arrived_at[packet_id] = self._arrivals
        if held and (is_repeat or not held.digest):
            self._passed, self._is_sure = held.offset, True
            if self._is_newest(held):
                self._end_resending()
        elif self.is_resending and not is_repeat and self._is_new(entry):
            self._end_resending()
            self.is_outdated = self.is_outdated or bool(self._saved)
        return is_repeat

    def _is_newest(self, held: Held) -> bool:
        """True for the newest message that may come again."""
        return held.offset == self._newest

    def _is_new(self, _entry: Entry) -> bool:
        """False for a message that is no repeat while later ones may be: never, as all are known or none is."""
        return True

    def _find(self, packet_id: int, _digest: bytes) -> Held | None:
        return self.held.get(packet_id)

    def _is_taken(self, entry: Entry, found: bytes) -> bool:
        """Whether a QoS 2 message came before; otherwise its packet id is taken by it, too."""
        packet_id = entry.packet_id
        expected, taken = self._expected.get(packet_id, ()), self.unreleased.get(packet_id, ())
        if found in expected or UNKNOWN in expected:
            self._expected[packet_id] = expected[expected.index(found) + 1 :] if found in expected else ()
            return True
        arrived_at = self._arrived_at.get(packet_id)
        if arrived_at is not None and found in taken and self._arrivals - arrived_at <= self.packet_ids // 2:
            self.retransmitted.append(packet_id)
            entry.packet_id = 0  # the other one is acknowledged
            return True
        self.unreleased[packet_id] = (found,) if arrived_at is None else (*taken, found)
        return False

    def forget_arrival(self, entry: Entry) -> None:
        """Forget a message that is not in the log yet, so that it is taken when it comes again."""
        self.gathering.discard(entry.packet_id)
        left = [each for each in self.unreleased.pop(entry.packet_id, ()) if each != digest(entry.reading)]
        if left:
            self.unreleased[entry.packet_id] = (*left,)

    def _end_resending(self) -> None:
        self.is_resending = False
        self.held.clear()

    # --- what the broker does with packet ids ------------------------------------------------------------------------

    @property
    def counts_upwards(self) -> bool:
        """True when the broker was seen to count packet ids upwards, and nothing else."""
        return self.upwards >= NEEDED

    def note_read(self, acknowledged: Sequence[Entry], arrived: int) -> None:
        """Note that the broker has read acknowledgements; `arrived` messages that came before are not looked at yet."""
        if acknowledged:
            newest = next((each.packet_id for each in reversed(acknowledged) if each.reading.qos == 1), 0)
            self._freed, self._earlier = newest, arrived
            is_old = all(each.offset <= acknowledged[-1].offset for each in self._saved.values())
            self.is_outdated = self.is_outdated or (is_old and bool(self._saved))

    def _watch(self, entries: Sequence[Entry]) -> None:
        """Compare the first new packet id with the newest that was free before."""
        new = (each.packet_id for each in entries[self._earlier :] if each.packet_id and not each.reading.dup)
        self._earlier = 0
        if packet_id := next(new, 0):
            step, self._freed = (packet_id - self._freed) % self.packet_ids, 0
            if not 0 < step <= self.packet_ids // 2:
                self.upwards = -self.packet_ids
            elif step <= LONGEST_STEP:
                self.upwards += 1

    def release(self) -> None:
        """Release messages whose PUBREL has come since the last call, of each packet id the oldest.

        They are forgotten once what is stored has forgotten them: PUBREL comes again when the connection ends before.
        """
        for packet_id in self.released:
            taken, comes_again = self.unreleased.get(packet_id, ()), False
            if taken and self._expected.get(packet_id) == taken:  # in the place of a message that would come again
                comes_again = self._comes_again(packet_id)
                self._expected[packet_id] = taken if comes_again else taken[1:]
            if comes_again:
                self._completed.append(packet_id)
            elif self._is_stored(packet_id):
                self._releasing[packet_id] = None
            else:
                self._complete([packet_id])
        self.released.clear()
        self.is_outdated = self.is_outdated or bool(self._releasing)

    def _complete(self, packet_ids: Iterable[int]) -> None:
        for packet_id in packet_ids:
            if left := self.unreleased.pop(packet_id, ())[1:]:
                self.unreleased[packet_id] = left
            self._completed.append(packet_id)

    def _is_stored(self, packet_id: int) -> bool:
        return packet_id in self._saved_unreleased

    def _comes_again(self, _packet_id: int) -> bool:
        """True when PUBREL is known to be of a message that is released already: never here."""
        return False

    def take_completed(self) -> list[int]:
        """Take the packet ids for which PUBCOMP may be sent: neither memory nor disk has them any more."""
        self.release()
        completed, self._completed = self._completed, []
        return completed

    # --- the spool's file ----------------------------------------------------------------------------------------

    def to_save(self, in_log: Iterable[Entry] | None) -> dict[str, Any]:
        """Make the JSON value for the file: packet ids of messages that are safe once it is written.

        `in_log` are the session's messages in memory, when all of them are on disk with this write. Without them,
        messages are only removed from what the file has.
        """
        held = self.held if self._is_sure else self._restored
        entries = [*self.unread, *self.unacknowledged, *(in_log or ())]
        unreleased = self.unreleased
        if in_log is None:
            held = {packet_id: each for packet_id, each in held.items() if self._saved.get(packet_id) == each}
            unreleased = self._saved_unreleased
        self._next_saved = dict(held) or self._known(entries)
        self._digests = {each.offset: each for each in self._next_saved.values()}
        found = {packet_id: (each.offset, each.digest.hex()) for packet_id, each in self._next_saved.items()}
        known = [pair for pair in sorted(unreleased.items()) if pair[0] not in self.gathering]
        taken = {packet_id: each[1:] if packet_id in self._releasing else each for packet_id, each in known}
        digests = {packet_id: b"".join(each).hex() for packet_id, each in taken.items() if each}
        return {"unread": found, "unreleased": digests, "upwards": self.upwards}

    def note_saved(self, saved: Mapping[str, Any]) -> None:
        """Note what the file has now."""
        self._saved = self._next_saved
        self._saved_unreleased = _unreleased(saved)
        self._complete(self._releasing)
        self._releasing.clear()
        self.is_outdated = False

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue the session of the previous process; which messages that had acknowledged is not known."""
        unreleased, upwards = _unreleased(saved), int(saved.get("upwards", self.unknown))
        unread = saved.get("unread", {}) if upwards >= NEEDED else {}  # an older version saved it in another way
        self._restored = {int(key): Held(bytes.fromhex(found), offset) for key, (offset, found) in unread.items()}
        self._next_saved = self._restored
        self.unreleased, self.upwards = unreleased, upwards
        self._expected = dict(unreleased)
        self.uses_qos_2 = bool(unreleased)
        self.note_saved(saved)

    def _known(self, entries: Iterable[Entry]) -> dict[int, Held]:
        """Describe those messages that came over the last connection."""
        own, digests = [entry for entry in entries if entry.offset >= self._since], self._digests
        return {each.packet_id: digests.get(each.offset) or Held(digest(each.reading), each.offset) for each in own}


def _unreleased(saved: Mapping[str, Any]) -> dict[int, Digests]:
    """Read the QoS 2 messages without PUBREL; an older version saved their packet ids only."""
    found = saved["unreleased"]
    pairs = dict.fromkeys(found, "") if isinstance(found, list) else found
    return {int(packet_id): _digests(bytes.fromhex(each)) for packet_id, each in pairs.items()}


def _digests(joined: bytes) -> Digests:
    return tuple([joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]) or (UNKNOWN,)


def digest(reading: Reading) -> bytes:
    """Hash what a repeat has in common with the message; the properties may differ, as the expiry interval does."""
    topic = reading.topic
    if not topic:
        return b""
    digest_of = _DIGEST.copy()  # costs less than a new one
    digest_of.update(_QOS[reading.qos] + len(topic).to_bytes(2) + topic + reading.payload + reading.sha256)
    return digest_of.digest()
