"""Headers: which ones messages declare, and whether the gateway knows them.

`core/headers.py` says where the value of each header comes from. A user property must be declared on both sides: in the
MQTT message, because a device sends it, and in the Kafka message, because a record has it. Rejected: to take every
unknown name for a user property; a misspelt header would then be silently absent.

MQTT 3.1.1 has no properties. A header that cannot come from any other server is a warning, or an error if required.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.document import ABSENT, quoted
from gateway.core.codec.framing import SCHEMA_ID_HEADER
from gateway.core.dead_letter import (
    CLOCK_HEADER,
    PROPERTIES_HEADER,
    QOS_HEADER,
    RETAIN_HEADER,
    TIME_HEADER,
    TOPIC_HEADER,
)
from gateway.core.headers import OWN
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

OF_READINGS = OWN | {SCHEMA_ID_HEADER}
OF_DEAD_LETTERS = frozenset({
    TOPIC_HEADER, QOS_HEADER, RETAIN_HEADER, TIME_HEADER, "error.reason", "error.pointer", "error.detail",
    "error.operation", "payload.size", "payload.sha256",
})  # fmt: skip
# Prefixes that only the gateway uses.
RESERVED = ("mqtt.", "gateway.", "error.", "payload.", "dead_letter.", "__")


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
    """Read the headers of a Kafka message; `header_rules.py` checks whether an MQTT message supplies them."""
    names = properties(message)
    foreign = {name for name in names if name not in OF_READINGS and not name.startswith(RESERVED)}
    return _declared(message, OF_READINGS | foreign, findings)


def of_dead_letters(message: Node, findings: Findings) -> frozenset[str]:
    """Read the headers of the message of dead letters, and warn of those that are not declared."""
    declared = _declared(message, OF_DEAD_LETTERS | {PROPERTIES_HEADER, CLOCK_HEADER}, findings)
    if missing := ", ".join(sorted(OF_DEAD_LETTERS - declared)):
        warning = f"Dead letters have headers that are not declared: {missing}."
        findings.warning(message.at("headers"), warning, "Declare them.")
    return declared


def _declared(message: Node, known: frozenset[str], findings: Findings) -> frozenset[str]:
    names = properties(message)
    ours = f"Remove it, or use one of {', '.join(sorted(known - (names.keys() - OF_READINGS - OF_DEAD_LETTERS)))}."
    for name, node in names.items():
        if name not in known:
            findings.error(node, f"The gateway has no value for the header {name!r}.", suggestion(name, known) or ours)
        elif node.at("type").value not in (ABSENT, "string"):
            findings.error(node.at("type"), f"The header {name!r} must be text.", "Write type: string.")
    for one in described(message).at("required").entries():
        if one.text is not None and one.text not in known:
            findings.error(one, f"The gateway has no value for the required header {quoted(one.value)}.", ours)
    return known & names.keys()


def example_texts(message: Node) -> tuple[dict[str, str], ...]:
    """The user properties in a message's examples: a mapping for each example that has some."""
    names = properties(message).keys() - OWN
    headers = [one.own("headers") for one in message.at("examples").entries()]
    texts = [
        {name: quoted(one.value) if one.text is None else one.text for name, one in each.members() if name in names}
        for each in headers
    ]
    return tuple(each for each in texts if each)
