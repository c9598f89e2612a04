"""The servers do what tests rely on: they keep their data and ports, freeze, refuse strangers, never stay behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.stack.mosquitto import hashed_passwords
from tests.stack.reading_records import records
from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.conftest import FreePort, StartKafka, StartMosquitto
    from tests.stack.certificates import Certificates
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

TLS_AND_PASSWORD = """\
listener 1883
listener 8883
allow_anonymous false
password_file /etc/mosquitto/passwd
cafile /etc/mosquitto/ca.crt
certfile /etc/mosquitto/broker.crt
keyfile /etc/mosquitto/broker.key
persistence true
persistence_location /var/lib/mosquitto/
autosave_on_changes true
autosave_interval 1
user mosquitto
log_dest syslog
"""


def _run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = command(name, "mosquitto-clients")
    return subprocess.run(
        [path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


def _publish_retained(broker: Mosquitto, payload: str) -> int:
    return _run("mosquitto_pub", "-p", str(broker.port), "-t", "a", "-q", "1", "-r", "-m", payload).returncode


def _read_retained(broker: Mosquitto) -> str:
    return _run("mosquitto_sub", "-p", str(broker.port), "-t", "a", "-C", "1", "-W", "5").stdout.strip()


def test_mosquitto_keeps_its_store_and_port_over_a_restart(mosquitto: StartMosquitto) -> None:
    broker = mosquitto()
    assert _publish_retained(broker, "kept") == 0
    port = broker.port
    broker.restart()
    assert broker.port == port
    assert _read_retained(broker) == "kept"


def test_mosquitto_keeps_what_it_saved_when_killed(mosquitto: StartMosquitto) -> None:
    broker = mosquitto()
    store = broker.folder / "mosquitto.db"
    assert _publish_retained(broker, "kept") == 0
    wait_for(lambda: store.exists() and b"kept" in store.read_bytes(), 60, "the store to be written")
    broker.kill()
    broker.start()
    assert _read_retained(broker) == "kept"


def test_mosquitto_frozen_answers_nobody_until_thawed(mosquitto: StartMosquitto) -> None:
    broker = mosquitto()
    broker.freeze()
    publish = [command("mosquitto_pub", "mosquitto-clients"), "-p", str(broker.port), "-t", "a", "-q", "1", "-m", "x"]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(publish, timeout=1, check=False)
    broker.thaw()
    assert subprocess.run(publish, timeout=30, check=False).returncode == 0


def test_mosquitto_runs_a_file_written_for_another_machine(
    mosquitto: StartMosquitto, certificates: Certificates
) -> None:
    names = ("ca.crt", "broker.crt", "broker.key")
    files: dict[str, bytes] = {name: (certificates.folder / name).read_bytes() for name in names}
    broker = mosquitto(TLS_AND_PASSWORD, files | {"passwd": hashed_passwords({"gateway": "secret"})})
    connect = ("-p", str(broker.port_of(8883)), "-t", "a", "-m", "x", "-q", "1", "-u", "gateway")
    trusted = ("--cafile", str(certificates.ca))
    assert _run("mosquitto_pub", *connect, *trusted, "-P", "secret").returncode == 0
    assert _run("mosquitto_pub", *connect, *trusted, "-P", "wrong").returncode == 5  # not authorised
    assert _run("mosquitto_pub", *connect, "--cafile", str(certificates.other_ca), "-P", "secret").returncode != 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broker", ": OK"),
        ("expired", " error: certificate has expired"),
        ("wrong-host", " error: IP address mismatch"),
    ],
)
def test_certificates_are_judged_by_openssl_as_their_names_say(
    mosquitto: StartMosquitto, certificates: Certificates, name: str, reason: str
) -> None:
    files = {"broker.crt": certificates.certificate(name), "broker.key": certificates.key(name)}
    broker = mosquitto("listener 8883\nallow_anonymous true\ncertfile broker.crt\nkeyfile broker.key", files)
    trust = ("-CAfile", str(certificates.ca), "-verify_ip", "127.0.0.1")
    outcome = _run("openssl", "s_client", "-brief", "-connect", broker.address, *trust)
    assert f"Verification{reason}" in outcome.stderr


def test_mosquitto_with_a_bad_setting_fails_with_what_it_wrote(mosquitto: StartMosquitto) -> None:
    with pytest.raises(AssertionError, match="Unknown configuration variable"):
        mosquitto("listener 1883\nno_such_setting 1")


def test_kafka_killed_comes_back_with_its_records(away_kafka: Kafka) -> None:
    away_kafka.create_topic("kept")
    producer = Producer({"bootstrap.servers": away_kafka.bootstrap, "acks": "all", "log_level": 0})
    producer.produce("kept", b"before")
    assert producer.flush(30) == 0
    away_kafka.kill()
    producer.produce("kept", b"while it is away")
    away_kafka.start_node()
    assert producer.flush(60) == 0
    assert [record.value for record in records(away_kafka.bootstrap, "kept", 2)] == [b"before", b"while it is away"]


def test_kafka_frozen_acknowledges_nothing_until_thawed(away_kafka: Kafka) -> None:
    away_kafka.create_topic("frozen")
    producer = Producer({"bootstrap.servers": away_kafka.bootstrap, "log_level": 0})
    away_kafka.freeze()
    producer.produce("frozen", b"patience")
    assert producer.flush(1) == 1
    away_kafka.thaw()
    assert producer.flush(60) == 0


def test_kafka_of_three_nodes_outlives_its_leader(kafka_cluster: StartKafka) -> None:
    kafka = kafka_cluster(nodes=3)
    kafka.create_topic("copied")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all", "log_level": 0})
    producer.produce("copied", b"1")
    assert producer.flush(30) == 0
    kafka.kill(kafka.leader("copied"))
    producer.produce("copied", b"2")
    assert producer.flush(60) == 0
    assert [record.value for record in records(kafka.bootstrap, "copied", 2)] == [b"1", b"2"]


def test_kafka_listeners_let_in_only_who_may(kafka_cluster: StartKafka, certificates: Certificates) -> None:
    kafka = kafka_cluster(certificates=certificates, users={"gateway": "secret"})
    trust = {"ssl.ca.location": str(certificates.ca)}
    client = {
        "ssl.certificate.location": str(certificates.certificate("client")),
        "ssl.key.location": str(certificates.key("client")),
    }
    stranger = {
        "ssl.certificate.location": str(certificates.certificate("stranger")),
        "ssl.key.location": str(certificates.key("stranger")),
    }
    login = {"sasl.username": "gateway", "sasl.password": "secret"}
    scram = {"sasl.mechanism": "SCRAM-SHA-512", **login}
    wrong = {**scram, "sasl.password": "wrong"}

    def answer(listener: str, *settings: dict[str, str]) -> str:
        """Tell whether a client gets in, or what it is turned away with."""
        errors: list[str] = []
        options: dict[str, Any] = {"bootstrap.servers": kafka.servers(listener), "security.protocol": listener}
        options |= {"log_level": 0, "error_cb": lambda error: errors.append(error.str())}
        for each in settings:
            options |= each
        admin = AdminClient(options)
        outcome = wait_for(lambda: _lets_in(admin) or errors, 30, f"an answer of {listener}")
        return "let in" if outcome is True else errors[0]

    assert answer("SSL", trust, client) == "let in"
    assert "certificate" in answer("SSL", trust)  # each Java words it its own way
    assert "certificate" in answer("SSL", trust, stranger)
    assert answer("SASL_PLAINTEXT", scram) == "let in"
    assert answer("SASL_PLAINTEXT", {**login, "sasl.mechanism": "PLAIN"}) == "let in"
    assert "Authentication failed" in answer("SASL_PLAINTEXT", wrong)
    assert answer("SASL_SSL", trust, scram) == "let in"
    assert "Authentication failed" in answer("SASL_SSL", trust, wrong)


def _lets_in(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=0.5).brokers)
    except KafkaException:
        admin.poll(0)  # hands over the reason
        return False


def test_registry_refuses_an_incompatible_schema(registry: Registry) -> None:
    one = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
    other = '{"type": "record", "name": "R", "fields": [{"name": "b", "type": "int"}]}'
    subject = f"r-{uuid.uuid4().hex}-value"
    registry.register(subject, one)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        registry.register(subject, other)


def test_servers_die_with_a_killed_test_run() -> None:
    program = (
        "import os, signal\n"
        "from tests.stack.mosquitto import Mosquitto\n"
        "broker = Mosquitto().start()\n"
        "print(broker.pid, broker.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    outcome = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    pid, folder = outcome.stdout.split()
    wait_for(lambda: _is_gone(int(pid)), 60, "mosquitto to be gone")
    shutil.rmtree(folder)


def _is_gone(pid: int) -> bool:
    try:
        # Killed and not yet reaped by init counts as gone.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_free_port_refuses_until_somebody_listens(free_port: FreePort) -> None:
    port = free_port()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=2)
    assert port != free_port()
