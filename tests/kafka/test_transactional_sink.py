"""Records and state in one transaction, against real Kafka: what readers of committed records see, and what not."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from gateway.core.committed_session import CommittedSession
from gateway.core.entry import Entry
from gateway.core.ledger import Ledger
from gateway.core.reading import Reading, Record
from gateway.errors import GatewayError, TakenOverError
from gateway.kafka.errors import Outcome, outcome
from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC, read_state
from gateway.kafka.transactional_sink import MANY_OPEN_SECONDS, MANY_RECORDS, OPEN_SECONDS, TransactionalSink
from gateway.spool.committed_state import CommittedState
from gateway.spool.spool import Policy, Spool
from tests.stack.readers import values_that_java_sees
from tests.stack.reading_records import records
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import KafkaError

    from tests.conftest import NewTopic
    from tests.stack.kafka import Kafka

NONE: Mapping[str, CommittedSession] = {}
NOW = 1_791_547_200_000
FOR_EVER = {"retention.ms": "-1"}  # the records are older than a week
COMMITTED = {"isolation.level": "read_committed"}
UNCOMMITTED = {"isolation.level": "read_uncommitted"}


class Process:
    """A sink with its state; readings are numbers.

    Args:
        kafka: the cluster.
        transactional_id: of the sink.
    """

    def __init__(
        self, kafka: Kafka, transactional_id: str, sessions: Mapping[str, CommittedSession] = NONE, **properties: Any
    ) -> None:
        given = {name.replace("_", "."): value for name, value in properties.items()}
        self.bootstrap = {"bootstrap.servers": kafka.bootstrap}
        self.sink = TransactionalSink(self.bootstrap | given, transactional_id)
        self.state = CommittedState(Spool(Policy(2**20), Ledger([])), sessions, transactional_id, uuid.uuid4().hex)
        self.settled: list[int] = []
        self.failed: dict[int, KafkaError] = {}
        self.sink.begin(self.state)

    def turn_until(self, condition: Callable[[], object], what: str) -> None:
        """Turn as the bridge does."""

        def is_met() -> bool:
            self.sink.poll(0.005)
            settled, failed = self.sink.take_reports()
            self.settled += [entry.offset for entries in settled for entry in entries]
            self.failed |= {entry.offset: error for entry, error in failed}
            return bool(condition())

        wait_for(is_met, 40, lambda: f"{what}; {self.sink.blocked_reason}")

    def ready(self) -> Process:
        """Turn until readings may be received."""
        self.turn_until(lambda: self.sink.is_ready and self.sink.room, "the sink to be ready")
        return self

    def send(self, topic: str, *values: bytes) -> list[Entry]:
        """Hand over readings; give those that were not taken."""
        entries = [Entry(Reading("s", b"t", b"", NOW), None, 0, number) for number in range(len(values))]
        return self.sink.send([Record(topic, b"k", value, [], NOW) for value in values], entries)

    def deliver(self, topic: str, value: bytes) -> None:
        """Hand over a reading, again while its transaction is not committed, until it is settled."""

        def is_settled() -> bool:
            if self.failed.pop(0, None):
                self.ready().send(topic, value)
            return bool(self.settled)

        self.ready().send(topic, value)
        self.turn_until(is_settled, "the commit")


@pytest.fixture
def transactional_id(kafka: Kafka) -> str:
    """Give an id of the test's own."""
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    return f"gateway-{uuid.uuid4().hex[:8]}"


def values(kafka: Kafka, topic: str, count: int, isolation: Mapping[str, object] | None = None) -> list[bytes | None]:
    """Read the first records of a topic."""
    return [one.value for one in records(kafka.bootstrap, topic, count, settings=isolation or COMMITTED)]


def is_past(moment: float) -> Callable[[], bool]:
    """Make a condition of a time."""
    return lambda: time.monotonic() > moment


def test_a_transaction_shows_that_no_other_process_has_taken_over(kafka: Kafka, transactional_id: str) -> None:
    """One that began before says nothing; without readings there is one with the state alone."""
    process = Process(kafka, transactional_id).ready()
    now = time.monotonic()
    assert (process.sink.is_sole(now), process.sink.is_sole(0.0)) == (False, True)
    process.turn_until(lambda: process.sink.is_sole(now), "a transaction")
    assert process.sink.transactions["committed"] == 2
    other = Process(kafka, transactional_id).ready()
    assert other.sink.is_sole(0.0)
    later = time.monotonic()
    with pytest.raises(TakenOverError):
        process.turn_until(lambda: process.sink.is_sole(later), "the other process")


def test_records_and_state_are_committed_together(kafka: Kafka, topic: NewTopic, transactional_id: str) -> None:
    """Nothing is settled before the commit; a report alone says nothing."""
    name, process = topic("sensors", 1, FOR_EVER), Process(kafka, transactional_id)
    assert (process.sink.room, process.send(name, b"early")[0].offset) == (0, 0)
    process.ready()
    head = f"head/{transactional_id}"
    before = read_state(process.bootstrap, (head,))
    assert process.send(name, *[b"%d" % number for number in range(100)]) == []
    wait_for(lambda: process.sink.poll(0.01) is not None and process.sink.unreported == 0, 30, "the reports")
    assert values(kafka, name, 100, UNCOMMITTED) == [b"%d" % number for number in range(100)]
    assert process.settled == []
    process.turn_until(lambda: len(process.settled) == 100, "the commit")
    assert values(kafka, name, 100) == [b"%d" % number for number in range(100)]
    assert (process.sink.in_flight, process.sink.transactions) == (0, {"committed": 2, "aborted": 0})
    assert read_state(process.bootstrap, (head,))[head] != before[head]


def test_a_refused_record_aborts_its_transaction(kafka: Kafka, topic: NewTopic, transactional_id: str) -> None:
    """The culprit fails with its error, all others are sent again; a reader of committed records sees them once."""
    name = topic("sensors", 1, FOR_EVER | {"max.message.bytes": "2000"})
    process = Process(kafka, transactional_id, compression_type="none", batch_num_messages=1).ready()
    process.send(name, b"1", b"x" * 3_000, b"3")
    process.turn_until(lambda: len(process.failed) == 3, "the abort")
    outcomes = {number: outcome(error) for number, error in process.failed.items()}
    assert outcomes == {0: Outcome.REQUEUE, 1: Outcome.REFUSE, 2: Outcome.REQUEUE}
    process.ready().send(name, b"1", b"3")
    process.turn_until(lambda: len(process.settled) == 2, "the commit")
    assert values(kafka, name, 2) == [b"1", b"3"]
    assert values(kafka, name, 3, UNCOMMITTED) == [b"1", b"1", b"3"]


def test_a_transaction_that_gets_many_records_at_once_takes_more(
    kafka: Kafka, topic: NewTopic, transactional_id: str
) -> None:
    """A commit takes as long for a few."""
    name, process = topic("sensors", 1, FOR_EVER), Process(kafka, transactional_id).ready()
    seconds = MANY_OPEN_SECONDS
    while seconds >= MANY_OPEN_SECONDS:  # the machine is busy
        process.turn_until(lambda: process.sink.room and not process.sink.in_flight, "the former one")
        began = time.monotonic()
        process.send(name, *[b"%d" % number for number in range(MANY_RECORDS)])
        wait_for(is_past(began + 2 * OPEN_SECONDS), 10, "the time for a few")
        room, seconds = process.sink.room, time.monotonic() - began
    assert room
    process.turn_until(lambda: process.sink.room and not process.sink.in_flight, "the commit")
    process.send(name, b"1")
    wait_for(lambda: not process.sink.room, 10, "the end of one that has few")


def test_a_record_above_the_clients_limit_fails_alone(kafka: Kafka, topic: NewTopic, transactional_id: str) -> None:
    name, process = topic("sensors", 1, FOR_EVER), Process(kafka, transactional_id).ready()
    process.send(name, b"1", b"x" * 2_000_000, b"3")
    process.turn_until(lambda: len(process.failed) == 2, "the abort")
    assert {number: outcome(error) for number, error in process.failed.items()} == {
        0: Outcome.REQUEUE, 1: Outcome.REFUSE,
    }  # fmt: skip


def test_a_transaction_of_a_dead_process_is_not_seen(kafka: Kafka, topic: NewTopic, transactional_id: str) -> None:
    """The next process ends it; what had been sent shows to readers of uncommitted records only."""
    name, dead = topic("sensors", 1, FOR_EVER), Process(kafka, transactional_id).ready()
    dead.send(name, b"lost")
    wait_for(lambda: dead.sink.poll(0.01) is not None and dead.sink.unreported == 0, 30, "the report")
    after = Process(kafka, transactional_id).ready()
    after.send(name, b"again")
    after.turn_until(lambda: after.settled, "the commit")
    assert values(kafka, name, 1) == [b"again"]
    assert values(kafka, name, 2, UNCOMMITTED) == [b"lost", b"again"]
    assert values_that_java_sees(kafka.bootstrap, name, "read_committed") == ["again"]
    assert values_that_java_sees(kafka.bootstrap, name, "read_uncommitted") == ["lost", "again"]
    assert values_that_java_sees(kafka.bootstrap, name) == ["lost", "again"], "Java's default"


def test_a_process_stops_when_another_has_taken_over(kafka: Kafka, topic: NewTopic, transactional_id: str) -> None:
    """Also in the middle of a transaction, which is not committed; the other one goes on."""
    name, first = topic("sensors", 1, FOR_EVER), Process(kafka, transactional_id).ready()
    first.send(name, b"1")
    second = Process(kafka, transactional_id).ready()
    with pytest.raises(TakenOverError, match="Another gateway"):
        first.turn_until(lambda: False, "the end")
    second.deliver(name, b"2")
    assert values(kafka, name, 1) == [b"2"]
    assert first.settled == []


def test_a_process_with_a_former_transactional_id_is_ended(
    kafka: Kafka, topic: NewTopic, transactional_id: str
) -> None:
    """Its open transaction is aborted before the state is read, and it does not begin another."""
    name, key = topic("sensors", 1, FOR_EVER), f"{transactional_id}@broker"
    first = Process(kafka, transactional_id, {key: CommittedSession(100)}).ready()
    first.send(name, b"1")
    second = Process(kafka, f"{transactional_id},other", {key: CommittedSession(100)}).ready()
    with pytest.raises(TakenOverError, match="Another gateway"):
        first.turn_until(lambda: False, "the end")
    second.deliver(name, b"2")
    assert values(kafka, name, 1) == [b"2"]


def test_a_state_that_no_gateway_has_written_ends_the_start(kafka: Kafka, transactional_id: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(STATE_TOPIC, b"{", f"head/{transactional_id}".encode(), STATE_PARTITION)
    producer.flush()
    with pytest.raises(GatewayError, match="has a record that no gateway has written, under the key 'head/"):
        Process(kafka, transactional_id).ready()


def test_renew_replaces_the_producer_between_transactions(kafka: Kafka, topic: NewTopic, transactional_id: str) -> None:
    name, process = topic("sensors", 1, FOR_EVER), Process(kafka, transactional_id).ready()
    process.sink.renew({"client.id": "renewed"})
    process.deliver(name, b"1")
    assert values(kafka, name, 1) == [b"1"]


def test_the_sink_waits_for_the_state_topic(away_kafka: Kafka) -> None:
    """It says what is missing, and begins when it is there."""
    process = Process(away_kafka, "gateway")
    process.turn_until(lambda: "topics apply" in process.sink.waiting_reason, "the reason")
    assert STATE_TOPIC in process.sink.waiting_reason
    assert not process.sink.is_ready
    away_kafka.create_topic(STATE_TOPIC)
    process.ready()
    assert process.sink.waiting_reason == ""


def test_a_transaction_survives_a_kafka_that_is_away(away_kafka: Kafka) -> None:
    """Longer than the transaction's timeout: the producer is replaced, and nothing is there twice or missing."""
    for name in (STATE_TOPIC, "sensors"):
        away_kafka.ensure_topic(name)
    process = Process(away_kafka, "gateway").ready()
    process.send("sensors", b"1")
    away_kafka.stop()
    started = time.monotonic()
    process.turn_until(lambda: time.monotonic() > started + 2, "two seconds")
    assert not process.sink.saves_state
    assert process.sink.waiting_reason
    away_kafka.start()
    process.turn_until(lambda: process.settled or process.failed, "the outcome")
    if process.failed:
        process.failed.clear()
        process.deliver("sensors", b"1")
    assert values(away_kafka, "sensors", 1) == [b"1"]
