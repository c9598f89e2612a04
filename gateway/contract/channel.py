"""Channels: their servers, their address, and the parameters of the address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.document import ReferenceFault, quoted
from gateway.contract.server import protocol
from gateway.core.address import Address, AddressError
from gateway.documents.spelling import nearest

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings

MULTI_LEVEL = "x-multi-level"
PARAMETER = re.compile(r"\{([^{}/]+)\}")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel with its servers looked up."""

    name: str  # its key in the document
    node: Node
    servers: tuple[str, ...]  # names of its servers
    protocol: str  # `mqtt`, `kafka` or `other`; `unknown` when its servers are invalid


def referred(node: Node, section: str, findings: Findings) -> str | None:
    """The key of a channel, server or operation that a reference, not followed, names.

    None when it leads to something outside the section; `references.py` reports references that lead nowhere.
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
    names = [referred(one, "servers", findings) for one in stated.own_entries()] or list(known)
    servers = tuple(one for one in names if one in known)
    protocols = {protocol(known[one]) for one in servers}
    if len(protocols) > 1:
        place, what = (
            (stated, "has servers") if stated.entries() else (node, "lists no servers, and the document has some")
        )
        fix = "Write `servers: [{$ref: '#/servers/...'}]` with the servers of one protocol."
        findings.error(place, f"The channel {what} of different protocols.", fix)
    return Channel(name, node, servers, protocols.pop() if len(protocols) == 1 else "unknown")


def address(one: Channel, findings: Findings) -> Address | None:
    """The address of an MQTT channel; None when MQTT cannot subscribe to it."""
    stated = one.node.at("address")
    if stated.text is None:
        findings.error(stated, "The channel has no address.", "Write the MQTT topic, with {parameters} for its levels.")
        return None
    try:
        parsed = Address.parse(stated.text, _multi_level(one.node.at("parameters"), findings))
    except AddressError as error:
        fix = "Write levels of plain text, each with one {parameter} at most, joined by /."
        findings.error(stated, f"No MQTT subscription can express this address: {error}.", fix)
        return None
    if any(level.name is None and level.before.strip() != (level.before or " ") for level in parsed.levels):
        message = "A level of the address is empty, or begins or ends with a space. MQTT takes it literally."
        findings.warning(stated, message, "Remove the slash or space, unless devices publish with it.")
    for name in parsed.names:
        allowed = one.node.at("parameters", name, "enum")
        if not allowed.is_absent:
            message = "The subscription receives every value of the parameter, not only those of `enum`."
            findings.warning(allowed, message, "To exclude other values, write a channel for each value.")
    return parsed


def _multi_level(parameters: Node, findings: Findings) -> list[str]:
    """The parameters that take several levels of a topic."""
    return [name for name, node in parameters.members() if findings.switch(node.at(MULTI_LEVEL))]


def check_parameters(document: Document, findings: Findings) -> None:
    """Report parameters that are only in the address or only under `parameters`."""
    for _, node in document.root.at("channels").members():
        _check_names(node.at("address"), node.at("parameters"), findings)
        for _, one in node.at("parameters").members():
            _check_values(one, "+#" if one.at(MULTI_LEVEL).boolean else "/+#", findings)


def _check_names(stated: Node, parameters: Node, findings: Findings) -> None:
    used = PARAMETER.findall(stated.text or "")
    unused = [name for name, _ in parameters.members() if name not in used] if stated.text else []
    missing = [name for name in dict.fromkeys(used) if parameters.own(name).is_absent]
    for name, other in _renamed(missing, unused).items():
        message = f"The address {stated.text!r} has the parameter {name!r}, not {other!r}."
        findings.error(parameters.own(other), message, f"Rename it to {name!r}.")
        parameters.correct(other, name)
    for name in missing:
        message = f"The parameter {name!r} of the address is not in `parameters`."
        findings.error(stated, message, "Add it to `parameters`.")
    for name in unused:
        findings.error(parameters.own(name), f"The address {stated.text!r} has no {{{name}}}.", "Remove it.")


def _renamed(missing: list[str], unused: list[str]) -> dict[str, str]:
    """Take the pairs out of both lists that are one parameter, renamed in the address only."""
    pairs = {}
    for name in list(missing):
        if other := nearest(name, unused) or (unused[0] if len(missing) == len(unused) == 1 else None):
            pairs[name] = other
            missing.remove(name)
            unused.remove(other)
    return pairs


def _check_values(parameter: Node, forbidden: str, findings: Findings) -> None:
    """The default, examples and enum of a parameter must be levels of a topic, and in the enum if there is one."""
    allowed = [one.text for one in parameter.at("enum").entries()]
    for one in (parameter.at("default"), *parameter.at("examples").entries(), *parameter.at("enum").entries()):
        if one.text is not None and (not one.text or set(one.text) & set(forbidden)):
            fix = f"Write one level, without {' '.join(forbidden)}."
            findings.error(one, f"{quoted(one.value)} cannot be a level of a topic.", fix)
        elif one.text is not None and allowed and one.text not in allowed:
            fix = f"Use {', '.join(map(str, allowed))}."
            findings.error(one, f"{quoted(one.value)} is not one of the values in `enum`.", fix)
