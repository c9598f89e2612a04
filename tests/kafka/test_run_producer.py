"""Runs of records in one call, against the real librdkafka. The fuzz target compares them with single records."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.native import MODULE
from gateway.core.reading import Record
from gateway.kafka.sink import make_producer
from tests.stack.reading_records import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.kafka.run_producer import RunProducer
    from tests.conftest import FreePort, NewTopic
    from tests.stack.kafka import Kafka

NOW = 1_791_547_200_000
IS_BUILT = MODULE is not None
IN_PYTHON = """
from gateway.core.reading import Record
from gateway.kafka.run_producer import RunProducer
print(RunProducer({}).produce_run("t", 0, [Record("t", b"k", b"v", [], 1)]))
"""


def record(number: int, **parts: Any) -> Record:
    """Make a record, with other parts than usual."""
    usual: dict[str, Any] = {
        "key": b"%d" % number,
        "value": b"v",
        "headers": [("mqtt.topic", b"a/b")],
        "timestamp": NOW + number,
    }
    return Record("t", **(usual | parts))


def taken(count: int) -> int:
    """Count what a run takes of so many records: nothing where Python takes each."""
    return count if IS_BUILT else 0


@pytest.fixture
def away(free_port: FreePort) -> Iterator[RunProducer]:
    """Make a producer whose Kafka is not there."""
    made = make_producer(
        {"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": 0, "queue.buffering.max.messages": 10}
    )
    yield made
    made.purge()
    made.close()


def test_a_run_is_stored_in_order_with_keys_values_headers_and_timestamps(kafka: Kafka, topic: NewTopic) -> None:
    name = topic("runs", 2)
    producer = make_producer({"bootstrap.servers": kafka.bootstrap})
    run = [
        record(0),
        record(1, value=None, headers=[]),
        record(2, value=b"", key=b"", headers=[("a", None), ("ä", b""), ("a", b"2")]),
    ]
    assert producer.produce_run(name, 1, run) == taken(3)
    for each in [] if IS_BUILT else run:
        producer.produce(name, each.value, each.key, 1, timestamp=each.timestamp, headers=each.headers)
    producer.flush(30)
    stored = records(kafka.bootstrap, name, 3)
    assert [(one.partition, one.key, one.value, one.timestamp) for one in stored] == [
        (1, each.key, each.value, each.timestamp) for each in run
    ]
    assert [one.headers or [] for one in stored] == [each.headers for each in run]


@pytest.mark.parametrize(
    "parts",
    [{"value": 1}, {"key": "text"}, {"timestamp": 2**63}, {"timestamp": 1.5}, {"headers": {"a": b"b"}},
     {"headers": [("a", b"b"), ("a", "text")]}, {"headers": [["a", b"b"]]}],
    ids=str,
)  # fmt: skip
def test_a_run_ends_before_a_record_for_python(away: RunProducer, parts: dict[str, Any]) -> None:
    assert away.produce_run("t", 0, [record(0), record(1), record(2, **parts), record(3)]) == taken(2)


def test_a_run_ends_when_the_queue_is_full(away: RunProducer) -> None:
    run = [record(number) for number in range(20)]
    assert away.produce_run("t", 0, run) == taken(10)
    for _ in range(10 - taken(10)):
        away.produce("t", b"v", b"k", 0)
    with pytest.raises(BufferError):
        away.produce("t", b"v", b"k", 0)


@pytest.mark.parametrize("is_left", [False, True])
def test_a_run_is_not_taken_by_a_producer_that_is_closed(free_port: FreePort, *, is_left: bool) -> None:
    producer = make_producer({"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": 0})
    if is_left:
        with producer:
            producer.purge()
    else:
        producer.close()
    assert producer.produce_run("t", 0, [record(0)]) == 0


def test_runs_go_to_the_producer_that_takes_them() -> None:
    """Also where threads make producers at the same time, as transactions do."""
    with ThreadPoolExecutor(4) as threads:
        made = [*threads.map(lambda _: make_producer({"log_level": 0}), range(12))]
    for number, producer in enumerate(made):
        assert producer.produce_run("t", 0, [record(0)] * number) == taken(number)
        producer.purge()
    for producer in made:
        producer.close()


def test_python_takes_the_records_where_the_module_in_c_is_left_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_PYTHON],
        env=os.environ | {"GATEWAY_PURE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0\n"
