"""Replaying dead letters under fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from gateway.core.reading import Record
from gateway.kafka.partitions import Partitions, Span
from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from gateway.kafka.transactional_sink import TransactionalSink
from gateway.operate.dlq.dead_letters import Place
from gateway.operate.dlq.journal import JOURNAL_FILE, locked
from gateway.operate.dlq.replay import Job, Replay, Report
from gateway.operate.dlq.replay_state import ReplayState, replay_id
from tests.faults.replay_failpoints import STEPS
from tests.operate.test_dead_letters import correct, is_in_order, origins, output, put, replay, stored, topics
from tests.stack.gateway import ROOT, Gateway
from tests.stack.reading_records import records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry
    from tests.test_end_to_end import Topics

__all__ = ["topics"]  # the fixture


def test_replay_killed_in_the_middle_repeats_nothing(kafka: Kafka, topics: Topics, registry: Registry) -> None:
    """Killed with SIGKILL while records leave, run again, and again: every letter is in its topic exactly once."""
    correct(topics)
    count = 20_000
    put(kafka, topics, [(f"doors/dock-{number % 7}", b'{"state":"ajar"}') for number in range(count)])
    at = {"host": "127.0.0.1:1"}
    settings = {"factoryBroker": at, "meterBroker": at}
    settings["kafka"] = {"host": kafka.bootstrap, "registry": {"url": registry.url}}  # type: ignore[dict-item]  # JSON
    with Gateway(settings, topics.contract) as gateway:
        command = [sys.executable, "-m", "gateway.cli", "dlq", "replay", "-c", str(gateway.settings_file)]
        with subprocess.Popen(command, cwd=gateway.folder, stdout=subprocess.PIPE) as running:
            wait_for_record(kafka, topics("door-sensors"))
            running.kill()
        assert running.returncode == -signal.SIGKILL, "it was still at work"
        between = topics.count("door-sensors")
        assert 0 < between < count
        journal = json.loads((gateway.folder / JOURNAL_FILE).read_text())
        assert journal["tails"], "the journal says that a run did not end"
        report = replay(gateway)
        assert (report["already"], report["replayed"]) == (between, count - between)
        report = replay(gateway)
        assert (report["already"], report["replayed"]) == (count, 0)
    letters = topics.records("gateway-dead-letters", count)
    stored = topics.records("door-sensors", count)
    assert topics.count("door-sensors") == count
    assert len(set(origins(stored))) == count
    assert is_in_order(letters), "as they were put"
    assert is_in_order(stored), "oldest first"


def test_replay_in_transactions_killed_at_each_step_replays_each_reading_once(
    kafka: Kafka, topics: Topics, registry: Registry
) -> None:
    """Killed with SIGKILL at every boundary, with new dead letters each time; also without the file of the journal."""
    correct(topics)
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    at = {"host": "127.0.0.1:1"}
    cluster = {"host": kafka.bootstrap, "registry": {"url": registry.url}}
    settings = {"factoryBroker": at, "meterBroker": at, "kafka": cluster}
    count = 0
    with Gateway(settings, topics.contract, delivery="exactly_once") as gateway:
        for step in STEPS:
            put(kafka, topics, [(f"doors/dock-{number % 7}", b'{"state":"ajar"}') for number in range(60)])
            count += 60
            command = [sys.executable, "-m", "tests.faults.replay_failpoints", step]
            killed = subprocess.run(
                [*command, "dlq", "replay", "-c", str(gateway.settings_file)], cwd=gateway.folder, check=False,
                capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert killed.returncode == -signal.SIGKILL, (step, killed.stdout, killed.stderr)
        report = replay(gateway)
        assert report["already"] + report["replayed"] == count
        (gateway.folder / JOURNAL_FILE).unlink()
        listed = json.loads(output(gateway, "list", "--format", "json"))
        assert [(each["count"], each["replayed"]) for each in listed] == [(count, count)]
        assert replay(gateway)["already"] == count
    found = records(kafka.bootstrap, topics("door-sensors"), count)
    assert sorted(origins(found)) == sorted(set(origins(found)))
    everything = {"isolation.level": "read_uncommitted"}
    more = records(kafka.bootstrap, topics("door-sensors"), count + 1, settings=everything)
    assert len(origins(more)) > count, "some were sent in transactions that were aborted"


@pytest.mark.gate
def test_replay_in_transactions_sends_all_records_of_an_array_or_none(kafka: Kafka, tmp_path: Path) -> None:
    """The refused one is sent by itself, and stays; the array and its neighbour go, though their transaction failed."""
    name = kafka.create_topic(f"array-{uuid.uuid4().hex[:8]}", settings={"max.message.bytes": "2000"})
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    properties = {"bootstrap.servers": kafka.bootstrap, "compression.type": "none", "batch.num.messages": 1}
    held = [Span(f"letters-{uuid.uuid4().hex[:8]}", 0, 0, 9)]

    def job(offset: int, *contents: bytes) -> Job:
        dead_letter = replace(stored(), place=Place(held[0].topic, 0, offset))
        return Job(dead_letter, tuple(Record(name, b"k", content, [], 1) for content in contents))

    jobs = [job(0, b"a"), job(1, b"b", b"c", b"d"), job(2, b"e", b"x" * 3_000), job(300, b"f")]

    def run() -> Report:
        with locked(tmp_path / JOURNAL_FILE) as journal:
            sink, report = TransactionalSink(properties, replay_id([held[0].topic])), Report()
            one = Replay(sink, Partitions({"bootstrap.servers": kafka.bootstrap}), journal, report, 20)
            one.begin(sink, ReplayState(journal, held))
            one.run([each for each in jobs if not journal.has(each.dead_letter)], held, {name})
        return report

    report = run()
    assert (report.replayed, report.failed.total()) == (3, 1)
    (tmp_path / JOURNAL_FILE).unlink()
    assert run().replayed == 0, "Kafka has the journal"
    assert [one.value for one in records(kafka.bootstrap, name, 5)] == [b"a", b"b", b"c", b"d", b"f"]


def wait_for_record(kafka: Kafka, topic: str) -> None:
    """Wait until a topic has its first record; watched closely, because the test is about the moment after."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "tests", "auto.offset.reset": "earliest"})
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
        assert consumer.poll(30) is not None
    finally:
        consumer.close()
