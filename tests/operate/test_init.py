"""`gateway init` at a real broker: what it receives, asks and writes, and when it refuses."""

from __future__ import annotations

import os
import pty
import shutil
from typing import TYPE_CHECKING

import pytest

from gateway import contract as contracts
from gateway.core.undescribed import MAXIMUM_GROUPS
from gateway.installation import open_installation
from gateway.operate.init.traffic_sample import SHOWN_GROUPS, TrafficSample
from tests.operate.test_drift import Device
from tests.stack.gateway import ROOT
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, hashed_passwords
from tests.stack.preloaded import run
from tests.stack.publisher import Publisher
from tests.test_cli import command

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import FreePort, StartMosquitto

TELEGRAM = b'{"api_version": "v1", "name": "", "sma_time": 2.5, "1-0:1.8.0": {"value": 1}}'
ELSEWHERE = ("--kafka", "kafka.example:9093", "--registry", "http://localhost:8081")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the contract and nothing else."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copy(ROOT / "asyncapi.yaml", tmp_path)
    return tmp_path


def init(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command("init", *arguments, folder=folder)


def test_init_reports_the_traffic_and_writes_a_file_that_passes_the_check(
    mosquitto: StartMosquitto, folder: Path
) -> None:
    """What publishes is named, what no stream describes is named and safe to print, and the file passes the check."""
    broker = mosquitto()
    with Device(broker, "doors/dock-2", "sma", "lab/\u202e/x"):
        done = init(folder, "--yes", "--broker", broker.address, "--seconds", "2", *ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert "receiveDoors: " in done.stdout
    assert "receiveSmartMeter: " in done.stdout
    assert "no stream describes lab/\\u202e/...: " in done.stdout
    assert "no message yet for: receiveFactorySensors" in done.stdout
    assert "fit to run" in done.stdout
    assert "gateway topics apply -c gateway.yaml" in done.stdout
    installation = open_installation(folder / "gateway.yaml", {})
    assert installation.settings.server("meterBroker").host == broker.address
    assert installation.settings.server("kafka").host == "kafka.example:9093"
    assert command("check", "-c", folder / "gateway.yaml").returncode == 0


def test_init_does_not_replace_a_file_without_force(mosquitto: StartMosquitto, folder: Path) -> None:
    (folder / "gateway.yaml").write_text("mine")
    broker = mosquitto()
    asked = ("--yes", "--broker", broker.address, "--seconds", "0")
    done = init(folder, *asked)
    assert done.returncode == 1
    assert done.stderr == "gateway.yaml exists already. Name another file with -o, or replace it with --force.\n"
    assert (folder / "gateway.yaml").read_text() == "mine"
    replaced = init(folder, *asked, "--force")
    assert (replaced.returncode, replaced.stderr) == (0, "")
    assert "  gateway run -c gateway.yaml " in replaced.stdout, "the next steps are named"
    (folder / "other").mkdir()
    elsewhere = init(folder, *asked, "-o", "other/gateway.yaml", "--contract", "asyncapi.yaml")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert 'contract: "../asyncapi.yaml"' in (folder / "other" / "gateway.yaml").read_text()


def test_init_without_a_terminal_says_how_to_answer(folder: Path) -> None:
    done = init(folder)
    assert (done.returncode, done.stderr) == (
        1,
        "There is no terminal to ask questions at. Answer with options, and add --yes.\n",
    )


@pytest.mark.parametrize("flags", [("--broker", "mqtt://here:1883"), ("--broker", "x", "--registry", "here:8081")])
def test_init_refuses_an_answer_that_cannot_be(folder: Path, flags: tuple[str, ...]) -> None:
    """The flag is named, with what to write; nothing is written."""
    done = init(folder, "--yes", *flags)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{flags[-2]}: Expected a")
    assert not (folder / "gateway.yaml").exists()


def test_init_of_a_broker_that_is_not_there(folder: Path, free_port: FreePort) -> None:
    """A sentence, and the way to go on without it."""
    port = free_port()
    asked = ("--yes", "--broker", f"127.0.0.1:{port}")
    done = init(folder, *asked)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "--seconds 0" in done.stderr
    assert init(folder, *asked, "--seconds", "0").returncode == 0


def test_init_of_a_broker_that_wants_a_password(mosquitto: StartMosquitto, folder: Path) -> None:
    """Refused with the flags to use; with them the file names user and password file, never the password."""
    configuration = OPEN_AND_PERSISTENT.replace("allow_anonymous true", "allow_anonymous false")
    users = hashed_passwords({"gateway": "s3cret"})
    broker = mosquitto(f"{configuration}\npassword_file passwords\n", {"passwords": users})
    asked = ("--yes", "--broker", broker.address, "--seconds", "0.2", *ELSEWHERE)
    refused = init(folder, *asked)
    assert refused.returncode == 1
    assert "Name a user of the broker: --username NAME --password-file FILE." in refused.stderr
    (folder / "password").write_text("s3cret\n")
    (folder / "password").chmod(0o600)
    done = init(folder, *asked, "--username", "gateway", "--password-file", "password")
    assert done.returncode == 0, done.stderr
    written = (folder / "gateway.yaml").read_text()
    assert str(folder / "password") in written
    assert "s3cret" not in written + done.stdout


def typed(folder: Path, answers: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it at a terminal where somebody has typed these lines."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answers.encode())
        return run("init", *arguments, folder=folder, typed=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_init_at_a_terminal_asks_for_the_login_that_the_broker_wants(mosquitto: StartMosquitto, folder: Path) -> None:
    configuration = OPEN_AND_PERSISTENT.replace("allow_anonymous true", "allow_anonymous false")
    users = hashed_passwords({"gateway": "s3cret"})
    broker = mosquitto(f"{configuration}\npassword_file passwords\n", {"passwords": users})
    (folder / "mqtt-password").write_text("s3cret\n")
    (folder / "mqtt-password").chmod(0o600)
    done = typed(folder, "\n\n\n\n", "--broker", broker.address, "--seconds", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    settings = open_installation(folder / "gateway.yaml", {}).settings
    assert settings.server("meterBroker").username == "gateway"
    assert settings.server("meterBroker").password_file == str(folder / "mqtt-password")


def test_init_asks_at_a_terminal_until_the_answer_can_be(mosquitto: StartMosquitto, folder: Path) -> None:
    """Return takes what is offered; what cannot be is asked for again."""
    contract = folder / "asyncapi.yaml"
    broker = mosquitto()
    contract.write_text(contract.read_text().replace("localhost:1883", broker.address))
    done = typed(folder, "\nno kafka!\nkafka.example:9092\n\n", "--seconds", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"MQTT broker [{broker.address}]" in done.stdout
    assert "Expected a host" in done.stdout
    settings = open_installation(folder / "gateway.yaml", {}).settings
    assert settings.server("factoryBroker").host == broker.address
    assert settings.server("kafka").host == "kafka.example:9092"
    assert settings.server("kafka").registry.url == "http://localhost:8081"


def test_init_offers_to_learn_where_there_is_no_contract(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    broker = mosquitto()
    with Publisher(broker.port) as publisher:
        publisher.publish([("rooms/a", b'{"t": 21.5}')], 1, retain=True)
    silent = init(tmp_path, "--yes", "--broker", broker.address)
    assert silent.returncode == 78
    assert "The file does not exist. Check the path, or let `gateway learn --broker HOST:PORT --into " in silent.stderr
    done = typed(tmp_path, f"{broker.address}\n1s\nlearned\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gateway.yaml: fit to run" in done.stdout
    assert command("check", "-c", "learned/gateway.yaml", folder=tmp_path).returncode == 0


# --- the traffic sample ----------------------------------------------------------------------------------------------


def test_traffic_sample_knows_the_adapter_under_another_topic() -> None:
    sample = TrafficSample(contracts.load(ROOT / "asyncapi.yaml"))
    sample.take(b"home/meter\n", TELEGRAM)
    sample.take(b"home/lamp", b'{"state": "on"}')
    sample.take(b"home/noise", b"\xff" * 100)
    sample.take(b"home/deep", b"[" * 60_000)
    assert sample.similar == {"receiveSmartMeter": "home/meter\\n"}


def test_traffic_sample_is_bounded() -> None:
    sample = TrafficSample(contracts.load(ROOT / "asyncapi.yaml"))
    for number in range(2 * MAXIMUM_GROUPS):
        sample.take(b"%d/\x1b" % number, b"")
    lines = list(sample.lines())
    assert 0 < len(lines) <= SHOWN_GROUPS + 2
    assert all(line.isprintable() for line in lines)
