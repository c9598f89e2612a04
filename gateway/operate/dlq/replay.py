"""Replay: produces the dead letters that fit the current contract to their topics, each once.

`journal.py` says how a second replay of a dead letter is prevented, and `replay_state.py` how that becomes exact with
`delivery: exactly_once`. The limits of the first:

- An array that was interrupted before its last record is sent again from the first.
- A request of a killed run that reaches Kafka only after the next run read the topics (a broker that hung meanwhile)
  is repeated. So is a record of a killed run that retention or compaction removed before the next run read it.
- Another installation, or one that lost its state folder, has no record of what this one replayed.

In both modes:

- A replayed record has the timestamp of its reading, or that of the replay where the topic would delete it soon.
- A replayed record comes after newer records that were delivered before it. Replayed records of a topic keep the
  order in which the readings were received.

Cut dead letters and foreign records are never replayed. A target topic that does not accept a record gets no more
records in this run, so that none overtakes it.

Rejected: the committed offset of a consumer group, because dead letters that do not fit yet stay in between;
transactions with `at_least_once`, which do not bind the file to the topic, need rights on a transactional id, and show
aborted records to consumers that read uncommitted ones.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

from gateway.core.entry import Entry
from gateway.errors import GatewayError, PeerError
from gateway.kafka.errors import Outcome, outcome, sentence
from gateway.kafka.partitions import Partitions
from gateway.kafka.sink import RECORD_OVERHEAD, KafkaSink
from gateway.kafka.state_topic import read_state
from gateway.kafka.transactional_sink import TransactionalSink
from gateway.operate.dlq.dead_letters import DeadLetters, topics_of
from gateway.operate.dlq.journal import JOURNAL_FILE, ORIGIN_HEADER, Journal, locked
from gateway.operate.dlq.replay_state import ReplayState, enter, prefixes, replay_id
from gateway.operate.dlq.verdict import Fits, Rejected, Revalidator
from gateway.service.record_times import RecordTimes
from gateway.text import printable, sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from confluent_kafka import KafkaError

    from gateway.core.model import Stream
    from gateway.core.reading import Record
    from gateway.installation import Installation
    from gateway.kafka.partitions import Span
    from gateway.operate.dlq.dead_letters import StoredDeadLetter
    from gateway.registry.registry import SchemaRegistry

BATCH_RECORDS = 1_000
BATCH_BYTES = 8 * 2**20
PATIENCE_SECONDS = 60.0
MAX_TRIES = 3


@dataclass(slots=True)
class Report:
    """What happened to the dead letters."""

    replayed: int = 0  # produced and acknowledged; in a dry run those that would be produced
    already: int = 0  # replayed by an earlier run
    left_out: int = 0  # by `--reason` or `--stream`
    rejected: Counter[str] = field(default_factory=Counter)  # do not fit now either, by reason
    undecidable: Counter[str] = field(default_factory=Counter)  # by outcome: `cut`, `foreign`
    failed: Counter[str] = field(default_factory=Counter)  # fit and could not be produced, by cause

    def as_text(self, *, is_dry: bool) -> str:
        """Lines for people."""
        lines = [
            f"{'would be replayed' if is_dry else 'replayed'}: {self.replayed}",
            f"replayed before: {self.already}",
            f"still invalid: {self.rejected.total()}{_listed(self.rejected)}",
            f"never replayed: {self.undecidable.total()}{_listed(self.undecidable)}",
        ]
        if self.left_out:
            lines.append(f"left out: {self.left_out}")
        lines += [f"could not be produced: {count}: {printable(cause)}" for cause, count in self.failed.items()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Facts for machines."""
        return {
            "replayed": self.replayed,
            "already": self.already,
            "left_out": self.left_out,
            "still": dict(self.rejected),
            "unjudged": dict(self.undecidable),
            "failed": dict(self.failed),
        }


def _listed(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{name} {count}' for name, count in counts.most_common())})" if counts else ""


class Job(NamedTuple):
    """A dead letter with the records to produce for it, all to one topic; the last record has its origin."""

    dead_letter: StoredDeadLetter
    records: tuple[Record, ...]

    @property
    def topic(self) -> str:
        """The target topic."""
        return self.records[0].topic

    @property
    def is_array(self) -> bool:
        """True for several records."""
        return len(self.records) > 1


@dataclass(slots=True)
class Selection:
    """Selects the dead letters to replay, and reports all others; a reason or stream of None selects any."""

    revalidate: Revalidator
    journal: Journal
    reason: str | None
    stream: str | None
    report: Report = field(default_factory=Report)

    def __call__(self, dead_letters: Iterable[StoredDeadLetter]) -> Iterator[Job]:
        """Give a job for each dead letter that fits."""
        for dead_letter in dead_letters:
            if self.journal.has(dead_letter):
                self.report.already += 1
            elif not self._is_selected(dead_letter):
                self.report.left_out += 1
            elif records := self._records(dead_letter):
                yield Job(dead_letter, records)

    def _is_selected(self, dead_letter: StoredDeadLetter) -> bool:
        return self.reason in {None, dead_letter.reason} and self.stream in {None, dead_letter.reading.stream}

    def _records(self, dead_letter: StoredDeadLetter) -> tuple[Record, ...]:
        verdict = self.revalidate(dead_letter)
        if isinstance(verdict, Fits):
            *others, last = verdict.records
            origin = ":".join(map(str, dead_letter.place)).encode()
            return (*others, structs.replace(last, headers=[*last.headers, (ORIGIN_HEADER, origin)]))
        if isinstance(verdict, Rejected):
            self.report.rejected[verdict.dead_letter.reason] += 1
        elif verdict.outcome == "no_schema_id":
            self.report.failed[verdict.reason] += 1
        else:
            self.report.undecidable[verdict.outcome] += 1
        return ()


class UnconfirmedError(PeerError):
    """Kafka did not report the outcome of a record: it may be there, or arrive later."""


@dataclass(slots=True)
class Replay:
    """Produces the records of jobs, and counts the outcomes; the journal is locked by this process."""

    sink: KafkaSink
    partitions: Partitions
    journal: Journal
    report: Report
    patience_seconds: float = PATIENCE_SECONDS  # how long to wait for a report from Kafka
    state: ReplayState | None = None  # of a sink with transactions
    _blocked: dict[str, str] = field(default_factory=dict)  # target topic -> why it gets no more records in this run

    def begin(self, sink: TransactionalSink, state: ReplayState) -> None:
        """Read the journal in Kafka, and end other replays; GatewayError when that takes too long."""
        self.state = state
        sink.begin(state)
        until = time.monotonic() + self.patience_seconds
        while not sink.is_ready:
            sink.poll(0.1)
            sink.take_reports()
            if time.monotonic() > until:
                text = printable(f"Kafka takes no transactions: {sink.waiting_reason}")
                raise GatewayError(*sentences(text))

    def run(self, jobs: Iterable[Job], held: Iterable[Span], targets: set[str]) -> None:
        """Produce all records in order.

        The jobs may be made from Kafka's records while this runs. `held` is what the dead-letter topics hold, `targets`
        are all topics that a record may go to. GatewayError when Kafka does not answer or stops reporting.
        """
        try:
            missing = self.sink.missing_topics(targets, 10.0)
        except ConnectionError as error:
            raise GatewayError(f"Kafka does not answer: {printable(str(error))}.", "Nothing was replayed.") from None
        self._blocked = {name: f"{name}: the topic does not exist, or this user may not see it" for name in missing}
        try:
            for number, batch in enumerate(_batches(jobs)):
                if not number:
                    self.journal.begin(self.partitions.spans(sorted(targets), is_missing_fine=True))
                if batch[0].is_array and not self.state:
                    self._produce_array(batch[0])
                else:
                    self._produce(batch)
                self.journal.save_if_due()
        except UnconfirmedError:
            self.journal.save()
            cause = self.sink.waiting_reason or self.sink.blocked_reason
            reason = printable(f" ({cause})") if cause else ""
            before = f"{self.report.replayed} replayed before"
            raise GatewayError(
                f"Kafka confirmed nothing for {self.patience_seconds:g} s{reason}; {before}.",
                "Replay again when Kafka is back: records that Kafka has already are not repeated.",
            ) from None
        self.journal.end(held)

    def _produce(self, batch: list[Job]) -> None:
        """Produce a batch at once; if a record fails, read which ones Kafka has and produce the others one by one."""
        left, _ = self._send([job for job in batch if not self._is_blocked(job)])
        if left:
            self.journal.recover(self.partitions)
        for job in left:
            if self.journal.has(job.dead_letter):
                self.report.replayed += 1
            elif not self._is_blocked(job):
                self._produce_alone(job)

    def _produce_array(self, job: Job) -> None:
        """Produce all records but the last; then the last, whose origin says that Kafka has all of them."""
        first, last = job._replace(records=job.records[:-1]), job._replace(records=job.records[-1:])
        if not self._is_blocked(job) and self._produce_alone(first, is_complete=False):
            self._produce([last])

    def _is_blocked(self, job: Job) -> bool:
        if reason := self._blocked.get(job.topic):
            self.report.failed[reason] += 1
        return bool(reason)

    def _produce_alone(self, job: Job, *, is_complete: bool = True) -> bool:
        _, error = self._send([job], is_complete=is_complete)
        for _ in range(MAX_TRIES - 1):
            if not error or outcome(error) is not Outcome.REQUEUE:
                break
            _, error = self._send([job], is_complete=is_complete)
        if not error:
            return True
        reason = sentence(error, job.topic)
        if outcome(error) is not Outcome.REFUSE:  # a refused record is the only one affected
            self._blocked[job.topic] = reason
        self.report.failed[reason] += 1
        return False

    def _send(self, jobs: list[Job], *, is_complete: bool = True) -> tuple[list[Job], KafkaError | None]:
        """Send jobs until one fails, and wait for all reports: jobs of one record each, or one job of several records.

        With `is_complete` these are the last records of their dead letters. Returns the jobs that Kafka did not
        acknowledge, in order, and the error. UnconfirmedError when no report came for too long.
        """
        unsent = deque(enumerate(jobs))
        if self.state:
            self.state.dead_letters = [job.dead_letter for job in jobs]
        settled: set[int] = set()
        error: KafkaError | None = None
        reported_at = time.monotonic()
        while (unsent and not error) or self.sink.in_flight:
            while unsent and not error and self.sink.room and self._hand_over(*unsent[0]):
                unsent.popleft()
            self.sink.poll(0.1)
            runs, failed = self.sink.take_reports()
            for entry in chain.from_iterable(runs):
                settled.add(entry.offset)
                if is_complete:
                    self.journal.add(jobs[entry.offset].dead_letter)
                    self.report.replayed += 1
            if failed:
                error = failed[0][1]
            if runs or failed:
                reported_at = time.monotonic()
            elif time.monotonic() - reported_at > self.patience_seconds:
                raise UnconfirmedError
        return [job for index, job in enumerate(jobs) if index not in settled], error

    def _hand_over(self, index: int, job: Job) -> bool:
        records = list(job.records) if job.is_array else job.records[0]
        return not self.sink.send([records], [Entry(job.dead_letter.reading, None, 0, index)])


def replay(installation: Installation, reason: str | None, stream: str | None) -> Report:
    """Replay dead letters; GatewayError without Kafka, with an unusable journal, or while another replay runs."""
    partitions, topics = Partitions(installation.kafka(producing=False)), topics_of(installation.contract)
    sink = _sink(installation, topics)
    streams = [each for stream in installation.contract.streams.values() for each in stream.by_message]
    targets = {route.topic.name for each in streams for route in each.route.each}
    payload_limit = sink.record_limit - RECORD_OVERHEAD
    times = RecordTimes(installation.contract.streams.values(), partial(installation.kafka, producing=True))
    times.look_up()
    revalidator = Revalidator(installation.contract, payload_limit, _schema_ids(installation.registry()), times)
    with locked(_journal_path(installation)) as journal:
        journal.recover(partitions)
        dead_letters = DeadLetters(partitions, topics)  # read only when the lock is held
        selection = Selection(revalidator, journal, reason, stream)
        one = Replay(sink, partitions, journal, selection.report)
        if isinstance(sink, TransactionalSink):
            one.begin(sink, ReplayState(journal, dead_letters.spans))
        one.run(selection(dead_letters), dead_letters.spans, targets)
    return selection.report


def _sink(installation: Installation, topics: list[str]) -> KafkaSink:
    properties = installation.kafka(producing=True)
    return TransactionalSink(properties, replay_id(topics)) if installation.delivers_once else KafkaSink(properties)


def rehearse(installation: Installation, reason: str | None, stream: str | None) -> Report:
    """Report what `replay` would do if Kafka accepts all records; nothing is written, produced or registered."""
    partitions = Partitions(installation.kafka(producing=False))
    journal = journal_of(installation, partitions)
    selection = Selection(revalidator_of(installation), journal, reason, stream)
    selection.report.replayed = sum(1 for _ in selection(DeadLetters(partitions, topics_of(installation.contract))))
    return selection.report


def journal_of(installation: Installation, partitions: Partitions) -> Journal:
    """Open the journal for reading, with what an interrupted run has produced."""
    journal = Journal(_journal_path(installation))
    journal.recover(partitions)
    if installation.delivers_once:
        try:
            enter(read_state(installation.kafka(producing=False), prefixes(topics_of(installation.contract))), journal)
        except ConnectionError as error:
            raise GatewayError(*sentences(printable(f"The journal of replays cannot be read: {error}"))) from None
    return journal


def revalidator_of(installation: Installation) -> Revalidator:
    """Make a revalidator whose records are not for producing."""
    return Revalidator(installation.contract, installation.payload_limit)


def _journal_path(installation: Installation) -> Path:
    return installation.spool_path.parent / JOURNAL_FILE


def _schema_ids(registry: SchemaRegistry) -> Callable[[Stream], list[int] | str]:
    def schema_ids(stream: Stream) -> list[int] | str:
        routes = stream.routes
        resolved = registry.ids(list(routes))
        missing = next((route.topic.name for route in routes if route.subject not in resolved.ids), None)
        reason = next((refusal.reason for refusal in resolved.refusals), "")
        if missing is not None:
            return f"{missing} has no schema id. {reason}"
        return [resolved.ids[route.subject] for route in routes]

    return schema_ids


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Group jobs of one record each into batches; an array is a batch of its own."""
    batch: list[Job] = []
    size = 0
    for job in jobs:
        is_full = len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES
        if batch and (is_full or job.is_array or batch[0].is_array):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += len(job.records[0].value or b"")
    if batch:
        yield batch
