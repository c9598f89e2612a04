"""The chapter about streams: what the gateway takes in over MQTT, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.docs.details import facts, plain
from gateway.operate.docs.expressions import place
from gateway.operate.docs.message import elements, message, summary
from gateway.operate.docs.operations import DEAD_LETTER, FORWARD
from gateway.operate.docs.prose import phrase, rest, sentence, value
from gateway.page.blocks import Block, Bullets, Code, Heading, Link, Paragraph, Phrase, Table, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.document import Node
    from gateway.operate.docs.operations import Operation

CHANNEL_TOLD = {"address", "servers", "messages", "parameters"}
OPERATION_TOLD = {"action", "channel", "messages", FORWARD, DEAD_LETTER}
_EACH = ("A message is an array of readings: each becomes a record, or the message as a whole does not fit.",)
_PARAMETER_HEADS = ("Level of the topic", "Meaning", "Also in the payload at", "Examples")
_PARAMETER_TOLD = frozenset({"description", "location", "examples"})


def stream(operation: Operation, everyone: Mapping[str, Operation], content_type: str) -> list[Block]:
    """Tell a receive operation.

    Args:
        operation: that receives on MQTT.
        everyone: all operations, by name.
        content_type: of messages that state none.
    """
    found: list[Block] = [Heading(3, operation.name, operation.anchor, is_code=True), *titles(operation)]
    found += [Bullets(tuple(_way(operation, everyone))), *_parameters(operation.channel)]
    found += [*facts(operation.node, OPERATION_TOLD), *facts(operation.channel, CHANNEL_TOLD)]
    for one in operation.messages:
        found += message(one, fallback=content_type)
    return found


def titles(operation: Operation) -> list[Block]:
    """Titles, summaries and descriptions of an operation and its channel."""
    own, around = operation.node.at("title").text, operation.channel.at("title").text
    found: list[Block] = [Paragraph(phrase(one)) for one in dict.fromkeys((own, around)) if one]
    return [*found, *summary(operation.node), *summary(operation.channel)]


def servers_of(operation: Operation) -> Phrase:
    """Links to the servers of an operation."""
    return joined([(Link(name, f"#server-{name}", is_code=True),) for name in operation.servers])


def links(names: list[str], everyone: Mapping[str, Operation]) -> Phrase:
    """Links to topics, by the operations that send there."""
    return joined([(Link(everyone[name].address, f"#{everyone[name].anchor}", is_code=True),) for name in names])


def _way(operation: Operation, everyone: Mapping[str, Operation]) -> list[Phrase]:
    forward, failing = operation.leads_to(FORWARD), operation.leads_to(DEAD_LETTER)
    qos = operation.node.at("bindings", "mqtt", "qos")
    at = "" if qos.is_absent else f" with QoS {qos.value}"
    return [
        ("Taken in from ", Code(operation.address), " on ", *servers_of(operation), f"{at}."),
        ("A reading that fits its schema is forwarded to ", *links(forward, everyone), "."),
        ("A reading that does not fit goes, as it came, to ", *links(failing, everyone), "."),
        *([_EACH] if any(elements(one.at("payload")) for one in operation.messages) else []),
    ]


def _parameters(channel: Node) -> list[Block]:
    rows = tuple(_parameter(name, node) for name, node in channel.at("parameters").members())
    if not rows:
        return []
    told = (
        "A member of the payload that the topic says too is filled in when it is left out, and the reading is refused "
        "when the two differ."
    )
    return [Table("Levels of the topic", _PARAMETER_HEADS, rows), Paragraph((told,))]


def _parameter(name: str, node: Node) -> tuple[Phrase, ...]:
    others = {key: plain(one) for key, one in node.members()}
    meaning = sentence(phrase(node.at("description").text), rest(others, _PARAMETER_TOLD))
    location = node.at("location")
    examples = joined([value(one.value) for one in node.at("examples").entries()])
    return (Code(name),), meaning, () if location.is_absent else place(location.value), examples
