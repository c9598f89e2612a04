"""The order of the page: the contract, its routes at a glance, then every part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.message import DEAD_LETTER, FORWARD
from gateway.operate.docs.details import facts, link
from gateway.operate.docs.message import record, summary
from gateway.operate.docs.operations import operations
from gateway.operate.docs.sections import ignored, key, links, server, server_links, stream, topic
from gateway.page.blocks import Block, Box, Code, Flow, Heading, Paragraph, Phrase, Table, joined

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node
    from gateway.operate.docs.operations import Operation
    from gateway.page.blocks import Inline

_ROUTING_HEADS = ("Stream", "MQTT channel", "Broker", "Schema", "Kafka topic", "Key", "Dead letters")
_INFO_SHOWN = {"version", "license", "contact", "termsOfService"}


def content(document: Document) -> list[Block]:
    """Make the blocks of the page for a valid contract; the first is a heading of level 1."""
    every = operations(document)
    streams = [one for one in every if one.targets(FORWARD)]
    dead_letters = _distinct(streams, DEAD_LETTER)
    dropped = [one for one in every if one.is_ignored]
    sending = [one for one in every if one not in streams and one not in dead_letters and one not in dropped]
    elsewhere = [one for one in sending if not one.uses("kafka")]
    servers = document.root.at("servers").members()
    page = [
        *_title(document.root),
        Heading(2, "Routes of the readings", "routes"),
        _flow(streams),
        Table("Where every reading goes", _ROUTING_HEADS, tuple(map(_routing, streams))),
        *_chapter("Servers", "servers", [server(name, node) for name, node in servers]),
        *_chapter("Streams", "streams", list(map(stream, streams))),
        *_chapter("Topics", "topics", [topic(one) for one in sending if one not in elsewhere]),
        *_chapter("Dead letters", "dead-letters", list(map(topic, dead_letters))),
    ]
    if dropped:
        page += _chapter("Ignored messages", "ignored", list(map(ignored, dropped)))
    if elsewhere:
        note: list[Block] = [Paragraph(("The gateway does not use these.",))]
        page += _chapter("Other operations", "other", [note, *map(topic, elsewhere)])
    return page


def _distinct(streams: list[Operation], extension: str) -> list[Operation]:
    return list(dict.fromkeys(target for one in streams for target in one.targets(extension)))


def _chapter(title: str, anchor: str, sections: list[list[Block]]) -> list[Block]:
    return [Heading(2, title, anchor), *(block for section in sections for block in section)]


def _title(root: Node) -> list[Block]:
    info = root.at("info")
    rows: list[tuple[str, Phrase]] = [("version", (Code(str(info.at("version").value)),))]
    rows += [(name, (Code(text),)) for name in ("id", "defaultContentType") if (text := root.at(name).text)]
    rows += [(name, _person(info.at(name))) for name in ("license", "contact") if info.at(name).is_mapping]
    terms = info.at("termsOfService").text
    rows += [("terms of service", (link(terms),))] if terms else []
    rows.append(("specification", (f"AsyncAPI {root.at('asyncapi').text}",)))
    return [Heading(1, info.at("title").text or ""), *summary(info), *facts(info, _INFO_SHOWN, rows)]


def _person(node: Node) -> Phrase:
    name, url, mail = (node.at(one).text for one in ("name", "url", "email"))
    parts: list[Inline] = [link(url, name or "") if url else name or ""]
    if mail:
        parts += [" ", link(f"mailto:{mail}")]
    return tuple(parts)


def _flow(streams: list[Operation]) -> Flow:
    dead_letters = _distinct(streams, DEAD_LETTER)
    targets = list(dict.fromkeys([*_distinct(streams, FORWARD), *dead_letters]))
    routes: list[tuple[int, int, str | None]] = []
    for index, one in enumerate(streams):
        routes += [(index, targets.index(target), _schema(target)) for target in one.targets(FORWARD)]
        routes += [(index, targets.index(target), None) for target in one.targets(DEAD_LETTER)]
    notes = ["dead letters" if one in dead_letters else f"keyed by {_plain(key(one))}" for one in targets]
    return Flow(
        tuple(Box(one.address, ", ".join(one.servers)) for one in streams),
        tuple(Box(one.address, note) for one, note in zip(targets, notes, strict=True)),
        tuple(routes),
    )


def _plain(phrase: Phrase) -> str:
    return "".join(one if isinstance(one, str) else one.text for one in phrase)


def _schema(operation: Operation) -> str:
    """The name of the Avro record, without its namespace."""
    records = [record(one) for one in operation.messages]
    return ", ".join(one["name"].rpartition(".")[2] for one in records if one)


def _routing(stream: Operation) -> tuple[Phrase, ...]:
    targets = stream.targets(FORWARD)
    return (
        links([stream], by_name=True),
        (Code(stream.address),),
        server_links(stream),
        joined([(Code(_schema(target)),) for target in targets]),
        links(targets),
        joined([key(target) for target in targets]),
        links(stream.targets(DEAD_LETTER)),
    )
