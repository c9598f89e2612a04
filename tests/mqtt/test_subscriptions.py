"""The file of subscriptions: it keeps what was written, and the gateway runs even when the file is damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.mqtt.subscriptions import FILE_NAME, SubscriptionFile
from tests.stack.gateway import Gateway, summed
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.mosquitto import Mosquitto


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a file that is not there yet."""
    return tmp_path / FILE_NAME


def test_filters_are_none_without_a_file(path: Path) -> None:
    assert SubscriptionFile(path).filters("broker", "gateway") == frozenset()
    assert not path.exists()


def test_filters_are_what_an_earlier_run_wrote(path: Path) -> None:
    SubscriptionFile(path).write("broker", "gateway", {"b/+", "a/+"})
    SubscriptionFile(path).write("broker", "gateway", {"a/+"})
    SubscriptionFile(path).write("other", "gateway", {"Öfen/#"})
    assert SubscriptionFile(path).filters("broker", "gateway") == {"a/+"}
    assert json.loads(path.read_text()) == {"broker": {"gateway": ["a/+"]}, "other": {"gateway": ["Öfen/#"]}}


def test_filters_belong_to_server_and_client_id(path: Path) -> None:
    file = SubscriptionFile(path)
    file.write("broker", "gateway", {"a/+"})
    file.write("broker", "gateway-2", {"b/+"})
    assert file.filters("broker", "gateway") == {"a/+"}
    assert file.filters("broker", "gateway-2") == {"b/+"}
    assert file.filters("other", "gateway") == frozenset()


def test_write_does_not_touch_the_disk_when_nothing_has_changed(path: Path) -> None:
    file = SubscriptionFile(path)
    file.write("broker", "gateway", set())
    assert not path.exists()
    file.write("broker", "gateway", {"b", "a"})
    before = path.stat()
    file.write("broker", "gateway", ["a", "b"])
    assert path.stat() == before


DAMAGED = {
    "empty": b"",
    "half": b'{"broker": {"gateway": ["a/',
    "no UTF-8": b'{"broker": {"gateway": ["\xff"]}}',
    "lone surrogate": b'{"broker": {"gateway": ["\\ud800"]}}',
    "list": b"[]",
    "number": b'{"broker": {"gateway": [1]}}',
    "empty filter": b'{"broker": {"gateway": [""]}}',
    "zeros": bytes(4096),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_a_warning_and_is_replaced(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    file = SubscriptionFile(path)
    assert file.filters("broker", "gateway") == frozenset()
    assert "The file of MQTT subscriptions cannot be used." in caplog.text
    file.write("broker", "gateway", {"a"})
    assert file.filters("broker", "gateway") == {"a"}


def test_a_file_that_cannot_be_read_or_written_is_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    file = SubscriptionFile(path)
    assert file.filters("broker", "gateway") == frozenset()
    file.write("broker", "gateway", {"a"})
    details = [getattr(record, "detail", "") for record in caplog.records]
    assert any("cannot be read (Is a directory)" in each for each in details)
    assert any("cannot be written (Is a directory)" in each for each in details)


# --- a whole gateway, whose contract is edited between two runs ---------------------------------------------------


CONNECTIONS = {"factoryBroker", "meterBroker"}
SWITCHED_OFF = {"receiveDoors": {"enabled": False}, "receiveSmartMeter": {"enabled": False}}
TOPICS = ("doors/dock", "sma", "factory/m/s")
STREAMS = ("receiveDoors", "receiveSmartMeter", "receiveFactorySensors")


@pytest.fixture
def broker(mosquitto: StartMosquitto) -> Mosquitto:
    """Start the broker that is both servers of the contract."""
    return mosquitto()


@pytest.fixture
def gateway(broker: Mosquitto, free_port: FreePort) -> Iterator[Gateway]:
    """Make a gateway without a Kafka: what it takes in waits in its spool."""
    nowhere, at = f"127.0.0.1:{free_port()}", {"host": broker.address}
    kafka = {"host": nowhere, "registry": {"url": f"http://{nowhere}"}}
    with Gateway({"factoryBroker": at, "meterBroker": at, "kafka": kafka}) as made:
        yield made


def start(gateway: Gateway, streams: dict[str, Any]) -> None:
    """Start it with these streams switched off, and wait until it is connected."""
    settings = json.loads(gateway.settings_file.read_text())
    gateway.settings_file.write_text(json.dumps(settings | {"streams": streams}))
    gateway.start(ready=False)
    wait_for(
        lambda: all(gateway.states()[name]["state"] == "ok" for name in CONNECTIONS), 30,
        lambda: f"the brokers: {gateway.states()}",
    )  # fmt: skip


def wait_noted(gateway: Gateway, factory: list[str], meter: list[str]) -> None:
    """Wait until the file says this."""
    expected = {"factoryBroker": {"iot-gateway": factory}, "meterBroker": {"iot-gateway-meter": meter}}
    path = gateway.folder / FILE_NAME
    wait_for(lambda: json.loads(path.read_text()) == expected, 30, lambda: f"{expected}; it says {path.read_text()}")


def publish(broker: Mosquitto) -> None:
    """Publish one message to each topic."""
    with Publisher(broker.port) as publisher:
        publisher.publish([(topic, b"{}") for topic in TOPICS], 1)


def received(gateway: Gateway) -> list[float]:
    """Tell how many messages came, by stream."""
    page = gateway.metrics()
    return [summed(page, "gateway_received_total", stream=stream) for stream in STREAMS]


def test_run_unsubscribes_streams_that_were_switched_off(broker: Mosquitto, gateway: Gateway) -> None:
    """One of several, and the only one of a broker: neither arrives, and the broker queues neither."""
    start(gateway, {})
    wait_noted(gateway, ["doors/+", "factory/+/+", "widgets/+"], ["sma"])
    gateway.kill()
    start(gateway, SWITCHED_OFF)
    wait_noted(gateway, ["factory/+/+", "widgets/+"], [])
    publish(broker)
    wait_for(lambda: received(gateway)[2] == 1, 30, "the stream that is still on")
    gateway.kill()
    publish(broker)
    start(gateway, {})
    publish(broker)
    wait_for(lambda: min(received(gateway)) > 0, 30, "the streams that are on again")
    assert received(gateway)[:2] == [1, 1], "what came after they were switched on again, and nothing before"
    gateway.kill()  # a clean stop would wait for Kafka
