"""A month of a household, 60 faults in 260,000 readings, with a gateway that is killed while readings are under way."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING

from tests.household_site import STREAM, House
from tests.stack.gateway import Gateway
from tests.stack.reading_records import record_count
from tests.stack.wait import wait_for
from tests.test_quarantine import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

BETWEEN = 4_210  # true readings before each fault: with the faults 30 days of 10 seconds
KILLS = 3
UNDER_WAY = 20  # readings that are published and not settled when it is killed


def test_run_quarantines_the_faults_of_a_month_also_when_it_is_killed(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, topic: NewTopic, tmp_path: Path
) -> None:
    """No reading is missing, and each becomes what the list says.

    A month passes in a minute here, so each kill waits until what is known of the counters is written: that is what it
    would be a minute of the household's own time before.
    """
    house, broker = House(kafka, topic, tmp_path, BETWEEN), mosquitto(QUICK)
    places = sorted(Random(21).sample(house.quiet_places(), KILLS))
    with Gateway(house.servers(broker, registry.url), house.contract) as gateway:
        spool = gateway.folder / "spool.db"

        def is_known(last: int) -> bool:
            with closing(sqlite3.connect(spool)) as file:
                facts = dict(file.execute("SELECT name, value FROM facts WHERE name LIKE 'counters/%'"))
            known = json.loads(facts.get(f"counters/{STREAM}", "{}")).get("keys", {}).get(house.topic, {})
            return any(base[1] == last for bases, *_ in known.values() for base in bases if base)

        gateway.start().wait_subscribed("broker")
        done = 0
        for place in places:
            house.publish(broker, house.readings[done:place])
            wait_for(lambda: gateway.metric("gateway_in_flight") + gateway.metric("gateway_spooled") == 0, 60, "idle")
            last = house.readings[place - 1].payload["at"]
            wait_for(lambda at=last: is_known(at), 90, "what is known of the last one")  # type: ignore[misc] # its default
            house.publish(broker, house.readings[place : place + UNDER_WAY])
            gateway.kill()
            gateway.start()
            done = place + UNDER_WAY
        house.publish(broker, house.readings[done:])

        def count() -> int:
            return record_count(kafka.bootstrap, house.topic) + record_count(kafka.bootstrap, house.dead)

        wait_for(lambda: count() >= len(house.readings), 600, lambda: f"{len(house.readings)}, {count()} are there")
        wait_for(lambda: gateway.metric("gateway_in_flight") + gateway.metric("gateway_spooled") == 0, 60, "idle")
        assert gateway.stop_and_read_ledger()["balanced"]
    found = house.found()
    assert house.differences(found) == []
    assert found.is_in_order
