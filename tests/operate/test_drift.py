"""The contract against real servers: what agrees, what drifted, what cannot be asked; and nothing is left behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from confluent_kafka import Producer

from gateway.certificate import FILES_UNDER_SERVERS
from gateway.installation import open_installation
from gateway.operate.drift.partitioner import murmur2
from gateway.operate.drift.survey import FORM, survey
from gateway.operate.schemas.subject_status import lock, register
from gateway.operate.topics import Cluster, carry_out, plan, wanted
from tests.stack.gateway import Gateway
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, hashed_passwords
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.errors import Finding, Severity
    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

NO_DRIFT, DRIFT, UNAVAILABLE = 0, 1, 69
READING = ("doors/dock-2", b'{"state": "open"}')


class Seen(NamedTuple):
    """What was told: rows by peer and what was looked at, and the exit code."""

    rows: dict[tuple[str, str], Finding]
    exit_code: int

    def of(self, severity: Severity) -> list[tuple[str, str]]:
        return [place for place, row in self.rows.items() if row.severity == severity]


class Site:
    """An installation whose topics and subjects are as the contract says."""

    def __init__(self, gateway: Gateway, topics: Topics, broker: Mosquitto) -> None:
        self.gateway = gateway
        self.topics = topics
        self.broker = broker

    def drift(self, seconds: float = 0) -> Seen:
        report = survey(open_installation(self.gateway.settings_file, {}), seconds, threading.Event())
        return Seen({(row.source, row.path): row for row in report.findings}, report.exit_code)


@pytest.fixture
def broker(mosquitto: StartMosquitto) -> Mosquitto:
    return mosquitto(f"{OPEN_AND_PERSISTENT}\nsys_interval 1\n")


@pytest.fixture
def site(kafka: Kafka, registry: Registry, broker: Mosquitto, tmp_path: Path) -> Iterator[Site]:
    topics = Topics(kafka, tmp_path)
    topics.contract.write_text(topics.contract.read_text().replace("partitions: 6", "partitions: 3"))
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        installation = open_installation(gateway.settings_file, {})
        cluster = Cluster(installation.kafka(producing=False))
        list(carry_out(plan(wanted(installation.contract), cluster).changes, cluster))
        register(installation)
        lock(installation)
        yield Site(gateway, topics, broker)


def test_drift_of_an_installation_that_is_as_the_contract_says(site: Site) -> None:
    """Exit code 0, and every peer has rows; as a table, and as JSON."""
    seen = site.drift()
    assert seen.exit_code == NO_DRIFT, seen.of("error")
    assert {peer for peer, _ in seen.rows} == {"factoryBroker", "meterBroker", "kafka", "registry"}
    assert seen.rows["factoryBroker", "subscription doors/+"].severity == "ok"
    assert seen.rows["kafka", f"topic {site.topics('smart-meter')}"].severity == "ok"
    asked = ("drift", "-c", str(site.gateway.settings_file), "--seconds", "0")
    text, machine = site.gateway.command(*asked), site.gateway.command(*asked, "--format", "json")
    assert (text.returncode, machine.returncode) == (NO_DRIFT, NO_DRIFT)
    assert text.stdout.startswith("peer ")
    outcome = text.stdout.splitlines()[-1]
    assert outcome.startswith(f"agrees: {len(seen.of('ok'))}")
    assert "drift" not in outcome
    rows = json.loads(machine.stdout)["observations"]
    assert [tuple(row) for row in rows] == len(rows) * [("peer", "what", "contract", "seen", "verdict", "next_step")]
    assert [tuple(row.values()) for row in rows] == [tuple(FORM.values(row)) for row in seen.rows.values()]
    assert {row["verdict"] for row in rows} <= {"agrees", "not seen"}


def test_drift_names_what_differs_in_kafka_and_changes_nothing(site: Site) -> None:
    """Settings, partitions and a missing topic, each with the step that mends it; asked twice, it says the same."""
    contract = site.topics.contract
    text = contract.read_text().replace("partitions: 3", "partitions: 6").replace("604800000", "86400000")
    contract.write_text(text.replace(site.topics("door-sensors"), "no-such-topic"))
    first, second = (site.drift() for _ in range(2))
    assert first.exit_code == DRIFT
    assert first.rows["kafka", "topic no-such-topic"].message == "missing"
    assert "topics apply" in first.rows["kafka", "topic no-such-topic"].fix
    retention = first.rows["kafka", f"topic {site.topics('smart-meter')} retention.ms"]
    assert (retention.message, retention.expected) == ("604800000", "86400000")
    assert "--allow-lowering" in retention.fix
    partitions = first.rows["kafka", f"topic {site.topics('smart-meter')} partitions"]
    assert (partitions.message, partitions.expected) == ("3", "6")
    assert first == second


def test_drift_names_what_differs_in_the_registry(site: Site, registry: Registry) -> None:
    """A schema that was changed here, one that was changed there, and a lock file of yesterday."""
    door, meter = (f"subject {site.topics(name)}-value" for name in ("door-sensors", "smart-meter"))
    file = site.topics.contract.parent / "schemas" / "door_sensor.avsc"
    file.write_text(file.read_text().replace('"closed"', '"closed", "ajar"'))
    schema = json.loads((site.topics.contract.parent / "schemas" / "smart_meter.avsc").read_text())
    schema["fields"].append({"name": "added", "type": ["null", "string"], "default": None})
    registry.register(f"{site.topics('smart-meter')}-value", json.dumps(schema))
    seen = site.drift()
    assert seen.exit_code == DRIFT
    assert seen.rows["registry", door].message == "the file is not registered"
    assert seen.rows["registry", door].severity == "error"
    assert "schemas register" in seen.rows["registry", door].fix
    assert seen.rows["registry", meter].message == "has a newer version: 2"
    assert seen.rows["registry", f"lock file, {site.topics('door-sensors')}-value"].severity == "error"


@pytest.mark.parametrize(("partitioner", "severity"), [("murmur2_random", "ok"), ("consistent_random", "error")])
def test_drift_sees_how_others_choose_a_partition(
    site: Site, kafka: Kafka, partitioner: str, severity: Severity
) -> None:
    """Records say by where they lie how their producer hashes keys."""
    name = site.topics("machine-sensors")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": partitioner})
    for number in range(100):
        producer.produce(name, b"x", f"machine-{number}")
    assert producer.flush(30) == 0
    seen = site.drift()
    row = seen.rows["kafka", f"topic {name} partitioner"]
    assert row.severity == severity
    assert "of 100 records agree" in row.message
    assert ("100 agree with consistent_random" in row.message) == (severity == "error")
    assert seen.rows["kafka", f"topic {site.topics('smart-meter')} partitioner"].severity == "unknown"


class Device:
    """Publishes again and again, while somebody listens."""

    def __init__(self, broker: Mosquitto, *topics: str) -> None:
        self._broker = broker
        self._topics = topics
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Publisher(self._broker.port) as publisher:
            while not self._done.wait(0.05):
                publisher.publish(((topic, b"1") for topic in self._topics), qos=0)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def test_drift_counts_messages_that_no_stream_describes(site: Site) -> None:
    """By their first levels, safe to print; what some server of the same broker describes is described."""
    with Publisher(site.broker.port) as publisher:
        publisher.publish([("stale/retained", b"1")], retain=True)
    with Device(site.broker, "doors/dock-2", "sma", "lab/a/b/c", "lab/a/d", "lab/\u202e/x"):
        seen = site.drift(2)
    assert seen.exit_code == DRIFT
    for peer in ("factoryBroker", "meterBroker"):
        assert seen.rows[peer, "messages"].severity == "ok"
        assert [what for name, what in seen.of("error") if name == peer] == [
            "topics lab/a/...",
            "topics lab/\\u202e/...",
        ]


def test_drift_takes_nothing_from_the_session_and_leaves_none(site: Site) -> None:
    """What waits for the gateway still waits for it, and the broker knows no more clients than before."""
    site.gateway.start()
    site.gateway.wait_subscribed()
    site.gateway.stop_and_read_ledger()
    with Publisher(site.broker.port) as publisher:
        publisher.publish([READING] * 50)
    expected = "2\n"  # the gateway's own, one for each server of the contract
    wait_for(lambda: sessions(site.broker) == expected, 30, "the broker to count the sessions of the stopped gateway")
    site.drift(1)
    wait_for(lambda: sessions(site.broker) == expected, 30, lambda: f"2 clients, not {sessions(site.broker)}")
    site.gateway.start()
    site.gateway.wait_settled(50)
    assert site.gateway.metric("gateway_delivered_total", stream="receiveDoors") == 50


def sessions(broker: Mosquitto) -> str:
    """How many clients the broker knows, connected or not, without the one that asks."""
    asked = ["mosquitto_sub", "-p", str(broker.port), "-t", "$SYS/broker/clients/disconnected", "-C", "1", "-W", "20"]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout


def test_drift_beside_a_running_gateway_does_not_cut_it_off(site: Site) -> None:
    site.gateway.start()
    site.gateway.wait_subscribed()
    assert site.drift().exit_code == NO_DRIFT
    assert site.gateway.metric("gateway_mqtt_connects_total") == 2


@pytest.mark.parametrize("version", ["'5.0'", "3.1.1"])
def test_drift_goes_away_when_the_broker_takes_it_for_the_gateway(
    mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, tmp_path: Path, version: str
) -> None:
    """Where client ids are made of user names, a clean start would end the gateway's session with all it holds."""
    configuration = f"{OPEN_AND_PERSISTENT}\npassword_file passwords\nuse_username_as_clientid true\n"
    users = hashed_passwords({"gateway": "secret", "device": "secret"})
    broker = mosquitto(configuration.replace("allow_anonymous true", "allow_anonymous false"), {"passwords": users})
    topics = Topics(kafka, tmp_path)
    text = topics.contract.read_text().replace("protocolVersion: '5.0'", f"protocolVersion: {version}")
    if version == "3.1.1":
        text = text.replace("        sessionExpiryInterval: 604800\n", "")
    topics.contract.write_text(text.replace("'#/servers/meterBroker'", "'#/servers/factoryBroker'"))
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    peers = servers(broker, kafka, registry)
    peers["factoryBroker"] |= {"username": "gateway", "password_file": str(tmp_path / "password")}
    with Gateway({name: peers[name] for name in ("factoryBroker", "kafka")}, topics.contract) as gateway:
        gateway.start()
        gateway.stop_and_read_ledger()
        with Publisher(broker.port, credentials=("device", "secret")) as publisher:
            publisher.publish([READING] * 50)
        seen = Site(gateway, topics, broker).drift()
        assert "has a session for the probe's random client id" in seen.rows["factoryBroker", "answer"].message
        assert seen.exit_code == UNAVAILABLE
        gateway.start()
        gateway.wait_settled(50)
        assert gateway.metric("gateway_delivered_total", stream="receiveDoors") == 50


class OneAnswer:
    """A broker of MQTT 5 that takes everybody and has one answer to every subscription.

    Attributes:
        asked: what it was sent.

    Args:
        code: the answer.
        connack: the answer to CONNECT.
    """

    def __init__(self, code: bytes, connack: bytes = b"\x20\3\0\0\0") -> None:
        self.asked = b""
        self._connack = connack
        self._code = code
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                with self._listener.accept()[0] as connection:
                    while packet := connection.recv(65_536):
                        self.asked += packet
                        connection.sendall(self._answer(packet))

    def _answer(self, packet: bytes) -> bytes:
        """Packets are shorter than 128 bytes, and come one by one: each waits for its answer."""
        if packet[0] & 0xF0 == 0x10:
            return self._connack
        if packet[0] & 0xF0 not in {0x80, 0xA0}:
            return b""
        count, at, options = 0, 5, packet[0] & 0xF0 == 0x80
        while at < len(packet):
            at += 2 + int.from_bytes(packet[at : at + 2], "big") + options
            count += 1
        kind, code = (b"\x90", self._code) if options else (b"\xb0", b"\x11")
        return kind + bytes([3 + count]) + packet[2:4] + b"\0" + code * count

    def close(self) -> None:
        self._listener.close()


def test_drift_tells_each_subscription_that_is_denied(site: Site, kafka: Kafka, registry: Registry) -> None:
    """Each filter with the broker's reason; what we may not listen to is not seen, and that is no drift."""
    with closing(OneAnswer(b"\x87")) as denying:
        peers = servers(site.broker, kafka, registry) | {"factoryBroker": {"host": f"127.0.0.1:{denying.port}"}}
        with Gateway(peers, site.topics.contract) as gateway:
            seen = Site(gateway, site.topics, site.broker).drift(1)
    denied = [what for peer, what in seen.of("error") if peer == "factoryBroker"]
    assert denied == ["subscription factory/+/+", "subscription doors/+", "subscription widgets/+"]
    assert seen.rows["factoryBroker", "subscription doors/+"].message == "denied: Not authorized"
    assert seen.rows["factoryBroker", "messages"].severity == "unknown"
    assert seen.exit_code == DRIFT


def test_drift_names_the_peer_that_does_not_answer_and_checks_the_others(
    site: Site, free_port: FreePort, kafka: Kafka, registry: Registry
) -> None:
    """Exit code 69: no drift would be a lie. The rows of the others are there."""
    nobody = {"host": f"127.0.0.1:{free_port()}"}
    peers: dict[str, Any] = servers(site.broker, kafka, registry) | {"factoryBroker": nobody}
    peers["kafka"] = {"host": kafka.bootstrap, "registry": {"url": f"http://{nobody['host']}"}}
    with Gateway(peers, site.topics.contract) as gateway:
        seen = Site(gateway, site.topics, site.broker).drift()
    assert seen.exit_code == UNAVAILABLE
    assert {peer for peer, _ in seen.of("unreachable")} == {"factoryBroker", "registry"}
    assert "Connection refused" in seen.rows["factoryBroker", "answer"].message
    assert seen.rows["factoryBroker", "answer"].fix == "Does the broker run, and is this its port?"
    assert seen.rows["meterBroker", "connection"].severity == "ok"
    assert seen.rows["kafka", f"topic {site.topics('smart-meter')}"].severity == "ok"


def test_drift_tells_a_login_that_is_refused(
    site: Site, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry
) -> None:
    """The broker's reason, and where to look."""
    configuration = OPEN_AND_PERSISTENT.replace("allow_anonymous true", "allow_anonymous false")
    guarded = mosquitto(f"{configuration}\npassword_file passwords\n", {"passwords": hashed_passwords({"a": "b"})})
    with Gateway(servers(guarded, kafka, registry), site.topics.contract) as gateway:
        seen = Site(gateway, site.topics, guarded).drift()
    assert seen.exit_code == UNAVAILABLE
    for peer in ("factoryBroker", "meterBroker"):
        assert seen.rows[peer, "answer"].message == "The broker refused the connection: Not authorized."
        assert seen.rows[peer, "answer"].fix == f"Check username and password_file {FILES_UNDER_SERVERS}."


def test_drift_shows_what_it_has_when_it_is_interrupted(site: Site, kafka: Kafka, registry: Registry) -> None:
    """Ctrl-C ends the listening, not the answer."""
    with closing(OneAnswer(b"\1")) as silent:
        peers = servers(site.broker, kafka, registry) | {"factoryBroker": {"host": f"127.0.0.1:{silent.port}"}}
        with Gateway(peers, site.topics.contract) as gateway:
            config = str(gateway.settings_file)
            command = [sys.executable, "-m", "gateway.cli", "drift", "-c", config, "--seconds", "600"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                try:
                    wait_for(lambda: b"\0\1#" in silent.asked, 60, lambda: str(silent.asked))
                    process.send_signal(signal.SIGINT)
                    shown, _ = process.communicate(timeout=60)
                finally:
                    process.kill()
    assert "a stream for each" in shown
    assert process.returncode == NO_DRIFT


# --- the pure parts --------------------------------------------------------------------------------------------------


def test_murmur2_gives_what_java_gives() -> None:
    """The values that Kafka's own UtilsTest names."""
    expected = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert {key: murmur2(key) for key in expected} == {key: value & 0xFFFFFFFF for key, value in expected.items()}
