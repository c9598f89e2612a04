"""The chapters about Kafka: the topics that readings and dead letters go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.docs.details import facts, plain
from gateway.operate.docs.expressions import dated_by, keyed_by
from gateway.operate.docs.message import message
from gateway.operate.docs.operations import DEAD_LETTER, FORWARD
from gateway.operate.docs.prose import phrase, rest, sentence
from gateway.operate.docs.streams import CHANNEL_TOLD, OPERATION_TOLD, servers_of, titles
from gateway.page.blocks import Block, Bullets, Code, Heading, Link, Phrase, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.document import Node
    from gateway.operate.docs.operations import Operation

_KEY_TOLD = frozenset({"description", "x-location"})


def topic(operation: Operation, everyone: Mapping[str, Operation], content_type: str) -> list[Block]:
    """Tell a send operation.

    Args:
        operation: that sends to Kafka.
        everyone: all operations, by name.
        content_type: of messages that state none.
    """
    found: list[Block] = [Heading(3, operation.address, operation.anchor, is_code=True), *titles(operation)]
    found.append(Bullets(tuple(_way(operation, everyone))))
    found += [*facts(operation.node, OPERATION_TOLD), *facts(operation.channel, CHANNEL_TOLD)]
    for one in operation.messages:
        found += message(one, fallback=content_type)
    return found


def key(operation: Operation) -> Phrase:
    """Say what a record is keyed by."""
    found = [keyed_by(one.at("x-location").value) for one in _keys(operation) if not one.at("x-location").is_absent]
    return joined(found)


def _keys(operation: Operation) -> list[Node]:
    return [one.at("bindings", "kafka", "key") for one in operation.messages]


def _way(operation: Operation, everyone: Mapping[str, Operation]) -> list[Phrase]:
    found: list[Phrase] = [("Sent by ", Code(operation.name), " to ", *servers_of(operation), ".")]
    address = operation.channel.at("address").text
    if address and address != operation.address:
        found.append(("The channel's address is ", Code(address), "."))
    for extension, what in ((FORWARD, "Readings come from "), (DEAD_LETTER, "Readings that did not fit come from ")):
        origins = [one for one in everyone.values() if operation.name in one.leads_to(extension)]
        if origins:
            found.append((what, *joined([(Link(one.name, f"#{one.anchor}", is_code=True),) for one in origins]), "."))
    found += [_keyed(one) for one in _keys(operation) if one.is_mapping]
    stated = [one.at("x-timestamp") for one in operation.messages]
    return [*found, *(dated_by(one.value) for one in stated if not one.is_absent)]


def _keyed(node: Node) -> Phrase:
    location = node.at("x-location")
    lead = (*keyed_by(location.value), ";") if not location.is_absent else ()
    others = {name: plain(one) for name, one in node.members()}
    told = sentence(("Keyed by",), lead, ("records with the same key keep their order.",))
    return sentence(told, phrase(node.at("description").text), rest(others, _KEY_TOLD))
