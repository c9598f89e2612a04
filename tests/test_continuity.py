"""A stream whose readings carry a number: what a user sees of a gap, from the contract to `gateway status`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

FORWARD = "    x-forward-to: {$ref: '#/operations/sendWidgetReadings'}\n"
# The widget line has no counter; its time stamp is a long, and counts in this test.
WATCHED = "    x-sequence: $message.payload#/reading_ts\n    x-silent-after: 1\n"


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics, and a contract that watches the widget line."""
    made = Topics(kafka, tmp_path)
    text = made.contract.read_text()
    assert FORWARD in text
    made.contract.write_text(text.replace(FORWARD, FORWARD + WATCHED))
    return made


def reading(number: int) -> bytes:
    """Write a reading with this number."""
    more = {"sensor_id": "a", "widget_type": "b", "temp_celcius": 20, "widget_weight_g": 1}
    return json.dumps({"reading_ts": number, **more}).encode()


def test_run_counts_gaps_repeats_and_silence_and_keeps_the_counts(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """They are metrics, a line in the log with the key, and a table of `gateway status`, also once it is stopped."""
    broker = mosquitto()
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([("widgets/w01", reading(number)) for number in (5, 6, 9, 9, 10)])
            publisher.publish([("widgets/w02", reading(1)), ("doors/d", b'{"state":"open"}')])
        gateway.wait_settled(7)
        wait_for(lambda: gateway.metric("gateway_silent_keys") == 2, 30, "two silent keys")
        assert gateway.metric("gateway_sequence_missing_total", stream="receiveWidgetLine") == 2
        assert gateway.metric("gateway_sequence_repeated_total", stream="receiveWidgetLine") == 1
        assert 'gateway_sequence_gaps_total{stream="receiveDoors"}' not in gateway.metrics()
        (line, *_) = [line for line in gateway.log.splitlines() if "Sequence numbers of a key are" in line]
        told = json.loads(line)
        assert (told["stream"], told["key"] in {"w01", "w02"}) == ("receiveWidgetLine", True), told
        assert gateway.stop_and_read_ledger()["balanced"]
        text = gateway.command("status", "-c", str(gateway.settings_file)).stdout
        assert re.search(r"^receiveWidgetLine +1 +2 +1 +0 +0 +0 +-$", text, re.MULTILINE), text
        gateway.start()
        assert gateway.metric("gateway_sequence_missing_total", stream="receiveWidgetLine") == 2, "kept"
