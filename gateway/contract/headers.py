"""Headers: which the Kafka message declares, and whether the MQTT messages that lead there can fill them in.

`core/headers.py` says where each header comes from. A user property is named on both sides, as a member of the payload
is: a device sends it, so the MQTT message declares it; a record has it, so the Kafka message does. To take any name for
that of a user property lost: a slip of the pen would be a header that is never there, and nobody would be told.

MQTT 3.1.1 has no properties. What can come over no other server is a warning, or an error where it is required.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.contract.document import ABSENT
from gateway.contract.findings import proposal
from gateway.core.codec.framing import SCHEMA_ID_HEADER
from gateway.core.dead_letter import PROPERTIES_HEADER, QOS_HEADER, RETAIN_HEADER, TIME_HEADER, TOPIC_HEADER
from gateway.core.headers import OWN

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

OF_READINGS = OWN | {SCHEMA_ID_HEADER}
OF_DEAD_LETTERS = frozenset({
    TOPIC_HEADER, QOS_HEADER, RETAIN_HEADER, TIME_HEADER, "error.reason", "error.pointer", "error.detail",
    "error.operation", "payload.size", "payload.sha256",
})  # fmt: skip
# Beginnings of names that are ours to give.
RESERVED = ("mqtt.", "gateway.", "error.", "payload.", "dead_letter.", "__")
_OLD = "3.1.1"


def described(message: Node) -> Node:
    """The schema of a message's headers."""
    headers = message.at("headers")
    return headers.at("schema") if headers.is_mapping and "schema" in headers.value else headers


def properties(message: Node) -> dict[str, Node]:
    """The headers that a message declares."""
    return dict(described(message).at("properties").members())


def required(message: Node) -> frozenset[str]:
    """The headers that a message must have."""
    return frozenset(one.text for one in described(message).at("required").entries() if one.text is not None)


def of_readings(message: Node, findings: Findings) -> frozenset[str]:
    """Read the headers of a Kafka message; whether somebody fills them in, `check` finds out.

    Args:
        message: with its traits.
        findings: told of names that can be nobody's.

    Returns:
        Their names.
    """
    names = properties(message)
    foreign = {name for name in names if name not in OF_READINGS and not name.startswith(RESERVED)}
    return _declared(message, OF_READINGS | foreign, findings)


def of_dead_letters(message: Node, findings: Findings) -> frozenset[str]:
    """Read the headers of the message of dead letters.

    Args:
        message: with its traits.
        findings: told of names that the gateway has no value for, and of those that it writes and nobody declares.

    Returns:
        Their names.
    """
    declared = _declared(message, OF_DEAD_LETTERS | {PROPERTIES_HEADER}, findings)
    if missing := ", ".join(sorted(OF_DEAD_LETTERS - declared)):
        told = f"Dead letters have headers that are not declared: {missing}."
        findings.warning(message.at("headers"), told, "Add them.")
    return declared


def _declared(message: Node, known: frozenset[str], findings: Findings) -> frozenset[str]:
    names = properties(message)
    ours = sorted(known - (names.keys() - OF_READINGS - OF_DEAD_LETTERS))
    for name, node in names.items():
        if name not in known:
            fix = proposal(name, known) or f"It can write {', '.join(ours)}."
            findings.error(node, f"The gateway has no value for the header {name!r}.", fix)
        elif node.at("type").value not in (ABSENT, "string"):
            findings.error(node.at("type"), f"The header {name!r} is text.", "Write type: string.")
    for one in described(message).at("required").entries():
        if one.text is not None and one.text not in known:
            fix = f"It can write {', '.join(ours)}."
            findings.error(one, f"The header {one.text!r} is required, and the gateway has no value for it.", fix)
    return known & names.keys()


def example_texts(message: Node) -> tuple[dict[str, str], ...]:
    """The user properties that a message's examples show, a mapping for each example that has some."""
    names = properties(message).keys() - OWN
    found = [one.own("headers") for one in message.at("examples").entries()]
    shown = [{name: _text(one) for name, one in each.members() if name in names} for each in found]
    return tuple(texts for texts in shown if texts)


def _text(node: Node) -> str:
    return json.dumps(node.value, ensure_ascii=False) if node.text is None else node.text
