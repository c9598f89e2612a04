"""Protocols of servers and actions of operations that contradict their use.

A receive operation with `x-forward-to` reads from MQTT; the operations that it names send to Kafka. So a misspelt
protocol, or an action from the view of the devices, is one finding where it stands, and not one at everything that
depends on it. As in `forms.py`, the document in memory is then changed to what the fix says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.contract.message import DEAD_LETTER, IGNORED, forwards
from gateway.contract.server import KAFKA_PROTOCOLS, MQTT_PROTOCOLS, WEBSOCKET_PROTOCOLS, protocol
from gateway.documents.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings

# Protocols of AsyncAPI that resemble ours, but are others.
OTHERS = frozenset(
    {"amqp", "amqps", "amqp1", "http", "https", "jms", "nats", "sns", "sqs", "stomp", "stomps", "ws", "wss"}
)
WORDS = {"mqtt": "mqtt, or secure-mqtt for TLS", "kafka": "kafka, or kafka-secure for TLS"}
ACTIONS = {None, "send", "receive", "publish", "subscribe"}
TLS = re.compile(r"(?i)ssl|tls|secure|s\Z")
SIMILAR = 0.75


class _Use(NamedTuple):
    """An operation of the document."""

    name: str
    node: Node  # with its traits
    servers: list[Node]  # of its channel

    @property
    def targets(self) -> Iterator[str]:
        """The operations that it sends readings and dead letters to."""
        for stated in (*forwards(self.node), self.node.stated(DEAD_LETTER)):
            for one in stated.own_entries() or [stated]:
                yield (one.reference or "").rpartition("/")[2]

    @property
    def is_stream(self) -> bool:
        """True when the operation says where its readings go, or that they go nowhere."""
        return any(self.targets) or self.node.at(IGNORED).boolean is True


def check(document: Document, findings: Findings) -> None:
    """Report protocols and actions that are not those of their use."""
    operations = document.root.at("operations").members()
    uses = [_Use(name, node.with_traits(), _servers(node)) for name, node in operations if node.is_mapping]
    named = {target for use in uses for target in use.targets}
    _check_protocols(document, uses, named, findings)
    _check_actions(uses, named, findings)


def _servers(operation: Node) -> list[Node]:
    return [one for one in operation.at("channel", "servers").entries() if one.is_mapping]


def _check_protocols(document: Document, uses: list[_Use], named: set[str], findings: Findings) -> None:
    used = {server.place: "kafka" for use in uses if use.name in named for server in use.servers}
    used |= {server.place: "mqtt" for use in uses if use.is_stream for server in use.servers}
    for name, server in document.root.at("servers").members():
        stated = server.own("protocol")
        family = _family(stated.text or "") or used.get(server.place)
        if protocol(server) != "other" or family is None or not _is_stated(server, "protocol"):
            continue
        message = f"The server {name!r} has the protocol {stated.text!r}, which the gateway does not know."
        if stated.text is None:
            message = f"The server {name!r} has no protocol."
        more = ", and protocolVersion: '5.0'" if family == "mqtt" and "5" in (stated.text or "") else ""
        if stated.text in WEBSOCKET_PROTOCOLS:
            message = f"The server {name!r} has no MQTT binding, so nothing says that its WebSocket carries MQTT."
            more = ", or add bindings: {mqtt: {}}"
        findings.error(stated, message, f"Write {WORDS[family]}{more}.")
        secure = TLS.search(stated.text or "")
        server.value["protocol"] = {"mqtt": "secure-mqtt", "kafka": "kafka-secure"}[family] if secure else family


def _is_stated(node: Node, member: str) -> bool:
    """False when a mapping has a misspelt member instead."""
    return node.is_mapping and (member in node.value or nearest(member, node.value, SIMILAR) is None)


def _family(word: str) -> str | None:
    """`mqtt` or `kafka` when a word resembles a protocol of one of them."""
    if word.lower() in OTHERS:
        return None
    known = dict.fromkeys(MQTT_PROTOCOLS, "mqtt") | dict.fromkeys(KAFKA_PROTOCOLS, "kafka")
    contained = next((family for family in WORDS if family in word.lower()), None)
    return contained or known.get(nearest(word, known, SIMILAR) or "")


def _check_actions(uses: list[_Use], named: set[str], findings: Findings) -> None:
    on = {use.name: {protocol(server) for server in use.servers} for use in uses}
    receives = any(use.node.at("action").text == "receive" and on[use.name] == {"mqtt"} for use in uses)
    for use in uses:
        stated = use.node.own("action")
        if stated.text not in ACTIONS or not _is_stated(use.node, "action"):
            continue  # reported as a violation of the specification
        if on[use.name] == {"mqtt"} and stated.text != "receive":
            if use.is_stream or not receives or stated.text != "send":
                message = "The devices send to this MQTT channel, so the gateway receives from it."
                _correct(use, stated, "receive", message, findings)
        elif on[use.name] == {"kafka"} and stated.text != "send" and (use.name in named or stated.text != "receive"):
            _correct(use, stated, "send", "The gateway sends to this Kafka channel.", findings)


def _correct(use: _Use, stated: Node, action: str, message: str, findings: Findings) -> None:
    findings.error(stated, message, f"Write action: {action}.")
    use.node.value["action"] = action
