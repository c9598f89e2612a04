"""The order of the page: what the contract is, the ways at a glance, then every part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.docs.details import facts, link
from gateway.operate.docs.message import record, summary
from gateway.operate.docs.operations import DEAD_LETTER, FORWARD, is_on, operations
from gateway.operate.docs.prose import phrase
from gateway.operate.docs.servers import servers
from gateway.operate.docs.streams import links, servers_of, stream
from gateway.operate.docs.topics import key, topic
from gateway.page.blocks import (
    Block,
    Box,
    Code,
    Flow,
    Heading,
    Inline,
    Link,
    Paragraph,
    Phrase,
    Table,
    joined,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.document import Document, Node
    from gateway.operate.docs.operations import Operation

_ROUTING_HEADS = ("Stream", "MQTT channel", "Broker", "Schema", "Kafka topic", "Key", "Dead letters")
_INFO_TOLD = {"version", "license", "contact", "termsOfService"}


def content(document: Document) -> list[Block]:
    """Put the page together.

    Args:
        document: of a contract that was found right.

    Returns:
        Its blocks, a heading of level 1 first.
    """
    everyone = operations(document)
    streams = [one for one in everyone.values() if one.leads_to(FORWARD)]
    letters = list(dict.fromkeys(name for one in streams for name in one.leads_to(DEAD_LETTER)))
    sending = [one for one in everyone.values() if one not in streams and one.name not in letters]
    content_type = document.root.at("defaultContentType").text or ""
    found = [*_title(document.root), Heading(2, "Ways of the readings", "ways"), _flow(streams, everyone)]
    found += [Table("Where every reading goes", _ROUTING_HEADS, tuple(_routing(streams, everyone))), *servers(document)]
    found.append(Heading(2, "Streams", "streams"))
    for one in streams:
        found += stream(one, everyone, content_type)
    found.append(Heading(2, "Topics", "topics"))
    for one in sending:
        if is_on(document, one, "kafka"):
            found += topic(one, everyone, content_type)
    found.append(Heading(2, "Dead letters", "dead-letters"))
    for name in letters:
        found += topic(everyone[name], everyone, content_type)
    return [*found, *_elsewhere([one for one in sending if not is_on(document, one, "kafka")], everyone, content_type)]


def _title(root: Node) -> list[Block]:
    info = root.at("info")
    rows: list[tuple[str, Phrase]] = [("version", (Code(str(info.at("version").value)),))]
    rows += [(name, (Code(text),)) for name in ("id", "defaultContentType") if (text := root.at(name).text)]
    rows += [(name, _who(info.at(name))) for name in ("license", "contact") if info.at(name).is_mapping]
    terms = info.at("termsOfService").text
    rows += [("terms of service", (link(terms),))] if terms else []
    rows.append(("specification", (f"AsyncAPI {root.at('asyncapi').text}",)))
    return [Heading(1, info.at("title").text or ""), *summary(info), *facts(info, _INFO_TOLD, rows)]


def _who(node: Node) -> Phrase:
    """A licence or a contact."""
    name, url, mail = (node.at(one).text for one in ("name", "url", "email"))
    parts: list[Inline] = [link(url, name or "") if url else name or ""]
    if mail:
        parts += [" ", link(f"mailto:{mail}")]
    return tuple(parts)


def _flow(streams: list[Operation], everyone: Mapping[str, Operation]) -> Flow:
    letters = {name: None for one in streams for name in one.leads_to(DEAD_LETTER)}
    names = [*dict.fromkeys(name for one in streams for name in one.leads_to(FORWARD)), *letters]
    ways: list[tuple[int, int, str | None]] = []
    for index, one in enumerate(streams):
        ways += [(index, names.index(name), _schema(everyone[name])) for name in one.leads_to(FORWARD)]
        ways += [(index, names.index(name), None) for name in one.leads_to(DEAD_LETTER)]
    sources = tuple(Box(one.address, ", ".join(one.servers), one.anchor) for one in streams)
    targets = tuple(_target(everyone[name], is_letter=name in letters) for name in names)
    return Flow(sources, targets, tuple(ways))


def _target(operation: Operation, *, is_letter: bool) -> Box:
    keyed = "".join(one if isinstance(one, str) else one.text for one in key(operation))
    return Box(operation.address, "dead letters" if is_letter else f"keyed by {keyed}", operation.anchor)


def _schema(operation: Operation) -> str:
    """The name of the Avro record, without its namespace."""
    found = [record(one) for one in operation.messages]
    return ", ".join(one["name"].rpartition(".")[2] for one in found if one)


def _routing(streams: list[Operation], everyone: Mapping[str, Operation]) -> list[tuple[Phrase, ...]]:
    rows: list[tuple[Phrase, ...]] = []
    for one in streams:
        forward = one.leads_to(FORWARD)
        targets = [everyone[name] for name in forward]
        rows.append((
            (Link(one.name, f"#{one.anchor}", is_code=True),),
            (Code(one.address),),
            servers_of(one),
            joined([(Code(_schema(target)),) for target in targets]),
            links(forward, everyone),
            joined([key(target) for target in targets]),
            links(one.leads_to(DEAD_LETTER), everyone),
        ))  # fmt: skip
    return rows


def _elsewhere(rest: list[Operation], everyone: Mapping[str, Operation], content_type: str) -> list[Block]:
    """Operations that are no business of the gateway, but are in the document."""
    if not rest:
        return []
    found: list[Block] = [Heading(2, "Other operations", "other")]
    found.append(Paragraph(phrase("The gateway leaves these alone.")))
    for one in rest:
        found += topic(one, everyone, content_type)
    return found
