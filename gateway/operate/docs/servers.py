"""The chapter about servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.docs.details import facts, plain
from gateway.operate.docs.message import summary
from gateway.operate.docs.prose import phrase, rest, sentence, value
from gateway.page.blocks import Block, Code, Heading, Paragraph, Phrase

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node

_TOLD = {"host", "protocol", "protocolVersion", "pathname", "variables"}


def servers(document: Document) -> list[Block]:
    """Tell all servers."""
    found: list[Block] = [Heading(2, "Servers", "servers")]
    for name, node in document.root.at("servers").members():
        found += [Heading(3, name, f"server-{name}", is_code=True), *_server(node)]
    return found


def _server(node: Node) -> list[Block]:
    title = phrase(node.at("title").text)
    protocol = sentence(value(node.at("protocol").value), phrase(node.at("protocolVersion").text))
    host = f"{node.at('host').text}{node.at('pathname').text or ''}"
    rows: list[tuple[str, Phrase]] = [("host", (Code(host),)), ("protocol", protocol)]
    rows += [(f"variable {name}", _variable(one)) for name, one in node.at("variables").members()]
    lead: list[Block] = [Paragraph(title)] if title else []
    return [*lead, *summary(node), *facts(node, _TOLD, rows)]


def _variable(node: Node) -> Phrase:
    others = {key: plain(one) for key, one in node.members()}
    return sentence(phrase(node.at("description").text), rest(others, frozenset({"description"})))
