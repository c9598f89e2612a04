"""Servers: which brokers, which Kafka, and who connects how.

Defaults where the document says nothing: MQTT 5.0; the session is kept, at MQTT 5.0 for a week, so that an outage
over a long weekend loses nothing; keep-alive 60 s; the usual port of the protocol. A client id must be fixed, because
the kept session hangs on it; one made from the server's name serves, with a warning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from gateway.contract.findings import proposal
from gateway.core.model import KafkaServer, LastWill, MqttServer

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

# Whether the connection is TLS, and the port when the host names none.
MQTT_PROTOCOLS = {"mqtt": (False, 1883), "secure-mqtt": (True, 8883), "mqtts": (True, 8883)}
KAFKA_PROTOCOLS = {"kafka": (False, 9092), "kafka-secure": (True, 9093)}
VERSIONS: dict[str, Literal["3.1.1", "5.0"]] = {"5.0": "5.0", "5": "5.0", "5.0.0": "5.0", "3.1.1": "3.1.1"}
MQTT_SECURITY = frozenset({"userPassword", "X509"})
KAFKA_SECURITY = frozenset({"userPassword", "X509", "plain", "scramSha256", "scramSha512"})
WEEK = 7 * 24 * 3600
KEEP_ALIVE = 60
VARIABLE = re.compile(r"\{([^{}]*)\}")
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?\Z")


def protocol(server: Node) -> str:
    """`mqtt`, `kafka`, or `other`."""
    stated = server.at("protocol").text or ""
    return "mqtt" if stated in MQTT_PROTOCOLS else "kafka" if stated in KAFKA_PROTOCOLS else "other"


def mqtt_server(name: str, node: Node, findings: Findings) -> MqttServer:
    """Read an MQTT server; what it has wrong is reported and replaced by a default."""
    tls, port = MQTT_PROTOCOLS[node.at("protocol").value]
    binding = node.at("bindings", "mqtt")
    if not node.at("pathname").is_absent:
        findings.warning(node.at("pathname"), "MQTT over TCP has no path; it is not used.", "Remove it.")
    version = _version(node.at("protocolVersion"), findings)
    return MqttServer(
        name=name,
        host=_host(node, port, findings),
        tls=tls,
        version=version,
        client_id=_client_id(name, binding, findings),
        clean_session=_clean_session(binding, findings),
        keep_alive=_number(binding.at("keepAlive"), KEEP_ALIVE, 65_535, findings),
        session_expiry=_session_expiry(binding, version, findings),
        maximum_packet_size=_number(binding.at("maximumPacketSize"), 0, 2**32 - 1, findings) or None,
        last_will=_last_will(binding.at("lastWill"), findings),
        security=_security(node, MQTT_SECURITY, findings),
    )


def kafka_server(name: str, node: Node, findings: Findings) -> KafkaServer:
    """Read the Kafka server; what it has wrong is reported."""
    tls, port = KAFKA_PROTOCOLS[node.at("protocol").value]
    url = node.at("bindings", "kafka", "schemaRegistryUrl")
    if url.text is not None:
        _check_url(url, findings)
    return KafkaServer(name, _host(node, port, findings), tls, _security(node, KAFKA_SECURITY, findings), url.text)


def _host(node: Node, port: int, findings: Findings) -> str:
    host = node.at("host")
    text = VARIABLE.sub(lambda match: _variable(node, match[1], findings), host.text or "")
    entries = [_with_port(one.strip(), port, host, findings) for one in text.split(",")]
    if len(entries) > 1 and protocol(node) == "mqtt":
        findings.error(host, "An MQTT server is one broker.", "Write a server for each.")
    return ",".join(entries)


def _variable(node: Node, name: str, findings: Findings) -> str:
    """The default of a server variable; the text `unknown` keeps the host readable after a finding."""
    variable = node.at("variables", name)
    default = variable.at("default")
    if variable.is_absent:
        findings.error(node.at("host"), f"The host has a variable {name!r} that is not among `variables`.", "Add it.")
    elif default.text is None:
        findings.error(variable, f"The variable {name!r} has no default.", "Give it one; gateway.yaml can override it.")
    elif variable.at("enum").value and default.text not in [one.text for one in variable.at("enum").entries()]:
        findings.error(default, f"The default {default.text!r} is none of the variable's values.", "Write one of them.")
    return default.text or "unknown"


def _with_port(host: str, port: int, node: Node, findings: Findings) -> str:
    match = HOST.match(host)
    if "@" in host:
        findings.error(node, "The host holds a user or password.", "Keep secrets in files that gateway.yaml names.")
    elif not match:
        if node.text is not None:
            findings.error(node, f"{host!r} is no host and port.", "Write host:port, without protocol and path.")
    elif match[1] is None:
        return f"{host}:{port}"
    elif not 0 < int(match[1]) < 65_536:
        findings.error(node, f"{match[1]} is no port.", "Ports go from 1 to 65535.")
    return host


def _version(node: Node, findings: Findings) -> Literal["3.1.1", "5.0"]:
    if node.text is not None and node.text not in VERSIONS:
        findings.error(node, f"MQTT {node.text!r} is not supported.", "Write '5.0' or '3.1.1'.")
    return VERSIONS.get(node.text or "", "5.0")


def _client_id(name: str, binding: Node, findings: Findings) -> str:
    stated = binding.at("clientId")
    if stated.text:
        return stated.text
    fallback = f"gateway-{name}"
    findings.warning(stated, f"No clientId is given; {fallback!r} is used.", "Fix one: the kept session hangs on it.")
    return fallback


def _clean_session(binding: Node, findings: Findings) -> bool:
    clean = binding.at("cleanSession")
    if clean.boolean:
        findings.warning(
            clean,
            "With cleanSession true, the broker drops what is published while the gateway is away.",
            "Write cleanSession: false to lose no reading.",
        )
    return bool(clean.boolean)


def _session_expiry(binding: Node, version: str, findings: Findings) -> int:
    expiry = binding.at("sessionExpiryInterval")
    seconds = _number(expiry, WEEK, 2**32 - 1, findings)
    if seconds == 0 and version == "5.0" and not binding.at("cleanSession").boolean:
        findings.warning(
            expiry,
            "A session that expires after 0 seconds ends with the connection; readings are lost while it is down.",
            f"Write for how long the broker is to keep them, e.g. {WEEK} for a week.",
        )
    if version == "3.1.1" and not expiry.is_absent:
        told = "MQTT 3.1.1 has no session expiry; the broker decides how long it keeps the session."
        findings.warning(expiry, told, "Remove it, or write protocolVersion: '5.0'.")
    return seconds


def _number(node: Node, default: int, most: int, findings: Findings) -> int:
    """A whole number; a schema in its place, which the binding allows, says nothing that one could connect with."""
    if node.is_mapping:
        findings.error(node, "A schema stands here, and the gateway needs one number.", "Write the number.")
    if node.integer is None:
        return default
    if not 0 <= node.integer <= most:
        findings.error(node, f"{node.integer} is not between 0 and {most}.", f"Write a number up to {most}.")
    return node.integer


def _last_will(node: Node, findings: Findings) -> LastWill | None:
    if not node.is_mapping:
        return None
    topic = node.at("topic").text
    if not topic or "+" in topic or "#" in topic:
        findings.error(node, "The last will needs a topic without wildcards.", "Add `topic`.")
    qos, retain = node.at("qos").integer or 0, bool(node.at("retain").boolean)
    return LastWill(topic or "", node.at("message").text or "", qos, retain)


def _security(node: Node, known: frozenset[str], findings: Findings) -> tuple[str, ...]:
    """The ways to sign in that the gateway has; the list means one of them, so one is enough."""
    kinds = [one.at("type") for one in node.at("security").entries()]
    ours = tuple(kind.text for kind in kinds if kind.text in known)
    tell = findings.warning if ours else findings.error
    for kind in kinds:
        if kind.text is not None and kind.text not in known:
            fix = proposal(kind.text, known) or f"Use one of {', '.join(sorted(known))}."
            tell(kind, f"The gateway cannot connect with {kind.text!r} here.", fix)
    return ours


def _check_url(node: Node, findings: Findings) -> None:
    try:
        parts = urlsplit(node.text or "")
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        is_right = False
    if "@" in (node.text or ""):
        findings.error(node, "The URL holds a user or password.", "Keep secrets in files that gateway.yaml names.")
    elif not is_right:
        findings.error(node, f"{node.text!r} is no URL of a registry.", "Write http://host:port or https://host:port.")
