"""The sections about servers, streams (MQTT) and topics (Kafka)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.channel import MULTI_LEVEL
from gateway.contract.message import DEAD_LETTER, FORWARD, IGNORED
from gateway.contract.records import RECORDS
from gateway.core.record_path import leads_to_several
from gateway.operate.docs.details import facts, plain
from gateway.operate.docs.expressions import dated_by, keyed_by, place
from gateway.operate.docs.message import elements, message, summary
from gateway.operate.docs.prose import phrase, rest, sentence, value
from gateway.page.blocks import Block, Bullets, Code, Heading, Link, Paragraph, Phrase, Table, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node
    from gateway.operate.docs.operations import Operation

_SERVER_SHOWN = {"host", "protocol", "protocolVersion", "pathname", "variables"}
_CHANNEL_SHOWN = {"address", "servers", "messages", "parameters"}
_OPERATION_SHOWN = {"action", "channel", "messages", FORWARD, DEAD_LETTER, IGNORED}
_PARAMETER_HEADS = ("Topic level", "Meaning", "Also in the payload at", "Examples")
_PARAMETERS_NOTE = (
    "If the payload lacks a member that the topic states, the gateway fills it in. If the two differ, the reading is "
    "rejected."
)
_MESSAGES_NOTE = "A payload must fit exactly one of the messages below; if it fits none, the reading is invalid."
_ARRAY_NOTE = "A message is an array of readings. Each becomes a record; if one of them is invalid, the message is."
_RECORDS_NOTE = " in a message becomes a record; if one of them is invalid, the message is."
_RECORD_NOTE = " in a message becomes the record."


def server(name: str, node: Node) -> list[Block]:
    """Describe a server."""
    title = phrase(node.at("title").text)
    protocol = sentence(value(node.at("protocol").value), phrase(node.at("protocolVersion").text))
    rows: list[tuple[str, Phrase]] = [
        ("host", (Code(f"{node.at('host').text}{node.at('pathname').text or ''}"),)),
        ("protocol", protocol),
        *((f"variable {key}", described(one)) for key, one in node.at("variables").members()),
    ]
    lead: list[Block] = [Heading(3, name, f"server-{name}", is_code=True), *([Paragraph(title)] if title else [])]
    return [*lead, *summary(node), *facts(node, _SERVER_SHOWN, rows)]


def stream(operation: Operation) -> list[Block]:
    """Describe an operation that receives over MQTT."""
    return _operation(operation, operation.name, _stream_routes(operation), _parameters(operation.channel))


def ignored(operation: Operation) -> list[Block]:
    """Describe an operation whose messages are dropped."""
    routes = iter(
        [("Messages to ", Code(operation.address), " on ", *server_links(operation), " are dropped and counted.")]
    )
    return _operation(operation, operation.name, routes, _parameters(operation.channel))


def topic(operation: Operation) -> list[Block]:
    """Describe an operation that sends to Kafka."""
    return _operation(operation, operation.address, _topic_routes(operation), [])


def _operation(operation: Operation, heading: str, routes: Iterator[Phrase], parameters: list[Block]) -> list[Block]:
    node, channel = operation.node, operation.channel
    titles = dict.fromkeys(title for one in (node, channel) if (title := one.at("title").text))
    default = operation.document.root.at("defaultContentType").text or ""
    return [
        Heading(3, heading, operation.anchor, is_code=True),
        *(Paragraph(phrase(title)) for title in titles),
        *summary(node),
        *summary(channel),
        Bullets(tuple(routes)),
        *parameters,
        *facts(node, _OPERATION_SHOWN),
        *facts(channel, _CHANNEL_SHOWN),
        *(block for one in operation.messages for block in message(one, default, _target(operation, one))),
    ]


def _target(operation: Operation, one: Node) -> Phrase:
    """Where the readings of a message go, if that is not where all of the operation go."""
    if one.at(IGNORED).boolean:
        return ("are dropped and counted",)
    targets = operation.message_targets(one)
    return () if targets == operation.targets(FORWARD) else ("go to ", *links(targets))


def server_links(operation: Operation) -> Phrase:
    """Links to the servers of an operation."""
    return joined([(Link(name, f"#server-{name}", is_code=True),) for name in operation.servers])


def links(operations: list[Operation], *, by_name: bool = False) -> Phrase:
    """Links to operations, shown by their address or by their name."""
    shown = [(one.name if by_name else one.address, f"#{one.anchor}") for one in operations]
    return joined([(Link(text, target, is_code=True),) for text, target in shown])


def key(operation: Operation) -> Phrase:
    """Say what the key of a record is."""
    keys = [one for one in _keys(operation) if not one.at("x-location").is_absent]
    return joined([_place(one) for one in keys])


def described(node: Node, *shown: str) -> Phrase:
    """The description of a part, and its members that are not shown elsewhere."""
    members = {key: plain(one) for key, one in node.members()}
    return sentence(phrase(node.at("description").text), rest(members, {"description", *shown}))


def _stream_routes(operation: Operation) -> Iterator[Phrase]:
    qos = operation.node.at("bindings", "mqtt", "qos")
    with_qos = "" if qos.is_absent else f" with QoS {qos.value}"
    yield ("Received from ", Code(operation.address), " on ", *server_links(operation), f"{with_qos}.")
    yield ("Valid readings go to ", *links(operation.targets(FORWARD)), ".")
    yield ("Invalid readings go, unchanged, to ", *links(operation.targets(DEAD_LETTER)), ".")
    if len(operation.messages) > 1:
        yield (_MESSAGES_NOTE,)
    for one in operation.messages:
        if not one.at(RECORDS).is_absent:
            several = "Each of " * leads_to_several(str(one.at(RECORDS).value))
            yield (several, *place(one.at(RECORDS).value), _RECORDS_NOTE if several else _RECORD_NOTE)
        elif elements(one.at("payload")):
            yield (_ARRAY_NOTE,)


def _topic_routes(operation: Operation) -> Iterator[Phrase]:
    yield ("Sent by ", Code(operation.name), " to ", *server_links(operation), ".")
    address = operation.channel.at("address").text
    if address and address != operation.address:
        yield ("The channel's address is ", Code(address), ".")
    for name, node in operation.channel.at("parameters").members():
        values = [value(one.value) for one in node.at("enum").entries()]
        chooses = ("The parameter ", Code(name), " of the MQTT topic chooses the topic: ", *joined(values, " or "), ".")
        yield sentence(chooses, described(node, "enum"))
    for extension, lead in ((FORWARD, "Valid readings come from "), (DEAD_LETTER, "Invalid readings come from ")):
        if sources := operation.sources(extension):
            yield (lead, *links(sources, by_name=True), ".")
    for one in _keys(operation):
        if one.is_mapping:
            yield _keyed(one)
    for one in operation.messages:
        if not one.at("x-timestamp").is_absent:
            yield dated_by(one.at("x-timestamp").value)


def _keys(operation: Operation) -> list[Node]:
    return [one.at("bindings", "kafka", "key") for one in operation.messages]


def _keyed(node: Node) -> Phrase:
    lead = () if node.at("x-location").is_absent else (*_place(node), ";")
    known = described(node, "x-location", "x-separator")
    return sentence(("Keyed by",), lead, ("records with the same key stay in order.",), known)


def _place(key: Node) -> Phrase:
    separator = key.at("x-separator")
    return keyed_by(key.at("x-location").value, None if separator.is_absent else separator.value)


def _parameters(channel: Node) -> list[Block]:
    rows = tuple(_parameter(name, node) for name, node in channel.at("parameters").members())
    return [Table("Topic levels", _PARAMETER_HEADS, rows), Paragraph((_PARAMETERS_NOTE,))] if rows else []


def _parameter(name: str, node: Node) -> tuple[Phrase, ...]:
    location = node.at("location")
    examples = joined([value(one.value) for one in node.at("examples").entries()])
    several = ("Several levels.",) if node.at(MULTI_LEVEL).boolean else ()
    meaning = sentence(several, described(node, "location", "examples", MULTI_LEVEL))
    return (Code(name),), meaning, () if location.is_absent else place(location.value), examples
