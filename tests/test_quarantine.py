"""Counters that fall and jump, from the contract to the topics: a household behind a real gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.household_site import STREAM, House
from tests.stack.gateway import Gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

# A broker that saves each change would be far behind with acknowledgements when the gateway is killed.
QUICK = "listener 1883\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"


def test_run_quarantines_what_breaks_the_rules_also_when_it_is_started_again(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, topic: NewTopic, tmp_path: Path
) -> None:
    """Each reading becomes what the list says; `dlq list` groups what is quarantined, and `dlq replay` releases it.

    `tests/faults/test_counter_faults.py` kills it.
    """
    house, broker = House(kafka, topic, tmp_path, 60), mosquitto(QUICK)
    quiet = house.quiet_places()
    first, second = quiet[len(quiet) // 3], quiet[2 * len(quiet) // 3]
    with Gateway(house.servers(broker, registry.url), house.contract) as gateway:
        gateway.start().wait_subscribed("broker")
        house.publish(broker, house.readings[:first])
        house.wait_settled(gateway, first)
        assert gateway.stop_and_read_ledger()["balanced"]
        house.publish(broker, house.readings[first:second])
        gateway.start()
        house.wait_settled(gateway, second)
        assert gateway.stop_and_read_ledger()["balanced"]
        gateway.start()
        house.publish(broker, house.readings[second:])
        house.wait_settled(gateway, len(house.readings))
        found = house.found()
        assert house.differences(found) == []
        assert found.is_in_order
        wrong = list(found.wrong.values())
        assert gateway.metric("gateway_quarantined_total", stream=STREAM, rule="fell") <= wrong.count("fell")
        assert gateway.metric("gateway_meter_resets_total", stream=STREAM) > 0
        assert "A meter was replaced. The counters of the new meter are used from now on." in gateway.log
        page = gateway.get("/")[1]
        assert "Counters" in page
        config = ("-c", str(gateway.settings_file))
        causes = json.loads(gateway.command("dlq", "list", *config, "--format", "json").stdout)
        assert {cause["reason"] for cause in causes} == {"fell", "jumped"}
        assert sum(cause["count"] for cause in causes) == len(wrong)
        done = gateway.command("dlq", "replay", *config, "--reason", "fell")
        assert f"replayed: {wrong.count('fell')}" in done.stdout, done.stdout + done.stderr
        restored = house.found()
        assert restored.good.keys() - found.good.keys() == {n for n, reason in found.wrong.items() if reason == "fell"}
        house.publish(broker, house.readings[-1:])
        gateway.wait_settled(1)
        assert gateway.stop_and_read_ledger()["balanced"]
