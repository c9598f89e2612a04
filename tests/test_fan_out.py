"""A stream that goes to two topics: its history, and the latest reading of each key in a compacted topic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, decoded, servers, topics

if TYPE_CHECKING:
    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

__all__ = ["topics"]  # the fixture

LATEST = """
  doorLatestTopic:
    address: {latest}
    servers: [{{$ref: '#/servers/kafka'}}]
    messages: {{record: {{$ref: '#/components/messages/doorSensorAvro'}}}}
    bindings: {{kafka: {{topicConfiguration: {{cleanup.policy: [compact]}}, bindingVersion: 0.5.0}}}}
"""
FORWARD = "x-forward-to: {$ref: '#/operations/sendDoorSensors'}"


@pytest.fixture
def latest(topics: Topics) -> str:
    """Let doors go to a second, compacted topic, and give its name. It is not made yet."""
    name = topics("door-latest")
    text = topics.contract.read_text()
    assert FORWARD in text
    text = text.replace(FORWARD, f"x-forward-to: [{FORWARD.partition(': ')[2]}, {{$ref: '#/operations/sendLatest'}}]")
    text = text.replace("\nchannels:\n", "\nchannels:" + LATEST.format(latest=name), 1)
    send = "\n  sendLatest: {action: send, channel: {$ref: '#/channels/doorLatestTopic'}}\n"
    topics.contract.write_text(text.replace("\noperations:\n", "\noperations:" + send, 1))
    return name


def test_run_keeps_the_latest_reading_of_each_key_until_it_is_cleared(
    kafka: Kafka, topics: Topics, latest: str, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """While a topic is missing its stream waits; then both have every reading, and a cleared one ends its key."""
    broker = mosquitto()
    doors = [(f"doors/d{number % 5}", json.dumps({"state": "open"}).encode()) for number in range(50)]
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start(ready=False)
        gateway.wait_subscribed()
        with Publisher(broker.port) as publisher:
            publisher.publish(doors)
            publisher.publish([("doors/d1", b""), ("doors/d2", b"not json")], retain=True)
        wait_for(lambda: gateway.metric("gateway_received_total") == 52, 30, gateway.metrics)
        wait_for(lambda: latest in gateway.get("/readyz")[1], 30, "the missing topic to be named")
        assert gateway.metric("gateway_delivered_total") == 0
        kafka.create_topic(latest)
        gateway.wait_settled(52)
        shown = gateway.command(
            "tail", latest, "-c", str(gateway.settings_file), "--from", "beginning", "--count", "51"
        )
        ledger = gateway.stop_and_read_ledger()
    assert (ledger["delivered"], ledger["dead_lettered"], ledger["balanced"]) == (51, 1, True)
    history = topics.records("door-sensors", 50)
    assert all(decoded(record, "receiveDoors")["state"] == "open" for record in history)
    assert record_count(kafka.bootstrap, latest) >= 51, "what waited for the missing topic may be there twice"
    assert shown.stdout.count("TOMBSTONE") == 1
