"""Which messages are repeats: facts one by one, then a broker that loses connections, acknowledgements and sessions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings

from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.core.session import NEEDED, PACKET_IDS, UNKNOWN, Session, digest
from tests.core.broker_model import FLOOD, LOWEST, UPWARDS, GatewayMachine


def message(packet_id: int, payload: bytes = b"{}", *, qos: int = 1, dup: bool = False, topic: bytes = b"a/b") -> Entry:
    """Make a message as it arrives."""
    return Entry(Reading("a", topic, payload, 0, qos, dup=dup), None, packet_id, offset=packet_id + 100)


def resumed(*held: Entry) -> Session:
    """Make a session whose client returned to it with messages that are not acknowledged."""
    session = Session()
    session.resume(held, 0)
    return session


def counting() -> Session:
    """Make a session of a broker that was seen to count packet ids upwards."""
    session = Session()
    session.upwards = NEEDED
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
    dropped = Entry(Reading("", b"", b"", 0, 1), None, 6, offset=106)
    session = resumed(dropped, *HELD)
    assert ids(session.repeats([message(6, b"?", dup=True), message(7, b"1", dup=True)])) == [7]


def test_repeats_go_on_over_several_connections() -> None:
    """A connection that ends while the broker sends again leaves the rest for the next one."""
    session = resumed(*HELD)
    first = message(7, b"1", dup=True)
    assert ids(session.repeats([first])) == [7]
    session.resume([first], 0)
    assert ids(session.repeats([message(number, b"%d" % (number - 6), dup=True) for number in (7, 8, 9)])) == [7, 8, 9]


def test_what_a_closed_connection_acknowledges_late_is_held() -> None:
    """Until the client has returned: then it is in the log, and comes again on the new connection."""
    session = Session()
    late = session.unacknowledged
    late.append(message(7, b"1"))
    session.resume([], 0)
    assert ids(session.repeats([message(7, b"1", dup=True)])) == [7]
    late.append(message(8, b"2"))
    session.resume([], 0)
    assert session.repeats([message(8, b"2", dup=True)]) == []


def test_repeats_come_in_order() -> None:
    """A message that should have come earlier is another one."""
    assert ids(resumed(*HELD).repeats([message(8, b"2", dup=True), message(7, b"1", dup=True)])) == [8]


def test_nothing_is_a_repeat_behind_the_newest_message() -> None:
    session = resumed(*HELD)
    assert ids(session.repeats([message(9, b"3", dup=True), message(9, b"3", dup=True)])) == [9]
    assert not session.must_look


# --- which acknowledgements the broker has read ----------------------------------------------------------------------


def test_acknowledged_messages_may_come_again_while_one_is_not_acknowledged() -> None:
    """The broker sends that one before any new message."""
    session = Session()
    session.unread += HELD[:2]
    session.resume(HELD[2:], 0)
    assert ids(session.repeats([message(number, b"%d" % (number - 6), dup=True) for number in (7, 8, 9)])) == [7, 8, 9]


def test_acknowledged_messages_may_only_come_again_from_a_broker_that_counts_packet_ids_upwards() -> None:
    for session, expected in ((Session(), []), (counting(), [7])):
        session.unread.append(HELD[0])
        session.resume([], 0)
        assert ids(session.repeats([message(7, b"1", dup=True)])) == expected


def test_acknowledged_messages_may_only_come_again_on_the_next_connection() -> None:
    """Later, one with DUP may have been sent in between for the first time."""
    session = counting()
    session.unread.append(HELD[0])
    session.resume([], 0)
    session.resume([], 0)
    assert session.repeats([message(7, b"1", dup=True)]) == []


@pytest.mark.parametrize(
    ("packet_ids", "expected"),
    [([10, 11], True), ([65_535, 4], True), ([10], False), ([10, 10], False), ([10, 9], False), ([10, 30_000], False)],
)
def test_a_broker_that_counts_upwards_is_known_by_its_next_packet_ids(packet_ids: list[int], expected: bool) -> None:  # noqa: FBT001
    """Each comes after the broker has read all acknowledgements before: it has those packet ids free."""
    session, last = Session(), 9 if packet_ids[0] == 10 else 65_530
    for packet_id in packet_ids:
        session.note_read([message(last)], 1)
        assert session.must_look
        session.repeats([message(last), message(0, qos=0), message(1, dup=True), message(packet_id)])
        last = packet_id
    assert session.counts_upwards is expected


def test_the_packet_ids_of_qos_2_are_not_free_when_pubrec_is_read() -> None:
    session = Session()
    session.note_read([message(5, qos=2)], 0)
    assert not session.must_look


def test_the_file_forgets_what_the_broker_has_read() -> None:
    session = counting()
    session.unread += HELD[:1]
    session.note_saved(session.to_save(HELD[1:]))
    session.note_read(HELD[:2], 0)
    assert not session.is_outdated
    session.note_read(HELD[2:], 0)
    assert session.is_outdated


def test_clear_forgets_everything() -> None:
    session = resumed(*HELD)
    session.repeats([message(3, qos=2)])
    session.released.append(4)
    session.clear()
    assert session.repeats([message(7, b"1", dup=True), message(3, qos=2, dup=True)]) == []
    assert session.take_completed() == []


# --- QoS 2 -----------------------------------------------------------------------------------------------------------


def test_a_qos_2_message_is_a_repeat_until_it_is_released() -> None:
    """Wherever it comes, and without DUP: its packet id is taken."""
    session = Session()
    session.uses_qos_2 = True
    assert session.repeats([message(5, b"1", qos=2), message(6, b"2", qos=2)]) == []
    again = [message(7), message(5, b"1", qos=2)]
    assert session.repeats(again) == again[1:]
    session.released.append(5)
    session.release()
    assert session.take_completed() == [5]
    assert session.repeats([message(5, b"1", qos=2, dup=True)]) == []


def test_another_qos_2_message_with_a_packet_id_that_is_taken_is_new() -> None:
    """Mosquitto 2.0.11 sends some when more messages wait than there are packet ids."""
    session = Session()
    session.uses_qos_2 = True
    assert session.repeats([message(5, b"1", qos=2), message(5, b"2", qos=2), message(5, b"3", qos=2)]) == []
    session.resume([], 0)
    assert ids(session.repeats([message(5, b"3", qos=2, dup=True)])) == [5]


def flooded(session: Session) -> Session:
    """Let a broker use packet ids again that are taken: 5 is, and half of all others have come since."""
    session.uses_qos_2 = True
    session.repeats([message(number, qos=2) for number in range(5, PACKET_IDS // 2 + 6)])
    return session


def test_a_message_with_a_packet_id_that_was_taken_long_ago_is_new_though_it_is_equal() -> None:
    """No broker sends one again on the same connection after so many others."""
    assert flooded(Session()).repeats([message(5, qos=2), message(5, b"2", qos=2)]) == []


def test_each_message_with_the_same_packet_id_is_a_repeat_once_when_the_client_has_returned() -> None:
    """In order: an equal one is another."""
    session = flooded(Session())
    session.repeats([message(5, qos=2)])
    session.resume([], 0)
    session.repeats([message(number, b"new", qos=2) for number in range(40_000, 40_010)])
    again = [message(5, qos=2, dup=True), message(5, qos=2, dup=True), message(5, b"2", qos=2, dup=True)]
    assert session.repeats(again) == again[:2]


def test_a_message_that_comes_again_on_the_same_connection_needs_no_other_acknowledgement() -> None:
    """A PUBREC behind the PUBCOMP of the first would be taken for the one of the next message with the packet id."""
    session = Session()
    session.repeats([message(5, qos=2)])
    again = message(5, qos=2, dup=True)
    assert session.repeats([again]) == [again]
    assert (again.packet_id, session.retransmitted) == (0, [5])


def test_the_file_has_no_message_that_is_not_in_the_log_yet() -> None:
    """A line of a telegram that is not complete: the broker sends it again."""
    session = Session()
    session.repeats([message(5, qos=2), message(6, qos=2)])
    session.gathering = {6}
    assert session.to_save([message(5, qos=2)])["unreleased"].keys() == {5}
    session.forget_arrival(message(6, qos=2))
    session.resume([], 0)
    assert session.repeats([message(6, qos=2, dup=True)]) == []


def test_the_file_forgets_the_packet_ids_of_a_session_that_the_broker_has_lost() -> None:
    session = Session()
    session.repeats([message(5, qos=2)])
    session.note_saved(session.to_save([]))
    session.clear()
    assert session.is_outdated
    assert session.to_save(None)["unreleased"] == {}


def test_a_pubrel_is_for_the_oldest_message_of_its_packet_id() -> None:
    session = flooded(Session())
    session.repeats([message(5, b"2", qos=2)])
    session.resume([], 0)
    session.released.append(5)
    session.release()
    again = [message(5, b"2", qos=2, dup=True), message(5, qos=2, dup=True)]
    assert session.repeats(again) == again[:1]


def test_the_file_forgets_the_oldest_message_of_a_packet_id() -> None:
    """PUBCOMP waits for that, and only once."""
    session = flooded(Session())
    session.repeats([message(5, b"2", qos=2)])
    session.note_saved(session.to_save([]))
    session.released.append(5)
    assert session.take_completed() == []
    saved = session.to_save(None)
    session.note_saved(saved)
    assert (session.take_completed(), session.take_completed()) == ([5], [])
    after = Session()
    after.restore(json.loads(json.dumps(saved)))
    after.resume([], 0)
    again = [message(5, qos=2, dup=True), message(5, b"2", qos=2, dup=True)]
    assert after.repeats(again) == again[1:]


def test_a_pubrel_comes_again_when_the_connection_ends_before_pubcomp() -> None:
    session = flooded(Session())
    session.repeats([message(5, b"2", qos=2)])
    session.note_saved(session.to_save([]))
    for _ in range(2):
        session.released.append(5)
        session.release()
        session.suspend([])
        session.resume([], 0)
    again = [message(5, qos=2, dup=True), message(5, b"2", qos=2, dup=True)]
    assert session.repeats(again) == again, "the file has both"


def test_the_file_has_the_message_of_a_packet_id_that_is_safe_not_a_newer_one() -> None:
    session = Session()
    session.repeats([message(5, b"1", qos=2)])
    session.note_saved(session.to_save([message(5, b"1", qos=2)]))
    session.repeats([message(5, b"2", qos=2)])
    after = Session()
    after.restore(json.loads(json.dumps(session.to_save(None))))
    again = [message(5, b"1", qos=2, dup=True), message(5, b"2", qos=2, dup=True)]
    assert after.repeats(again) == again[:1]


def test_pubcomp_waits_until_the_file_has_forgotten_the_message() -> None:
    session = Session()
    session.repeats([message(5, qos=2), message(6, qos=2)])
    session.note_saved(session.to_save([]))
    session.released += [5, 9]
    session.release()
    assert (session.take_completed(), session.is_outdated) == ([9], True)
    saved = session.to_save(None)
    assert saved["unreleased"].keys() == {6}
    session.note_saved(saved)
    assert (session.take_completed(), session.is_outdated) == ([5], False)


# --- the file --------------------------------------------------------------------------------------------------------


def test_restore_continues_what_was_saved() -> None:
    """What may not have been read or sent, and what is safe by the write; not when the broker may use the ids again."""
    session = counting()
    session.repeats([message(4, qos=2)])
    session.unread.append(HELD[0])
    session.unacknowledged.append(HELD[1])
    saved = json.loads(json.dumps(session.to_save([HELD[2], message(3, qos=2)])))
    again = [message(4, qos=2), *[message(number, b"%d" % (number - 6), dup=True) for number in (7, 8, 9)]]
    for upwards, expected in ((NEEDED, [4, 7, 8, 9]), (0, [4])):
        after = Session()
        after.restore(saved | {"upwards": upwards})
        after.resume([], 0)
        assert ids(after.repeats(again)) == expected


def test_restore_of_an_older_version_keeps_what_is_not_released() -> None:
    session = Session()
    session.restore({"held": {"7": 107}, "unreleased": [5]})
    assert (session.unreleased, session.uses_qos_2) == ({5: (UNKNOWN,)}, True)
    assert ids(session.repeats([message(5, b"any", qos=2), message(5, b"another", qos=2)])) == [5]


def test_a_write_of_less_than_the_whole_log_saves_no_message() -> None:
    """Only messages that are safe may be in the file, else one that comes again after a crash would be lost."""
    session = resumed(*HELD)
    session.repeats([message(4, qos=2)])
    assert session.to_save(None) == {"unread": {}, "unreleased": {}, "upwards": 0}


def test_the_file_is_outdated_when_the_repeats_have_ended() -> None:
    session = resumed(*HELD)
    session.note_saved(session.to_save([]))
    assert (session.is_saved, session.is_outdated) == (True, False)
    session.repeats([message(10)])
    assert session.is_outdated
    session.note_saved(session.to_save(None))
    assert not session.is_saved


@pytest.mark.parametrize(
    "saved", [{}, {"unreleased": 1}, {"unreleased": [], "unread": {"x": 1}, "upwards": 9}, {"unreleased": [[]]}]
)
def test_restore_of_something_else_leaves_the_session_empty(saved: dict[str, Any]) -> None:
    session = Session()
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        session.restore(saved)
    assert (session.held, session.unreleased) == ({}, {})


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


class SessionMachine(GatewayMachine):
    """Links break with acknowledgements on them, the process is killed, the broker loses the session.

    Nothing is lost; and if the broker counts packet ids upwards nothing is stored twice, but after a kill, a lost
    session, or a connection that brought nothing.
    """

    kinds: tuple[str, ...] = (UPWARDS, LOWEST)

    def make(self) -> Session:
        session = Session()
        session.upwards = NEEDED if self.broker.ids == UPWARDS else 0
        if self.saved:
            session.restore(self.saved)
        return session

    def save(self, in_log: list[Entry] | None) -> None:
        saved = self.session.to_save(in_log)
        self.saved = json.loads(json.dumps(saved))
        self.session.note_saved(saved)

    def save_what_is_due(self) -> None:
        if self.session.is_outdated:
            self.save(None)

    def resume(self, *, is_present: bool) -> None:
        if self.session.held and not self.session._is_sure:  # noqa: SLF001 - only the next connection counts
            self.may_repeat |= set(self.stored)
        super().resume(is_present=is_present)
        if not is_present and self.broker.ids == UPWARDS:
            self.session.upwards = NEEDED  # as if it had been seen already

    def persist(self, _most: int) -> None:
        self.save([each.entry for each in self.log if each.entry.packet_id])
        self.become_safe(list(self.log))

    def make_safe(self, count: int) -> None:
        self.become_safe(self.log[:count])
        self.save(None) if count == 1 else self.save_what_is_due()

    def kill(self) -> None:
        self.may_repeat |= set(self.stored)
        super().kill()


class FloodMachine(SessionMachine):
    """The same with Mosquitto 2.0.11 and a backlog."""

    kinds = (FLOOD,)


TestFloodMachine = FloodMachine.TestCase
TestFloodMachine.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
