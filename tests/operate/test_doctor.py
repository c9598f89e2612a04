"""The doctor at real servers: an installation that is well, and each trap seen with its fix."""

from __future__ import annotations

import json
import re
import shutil
import threading
from base64 import urlsafe_b64encode
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from cryptography import x509

from gateway.core.model import Topic
from gateway.errors import Finding
from gateway.installation import open_installation
from gateway.operate.doctor import certificates as dates
from gateway.operate.doctor import clock, machine, peers, storage
from gateway.operate.doctor.examination import FORM, examine
from gateway.operate.report import Report
from gateway.operate.schemas.subject_status import lock, register
from gateway.operate.topics import Cluster, carry_out, plan, wanted
from gateway.service.time_service import Answer
from tests.contract_values import mqtt_server
from tests.operate.test_drift import OneAnswer, sessions
from tests.stack.gateway import ROOT, Gateway
from tests.stack.mosquitto import OPEN_AND_PERSISTENT
from tests.stack.publisher import Publisher
from tests.stack.scripted_http import Scripted
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.errors import Severity
    from tests.conftest import FreePort, StartKafka, StartMosquitto
    from tests.stack.certificates import Certificates
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

FINE, WRONG, UNAVAILABLE = 0, 1, 69
NOBODY_STOPS = threading.Event()


def by_place(findings: Iterable[Finding]) -> dict[tuple[str, str], Finding]:
    return {(one.source, one.path): one for one in findings}


def seen(gateway: Gateway) -> tuple[dict[tuple[str, str], Finding], int]:
    report = examine(gateway.settings_file, {}, NOBODY_STOPS)
    return by_place(report.findings), report.exit_code


@pytest.fixture
def broker(mosquitto: StartMosquitto) -> Mosquitto:
    return mosquitto(f"{OPEN_AND_PERSISTENT}\nsys_interval 1\n")


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    made = Topics(kafka, tmp_path)
    made.contract.write_text(made.contract.read_text().replace("partitions: 6", "partitions: 3"))
    return made


@pytest.fixture
def healthy(kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics) -> Iterator[Gateway]:
    """An installation that is as it should be."""
    with Gateway(servers(broker, kafka, registry), topics.contract, spool={"limit": "1MiB"}) as gateway:
        installation = open_installation(gateway.settings_file, {})
        cluster = Cluster(installation.kafka(producing=False))
        list(carry_out(plan(wanted(installation.contract), cluster).changes, cluster))
        register(installation)
        lock(installation)
        yield gateway


def test_doctor_of_an_installation_that_is_well(healthy: Gateway, broker: Mosquitto) -> None:
    """Exit code 0, a line for each trap; nothing of ours stays at the broker, nothing in the folder."""
    before, files = sessions(broker), set(healthy.folder.iterdir())
    rows, exit_code = seen(healthy)
    assert exit_code == FINE, [str(one) for one in rows.values() if one.severity == "error"]
    for place in [
        ("factoryBroker", "session"), ("meterBroker", "session"), ("factoryBroker", "subscription doors/+"),
        ("factoryBroker", "version"), ("factoryBroker", "dropped messages"), ("registry", "pinned ids"),
        ("clock", clock.WHAT), ("disk", "room"), ("disk", "rights"), ("machine", "system"),
    ]:  # fmt: skip
        assert rows[place].severity == "ok", str(rows[place])
    assert rows["gateway", "client ids"].severity == "unknown"
    wait_for(lambda: sessions(broker) == before, 30, "the broker to know no more clients than before")
    assert {path.name for path in healthy.folder.iterdir()} == {path.name for path in files}


def test_doctor_as_a_command_writes_lines_or_json(healthy: Gateway) -> None:
    """The same for people and for machines, beside a running gateway, which is not cut off."""
    healthy.start()
    healthy.wait_subscribed()
    asked = ("doctor", "-c", str(healthy.settings_file))
    text, machines = healthy.command(*asked), healthy.command(*asked, "--format", "json")
    assert (text.returncode, machines.returncode) == (FINE, FINE), text.stdout + text.stderr
    assert re.search(r"^ok +gateway +client ids +no other client seems to use them$", text.stdout, re.MULTILINE)
    answer = json.loads(machines.stdout)
    assert answer["exit_code"] == FINE
    head, *rows, _, outcome = text.stdout.splitlines()
    assert head.split() == ["state", "place", "what", "seen", "fix"]
    assert outcome.startswith("ok: ")
    assert "wrong" not in outcome
    assert len(answer["diagnoses"]) == len(rows)
    assert {row["state"] for row in answer["diagnoses"]} <= {"ok", "warning", "not seen"}
    assert healthy.metric("gateway_mqtt_connects_total") == 2


def test_doctor_sees_a_session_that_is_not_kept_and_filters_that_are_denied(
    kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics
) -> None:
    with closing(OneAnswer(b"\x87")) as forgetful:
        peers = servers(broker, kafka, registry) | {"factoryBroker": {"host": f"127.0.0.1:{forgetful.port}"}}
        with Gateway(peers, topics.contract) as gateway:
            rows, exit_code = seen(gateway)
    assert exit_code == WRONG
    assert rows["factoryBroker", "session"].severity == "error"
    assert "persistence true" in rows["factoryBroker", "session"].fix
    assert rows["factoryBroker", "subscription doors/+"].message.startswith("denied: Not authorized")
    assert rows["meterBroker", "session"].severity == "ok"


def test_doctor_sees_a_broker_that_grants_less_than_is_asked(
    mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, topics: Topics
) -> None:
    weak = mosquitto(f"{OPEN_AND_PERSISTENT}\nmax_qos 0\n")
    with Gateway(servers(weak, kafka, registry), topics.contract) as gateway:
        rows, exit_code = seen(gateway)
    assert exit_code == WRONG
    row = rows["factoryBroker", "subscription doors/+"]
    assert (row.severity, row.message) == ("error", "QoS 0 only (contract: QoS 1)")


def test_doctor_sees_a_missing_topic_and_another_partitioner(
    kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "consistent_random"})
    name = topics("machine-sensors")
    for number in range(100):
        producer.produce(name, b"x", f"machine-{number}")
    assert producer.flush(30) == 0
    topics.contract.write_text(topics.contract.read_text().replace(topics("door-sensors"), "no-such-topic"))
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        rows, exit_code = seen(gateway)
    assert exit_code == WRONG
    assert rows["kafka", "topic no-such-topic"].severity == "error"
    assert "topics apply" in rows["kafka", "topic no-such-topic"].fix
    assert rows["kafka", f"topic {name} partitioner"].severity == "warning"
    assert "murmur2_random" in rows["kafka", f"topic {name} partitioner"].fix
    assert rows["registry", "pinned ids"].severity == "warning"


def test_doctor_sees_in_sync_replicas_that_block_all_writing(
    kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics
) -> None:
    name = kafka.create_topic(topics("strict"), 1, settings={"min.insync.replicas": "2"})
    topics.contract.write_text(topics.contract.read_text().replace(topics("door-sensors"), name))
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        rows, exit_code = seen(gateway)
    assert exit_code == WRONG
    row = rows["kafka", f"topic {name} in-sync replicas"]
    assert (row.severity, row.message) == ("error", "min.insync.replicas 2 of 1")


def test_doctor_sees_messages_that_the_broker_dropped(
    mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, topics: Topics
) -> None:
    """Two may wait for a gateway that is away; the others are gone, and the broker counts them."""
    narrow = OPEN_AND_PERSISTENT.replace("max_queued_messages 0", "max_queued_messages 2")
    broker = mosquitto(f"{narrow}\nsys_interval 1\n")
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start(ready=False)
        gateway.wait_subscribed()
        gateway.stop_and_read_ledger()
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/dock-2", b'{"state": "open"}')] * 50)
        row = wait_for(lambda: _warned(gateway), 60, "the broker to count what it dropped")
    assert row
    assert "max_queued_messages 0" in row.fix


def _warned(gateway: Gateway) -> Finding | None:
    row = seen(gateway)[0]["factoryBroker", "dropped messages"]
    return row if row.severity == "warning" else None


def test_doctor_learns_of_a_shared_client_id_from_the_running_gateway(healthy: Gateway) -> None:
    """Two gateways with one id throw each other out; the doctor joins neither."""
    text: dict[str, Any] = json.loads(healthy.settings_file.read_text())
    healthy.start()
    healthy.wait_subscribed()
    with Gateway(text["servers"], Path(text["contract"])) as twin:
        twin.start(ready=False)

        def shared() -> Finding | None:
            rows = [row for row in seen(healthy)[0].values() if row.path == "client ids"]
            return next((row for row in rows if row.severity == "error"), None)

        row = wait_for(shared, 60, "one of them to notice")
    assert row
    assert "'iot-gateway" in row.message
    assert "clientId" in row.fix


def test_doctor_names_the_peer_that_does_not_answer_and_checks_the_others(
    kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics, free_port: FreePort
) -> None:
    peers = servers(broker, kafka, registry) | {"factoryBroker": {"host": f"127.0.0.1:{free_port()}"}}
    with Gateway(peers, topics.contract) as gateway:
        rows, exit_code = seen(gateway)
    assert exit_code == UNAVAILABLE
    assert rows["factoryBroker", "answer"].severity == "unreachable"
    assert rows["meterBroker", "session"].severity == "ok"


def test_doctor_reports_a_secret_that_all_users_can_read(
    kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret")
    secret.chmod(0o644)
    peers = servers(broker, kafka, registry)
    peers["factoryBroker"] = peers["factoryBroker"] | {"username": "gateway", "password_file": str(secret)}
    with Gateway(peers, topics.contract) as gateway:
        done = gateway.command("doctor", "-c", str(gateway.settings_file))
    assert done.returncode == WRONG
    assert f"Run: chmod 600 {secret}" in done.stdout
    assert re.search(r"^ok +machine +system ", done.stdout, re.MULTILINE)


def test_doctor_reads_the_dates_of_files_and_servers(
    mosquitto: StartMosquitto, certificates: Certificates, kafka: Kafka, registry: Registry, topics: Topics
) -> None:
    """The broker's own certificate is fetched; ours has ended."""
    files = {"broker.crt": certificates.certificate("broker"), "broker.key": certificates.key("broker")}
    broker = mosquitto("listener 8883\nallow_anonymous true\ncertfile broker.crt\nkeyfile broker.key", files)
    peers = servers(broker, kafka, registry)
    ca, ended, key = certificates.ca, certificates.certificate("expired"), certificates.key("expired")
    peers["factoryBroker"] = peers["factoryBroker"] | {"tls": {"ca_file": str(ca)}}
    peers["meterBroker"] = peers["meterBroker"] | {
        "tls": {"ca_file": str(ca), "cert_file": str(ended), "key_file": str(key)}
    }
    with Gateway(peers, topics.contract) as gateway:
        rows, exit_code = seen(gateway)
    assert exit_code == WRONG
    assert rows["certificates", str(ca)].severity == "ok"
    assert rows["certificates", str(ended)].message == "expired on 2020-01-31"
    server = rows["certificates", f"factoryBroker at 127.0.0.1:{broker.port}"]
    assert (server.severity, server.message) == ("ok", "valid until 2049-12-31")


def test_doctor_reads_the_date_of_kafkas_certificate_over_mutual_tls(
    kafka_cluster: StartKafka, certificates: Certificates, registry: Registry, broker: Mosquitto, tmp_path: Path
) -> None:
    cluster = kafka_cluster(certificates=certificates)
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    contract = Path(shutil.copy(ROOT / "asyncapi.yaml", tmp_path))
    files = {"ca_file": certificates.ca, "cert_file": certificates.certificate("client")}
    tls = {name: str(path) for name, path in (files | {"key_file": certificates.key("client")}).items()}
    peers = servers(broker, cluster, registry)
    peers["kafka"] |= {"host": cluster.servers("SSL"), "tls": tls}
    with Gateway(peers, contract) as gateway:
        rows, exit_code = seen(gateway)
    assert exit_code == WRONG
    (server,) = [row for (place, what), row in rows.items() if place == "certificates" and what.startswith("kafka at ")]
    assert (server.severity, server.message) == ("ok", "valid until 2049-12-31")
    assert rows["kafka", "topic smart-meter"].severity == "error"


def test_doctor_takes_kafkas_records_for_a_clock_where_there_is_no_registry(
    kafka: Kafka, registry: Registry, broker: Mosquitto, topics: Topics, free_port: FreePort
) -> None:
    """A record of the future: this clock is behind, or its producer's ahead."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    ahead = int((datetime.now(UTC) + timedelta(minutes=10)).timestamp() * 1_000)
    producer.produce(topics("smart-meter"), b"x", timestamp=ahead)
    assert producer.flush(30) == 0
    peers = servers(broker, kafka, registry)
    peers["kafka"] |= {"registry": {"url": f"http://127.0.0.1:{free_port()}"}}
    with Gateway(peers, topics.contract) as gateway:
        rows, _ = seen(gateway)
    assert rows["clock", clock.WHAT].severity == "warning"
    assert rows["clock", clock.WHAT].message.startswith("Kafka's newest record is ")
    assert rows["registry", "answer"].severity == "unreachable"


def test_clock_is_compared_with_the_token_endpoints(tmp_path: Path) -> None:
    """Kafka rejects a token that seems to be of another time."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("secret")
    with Scripted(405, "") as server:
        oauth = {"token_url": f"{server.url}/token", "client_id": "gateway", "client_secret_file": "secret"}
        kafka = {"sasl": {"mechanism": "OAUTHBEARER", "oauth": oauth}, "registry": {"url": server.url, "oauth": oauth}}
        settings = {"contract": str(ROOT / "asyncapi.yaml"), "servers": {"kafka": kafka}}
        (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
        rows = [
            row for row in clock.examine(open_installation(tmp_path / "gateway.yaml", {})) if row.path == clock.WHAT
        ]
    whose = ["the registry's", *2 * ["the token endpoint 127.0.0.1"]]
    assert [row.message.partition(" is ")[0] for row in rows] == whose
    assert {row.severity for row in rows} == {"ok"}


# --- the checks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days_before_end", "severity"), [(365, "ok"), (29, "warning"), (-1, "error"), (20_000, "error")]
)
def test_certificate_is_checked_by_its_dates(
    certificates: Certificates, days_before_end: int, severity: Severity
) -> None:
    """Long before its end it is not valid yet."""
    certificate = x509.load_pem_x509_certificate(certificates.certificate("broker").read_bytes())
    now = certificate.not_valid_after_utc - timedelta(days=days_before_end)
    assert dates.check_dates("broker", certificate, now).severity == severity


def test_certificate_authorities_need_one_that_is_good(tmp_path: Path, certificates: Certificates) -> None:
    """An old one beside it is no fault; in our own chain it would be."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(certificates.certificate("expired").read_bytes() + certificates.ca.read_bytes())
    now = datetime.now(UTC)
    assert dates.check_file(bundle, now, is_chain=False).severity == "ok"
    assert dates.check_file(bundle, now, is_chain=True).severity == "error"
    bundle.write_text("no certificate")
    assert dates.check_file(bundle, now, is_chain=False).severity == "error"


@pytest.mark.parametrize(("seconds", "severity"), [(0.4, "ok"), (-4, "ok"), (6, "warning"), (-6, "warning")])
def test_clock_is_compared_by_the_distance(seconds: float, severity: Severity) -> None:
    assert clock.compare("the registry's", seconds).severity == severity


NO_RTC, MARKED = "without a real-time clock", "then are sent with the header gateway.clock"


@pytest.mark.parametrize(
    ("answer", "wait", "severity", "text"),
    [
        (Answer("chrony", is_synchronised=True), None, "ok", "chrony says that it is synchronised; {}"),
        (Answer("chrony", is_synchronised=False), None, "warning",
         f"chrony says that it is not synchronised; {{}}; readings wait 120 s for it after the start, {MARKED}"),
        (Answer("the kernel", is_synchronised=False, is_service=False), None, "unknown",
         "the kernel says that it is not synchronised; {}; readings do not wait and are not marked"),
        (Answer("", is_synchronised=False, is_service=False), 0.0, "warning",
         "no time service answers; {}; readings wait 0 s for it after the start, " + MARKED),
    ],
)  # fmt: skip
def test_clock_says_who_synchronises_it(answer: Answer, wait: float | None, severity: Severity, text: str) -> None:
    found = clock.synchronisation(answer, wait, has_rtc=False)
    assert (found.severity, found.message) == (severity, text.format(NO_RTC))


@pytest.mark.parametrize(("minimum", "severity"), [(1, "ok"), (2, "ok"), (3, "warning"), (4, "error")])
def test_in_sync_replicas_are_compared_against_three_replicas(minimum: int, severity: Severity) -> None:
    assert peers.check_replicas("kafka", Topic("t", 1, 3, {"min.insync.replicas": str(minimum)})).severity == severity


WEEK, HOUR = {"retention.ms": "604800000"}, {"retention.ms": "3600000"}
ARRIVED = {"message.timestamp.type": "LogAppendTime"}


@pytest.mark.parametrize(
    ("actual", "stated", "is_dated", "severity", "text"),
    [
        (WEEK, {}, False, "ok", "168 h"),
        (WEEK, WEEK, True, "ok", "168 h"),
        (HOUR, WEEK, True, "ok", "1 h"),  # a difference, which has a row of its own
        (WEEK, {}, True, "warning", "168 h, which the contract does not state"),
        ({"retention.ms": "-1"}, {}, True, "ok", "without limit"),
        (WEEK | {"retention.bytes": "1000"}, {}, False, "ok", "168 h, at most 1000 bytes a partition"),
        (WEEK | {"cleanup.policy": "compact"}, {}, False, "warning", "only the newest record of each key"),
        (WEEK | {"cleanup.policy": "compact"}, {"cleanup.policy": "compact"}, True, "ok", "newest record of each key"),
        (WEEK | {"cleanup.policy": "compact,delete"}, {"cleanup.policy": "compact,delete"}, True, "ok", "168 h"),
        (WEEK | ARRIVED, WEEK, True, "warning", "x-timestamp has no effect"),
        (WEEK | ARRIVED, WEEK | ARRIVED, True, "ok", "168 h"),
        (WEEK | ARRIVED, WEEK, False, "ok", "168 h"),
    ],
)
def test_retention_is_checked_where_the_contract_does_not_state_it(
    actual: dict[str, str],
    stated: dict[str, str],
    is_dated: bool,  # noqa: FBT001 - a column
    severity: Severity,
    text: str,
) -> None:
    topic = Topic("t", 1, 1, actual)
    row = peers.check_kept("kafka", topic, stated, is_dated=is_dated, holds_dead_letters=False)
    assert row.severity == severity
    assert text in row.message


def test_compacted_topic_of_dead_letters_is_wrong() -> None:
    topic = Topic("dead", 1, 1, {"cleanup.policy": "compact"})
    assert peers.check_kept("kafka", topic, {}, is_dated=False, holds_dead_letters=True).severity == "error"


@pytest.mark.parametrize(("most", "severity"), [("1000000", "ok"), ("999999", "warning")])
def test_largest_record_of_a_topic_is_compared_with_the_producers(most: str, severity: Severity) -> None:
    row = peers.check_size("kafka", Topic("t", 1, 1, {"max.message.bytes": most}), 1_000_000)
    assert row.severity == severity


@pytest.mark.parametrize(
    ("granted", "severity", "message"),
    [
        (None, "ok", "kept over a disconnect"),
        (3_600, "ok", "kept over a disconnect"),
        (3_599, "warning", "kept for 3599 s, not for the 3600 s of the contract"),
    ],
)
def test_session_is_compared_with_what_the_broker_grants(granted: int | None, severity: Severity, message: str) -> None:
    row = peers.check_expiry(mqtt_server("broker"), granted)
    assert (row.severity, row.message) == (severity, message)


def jwt(claims: object) -> str:
    part = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("token", "severity", "message"),
    [
        (jwt({"exp": 1_000_000 + 90_000}), "ok", "expires in 90,000 s"),
        (jwt({"exp": 1_000_000 + 60}), "warning", "expires in 60 s"),
        (jwt({"exp": 1_000_000 - 60}), "error", "expired 60 s ago"),
        *[
            (each, "unknown", "it does not say when it expires")
            for each in ("opaque", "a.b.c", "a.!.c", jwt({}), jwt([]))
        ],
        (jwt({"exp": "soon"}), "unknown", "it does not say when it expires"),
    ],
)
def test_token_of_the_registry_is_checked_by_its_expiry(token: str, severity: Severity, message: str) -> None:
    row = peers.check_token(token, 1_000_000)
    assert (row.severity, row.message) == (severity, message)


def test_machine_of_32_bits_is_wrong_and_old_libraries_are_warned_of() -> None:
    rows = by_place(machine.examine(2**31 - 1, (3, 10, 1), "2.3.0"))
    assert [row.severity for row in rows.values()] == ["error", "warning", "warning"]


def test_storage_tells_rights_room_and_kind_of_the_folder(tmp_path: Path) -> None:
    """A folder that everybody may write to, a spool that everybody may read, too little room, memory for a disk."""
    tmp_path.chmod(0o777)
    spool = tmp_path / "spool.db"
    spool.write_bytes(b"x")
    spool.chmod(0o644)
    mounts = f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path} rw shared:1 - tmpfs tmpfs rw\n"
    rows = list(storage.examine(spool, 2**60, mounts))
    assert [row.message for row in rows if row.severity == "error"] == [
        f"all users may write to {tmp_path}",
        f"all users may read or write {spool}, which holds readings",
    ]
    warned = [row.path for row in rows if row.severity == "warning" and row.path != "fsync"]
    assert warned == ["room", "file system"]
    assert not [path for path in tmp_path.iterdir() if path != spool]


@pytest.mark.parametrize(
    ("folder", "kind"), [("/srv/data/gateway", "nfs4"), ("/srv/database", "ext4"), ("/with blank/a", "tmpfs")]
)
def test_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    mounts = (
        "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /srv/data rw master:2 - nfs4 host:/x rw\n"
        "3 1 0:3 / /with\\040blank rw - tmpfs t rw\nnonsense\n"
    )
    assert storage.file_system(Path(folder), mounts) == kind


def test_text_from_outside_is_one_line_and_safe() -> None:
    hostile = Finding.at("broker", "version", "ok", "mosquitto\n\x1b[31m[bold]" + "x" * 10_000)
    _, line, _, outcome = Report((hostile,), FORM).as_text().split("\n")
    assert outcome == "ok: 1"
    assert line.isprintable()
    assert "mosquitto\\n\\u001b[31m[bold]x" in line
    assert len(line) < 1_000
