"""The far end: a real Kafka and a real registry, where every record is counted and a sample is decoded.

Latency is measured here as well, from the time of sending that a stamped reading carries (`load.py`) to the moment a
consumer has it; both clocks are this machine's monotonic one.
"""

from __future__ import annotations

import io
import json
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import fastavro
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.load import STAMP_DIGITS, schema
from tests.stack.kafka import Kafka
from tests.stack.reading_records import record_count, records
from tests.stack.registry import Registry
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTITIONS = 6
SAMPLE = 1_000
COUNT_SECONDS = 60


class FarEnd:
    """Kafka and registry; a context manager that starts them and ends them."""

    def __init__(self) -> None:
        self._started = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self.kafka = starting.enter_context(Kafka())
            self.registry = starting.enter_context(Registry())
            self._started = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def port(self) -> int:
        """Kafka's."""
        return int(self.kafka.bootstrap.rpartition(":")[2])

    def create(self, names: list[str], partitions: int = PARTITIONS) -> None:
        """Make topics, all at once, and wait until they can be written to."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        for made in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
            made.result(30)
        wait_for(lambda: _have_leaders(admin, names, partitions), 60, f"leaders of {len(names)} topics")

    def count(self, names: list[str]) -> int:
        """Count the records of topics."""
        return sum(record_count(self.kafka.bootstrap, name) for name in names)

    def wait_for_count(self, names: list[str], expected: int) -> int:
        """Wait until topics hold at least so many records.

        Args:
            names: the topics.
            expected: how many.

        Returns:
            How many they hold: more, where a bridge sent some twice.

        Raises:
            AssertionError: some are missing.
        """
        wait_for(
            lambda: self.count(names) >= expected, COUNT_SECONDS, lambda: f"{expected} in {names[:3]}: some are lost"
        )
        return self.count(names)

    def check_sample(self, topic: str, schema_name: str = "") -> int:
        """Decode the first records of a topic, and see that each has its key and its MQTT topic.

        Args:
            topic: of sensors or telegrams.
            schema_name: of the shipped schema; empty where the value is the MQTT payload, in JSON.

        Returns:
            How many were decoded.

        Raises:
            AssertionError: one is not what it should be.
        """
        sample = records(self.kafka.bootstrap, topic, min(SAMPLE, self.count([topic])))
        decode = _avro_decoder(schema_name) if schema_name else json.loads
        for record in sample:
            assert record.value, "a reading's record has a value"
            assert record.value[0] == 0, "the magic byte of the wire format"
            value = decode(record.value[5:])
            assert isinstance(value, dict)
            key = value.get("machine") or value["name"]
            levels = dict(record.headers)["mqtt.topic"].split(b"/")
            assert record.key == key.encode()
            assert levels == [b"sma"] or levels[1:] == [record.key, value["sensor"].encode()]
        return len(sample)


class Stopwatch:
    """A consumer at the end of a topic that measures how old each stamped record is when it comes.

    Args:
        bootstrap: Kafka.
        topic: with stamped readings only from now on.
        partitions: which of the topic's are read.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: list[int]) -> None:
        own = {"group.id": "bench", "enable.auto.commit": False, "fetch.wait.max.ms": 100, "log_level": 3}
        self._consumer = Consumer({"bootstrap.servers": bootstrap} | own)
        places = [TopicPartition(topic, number) for number in partitions]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=10)[1]
        self._consumer.assign(places)
        self._arrived: list[tuple[bytes, int]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        clock, poll, append = time.monotonic_ns, self._consumer.poll, self._arrived.append
        while not self._stopping.is_set():
            message = poll(0.2)
            if message is not None and message.error() is None:
                append((message.value() or b"", clock()))

    def stop(self) -> list[float]:
        """Stop and give the ages in milliseconds, in order of arrival."""
        self._stopping.set()
        self._thread.join()
        self._consumer.close()
        return list(self._ages())

    def _ages(self) -> Iterator[float]:
        for value, at in self._arrived:
            yield (at - int(value[-STAMP_DIGITS:])) / 1e6

    def wait_for(self, count: int) -> None:
        """Wait until so many came."""
        wait_for(
            lambda: len(self._arrived) >= count, COUNT_SECONDS, lambda: f"{count} records, {len(self._arrived)} came"
        )


def _avro_decoder(schema_name: str) -> Callable[[bytes], Any]:
    parsed = fastavro.parse_schema(schema(schema_name))
    return lambda body: fastavro.schemaless_reader(io.BytesIO(body), parsed, None)


def _have_leaders(admin: AdminClient, names: list[str], partitions: int) -> bool:
    found = admin.list_topics(timeout=5).topics
    return all(
        name in found and [each.leader > 0 for each in found[name].partitions.values()] == [True] * partitions
        for name in names
    )
