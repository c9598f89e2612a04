"""A plant where everybody asks who is there: Mosquitto, Kafka and a registry with TLS and logins, and its gateways.

    listener            who is let in
    MQTT  PLAIN         users of the password file, without TLS: for the devices
    MQTT  PASSWORD      the same over TLS
    MQTT  CERTIFICATE   holders of a certificate that our authority signed and has not revoked
    Kafka SSL           holders of a certificate that our authority signed
    Kafka OPEN_SSL      everybody
    Kafka SASL_SSL      user and password over TLS: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
    registry            HTTPS, one `Authorization` header (`HttpsFront`)

What the servers show and whom they know can be changed while they run.
"""

from __future__ import annotations

import base64
import itertools
import json
import ssl
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.stack.gateway import Gateway
from tests.stack.https_front import HttpsFront
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import Mosquitto, hashed_passwords
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count, records
from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.stack.certificates import Certificates
    from tests.stack.registry import Registry

PLAIN, PASSWORD, CERTIFICATE = 1883, 8883, 8884
BROKER = f"""\
listener {PLAIN}
listener {PASSWORD}
cafile ca.crt
certfile server.crt
keyfile server.key
listener {CERTIFICATE}
cafile ca.crt
crlfile revoked.crl
certfile server.crt
keyfile server.key
require_certificate true
use_identity_as_username true
"""
PERSISTENT = """\
password_file passwd
allow_anonymous false
persistence true
persistence_location ./
autosave_on_changes true
max_queued_messages 0
max_inflight_messages 0
"""
TOPICS = ("machine-sensors", "door-sensors", "widget-readings", "smart-meter", "gateway-dead-letters")
USER, DEVICE = "gateway", ("device", "of-the-plant")
PASSWORDS = {"mqtt": "mqtt-secret", "kafka": "kafka-secret", "registry": "registry-secret", "token": "token-secret"}
PEERS = {"kafka": "kafka", "service": "registry"}  # by the name of their logger


class Site:
    """The servers, and what an installation writes to reach them.

    Args:
        certificates: what the servers can show.
        registry: behind the front.
        started: ends the servers.
        passwords: what the servers want, `mqtt`, `kafka`, `registry` and the registry's `token`.
    """

    def __init__(
        self, certificates: Certificates, registry: Registry, started: ExitStack, passwords: dict[str, str]
    ) -> None:
        self.certificates = certificates
        self.passwords = passwords
        self._numbers = itertools.count(1)
        self.front = started.enter_context(HttpsFront(registry.url, certificates))
        self.broker = started.enter_context(Mosquitto(BROKER + PERSISTENT, self._broker_files("broker")))
        self.kafka = started.enter_context(Kafka(certificates=certificates, users={USER: passwords["kafka"]}))
        for topic in TOPICS:
            self.kafka.create_topic(topic)

    # --- what the servers show, and whom they know ------------------------------------------------------------------

    def present(self, name: str) -> None:
        """Let every server show this certificate to who connects from now on; the broker restarts."""
        self.front.present(name)
        keystore = str(self.certificates.keystore(name))
        self.kafka.configure({f"listener.name.{one}.ssl.keystore.location": keystore for one in ("ssl", "sasl_ssl")})
        expected = ssl.PEM_cert_to_DER_cert(self.certificates.certificate(name).read_text())
        for listener in ("SSL", "SASL_SSL"):  # Kafka has stored the change when it answers, and applies it later
            host, port = self.kafka.servers(listener).split(":")
            wait_for(lambda at=(host, int(port)): presented(at) == expected, 60, f"{name} at {listener}")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        self.broker.replace(self._broker_files(name))

    def admit(self, passwords: dict[str, str]) -> None:
        """Let every server know the gateway by these passwords."""
        self.passwords = passwords
        self.broker.replace({"passwd": self._hashed()})
        self.kafka.set_password(USER, passwords["kafka"])

    def keep_session(self) -> None:
        """Leave a session of the gateway at the broker, as its former run would: what is published now waits there."""
        user, password = DEVICE
        to = ("-h", "127.0.0.1", "-p", str(self.broker.port), "-u", user, "-P", password)
        session = ("-V", "mqttv5", "-c", "-x", "604800", "-i", "iot-gateway", "-q", "1", "-t", "factory/+/+", "-E")
        subprocess.run([command("mosquitto_sub", "mosquitto-clients"), *to, *session], check=True, timeout=30)

    def _broker_files(self, name: str) -> dict[str, Any]:
        return {
            "ca.crt": self.certificates.ca,
            "revoked.crl": self.certificates.revocations,
            "server.crt": self.certificates.certificate(name),
            "server.key": self.certificates.key(name),
            "passwd": self._hashed(),
        }

    def _hashed(self) -> bytes:
        return hashed_passwords({USER: self.passwords["mqtt"], DEVICE[0]: DEVICE[1]})

    # --- the gateway's end -------------------------------------------------------------------------------------------

    def gateway(
        self,
        servers: dict[str, Any],
        passwords: dict[str, str] | None = None,
        kind: type[Gateway] = Gateway,
        **more: Any,
    ) -> Gateway:
        """Make a gateway; its secrets are files beside its gateway.yaml."""
        gateway = kind(servers, **more)
        for name, password in ((passwords or self.passwords) | {"device": DEVICE[1]}).items():
            path = gateway.folder / name
            path.touch(0o600)
            path.write_text(f"{password}\n")
        return gateway

    def servers(self, mqtt: dict[str, Any], kafka: dict[str, Any], registry: dict[str, Any]) -> dict[str, Any]:
        """Write the `servers` section of gateway.yaml; the meter's broker is reached without TLS and always let in."""
        meter = {"host": f"127.0.0.1:{self.broker.port}", "username": DEVICE[0], "password_file": "device"}
        at = {"registry": {"url": self.front.url, "ca_file": str(self.certificates.ca)} | registry}
        return {"factoryBroker": mqtt, "meterBroker": meter, "kafka": kafka | at}

    def tls(self, own: str = "", ca: str = "ca") -> dict[str, str]:
        """Write a `tls` section; with a certificate of our own if it has a name."""
        trusted = {"ca_file": str(self.certificates.certificate(ca))}
        if not own:
            return trusted
        shown = {"cert_file": self.certificates.certificate(own), "key_file": self.certificates.key(own)}
        return trusted | {name: str(path) for name, path in shown.items()}

    def with_passwords(self, mechanism: str = "SCRAM-SHA-512") -> dict[str, Any]:
        """Write servers that are signed in at with user and password."""
        self.front.login = basic(USER, self.passwords["registry"])
        sasl = {"mechanism": mechanism, "username": USER, "password_file": "kafka"}
        return self.servers(
            {"host": self._mqtt(PASSWORD), "tls": self.tls(), "username": USER, "password_file": "mqtt"},
            {"host": self.kafka.servers("SASL_SSL"), "tls": self.tls(), "sasl": sasl},
            {"username": USER, "password_file": "registry"},
        )

    def with_certificates(self, own: str = "client") -> dict[str, Any]:
        """Write servers that are shown our certificate, and a registry that gets a token."""
        self.front.login = f"Bearer {self.passwords['token']}"
        return self.servers(
            {"host": self._mqtt(CERTIFICATE), "tls": self.tls(own)},
            {"host": self.kafka.servers("SSL"), "tls": self.tls(own)},
            {"token_file": "token"},
        )

    def _mqtt(self, listener: int) -> str:
        return f"127.0.0.1:{self.broker.port_of(listener)}"

    # --- readings ----------------------------------------------------------------------------------------------------

    def publish(self, count: int) -> None:
        """Publish so many readings of the factory, and as many of the meter, each of its own value."""
        with Publisher(self.broker.port, credentials=DEVICE) as publisher:
            for number in itertools.islice(self._numbers, count):
                meter = {"api_version": "v1", "name": "m", "sma_time": number}
                telegram = meter | {"1-0:1.8.0": {"value": 1, "time": 1697622940}}
                readings = [("factory/a/b", {"value": number, "units": "C"}), ("sma", telegram)]
                publisher.publish((topic, json.dumps(reading).encode()) for topic, reading in readings)

    def counts(self) -> dict[str, int]:
        """Tell how many readings each topic has; one that is there twice counts once."""
        return {topic: len(self._readings(topic)) for topic in TOPICS}

    def _readings(self, topic: str) -> set[bytes | None]:
        count = record_count(self.kafka.bootstrap, topic)
        return {record.value for record in records(self.kafka.bootstrap, topic, count)} if count else set()


def presented(address: tuple[str, int]) -> bytes:
    """Give the certificate, in DER, that a server shows to who connects now."""
    try:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address, timeout=10))
    except ssl.SSLEOFError:  # the server takes another certificate just now
        return b""


def basic(user: str, password: str) -> str:
    """Write the header of basic authentication."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def details(gateway: Gateway) -> dict[str, list[str]]:
    """Collect what the log says is wrong, by peer: a server's name, `kafka`, or `registry`."""
    found = defaultdict[str, list[str]](list)
    for line in gateway.log.splitlines():
        event = json.loads(line)
        if event["level"] in {"warning", "error"} and "detail" in event:
            found[event.get("server") or PEERS[event["logger"]]].append(
                event["detail"].replace(str(gateway.settings_file), "FILE")
            )
    return found


def wait_told(gateway: Gateway, *peers: str) -> dict[str, list[str]]:
    """Wait until the log says what is wrong with all of these peers, and give all that it says of them."""

    def told() -> dict[str, list[str]]:
        found = details(gateway)
        return {peer: found[peer] for peer in peers} if all(found[peer] for peer in peers) else {}

    return wait_for(told, 60, lambda: gateway.log[-4000:])
