"""Blocks -> one self-contained HTML file: it loads no script, font or image.

The file states its own Content-Security-Policy, which applies when it is opened from disk: the hash of its one style
sheet is allowed, everything else is forbidden. All text is escaped. The only text that becomes part of a tag is the URL
of a link; whatever makes a `Link` allows known schemes only.

The same HTML serves all screen widths: on a narrow screen, each row of a table becomes a card. Its cells show the head
of their column from `data-head`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from gateway.page import flow
from gateway.page.blocks import Bullets, Code, Facts, Flow, Heading, Link, Listing, Paragraph, Strong, Table
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.page.blocks import Block, Inline, Phrase

STYLE: Final = files("gateway.page").joinpath("page.css").read_text("utf-8")
STYLE_SOURCE: Final = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[/.-])(?=[A-Za-z{])")
_POLICY: Final = f"default-src 'none'; style-src {STYLE_SOURCE}; base-uri 'none'; form-action 'none'"


class Page(NamedTuple):
    """A self-contained HTML page, and the source `'sha256-...'` that its Content-Security-Policy allows for styles."""

    text: str
    style: str


def write(blocks: Sequence[Block]) -> Page:
    """Write a page with a table of contents; the first block is a heading of level 1."""
    return _document(blocks, f'<nav aria-label="Contents">\n{_contents(blocks[1:])}\n</nav>')


def write_live(blocks: Sequence[Block], links: Sequence[Link], refresh_seconds: int) -> Page:
    """Write a page that the browser reloads every few seconds, with links to other pages; `Strong` marks a problem."""
    items = "".join(f"<li>{_inline(link)}</li>" for link in links)
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">\n'
    return _document(blocks, f'<nav aria-label="Pages"><ul>{items}</ul></nav>', refresh, "live")


def _document(blocks: Sequence[Block], nav: str, refresh: str = "", kind: str = "") -> Page:
    (title, *rest) = blocks
    assert isinstance(title, Heading), "the first block is the title"
    body = "\n".join(part for block in rest for part in _block(block))
    attribute = f' class="{kind}"' if kind else ""
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{refresh}<title>{_text(title.text)}</title>
<style>{STYLE}</style>
</head>
<body{attribute}>
<a class="skip" href="#content">Skip to the content</a>
{nav}
<main id="content">
<h1>{_text(title.text)}</h1>
{body}
</main>
</body>
</html>
"""
    return Page(text, STYLE_SOURCE)


def _contents(blocks: Sequence[Block]) -> str:
    headings = [one for one in blocks if isinstance(one, Heading) and one.level in {2, 3}]
    lines = ["<ul>"]
    for is_chapter, group in groupby(headings, lambda one: one.level == 2):
        links = (Link(one.text, f"#{one.anchor}", is_code=one.is_code) for one in group)
        entries = [f"<li>{_inline(link)}</li>" for link in links]
        lines += entries if is_chapter else ["<li><ul>", *entries, "</ul></li>"]
    return "\n".join([*lines, "</ul>"])


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield _heading(block)
        case Paragraph(phrase):
            yield f"<p>{_phrase(phrase)}</p>"
        case Bullets(items):
            yield "<ul>" + "".join(f"<li>{_phrase(item)}</li>" for item in items) + "</ul>"
        case Facts(rows):
            yield "<dl>"
            yield from (f"<div><dt>{_text(term)}</dt><dd>{_phrase(phrase)}</dd></div>" for term, phrase in rows)
            yield "</dl>"
        case Table():
            yield from _table(block)
        case Listing():
            yield _listing(block)
        case Flow():
            yield f'<div class="flow" role="group" aria-label="Diagram" tabindex="0">{flow.svg(block)}</div>'


def _heading(heading: Heading) -> str:
    text = _code(heading.text) if heading.is_code else _text(heading.text)
    tag, anchor = f"h{heading.level}", _anchor(heading.anchor)
    if not anchor:
        return f"<{tag}>{text}</{tag}>"
    return f'<{tag} id="{anchor}"><a class="anchor" href="#{anchor}">{text}</a></{tag}>'


def _listing(listing: Listing) -> str:
    lines = "\n".join(map(_text, listing.text.split("\n")))
    caption = f"<figcaption>{_text(listing.caption)}</figcaption>"
    return f'<figure>{caption}<pre tabindex="0"><code>{lines}</code></pre></figure>'


def _table(table: Table) -> Iterator[str]:
    yield f'<div class="table"><table><caption>{_text(table.caption)}</caption>'
    yield "<thead><tr>" + "".join(f'<th scope="col">{_text(head)}</th>' for head in table.heads) + "</tr></thead>"
    yield "<tbody>"
    for first, *cells in table.rows:
        others = zip(table.heads[1:], cells, strict=True)
        yield f'<tr><th scope="row">{_phrase(first)}</th>' + "".join(_cell(*one) for one in others) + "</tr>"
    yield "</tbody></table></div>"


def _cell(head: str, phrase: Phrase) -> str:
    return f'<td data-head="{_text(head)}">{_phrase(phrase)}</td>' if phrase else "<td></td>"


def _phrase(phrase: Phrase) -> str:
    return "".join(map(_inline, phrase))


def _inline(inline: Inline) -> str:
    match inline:
        case Code(text):
            return _code(text)
        case Strong(text):
            return f"<strong>{_text(text)}</strong>"
        case Link(text, target, is_code):
            shown = _code(text) if is_code else _text(text)
            if target.startswith("#"):
                return f'<a href="#{_anchor(target[1:])}">{shown}</a>'
            return f'<a href="{_text(target)}" rel="noreferrer">{shown}</a>'
        case str():
            return _text(inline)


def _code(text: str) -> str:
    """A name that may be wrapped between its words; copied text has no break in it."""
    return f"<code>{'<wbr>'.join(map(_text, _WORDS.split(text)))}</code>"


def _text(text: str) -> str:
    return escape(printable(text))


def _anchor(name: str) -> str:
    """A name as `id` and as URL fragment; a browser compares the two before it decodes the fragment."""
    return quote(name, safe="")
