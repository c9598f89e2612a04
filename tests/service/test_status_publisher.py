"""The status that a gateway publishes: what a broker retains over its life, and what a broker cannot do to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway.observe.status_document import discovery
from gateway.service.split import own_settings
from gateway.settings.settings import load
from tests.stack.gateway import Gateway
from tests.stack.mosquitto import hashed_passwords
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers, topics

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

__all__ = ["topics"]  # the fixture

SECONDS = 60
TOPIC, (CONFIG, _) = "gateway/plant-7/status", discovery("plant-7")
PUBLISHED = {"publish": "meterBroker", "id": "plant-7", "every": "1s", "home_assistant": True}


class Watcher:
    """The last message of each topic at a broker; an empty one is none."""

    def __init__(self, port: int) -> None:
        self.messages: dict[str, bytes] = {}
        self.were_retained: set[str] = set()  # as the broker sends them to a new subscriber
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            self.were_retained.add(message.topic)
        self.messages[message.topic] = bytes(message.payload)

    def status(self) -> dict[str, Any]:
        """The last status."""
        found: dict[str, Any] = json.loads(self.messages.get(TOPIC) or b"{}")
        return found

    def wait(self, **members: Any) -> dict[str, Any]:
        """Wait for a status with these members."""
        wait_for(lambda: members.items() <= self.status().items(), SECONDS, lambda: f"{members}, not {self.status()}")
        return self.status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_status_over_the_life_of_a_gateway(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """Online with its figures; offline after kill -9 and after a clean stop; and nothing is left when it is off."""
    broker = mosquitto()
    given = servers(broker, kafka, registry)
    given["meterBroker"] |= {"username": "meters"}
    with Gateway(given, topics.contract, status=PUBLISHED) as gateway, Watcher(broker.port) as watcher:
        gateway.start()
        watcher.wait(state="online", ready=True, problems=[])
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/a", b'{"state":"open"}')] * 5 + [("doors/b", b'{"state":7}')] * 2)
        shown = watcher.wait(dead_letters=2, waiting=0, quarantined=0)
        assert shown["rate"] > 0
        assert shown["hours_left"] > 0
        assert shown["contract"]["version"]
        assert json.loads(watcher.messages[CONFIG]) == discovery("plant-7")[1]
        for secret in ("127.0.0.1", "meters", "passw", str(gateway.folder)):
            assert secret not in json.dumps(shown)

        gateway.kill()
        offline = watcher.wait(state="offline", ready=False)
        assert offline["id"] == "plant-7"

        gateway.start()
        watcher.wait(state="online", ready=True)
        gateway.stop_and_read_ledger()
        watcher.wait(state="offline")
        with Watcher(broker.port) as later:
            later.wait(state="offline")
            wait_for(lambda: {TOPIC, CONFIG} <= later.were_retained, SECONDS, "both are retained")

        other = PUBLISHED | {"id": "plant-8", "home_assistant": False}
        _restart(gateway, status=other)
        wait_for(lambda: watcher.messages[TOPIC] == watcher.messages[CONFIG] == b"", SECONDS, "the former are removed")
        _restart(gateway)
        wait_for(lambda: watcher.messages["gateway/plant-8/status"] == b"", SECONDS, "the last one is removed")
        remembered = gateway.folder / "status.json"
        wait_for(lambda: json.loads(remembered.read_text()) == {}, SECONDS, "nothing is remembered")


def _restart(gateway: Gateway, **sections: Any) -> None:
    if gateway.is_running:
        gateway.stop_and_read_ledger()
    settings = json.loads(gateway.settings_file.read_text())
    settings.pop("status", None)
    gateway.settings_file.write_text(json.dumps(settings | sections))
    gateway.start(ready=False)


def nowhere(port: int) -> dict[str, Any]:
    """Servers of which none is there."""
    at = {"host": f"127.0.0.1:{port}"}
    return {"factoryBroker": at, "meterBroker": at, "kafka": at | {"registry": {"url": f"http://127.0.0.1:{port}"}}}


def test_broker_that_is_down_stops_nothing(free_port: FreePort) -> None:
    """The gateway starts and stops as without a status."""
    with Gateway(nowhere(free_port()), status=PUBLISHED) as gateway:
        gateway.start(ready=False)
        assert gateway.stop_and_read_ledger()["balanced"]
        assert not (gateway.folder / "status.json").exists()


def test_broker_that_replaces_client_ids_keeps_the_gateways_session(
    mosquitto: StartMosquitto, free_port: FreePort
) -> None:
    """A second connection would be the gateway's own: the status is given up, and the gateway is connected again."""
    passwords = {"passwd": hashed_passwords({"gateway": "secret"})}
    rules = "listener 1883\nallow_anonymous false\npassword_file passwd\nuse_username_as_clientid true\n"
    broker = mosquitto(rules, passwords)
    given = nowhere(free_port())
    given["meterBroker"] = {"host": broker.address, "username": "gateway", "password_file": "password"}
    with Gateway(given, status=PUBLISHED) as gateway:
        (gateway.folder / "password").write_text("secret")
        (gateway.folder / "password").chmod(0o600)
        gateway.start(ready=False)
        wait_for(lambda: "use_username_as_clientid" in gateway.log, SECONDS, lambda: gateway.log)
        gateway.wait_subscribed("meterBroker")
        assert gateway.metric("gateway_mqtt_sessions_lost", server="meterBroker") == 0


def test_worker_that_is_not_the_first_publishes_nothing(tmp_path: Path) -> None:
    """One gateway has one status, however many processes it is."""
    path = tmp_path / "gateway.yaml"
    path.write_text(json.dumps({"contract": "asyncapi.yaml", "status": PUBLISHED, "workers": {"count": 2}}))
    settings = load(path, {})
    assert own_settings(settings, 1).status.publish == "meterBroker"
    assert own_settings(settings, 2).status.publish is None
