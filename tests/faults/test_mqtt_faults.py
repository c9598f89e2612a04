"""The MQTT side under fault: links cut, brokers restarted, frozen or silent, everything away at the start."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.device import message
from tests.faults.link import Link
from tests.faults.site import KEEP_ALIVE, KEEPS_AT_STOP, exit_code
from tests.stack.publisher import remaining_length
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.conftest import StartSite
    from tests.stack.certificates import Certificates
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

CUTS = 5  # the back-off doubles with each: this is the sum of 0.2 to 3.2 seconds
WEB = "listener 8080\nprotocol websockets\n"
WEB_TLS = WEB + "cafile ca.crt\ncertfile broker.crt\nkeyfile broker.key\n"
IMPATIENT = {KEEP_ALIVE: "keepAlive: 2\n"}


def test_run_loses_nothing_when_the_link_is_cut_again_and_again(site: StartSite) -> None:
    """The session continues; the only duplicates are messages that the broker sent again, and they are counted."""
    here = site()
    here.gateway.start()
    with here.device:
        for cuts in range(1, CUTS + 1):
            here.device.wait_for_more(50)
            here.link.cut()
            here.wait_for("gateway_mqtt_connects_total", 2 * (cuts + 1))  # two servers of the contract
        here.device.wait_for_more(50)
        here.settle()
        repeated = here.gateway.metric("gateway_repeated_total")
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates <= repeated, verdict


@pytest.mark.parametrize(
    ("readings", "cuts", "rate"), [pytest.param(1_000, 4, 250, marks=pytest.mark.gate), (50_000, 8, 2_000)]
)
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
def test_run_loses_nothing_over_a_websocket_whose_link_is_cut(
    site: StartSite, certificates: Certificates, readings: int, cuts: int, rate: int, *, is_encrypted: bool
) -> None:
    """Mosquitto's WebSocket listener: frames end anywhere, and the next connection begins with none."""
    reach: dict[str, Any] = {"websocket": {}} | ({"tls": {"ca_file": str(certificates.ca)}} if is_encrypted else {})
    files = {path.name: path for path in certificates.folder.glob("*.*")} if is_encrypted else {}
    listener = WEB_TLS if is_encrypted else WEB
    here = site(configuration=KEEPS_AT_STOP + listener, files=files, listener=8080, reach=reach, rate=rate)
    here.gateway.start()
    with here.device:
        for _ in range(cuts):
            here.device.wait_for_more(readings // cuts, 120)
            connects = here.gateway.metric("gateway_mqtt_connects_total")
            here.link.cut()
            here.wait_for("gateway_mqtt_connects_total", connects + 2, 90)  # two servers of the contract
        here.settle(180)
        repeated = here.gateway.metric("gateway_repeated_total")
        verdict = here.verdict()
    assert len(here.device.promised) >= readings
    assert verdict.is_clean, verdict
    assert verdict.duplicates <= repeated, verdict


def test_run_goes_on_with_its_session_after_a_broker_restart(site: StartSite) -> None:
    """What the broker kept is delivered; Kafka has no more duplicates than the broker sent again."""
    here = site()
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(200)
        here.broker.restart()
        here.device.wait_for_more(200)
        here.settle()
        assert here.gateway.metric("gateway_mqtt_sessions_lost_total") == 0
        repeated = here.gateway.metric("gateway_repeated_total")
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates <= repeated, verdict


def test_run_finds_a_link_without_answers_by_its_keep_alive(site: StartSite) -> None:
    """A broker that keeps the connection open but never answers is given up after 1.5 keep-alives, and found again."""
    here = site(edits=IMPATIENT)
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(100)
        here.broker.freeze()
        wait_for(lambda: here.gateway.states()["factoryBroker"]["state"] != "ok", 6, "the dead link to be found")
        here.broker.thaw()
        here.device.wait_for_more(100)
        verdict = here.verdict()
    assert verdict.is_clean, verdict


def test_run_starts_with_nothing_reachable(site: StartSite, away_kafka: Kafka, registry: Registry) -> None:
    """The gateway starts without any peer, names each, keeps running, and delivers as soon as they answer."""
    with ExitStack() as links:
        broker_port = int(away_kafka.bootstrap.rpartition(":")[2])
        kafka = links.enter_context(Link(broker_port, is_up=False))
        url = f"http://127.0.0.1:{{}}{registry.url.partition('/apis')[1]}{registry.url.partition('/apis')[2]}"
        ids = links.enter_context(Link(int(registry.url.split(":")[2].split("/")[0]), is_up=False))
        here = site(servers={"kafka": {
            "host": f"127.0.0.1:{kafka.port}", "registry": {"url": url.format(ids.port)},
        }})  # fmt: skip
        here.link.take_down()
        here.gateway.start(ready=False)
        wait_for(
            lambda: {"down", "unreachable", "no_schema_id"}
            <= {state["state"] for state in here.gateway.states().values()},
            10, "each peer to be named",
        )  # fmt: skip
        for link in (here.link, kafka, ids):
            link.restore()
        wait_for(here.gateway.is_ready, 30, lambda: f"everything to be there: {here.gateway.states()}")
        here.device.publish(200)
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


def test_run_serves_the_others_while_peers_accept_and_never_answer(site: StartSite) -> None:
    """Broker, Kafka and registry accept connections and never answer: each is named, and the other streams go on."""
    with ExitStack() as peers:
        silent = [f"127.0.0.1:{peers.enter_context(_silent()).getsockname()[1]}" for _ in range(3)]
        here = site(
            servers={
                "meterBroker": {"host": silent[0]},
                "kafka": {"host": silent[1], "registry": {"url": f"http://{silent[2]}"}},
            },
            spool={"after": "100ms"},
        )
        here.gateway.start(ready=False)
        wait_for(lambda: here.gateway.states()["factoryBroker"]["state"] == "ok", 30, "the broker that speaks")
        here.device.publish(200)
        here.wait_for("gateway_spooled", 200)
        wait_for(lambda: "CONNACK" in here.gateway.states()["meterBroker"]["detail"], 60, "the silent broker's name")
        states = here.gateway.states()
        assert states["factoryBroker"]["state"] == "ok"
        assert states["kafka"]["state"] == "unreachable"
        assert here.gateway.is_alive()
        ledger = here.terminate()
    assert (ledger["spooled"], ledger["balanced"]) == (200, True), ledger


def _silent() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))  # the kernel accepts; nobody ever answers


def test_run_does_not_need_the_registry_once_it_knows_the_ids(site: StartSite, registry: Registry) -> None:
    """The registry goes down while the gateway runs: readings still get through."""
    host, path = registry.url.removeprefix("http://").split("/", 1)
    with Link(int(host.rpartition(":")[2])) as link:
        here = site(registry=f"http://127.0.0.1:{link.port}/{path}")
        here.gateway.start()
        here.device.publish(50)
        link.take_down()
        here.device.publish(200)
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


@pytest.fixture
def resending_broker() -> Iterator[int]:
    """Play a broker that sends ten messages, and each of them again with DUP; give its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_send_twice, args=(server,), name="resending broker", daemon=True).start()
        yield server.getsockname()[1]


def _send_twice(server: socket.socket) -> None:
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        peer.recv(4096)  # CONNECT
        peer.sendall(b"\x20\3\0\0\0")
        request = peer.recv(4096)
        filters = request.count(b"factory/") + request.count(b"doors/") + request.count(b"widgets/")
        peer.sendall(bytes([0x90, 3 + filters, *request[2:4], 0, *[1] * filters]))
        peer.sendall(b"".join(_publish(number, dup=dup) for number in range(10) for dup in (False, True)))
        while peer.recv(4096):
            pass


def _publish(number: int, *, dup: bool) -> bytes:
    topic, payload = message(number)
    body = struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">H", number + 1) + b"\0" + payload
    return bytes([0x32 | dup << 3]) + remaining_length(len(body)) + body


@pytest.mark.gate
def test_run_drops_nothing_because_of_dup(site: StartSite, resending_broker: int) -> None:
    """DUP alone does not make a message a repeat: both copies go to Kafka, and the repeats are counted."""
    here = site(servers={"factoryBroker": {"host": f"127.0.0.1:{resending_broker}"}})
    here.gateway.start()
    here.gateway.wait_settled(20)
    assert here.gateway.metric("gateway_repeated_total") == 10
    here.device.promised = dict.fromkeys(range(10), 0.0)
    verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 10, verdict
    assert exit_code(here.gateway) == 0
