"""Checks the headers that a Kafka message declares against the streams that lead to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.document import quoted
from gateway.contract.headers import OF_READINGS, described, properties
from gateway.contract.mapping import grouped
from gateway.core.codec.keywords import TESTS
from gateway.core.codec.payload_schema import UNENFORCED
from gateway.core.dead_letter import PROPERTIES_HEADER
from gateway.core.headers import OF_PUBLISH, OWN
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.mapping import Mapping as StreamMapping
    from gateway.contract.route import Sending
    from gateway.core.model import MqttServer, Stream

_OLD = "3.1.1"
_RESTRICTING = (TESTS.keys() | UNENFORCED) - {"type"}


def check(mappings: Sequence[StreamMapping], servers: Mapping[str, MqttServer], findings: Findings) -> None:
    """Report headers of Kafka messages that no stream of the mappings has a value for."""
    old = {name for name, server in servers.items() if server.version == _OLD}
    for leading in grouped(mappings, lambda one: one.record_place):
        if (sending := leading[0].sending) is None:
            continue
        for name, node in properties(sending.message).items():
            if name in sending.route.headers and (name not in OF_READINGS or name in OF_PUBLISH.values()):
                _check_source(name, node, leading, old, findings)
                if name in sending.route.required_headers:
                    _check_required(name, leading, old, findings)
        _warn_of_unenforced(sending.message, findings)
    for sharing in grouped(mappings, lambda one: one.message.place):
        _warn_of_unenforced(sharing[0].message, findings)
        _warn_of_not_required(sharing, findings)


def check_dead_letters(stream: Stream, failing: Sending, findings: Findings) -> None:
    """Warn when a stream's dead letters have the properties of their messages as a header that is not declared."""
    if stream.keeps_properties and PROPERTIES_HEADER not in failing.route.headers:
        warning = f"Dead letters have the header {PROPERTIES_HEADER!r}, which is not declared."
        findings.warning(failing.message.at("headers"), warning, "Declare it; it has the MQTT 5 properties for replay.")


def _warn_of_unenforced(message: Node, findings: Findings) -> None:
    """Warn of keywords that restrict the values that devices send."""
    for name, node in properties(message).items():
        restricting = [repr(keyword) for keyword, _ in node.members() if keyword in _RESTRICTING]
        if restricting and name not in OWN - {*OF_PUBLISH.values()}:
            what = " and ".join(restricting)
            text = f"The gateway does not enforce {what} of the header {name!r}: values that violate it pass."
            findings.warning(node, text, "Write it in the description, or put the value into the payload.")


def _warn_of_not_required(sharing: Sequence[StreamMapping], findings: Findings) -> None:
    """Warn of a header that the MQTT message requires, and not the record: only then readings without it pass."""
    records = [one.sending.route.required_headers for one in sharing if one.sending]
    for node in described(sharing[0].message).at("required").entries():
        if any(node.text not in required for required in records):
            text = f"Readings without the header {quoted(node.value)} pass, because the record does not require it."
            findings.warning(node, text, "Write it in `required` of the Kafka message's headers, too.")


def _supplies(mapping: StreamMapping, name: str) -> bool:
    return name in OWN or name in properties(mapping.message)


def _check_source(name: str, node: Node, leading: Sequence[StreamMapping], old: set[str], findings: Findings) -> None:
    """At least one MQTT message declares the header, on a server that has properties."""
    supplying = [one for one in leading if _supplies(one, name)]
    if not supplying:
        known = {*OF_READINGS, *(other for one in leading for other in properties(one.message))}
        fix = "If it is a user property, declare it in the `headers` of the MQTT message."
        message = f"The gateway has no value for the header {name!r}: no MQTT message of its streams declares it."
        findings.error(node, message, suggestion(name, known, 0.8) or fix)
    elif old and old.issuperset(server for one in supplying for server in one.channel.servers):
        warning = f"The header {name!r} is never set: it is an MQTT 5 property, and the server uses {_OLD}."
        findings.warning(node, warning, "Write protocolVersion: '5.0' if the broker supports it, or remove the header.")


def _check_required(name: str, leading: Sequence[StreamMapping], old: set[str], findings: Findings) -> None:
    """Every MQTT message declares the header, on servers that have properties."""
    if not any(_supplies(one, name) for one in leading):
        return
    for one in leading:
        place = one.message.at("headers")
        if not _supplies(one, name):
            message = f"The record requires the header {name!r}, which this message does not declare: "
            fix = "Declare it, or remove it from the Kafka message's `required`."
            findings.error(place, f"{message}all readings would be dead letters.", fix)
        elif not old.isdisjoint(one.channel.servers):
            message = f"The record requires the header {name!r}, but MQTT {_OLD} has no properties: "
            fix = "Remove it from the Kafka message's `required`, or write protocolVersion: '5.0' for the server."
            findings.error(place, f"{message}readings would be dead letters.", fix)
