"""The Kafka end: produce records, and report what became of each.

What an error means is in `kafka/errors.py`. Nothing expires inside librdkafka: `message.timeout.ms` is 0, and the spool
keeps a reading until Kafka has it.

Order survives failures by librdkafka's gap-less guarantee: a batch that fails makes the producer fatal, so that no
later record overtakes it. A fatal producer accepts no records; once it has reported all it held, `send` replaces it.
Without it, a batch that was retried was stored after later ones.

`renew` replaces the producer in the same way when credentials have changed: records that wait in the old one are handed
back in order, those in flight are awaited.

A reading of a stream with several topics, or a message that is an array, becomes several records. They are handed over
together or not at all, and reported once: settled when Kafka has all of them, failed with the worst error otherwise.

`batch.size` never exceeds `message.max.bytes`, so a record that is too large is refused alone, not with its neighbours.

**Runs.** A delivery report costs as much as producing the record: Python copies key and value, and calls back. So one
report covers a *run*: the readings of one partition in one `send`. By the gap-less guarantee Kafka has all records of a
run when it has the last; otherwise all are sent again. Only librdkafka's partitioner knows the partition of a key: the
first report on a key shows it. Later records name that partition, so a run stays in one partition whatever happens to
the topic meanwhile. Known partitions are forgotten each minute, because a topic may get more of them. After Kafka has
refused a record of a topic, each of its records gets a report of its own, so that its neighbours are not sent twice.
All records of a run but the last, which carries the report, are handed over in one call (`run_producer.py`).
"""

from __future__ import annotations

import logging
import sys
import time
from bisect import bisect_left
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import accumulate
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from confluent_kafka import KafkaError, KafkaException

from gateway.core.entry import measure, split
from gateway.errors import GatewayError
from gateway.kafka.errors import (
    COLLATERAL,
    Outcome,
    cause,
    client_sentence,
    concerns_token,
    is_collateral,
    is_consequence,
    outcome,
    sentence,
)
from gateway.kafka.leaders import Leaders
from gateway.kafka.run_producer import RunProducer
from gateway.log import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    "linger.ms": 0,  # a batch is what one turn of the loop received, so a single reading is sent at once
    "compression.type": "lz4",
    "message.max.bytes": 1_000_000,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 65_536,
    "topic.metadata.propagation.max.ms": 5_000,  # how long a topic may be unknown before its records fail
    "reconnect.backoff.max.ms": 10_000,
    "statistics.interval.ms": 0,
    "log_level": 2,  # connection errors reach `_on_error`, which logs each once
}
DEBUG_DEFAULTS = {"log_level": 7}  # where `debug` is set: level 2 would hide its output
WINDOW = 32_768  # records handed to librdkafka and not reported yet
WINDOW_BYTES = 16 * 2**20
LARGE_BYTES = 65_536  # a larger reading is sent alone: its record may be refused at once, which ends the `send`
FORGET_SECONDS = 60.0  # how long the partition of a key is remembered
MAX_KEYS = 65_536
TOKEN_SECONDS = 5.0  # how long records still arrive that were sent with the former token
ANY_PARTITION = -1  # librdkafka's: the partitioner decides
RECORD_OVERHEAD = 4_096  # bytes of headers and framing beside the payload
Refusal = BufferError | KafkaException
RENEWED = KafkaError(KafkaError._GAPLESS_GUARANTEE)  # noqa: SLF001 - librdkafka's own name; as if a record had failed


class _Reports:
    """Collects the reports on the records of one reading; calls `report` once, with the worst error."""

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
        """Count records that could not be handed over."""
        self._missing -= count
        self._note(error)

    def _note(self, error: KafkaError | None) -> None:
        if error and (self._error is None or is_collateral(self._error)):
            self._error = error


def _weak(on_error: Callable[[KafkaError], None]) -> Callable[[KafkaError], None]:
    """Make a callback that does nothing once its sink has been freed.

    With a plain method, client and sink would refer to each other, and the garbage collector would free both, in the
    thread in which it happens to run. If that is a thread of librdkafka, such as the one that calls for a new OAuth
    token, librdkafka aborts the process.
    """
    reference = WeakMethod(on_error)

    def call(error: KafkaError) -> None:
        if (method := reference()) is not None:
            method(error)

    return call


def make_producer(properties: dict[str, Any]) -> RunProducer:
    """Make a producer; GatewayError when librdkafka does not take the properties."""
    try:
        return RunProducer(properties)
    except KafkaException as error:
        raise GatewayError(sentence(error.args[0])) from None


class KafkaSink:
    """Produces records and collects their reports. Only the bridge's loop may call it, except where a method says so.

    `window_bytes`, of readings in flight, is less than the spool's memory: else they could fill it alone, and reading
    from MQTT would stop though the disk has room.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        window_bytes: int = WINDOW_BYTES,
        forget_seconds: float = FORGET_SECONDS,
        fixed: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        merged = DEFAULTS | (DEBUG_DEFAULTS if "debug" in properties else {}) | dict(properties) | FIXED | dict(fixed)
        merged["batch.size"] = min(int(merged.get("batch.size", 1_000_000)), int(merged["message.max.bytes"]))
        self._properties = merged | {"error_cb": _weak(self._on_error), "logger": log}
        self._producer = make_producer(self._properties)
        self._leaders = Leaders()
        self._token_failed_at = -TOKEN_SECONDS
        self.record_limit = int(merged["message.max.bytes"])
        self.settled: list[list[Entry]] = []
        self.failed: list[tuple[Entry, KafkaError]] = []
        self.in_flight = 0
        self.is_ready = True  # readings may be received
        self.is_busy = False  # with a transaction
        self.most_unacknowledged = sys.maxsize  # readings that are received, and whose place in the log is not safe
        self.transactions: Counter[str] = Counter()  # by outcome
        self.committed_at = 0.0  # the last one, seconds since 1970
        self._window_bytes = window_bytes
        self._forget_seconds = forget_seconds
        self._bytes_in_flight = 0
        self._queue = int(merged["queue.buffering.max.messages"]) or sys.maxsize  # 0 is no limit
        self._window = min(WINDOW, self._queue)
        self._is_full = False
        self._unreported: list[Entry] = []  # handed over without a report: their run was cut short
        self._partitions: dict[str, dict[bytes, int]] = {}
        self._keys_learned, self._forget_at = 0, 0.0
        self._report_each: set[str] = set()  # topics of which Kafka has refused a record
        self._fatal: KafkaError | None = None
        self._conditions = Conditions()  # errors since the last success
        self.blocked_reason = ""  # the client's last error; empty once Kafka answers

    @property
    def saves_state(self) -> bool:
        """True when Kafka takes the state of the gateway in time; False because only the spool's file has it."""
        return False

    @property
    def waiting_reason(self) -> str:
        """Why transactions wait; "" while they go on, or there are none."""
        return ""

    def is_sole(self, since: float) -> bool:  # noqa: ARG002 - only transactions show it
        """False while it is open whether another gateway has taken over since a time, monotonic seconds."""
        return True

    @property
    def room(self) -> int:
        """How many records may be handed over: 0 when a queue is full, or until a fatal producer is empty."""
        is_emptying = self._unreported or (self._fatal and self.in_flight)
        if self._is_full or is_emptying or self._bytes_in_flight >= self._window_bytes:
            return 0
        return self._window - self.in_flight

    @property
    def unreported(self) -> int:
        """How many readings are in flight without a report yet."""
        return self.in_flight - sum(map(len, self.settled)) - len(self.failed)

    def send(self, records: Sequence[Record | list[Record]], entries: list[Entry]) -> list[Entry]:
        """Hand records to librdkafka, in order for each partition; give the readings that it did not accept, by offset.

        Each reading has one record, or each has a list of records. Readings are left when the window or librdkafka's
        queue is full, when the producer is fatal, or behind a record that was refused at once, which counts as
        accepted. A later `poll` adds the accepted ones to `settled` or `failed`.
        """
        if not entries or (self._fatal and not self._replace()):
            return list(entries)
        count, size = self._fitting(entries)
        produce = self._produce_several if isinstance(records[0], list) else self._produce_runs
        left, error = produce(records[:count], entries[:count])  # type: ignore[arg-type]  # as the first
        if isinstance(error, BufferError):
            self._is_full = True
        elif error and error.args[0].code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own name
            self._fatal = error.args[0]
        elif error:  # refused at once, e.g. larger than message.max.bytes
            self.failed.append((left.pop(0), error.args[0]))
        self.in_flight += count - len(left)
        self._bytes_in_flight += size - measure(left)[0]
        return [*sorted(left, key=attrgetter("offset")), *entries[count:]]

    def _fitting(self, entries: list[Entry]) -> tuple[int, int]:
        """Count the readings that may be sent together, and their bytes; only the last may exceed the window."""
        total, largest = measure(entries)
        room = self._window_bytes - self._bytes_in_flight
        if largest <= LARGE_BYTES and total <= room:
            return len(entries), total
        sizes = [entry.size for entry in entries]
        if largest > LARGE_BYTES:
            sizes = sizes[: next(number for number, size in enumerate(sizes) if size > LARGE_BYTES) or 1]
        if sum(sizes) > room:
            sizes = sizes[: 1 + bisect_left(list(accumulate(sizes)), room)]
        return len(sizes), sum(sizes)

    def _produce_runs(self, records: list[Record], entries: list[Entry]) -> tuple[list[Entry], Refusal | None]:
        """Hand over records topic by topic; give those left, the refused first, and its error."""
        topics = [record.topic for record in records]
        if topics.count(topics[0]) == len(topics):
            return self._produce_to(topics[0], records, entries)
        left: list[Entry] = []
        error: Refusal | None = None
        for topic in dict.fromkeys(topics):
            places = [place for place, each in enumerate(topics) if each == topic]
            some = [entries[place] for place in places]
            if error is None:
                some, error = self._produce_to(topic, [records[place] for place in places], some)
            left += some
        return left, error

    def _produce_to(
        self, topic: str, records: list[Record], entries: list[Entry]
    ) -> tuple[list[Entry], Refusal | None]:
        """Hand over the records of one topic, a run a partition; give those left, the refused first, and its error."""
        # Split by partition: librdkafka then fills one batch at a time. ANY_PARTITION is for keys whose partition is
        # not known, and for all records when each gets a report.
        known = self._known_partitions(topic)
        runs = split(records, entries, {} if topic in self._report_each else known, ANY_PARTITION)
        # Produce run by run. After an error nothing more is handed over, so that no record overtakes the refused one.
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
        self, records: list[Record], entries: list[Entry], partition: int, learning: dict[bytes, int] | None
    ) -> tuple[int, Refusal | None]:
        """Hand over a run, with a report on its last record or, to learn partitions, on each; count the taken."""
        reports: list[Callable[..., None] | None]
        taken = 0
        if learning is None:  # the report on the last covers all
            reports = [*[None] * (len(records) - 1), partial(self._report, entries)]
            if len(records) > 1:
                taken = self._producer.produce_run(records[0].topic, partition, records[:-1])
        else:
            pairs = zip(records, entries, strict=True)
            reports = [partial(self._learn, entry, record.key, learning) for record, entry in pairs]
        produce = self._producer.produce
        try:
            for record, report in zip(records[taken:], reports[taken:], strict=True):
                # By position, as names cost half a microsecond a record. None is for `on_delivery`: `callback` again.
                produce(
                    record.topic, record.value, record.key, partition, report, None, record.timestamp, record.headers
                )
                taken += 1
        except (BufferError, KafkaException) as error:
            if learning is None:  # the record that carries the report was not reached
                self._unreported += entries[:taken]
            return taken, error
        return taken, None

    def _known_partitions(self, topic: str) -> dict[bytes, int]:
        now = time.monotonic()
        if now >= self._forget_at or self._keys_learned > MAX_KEYS:
            self._partitions.clear()
            self._keys_learned, self._forget_at = 0, now + self._forget_seconds
        return self._partitions.setdefault(topic, {})

    def _produce_several(
        self, records: Sequence[list[Record]], entries: Sequence[Entry]
    ) -> tuple[list[Entry], Refusal | None]:
        """Hand over all records of each reading, which is reported once; give the readings of which none was taken."""
        produce = self._producer.produce
        for taken, (group, entry) in enumerate(zip(records, entries, strict=True)):
            # All records of a reading or none, while reports are due that make room. Otherwise as many as fit.
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

    def _learn(
        self, entry: Entry, key: bytes, known: dict[bytes, int], error: KafkaError | None, message: Message
    ) -> None:
        partition = message.partition()
        if error is None and partition is not None:
            known[key] = partition  # by the record's own key, which is found without a comparison when it comes again
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
        """Serve delivery reports, which add to `settled` and `failed`; wait at most so long; count the events."""
        try:
            if self._fatal and not (self._fatal is RENEWED and self._replace()):
                self._producer.purge(in_flight=False)
            served = int(self._producer.poll(timeout_seconds))
            # An empty producer has sent all it held. Whether Kafka has what was never to be reported is not known.
            if self._unreported and not len(self._producer):
                self._report(self._unreported, KafkaError(KafkaError._GAPLESS_GUARANTEE), None)  # noqa: SLF001 - librdkafka's own name
                self._unreported = []
            return served  # noqa: TRY300 - only the poll raises
        except KafkaException as error:  # only a fatal error is raised here
            self._fatal = error.args[0]
            return 1

    def take_reports(self) -> tuple[list[list[Entry]], list[tuple[Entry, KafkaError]]]:
        """Take the reports since the last call: entries that Kafka has, a list for each report, and failed ones."""
        settled, failed = self.settled, self.failed
        if settled or failed:
            self.settled, self.failed = [], []
            self._is_full = False
            if failed:
                self._partitions.clear()
            for entries in [*settled, [entry for entry, _ in failed]]:
                self.in_flight -= len(entries)
                self._bytes_in_flight -= measure(entries)[0]
            if settled:
                self._note_success()
        return settled, self._name_cause(failed) if self._fatal else failed

    def _name_cause(self, failed: list[tuple[Entry, KafkaError]]) -> list[tuple[Entry, KafkaError]]:
        """Give the records that a fatal producer dropped the error that made it fatal."""
        fatal = self._fatal
        assert fatal, "the caller has checked"
        if fatal.code() != KafkaError._GAPLESS_GUARANTEE:  # noqa: SLF001 - librdkafka's own name
            self.blocked_reason = sentence(fatal)
        return [(entry, fatal if error.code() in COLLATERAL else error) for entry, error in failed]

    def _replace(self) -> bool:
        """Replace a fatal producer, if it has reported all it held."""
        if self.in_flight:
            return False
        self._fatal = None  # first, as `renew` may set it at any moment
        self._producer = make_producer(self._properties)
        return True

    def renew(self, credentials: Mapping[str, Any]) -> None:
        """Replace the producer by one with other credentials once nothing is in flight; any thread may call it.

        GatewayError when librdkafka cannot use them; the producer then stays.
        """
        properties = self._properties | dict(credentials)
        make_producer(properties)
        self._properties = properties
        self._fatal = RENEWED

    def missing_topics(self, names: set[str], timeout_seconds: float) -> set[str]:
        """Look up which topics do not exist, or are hidden from this user. Blocks; any thread may call it.

        ConnectionError when no broker answers, or a leader of a topic does not; the text is the cause as far as it is
        known.
        """
        try:
            metadata = self._producer.list_topics(timeout=timeout_seconds)
        except KafkaException as error:
            raise ConnectionError(self.blocked_reason or sentence(error.args[0])) from None
        if unreachable := self._leaders.unreachable(self._properties, metadata, names, timeout_seconds):
            raise ConnectionError(unreachable)
        self._note_success()
        present = metadata.topics
        return {name for name in names if name not in present or present[name].error}

    def _note_success(self) -> None:
        if time.monotonic() < self._token_failed_at + TOKEN_SECONDS:
            return  # Kafka has taken what was in flight; librdkafka does not name the cause again
        self.blocked_reason = ""
        self._conditions.end()

    def close(self, timeout_seconds: float) -> None:
        """Wait at most so long for the records in flight, then close all connections."""
        with suppress(KafkaException):  # a fatal producer delivers nothing more
            self._producer.flush(timeout_seconds)
        self._producer.purge()
        with suppress(KafkaException):  # a purge of records in flight makes the producer fatal
            self._producer.close()

    def _on_error(self, error: KafkaError) -> None:
        self._leaders.note_error(error.str())
        if is_consequence(error, self.blocked_reason):
            return
        self.blocked_reason = client_sentence(error, self._properties)
        if concerns_token(self.blocked_reason):
            self._token_failed_at = time.monotonic()
        if self._conditions.begins(self.blocked_reason):
            log.warning("The Kafka client reports an error.", extra={"detail": self.blocked_reason})
