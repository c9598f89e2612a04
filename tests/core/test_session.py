"""Which messages are repeats: facts one by one, then a broker that loses connections, acknowledgements and sessions."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.core.session import Session, digest


def message(packet_id: int, payload: bytes = b"{}", *, qos: int = 1, dup: bool = False, topic: bytes = b"a/b") -> Entry:
    """Make a message as it arrives."""
    return Entry(Reading("a", topic, payload, 0, qos, dup=dup), None, packet_id, offset=packet_id + 100)


def resumed(*held: Entry) -> Session:
    """Make a session whose client returned to it with messages that are not acknowledged."""
    session = Session()
    session.resume(held)
    return session


def ids(entries: list[Entry]) -> list[int]:
    return [entry.packet_id for entry in entries]


HELD = [message(7, b"1"), message(8, b"2"), message(9, b"3")]


def test_repeats_are_the_held_messages_in_front_of_the_first_new_one() -> None:
    session = resumed(*HELD)
    again = [message(7, b"1", dup=True), message(8, b"2", dup=True), message(10, b"4"), message(9, b"3", dup=True)]
    assert session.must_look
    assert ids(session.repeats(again)) == [7, 8]
    assert not session.must_look, "nothing comes again behind a new message"


@pytest.mark.parametrize(
    "other",
    [
        message(7, b"1"),  # not marked as sent before
        message(6, b"1", dup=True),  # another packet id
        message(7, b"x", dup=True),  # other content
        message(7, b"1", dup=True, topic=b"a/c"),
        message(7, b"", dup=True, topic=b"a/b1"),
        message(7, b"1", qos=2, dup=True),
    ],
)
def test_a_message_that_differs_is_new_and_ends_the_repeats(other: Entry) -> None:
    session = resumed(*HELD)
    assert session.repeats([other, message(8, b"2", dup=True)]) == []


def test_dup_alone_drops_nothing() -> None:
    session = resumed()
    assert not session.must_look
    assert session.repeats([message(7, dup=True), message(8, dup=True)]) == []


def test_qos_0_does_not_end_the_repeats() -> None:
    assert ids(resumed(*HELD).repeats([message(0, qos=0), message(7, b"1", dup=True)])) == [7]


def test_a_message_that_was_dropped_without_a_trace_does_not_end_the_repeats() -> None:
    """The bridge frees the reading of a message that no stream wants; when it comes again it is dropped again."""
    dropped = Entry(Reading("", b"", b"", 0, 1), None, 6)
    session = resumed(dropped, *HELD)
    assert ids(session.repeats([message(6, b"?", dup=True), message(7, b"1", dup=True)])) == [7]


def test_repeats_go_on_over_several_connections() -> None:
    """A connection that ends while the broker sends again leaves the rest for the next one."""
    session = resumed(*HELD)
    first = message(7, b"1", dup=True)
    assert ids(session.repeats([first])) == [7]
    session.resume([first])
    assert ids(session.repeats([message(number, b"%d" % (number - 6), dup=True) for number in (7, 8, 9)])) == [7, 8, 9]


def test_what_a_closed_connection_acknowledges_late_is_held() -> None:
    session = Session()
    session.unacknowledged.append(message(7, b"1"))
    session.resume([])
    assert ids(session.repeats([message(7, b"1", dup=True)])) == [7]


def test_clear_forgets_everything() -> None:
    session = resumed(*HELD)
    session.repeats([message(3, qos=2)])
    session.released.append(4)
    session.clear()
    assert session.repeats([message(7, b"1", dup=True), message(3, qos=2, dup=True)]) == []
    assert session.take_completed() == []


# --- QoS 2 -----------------------------------------------------------------------------------------------------------


def test_a_qos_2_message_is_a_repeat_until_it_is_released() -> None:
    """Whatever it contains and wherever it comes: its packet id is taken."""
    session = Session()
    session.uses_qos_2 = True
    assert session.repeats([message(5, b"1", qos=2), message(6, b"2", qos=2)]) == []
    assert ids(session.repeats([message(7), message(5, b"changed", qos=2)])) == [5]
    session.released.append(5)
    session.release()
    assert session.take_completed() == [5]
    assert session.repeats([message(5, b"1", qos=2, dup=True)]) == []


def test_pubcomp_waits_until_the_file_has_forgotten_the_message() -> None:
    session = Session()
    session.repeats([message(5, qos=2), message(6, qos=2)])
    session.note_saved(session.to_save([]))
    session.released += [5, 9]
    session.release()
    assert (session.take_completed(), session.is_outdated) == ([], True)
    saved = session.to_save(None)
    assert saved == {"unreleased": [6]}
    session.note_saved(saved)
    assert (session.take_completed(), session.is_outdated) == ([5, 9], False)


# --- the file --------------------------------------------------------------------------------------------------------


def test_restore_continues_what_was_saved() -> None:
    """Messages with a row, by its offset: the digest is that of the row; one without a row is not held."""
    session = Session()
    session.repeats([message(4, qos=2)])
    session.resume(HELD[:1])
    session.unacknowledged.append(HELD[1])
    rows = {entry.offset: entry.reading for entry in HELD[:2]}
    after, saved = Session(), json.loads(json.dumps(session.to_save([HELD[2], message(3, qos=2)])))
    after.restore(saved, rows.get)
    after.resume([])
    again = [
        message(4, b"x", qos=2),
        message(7, b"1", dup=True),
        message(8, b"2", dup=True),
        message(9, b"3", dup=True),
    ]
    assert ids(after.repeats(again)) == [4, 7, 8]


def test_a_write_of_less_than_the_whole_log_saves_no_message() -> None:
    """Only messages that are safe may be in the file, else one that comes again after a crash would be lost."""
    session = resumed(*HELD)
    session.repeats([message(4, qos=2)])
    assert session.to_save(None) == {"unreleased": []}


def test_the_file_is_outdated_when_the_repeats_have_ended() -> None:
    session = resumed(*HELD)
    session.note_saved(session.to_save([]))
    assert (session.is_saved, session.is_outdated) == (True, False)
    session.repeats([message(10)])
    assert session.is_outdated
    session.note_saved(session.to_save(None))
    assert not session.is_saved


@pytest.mark.parametrize("saved", [{}, {"unreleased": 1}, {"unreleased": [], "held": {"x": 1}}, {"unreleased": [[]]}])
def test_restore_of_something_else_leaves_the_session_empty(saved: dict[str, Any]) -> None:
    session = Session()
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        session.restore(saved, lambda _offset: None)
    assert (session.held, session.unreleased) == ({}, set())


def test_digest_is_of_topic_payload_and_qos() -> None:
    one = Reading("a", b"t", b"p", 1, 1)
    assert digest(one) == digest(Reading("a", b"t", b"p", 2, 1, dup=True, properties=b"x"))
    others = [
        Reading("a", b"tp", b"", 1, 1),
        Reading("a", b"t", b"q", 1, 1),
        Reading("a", b"t", b"p", 1, 2),
        Reading("a", b"t", b"p", 1, 1, size=9, sha256=b"s"),
    ]
    assert len({digest(each) for each in (one, *others)}) == 5


# --- a broker --------------------------------------------------------------------------------------------------------


@dataclass
class Sent:
    """A message as the broker has it."""

    packet_id: int
    payload: bytes
    qos: int
    number: int
    is_dup: bool = False
    is_received: bool = False  # PUBREC has come: only PUBREL is sent again


@dataclass
class Logged:
    """A message as the gateway has it."""

    entry: Entry
    number: int
    connection: int
    is_repeat: bool


class SessionMachine(RuleBasedStateMachine):
    """Links break with acknowledgements on them, the process is killed: nothing is lost, and nothing is stored twice.

    After a kill, messages whose acknowledgement was lost may be stored twice. Payloads and packet ids have few values,
    so that equal ones are frequent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.offset = 0
        self.unsettled: list[Sent] = []  # of the broker, in order
        self.on_link: list[Sent] = []  # sent, not read yet
        self.to_broker: list[tuple[str, Entry]] = []  # acknowledgements on their way
        self.delivered: list[int] = []  # numbers
        self.rows: dict[int, Logged] = {}  # on disk
        self.saved: dict[str, Any] = {}  # likewise
        self.may_repeat: set[int] = set()  # numbers
        self.start()

    def start(self) -> None:
        self.session = Session()
        if self.saved:
            readings = {offset: each.entry.reading for offset, each in self.rows.items()}
            self.session.restore(self.saved, readings.get)
        self.log: list[Logged] = []
        self.connection = 0
        self.connect()

    def connect(self) -> None:
        self.connection += 1
        self.on_link.clear()
        self.session.resume([each.entry for each in self.log])
        for each in self.unsettled:
            each.is_dup = True
            if each.is_received:
                self.session.released.append(each.packet_id)
            else:
                self.on_link.append(each)

    @rule(payload=st.sampled_from([b"0", b"1"]), qos=st.sampled_from([1, 2]), count=st.integers(1, 5))
    def publish(self, payload: bytes, qos: int, count: int) -> None:
        for _ in range(count):
            self.number += 1
            packet_id = self.number % 40 + 1
            if any(each.packet_id == packet_id for each in self.unsettled):
                self.number -= 1
                return
            self.unsettled.append(Sent(packet_id, payload, qos, self.number))
            self.on_link.append(self.unsettled[-1])

    @rule(count=st.integers(1, 8))
    def read(self, count: int) -> None:
        taken, self.on_link = self.on_link[:count], self.on_link[count:]
        entries = []
        for each in taken:
            self.offset += 1
            reading = Reading("a", b"t", each.payload, 0, each.qos, dup=each.is_dup)
            entries.append(Entry(reading, None, each.packet_id, self.offset))
            self.session.uses_qos_2 |= each.qos == 2
        repeats = {entry.offset for entry in self.session.repeats(entries)} if self.session.must_look else set()
        self.session.release()
        for each, entry in zip(taken, entries, strict=True):
            self.log.append(Logged(entry, each.number, self.connection, entry.offset in repeats))
        if self.session.is_outdated:
            self.save(self.session.to_save(None))

    @rule(count=st.integers(1, 8))
    def deliver(self, count: int) -> None:
        """Kafka has the next messages."""
        self.delivered += [each.number for each in self.log[:count] if not each.is_repeat]
        self.acknowledge(count)

    @rule()
    def persist(self) -> None:
        """The disk has all messages."""
        self.save(self.session.to_save([each.entry for each in self.log]))
        self.rows |= {each.entry.offset: each for each in self.log}
        self.acknowledge(len(self.log))

    def save(self, state: dict[str, Any]) -> None:
        self.saved = json.loads(json.dumps(state))
        self.session.note_saved(self.saved)

    def acknowledge(self, count: int) -> None:
        for each in self.log[:count]:
            if each.connection == self.connection:
                self.to_broker.append(("PUBACK" if each.entry.reading.qos == 1 else "PUBREC", each.entry))
            else:
                self.session.unacknowledged.append(each.entry)
        del self.log[:count]
        self.to_broker += [("PUBCOMP", message(packet_id)) for packet_id in self.session.take_completed()]

    @rule(count=st.integers(1, 8))
    def arrive(self, count: int) -> None:
        """The broker handles acknowledgements; it answers PUBREC with PUBREL."""
        taken, self.to_broker = self.to_broker[:count], self.to_broker[count:]
        for kind, entry in taken:
            for each in [one for one in self.unsettled if one.packet_id == entry.packet_id]:
                if kind == "PUBREC":
                    each.is_received = True
                    self.session.released.append(each.packet_id)
                else:
                    self.unsettled.remove(each)

    @rule()
    def cut(self) -> None:
        self.session.suspend([entry for kind, entry in self.to_broker if kind != "PUBCOMP"])
        self.to_broker.clear()
        self.connect()

    @rule()
    def kill(self) -> None:
        self.may_repeat |= set(self.stored())
        self.to_broker.clear()
        self.start()

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        repeated = {number for number, times in Counter(self.stored()).items() if times > 1}
        assert repeated <= self.may_repeat

    def stored(self) -> list[int]:
        return [*self.delivered, *(each.number for each in self.rows.values() if not each.is_repeat)]

    def teardown(self) -> None:
        for _ in range(3):
            self.read(1_000)
            self.deliver(1_000)
            self.arrive(1_000)
        assert not self.unsettled
        assert set(self.stored()) == set(range(1, self.number + 1))


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
