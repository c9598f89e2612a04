"""Servers: the MQTT brokers and the Kafka cluster, and how to connect to them.

Defaults: MQTT 5.0, a kept session with an expiry of one week (MQTT 5.0), so that an outage over a long weekend loses no
reading, a keep-alive of 60 s, and the usual port of the protocol. The kept session belongs to the client id, which
should therefore be written out. Without one it is derived from the server's name, with a warning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from gateway.contract.document import quoted
from gateway.core.model import KafkaServer, LastWill, MqttServer
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

# Whether the connection uses TLS, and the port when the host has none.
MQTT_PROTOCOLS = {"mqtt": (False, 1883), "secure-mqtt": (True, 8883), "mqtts": (True, 8883)}
WEBSOCKET_PROTOCOLS = {"ws": (False, 80), "wss": (True, 443)}  # of a broker, if the server has an MQTT binding
WEBSOCKET_PATH = "/mqtt"  # of nearly all brokers
KAFKA_PROTOCOLS = {"kafka": (False, 9092), "kafka-secure": (True, 9093)}
VERSIONS: dict[str, Literal["3.1.1", "5.0"]] = {"5.0": "5.0", "5": "5.0", "5.0.0": "5.0", "3.1.1": "3.1.1"}
MQTT_SECURITY = frozenset({"userPassword", "X509"})
KAFKA_SECURITY = frozenset({"userPassword", "X509", "plain", "scramSha256", "scramSha512", "oauth2", "openIdConnect"})
HOUR, WEEK = 3600, 7 * 24 * 3600
KEEP_ALIVE, LONG_KEEP_ALIVE = 60, 600
SMALL_PAYLOAD = 256  # bytes; fewer are more likely a mistake than a limit
IN_FILES = "Remove it, and put secrets into files that gateway.yaml names."
VARIABLE = re.compile(r"\{([^{}]*)\}")
PATH = re.compile(r"/[!$-~]*\Z")
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?\Z")


def protocol(server: Node) -> str:
    """`mqtt`, `kafka`, or `other`."""
    stated = server.at("protocol").text or ""
    if stated in WEBSOCKET_PROTOCOLS and not server.at("bindings", "mqtt").is_absent:
        return "mqtt"
    return "mqtt" if stated in MQTT_PROTOCOLS else "kafka" if stated in KAFKA_PROTOCOLS else "other"


def mqtt_server(name: str, node: Node, findings: Findings) -> MqttServer:
    """Read an MQTT server; invalid members are reported and replaced by defaults."""
    tls, port = (MQTT_PROTOCOLS | WEBSOCKET_PROTOCOLS)[node.at("protocol").value]
    binding = node.at("bindings", "mqtt")
    version = _version(node.at("protocolVersion"), findings)
    return MqttServer(
        name=name,
        host=_host(node, port, findings),
        tls=tls,
        version=version,
        client_id=_client_id(name, binding, findings),
        clean_session=_clean_session(binding, findings),
        keep_alive=_keep_alive(binding.at("keepAlive"), findings),
        session_expiry=_session_expiry(binding, version, findings),
        maximum_packet_size=_maximum_packet_size(binding.at("maximumPacketSize"), findings),
        last_will=_last_will(binding.at("lastWill"), findings),
        security=_security(node, MQTT_SECURITY, findings),
        websocket_path=_websocket_path(node, findings),
    )


def kafka_server(name: str, node: Node, findings: Findings) -> KafkaServer:
    """Read the Kafka server; invalid members are reported."""
    tls, port = KAFKA_PROTOCOLS[node.at("protocol").value]
    url = node.at("bindings", "kafka", "schemaRegistryUrl")
    if url.text is not None:
        _check_url(url, findings)
    vendor = node.at("bindings", "kafka", "schemaRegistryVendor")
    if "glue" in (vendor.text or "").lower():
        message = "The gateway does not offer the AWS Glue registry, which has an API and a frame of its own."
        findings.error(
            vendor, message, "Run a registry with Confluent's API, such as Apicurio, Karapace or Redpanda's."
        )
    return KafkaServer(name, _host(node, port, findings), tls, _security(node, KAFKA_SECURITY, findings), url.text)


def _websocket_path(node: Node, findings: Findings) -> str | None:
    path = node.at("pathname")
    if node.at("protocol").text not in WEBSOCKET_PROTOCOLS:
        if not path.is_absent:
            findings.warning(path, "MQTT over TCP has no path, so this is ignored.", "Remove it.")
        return None
    text = VARIABLE.sub(lambda match: _variable(node, match[1], findings), path.text or WEBSOCKET_PATH)
    if not PATH.match(text):
        findings.error(path, f"{quoted(path.value)} is not the path of a WebSocket.", f"Write {WEBSOCKET_PATH}.")
    return text


def _host(node: Node, port: int, findings: Findings) -> str:
    host = node.at("host")
    text = VARIABLE.sub(lambda match: _variable(node, match[1], findings), host.text or "")
    entries = [_with_port(one.strip(), port, host, findings) for one in text.split(",")]
    if len(entries) > 1 and protocol(node) == "mqtt":
        findings.error(host, "An MQTT server has one host.", "Write a server for each broker.")
    return ",".join(entries)


def _variable(node: Node, name: str, findings: Findings) -> str:
    """The default of a server variable; `unknown` after an error, so that host or path can still be parsed."""
    variable = node.at("variables", name)
    default = variable.at("default")
    if variable.is_absent:
        findings.error(node.at("host"), f"The variable {name!r} of the host is not in `variables`.", "Add it.")
    elif default.text is None:
        fix = "Add one; gateway.yaml can override the host."
        findings.error(variable, f"The variable {name!r} has no default.", fix)
    elif variable.at("enum").value and default.text not in [one.text for one in variable.at("enum").entries()]:
        message = f"The default {quoted(default.value)} is not one of the values in `enum`."
        findings.error(default, message, "Write one of them.")
    return default.text or "unknown"


def _with_port(host: str, port: int, node: Node, findings: Findings) -> str:
    match = HOST.match(host)
    if "@" in host:
        findings.error(node, "The host contains a user or password.", IN_FILES)
    elif not match:
        if node.text is not None:
            findings.error(node, f"{host!r} is not a host and port.", "Write host:port, without protocol and path.")
    elif match[1] is None:
        return f"{host}:{port}"
    elif not 0 < int(match[1]) < 65_536:
        findings.error(node, f"{match[1]} is not a port.", "Write a number from 1 to 65535.")
    return host


def _version(node: Node, findings: Findings) -> Literal["3.1.1", "5.0"]:
    if node.text is not None and node.text not in VERSIONS:
        findings.error(node, f"MQTT {quoted(node.value)} is not supported.", "Write '5.0' or '3.1.1'.")
    return VERSIONS.get(node.text or "", "5.0")


def _client_id(name: str, binding: Node, findings: Findings) -> str:
    stated = binding.at("clientId")
    if stated.text:
        return stated.text
    fallback = f"gateway-{name}"
    findings.warning(
        stated,
        f"clientId is missing; {fallback!r} is used.",
        "Add a clientId: the broker keeps the session under this name.",
    )
    return fallback


def _clean_session(binding: Node, findings: Findings) -> bool:
    clean = binding.at("cleanSession")
    if clean.boolean:
        findings.warning(
            clean,
            "With cleanSession: true the broker drops messages that are published while the gateway is disconnected.",
            "Write cleanSession: false to lose no reading.",
        )
    return bool(clean.boolean)


def _keep_alive(node: Node, findings: Findings) -> int:
    seconds = _number(node, KEEP_ALIVE, 65_535, findings)
    if not seconds:
        message = "With keepAlive: 0 the broker does not notice a dead gateway; the gateway pings all the same."
        findings.warning(node, message, f"Write the seconds, such as {KEEP_ALIVE}.")
    elif LONG_KEEP_ALIVE < seconds <= 65_535:
        message = f"A broker that hangs is noticed only after {1.5 * seconds:g} s, one and a half times keepAlive."
        findings.warning(node, message, f"Write fewer seconds, such as {KEEP_ALIVE}.")
    return seconds


def _session_expiry(binding: Node, version: str, findings: Findings) -> int:
    expiry = binding.at("sessionExpiryInterval")
    seconds = _number(expiry, WEEK, 2**32 - 1, findings)
    if 0 <= seconds < HOUR and version == "5.0" and not binding.at("cleanSession").boolean:
        after = f" for more than {seconds} s" if seconds else ""
        findings.warning(
            expiry,
            f"With an expiry of {seconds} the broker drops messages that are published while the gateway is "
            f"disconnected{after}.",
            f"Write the seconds that the broker shall keep the session, such as {WEEK} for a week.",
        )
    if version == "3.1.1" and not expiry.is_absent:
        message = "MQTT 3.1.1 has no session expiry; the broker's configuration decides."
        findings.warning(expiry, message, "Remove it, or write protocolVersion: '5.0'.")
    return seconds


def _maximum_packet_size(node: Node, findings: Findings) -> int | None:
    """The largest payload that is accepted, in bytes; None for the gateway's own limit."""
    size = _number(node, 0, 2**32 - 1, findings) or None
    if size and size < SMALL_PAYLOAD:
        message = f"Readings of more than {size} bytes will be dead letters."
        findings.warning(node, message, "Write the size of the largest payload in bytes, such as 65536.")
    return size


def _number(node: Node, default: int, most: int, findings: Findings) -> int:
    """A whole number; the binding also allows a schema here, which the gateway cannot use."""
    if node.is_mapping:
        findings.error(node, "Expected a number, not a schema.", "Write the number.")
    if node.integer is None:
        return default
    if not 0 <= node.integer <= most:
        findings.error(node, f"{node.integer} is not between 0 and {most}.", f"Write a number from 0 to {most}.")
    return node.integer


def _last_will(node: Node, findings: Findings) -> LastWill | None:
    if not node.is_mapping:
        return None
    topic = node.at("topic").text
    if not topic or "+" in topic or "#" in topic:
        findings.error(node, "The last will needs a topic without wildcards.", "Write it in `topic`.")
    qos, retain = node.at("qos").integer or 0, bool(node.at("retain").boolean)
    return LastWill(topic or "", node.at("message").text or "", qos, retain)


def _security(node: Node, known: frozenset[str], findings: Findings) -> tuple[str, ...]:
    """The supported schemes of the `security` list. One scheme of the list has to be satisfied, so one is enough."""
    kinds = [one.at("type") for one in node.at("security").entries()]
    supported = tuple(kind.text for kind in kinds if kind.text in known)
    report = findings.warning if supported else findings.error
    for kind in kinds:
        if kind.text is not None and kind.text not in known:
            fix = suggestion(kind.text, known) or f"Write only the type, one of {', '.join(sorted(known))}."
            report(kind, f"The gateway cannot log in with {quoted(kind.value)} here.", fix)
    return supported


def _check_url(node: Node, findings: Findings) -> None:
    try:
        parts = urlsplit(node.text or "")
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # an invalid port or IPv6 address
        is_valid = False
    if "@" in (node.text or ""):
        findings.error(node, "The URL contains a user or password.", IN_FILES)
    elif not is_valid:
        fix = "Write http://host:port or https://host:port."
        findings.error(node, f"{quoted(node.value)} is not an http or https URL.", fix)
