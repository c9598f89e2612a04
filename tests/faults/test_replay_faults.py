"""Replaying dead letters under fault."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from gateway.operate.dlq.journal import JOURNAL_FILE
from tests.operate.test_dead_letters import correct, is_in_order, origins, put, replay, topics
from tests.stack.gateway import Gateway

if TYPE_CHECKING:
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


def wait_for_record(kafka: Kafka, topic: str) -> None:
    """Wait until a topic has its first record; watched closely, because the test is about the moment after."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "tests", "auto.offset.reset": "earliest"})
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
        assert consumer.poll(30) is not None
    finally:
        consumer.close()
