"""Replay: dead letters that fit today's contract go to their topic, each once.

Never twice is kept by two records of what was done, because Kafka and a file cannot change in one step:

1. `gateway-replayed.json` beside the spool: the offsets that were replayed, and for a run that has not ended the
   *tails*: where the target topics ended before its first record. Replaced by temporary file, fsync, rename, fsync of
   the folder.
2. the header `dead_letter.origin` = `topic:partition:offset` on each replayed record; of a letter that is an array,
   on the last of its records, which leaves when Kafka has the others.

The tails are on disk before the first record leaves. A run that finds open tails, because the one before was killed or
gave up on Kafka, first reads the target topics from there on and takes every origin it meets as replayed. The file may
therefore lag behind by seconds without harm, and it is written so seldom that a million letters cost little.
An entry counts only for a record with the same timestamp: a dead-letter topic that was deleted and made anew begins at
offset 0 again. Entries that retention has passed are forgotten.

What is not promised:

- an array is repeated from its first record when it was interrupted before the last;
- a request of a killed run that reaches Kafka only after the next run has looked (a broker frozen over both) repeats
  what it holds;
- a record that the target topic has deleted or compacted away before the next run looked is repeated if the run that
  wrote it was killed;
- a replayed record keeps the timestamp of its reading: a target topic whose retention is shorter than the letter is
  old deletes it as soon as Kafka looks;
- a second installation, or one that lost its state folder, knows nothing of this one's replays;
- order between replayed records and newer ones: a replayed reading comes after what was delivered meanwhile, with
  its old timestamp. Among themselves replayed records of a topic keep the order in which they were received.

Rejected: an offset committed by a consumer group, because what still does not fit stays behind in the middle and is
replayed another day; transactions, which would bind file and topic no better, want rights on a transactional id and
show aborted records to readers that do not ask for committed ones only; a topic for the marks, one more thing to create
and to grant.

Cut letters and foreign records are never replayed. A target topic that does not take records is left alone for the
rest of the run, so that nothing behind gets ahead.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec import structs

from gateway import files as durable
from gateway.core.entry import Entry
from gateway.errors import GatewayError, PeerError
from gateway.kafka.errors import Outcome, outcome, sentence
from gateway.kafka.partitions import Partitions, Span
from gateway.kafka.sink import DEFAULTS, RECORD_OVERHEAD, KafkaSink
from gateway.operate.dlq.dead_letters import DeadLetters, Place, headers_of, topics_of
from gateway.operate.dlq.verdict import Fits, Judge, Undecidable
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from confluent_kafka import KafkaError, Message

    from gateway.core.model import Stream
    from gateway.core.reading import Record
    from gateway.installation import Installation
    from gateway.operate.dlq.dead_letters import Letter
    from gateway.registry.registry import SchemaRegistry

    Pair = tuple[Letter, Record | list[Record]]

JOURNAL_FILE = "gateway-replayed.json"  # beside the spool
FORMAT = 1
ORIGIN_HEADER = "dead_letter.origin"
WAVE_RECORDS = 1_000
WAVE_BYTES = 8 * 2**20
SAVE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
MOST_TRIES = 3

Tails = dict[str, dict[int, int]]  # topic -> partition -> offset


class Journal:
    """What was replayed, kept over runs and crashes. Who writes holds the lock (`locked`).

    Args:
        path: the file; need not exist.

    Raises:
        GatewayError: when it exists and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[tuple[str, int], dict[int, int]] = {}  # partition -> offset -> timestamp
        self._found: set[Place] = set()  # in the target topics, timestamp not known yet
        self._tails: Tails = {}
        self._saved_at = time.monotonic()
        self._read()

    def recover(self, partitions: Partitions) -> None:
        """Find out what a run that did not end replayed beyond what it wrote down.

        Raises:
            GatewayError: when Kafka stops answering.
        """
        for topic, starts in self._tails.items():
            for span in partitions.spans([topic], is_missing_fine=True):
                start = min(starts.get(span.partition, 0), span.until)
                for record in partitions.records(span._replace(first=max(span.first, start))):
                    self._found.update(_origins(record))

    def has(self, letter: Letter) -> bool:
        """Tell whether a letter was replayed; what recovery found is written down with it."""
        if letter.place in self._found:
            self._found.discard(letter.place)
            self.add(letter)
        return self._done.get(letter.place[:2], {}).get(letter.place.offset) == letter.timestamp

    def add(self, letter: Letter) -> None:
        """Note that Kafka has acknowledged a letter's record."""
        self._done.setdefault(letter.place[:2], {})[letter.place.offset] = letter.timestamp

    def begin(self, ends: Iterable[Span]) -> None:
        """Write down where the target topics end; only then may records leave. Open tails stay where they are."""
        for span in ends:
            self._tails.setdefault(span.topic, {}).setdefault(span.partition, span.until)
        self.save()

    def save_now_and_then(self) -> None:
        """Save when the last time is seconds ago."""
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def end(self, held: Iterable[Span]) -> None:
        """Close the tails: nothing is under way, and every dead letter was looked at.

        Args:
            held: what the dead-letter topics hold; older entries are forgotten.
        """
        self._tails = {}
        for span in held:
            done = self._done.get((span.topic, span.partition), {})
            for offset in [offset for offset in done if offset < span.first]:
                del done[offset]
        self.save()

    def save(self) -> None:
        """Replace the file.

        Raises:
            GatewayError: when the disk does not take it.
        """
        replayed: dict[str, dict[int, dict[int, int]]] = {}
        for (topic, partition), done in self._done.items():
            replayed.setdefault(topic, {})[partition] = done
        try:
            durable.replace(self._path, json.dumps({"format": FORMAT, "replayed": replayed, "tails": self._tails}))
        except OSError as error:
            told = f"The record of what was replayed cannot be written to {self._path}: {error.strerror}."
            raise GatewayError(told, "Mend that and replay again: what got through is found in Kafka.") from None
        self._saved_at = time.monotonic()

    def _read(self) -> None:
        try:
            data = json.loads(self._path.read_bytes())
            _check_format(data["format"])
            self._tails = {topic: _numbers(starts) for topic, starts in data["tails"].items()}
            for topic, partitions in data["replayed"].items():
                for partition, done in partitions.items():
                    self._done[topic, int(partition)] = _numbers(done)
        except FileNotFoundError:
            return
        except OSError as error:
            told = f"The record of what was replayed, {self._path}, cannot be read: {error.strerror}."
            raise GatewayError(told, "Run this as the gateway's user.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            told = f"The record of what was replayed, {self._path}, is damaged or of a newer version."
            hint = "Restore it. Without it, what was replayed before would be replayed again."
            raise GatewayError(told, hint) from None


@contextmanager
def locked(path: Path) -> Iterator[Journal]:
    """Open the journal and keep other replays of this installation out until the end.

    Args:
        path: of the journal.

    Raises:
        GatewayError: when another replay is running, or the folder cannot be written.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        told = f"The folder {path.parent} cannot be written: {error.strerror}."
        raise GatewayError(told, "Run this as the gateway's user.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise GatewayError("Another replay of this installation is running.", "Wait until it has ended.") from None
    try:
        yield Journal(path)
    finally:
        os.close(lock)


@dataclass(slots=True)
class Report:
    """What became of the dead letters.

    Args:
        replayed: produced and acknowledged; in a dry run those that would be produced.
        already: replayed by an earlier run.
        left_out: by `--reason` or `--stream`.
        still: do not fit today either, by today's reason.
        unjudged: by outcome: `cut`, `foreign`.
        failed: fit and could not be produced, by what is in the way.
    """

    replayed: int = 0
    already: int = 0
    left_out: int = 0
    still: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def as_text(self, *, is_dry: bool) -> str:
        """Lines for people, one an outcome."""
        lines = [
            f"{'would be replayed' if is_dry else 'replayed'}: {self.replayed}",
            f"replayed before: {self.already}",
            f"still do not fit: {self.still.total()}{_listed(self.still)}",
            f"never replayed: {self.unjudged.total()}{_listed(self.unjudged)}",
        ]
        if self.left_out:
            lines.append(f"left out: {self.left_out}")
        lines += [f"could not be produced: {count}: {printable(told)}" for told, count in self.failed.items()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Facts for machines."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in _fields(self)}


def _fields(report: Report) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(report, name)) for name in report.__slots__)


def _listed(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{name} {count}' for name, count in counts.most_common())})" if counts else ""


class Selection:
    """The letters that are to be replayed now, and the report on all others.

    Args:
        judge: of today's contract.
        journal: of former replays.
        reason: only letters that bear this reason, or None.
        stream: only letters that this operation refused, or None.
    """

    def __init__(self, judge: Judge, journal: Journal, reason: str | None, stream: str | None) -> None:
        self.report = Report()
        self._judge = judge
        self._journal = journal
        self._reason = reason
        self._stream = stream

    def __call__(self, letters: Iterable[Letter]) -> Iterator[Pair]:
        """Pick letters that fit, each with the record to produce for it, or with several."""
        for letter in letters:
            if self._journal.has(letter):
                self.report.already += 1
            elif not self._is_wanted(letter):
                self.report.left_out += 1
            elif record := self._judged(letter):
                yield letter, record

    def _is_wanted(self, letter: Letter) -> bool:
        return self._reason in {None, letter.reason} and self._stream in {None, letter.reading.stream}

    def _judged(self, letter: Letter) -> Record | list[Record] | None:
        verdict = self._judge(letter)
        if isinstance(verdict, Fits):
            origin = f"{letter.place.topic}:{letter.place.partition}:{letter.place.offset}".encode()
            *others, last = verdict.records
            last = structs.replace(last, headers=[*last.headers, (ORIGIN_HEADER, origin)])
            return [*others, last] if others else last
        if not isinstance(verdict, Undecidable):
            self.report.still[verdict.letter.reason] += 1
        elif verdict.outcome == "no_schema_id":
            self.report.failed[verdict.told] += 1
        else:
            self.report.unjudged[verdict.outcome] += 1
        return None


class UnconfirmedError(PeerError):
    """Kafka has not told what became of a record: it may be there, or come to be there."""


class Replay:
    """Produces the records of a selection.

    Args:
        sink: a producer of its own.
        partitions: reads the target topics.
        journal: locked by this process.
        report: counts what becomes of each.
        patience_seconds: how long Kafka may not confirm anything.
    """

    def __init__(
        self,
        sink: KafkaSink,
        partitions: Partitions,
        journal: Journal,
        report: Report,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._sink = sink
        self._partitions = partitions
        self._journal = journal
        self._report = report
        self._patience = patience_seconds
        self._closed: dict[str, str] = {}  # target topic -> why nothing more is sent to it in this run
        self._has_begun = False

    def run(self, selected: Iterable[Pair], held: Iterable[Span], targets: set[str]) -> None:
        """Produce all of them, in their order.

        Args:
            selected: letters with their records.
            held: what the dead-letter topics hold, for forgetting older entries.
            targets: all topics that a record may go to.

        Raises:
            GatewayError: when Kafka does not answer or stops confirming.
        """
        try:
            missing = self._sink.missing_topics(targets, 10.0)
        except ConnectionError as error:
            raise GatewayError(f"Kafka does not answer: {printable(str(error))}.", "Nothing was replayed.") from None
        self._closed = dict.fromkeys(missing, "")
        for topic in missing:
            self._closed[topic] = f"{topic}: the topic does not exist, or this user may not see it"
        try:
            for wave in _waves(selected):
                self._begin(targets)
                self._produce(wave)
                self._journal.save_now_and_then()
        except UnconfirmedError:
            self._journal.save()
            told = f"Kafka confirmed nothing for {self._patience:g} s; {self._report.replayed} were replayed before."
            raise GatewayError(told, "Replay again when Kafka is back: what got through is not repeated.") from None
        self._journal.end(held)

    def _begin(self, targets: set[str]) -> None:
        if not self._has_begun:
            self._journal.begin(self._partitions.spans(sorted(targets), is_missing_fine=True))
            self._has_begun = True

    def _produce(self, wave: list[Pair]) -> None:
        """Produce a wave at once; if anything fails, look what is there and produce the others one by one."""
        for letter, several in wave:
            if isinstance(several, list):  # it is a wave by itself
                self._produce_several(letter, several)
                return
        left = self._send([pair for pair in wave if not self._is_closed(pair[1])])
        if not left:
            return
        self._journal.recover(self._partitions)
        for letter, record in left:
            if self._journal.has(letter):
                self._report.replayed += 1
            elif not self._is_closed(record):
                self._produce_alone(letter, record)

    def _produce_several(self, letter: Letter, records: list[Record]) -> None:
        """Produce all but the last, and then the last, which says that all are there."""
        *others, last = records
        if not any(map(self._is_closed, records)) and self._produce_alone(letter, others, is_booked=False):
            self._produce([(letter, last)])

    def _is_closed(self, record: Record | list[Record]) -> bool:
        assert not isinstance(record, list), "several records are no part of a wave"
        if why := self._closed.get(record.topic):
            self._report.failed[why] += 1
        return bool(why)

    def _produce_alone(self, letter: Letter, record: Record | list[Record], *, is_booked: bool = True) -> bool:
        for _ in range(MOST_TRIES):
            if not self._send([(letter, record)], is_booked=is_booked):
                return True
            error = self._error
            if error is None or outcome(error) is not Outcome.REQUEUE:
                break
        topics = sorted({one.topic for one in (record if isinstance(record, list) else [record])})
        named = ", ".join(topics)
        told = sentence(error, named) if error else f"{named}: the producer takes nothing"
        if error is None or outcome(error) is not Outcome.REFUSE:  # a refused record is alone to blame
            self._closed |= dict.fromkeys(topics, told)
        self._report.failed[told] += 1
        return False

    _error: KafkaError | None = None  # what Kafka said last of a record that it did not take

    def _send(self, wave: list[Pair], *, is_booked: bool = True) -> list[Pair]:
        """Send until one fails, and wait for all reports.

        Args:
            wave: letters with what is sent for them.
            is_booked: a letter is done with when Kafka has this.

        Returns:
            What Kafka did not take, in order.

        Raises:
            UnconfirmedError: nothing was reported for too long.
        """
        unsent = deque(enumerate(wave))
        settled: set[int] = set()
        self._error = None
        heard_at = time.monotonic()
        while (unsent and not self._error) or self._sink.in_flight:
            while unsent and not self._error and self._sink.room and self._hand_over(*unsent[0]):
                unsent.popleft()
            self._sink.poll(0.1)
            runs, failed = self._sink.take_reports()
            taken = list(chain.from_iterable(runs))
            settled.update(entry.offset for entry in taken)
            for entry in taken if is_booked else ():
                self._book(wave[entry.offset][0])
            if failed:
                self._error = failed[0][1]
            if taken or failed:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > self._patience:
                raise UnconfirmedError
        return [pair for index, pair in enumerate(wave) if index not in settled]

    def _hand_over(self, index: int, pair: Pair) -> bool:
        letter, record = pair
        return not self._sink.send([record], [Entry(letter.reading, None, 0, index)])

    def _book(self, letter: Letter) -> None:
        self._journal.add(letter)
        self._report.replayed += 1


def replay(installation: Installation, reason: str | None, stream: str | None) -> Report:
    """Replay an installation's dead letters.

    Args:
        installation: whose contract judges, and whose state folder keeps the journal.
        reason: only letters that bear this reason, or None.
        stream: only letters that this operation refused, or None.

    Returns:
        What became of every letter.

    Raises:
        GatewayError: when Kafka, the journal or another replay is in the way.
    """
    partitions = Partitions(installation.kafka(producing=False))
    sink = KafkaSink(installation.kafka(producing=True))
    targets = {each.route.topic.name for each in installation.contract.streams.values()}
    judge = Judge(installation.contract, sink.record_limit - RECORD_OVERHEAD, _schema_ids(installation.registry()))
    with locked(journal_path(installation)) as journal:
        journal.recover(partitions)
        letters = DeadLetters(partitions, topics_of(installation.contract))  # looked at after the lock is held
        selection = Selection(judge, journal, reason, stream)
        Replay(sink, partitions, journal, selection.report).run(selection(letters), letters.spans, targets)
    return selection.report


def rehearse(installation: Installation, reason: str | None, stream: str | None) -> Report:
    """Tell what `replay` would do; nothing is written, produced or registered.

    Args:
        installation: as for `replay`.
        reason: likewise.
        stream: likewise.

    Returns:
        What would become of every letter, as far as Kafka takes all records.

    Raises:
        GatewayError: when Kafka does not answer, or the journal cannot be read.
    """
    partitions = Partitions(installation.kafka(producing=False))
    journal = journal_of(installation, partitions)
    selection = Selection(judge_of(installation), journal, reason, stream)
    selection.report.replayed = sum(1 for _ in selection(DeadLetters(partitions, topics_of(installation.contract))))
    return selection.report


def journal_path(installation: Installation) -> Path:
    """Say where the journal is."""
    return installation.spool_path.parent / JOURNAL_FILE


def journal_of(installation: Installation, partitions: Partitions) -> Journal:
    """Open the journal for reading, with what an interrupted run left in Kafka."""
    journal = Journal(journal_path(installation))
    journal.recover(partitions)
    return journal


def judge_of(installation: Installation) -> Judge:
    """Make a judge whose records are not for producing."""
    limit = int((DEFAULTS | installation.kafka(producing=True))["message.max.bytes"])
    return Judge(installation.contract, limit - RECORD_OVERHEAD)


def _schema_ids(registry: SchemaRegistry) -> Callable[[Stream], int | str]:
    def schema_id(stream: Stream) -> int | str:
        found = registry.ids([stream.route])
        refusal = next((refusal.reason for refusal in found.refusals), "")
        return found.ids.get(stream.route.subject, f"{stream.route.topic.name} has no schema id. {refusal}")

    return schema_id


def _waves(selected: Iterable[Pair]) -> Iterator[list[Pair]]:
    wave: list[Pair] = []
    size = 0
    for letter, record in selected:
        if isinstance(record, list):
            if wave:
                yield wave
            yield [(letter, record)]
            wave, size = [], 0
            continue
        wave.append((letter, record))
        size += len(record.value or b"")
        if len(wave) >= WAVE_RECORDS or size >= WAVE_BYTES:
            yield wave
            wave, size = [], 0
    if wave:
        yield wave


def _origins(record: Message) -> Iterator[Place]:
    for name, value in headers_of(record):
        if name == ORIGIN_HEADER:
            topic, _, rest = value.decode(errors="replace").partition(":")
            partition, _, offset = rest.partition(":")
            if partition.isdigit() and offset.isdigit() and len(rest) < 32:
                yield Place(topic, int(partition), int(offset))


def _check_format(told: object) -> None:
    if told != FORMAT:
        raise ValueError


def _numbers(values: dict[str, int]) -> dict[int, int]:
    return {int(name): int(value) for name, value in values.items()}
