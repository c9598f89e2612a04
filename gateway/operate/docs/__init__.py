"""The contract as a page for people: one HTML file, or Markdown.

    operations.py                         the document's operations: channel, servers, messages, where they lead
    content.py                            the order of the page
    servers.py  streams.py  topics.py     its sections
    message.py  avro.py  json_schema.py   what a message holds, field by field
    details.py                            bindings, security, tags, extensions: what any part may have
    flow.py                               the diagram
    prose.py                              the contract's own text, and our sentences about it
    blocks.py                             what all these make: headings, tables, facts, listings
    html.py (page.css)  markdown.py       the two that write blocks

What is decided here:

- The page is written by us. asyncapi-viewer was tried: it shows Avro fields and resolves named types, but no unit, no
  `x-source`, `x-location` or `x-forward-to`, and no routing table, and it is a script of 347 kB. The React component is
  one of 3 MB, which shows a type that is used by its name as nothing. A page without a script is a sixth of the smaller
  one, fits the strictest Content-Security-Policy, and prints whole. What is lost is their search (a browser has its
  own) and folding. A template language lost as well: the page would be written twice, once for each format.
- Content is made once, as blocks; so HTML and Markdown say the same.
- Everything is read from the document, not from `contract.model`: what the gateway does not need to run, such as
  titles, descriptions and bindings it leaves alone, is what people want to read. What no section knows is shown as the
  document has it, so nothing is left out.
- Only contracts that were found right are shown, so the sections need not ask whether a reference leads somewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.page import html
from gateway.page import markdown as markdown_writer
from gateway.page.page import Page

if TYPE_CHECKING:
    from gateway.contract.document import Document
    from gateway.page.blocks import Block


def page(document: Document) -> Page:
    """Write a contract as one HTML file that loads nothing.

    Args:
        document: of a contract that `contract.read` accepts.

    Returns:
        The page.
    """
    return Page(html.write(_content(document)), html.STYLE_SOURCE)


def markdown(document: Document) -> str:
    """Write a contract as Markdown, in GitHub's dialect: tables, and a diagram in Mermaid.

    Args:
        document: of a contract that `contract.read` accepts.

    Returns:
        The text.
    """
    return markdown_writer.write(_content(document))


def _content(document: Document) -> list[Block]:
    from gateway.operate.docs.content import content  # noqa: PLC0415 - a gateway's status page needs no more than html.py

    return content(document)
