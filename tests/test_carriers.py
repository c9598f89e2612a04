"""What carries MQTT, from contract and gateway.yaml to real brokers: the gateway, and each command that asks a broker.

There is no Kafka here: only the brokers' side is looked at.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS
from gateway.contract import examine
from gateway.errors import ConfigurationError, Finding
from gateway.installation import broker_of, open_installation
from gateway.mqtt.websocket import Upgrade
from gateway.operate.doctor import certificates as dates
from gateway.operate.doctor.peers import examine_broker
from gateway.operate.report import collect_all, silent
from gateway.signals import StopFlag
from tests.stack.gateway import ROOT
from tests.stack.tls_front import TlsFront
from tests.stack.websocket_server import WebSocketServer
from tests.test_cli import command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.mqtt.broker import Broker
    from tests.conftest import StartMosquitto
    from tests.stack.certificates import Certificates

STREAMS = ROOT / "docs" / "steps" / "4"
WEB = """\
listener 1883
allow_anonymous true
listener 8080
protocol websockets
listener 0 mqtt.sock
listener 8443
protocol websockets
cafile ca.crt
certfile broker.crt
keyfile broker.key
"""
BINDING = {"mqtt": {"clientId": "ovens-gateway"}}
KAFKA = {"registry": {"url": "http://localhost:8081"}}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A contract and a gateway.yaml."""
    return Site(tmp_path)


class Site:
    """A contract with one broker, and its gateway.yaml.

    Args:
        folder: for both.
    """

    def __init__(self, folder: Path) -> None:
        shutil.copytree(STREAMS, folder, dirs_exist_ok=True)
        self.folder = folder

    def write(self, server: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Write the broker's part of both files."""
        path = self.folder / "asyncapi.yaml"
        contract = yaml.safe_load(path.read_text())
        contract["servers"]["broker"] = {"host": "localhost", "protocol": "mqtt", "bindings": BINDING} | dict(server)
        path.write_text(yaml.safe_dump(contract))
        given = {"contract": "asyncapi.yaml", "servers": {"broker": dict(settings), "kafka": KAFKA}}
        (self.folder / "gateway.yaml").write_text(yaml.safe_dump(given))

    def broker(self, server: Mapping[str, Any], settings: Mapping[str, Any]) -> Broker:
        """Tell how the broker is reached."""
        self.write(server, settings)
        installation = open_installation(self.folder / "gateway.yaml", {})
        return broker_of(installation.contract.brokers[0], installation.settings)

    def doctor(self, server: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Finding]:
        """Let the doctor examine the broker alone."""
        self.write(server, settings)
        installation = open_installation(self.folder / "gateway.yaml", {})
        stop = StopFlag()
        stop.set()
        findings = examine_broker(installation, installation.contract.brokers[0], stop)
        return {one.path: one for one in collect_all([("broker", findings)], silent)}

    def errors(self, server: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        """Give what is wrong with them, without the names of the files."""
        self.write(server, settings)
        with pytest.raises(ConfigurationError) as raised:
            open_installation(self.folder / "gateway.yaml", {})
        return [f"{one.path}: {one.message}" for one in raised.value.findings if one.severity == "error"]


# --- contract and settings -------------------------------------------------------------------------------------------


ADDRESSES = {
    "tcp": ({}, {}, "localhost:1883"),
    "ws": ({"protocol": "ws"}, {}, "ws://localhost:80/mqtt"),
    "wss": ({"protocol": "wss", "pathname": "/a/{b}", "variables": {"b": {"default": "c"}}}, {},
            "wss://localhost:443/a/c"),
    "turned on": ({"protocol": "secure-mqtt"}, {"host": "localhost", "websocket": {}}, "wss://localhost:443/mqtt"),
    "other path": ({"protocol": "ws", "pathname": "/a"}, {"host": "h", "websocket": {"path": "/b"}}, "ws://h:80/b"),
    "other headers": ({"protocol": "ws", "pathname": "/a"}, {"websocket": {"headers": {"X-A": "b"}}},
                      "ws://localhost:80/a"),
    "unix": ({"protocol": "wss"}, {"host": "unix:///run/mqtt.sock"}, "unix:///run/mqtt.sock"),
}  # fmt: skip


@pytest.mark.parametrize(("server", "settings", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_contract_and_settings_give_the_address(
    site: Site, server: Mapping[str, Any], settings: Mapping[str, Any], address: str
) -> None:
    assert site.broker(server, settings).address == address


def test_headers_are_those_of_the_settings_and_of_files(site: Site) -> None:
    (site.folder / "login").touch(0o600)
    (site.folder / "login").write_text("Bearer canary\n")
    given = {"websocket": {"headers": {"X-Plant": "north"}, "header_files": {"Authorization": "login"}}}
    broker = site.broker({"protocol": "ws"}, given)
    assert broker.websocket == Upgrade("/mqtt", {"X-Plant": "north", "Authorization": "Bearer canary"})
    assert "canary" not in repr(broker)


def test_alpn_is_offered_with_the_settings_order(site: Site) -> None:
    broker = site.broker({"protocol": "secure-mqtt"}, {"tls": {"alpn": ["x-amzn-mqtt-ca", "mqtt"]}})
    assert broker.alpn == ("x-amzn-mqtt-ca", "mqtt")


WRONG = {
    "no path": ({"protocol": "ws", "pathname": "mqtt"}, {},
                "#/servers/broker/pathname: 'mqtt' is not the path of a WebSocket."),
    "unix and TLS": ({}, {"host": "unix:///a", "tls": {}}, "servers.broker.tls: A Unix socket carries MQTT itself."),
    "unix and WebSocket": ({}, {"host": "unix:///a", "websocket": {}},
                           "servers.broker.websocket: A Unix socket carries MQTT itself."),
    "relative": ({}, {"host": "unix://a"},
                 "servers.broker.host: Expected a host: name:port, or several separated by commas."),
    "header of the handshake": ({}, {"websocket": {"headers": {"sec-websocket-key": "a"}}},
        "servers.broker.websocket.headers.sec-websocket-key: The gateway sets this header, which makes the WebSocket."),
    "header with a space": ({}, {"websocket": {"headers": {"X Y": "a"}}},
        "servers.broker.websocket.headers.X Y: This is no name of a header."),
    "no such file": ({}, {"websocket": {"header_files": {"Authorization": "none"}}},
                     "servers.broker.websocket.header_files.Authorization: The file none does not exist."),
    "proxy": ({}, {"proxy": "http://proxy:3128"}, "servers.broker.proxy: There is no such setting."),
}  # fmt: skip


@pytest.mark.parametrize(("server", "settings", "error"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_an_error(
    site: Site, server: Mapping[str, Any], settings: Mapping[str, Any], error: str
) -> None:
    assert [one.replace(f"{site.folder}/", "") for one in site.errors(server, settings)] == [error]


def test_kafka_takes_neither_a_unix_socket_nor_alpn(site: Site) -> None:
    site.write({}, {})
    text = (site.folder / "gateway.yaml").read_text()
    text = text.replace(
        "  kafka:\n", "  kafka:\n    host: unix:///kafka.sock\n    tls: {alpn: [a]}\n    websocket: {}\n"
    )
    (site.folder / "gateway.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        open_installation(site.folder / "gateway.yaml", {})
    assert sorted(one.path for one in raised.value.findings) == [
        "servers.kafka.host", "servers.kafka.tls.alpn", "servers.kafka.websocket",
    ]  # fmt: skip


def test_a_websocket_without_an_mqtt_binding_is_another_protocol(site: Site) -> None:
    site.write({"protocol": "ws", "bindings": {}}, {})
    _, findings = examine(site.folder / "asyncapi.yaml")
    message = "The server 'broker' has no MQTT binding, so nothing says that its WebSocket carries MQTT."
    assert [one.message for one in findings if one.severity == "error"] == [message]


# --- real brokers ----------------------------------------------------------------------------------------------------


def reached(broker: Any, folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """The contract's and the settings' part for each carrier of a broker."""
    encrypted = {"host": f"127.0.0.1:{broker.port_of(8443)}", "tls": {"ca_file": str(folder / "ca.crt")}}
    return {
        "ws": ({"protocol": "ws", "pathname": "/mqtt"}, {"host": f"127.0.0.1:{broker.port_of(8080)}"}),
        "wss": ({"protocol": "wss"}, encrypted),
        "websocket": ({}, {"host": f"127.0.0.1:{broker.port_of(8080)}", "websocket": {}}),
        "unix": ({}, {"host": f"unix://{broker.folder}/mqtt.sock"}),
    }


@pytest.mark.parametrize("carrier", ["ws", "wss", "websocket", "unix"])
def test_doctor_drift_and_simulator_reach_the_broker_as_the_gateway_does(
    site: Site, mosquitto: StartMosquitto, certificates: Certificates, carrier: str
) -> None:
    broker = mosquitto(WEB, {path.name: path for path in certificates.folder.glob("*.*")})
    server, settings = reached(broker, certificates.folder)[carrier]
    rows = site.doctor(server, settings)
    assert (rows["connection"].severity, rows["session"].severity) == ("ok", "ok"), rows
    assert rows["connection"].message == site.broker(server, settings).address
    found = list(dates.examine(open_installation(site.folder / "gateway.yaml", {})))
    assert [one.severity for one in found if one.path.startswith("broker at")] == ["ok"] * (carrier == "wss")
    done = command("simulate", "-c", "gateway.yaml", "--count", "3", folder=site.folder)
    assert done.returncode == 0, done.stderr


def test_doctor_names_a_path_that_is_not_found_and_its_fix_applies(site: Site, mosquitto: StartMosquitto) -> None:
    server = {"protocol": "ws", "pathname": "/old"}
    with WebSocketServer(b"HTTP/1.1 404 Not Found\r\n\r\n") as elsewhere:
        row = site.doctor(server, {"host": f"127.0.0.1:{elsewhere.port}"})["answer"]
    assert row.severity == "unreachable"
    assert row.message.endswith("/old: the server opens no WebSocket at /old: 404 Not Found.")
    assert row.fix == f"Set websocket.path to the broker's, which is /mqtt for most, {UNDER_SERVERS}."
    host = f"127.0.0.1:{mosquitto(WEB.partition('listener 8443')[0]).port_of(8080)}"
    assert site.doctor(server, {"host": host, "websocket": {"path": "/mqtt"}})["connection"].severity == "ok"


def test_doctor_names_a_login_that_the_websocket_refuses(site: Site) -> None:
    with WebSocketServer(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as server:
        row = site.doctor({"protocol": "ws"}, {"host": f"127.0.0.1:{server.port}"})["answer"]
    assert row.fix == f"Check websocket.headers and websocket.header_files {FILES_UNDER_SERVERS}."


def test_doctor_names_an_alpn_that_does_not_match_and_its_fix_applies(
    site: Site, mosquitto: StartMosquitto, certificates: Certificates
) -> None:
    port, ca = mosquitto().port, str(certificates.ca)

    def doctor(front: TlsFront, *names: str) -> dict[str, Finding]:
        given = {"host": f"127.0.0.1:{front.port}", "tls": {"ca_file": ca, "alpn": list(names)}}
        return site.doctor({"protocol": "secure-mqtt"}, given)

    with TlsFront(port, certificates, "x-amzn-mqtt-ca") as strict, TlsFront(port, certificates) as lax:
        wrong = doctor(strict, "mqtt")["answer"]
        assert wrong.message.endswith("before CONNACK.")
        assert wrong.fix == f"The broker selected none of mqtt; correct tls.alpn {UNDER_SERVERS}."
        right = doctor(strict, "x-amzn-mqtt-ca")
        assert (right["ALPN"].severity, right["ALPN"].message) == ("ok", "x-amzn-mqtt-ca")
        ignored = doctor(lax, "mqtt")["ALPN"]
        assert (ignored.severity, ignored.message) == ("warning", "the broker selects none of mqtt")
        assert ignored.fix == f"Correct or remove tls.alpn {UNDER_SERVERS}."
        assert "ALPN" not in doctor(lax)
