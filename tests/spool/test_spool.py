"""The spool: offsets, safety, order over memory and disk, crashes, damage, full disks; and the books all along."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from gateway.core.entry import Entry
from gateway.core.gateway_clock import GatewayClock
from gateway.core.ledger import Ledger
from gateway.core.reading import Reading
from gateway.core.session import NEEDED, Session
from gateway.spool.file import SpoolFile
from gateway.spool.lane import Lane
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STREAMS = ["a", "b"]


class Acknowledged:
    """A connection that remembers what was acknowledged, in order."""

    def __init__(self, session: object = None) -> None:
        self.session = session
        self.packet_ids: list[int] = []

    def acknowledge(self, entries: Iterable[Entry]) -> None:
        self.packet_ids += [entry.packet_id for entry in entries]


class Gateway:
    """Spool, lanes and books as the bridge keeps them, with a Kafka that the test plays.

    Args:
        folder: for the file.
        policy: of the spool.
        clock: that dates the readings.
    """

    def __init__(self, folder: Path, policy: Policy, clock: GatewayClock | None = None) -> None:
        self.file = SpoolFile(folder / "spool.db", clock=clock)
        self.ledger = Ledger(STREAMS)
        self.spool = Spool(policy, self.ledger, self.file)
        self.lanes = {name: Lane(name) for name in STREAMS}
        self.spool.attach(list(self.lanes.values()))
        self.sent: list[Entry] = []
        self.size = 0

    def receive(self, connection: Acknowledged, numbers: list[int], stream: str, now: float = 0.0) -> None:
        """Take readings in; the packet id and the payload are the number."""
        entries = [Entry(reading(stream, number, self.size), connection, number) for number in numbers]
        self.spool.append(entries, now)
        self.ledger.books[stream].received += len(entries)
        self.ledger.books[stream].in_flight += len(entries)
        self.lanes[stream].add(entries, now)

    def send(self, stream: str, most: int) -> list[int]:
        """Hand up to so many readings to Kafka; give their numbers."""
        lane, numbers = self.lanes[stream], []
        for _ in range(most):
            while lane.has_backlog and not lane.waiting:
                self.spool.load(lane, 0.0)
            if not lane.sendable(float("inf")):  # whatever pause it has made
                break
            entry = lane.waiting.popleft()
            lane.in_flight += 1
            self.sent.append(entry)
            numbers.append(number_of(entry))
        return numbers

    def settle(self, most: int) -> list[int]:
        """Let Kafka acknowledge so many of what it was handed; give their numbers."""
        done, self.sent = self.sent[:most], self.sent[most:]
        for entry in done:
            books = self.ledger.books[entry.reading.stream]
            self.lanes[entry.reading.stream].settle(1, 0.0)
            self.spool.settle([entry])
            if entry.is_stored:
                books.spooled -= 1
            else:
                books.in_flight -= 1
            books.delivered += 1
        self.spool.acknowledge_safe()
        return [number_of(entry) for entry in done]

    def crash(self) -> None:
        """End as kill -9 does: what is not committed is gone, and so is the lock."""
        self.file.close()


def reading(stream: str, number: int, size: int = 0) -> Reading:
    return Reading(stream, b"t/%d" % number, str(number).encode() + b" " * size, 1_700_000_000_000 + number, 1)


def number_of(entry: Entry) -> int:
    return int(entry.reading.payload)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder for the spool."""
    return tmp_path


OUTAGE = Policy(memory_bytes=2**20, after_seconds=5.0)


def test_persist_due_writes_nothing_while_readings_settle_in_time(folder: Path) -> None:
    """On a healthy link the disk is not touched: readings that Kafka acknowledges in time are only in memory."""
    gateway, connection = Gateway(folder, OUTAGE), Acknowledged()
    before = gateway.file.path.stat().st_mtime_ns
    for number in range(1, 50):
        gateway.receive(connection, [number], "a", now=float(number))
        gateway.spool.persist_due(number + 0.5)
        gateway.send("a", 1)
        gateway.settle(1)
    assert connection.packet_ids == list(range(1, 50))
    assert gateway.file.path.stat().st_mtime_ns == before
    assert gateway.file.counts() == {}


def test_acknowledge_safe_waits_for_the_oldest(folder: Path) -> None:
    """Acknowledgements go out in arrival order, and none before its reading is safe."""
    gateway, connection = Gateway(folder, OUTAGE), Acknowledged()
    gateway.receive(connection, [1], "a")
    gateway.receive(connection, [2, 3], "b")
    gateway.send("b", 2)
    gateway.settle(2)
    assert connection.packet_ids == []
    gateway.send("a", 1)
    gateway.settle(1)
    assert connection.packet_ids == [1, 2, 3]


def test_persist_due_writes_all_unsafe_readings_once_one_is_old(folder: Path) -> None:
    """After `after` seconds without Kafka the whole log goes to disk in one commit, and is acknowledged."""
    gateway, connection = Gateway(folder, OUTAGE), Acknowledged()
    gateway.receive(connection, [1, 2], "a", now=10.0)
    gateway.receive(connection, [3], "a", now=14.0)
    gateway.spool.persist_due(14.9)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == []
    gateway.spool.persist_due(15.0)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == [1, 2, 3]
    assert gateway.file.counts() == {"a": 3}
    assert (gateway.ledger.books["a"].spooled, gateway.ledger.books["a"].in_flight) == (3, 0)


def test_persist_due_writes_at_once_with_always(folder: Path) -> None:
    """With `when: always` every reading is on disk before it is acknowledged."""
    gateway, connection = Gateway(folder, Policy(2**20, always=True)), Acknowledged()
    gateway.receive(connection, [1], "a")
    gateway.spool.persist_due(0.0)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == [1]


def test_memory_stays_bounded_and_order_holds(folder: Path) -> None:
    """Readings beyond the memory bound are on disk only; they come back in order, ahead of what arrived later."""
    gateway, connection = Gateway(folder, Policy(memory_bytes=200_000)), Acknowledged()
    for start in range(0, 10_000, 100):
        gateway.receive(connection, list(range(start + 1, start + 101)), "a", now=1.0)
        gateway.spool.persist_due(1.0)
        gateway.spool.acknowledge_safe()
        assert gateway.spool.bytes_held < 400_000
    sent: list[int] = []
    while numbers := gateway.send("a", 500):
        sent += numbers
        gateway.settle(500)
    assert sent == list(range(1, 10_001))
    gateway.spool.persist_due(100.0)
    assert gateway.file.counts() == {}
    assert gateway.spool.bytes_held == 0
    assert gateway.ledger.totals()["delivered"] == 10_000


def test_memory_counts_properties(folder: Path) -> None:
    """Large properties of a small payload count towards the memory bound, and when rows are read back."""
    gateway = Gateway(folder, Policy(memory_bytes=2_000_000))
    large = Reading("a", b"t", b"{}", 1, properties=b"p" * 60_000)
    gateway.spool.append([Entry(large, None, 0) for _ in range(10)], 1.0)
    assert gateway.spool.bytes_held > 600_000
    gateway.file.write([(number, large) for number in range(10)], (), {}, 10)
    assert len(gateway.file.read("a", 0, 10, 200_000)[0]) == 4


def test_restart_goes_on_where_the_disk_left_off(folder: Path) -> None:
    """A new process sends what the disk has, in order, then what is new; the books go on."""
    first, connection = Gateway(folder, OUTAGE), Acknowledged()
    first.receive(connection, [1, 2, 3], "a")
    first.send("a", 1)
    first.settle(1)
    first.spool.close(1.0)
    second = Gateway(folder, OUTAGE)
    second.receive(connection, [4], "a")
    assert second.send("a", 10) == [2, 3, 4]
    second.settle(10)
    assert second.ledger.totals() | {"received": 4, "delivered": 4, "balanced": True} == second.ledger.totals()


def test_oldest_is_known_in_memory_and_on_disk_and_over_a_restart(folder: Path) -> None:
    """By stream, whether the reading is in memory or on disk; a stream without waiting readings has none."""
    at = 1_700_000_000_000
    first, connection = Gateway(folder, Policy(memory_bytes=2_000)), Acknowledged()
    first.receive(connection, [1, 2, 3], "b", now=1.0)
    first.send("b", 1)
    first.settle(1)
    assert first.spool.oldest() == {"b": at + 2}
    first.spool.persist(1.0)
    assert first.spool.oldest() == {"b": at + 2}
    first.receive(connection, list(range(4, 10)), "a", now=2.0)
    first.spool.persist_due(2.0)  # memory is full: all of it is on disk only
    assert first.spool.bytes_held == 0
    assert first.spool.oldest() == {"a": at + 4, "b": at + 2}
    first.spool.close(3.0)
    second = Gateway(folder, OUTAGE)
    assert second.spool.oldest() == {"a": at + 4, "b": at + 2}
    assert second.send("a", 6) == list(range(4, 10))
    second.settle(2)
    assert second.spool.oldest() == {"a": at + 6, "b": at + 2}
    second.settle(4)
    assert second.spool.oldest() == {"b": at + 2}


def test_room_is_what_the_limit_and_the_disk_leave(folder: Path) -> None:
    assert 0 < Gateway(folder, Policy(2**20, limit_bytes=2**60)).spool.room_bytes() < 2**60
    (small := folder / "small").mkdir()
    gateway = Gateway(small, Policy(2**20, limit_bytes=2**16))
    assert gateway.spool.room_bytes() == 2**16 - gateway.spool.disk_bytes
    (tight := folder / "tight").mkdir()
    assert Gateway(tight, Policy(2**20, limit_bytes=4096)).spool.room_bytes() == 0


def test_kill_books_what_was_in_flight_as_interrupted(folder: Path) -> None:
    """After kill -9 the books balance: what was unsafe when they were last written is `interrupted`."""
    first, connection = Gateway(folder, OUTAGE), Acknowledged()
    first.receive(connection, [1, 2], "a")
    first.spool.persist(1.0)
    first.receive(connection, [3], "b")
    first.file.write([], [], first.ledger.saved(), 3)
    first.crash()
    books = Gateway(folder, OUTAGE).ledger.books
    assert (books["a"].received, books["a"].spooled, books["a"].missing) == (2, 2, 0)
    assert (books["b"].received, dict(books["b"].dropped), books["b"].missing) == (1, {"interrupted": 1}, 0)


def test_limit_blocks(folder: Path) -> None:
    """At `limit` with `on_full: block` nothing more is acknowledged and there is no room; nothing is dropped."""
    gateway, connection = Gateway(folder, Policy(100_000, limit_bytes=4096)), Acknowledged()
    gateway.receive(connection, list(range(1, 301)), "a")
    gateway.spool.persist_due(1.0)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == []
    assert not gateway.spool.has_room
    assert "spool.limit" in gateway.spool.blocked_reason


def test_limit_drops_the_oldest_with_drop_oldest(folder: Path) -> None:
    """At `limit` with `on_full: drop_oldest` the oldest readings go, counted by stream and reason."""
    policy = Policy(60_000, limit_bytes=300_000, on_full="drop_oldest")
    gateway, connection = Gateway(folder, policy), Acknowledged()
    for start in range(0, 30_000, 100):
        gateway.receive(connection, list(range(start + 1, start + 101)), "a", now=1.0)
        gateway.spool.persist_due(1.0)
        gateway.spool.acknowledge_safe()
    books = gateway.ledger.books["a"]
    assert books.dropped["spool_full"] > 0
    assert books.missing == 0
    assert gateway.spool.disk_bytes < 500_000
    sent: list[int] = []
    while numbers := gateway.send("a", 500):
        sent += numbers
        gateway.settle(500)
    assert sent == sorted(sent)
    assert len(sent) == 30_000 - books.dropped["spool_full"]
    assert sent[-1] == 30_000


def test_write_survives_a_full_disk(folder: Path) -> None:
    """When the disk is full nothing is acknowledged; once there is room everything is, and nothing is lost."""
    gateway, connection = Gateway(folder, OUTAGE), Acknowledged()
    gateway.size = 1_000
    gateway.receive(connection, list(range(1, 101)), "a")
    database = gateway.file._database  # noqa: SLF001 - the test makes the disk small in the way SQLite offers
    assert database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    gateway.spool.persist(1.0)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == []
    assert "disk is full" in gateway.spool.blocked_reason
    assert gateway.ledger.books["a"].missing == 0
    database.execute("PRAGMA max_page_count = 1000000")
    assert gateway.spool.persist(10.0)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == list(range(1, 101))


DAMAGE: dict[str, Callable[[bytearray, random.Random], bytes]] = {
    "truncated": lambda data, chance: bytes(data[: chance.randrange(len(data))]),
    "zeroed page": lambda data, chance: _replaced(data, chance.randrange(len(data) // 4096) * 4096, bytes(4096)),
    "random bytes": lambda data, chance: _replaced(data, chance.randrange(len(data)), chance.randbytes(200)),
    "random page": lambda data, chance: _replaced(
        data, chance.randrange(len(data) // 4096) * 4096, chance.randbytes(4096)
    ),
    "empty": lambda _data, _chance: b"",
    "garbage": lambda data, chance: chance.randbytes(len(data)),
}


def _replaced(data: bytearray, position: int, piece: bytes) -> bytes:
    data[position : position + len(piece)] = piece
    return bytes(data)


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("seed", range(12))
def test_open_salvages_a_damaged_file(folder: Path, kind: str, seed: int) -> None:
    """A damaged spool opens, gives back whole readings only, in order, and keeps the damaged file."""
    chance = random.Random(seed)
    first, connection = Gateway(folder, OUTAGE), Acknowledged()
    first.receive(connection, list(range(1, 2_001)), "a")
    first.spool.close(1.0)
    path = folder / "spool.db"
    damaged = DAMAGE[kind](bytearray(path.read_bytes()), chance)
    path.write_bytes(damaged)
    second = Gateway(folder, OUTAGE)
    sent: list[int] = []
    while numbers := second.send("a", 500):
        sent += numbers
        second.settle(500)
    assert sent == sorted(set(sent))
    assert second.ledger.books["a"].missing == 0
    if kind in {"zeroed page", "random bytes", "random page"}:
        assert len(sent) > 1_000, "one page of many does not take the others with it"
    second.spool.close(2.0)
    third = Gateway(folder, OUTAGE)
    assert third.send("a", 1) == []


# --- sessions --------------------------------------------------------------------------------------------------------


def joined(gateway: Gateway) -> tuple[Session, Acknowledged]:
    """Join a session with its spool, and make a connection of it."""
    session = Session()
    session.upwards = NEEDED
    gateway.spool.restore_session("gateway@broker", session)
    return session, Acknowledged(session)


def again(number: int, qos: int = 1) -> Entry:
    """Make a message that the broker sends again."""
    return Entry(structs.replace(reading("a", number), dup=True, qos=qos), None, number)


def test_persist_saves_what_the_broker_may_send_again(folder: Path) -> None:
    """The next process knows the readings on disk whose acknowledgements may not have left."""
    gateway = Gateway(folder, OUTAGE)
    _, connection = joined(gateway)
    gateway.receive(connection, [1, 2, 3], "a")
    gateway.spool.persist(0.0)
    gateway.crash()
    session, _ = joined(gateway := Gateway(folder, OUTAGE))
    gateway.spool.resume_session(session, 0.0, is_present=True)
    assert [entry.packet_id for entry in session.repeats([again(number) for number in (2, 3, 4)])] == [2, 3]
    gateway.spool.persist_due(0.0)
    gateway.crash()
    session, _ = joined(Gateway(folder, OUTAGE))
    assert session.held == {}, "a new message has come, so packet ids are used anew"


def test_resume_session_knows_the_messages_in_the_log(folder: Path) -> None:
    gateway = Gateway(folder, OUTAGE)
    session, connection = joined(gateway)
    gateway.receive(connection, [1, 2], "a")
    gateway.receive(Acknowledged(), [3], "a")
    gateway.spool.resume_session(session, 0.0, is_present=True)
    assert session.held.keys() == {1, 2}, "the third came over another session"


def test_a_session_that_the_broker_has_lost_is_forgotten_on_disk_and_in_the_log(folder: Path) -> None:
    """Its packet ids are those of other messages now."""
    gateway = Gateway(folder, OUTAGE)
    session, connection = joined(gateway)
    gateway.receive(connection, [1], "a")
    gateway.spool.persist(0.0)
    session.unreleased[7] = (b"",)
    gateway.receive(connection, [2], "a")
    gateway.spool.resume_session(session, 0.0, is_present=False)
    gateway.spool.acknowledge_safe()
    assert connection.packet_ids == []
    gateway.crash()
    session, _ = joined(gateway := Gateway(folder, OUTAGE))
    assert (session.held, session.unreleased) == ({}, {})
    assert gateway.send("a", 2) == [1]


def test_pubcomp_waits_for_the_commit(folder: Path) -> None:
    """The packet id of a QoS 2 message is gone from the disk before the broker may use it again."""
    gateway = Gateway(folder, OUTAGE)
    session, _ = joined(gateway)
    session.repeats([again(5, qos=2), again(6, qos=2)])
    gateway.spool.persist(0.0)
    session.released.append(5)
    assert session.take_completed() == []
    gateway.spool.persist_due(0.0)
    assert session.take_completed() == [5]
    gateway.crash()
    session, _ = joined(Gateway(folder, OUTAGE))
    assert session.unreleased.keys() == {6}


def test_a_damaged_session_is_ignored(folder: Path) -> None:
    with SpoolFile(folder / "spool.db") as file:
        file.write([], [], {}, 0, sessions={"gateway@broker": {"held": {"x": 1}, "unreleased": []}})
    session, _ = joined(Gateway(folder, OUTAGE))
    assert not session.must_look


class SpoolMachine(RuleBasedStateMachine):
    """Whatever happens, in whatever order: nothing acknowledged is lost, order holds, the books balance."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.now = 0.0
        self.number = 0
        self.stream_of: dict[int, str] = {}
        self.delivered: list[int] = []
        self.acknowledged: set[int] = set()

    @initialize(always=st.booleans(), memory=st.sampled_from([3_000, 200_000]))
    def begin(self, *, always: bool, memory: int) -> None:
        self.policy = Policy(memory, always=always, after_seconds=3.0)
        self.start()

    def start(self) -> None:
        self.gateway = Gateway(Path(self._folder.name), self.policy)
        self.connection = Acknowledged()

    @rule(count=st.integers(1, 30), stream=st.sampled_from(STREAMS))
    def receive(self, count: int, stream: str) -> None:
        numbers = list(range(self.number + 1, self.number + count + 1))
        self.number += count
        self.stream_of |= dict.fromkeys(numbers, stream)
        self.gateway.receive(self.connection, numbers, stream, self.now)

    @rule(seconds=st.floats(0, 4))
    def persist_due(self, seconds: float) -> None:
        self.now += seconds
        self.gateway.spool.persist_due(self.now)
        self.gateway.spool.acknowledge_safe()

    @rule(count=st.integers(1, 40), stream=st.sampled_from(STREAMS))
    def send(self, count: int, stream: str) -> None:
        self.gateway.send(stream, count)

    @rule(count=st.integers(1, 40))
    def settle(self, count: int) -> None:
        self.delivered += self.gateway.settle(count)

    @rule(count=st.integers(1, 5))
    def fail(self, count: int) -> None:
        back, self.gateway.sent = self.gateway.sent[-count:], self.gateway.sent[:-count]
        for entry in back:
            self.gateway.lanes[entry.reading.stream].fail(entry, "Kafka is away", self.now)
        for lane in self.gateway.lanes.values():
            lane.recover()

    @rule()
    def kill(self) -> None:
        self.note_acknowledged()
        self.gateway.crash()
        self.start()

    @rule()
    def restart(self) -> None:
        self.gateway.spool.close(self.now)
        self.note_acknowledged()
        self.start()

    def note_acknowledged(self) -> None:
        self.gateway.spool.acknowledge_safe()
        self.acknowledged |= set(self.connection.packet_ids)

    @invariant()
    def acknowledgements_are_in_order(self) -> None:
        if hasattr(self, "connection"):
            assert self.connection.packet_ids == sorted(self.connection.packet_ids)

    @invariant()
    def books_balance(self) -> None:
        if hasattr(self, "gateway"):
            assert all(book.missing == 0 for book in self.gateway.ledger.books.values())

    def teardown(self) -> None:
        if hasattr(self, "gateway"):
            self.note_acknowledged()
            self.gateway.crash()
            self.start()
            for lane in self.gateway.lanes.values():
                while self.gateway.send(lane.name, 100):
                    self.delivered += self.gateway.settle(100)
            assert self.acknowledged <= set(self.delivered), "what was acknowledged reaches Kafka"
            for stream in STREAMS:
                firsts = [n for n in dict.fromkeys(self.delivered) if self.stream_of[n] == stream]
                assert firsts == sorted(firsts), "the order of a stream holds"
            self.gateway.crash()
        self._folder.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_open_of_many_rows_reads_their_index_only(folder: Path) -> None:
    """A spool of 200,000 rows opens in milliseconds, because it does not load them."""
    with SpoolFile(folder / "spool.db") as file:
        file.write(((number, reading("a", number)) for number in range(200_000)), (), {}, 200_000)
    before = bytes_read()
    gateway = Gateway(folder, OUTAGE)
    assert gateway.send("a", 3) == [0, 1, 2]
    assert bytes_read() - before < (folder / "spool.db").stat().st_size / 3
    gateway.crash()


def bytes_read() -> int:
    """How many bytes this process has read from files."""
    figures = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(figures["rchar"])


def test_redate_moves_what_is_in_memory_and_what_is_read_back(folder: Path) -> None:
    """A step of ten years: readings in the log, in both places and on disk only; settled ones do not matter."""
    times = [1_700_000_000_000, 60_000]
    clock = GatewayClock(b"b" * 16, lambda: (times[0], times[1]))
    gateway, connection = Gateway(folder, Policy(6_000, always=True), clock), Acknowledged()
    for number in range(1, 40):
        gateway.receive(connection, [number], "a")
        gateway.spool.persist_due(0.0)
    gateway.receive(connection, [40], "a")
    assert gateway.send("a", 3) == [1, 2, 3]
    gateway.settle(1)
    assert gateway.lanes["a"].has_backlog
    times[0] += 10**11
    assert 0 < gateway.spool.redate(clock.step()) < 39
    assert gateway.spool.oldest() == {"a": reading("a", 2).received_at + 10**11}
    gateway.lanes["a"].requeue(gateway.sent.pop())
    gateway.lanes["a"].requeue(gateway.sent.pop())
    gateway.lanes["a"].recover()
    assert gateway.send("a", 99) == list(range(2, 41))
    moved = [entry.reading.received_at - reading("a", number_of(entry)).received_at for entry in gateway.sent]
    assert moved == [10**11] * 39


def test_redate_leaves_readings_of_an_earlier_boot(folder: Path) -> None:
    """They were dated by another clock, which may have been right; a new file keeps this apart."""
    before = Gateway(folder, OUTAGE, GatewayClock(b"e" * 16, lambda: (1_700_000_000_000, 60_000)))
    before.receive(Acknowledged(), [1], "a")
    before.spool.persist(0.0)
    before.crash()
    times = [1_700_000_000_000, 5_000]
    clock = GatewayClock(b"l" * 16, lambda: (times[0], times[1]))
    gateway = Gateway(folder, OUTAGE, clock)
    assert gateway.send("a", 1) == [1]
    times[0] += 10**11
    assert gateway.spool.redate(clock.step()) == 0
    assert gateway.sent[0].reading == reading("a", 1)
    gateway.spool._replace_file(gateway.file, "test", 0.0)  # noqa: SLF001 - as after a failure of the disk
    assert [(each, is_earlier) for _, each, is_earlier in gateway.file.read("a", 0, 9, 9)[0]] == [
        (reading("a", 1), True)
    ]
