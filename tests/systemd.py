"""The package under a real systemd, on Debian 12, 13 and testing: `make test-systemd`.

Named so that pytest takes it only when told: it takes root, and a minute a Debian. systemd-nspawn boots each in
namespaces of its own with nothing but a loopback interface; the unit runs with every option that it has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from release import deb
from release.lock import REPOSITORY
from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack.certificates import Certificates

CACHE = REPOSITORY / ".cache" / "systemd"
SUITES = ("bookworm", "trixie", "forky")
INSIDE = "python3,ca-certificates,libgcc-s1,libstdc++6,tzdata,systemd,systemd-sysv,dbus,mosquitto"
SIGNING = "openssh-client,libnss-systemd"  # what the page of `gateway update` says that it needs
READINGS = 300

SETTINGS = """
contract: asyncapi.yaml
servers:
  factoryBroker: {host: "localhost:1883"}
  meterBroker: {host: "localhost:1883", username: gateway, password_file: mqtt-password}
  kafka: {host: "localhost:9092", registry: {url: "http://localhost:8081"}}
spool: {when: always}
"""
IDENTITY = "contracts@factory.example"
UPDATE = f"""
update:
  url: https://127.0.0.1:8443/bundle.tar.gz
  ca_file: ca.crt
  allowed_signers: allowed_signers
  identity: {IDENTITY}
"""
SERVER = """
import functools, http.server, ssl
server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 8443), functools.partial(http.server.SimpleHTTPRequestHandler, directory="/srv"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/broker.crt", "/srv/broker.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
CREDENTIAL = "[Service]\nLoadCredential=mqtt-password:/etc/gateway/secrets/mqtt-password\n"


class Machine:
    """A Debian that runs, with the package installed and its settings made; Kafka and registry are away.

    Args:
        root: its files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        nspawn = [command("systemd-nspawn", "systemd-container"), "--register=no", "--keep-unit", "--private-network"]
        self._container = subprocess.Popen(
            [*nspawn, "--quiet", "--console=pipe", "--directory", root, "--boot"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"UNIFIED_CGROUP_HIERARCHY": "1"},
        )
        wait_for(lambda: self.tell("systemctl", "is-system-running") in {"running", "degraded"}, 120, "it to boot")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        children = f"/proc/{self._container.pid}/task/{self._container.pid}/children"
        with open(children, encoding="ascii") as file:  # noqa: PTH123 - /proc is read as it is
            first = file.read().split() or ["0"]
        inside = f"/proc/{first[0]}/root"
        enter = ["nsenter", "--target", first[0], "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        return subprocess.run(
            [*enter, f"--root={inside}", f"--wd={inside}", "timeout", "90", *arguments],
            check=check, cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def tell(self, *arguments: str) -> str:
        """Run a command inside and give what it says."""
        return self.run(*arguments, check=False).stdout.strip()

    def shown(self, unit: str, name: str) -> str:
        """Read a property of a unit."""
        return self.tell("systemctl", "show", "--property", name, "--value", unit)

    def samples(self, name: str) -> list[str]:
        """Read the samples of a metric."""
        fetch = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
        page = self.tell("python3", "-c", fetch)
        return [line for line in page.splitlines() if line.startswith(name)]

    def metric(self, name: str) -> float:
        """Sum the samples of a metric."""
        return sum(float(line.rpartition(" ")[2]) for line in self.samples(name))

    def contract(self) -> str:
        """The version of the contract in use."""
        return "".join(self.samples("gateway_contract_info{")).partition('version="')[2].partition('"')[0]

    def power_off(self) -> None:
        """Shut it down in order."""
        self.run("systemctl", "poweroff", check=False)
        try:
            self._container.wait(60)
        except subprocess.TimeoutExpired:
            self._container.kill()
            self._container.wait()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package."""
    return deb.build("amd64", tmp_path_factory.mktemp("dist"), compression="none")


@pytest.fixture(params=SUITES)
def machine(request: pytest.FixtureRequest, package: Path, tmp_path: Path) -> Iterator[Machine]:
    """Boot a Debian of its own, install the package and write its settings."""
    suite = CACHE / str(request.param)
    if not (suite / "usr/bin/ssh-keygen").exists():
        shutil.rmtree(suite, ignore_errors=True)
        suite.parent.mkdir(parents=True, exist_ok=True)
        debian = [command("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase", f"--include={INSIDE},{SIGNING}"]
        # The index of testing expires after a week, and a mirror may be older.
        debian.append('--aptopt=Acquire::Check-Valid-Until "false"')
        subprocess.run([*debian, str(request.param), str(suite)], check=True)
    root = tmp_path / "root"
    subprocess.run(["cp", "--archive", suite, root], check=True)
    shutil.copyfile(package, root / "gateway.deb")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    running = Machine(root)
    try:
        running.run("dpkg", "--install", "/gateway.deb")
        (root / "etc/gateway/gateway.yaml").write_text(SETTINGS)
        (root / "etc/gateway/secrets/mqtt-password").write_text("secret\n")
        (root / "etc/gateway/secrets/mqtt-password").chmod(0o600)
        for unit in ("gateway.service", "gateway@.service", "gateway-update.service"):
            (root / f"etc/systemd/system/{unit}.d").mkdir()
            (root / f"etc/systemd/system/{unit}.d/credential.conf").write_text(CREDENTIAL)
        running.run("systemctl", "daemon-reload")
        running.run("systemctl", "start", "mosquitto")
        yield running
    finally:
        running.power_off()


def test_life_under_systemd(machine: Machine) -> None:
    """Installed stopped; runs hardened; keeps readings over upgrade and kill; stops for good where it must; goes."""
    assert (machine.tell("systemctl", "is-enabled", "gateway"), machine.tell("systemctl", "is-active", "gateway")) == (
        "disabled",
        "inactive",
    )
    machine.run("systemctl", "enable", "--now", "gateway")
    publish = ("simulate", "-c", "/etc/gateway/gateway.yaml", "--rate", "0", "--count", str(READINGS))
    machine.run("env", "CREDENTIALS_DIRECTORY=/etc/gateway/secrets", "gateway", *publish)
    wait_for(lambda: machine.metric("gateway_spooled") == READINGS, 60, "the readings to be on disk")

    before = machine.shown("gateway", "MainPID")
    machine.run("dpkg", "--install", "/gateway.deb")
    assert machine.shown("gateway", "MainPID") not in {before, "0"}
    wait_for(lambda: machine.metric("gateway_spooled") == READINGS, 60, "the readings to be there after the upgrade")

    machine.run("systemctl", "kill", "--signal=KILL", "gateway")
    wait_for(lambda: machine.shown("gateway", "NRestarts") == "1", 60, "systemd to start it anew")
    wait_for(lambda: machine.metric("gateway_spooled") == READINGS, 60, "the readings to be there after the kill")

    settings = machine.root / "etc/gateway/gateway.yaml"
    settings.write_text(SETTINGS + "workers: {count: 2}\n")
    machine.run("systemctl", "restart", "gateway")
    assert machine.shown("gateway", "StatusText").startswith("2 workers are running")
    machine.run("systemctl", "start", "gateway@1", "gateway@2")
    assert [machine.tell("systemctl", "is-active", unit) for unit in ("gateway", "gateway@1", "gateway@2")] == [
        "inactive",
        "active",
        "active",
    ]
    machine.run("systemctl", "stop", "gateway@1", "gateway@2")

    settings.write_text(SETTINGS + "nonsense: 1\n")
    assert machine.run("systemctl", "start", "gateway", check=False).returncode != 0
    assert (machine.shown("gateway", "ActiveState"), machine.shown("gateway", "ExecMainStatus")) == ("failed", "78")

    machine.run("dpkg", "--remove", "gateway")
    assert (machine.root / "var/lib/private/gateway/spool.db").exists()
    machine.run("dpkg", "--purge", "gateway")
    left = [
        name for name in ("etc/gateway", "var/lib/gateway", "var/lib/private/gateway") if (machine.root / name).exists()
    ]
    assert left == []


class Origin:
    """What publishes signed contracts for a machine, and runs on it."""

    def __init__(self, machine: Machine, certificates: Certificates) -> None:
        self._machine = machine
        self._folder = machine.root / "srv"
        for name in ("broker.crt", "broker.key"):
            shutil.copy(certificates.folder / name, self._folder / name)
        etc = machine.root / "etc/gateway"
        shutil.copy(certificates.ca, etc / "ca.crt")
        machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/srv/key")
        key = (self._folder / "key.pub").read_text()
        (etc / "allowed_signers").write_text(f"{IDENTITY} {key}")
        (self._folder / "server.py").write_text(SERVER)
        machine.run("systemd-run", "--unit=origin", "python3", "/srv/server.py")

    def publish(self, version: str, *, is_signed: bool = True) -> None:
        """Let it have the contract of the package under another version."""
        folder = self._folder / version
        shutil.copytree(self._machine.root / "etc/gateway/schemas", folder / "schemas")
        text = (REPOSITORY / "asyncapi.yaml").read_text()
        assert text.count("\n  version: ") == 1
        (folder / "asyncapi.yaml").write_text(text.replace("\n  version: ", f"\n  version: {version}  # was "))
        bundle = self._folder / "bundle.tar.gz"
        with tarfile.open(bundle, "w:gz") as tar:
            tar.add(folder, ".")
        if is_signed:
            bundle.with_name(f"{bundle.name}.sig").unlink(missing_ok=True)
            sign = ("ssh-keygen", "-q", "-Y", "sign", "-n", "gateway-contract", "-f", "/srv/key")
            self._machine.run(*sign, "/srv/bundle.tar.gz")


def test_update_under_systemd(machine: Machine, certificates: Certificates) -> None:
    """The unit brings the first contract and lets the running gateway take the next one; the timer starts it."""
    settings = machine.root / "etc/gateway/gateway.yaml"
    settings.write_text(SETTINGS.replace("asyncapi.yaml", "/var/lib/gateway/contract/asyncapi.yaml") + UPDATE)
    origin = Origin(machine, certificates)
    origin.publish("11.0.0")
    machine.run("systemctl", "start", "gateway-update")
    machine.run("systemctl", "start", "gateway")
    assert machine.contract() == "11.0.0"

    origin.publish("12.0.0")
    machine.run("systemctl", "start", "gateway-update")
    assert machine.contract() == "12.0.0"

    origin.publish("13.0.0", is_signed=False)
    assert machine.run("systemctl", "start", "gateway-update", check=False).returncode != 0
    assert "The signature is not one of contracts@factory.example" in machine.tell("journalctl", "-u", "gateway-update")
    assert machine.contract() == "12.0.0"

    settings.write_text(settings.read_text() + "nonsense: 1\n")
    assert machine.run("systemctl", "reload", "gateway", check=False).returncode != 0
    settings.write_text(settings.read_text().replace("nonsense: 1\n", ""))
    reloaded = machine.run("systemctl", "reload", "gateway", check=False)
    assert reloaded.returncode == 0, machine.tell("journalctl", "--no-pager", "-u", "gateway", "-n", "20")
    assert machine.shown("gateway", "ActiveState") == "active"

    origin.publish("14.0.0")
    soon = machine.root / "etc/systemd/system/gateway-update.timer.d"
    soon.mkdir()
    (soon / "soon.conf").write_text("[Timer]\nOnBootSec=1s\nRandomizedDelaySec=0\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "gateway-update.timer")
    wait_for(lambda: machine.contract() == "14.0.0", 60, "the timer to bring the next one")
    assert machine.shown("gateway", "NRestarts") == "0"
