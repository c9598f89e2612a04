"""What a session remembers by commits: nothing before them, everything of them after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

from gateway.core.committed_session import ALL, BUCKET, CommittedSession
from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.core.session import PACKET_IDS, digest
from tests.core.broker_model import FLOOD, UPWARDS, GatewayMachine

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW = 100
ABORT, DIE = 2, 3


def message(packet_id: int, payload: bytes = b"{}", *, qos: int = 1, dup: bool = False, offset: int = 0) -> Entry:
    """Make a message as it arrives."""
    return Entry(Reading("a", b"a/b", payload, 0, qos, dup=dup), None, packet_id, offset or packet_id)


def again(packet_id: int, qos: int = 1) -> Entry:
    """Make a message that the broker sends again."""
    return message(packet_id, qos=qos, dup=True)


def committed(*entries: Entry, window: int = WINDOW) -> tuple[CommittedSession, dict[int, bytes]]:
    """Make a session with a commit of messages, and give the buckets that Kafka has then."""
    session = CommittedSession(window)
    session.repeats(entries)
    buckets = session.prepare(list(entries))
    session.commit()
    return session, buckets


def loaded(buckets: Iterable[bytes], number: int = 0) -> CommittedSession:
    """Continue in a new process, which has connected."""
    session = CommittedSession(WINDOW)
    session.load(number, buckets)
    session.resume([], 0)
    return session


def save(session: CommittedSession, *entries: Entry) -> dict[int, bytes]:
    """Write messages, and give the buckets that the file gets."""
    saved = session.to_save(entries)
    session.note_saved(saved)
    buckets: dict[int, bytes] = saved["buckets"]
    return buckets


def repeats(session: CommittedSession, *entries: Entry) -> list[int]:
    return [entry.packet_id for entry in session.repeats(entries)]


def test_a_new_process_knows_what_kafka_has() -> None:
    """QoS 1 by packet id, content, DUP and place; QoS 2 by the packet id."""
    _, buckets = committed(message(1), message(200), message(2, qos=2))
    assert buckets.keys() == {0, 200 // BUCKET}
    assert repeats(loaded(buckets.values()), again(2, qos=2), again(1), again(200), again(201), again(1)) == [2, 1, 200]


def test_a_message_that_is_not_known_does_not_end_the_repeats_if_it_is_older_than_the_newest() -> None:
    """Its stream waits, or it was dropped: it is in no transaction, and the broker sends it again among the others."""
    _, buckets = committed(message(1), message(3), message(5))
    session = loaded(buckets.values())
    assert repeats(session, again(1), again(2), again(3), again(4), again(5), again(6), again(5)) == [1, 3, 5]
    session = loaded(buckets.values())
    assert repeats(session, again(1), message(2), again(3)) == [1], "a new one has no DUP"
    session = loaded(buckets.values())
    session.upwards = -1
    session.resume([message(1)], 1)
    assert repeats(session, again(1), again(2), again(3)) == [1], "the broker may have used its packet id again"


def test_what_is_not_committed_is_not_remembered() -> None:
    session = CommittedSession(WINDOW)
    session.prepare([message(1)])
    session.discard()
    session.resume([], 0)
    assert repeats(session, again(1)) == []
    assert session.prepare([]).keys() == {0}, "the bucket is written again, without the message"


def test_a_message_whose_acknowledgement_was_lost_is_recognised_later() -> None:
    session, _ = committed(message(1), message(2))
    session.resume([message(3)], 0)
    assert repeats(session, again(1), again(2), again(3), again(4)) == [1, 2, 3]


def test_a_message_of_an_earlier_connection_that_did_not_come_again_is_not_expected_any_more() -> None:
    """It has expired at the broker, which may have given its packet id to an equal message that was lost on the way."""
    session, expired, newer = CommittedSession(WINDOW), message(7), message(8)
    session.resume([expired], 8)
    assert repeats(session, newer) == []
    session.resume([expired, newer], 9)
    assert repeats(session, again(8), again(7)) == [8]


def test_all_messages_may_come_again_that_a_broker_has_sent_ahead() -> None:
    """Also above its Receive Maximum; of one that is older than that, another message may have the packet id now."""
    session = CommittedSession(WINDOW)
    for first in range(1, PACKET_IDS, 8_192):
        last = min(first + 8_191, PACKET_IDS)
        buckets = session.prepare([message(number) for number in range(first, last + 1)])
        session.commit()
    oldest = PACKET_IDS - session.most + 1
    assert buckets.keys() == {*range(first // BUCKET, max(ALL) + 1)}, "those that have changed"
    for expected, packet_id in ([], oldest - 1), ([oldest], oldest), ([PACKET_IDS], PACKET_IDS):
        session.resume([], 0)
        assert repeats(session, again(packet_id)) == expected


def test_where_a_broker_does_not_count_upwards_the_last_messages_may_come_again() -> None:
    """As many as it may have in flight, as an older packet id belongs to another message now."""
    session, _ = committed(*(message(number) for number in range(1, 301)), window=WINDOW)
    session.upwards = -1
    for expected, packet_id in ([], 200), ([201], 201):
        session.resume([message(7, offset=301)], 301)
        assert repeats(session, again(packet_id)) == expected
    session, _ = committed(message(300))
    session.upwards = -1
    session.resume([], 301)
    assert repeats(session, again(300)) == [], "the broker has perhaps read all acknowledgements"


def test_messages_that_were_on_disk_when_they_are_committed_push_out_no_newer_ones() -> None:
    """The newest by arrival are remembered, also by a new process."""
    session, *parts = CommittedSession(WINDOW), range(1, 101), range(101, 201)
    older, newer = ([message(number) for number in part] for part in parts)
    for part in (older, newer):
        session.note_saved(session.to_save(part))
    buckets: dict[int, bytes] = {}
    for part in (older[:50], older[50:]):
        buckets |= session.prepare(part)
        session.commit()
    for each in (session, loaded(buckets.values())):
        each.resume([], 200)
        assert repeats(each, *[again(number) for number in parts[1]]) == [*parts[1]]


def test_pubcomp_waits_for_a_commit_without_the_message() -> None:
    session, _ = committed(message(5, qos=2))
    session.released += [5, 9]
    session.release()
    assert (session.take_completed(), session.is_outdated) == ([], True)
    buckets = session.prepare([])
    session.discard()
    assert session.take_completed() == []
    assert session.prepare([]) == buckets
    session.commit()
    assert (session.take_completed(), session.is_outdated) == ([5, 9], False)
    assert loaded(buckets.values()).unreleased == {}


def test_a_released_message_that_comes_again_from_the_beginning_is_recognised() -> None:
    """Mosquitto 2.0 does that after a restart; the message must then have the same content, DUP and its place."""
    session, _ = committed(message(5, qos=2), message(6, qos=2))
    session.released += [5, 6]
    session.release()
    buckets = session.prepare([])
    session.commit()
    assert session.take_completed() == [5, 6]
    for each in (session, loaded(buckets.values())):
        each.resume([], 0)
        assert repeats(each, again(5, qos=2), message(6, b"new", qos=2, dup=True)) == [5]


def test_a_pubrel_that_comes_during_a_commit_waits_for_the_next() -> None:
    session, _ = committed(message(5, qos=2))
    session.prepare([])
    session.released.append(5)
    session.release()
    session.commit()
    assert (session.take_completed(), session.is_outdated) == ([], True)


def test_no_pubcomp_is_left_for_another_connection() -> None:
    session, _ = committed(message(5, qos=2))
    session.released.append(5)
    session.release()
    session.prepare([])
    session.suspend([])
    session.commit()
    assert session.take_completed() == []


def flood() -> tuple[CommittedSession, dict[int, bytes]]:
    """Let a broker use packet ids again that are taken: 1 to 65,535, and 5 for another message."""
    first = [message(number, qos=2) for number in range(1, PACKET_IDS + 1)]
    session, buckets = committed(*first)
    session.repeats([newer := message(5, b"newer", qos=2, offset=70_000)])
    buckets |= session.prepare([newer])
    session.commit()
    return session, buckets


def test_all_messages_of_a_packet_id_are_remembered_while_it_is_used_again_though_it_is_taken() -> None:
    session, buckets = flood()
    for each in (session, loaded(buckets.values())):
        each.resume([], 70_001)
        again_ = [again(5, qos=2), message(5, b"newer", qos=2, dup=True), message(5, b"newest", qos=2, dup=True)]
        assert each.repeats(again_) == again_[:2]


def test_a_pubrel_that_comes_again_is_not_for_a_newer_message_with_the_packet_id() -> None:
    """Its turn comes when older ones have been released; PUBCOMP was on its way when the connection ended."""
    session, buckets = flood()
    session.released.append(5)
    session.release()
    buckets |= session.prepare([])
    session.commit()
    assert session.take_completed() == [5]
    for each in (session, loaded(buckets.values())):
        each.resume([], 70_001)
        each.released.append(5)
        each.release()
        assert each.take_completed() == [5], "Kafka has forgotten it"
        assert repeats(each, message(5, b"newer", qos=2, dup=True)) == [5]


def test_a_message_of_qos_1_leaves_that_of_qos_2_with_its_packet_id() -> None:
    session, _ = committed(message(5, b"two", qos=2))
    session.prepare([message(5, b"one", offset=70_000)])
    session.commit()
    session.resume([], 70_001)
    assert repeats(session, message(5, b"two", qos=2, dup=True), message(5, b"one", dup=True)) == [5, 5]


def test_a_commit_completes_only_the_pubrel_that_it_contains() -> None:
    """The file has completed that one meanwhile, and the packet id belongs to another message."""
    session, _ = committed(message(5, qos=2))
    session.released.append(5)
    session.release()
    session.prepare([])
    save(session)
    assert session.take_completed() == [5]
    session.repeats([other := message(5, b"other", qos=2, offset=9)])
    save(session, other)
    session.released.append(5)
    session.release()
    session.commit()
    assert (session.take_completed(), session.is_outdated) == ([], True)


def test_a_session_that_the_broker_has_lost_voids_the_buckets() -> None:
    session, buckets = committed(message(1), message(2, qos=2))
    session.clear()
    assert (session.number, session.is_outdated) == (1, True)
    assert repeats(loaded(buckets.values(), session.number), again(1), again(2, qos=2)) == []


def test_the_file_has_the_whole_state() -> None:
    """What is on disk is remembered as well, and goes to Kafka with the next transaction."""
    session, _ = committed(message(1), message(2, qos=2))
    session.repeats([message(4, qos=2)])
    saved = session.to_save([message(300), message(4, qos=2)])
    session.note_saved(saved)
    after = CommittedSession(WINDOW)
    after.restore(saved)
    after.resume([], 0)
    assert repeats(after, again(2, qos=2), again(4, qos=2), again(1), again(300)) == [2, 4, 1, 300]
    assert session.prepare([]).keys() == {0, 300 // BUCKET}
    assert after.prepare([]).keys() == {0, 300 // BUCKET}


def test_the_file_gets_the_buckets_that_have_changed() -> None:
    """Since it was written; a new file, or one that is older than Kafka's state, gets all of them."""
    session, _ = committed(message(1))
    assert save(session, message(300)).keys() == ALL
    assert save(session, message(301)).keys() == {301 // BUCKET}
    session.prepare([message(500)])
    session.commit()
    assert save(session).keys() == {500 // BUCKET}
    assert save(session).keys() == set()
    session.forget()
    assert save(session).keys() == ALL
    session.load(0, [])
    assert save(session).keys() == ALL
    session.to_save([message(9)])
    assert save(session, message(9)).keys() == {0}, "the disk was full"


def test_a_message_that_is_saved_is_not_hashed_again() -> None:
    """Each reading of an outage goes through the file, and then through Kafka."""
    session, entry = CommittedSession(WINDOW), message(1)
    save(session, entry)
    entry.reading = Reading("a", b"a/b", b"other", 0, 1)
    session.prepare([entry])
    session.commit()
    session.resume([], 0)
    assert repeats(session, again(1)) == [1]


def test_the_file_of_an_older_version_is_read() -> None:
    """It had all packet ids in one text."""
    seen = {"1": [7, digest(message(1).reading).hex()], "2": [8, digest(message(2, qos=2).reading).hex()]}
    session = CommittedSession(WINDOW)
    session.restore({"number": 3, "seen": seen, "unreleased": [2], "buckets": {}})
    assert (session.number, {*session.unreleased}, session.next_offset) == (3, {2}, 9)
    assert save(session).keys() == ALL
    session.resume([], 9)
    assert repeats(session, again(1), again(2, qos=2), again(3)) == [1, 2]


def test_a_message_that_was_released_while_its_commit_was_under_way_stays_released() -> None:
    """The file had it meanwhile, so it was acknowledged. Else a new message with its packet id would be dropped."""
    session, entry = CommittedSession(WINDOW), message(5, qos=2)
    session.repeats([entry])
    session.prepare([entry])
    save(session, entry)
    session.released.append(5)
    session.release()
    save(session)
    assert session.take_completed() == [5]
    session.commit()
    assert loaded(session.prepare([]).values()).unreleased == {}


class CommittedSessionMachine(GatewayMachine):
    """Links break, the process is killed around its commits, the broker loses the session.

    Nothing is lost, and nothing is stored twice but after a lost session. The broker counts packet ids upwards: a new
    process cannot know another one.
    """

    kinds: tuple[str, ...] = (UPWARDS,)
    session: CommittedSession

    def make(self) -> CommittedSession:
        session = CommittedSession(WINDOW)
        if self.saved:
            session.load(self.saved["number"], self.saved["buckets"].values())
        return session

    def make_safe(self, count: int) -> None:
        """Commit; with a count of 2 abort; with 3 die after the commit, before anybody knows."""
        logged = [each for each in self.log[:count] if not each.is_safe and not each.is_repeat]
        buckets = self.session.prepare([each.entry for each in logged if each.entry.packet_id])
        if count == ABORT:
            self.session.discard()
            return
        former = (self.saved or {"buckets": {}})["buckets"]
        self.saved = {"number": self.session.number, "buckets": former | buckets}
        if count == DIE:
            self.stored += [each.number for each in logged]
            self.start()
            return
        self.session.commit()
        self.become_safe(self.log[:count])

    def save_what_is_due(self) -> None:
        """Do nothing: a transaction writes it."""

    def persist(self, most: int) -> None:
        """Do nothing: the file is tested by itself."""


class CommittedFloodMachine(CommittedSessionMachine):
    """The same with Mosquitto 2.0.11 and a backlog."""

    kinds = (FLOOD,)


TestCommittedFloodMachine = CommittedFloodMachine.TestCase
TestCommittedFloodMachine.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
TestCommittedSessionMachine = CommittedSessionMachine.TestCase
TestCommittedSessionMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
