"""Channels: on which servers, under which address, and what the parameters of the address say twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.document import ReferenceFault
from gateway.contract.findings import proposal
from gateway.contract.server import protocol
from gateway.core.address import Address, AddressError

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings

PARAMETER = re.compile(r"\{([^{}/]+)\}")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel with its servers looked up.

    Args:
        name: its key in the document.
        node: where it stands.
        servers: names of its servers.
        protocol: `mqtt`, `kafka` or `other`; `unknown` when its servers could not be told.
    """

    name: str
    node: Node
    servers: tuple[str, ...]
    protocol: str


def referred(node: Node, section: str, findings: Findings) -> str | None:
    """The key of a channel, server or operation that a reference names.

    Args:
        node: the reference, not followed.
        section: `channels`, `servers` or `operations`.
        findings: told when it leads to something else; what leads nowhere is reported elsewhere.
    """
    if node.reference is None:
        return None
    try:
        target = node.hop()
    except ReferenceFault:
        return None
    if target.source is node.document.root.source and len(target.tokens) == 2 and target.tokens[0] == section:
        return target.tokens[1]
    findings.error(node, f"{node.reference!r} is not among the {section} of the document.", f"Refer to #/{section}/...")
    return None


def channel(document: Document, name: str, findings: Findings) -> Channel:
    """Read a channel and find its servers."""
    node = document.root.at("channels", name)
    known = dict(document.root.at("servers").members())
    stated = node.at("servers")
    if stated.entries():
        names = [referred(stated.own(str(index)), "servers", findings) for index in range(len(stated.entries()))]
    else:
        names = list(known)
    servers = tuple(one for one in names if one in known)
    protocols = {protocol(known[one]) for one in servers}
    if len(protocols) > 1:
        place, what = (stated, "names servers of") if stated.entries() else (node, "names no servers, and there are")
        fix = "Add `servers: [{$ref: '#/servers/...'}]` with those of one protocol."
        findings.error(place, f"The channel {what} different protocols.", fix)
    return Channel(name, node, servers, protocols.pop() if len(protocols) == 1 else "unknown")


def address(one: Channel, findings: Findings) -> Address | None:
    """The address of an MQTT channel, None when there is none that a subscription could use."""
    stated = one.node.at("address")
    if stated.text is None:
        findings.error(stated, "The channel has no address.", "Write the MQTT topic, with {parameters} for its levels.")
        return None
    try:
        found = Address.parse(stated.text)
    except AddressError as error:
        fix = "Write levels of plain text or {parameter}, joined by /."
        findings.error(stated, f"No MQTT subscription can express this address: {error}.", fix)
        return None
    if any(level is not None and level.strip() != (level or " ") for level in found.levels):
        told = "A level of the address is empty, or begins or ends with a space; MQTT takes it literally."
        findings.warning(stated, told, "Remove what is too much, unless devices publish so.")
    for name in found.names:
        allowed = one.node.at("parameters", name, "enum")
        if not allowed.is_absent:
            told = "The subscription takes in every value of the parameter, not only those of `enum`."
            findings.warning(allowed, told, "Write a channel for each value, if others must stay out.")
    return found


def check_parameters(document: Document, findings: Findings) -> None:
    """Report parameters that stand in an address or under `parameters`, but not in both."""
    for _, node in document.root.at("channels").members():
        stated, parameters = node.at("address"), node.at("parameters")
        used, described = PARAMETER.findall(stated.text or ""), [name for name, _ in parameters.members()]
        for name in used:
            if name not in described:
                fix = proposal(name, set(described) - set(used)) or "Describe it under `parameters`."
                findings.error(
                    stated, f"The address has a parameter {name!r} that `parameters` does not describe.", fix
                )
        for name in described:
            if stated.text is not None and name not in used:
                fix = proposal(name, set(used) - set(described)) or "Remove it."
                findings.error(parameters.own(name), f"There is no {{{name}}} in the address {stated.text!r}.", fix)
        for _, one in parameters.members():
            _check_values(one, findings)


def _check_values(parameter: Node, findings: Findings) -> None:
    """What a parameter's default and examples say must be a level of a topic, and among those allowed."""
    allowed = [one.text for one in parameter.at("enum").entries()]
    for one in (parameter.at("default"), *parameter.at("examples").entries(), *parameter.at("enum").entries()):
        if one.text is not None and (not one.text or set(one.text) & set("/+#")):
            findings.error(one, f"{one.text!r} cannot be a level of a topic.", "Write one level, without / + #.")
        elif one.text is not None and allowed and one.text not in allowed:
            findings.error(
                one, f"{one.text!r} is none of the values in `enum`.", f"Use {', '.join(map(str, allowed))}."
            )
