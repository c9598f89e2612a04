"""Checks of the headers that a Kafka message declares, against the streams that lead to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.findings import proposal
from gateway.contract.headers import _OLD, OF_READINGS, properties
from gateway.core.dead_letter import PROPERTIES_HEADER
from gateway.core.headers import OF_PUBLISH, OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.mapping import Mapping as StreamMapping
    from gateway.contract.route import Sending
    from gateway.core.model import MqttServer, Stream


def check(mappings: Sequence[StreamMapping], servers: Mapping[str, MqttServer], findings: Findings) -> None:
    """Find out whether every header of every Kafka message can be filled in.

    Args:
        mappings: of all streams.
        servers: the MQTT servers, by name.
        findings: told what can not.
    """
    for sending in {id(one.sending): one.sending for one in mappings if one.sending}.values():
        leading = [one for one in mappings if one.sending is sending]
        for name, node in properties(sending.message).items():
            if name in sending.route.headers and (name not in OF_READINGS or name in OF_PUBLISH.values()):
                _check_header(name, node, sending, leading, servers, findings)


def check_dead_letters(stream: Stream, failing: Sending, findings: Findings) -> None:
    """Warn when a stream's dead letters have its messages' properties as a header, and nobody declares it."""
    if stream.keeps_properties and PROPERTIES_HEADER not in failing.route.headers:
        told = f"Dead letters of {stream.name!r} have the header {PROPERTIES_HEADER!r}, which is not declared."
        findings.warning(failing.message.at("headers"), told, "Add it: the MQTT 5 properties, for a replay.")


def _check_header(  # noqa: PLR0913, PLR0917 - a header, what leads to it, and where to complain
    name: str,
    node: Node,
    sending: Sending,
    leading: Sequence[StreamMapping],
    servers: Mapping[str, MqttServer],
    findings: Findings,
) -> None:
    telling = [one for one in leading if name in OWN or name in properties(one.message)]
    if not telling:
        known = {*OF_READINGS, *(other for one in leading for other in properties(one.message))}
        fix = "Declare it in the `headers` of the MQTT message, if it is one of its user properties."
        told = f"The gateway has no value for the header {name!r}: no MQTT message that leads here declares it."
        findings.error(node, told, proposal(name, known, 0.8) or fix)
        return
    old = {name for name, server in servers.items() if server.version == _OLD}
    if old and old.issuperset(name for one in telling for name in one.servers):
        told = f"The header {name!r} is never there: it is an MQTT 5 property, and the server speaks {_OLD}."
        findings.warning(node, told, "Write protocolVersion: '5.0', if the broker speaks it, or remove the header.")
    if name not in sending.route.required_headers:
        return
    for one in leading:
        if one not in telling:
            told = f"The header {name!r}, which the record requires, is not declared: all readings would be refused."
            findings.error(one.message.at("headers"), told, "Declare it, or let the record do without.")
        elif not old.isdisjoint(one.servers):
            told = f"The header {name!r} is required, and MQTT {_OLD} has no properties: readings would be refused."
            fix = "Take it out of the Kafka message's `required`, or write protocolVersion: '5.0' for the server."
            findings.error(one.message.at("headers"), told, fix)
