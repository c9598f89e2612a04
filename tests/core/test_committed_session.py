"""What a session remembers by commits: nothing before them, everything of them after a crash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.committed_session import BUCKET, CommittedSession
from gateway.core.entry import Entry
from gateway.core.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW = 100


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
    session.resume([])
    return session


def repeats(session: CommittedSession, *entries: Entry) -> list[int]:
    return [entry.packet_id for entry in session.repeats(entries)]


def test_a_new_process_knows_what_kafka_has() -> None:
    """QoS 1 by packet id, content, DUP and place; QoS 2 by the packet id."""
    _, buckets = committed(message(1), message(200), message(2, qos=2))
    assert buckets.keys() == {0, 200 // BUCKET}
    assert repeats(loaded(buckets.values()), again(2, qos=2), again(1), again(200), again(3), again(1)) == [2, 1, 200]


def test_what_is_not_committed_is_not_remembered() -> None:
    session = CommittedSession(WINDOW)
    session.prepare([message(1)])
    session.discard()
    session.resume([])
    assert repeats(session, again(1)) == []
    assert session.prepare([]).keys() == {0}, "the bucket is written again, without the message"


def test_a_message_whose_acknowledgement_was_lost_is_recognised_later() -> None:
    session, _ = committed(message(1), message(2))
    session.resume([message(3)])
    assert repeats(session, again(1), again(2), again(3), again(4)) == [1, 2, 3]


def test_only_the_last_messages_are_remembered() -> None:
    """As many as the broker may have in flight: an older packet id belongs to another message now."""
    session, buckets = committed(*(message(number) for number in range(1, 301)), window=WINDOW)
    session.resume([])
    assert repeats(session, again(200)) == []
    session.resume([])
    assert repeats(session, again(201)) == [201]
    assert repeats(loaded(buckets.values()), again(200)) == []
    assert repeats(loaded(buckets.values()), again(201)) == [201]


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
    assert loaded(buckets.values()).unreleased == set()


def test_a_released_message_that_comes_again_from_the_beginning_is_recognised() -> None:
    """Mosquitto 2.0 does that after a restart; the message must then have the same content, DUP and its place."""
    session, _ = committed(message(5, qos=2), message(6, qos=2))
    session.released += [5, 6]
    session.release()
    buckets = session.prepare([])
    session.commit()
    assert session.take_completed() == [5, 6]
    for each in (session, loaded(buckets.values())):
        each.resume([])
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


def test_a_session_that_the_broker_has_lost_voids_the_buckets() -> None:
    session, buckets = committed(message(1), message(2, qos=2))
    session.clear()
    assert (session.number, session.is_outdated) == (1, True)
    assert repeats(loaded(buckets.values(), session.number), again(1), again(2, qos=2)) == []


def test_the_file_has_the_whole_state() -> None:
    """What is on disk is remembered as well, and goes to Kafka with the next transaction."""
    session, _ = committed(message(1), message(2, qos=2))
    session.repeats([message(4, qos=2)])
    saved = json.loads(json.dumps(session.to_save([message(300), message(4, qos=2)])))
    session.note_saved(saved)
    after = CommittedSession(WINDOW)
    after.restore(saved, lambda _offset: None)
    after.resume([])
    assert repeats(after, again(2, qos=2), again(4, qos=2), again(1), again(300)) == [2, 4, 1, 300]
    assert session.prepare([]).keys() == {0, 300 // BUCKET}
    assert after.prepare([]).keys() == {0, 300 // BUCKET}


class CommitMachine(RuleBasedStateMachine):
    """Messages, commits, crashes and releases: the next process knows exactly what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.session = CommittedSession(1_000)
        self.kafka: dict[int, bytes] = {}
        self.number = 0
        self.received: list[Entry] = []
        self.safe: dict[int, int] = {}  # packet id -> QoS

    @rule(qos=st.sampled_from([1, 2]), count=st.integers(1, 5))
    def receive(self, qos: int, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.received.append(message(self.number, qos=qos))
        self.session.repeats(self.received[-count:])

    @rule(count=st.integers(0, 6), is_committed=st.booleans())
    def transact(self, count: int, is_committed: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        entries, rest = self.received[:count], self.received[count:]
        buckets = self.session.prepare(entries)
        if not is_committed:
            self.session.discard()
            return
        self.kafka |= buckets
        self.session.commit()
        self.received = rest
        self.safe |= {entry.packet_id: entry.reading.qos for entry in entries}
        for packet_id in self.session.take_completed():
            del self.safe[packet_id]

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        open_ids = [each for each, qos in self.safe.items() if qos == 2 and each in self.session.unreleased]
        if open_ids:
            self.session.released.append(data.draw(st.sampled_from(open_ids)))
            self.session.release()

    @invariant()
    def kafka_has_what_is_safe(self) -> None:
        after = loaded(self.kafka.values())
        assert after.unreleased == {packet_id for packet_id, qos in self.safe.items() if qos == 2}
        assert after.held.keys() >= self.safe.keys()
        assert not after.held.keys() & {entry.packet_id for entry in self.received}


TestCommitMachine = CommitMachine.TestCase
TestCommitMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
