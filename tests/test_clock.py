"""A machine whose clock is ten years late until a time service sets it: what arrives in Kafka has the right time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.stack.gateway import ROOT, ConfinedGateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import StoredRecord, records
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

LATE = 10 * 365 * 86_400
# Python imports it at the start of the gateway. The time since the boot stays as it is, as on a real machine.
CLOCK = """
import os, time

def late(read, unit):
    return lambda: read() - (0 if os.path.exists(os.environ["CLOCK_IS_SET"]) else {late} * unit)

time.time, time.time_ns = late(time.time, 1), late(time.time_ns, 10**9)
"""
MARK = ("gateway.clock", b"unsynchronised")


def start(gateway: ConfinedGateway, folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(CLOCK.format(late=LATE))
    arguments = ("run", "-c", gateway.settings_file)
    gateway.launch_command(*arguments, PYTHONPATH=f"{folder}:{ROOT}", CLOCK_IS_SET=str(folder / "set"))
    gateway.wait_ready(gateway.is_alive, 60)
    gateway.wait_subscribed()


def publish(port: int, count: int) -> list[float]:
    """Publish readings, each after the one before was acknowledged; give the times at which they were."""
    times = []
    with Publisher(port) as device:
        for _ in range(count):
            device.publish([("doors/dock-2", b'{"state":"open"}')])
            times.append(time.time())
    return times


def in_order(kafka: Kafka, topic: str, count: int) -> list[StoredRecord]:
    return sorted(records(kafka.bootstrap, topic, count), key=lambda one: one.timestamp)


def test_readings_wait_until_the_clock_is_set_also_over_a_kill(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """On disk after SIGKILL and in memory: none has a time of ten years ago, and each is right within a second."""
    broker, topics = mosquitto(), Topics(kafka, tmp_path)
    with ConfinedGateway(
        servers(broker, kafka, registry), topics.contract, clock={"wait": "2m"}, spool={"when": "always"}
    ) as gateway:
        start(gateway, tmp_path)
        published = publish(broker.port, 3)
        assert gateway.states()["clock"]["state"] == "waiting"
        gateway.kill()
        start(gateway, tmp_path)
        published += publish(broker.port, 3)
        assert topics.count("door-sensors") == 0
        (tmp_path / "set").touch()
        published += publish(broker.port, 3)
        wait_for(lambda: topics.count("door-sensors") == 9, 30, "all readings in Kafka")
        found = in_order(kafka, topics("door-sensors"), 9)
        assert all(abs(one.timestamp / 1_000 - at) < 1 for one, at in zip(found, published, strict=True))
        assert not any(MARK in one.headers for one in found)
        assert gateway.metric("gateway_clock_steps_total") == gateway.metric("gateway_clock_synchronised") == 1
        assert gateway.stop_and_read_ledger()["balanced"]


def test_readings_do_not_wait_without_a_wait_and_are_marked(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """They have the time of the clock as it is; what arrives after it was set has no mark."""
    broker, topics = mosquitto(), Topics(kafka, tmp_path)
    with ConfinedGateway(servers(broker, kafka, registry), topics.contract, clock={"wait": 0}) as gateway:
        start(gateway, tmp_path)
        published = publish(broker.port, 2)
        wait_for(lambda: topics.count("door-sensors") == 2, 30, "the readings in Kafka")
        (tmp_path / "set").touch()
        wait_for(lambda: gateway.metric("gateway_clock_steps_total"), 30, "the gateway to notice it")
        publish(broker.port, 1)
        found = in_order(kafka, topics("door-sensors"), 3)
        assert [MARK in one.headers for one in found] == [True, True, False]
        assert all(abs(one.timestamp / 1_000 - at + LATE) < 1 for one, at in zip(found, published, strict=False))
