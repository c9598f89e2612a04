"""What a new process takes from Kafka, and what from its own file."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from gateway.core.committed_session import CommittedSession
from gateway.core.entry import Entry
from gateway.core.ledger import Ledger
from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.core.session import Session
from gateway.errors import TakenOverError
from gateway.spool.committed_state import MOST_RANGES, CommittedState
from gateway.spool.file import SpoolFile
from gateway.spool.lane import Lane
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

KEY = "gateway@broker"


class Connection:
    """A connection of a session."""

    def __init__(self, session: object) -> None:
        self.session = session
        self.acknowledge: Callable[[Iterable[Entry]], None] = lambda _entries: None


class Process:
    """A process with its spool and session, and what it commits to Kafka.

    Args:
        folder: of the spool.
        kafka: records by name; commits go there.
        name: of the process.
        transactional_id: its id.
        keys: its sessions; messages come from the first.
    """

    def __init__(
        self,
        folder: Path,
        kafka: dict[str, bytes],
        name: str,
        transactional_id: str = "gateway",
        keys: tuple[str, ...] = (KEY,),
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.file = SpoolFile(folder / "spool.db")
        self.ledger = Ledger(["a"])
        self.spool = Spool(Policy(2**20, after_seconds=1.0), self.ledger, self.file)
        self.lane = Lane("a")
        self.spool.attach([self.lane])
        self.sessions = {key: CommittedSession(100) for key in keys}
        self.session = self.sessions[keys[0]]
        for key, session in self.sessions.items():
            self.spool.restore_session(key, session)
        self.state = CommittedState(self.spool, self.sessions, transactional_id, name)
        self.kafka = kafka
        for records in self.state.handover(kafka).values():
            kafka |= records
        self.state.restore(kafka)
        self.commit()

    def receive(self, *packet_ids: int, qos: int = 1) -> list[Entry]:
        """Take messages in."""
        connection = Connection(self.session)
        entries = [Entry(message(packet_id, qos), connection, packet_id) for packet_id in packet_ids]
        self.session.repeats(entries)
        self.spool.append(entries, 0.0)
        self.ledger.books["a"].received += len(entries)
        self.ledger.books["a"].in_flight += len(entries)
        return entries

    def commit(self, *entries: Entry, is_known: bool = True) -> None:
        """Commit readings to Kafka; without `is_known` the process does not learn of it."""
        self.kafka |= self.state.prepare(entries)
        if is_known:
            self.state.commit()
            self.spool.settle([*entries])

    def repeats(self, *packet_ids: int, qos: int = 1) -> list[int]:
        """Tell which messages are recognised over a new connection."""
        self.spool.resume_session(self.session, 0.0, is_present=True)
        again = [Entry(message(packet_id, qos, dup=True), None, packet_id) for packet_id in packet_ids]
        return [entry.packet_id for entry in self.session.repeats(again)]

    def crash(self) -> None:
        """End without another word."""
        self.file.close()


def message(packet_id: int, qos: int = 1, *, dup: bool = False) -> Reading:
    return Reading("a", b"t", b"%d" % packet_id, 0, qos, dup=dup)


def test_a_new_process_knows_what_its_predecessor_committed(tmp_path: Path) -> None:
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.commit(*first.receive(1, 2))
    first.commit(*first.receive(3), is_known=False)
    first.receive(4)
    first.crash()
    assert Process(tmp_path, kafka, "second").repeats(1, 2, 3, 4) == [1, 2, 3]


def test_a_process_remembers_the_messages_of_a_standby_before_older_ones_of_its_predecessor(tmp_path: Path) -> None:
    """The spool of a standby is another one; its offsets continue those of the session."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path / "a", kafka, "first")
    first.commit(*first.receive(*range(1, 151)))
    standby = Process(tmp_path / "b", kafka, "standby")
    standby.commit(*standby.receive(*range(151, 211)))
    standby.crash()
    assert Process(tmp_path / "b", kafka, "third").repeats(*range(151, 211)) == [*range(151, 211)]


def test_a_new_process_drops_from_its_spool_what_kafka_has(tmp_path: Path) -> None:
    """Rows that a transaction settled whose outcome the old process did not learn, or had no time to delete."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    entries = first.receive(1, 2, 3)
    first.commit(*entries[1:], is_known=False)
    first.spool.persist(0.0)
    first.crash()
    second = Process(tmp_path, kafka, "second")
    second.spool.load(second.lane, 0.0)
    assert [entry.reading.payload for entry in second.lane.waiting] == [b"1"]
    books = second.ledger.books["a"]
    assert (books.spooled, books.delivered, books.missing) == (1, 2, 0)
    assert second.receive(9)[0].offset == 3


def at_least_once(folder: Path) -> tuple[Spool, Session, SpoolFile]:
    """Begin a run of the other mode on the same file."""
    file = SpoolFile(folder / "spool.db")
    spool, session = Spool(Policy(2**20), Ledger(["a"]), file), Session()
    spool.attach([Lane("a")])
    spool.restore_session(KEY, session)
    return spool, session, file


def test_what_kafka_has_is_void_after_a_run_that_delivered_at_least_once(tmp_path: Path) -> None:
    """Also when that run was killed: it used the packet ids and the offsets again."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.commit(*first.receive(1, qos=2))
    first.crash()
    spool, session, file = at_least_once(tmp_path)
    spool.append([Entry(message(7), Connection(session), 7)], 0.0)
    spool.persist(0.0)
    assert [offset for offset, _ in file.streams(0, 9)] == [0], "the first process gave it to another reading"
    file._release()  # noqa: SLF001 - the lock file keeps its owner
    second = Process(tmp_path, kafka, "second")
    assert second.ledger.books["a"].spooled == 1
    assert second.repeats(1, qos=2) == []
    second.commit(*second.receive(2, qos=2))
    second.crash()
    assert Process(tmp_path, kafka, "third").repeats(1, 2, qos=2) == [2]


def test_what_the_file_has_of_the_other_mode_is_void(tmp_path: Path) -> None:
    """Its packet ids may have been released since, by Kafka's state alone."""
    first = Process(tmp_path, {}, "first")
    first.receive(1, 2, qos=2)
    first.spool.persist(0.0)
    first.crash()
    spool, session, file = at_least_once(tmp_path)
    assert session.unreleased == {}
    session.repeats([Entry(message(3, 2), Connection(session), 3)])
    spool.persist(0.0)
    file._release()  # noqa: SLF001 - as above
    spool, session, file = at_least_once(tmp_path)
    assert session.unreleased.keys() == {3}
    file.close()
    assert Process(tmp_path, {}, "second").repeats(1, 2, 3, qos=2) == []


def test_dead_letters_that_kafka_has_are_booked_as_dead_letters_after_a_crash(tmp_path: Path) -> None:
    """Those of the last transaction, and those of an earlier one whose rows were not deleted yet; also drops."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    entries = first.receive(1, 2, 3, 4, 5)
    first.spool.persist(0.0)
    for entry in entries[1:3]:
        entry.dead_letter = DeadLetter(Reason.MISSING, "", "")
    first.commit(entries[0], entries[1])
    first.spool.settle(entries[3:4], "dropped/ignored")
    first.commit(entries[2], is_known=False)
    first.crash()
    books = Process(tmp_path, kafka, "second").ledger.books["a"]
    assert (books.received, books.spooled, books.delivered, books.missing) == (5, 1, 1, 0)
    assert (books.dead_lettered, books.dropped) == ({Reason.MISSING: 2}, {"ignored": 1})


def test_a_copy_of_the_file_with_another_transactional_id_settles_its_own_readings_only(tmp_path: Path) -> None:
    """Machines that are copied have spool files of the same name."""
    kafka: dict[str, bytes] = {}
    Process(tmp_path / "a", kafka, "template").crash()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = Process(tmp_path / "a", kafka, "first", "one", ("one@broker",))
    first.receive(1, 2)
    first.spool.persist(0.0)
    first.crash()
    copy = Process(tmp_path / "b", kafka, "copy", "two", ("two@broker",))
    copy.commit(*copy.receive(1, 2))
    assert copy.spool.id == first.spool.id
    again = Process(tmp_path / "a", kafka, "again", "one", ("one@broker",))
    assert (again.ledger.books["a"].spooled, again.spool.settled_rows) == (2, {})


def test_no_rows_are_read_back_while_a_full_disk_keeps_too_many_that_are_settled(tmp_path: Path) -> None:
    """The record that tells which ones these are would become too large for Kafka."""
    process = Process(tmp_path, {}, "first")
    entries = process.receive(*range(1, 2 * MOST_RANGES + 4))
    process.spool.persist(0.0)
    process.spool.blocked_reason = "the disk is full"
    for settled, may_load in (entries[: 2 * MOST_RANGES : 2], True), (entries[2 * MOST_RANGES :: 2], False):
        process.commit(*settled)
        assert process.spool.may_load is may_load
        assert max(map(len, process.kafka.values())) < 2**19
    process.spool.persist_due(1.0)
    process.commit()
    assert process.spool.may_load


def test_the_state_of_an_older_version_is_read(tmp_path: Path) -> None:
    """It does not tell dead letters from delivered readings."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    entries = first.receive(1, 2)
    first.spool.persist(0.0)
    first.commit(*entries, is_known=False)
    first.crash()
    (name,) = [each for each in kafka if each.startswith("settled/")]
    kafka[name] = json.dumps({"ranges": [[0, 0]], "next_offset": 2}).encode()
    books = Process(tmp_path, kafka, "second").ledger.books["a"]
    assert (books.spooled, books.delivered, books.missing) == (1, 1, 0)


def test_offsets_of_readings_in_kafka_are_not_used_again(tmp_path: Path) -> None:
    """Else a later process would take a row of today for one that Kafka has."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.commit(*first.receive(1, 2, 3))
    first.crash()
    second = Process(tmp_path, kafka, "second")
    assert second.receive(4)[0].offset == 3


def test_the_file_has_the_packet_ids_of_many_commits(tmp_path: Path) -> None:
    """Each commit writes the buckets that have changed; a note alone writes none."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    for packet_id in range(1, 1_000, 100):
        first.receive(packet_id)
        first.spool.persist(0.0)
    version = first.spool.version
    first.spool.note("a/b", "text")
    first.spool.write_notes(0.0)
    assert first.spool.version == version
    first.crash()
    second = Process(tmp_path, kafka, "second")
    assert second.spool.notes == {"a/b": "text"}
    assert second.repeats(*range(1, 1_000, 100), 2) == [*range(1, 1_000, 100)]


def test_a_file_that_is_replaced_has_the_packet_ids(tmp_path: Path) -> None:
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.receive(1, 2)
    first.spool.persist(0.0)
    first.file.replace_file("its disk failed")
    first.crash()
    assert Process(tmp_path, kafka, "second").repeats(1, 2) == [1, 2]


def test_the_file_counts_when_it_is_newer(tmp_path: Path) -> None:
    """What arrived while Kafka was away is in the file, and PUBREL of that time as well."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.commit(*first.receive(1), *first.receive(5, 6, qos=2))
    first.receive(2)
    first.session.released.append(5)
    first.session.release()
    first.spool.persist_due(2.0)
    assert first.session.take_completed() == [5]
    first.crash()
    second = Process(tmp_path, kafka, "second")
    assert second.session.unreleased.keys() == {6}
    assert second.repeats(1, 2, 3) == [1, 2]
    second.crash()
    assert Process(tmp_path, kafka, "third").repeats(1, 2, 3) == [1, 2]


def test_kafka_counts_when_it_is_newer(tmp_path: Path) -> None:
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.receive(1)
    first.spool.persist(0.0)
    first.commit(*first.receive(2))
    first.crash()
    assert Process(tmp_path, kafka, "second").repeats(1, 2, 3) == [1, 2]


def test_the_file_of_a_gateway_that_was_replaced_does_not_count(tmp_path: Path) -> None:
    """A standby with a spool of its own has written since; the readings on the old disk are sent, once."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path / "one", kafka, "first")
    first.commit(*first.receive(7, qos=2))
    first.receive(1)
    first.spool.persist(0.0)
    first.spool.persist(0.0)
    first.crash()
    standby = Process(tmp_path / "two", kafka, "standby")
    standby.session.released.append(7)
    standby.session.release()
    standby.commit()
    standby.crash()
    back = Process(tmp_path / "one", kafka, "back")
    assert back.session.unreleased == {}
    back.spool.load(back.lane, 0.0)
    assert [entry.reading.payload for entry in back.lane.waiting] == [b"1"]


def test_restore_tells_what_became_of_a_transaction(tmp_path: Path) -> None:
    kafka: dict[str, bytes] = {}
    process = Process(tmp_path, kafka, "first")
    before = dict(kafka)
    process.commit(*process.receive(1), is_known=False)
    assert process.state.restore(kafka)
    assert not process.state.restore(before)


def test_restore_stops_a_process_that_was_replaced(tmp_path: Path) -> None:
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path / "one", kafka, "first")
    Process(tmp_path / "two", kafka, "second")
    with pytest.raises(TakenOverError, match="Another gateway"):
        first.state.restore(kafka)


def test_the_file_is_not_written_in_part_while_a_transaction_is_under_way(tmp_path: Path) -> None:
    """Else the newer file would not know the messages of the transaction, though it was committed."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.session.released.append(9)
    first.session.release()
    first.commit(*first.receive(1), is_known=False)
    first.spool.persist_due(0.0)
    first.crash()
    assert Process(tmp_path, kafka, "second").repeats(1) == [1]


def test_a_lost_session_is_forgotten_before_the_next_message(tmp_path: Path) -> None:
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.commit(*first.receive(1), *first.receive(2, qos=2))
    first.spool.resume_session(first.session, 0.0, is_present=False)
    first.crash()
    second = Process(tmp_path, kafka, "second")
    assert (second.repeats(2, qos=2), second.repeats(1)) == ([], [])
    assert json.loads(kafka[f"session/{KEY}/head"])["number"] == 1


# --- another transactional id ----------------------------------------------------------------------------------------

OTHER = "gateway-meter@meters"
BOTH = "gateway,gateway-meter"


def test_the_state_is_found_when_the_contract_gets_another_broker(tmp_path: Path) -> None:
    """And when it loses it again: the transactional id has changed both times."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first")
    first.commit(*first.receive(1, 2), *first.receive(7, qos=2))
    first.crash()
    second = Process(tmp_path, kafka, "second", BOTH, (KEY, OTHER))
    assert (second.repeats(1, 2, 3), {*second.session.unreleased}) == ([1, 2], {7})
    second.commit(*second.receive(4))
    second.session.released.append(7)
    second.session.release()
    second.commit()
    second.crash()
    third = Process(tmp_path, kafka, "third")
    assert (third.repeats(2, 4, 5), third.session.unreleased) == ([2, 4], {})


def test_a_process_with_a_former_transactional_id_stops(tmp_path: Path) -> None:
    """It could go on under its own id, and would write what the other does not know."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path / "one", kafka, "first")
    second = Process(tmp_path / "two", kafka, "second", BOTH, (KEY, OTHER))
    assert first.state.handover(kafka) == {}, "it does not take over in turn"
    with pytest.raises(TakenOverError, match="Another gateway"):
        first.state.restore(kafka)
    assert second.state.handover(kafka) == {}, "it is said once"


def test_the_file_keeps_what_is_not_released_at_a_broker_that_is_not_in_the_contract(tmp_path: Path) -> None:
    """It is newer than Kafka, which was away; otherwise a new message with packet id 7 would be taken for a repeat."""
    kafka: dict[str, bytes] = {}
    first = Process(tmp_path, kafka, "first", BOTH, (KEY, OTHER))
    meters = first.sessions[OTHER]
    entry = Entry(message(7, 2), Connection(meters), 7)
    meters.repeats([entry])
    first.spool.append([entry], 0.0)
    first.commit(entry)
    meters.released.append(7)
    meters.release()
    first.spool.persist_due(2.0)
    assert meters.take_completed() == [7]
    first.crash()
    without = Process(tmp_path, kafka, "without")
    without.spool.persist(0.0)
    without.crash()
    third = Process(tmp_path, kafka, "third", BOTH, (KEY, OTHER))
    assert third.sessions[OTHER].unreleased == {}


def test_restore_before_the_first_commit_continues(tmp_path: Path) -> None:
    """A producer that is replaced while the process starts finds its predecessor's head, no rival's."""
    kafka: dict[str, bytes] = {}
    Process(tmp_path, kafka, "first").crash()
    head = dict(kafka)
    second = Process(tmp_path, kafka, "second")
    assert not second.state.restore(head)
