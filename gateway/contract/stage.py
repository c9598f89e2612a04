"""The part of a contract that one installation runs: the servers that it uses, and the streams between them.

A contract may have the servers of several stages, such as production and staging. `use_servers` in gateway.yaml chooses
some. What leads only to others is removed from the document in memory, after the whole document was checked against the
specification, so that nothing that follows knows of it: neither checks, nor streams, topics and documentation.

A contract that is checked without a gateway.yaml is that of all stages. Each of its Kafka servers makes one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.document import ReferenceFault
from gateway.contract.message import DEAD_LETTER, forwards
from gateway.contract.server import protocol
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings
    from gateway.core.model import Choice


def stages(document: Document) -> list[list[str]]:
    """The servers of each stage, of a document that has several: a Kafka server, and all that are not Kafka servers.

    A Kafka server that no channel names makes no stage.
    """
    kafka, others = _servers(document, "kafka"), [*_servers(document, "mqtt"), *_servers(document, "other")]
    channels = document.root.at("channels").members()
    named = {_name(one) for _, node in channels for one in node.at("servers").own_entries()}
    has_stages = len(kafka) > 1 and bool(_servers(document, "mqtt")) and named.issuperset(kafka)
    return [[*others, one] for one in kafka] if has_stages else []


def choose(document: Document) -> tuple[Node, str, str]:
    """The finding of a document with several Kafka servers: the place, what is wrong, and how to choose one."""
    kafka = _servers(document, "kafka")
    sample = ", ".join([*_servers(document, "mqtt")[:1], kafka[0]])
    message = f"The contract has more than one Kafka server: {', '.join(kafka)}."
    fix = (
        f"Name the servers of an installation in its gateway.yaml, as in `use_servers: [{sample}]`; "
        "or write the hosts of one cluster in one server, separated by commas."
    )
    return document.root.at("servers").own(kafka[1]), message, fix


def is_valid(document: Document, choice: Choice, findings: Findings) -> bool:
    """Report a choice that names what is no server of the document, or with which no gateway can run."""
    known = [*_servers(document, "mqtt"), *_servers(document, "kafka")]
    unknown = [name for name in choice.servers if name not in known]
    for name in unknown:
        fix = suggestion(name, known) or f"Known names are {', '.join(known)}."
        findings.add(replace(choice.place, message=f"The contract has no server {name!r}.", fix=fix))
    missing = []
    for family, word in {"mqtt": "MQTT", "kafka": "Kafka"}.items():
        candidates = _servers(document, family)
        if candidates and not set(candidates) & set(choice.servers) and not unknown:
            missing.append(word)
            message = f"This names no {word} server of the contract."
            findings.add(replace(choice.place, message=message, fix=f"Add {' or '.join(candidates)}."))
    return not unknown and not missing


def reduce(document: Document, chosen: Collection[str], findings: Findings) -> frozenset[str]:
    """Remove all servers but the chosen ones, and what leads only to others; gives the names of what was removed."""
    root = document.root
    servers, channels, operations = (root.at(section) for section in ("servers", "channels", "operations"))
    gone_servers = {name for name, _ in servers.members() if name not in chosen}
    gone_channels = {name for name, node in channels.members() if _leaves(node.at("servers"), gone_servers)}
    gone = {name for name, node in operations.members() if _name(node.own("channel")) in gone_channels}
    for name, node in operations.members():
        operation = node.with_traits()
        forward = forwards(operation)
        leaving = [one for one in forward if _leaves(one, gone)]
        if leaving and len(leaving) == len(forward):
            gone.add(name)
        elif name not in gone:
            dead_letters = operation.stated(DEAD_LETTER)
            for one in (*leaving, *([dead_letters] if _leaves(dead_letters, gone) else ())):
                message = f"{one.tokens[-1]} leads only to servers that this installation does not use."
                findings.error(one, message, "Name a send operation to the Kafka server in use.")
    for section, names in ((servers, gone_servers), (channels, gone_channels), (operations, gone)):
        for name in names:
            del section.value[name]
    return frozenset(gone_servers | gone)


def drop_idle(document: Document, used: set[str]) -> frozenset[str]:
    """Remove those of the used servers that no operation uses any more; gives their names."""
    servers = document.root.at("servers").value
    idle = frozenset(name for name in used - servers_in_use(document) if name in servers)
    for name in idle:
        del servers[name]
    return idle


def servers_in_use(document: Document) -> set[str]:
    """The servers of the channels that operations have."""
    operations = document.root.at("operations").members()
    return {_name(one) for _, node in operations for one in node.at("channel", "servers").own_entries()}


def _leaves(references: Node, gone: Collection[str]) -> bool:
    """Remove references to what is gone from a list; True when none is left, or a single one leads there."""
    if not isinstance(references.value, list):
        return _name(references) in gone
    kept = [one.value for one in references.own_entries() if _name(one) not in gone]
    if not kept:
        return bool(references.value)
    references.value[:] = kept
    return False


def _name(reference: Node) -> str:
    """The key of the channel, server or operation that a reference leads to."""
    try:
        return reference.hop().tokens[-1] if reference.reference is not None else ""
    except (ReferenceFault, IndexError):
        return ""  # reported by `references.py`


def _servers(document: Document, family: str) -> list[str]:
    return [name for name, node in document.root.at("servers").members() if protocol(node) == family]
