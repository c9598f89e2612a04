"""The Kafka end: produce records, and tell what became of each.

What an error means stands in `kafka_errors.py`. Nothing times out inside librdkafka: `message.timeout.ms` is 0 and the
spool owns the patience.

Order through failures is librdkafka's gap-less guarantee: a batch that Kafka does not take makes the producer fatal, so
that nothing behind it gets ahead. A fatal producer takes nothing more; once it has reported all it held, and there is
something to send, a new one takes over. Without the guarantee a refused batch was stored behind its followers.

A reading of a stream with several topics, and a message that is an array, is several records. It is handed over as a
whole or not at all, and is reported once: settled when Kafka has all, failed with the gravest error when it has not.

`batch.size` never exceeds `message.max.bytes`, so a record that is too large is refused alone and does not take
good neighbours with it.

Arguments go to `produce` by position: names cost half a microsecond a record. None stands for the second name of the
report.

A report costs as much as handing the record over: Python gets copies of key and value, and calls back. So there is one
for each *run*, the readings of one partition in one `send`: by the same guarantee Kafka has all that stand before the
last when it has the last; when it has not, all are sent again. Which partition a key belongs to is librdkafka's to say:
the first report on a key tells, and what was learned is handed over with the next records, so that a run is of one
partition whatever becomes of the topic meanwhile. It is forgotten each minute, because a topic may get more partitions.
A topic of which Kafka has refused a record gets a report for each from then on, so that neighbours are not sent twice.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from bisect import bisect_left
from contextlib import suppress
from functools import partial
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer

from gateway.kafka.errors import (
    COLLATERAL,
    DISTRUSTED,
    Outcome,
    cause,
    diagnose_certificate,
    is_bystander,
    outcome,
    sentence,
)
from gateway.log import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from confluent_kafka import Message

    from gateway.core.entry import Entry
    from gateway.core.reading import Record


log = logging.getLogger(__name__)

FIXED: dict[str, str | int | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,
    "partitioner": "murmur2_random",  # where Java's producers put the same key
    "message.timeout.ms": 0,
    "allow.auto.create.topics": False,
    "sticky.partitioning.linger.ms": 0,
}
DEFAULTS: dict[str, str | int | bool] = {
    "client.id": "iot-gateway",
    "linger.ms": 0,  # a batch is what came in during the last turn, so a lone reading waits for nobody
    "compression.type": "lz4",
    "message.max.bytes": 1_000_000,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 65_536,
    "topic.metadata.propagation.max.ms": 5_000,  # how long a topic may be unknown before its records come back
    "reconnect.backoff.max.ms": 10_000,
    "statistics.interval.ms": 0,
    "log_level": 2,  # what goes wrong with connections comes to `_on_error`, where it is said once
}
DEBUG_DEFAULTS = {"log_level": 7}  # where `debug` is set: without a level librdkafka would take this one
WINDOW = 32_768  # records handed to librdkafka and not reported yet
WINDOW_BYTES = 16 * 2**20
LARGE_BYTES = 65_536  # such a reading is a run of its own: its record may be refused on the spot, which ends a `send`
FORGET_SECONDS = 60.0  # which partition a key belongs to
MAX_KEYS = 65_536
ANY_PARTITION = -1  # librdkafka's: the partitioner decides
Refusal = BufferError | KafkaException


class _Reports:
    """Collects the reports on the records of one reading.

    Args:
        report: called once, with the gravest error, when all have come.
        count: of the records.
    """

    __slots__ = ("_error", "_missing", "_report")

    def __init__(self, report: Callable[[KafkaError | None, Message | None], None], count: int) -> None:
        self._report = report
        self._missing = count
        self._error: KafkaError | None = None

    def __call__(self, error: KafkaError | None, message: Message | None) -> None:
        self._missing -= 1
        self._note(error)
        if not self._missing:
            self._report(self._error, message)

    def expect_no_more(self, error: KafkaError, count: int) -> None:
        """Note that so many records could not even be handed over."""
        self._missing -= count
        self._note(error)

    def _note(self, error: KafkaError | None) -> None:
        if error and (self._error is None or is_bystander(self._error)):
            self._error = error


def _size(entries: Iterable[Entry]) -> int:
    return sum([entry.size for entry in entries])


class _Partitions(dict[bytes, int]):
    """Which partition each key of a topic belongs to, as far as it is known."""

    def __missing__(self, _key: bytes) -> int:
        return ANY_PARTITION


class KafkaSink:
    """Produces records and collects their reports. Only the bridge's loop calls it, but for `missing_topics`.

    Args:
        properties: librdkafka's, for this installation: bootstrap servers, security, overrides of `DEFAULTS`.
        window_bytes: of readings handed to librdkafka and not reported yet; less than the spool's memory, or readings
            in flight alone could fill it and reading from MQTT would stop though the disk has room.
    """

    def __init__(self, properties: Mapping[str, Any], window_bytes: int = WINDOW_BYTES) -> None:
        merged = DEFAULTS | (DEBUG_DEFAULTS if "debug" in properties else {}) | dict(properties) | FIXED
        merged["batch.size"] = min(int(merged.get("batch.size", 1_000_000)), int(merged["message.max.bytes"]))
        self._properties = merged | {"error_cb": self._on_error, "logger": log}
        self._producer = Producer(self._properties)
        self.record_limit = int(merged["message.max.bytes"])
        self.settled: list[list[Entry]] = []
        self.failed: list[tuple[Entry, KafkaError]] = []
        self.in_flight = 0
        self._window_bytes = window_bytes
        self._bytes_in_flight = 0
        self._queue = int(merged["queue.buffering.max.messages"]) or sys.maxsize  # 0 is no limit
        self._window = min(WINDOW, self._queue)
        self._is_full = False
        self._unreported: list[Entry] = []  # handed over, and nothing asks for the report that would tell of them
        self._partitions: dict[str, _Partitions] = {}
        self._keys_learned, self._forget_at = 0, 0.0
        self._report_each: set[str] = set()  # topics of which Kafka has refused a record
        self._fatal: KafkaError | None = None
        self._conditions = Conditions()  # what the client reported since the last success
        self._certificate_probe = threading.Thread()
        self._is_undiagnosed = False  # a certificate was refused, and the greeter did not find out why
        self.blocked_reason = ""  # what the client last complained about; empty once a record gets through

    @property
    def room(self) -> int:
        """How many records may be handed over: 0 when a queue is full, or while the producer empties."""
        is_emptying = self._unreported or (self._fatal and self.in_flight)
        if self._is_full or is_emptying or self._bytes_in_flight >= self._window_bytes:
            return 0
        return self._window - self.in_flight

    @property
    def unreported(self) -> int:
        """How many readings are in flight of which no report has come."""
        return self.in_flight - sum(map(len, self.settled)) - len(self.failed)

    def send(self, records: Sequence[Record | list[Record]], entries: Sequence[Entry]) -> list[Entry]:
        """Hand records to librdkafka, in order for each partition, and stop at the first that it does not take.

        Args:
            records: what to produce for each reading: one record, all for the same topic, or several for each.
            entries: the readings, by offset; they turn up in `settled` or `failed` after a later `poll`.

        Returns:
            The readings that were not taken, by offset: some when the window or librdkafka's queue is full, when the
            producer has become fatal, or when a record failed on the spot, which itself is among the taken.
        """
        if not entries or (self._fatal and not self._replace()):
            return list(entries)
        count = self._fitting(entries)
        produce = self._produce_several if isinstance(records[0], list) else self._produce_runs
        left, error = produce(records[:count], entries[:count])  # type: ignore[arg-type]  # as the first
        if isinstance(error, BufferError):
            self._is_full = True
        elif error and error.args[0].code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own name
            self._fatal = error.args[0]
        elif error:  # refused on the spot, e.g. larger than message.max.bytes
            self.failed.append((left.pop(0), error.args[0]))
        self.in_flight += count - len(left)
        self._bytes_in_flight += _size(entries[:count]) - _size(left)
        return [*sorted(left, key=attrgetter("offset")), *entries[count:]]

    def _fitting(self, entries: Sequence[Entry]) -> int:
        """Count those that may go together; only the last of them goes beyond the window."""
        sizes = [entry.size for entry in entries]
        if max(sizes) > LARGE_BYTES:
            sizes = sizes[: next(number for number, size in enumerate(sizes) if size > LARGE_BYTES) or 1]
        room = self._window_bytes - self._bytes_in_flight
        return len(sizes) if sum(sizes) <= room else min(len(sizes), 1 + bisect_left(list(accumulate(sizes)), room))

    def _produce_runs(self, records: Sequence[Record], entries: Sequence[Entry]) -> tuple[list[Entry], Refusal | None]:
        """Hand over records of one topic, those of a partition together: so librdkafka sends them together.

        Returns:
            The readings that were not taken, the refused one first, and what librdkafka said to it.
        """
        topic = records[0].topic
        known = self._known_partitions(topic)
        partitions = [*map(known.__getitem__, [record.key for record in records])]
        if topic in self._report_each:
            partitions = [ANY_PARTITION] * len(records)
        runs: dict[int, tuple[list[Record], list[Entry]]] = {partition: ([], []) for partition in set(partitions)}
        for record, entry, partition in zip(records, entries, partitions, strict=True):
            run, its = runs[partition]
            run.append(record)
            its.append(entry)
        left: list[Entry] = []
        error: Refusal | None = None
        for partition, (run, its) in runs.items():
            taken = 0
            if not error:
                learning = known if partition == ANY_PARTITION else None
                taken, error = self._produce_run(run, its, partition, learning)
            left += its[taken:]
        return left, error

    def _produce_run(
        self, records: Sequence[Record], entries: list[Entry], partition: int, learning: _Partitions | None
    ) -> tuple[int, Refusal | None]:
        """Hand over records of one partition, and ask for a report on the last; or of any, and learn from each report.

        Returns:
            How many were taken, and what librdkafka said to the next.
        """
        reports: list[Callable[..., None] | None]
        if learning is None:
            reports = [None] * (len(records) - 1)
            reports.append(partial(self._report, entries))
        else:
            reports = [partial(self._learn, entry, learning) for entry in entries]
        produce, taken = self._producer.produce, 0
        try:
            for record, report in zip(records, reports, strict=True):
                produce(
                    record.topic, record.value, record.key, partition, report, None, record.timestamp, record.headers
                )
                taken += 1
        except (BufferError, KafkaException) as error:
            if learning is None:
                self._unreported += entries[:taken]
            return taken, error
        return taken, None

    def _known_partitions(self, topic: str) -> _Partitions:
        now = time.monotonic()
        if now >= self._forget_at or self._keys_learned > MAX_KEYS:
            self._partitions.clear()
            self._keys_learned, self._forget_at = 0, now + FORGET_SECONDS
        return self._partitions.setdefault(topic, _Partitions())

    def _produce_several(
        self, records: Sequence[list[Record]], entries: Sequence[Entry]
    ) -> tuple[list[Entry], Refusal | None]:
        """Hand over every record of each reading; a reading is reported once, when Kafka has told of all of its.

        All of them or none, as long as a report is to come, after which there is more room.

        Returns:
            The readings of which nothing was taken, and what librdkafka said to the first of them.
        """
        produce = self._producer.produce
        for taken, (group, entry) in enumerate(zip(records, entries, strict=True)):
            may_wait = self.in_flight or taken
            if may_wait and len(self._producer) + len(group) > self._queue:
                return list(entries[taken:]), BufferError()
            reports = _Reports(partial(self._report, [entry]), len(group))
            for number, record in enumerate(group):
                try:
                    produce(
                        record.topic, record.value, record.key, ANY_PARTITION, reports, None, record.timestamp,
                        record.headers,
                    )  # fmt: skip
                except (BufferError, KafkaException) as error:
                    if not number:
                        return list(entries[taken:]), error
                    self._is_full = isinstance(error, BufferError)
                    reports.expect_no_more(cause(error), len(group) - number)
                    return list(entries[taken + 1 :]), None
        return [], None

    # --- reports back --------------------------------------------------------------------------------------------

    def _learn(self, entry: Entry, known: dict[bytes, int], error: KafkaError | None, message: Message) -> None:
        key, partition = message.key(), message.partition()
        if error is None and key is not None and partition is not None:
            known[key] = partition
            self._keys_learned += 1
        self._report([entry], error, message)

    def _report(self, entries: list[Entry], error: KafkaError | None, message: Message | None) -> None:
        if error is None:
            self.settled.append(entries)
            return
        self.failed.extend([(entry, error) for entry in entries])
        if message and outcome(error) is Outcome.REFUSE:
            self._report_each.add(message.topic() or "")

    def poll(self, timeout_seconds: float) -> int:
        """Serve delivery reports, which add to `settled` and `failed`; wait for the first, at most so long.

        Returns:
            How many events were served.
        """
        try:
            if self._fatal:
                self._producer.purge(in_flight=False)
            served = int(self._producer.poll(timeout_seconds))
            if self._unreported and not len(self._producer):
                self._report(self._unreported, KafkaError(KafkaError._GAPLESS_GUARANTEE), None)  # noqa: SLF001 - librdkafka's own name
                self._unreported = []
            return served  # noqa: TRY300 - only the poll raises
        except KafkaException as error:  # only a fatal error is raised here
            self._fatal = error.args[0]
            return 1

    def take_reports(self) -> tuple[list[list[Entry]], list[tuple[Entry, KafkaError]]]:
        """Take what was reported since the last call.

        Returns:
            Entries that Kafka has acknowledged, each list of one `send`, and entries it did not take with the error.
        """
        settled, failed = self.settled, self.failed
        if settled or failed:
            self.settled, self.failed = [], []
            self._is_full = False
            if failed:
                self._partitions.clear()
            for entries in [*settled, [entry for entry, _ in failed]]:
                self.in_flight -= len(entries)
                self._bytes_in_flight -= _size(entries)
            if settled:
                self._note_success()
        return settled, self._name_cause(failed) if self._fatal else failed

    def _name_cause(self, failed: list[tuple[Entry, KafkaError]]) -> list[tuple[Entry, KafkaError]]:
        """Give records that a fatal producer dropped the error that made it fatal."""
        fatal = self._fatal
        assert fatal, "only called when it is known"
        if fatal.code() != KafkaError._GAPLESS_GUARANTEE:  # noqa: SLF001 - librdkafka's own name
            self.blocked_reason = sentence(fatal)
        return [(entry, fatal if error.code() in COLLATERAL else error) for entry, error in failed]

    def _replace(self) -> bool:
        """Let a new producer take over from a fatal one, if that has reported all it held."""
        if self.in_flight:
            return False
        self._producer = Producer(self._properties)
        self._fatal = None
        return True

    def missing_topics(self, names: set[str], timeout_seconds: float) -> set[str]:
        """Ask the cluster which topics it lacks. Blocks; may be called from any thread.

        Args:
            names: the topics wanted.
            timeout_seconds: how long to wait for an answer.

        Returns:
            The topics that the cluster does not have, or does not show to this user.

        Raises:
            ConnectionError: when no broker answers; the text says why as far as it is known.
        """
        try:
            found = self._producer.list_topics(timeout=timeout_seconds).topics
        except KafkaException as error:
            raise ConnectionError(self.blocked_reason or sentence(error.args[0])) from None
        self._note_success()
        return {name for name in names if name not in found or found[name].error}

    def _note_success(self) -> None:
        self.blocked_reason = ""
        self._is_undiagnosed = False
        self._conditions.end()

    def close(self, timeout_seconds: float) -> None:
        """Let records that are in flight finish, at most so long, and end every connection."""
        with suppress(KafkaException):  # fatal: nothing more will get through
            self._producer.flush(timeout_seconds)
        self._producer.purge()
        self._producer.close()

    def _on_error(self, error: KafkaError) -> None:
        is_explained = self.blocked_reason or self._certificate_probe.is_alive()
        if is_explained and error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own name
            return  # it follows the error that says why
        if not DISTRUSTED.match(error.str()):
            self._complain(sentence(error))
        elif not self._certificate_probe.is_alive():  # greeting blocks, and the loop must not
            self._certificate_probe = threading.Thread(
                target=self._explain, args=(error,), name="greet kafka", daemon=True
            )
            self._certificate_probe.start()

    def _explain(self, error: KafkaError) -> None:
        """Complain of a certificate; of one that is now found good only when it is refused again: it may be mended."""
        told = diagnose_certificate(error, self._properties.get("ssl.ca.location"))
        if told or self._is_undiagnosed:
            self._complain(told or sentence(error))
        self._is_undiagnosed = not told

    def _complain(self, told: str) -> None:
        self.blocked_reason = told
        if self._conditions.begins(told):
            log.warning("Kafka client", extra={"detail": told})


RECORD_OVERHEAD = 4_096  # headers and framing beside the payload
