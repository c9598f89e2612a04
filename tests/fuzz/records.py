"""Fuzzing of the runs that C hands over to librdkafka: the same records are stored, with C or without.

    python -m tests.fuzz.records --seconds 60 --seed 1

A run goes to one topic by `RunProducer.produce_run`, and record by record to another; some of its records have values
that librdkafka or confluent-kafka refuse. Both topics then hold the same. The seed decides everything, so a failure
comes back with it. `make fuzz-native` runs it on a build that checks each access to memory.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateway.core.reading import Record
from gateway.kafka.run_producer import RunProducer
from gateway.operate.demo.mock_kafka import MockCluster
from tests.fuzz.command import run_fuzzer
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

IN_RUNS, ONE_BY_ONE = "in-runs", "one-by-one"
LONGEST_RUN = 200
LIMIT = 10_000  # bytes of a record
SIZES = (0, 1, 2, 7, 8, 50, 300, LIMIT - 100, LIMIT + 1)
NAMES = ("", "a", "mqtt.topic", "ä€😀", "x" * 300)
WRONG: tuple[dict[str, Any], ...] = (
    {"value": 1}, {"value": "text"}, {"key": None}, {"key": 2.5}, {"timestamp": 2**63}, {"timestamp": "1"},
    {"headers": None}, {"headers": ()}, {"headers": (("a", b"b"),)}, {"headers": {"a": b"b"}}, {"headers": [("a",)]},
    {"headers": [("a", 1)]}, {"headers": [(b"a", b"b")]}, {"headers": [["a", b"b"]]},
    {"headers": [("a", b"b"), None]}, {"headers": [("a", "text")]}, {"headers": 7},
)  # fmt: skip
Stored = tuple[Any, ...]


class Maker:
    """Makes runs of records."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def run(self) -> list[Record]:
        """Make a run; one in twenty records has a value that is not expected."""
        return [self._record() for _ in range(self._random.randint(1, LONGEST_RUN))]

    def _record(self) -> Record:
        value = None if self._random.random() < 0.1 else self._bytes()
        headers = [
            (self._random.choice(NAMES), self._random.choice([None, self._bytes()]))
            for _ in range(self._random.choice([0, 1, 1, 3]))
        ]
        parts = {
            "key": self._bytes()[:50],
            "value": value,
            "headers": headers,
            "timestamp": self._random.getrandbits(41),
        }
        wrong = self._random.choice(WRONG) if self._random.random() < 0.05 else {}
        return Record("", **(parts | wrong))

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice(SIZES[: self._random.choice([-2, -2, -2, -1, None])]))


class Ends:
    """A producer of two topics, and their consumer."""

    def __init__(self, bootstrap: str) -> None:
        properties = {"bootstrap.servers": bootstrap, "message.max.bytes": LIMIT, "linger.ms": 0}
        self.producer = RunProducer(properties)
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "fuzz", "fetch.wait.max.ms": 10})
        self._consumer.assign([TopicPartition(name, 0, 0) for name in (IN_RUNS, ONE_BY_ONE)])
        self.natively = 0

    def close(self) -> None:
        """Close both."""
        self.producer.close()
        self._consumer.close()

    def store(self, topic: str, run: list[Record], *, is_run: bool) -> list[Record]:
        """Store those records that can be; give the others."""
        refused, rest = [], run
        while rest:
            taken = self.producer.produce_run(topic, 0, rest) if is_run else 0
            self.natively += taken
            rest = rest[taken:]
            refused += [record for record in rest[:1] if not self._is_taken(topic, record)]
            rest = rest[1:]
        return refused

    def _is_taken(self, topic: str, record: Record) -> bool:
        try:
            self.producer.produce(
                topic, record.value, record.key, 0, None, None, record.timestamp, record.headers
            )  # as `KafkaSink` does
        except (KafkaException, TypeError, ValueError, OverflowError):
            return False
        return True

    def read(self, count: int) -> dict[str, list[Stored]]:
        """Read so many records of each topic."""
        found: dict[str, list[Stored]] = {IN_RUNS: [], ONE_BY_ONE: []}

        def is_complete() -> bool:
            for message in self._consumer.consume(2 * LONGEST_RUN, 0.1):
                assert not message.error(), message.error()
                facts = message.key(), message.value(), message.headers(), message.timestamp()
                found[message.topic() or ""].append(facts)
            return min(map(len, found.values())) >= count

        wait_for(is_complete, 30, lambda: f"{count} records, not {[len(each) for each in found.values()]}")
        return found


def difference(ends: Ends, run: list[Record]) -> str:
    """Tell how the two topics differ about a run; empty when they do not."""
    refused, others = ends.store(IN_RUNS, run, is_run=True), ends.store(ONE_BY_ONE, run, is_run=False)
    ends.producer.flush()
    if refused != others:
        return f"refused in a run {refused}, by themselves {others}"
    found = ends.read(len(run) - len(refused))
    return first_difference(found[IN_RUNS], found[ONE_BY_ONE])


def first_difference(one: Sequence[Stored], other: Sequence[Stored]) -> str:
    """Describe the first two records that differ."""
    return next((f"{a} in a run, {b} by itself" for a, b in zip(one, other, strict=True) if a != b), "")


def fuzz(seed: int, seconds: float) -> tuple[int, int, str]:
    """Try records for so long; give how many, how many of them C handed over, and the first fault."""
    maker, until, count = Maker(seed), time.monotonic() + seconds, 0
    with MockCluster({IN_RUNS: 1, ONE_BY_ONE: 1}) as kafka, closing(Ends(kafka.bootstrap)) as ends:
        while time.monotonic() < until:
            run = maker.run()
            count += len(run)
            if fault := difference(ends, run):
                return count, ends.natively, fault
        return count, ends.natively, ""


if __name__ == "__main__":
    sys.exit(run_fuzzer(__doc__, fuzz, "records", "by C"))
