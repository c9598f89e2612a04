"""A machine whose clock is ten years late until a time service sets it: what arrives in Kafka has the right time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.stack.gateway import ROOT, ConfinedGateway, summed
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


def publish(gateway: ConfinedGateway, port: int, count: int, total: int) -> tuple[float, float]:
    """Publish readings until the gateway has a total with those of before; give the time before and after."""

    def held() -> float:
        page = gateway.metrics()
        return sum(summed(page, f"gateway_{name}") for name in ("spooled", "in_flight", "delivered_total"))

    began = time.time()
    with Publisher(port) as device:
        device.publish([("doors/dock-2", b'{"state":"open"}')] * count)
    wait_for(lambda: held() >= total, 30, "the gateway to have the readings")
    return began, time.time()


def in_order(kafka: Kafka, topic: str, count: int) -> list[StoredRecord]:
    return sorted(records(kafka.bootstrap, topic, count), key=lambda one: one.timestamp)


def test_readings_wait_until_the_clock_is_set_also_over_a_kill(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """On disk after SIGKILL and in memory: none has a time of ten years ago, and each has that of its arrival."""
    broker, topics = mosquitto(), Topics(kafka, tmp_path)
    with ConfinedGateway(
        servers(broker, kafka, registry), topics.contract, clock={"wait": "2m"}, spool={"when": "always"}
    ) as gateway:
        start(gateway, tmp_path)
        times = [publish(gateway, broker.port, 3, 3)]
        assert gateway.states()["clock"]["state"] == "waiting"
        gateway.kill()
        start(gateway, tmp_path)
        times.append(publish(gateway, broker.port, 3, 6))
        assert topics.count("door-sensors") == 0
        (tmp_path / "set").touch()
        times.append(publish(gateway, broker.port, 3, 9))
        gateway.wait_settled(9)
        found = in_order(kafka, topics("door-sensors"), topics.count("door-sensors"))
        arrived = [[began - 1 < one.timestamp / 1_000 < ended + 1 for one in found] for began, ended in times]
        assert all(map(any, zip(*arrived, strict=True))), found
        assert [sum(each) >= 3 for each in arrived] == [True] * 3
        assert not any(MARK in one.headers for one in found)
        assert gateway.metric("gateway_clock_steps_total") == gateway.metric("gateway_clock_synchronised") == 1
        assert gateway.stop_and_read_ledger()["balanced"]


def test_readings_do_not_wait_without_a_wait_and_are_marked(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """They have the time of the clock as it is; what arrives after it was set has no mark."""
    broker, topics = mosquitto(), Topics(kafka, tmp_path, missing="door-sensors")
    kafka.create_topic(topics("door-sensors"), 3, settings={"retention.ms": "-1"})  # else Kafka deletes what is so old
    with ConfinedGateway(servers(broker, kafka, registry), topics.contract, clock={"wait": 0}) as gateway:
        start(gateway, tmp_path)
        began, ended = publish(gateway, broker.port, 2, 2)
        wait_for(lambda: topics.count("door-sensors") == 2, 30, "the readings in Kafka")
        (tmp_path / "set").touch()
        wait_for(lambda: gateway.metric("gateway_clock_steps_total"), 30, "the gateway to notice it")
        publish(gateway, broker.port, 1, 3)
        found = in_order(kafka, topics("door-sensors"), 3)
        assert [MARK in one.headers for one in found] == [True, True, False]
        assert all(began - 1 < one.timestamp / 1_000 + LATE < ended + 1 for one in found[:2])
