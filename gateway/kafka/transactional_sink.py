"""The sink of `delivery: exactly_once`: it produces records and the gateway's state in Kafka transactions.

The loop hands over records as to `KafkaSink`. The first record begins a transaction, which takes records for
`OPEN_SECONDS`, or for `MANY_OPEN_SECONDS` when readings arrive fast: a commit takes as long for few records as for
many. When all records have delivery reports, the sink produces the gateway's state into the transaction, and a thread
commits it. Meanwhile the loop goes on reading; the next transaction takes what arrives. Readings are settled only when
the commit has succeeded, so delivery reports are passed on when the transaction has ended.

A record that Kafka refuses aborts its transaction. All other readings are sent again, in order, and the lane isolates
the refused one, as without transactions. A new producer is made when the outcome of a commit is unknown, or the
producer has a fatal error (the transaction timed out, the producer id expired, or another process fenced it). Its
`init_transactions` completes or aborts the old transaction; the state in Kafka shows which. The state also shows
whether another process has written since; then this process stops. Each process writes its state once before it reads
from MQTT, so that a process that it replaces finds it. `handover` fences processes with earlier transactional ids.

Rejected: the state in the offsets of a consumer group, because their commit waits for `retry.backoff.ms` and they hold
too little; two alternating producers, because the second transaction must not be committed before the first.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneError
from enum import Enum
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from gateway.errors import GatewayError
from gateway.kafka.errors import Outcome, is_collateral, outcome, sentence
from gateway.kafka.sink import WINDOW_BYTES, KafkaSink, make_producer
from gateway.kafka.state_topic import STATE_PARTITION, STATE_TOPIC, read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.core.entry import Entry
    from gateway.core.reading import Record
    from gateway.kafka.run_producer import RunProducer
    from gateway.kafka.sink import Refusal

log = logging.getLogger(__name__)

OPEN_SECONDS = 0.005  # for which a transaction takes records
MANY_RECORDS = 1_024  # handed over in one call: more are probably waiting, so the transaction stays open for longer:
MANY_OPEN_SECONDS = 0.1
LATE_SECONDS = 1.0  # for a transaction; if it takes longer, it is reported as waiting for Kafka
TIMEOUT_MILLISECONDS = 10_000  # Kafka aborts an older transaction; until then readers of its partitions wait
MOST_UNACKNOWLEDGED = 32_768  # whatever the broker sends ahead: then a session can tell packet ids apart
PAUSE_SECONDS = 0.5  # after an abort for which no record is to blame
STEP_SECONDS = 5.0  # for a request in the thread, which is repeated
DOUBT_SECONDS = 3.0  # after so long without Kafka, no other gateway has taken over: its start needs Kafka
PROPERTIES: dict[str, str | int | bool] = {
    "enable.gapless.guarantee": False,  # a record that fails ends the transaction, not the producer
    "transaction.timeout.ms": TIMEOUT_MILLISECONDS,
    "message.timeout.ms": TIMEOUT_MILLISECONDS,
    "retry.backoff.ms": 10,  # CONCURRENT_TRANSACTIONS follows a commit, and is repeated after this time
}
REQUEUE = KafkaError(KafkaError._GAPLESS_GUARANTEE)  # noqa: SLF001 - librdkafka's own name; as if an earlier one failed
_OF_THE_PRODUCER = {KafkaError._STATE, KafkaError._FENCED, KafkaError._FATAL}  # noqa: SLF001 - librdkafka's own names


class State(Protocol):
    """The state that each transaction writes."""

    prefixes: tuple[str, ...]  # of the keys to read

    @property
    def is_outdated(self) -> bool:
        """True when a transaction is wanted though there are no records."""

    def prepare(self, entries: Iterable[Entry]) -> Mapping[str, bytes | None]:
        """Make the records of the state for a transaction with these readings; None deletes one."""

    def commit(self) -> None:
        """Note that the transaction was committed."""

    def discard(self) -> None:
        """Note that the transaction was not committed."""

    def handover(self, records: Mapping[str, bytes]) -> Mapping[str, Mapping[str, bytes]]:
        """Make the records that take over from processes with former transactional ids, by id."""

    def restore(self, records: Mapping[str, bytes]) -> bool:
        """Continue from what Kafka has; True if that includes the transaction under way."""


class _Phase(Enum):
    STARTING = "starting"  # a producer is made, and the state read
    OPEN = "open"
    ENDING = "ending"  # a commit or abort is under way
    DECIDED = "decided"  # its outcome waits to be taken


class _Outcome(Enum):
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


class _Started(NamedTuple):
    producer: RunProducer
    records: dict[str, bytes]


class TransactionalSink(KafkaSink):
    """Produces records in transactions; call `begin` with the state before anything else."""

    def __init__(self, properties: Mapping[str, Any], transactional_id: str, window_bytes: int = WINDOW_BYTES) -> None:
        super().__init__(properties, window_bytes, fixed=PROPERTIES | {"transactional.id": transactional_id})
        self.transactional_id = transactional_id
        self.transactions.update(committed=0, aborted=0)
        self.is_ready = False
        self.most_unacknowledged = MOST_UNACKNOWLEDGED
        self._connection = dict(properties)
        self._state: State | None = None
        self._phase = _Phase.STARTING
        self._phase_at = time.monotonic()
        self._began_at = 0.0  # of the open transaction; 0 for none
        self._open_until = 0.0  # likewise
        self._is_prepared = False  # the state of a transaction whose outcome is not known
        self._doubted_at = self._sole_at = 0.0  # when it was asked, and known, that no other process has taken over
        self._pause_until = 0.0
        self._topics: set[str] = set()  # of the open transaction
        self._task: Future[_Started | _Outcome] | None = None
        self._start_reason = ""  # why no producer could be made

    def begin(self, state: State) -> None:
        """Start, with the state of this process."""
        self._state = state
        self._restart()

    # --- what the bridge calls -----------------------------------------------------------------------------------

    @property
    def saves_state(self) -> bool:
        """True when Kafka takes the state in time."""
        return self._late_seconds < LATE_SECONDS

    @property
    def _late_seconds(self) -> float:
        since = self._began_at if self._phase is _Phase.OPEN else self._phase_at
        return time.monotonic() - since if since else 0.0

    @property
    def waiting_reason(self) -> str:
        """Why transactions wait; "" while they go on. Any thread may call it."""
        if self.is_ready and self.saves_state:
            return ""
        what = "the transaction under way" if self.is_ready else "the first transaction"
        waiting = f"Kafka has not committed {what} for {self._late_seconds:.0f} s"
        return self._start_reason or self.blocked_reason or f"{waiting}; start the missing Kafka brokers"

    def is_sole(self, since: float) -> bool:
        """False while another gateway may have taken over since: none of ours was begun and committed since."""
        self._doubted_at = max(self._doubted_at, since)
        return self._sole_at > since or time.monotonic() - since >= DOUBT_SECONDS

    @property
    def room(self) -> int:
        """How many records may be handed over now."""
        now = time.monotonic()
        is_open = self._phase is _Phase.OPEN and self.is_ready and not self.failed and not self._fatal
        is_old = self._began_at and now >= self._open_until
        return 0 if not is_open or is_old or now < self._pause_until else super().room

    @property
    def unreported(self) -> int:
        """How many readings are in flight whose report is expected soon."""
        return super().unreported if self._phase is _Phase.OPEN else 0

    def send(self, records: Sequence[Record | list[Record]], entries: list[Entry]) -> list[Entry]:
        """Hand records to librdkafka as `KafkaSink` does, in a transaction."""
        if not entries or not self.room or not self._begin_transaction():
            return list(entries)
        left = super().send(records, entries)
        if len(entries) >= MANY_RECORDS:
            self._open_until = self._began_at + MANY_OPEN_SECONDS
        # A producer that must abort refuses every record: none of them is at fault.
        self.failed = [(entry, REQUEUE if error.code() in _OF_THE_PRODUCER else error) for entry, error in self.failed]
        return left

    def _produce_to(
        self, topic: str, records: list[Record], entries: list[Entry]
    ) -> tuple[list[Entry], Refusal | None]:
        self._topics.add(topic)
        return super()._produce_to(topic, records, entries)

    def _begin_transaction(self) -> bool:
        if not self._began_at:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                self._fatal = error.args[0]
                return False
            self._began_at = time.monotonic()
            self._open_until = self._began_at + OPEN_SECONDS
            self._topics.clear()
        return True

    def poll(self, timeout_seconds: float) -> int:
        """Serve delivery reports, or wait for the end of a commit; count the events."""
        if not self._task:
            return super().poll(timeout_seconds)
        try:
            self._task.exception(timeout_seconds)
        except NotDoneError:
            return 0
        return 1

    def take_reports(self) -> tuple[list[list[Entry]], list[tuple[Entry, KafkaError]]]:
        """Take the reports of a transaction that has ended."""
        self._advance()
        if self._phase is not _Phase.DECIDED:
            return [], []
        self._enter(_Phase.OPEN)
        return super().take_reports()

    def renew(self, credentials: Mapping[str, Any]) -> None:
        """Replace the producer by one with other credentials after the open transaction."""
        super().renew(credentials)
        self._connection |= credentials

    def _replace(self) -> bool:
        return False  # a new producer needs a start

    # --- the course of a transaction -----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Take the next step, if it is time."""
        if self._task:
            if self._task.done():
                task, self._task, self.is_busy = self._task, None, False
                self._take(task.result())
        elif self._phase is _Phase.OPEN:
            self._end_transaction()

    def _end_transaction(self) -> None:
        assert self._state, "`begin` was called"
        if self.in_flight > sum(map(len, self.settled)) + len(self.failed):
            return
        if self._fatal:
            self._restart()
        elif self.failed:
            self._run(self._abort)
        elif self._began_at or (self._has_state_to_save() and time.monotonic() >= self._pause_until):
            self._commit_with_state()

    def _has_state_to_save(self) -> bool:
        is_in_doubt = self._doubted_at >= self._sole_at
        return not self.is_ready or is_in_doubt or bool(self._state and self._state.is_outdated)

    def _commit_with_state(self) -> None:
        assert self._state, "`begin` was called"
        if not self._begin_transaction():
            return
        records = self._state.prepare(chain.from_iterable(self.settled))
        self._is_prepared = True
        self._run(partial(self._commit, records))

    def _take(self, result: _Started | _Outcome) -> None:
        if isinstance(result, _Started):
            self._continue(result)
        elif result is _Outcome.UNKNOWN:
            self._restart()
        else:
            self._decide(is_committed=result is _Outcome.COMMITTED)

    def _continue(self, started: _Started) -> None:
        """Go on with a new producer: the state in Kafka says what became of the transaction under way."""
        assert self._state, "`begin` was called"
        self._producer = started.producer
        self._start_reason = ""
        self._note_success()
        is_committed = self._state.restore(started.records)
        if self._is_prepared or self.in_flight:
            self._decide(is_committed=is_committed and self._is_prepared)
        else:
            self._began_at = 0.0
            self._enter(_Phase.OPEN)

    def _decide(self, *, is_committed: bool) -> None:
        assert self._state, "`begin` was called"
        if is_committed:
            self.transactions["committed"] += 1
            self.committed_at = time.time()
            self.is_ready, self._sole_at = True, self._began_at
            self._state.commit()
        else:
            self.transactions["aborted"] += 1
            self._state.discard()
            if not self.failed:  # a record without a report, or one of the state
                self._report_each |= self._topics
                self._pause_until = time.monotonic() + PAUSE_SECONDS
            self.failed = [*_blamed(self.failed), *[(entry, REQUEUE) for entry in chain.from_iterable(self.settled)]]
            self.settled = []
        self._began_at, self._is_prepared = 0.0, False
        self._enter(_Phase.DECIDED)

    def _restart(self) -> None:
        self._fatal = None  # first, as `renew` may set it at any moment
        self._enter(_Phase.STARTING)
        self.is_busy = True
        self._task = _in_thread(self._start)

    def _run(self, step: Callable[[Producer], _Outcome]) -> None:
        self._enter(_Phase.ENDING)
        self.is_busy = True
        self._task = _in_thread(partial(step, self._producer))

    def _enter(self, phase: _Phase) -> None:
        if phase is not self._phase:
            self._phase, self._phase_at = phase, time.monotonic()

    # --- in the thread -------------------------------------------------------------------------------------------

    def _start(self) -> _Started:
        while True:
            try:
                producer = make_producer(self._properties)
                producer.init_transactions(STEP_SECONDS)
                return _Started(producer, self._read_state())
            except KafkaException as error:
                self._note_start(sentence(error.args[0]))
            except (ConnectionError, GatewayError) as error:
                self._note_start(str(error))
            time.sleep(PAUSE_SECONDS)

    def _note_start(self, reason: str) -> None:
        if reason != self._start_reason:
            text = (
                "No transaction can begin." if self.is_ready else "No broker is connected before a first transaction."
            )
            log.warning(text, extra={"detail": reason})
        self._start_reason = reason

    def _read_state(self) -> dict[str, bytes]:
        """Read the state, after the processes with former transactional ids were ended."""
        assert self._state, "`begin` was called"
        records = read_state(self._connection, self._state.prefixes)
        while former := self._state.handover(records):
            for transactional_id, heads in former.items():
                self._take_over(transactional_id, heads)
            records = read_state(self._connection, self._state.prefixes)
        return records

    def _take_over(self, transactional_id: str, records: Mapping[str, bytes]) -> None:
        try:
            producer = make_producer(self._properties | {"transactional.id": transactional_id})
            producer.init_transactions(STEP_SECONDS)
            producer.begin_transaction()
            for key, value in records.items():
                self._produce_state(key, value, producer)
            producer.commit_transaction(STEP_SECONDS)
        except KafkaException as error:
            raise ConnectionError(sentence(error.args[0], transactional_id)) from None

    def _commit(self, records: Mapping[str, bytes | None], producer: Producer) -> _Outcome:
        try:
            for key, value in records.items():
                self._produce_state(key, value, producer)
        except KafkaException as error:
            self.blocked_reason = sentence(error.args[0], STATE_TOPIC)
            return self._abort(producer)
        result, reason = self._repeat(producer.commit_transaction)
        if result is _Outcome.ABORTED:
            self.blocked_reason = sentence(reason) if reason else ""
            return self._abort(producer)
        return result

    @staticmethod
    def _produce_state(key: str, value: bytes | None, producer: Producer) -> None:
        while True:
            try:
                producer.produce(STATE_TOPIC, value, key.encode(), STATE_PARTITION)
            except BufferError:  # a small queue, set by the operator
                producer.poll(0.01)
            else:
                return

    def _abort(self, producer: Producer) -> _Outcome:
        result, _ = self._repeat(producer.abort_transaction)
        return _Outcome.ABORTED if result is _Outcome.COMMITTED else _Outcome.UNKNOWN

    def _repeat(self, request: Callable[[float], None]) -> tuple[_Outcome, KafkaError | None]:
        """Repeat a request while that is allowed; say what to do about an error."""
        while True:
            try:
                request(STEP_SECONDS)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if not reason.retriable():
                    return (_Outcome.ABORTED if reason.txn_requires_abort() else _Outcome.UNKNOWN), reason
            else:
                return _Outcome.COMMITTED, None


def _blamed(failed: list[tuple[Entry, KafkaError]]) -> list[tuple[Entry, KafkaError]]:
    """Leave its error only to the record that ended the transaction: the others failed because of it."""
    refused = [error for _, error in failed if outcome(error) is Outcome.REFUSE]
    return [
        (entry, REQUEUE if is_collateral(error) or (refused and error not in refused) else error)
        for entry, error in failed
    ]


def _in_thread(step: Callable[[], _Started | _Outcome]) -> Future[_Started | _Outcome]:
    """Run a step in a thread that does not keep the process alive: the next process ends its transaction."""
    task: Future[_Started | _Outcome] = Future()

    def run() -> None:
        try:
            task.set_result(step())
        except BaseException as error:  # noqa: BLE001 - the loop gets it
            task.set_exception(error)

    threading.Thread(target=run, name="transaction", daemon=True).start()
    return task
