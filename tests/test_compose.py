"""deploy/compose.yaml is valid, and the programs that read the files that it mounts accept them."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gateway import __version__
from tests.stack.software import fetched
from tests.test_cli import command

if TYPE_CHECKING:
    from tests.conftest import StartMosquitto

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def mounts(service: str) -> dict[str, Path]:
    """List what a service mounts from this repository: the path inside, and the file here."""
    given = (volume.split(":") for volume in SERVICES[service].get("volumes", []) if volume.startswith("."))
    return {inside: (DEPLOY / source).resolve() for source, inside, *_ in given}


def lay_out(service: str, folder: Path) -> Path:
    """Copy what a service mounts as its container would see it."""
    for inside, source in mounts(service).items():
        target = folder / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    return folder


def test_the_file_is_valid_by_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(DEPLOY / "compose.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_port_listens_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_volume_and_every_service_that_is_waited_for_exists() -> None:
    named = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert named == set(COMPOSE["volumes"])
    assert {name for service in SERVICES.values() for name in service.get("depends_on", {})} <= set(SERVICES)


def test_the_cluster_id_is_one_that_kafka_accepts() -> None:
    """Kafka reads it as 16 bytes in base64 for URLs, without padding; see org.apache.kafka.common.Uuid."""
    given = SERVICES["kafka"]["environment"]["CLUSTER_ID"]
    assert len(base64.b64decode(f"{given}==", altchars=b"-_", validate=True)) == 16
    assert not given.startswith("-"), "kafka-storage.sh would take it for an option"


def test_the_gateway_accepts_its_settings(tmp_path: Path) -> None:
    root = lay_out("gateway", tmp_path)
    done = command("check", "-c", str(root / "etc/gateway/gateway.yaml"))
    assert done.returncode == 0, done.stdout
    assert SERVICES["gateway"]["image"] == SERVICES["topics"]["image"] == f"iot-gateway:{__version__}"


def test_the_command_that_creates_the_topics_is_one_of_the_gateway(tmp_path: Path) -> None:
    """It finds no Kafka of that name here, and says so."""
    root = lay_out("topics", tmp_path)
    settings = (root / "etc/gateway/gateway.yaml").read_text().replace("kafka:9093", "127.0.0.1:1")
    (root / "etc/gateway/gateway.yaml").write_text(settings)
    words = [word.replace("/etc/gateway", str(root / "etc/gateway")) for word in SERVICES["topics"]["command"]]
    assert command(*words).returncode == 1


def test_the_servers_of_the_settings_are_services_and_their_ports() -> None:
    settings = yaml.safe_load((DEPLOY / "compose" / "gateway.yaml").read_text())
    servers = settings["servers"]
    assert {servers[name]["host"] for name in ("factoryBroker", "meterBroker")} == {"mosquitto:1883"}
    kafka = SERVICES["kafka"]["environment"]
    assert f"CONTAINERS://{servers['kafka']['host']}," in kafka["KAFKA_ADVERTISED_LISTENERS"]
    assert SERVICES["registry"]["environment"]["APICURIO_KAFKASQL_BOOTSTRAP_SERVERS"] == servers["kafka"]["host"]
    assert servers["kafka"]["registry"]["url"].startswith("http://registry:8080/")


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    root = lay_out("prometheus", tmp_path)
    promtool = [str(fetched("prometheus") / "promtool"), "check", "config", str(root / "etc/prometheus/prometheus.yml")]
    done = subprocess.run(promtool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_mosquitto_accepts_its_configuration(mosquitto: StartMosquitto) -> None:
    """Its port and its folder are the test's."""
    assert mosquitto((DEPLOY / "compose" / "mosquitto.conf").read_text()).is_running
