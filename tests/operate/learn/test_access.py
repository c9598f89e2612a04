"""`gateway learn` at brokers that deny topics, speak MQTT 3.1.1 only, or want TLS and a login."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.stack.gateway import ROOT
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, hashed_passwords
from tests.stack.publisher import Publisher
from tests.stack.scripted_broker import ScriptedBroker
from tests.test_cli import command

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.certificates import Certificates

STEP_12 = ROOT / "docs" / "steps" / "12"
NAME_TOPICS = "Name topics that this user may read: --topics 'site/#'."


def learn(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return command("learn", "--into", "proposal", "--for", "0.5s", *map(str, arguments), folder=folder)


@pytest.mark.parametrize(("level", "code", "reason"), [(5, 0x87, "Not authorized"), (4, 0x80, "Unspecified error")])
def test_a_denied_subscription_says_what_was_denied(tmp_path: Path, level: int, code: int, reason: str) -> None:
    with ScriptedBroker(level, code) as broker:
        done = learn(tmp_path, "--broker", broker.address)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The broker denies the subscription to # ({reason}). {NAME_TOPICS}")
    assert not list(tmp_path.iterdir())


def test_a_broker_that_sends_nothing_may_deny_it_silently(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """Mosquitto grants `#` and keeps back what the ACL denies; the rest arrives with and without `--topics`."""
    acl = "topic readwrite site/#\ntopic write other/#\n"
    broker = mosquitto(f"{OPEN_AND_PERSISTENT}acl_file acl\n", {"acl": acl})
    with Publisher(broker.port) as publisher:
        publisher.publish([("other/a", b'{"t": 21.5}')], 1, retain=True)
        done = learn(tmp_path, "--broker", broker.address)
        assert done.returncode == 1
        assert "No message was received, so nothing was written." in done.stderr
        assert (
            "name topics that it may read, as in --topics 'site/#', or let the broker's ACL grant more" in done.stderr
        )
        publisher.publish([("site/a", b'{"t": 21.5}')], 1, retain=True)
    assert learn(tmp_path, "--broker", broker.address, "--topics", "site/#").returncode == 0


@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "closes"])
def test_a_broker_that_refuses_mqtt_5_is_asked_at_3(tmp_path: Path, *, is_silent: bool) -> None:
    with ScriptedBroker(4, is_silent=is_silent) as broker:
        done = learn(tmp_path, "--broker", broker.address)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "proposal" / "asyncapi.yaml").read_text())
    assert written["servers"]["broker"]["protocolVersion"] == "3.1.1"


def test_a_broker_with_a_ca_of_its_own_needs_no_settings(
    mosquitto: StartMosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    """Without its CA, or the login, the fix names the options."""
    tls = "listener 8883\ncafile ca.crt\ncertfile broker.crt\nkeyfile broker.key\nlistener 1883\n"
    files: dict[str, bytes] = {
        name: (certificates.folder / name).read_bytes() for name in ("ca.crt", "broker.crt", "broker.key")
    }
    broker = mosquitto(f"per_listener_settings false\n{tls}allow_anonymous false\npassword_file passwd\n",
                       files | {"passwd": hashed_passwords({"me": "secret"})})  # fmt: skip
    url, secret = f"mqtts://127.0.0.1:{broker.port_of(8883)}", tmp_path / "secret"
    assert "Name its CA: --ca-file FILE." in learn(tmp_path, "--broker", url).stderr
    login = ("--ca-file", certificates.ca, "--username", "me")
    assert "Check --username and --password-file." in learn(tmp_path, "--broker", url, *login).stderr
    secret.write_text("secret")
    secret.chmod(0o600)
    with Publisher(broker.port_of(1883), credentials=("me", "secret")) as publisher:
        publisher.publish([("site/a", b'{"t": 21.5}')], 1, retain=True)
        assert learn(tmp_path, "--broker", url, *login, "--password-file", secret).returncode == 0
    written = yaml.safe_load((tmp_path / "proposal" / "gateway.yaml").read_text())["servers"]["broker"]
    assert written["tls"] == {"ca_file": str(certificates.ca)}


def test_the_settings_of_the_servers_are_carried_over(
    mosquitto: StartMosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    """The new gateway.yaml is in another folder, and its broker, Kafka and registry are the same."""
    names = ("ca.crt", "broker.crt", "broker.key")
    listeners = "listener 1883\nlistener 8883\ncafile ca.crt\ncertfile broker.crt\nkeyfile broker.key\n"
    files: dict[str, bytes] = {name: (certificates.folder / name).read_bytes() for name in names}
    broker = mosquitto(f"per_listener_settings false\n{listeners}allow_anonymous false\npassword_file passwd\n",
                       files | {"passwd": hashed_passwords({"me": "secret"})})  # fmt: skip
    mine = shutil.copytree(STEP_12, tmp_path / "mine")
    shutil.copy(certificates.ca, mine / "ca.crt")
    (mine / "secret").write_text("secret")
    (mine / "secret").chmod(0o600)
    login = {"host": f"127.0.0.1:{broker.port_of(8883)}", "username": "me", "password_file": "secret"}
    sasl = {"mechanism": "PLAIN", "username": "k", "password_file": "secret"}
    registry = {"url": "https://registry.example", "ca_file": "ca.crt"}
    kafka = {"host": "k.example:9093", "tls": {}, "sasl": sasl, "registry": registry, "producer": {"linger.ms": 5}}
    servers = {"broker": {**login, "tls": {"ca_file": "ca.crt"}}, "kafka": kafka}
    (mine / "gateway.yaml").write_text(json.dumps({"contract": "asyncapi.yaml", "servers": servers}))
    with Publisher(broker.port, credentials=("me", "secret")) as publisher:
        publisher.publish([("site/a", b'{"t": 21.5}')], 1, retain=True)
    done = learn(tmp_path, "-c", mine / "gateway.yaml")
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "proposal" / "gateway.yaml").read_text())["servers"]
    secret, ca = str(mine / "secret"), str(mine / "ca.crt")
    assert written == {
        "broker": {**login, "password_file": secret, "tls": {"ca_file": ca}},
        "kafka": {**kafka, "sasl": {**sasl, "password_file": secret}, "registry": {**registry, "ca_file": ca}},
    }
