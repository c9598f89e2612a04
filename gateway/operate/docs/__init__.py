"""The contract as a page for people: one HTML file, or Markdown. `content.py` has the order of the page.

Decisions:

- The page is our own. asyncapi-viewer was tried: it shows Avro fields and resolves named types, but no unit, no
  `x-source`, `x-location` or `x-forward-to` and no routing table, and it is a script of 347 kB. The React component is
  one of 3 MB and shows a type that is used by its name as empty. A page without a script is a sixth of the smaller one,
  fits the strictest Content-Security-Policy and can be printed whole. It has no search (browsers have one) and no
  folding. A template language was rejected: the page would be written twice, once per format.
- The content is made once, as blocks, so HTML and Markdown say the same.
- Everything is read from the document, not from `core/model.py`: readers want titles, descriptions and bindings, which
  the gateway does not need. A member that no section knows is shown as it is in the document; nothing is left out.
- Only valid contracts are shown, so the sections need not check references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.page import html
from gateway.page import markdown as markdown_writer

if TYPE_CHECKING:
    from gateway.contract.document import Document
    from gateway.page.blocks import Block
    from gateway.page.html import Page


def page(document: Document) -> Page:
    """Write a valid contract as one HTML file that loads nothing."""
    return html.write(_content(document))


def markdown(document: Document) -> str:
    """Write a valid contract as GitHub Flavored Markdown with a Mermaid diagram."""
    return markdown_writer.write(_content(document))


def _content(document: Document) -> list[Block]:
    from gateway.operate.docs.content import content  # noqa: PLC0415 - a gateway's status page needs html.py only

    return content(document)
