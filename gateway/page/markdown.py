"""Blocks -> GitHub Flavored Markdown: tables, and a Mermaid diagram.

Characters that could be markup are escaped. Names are in code spans, which need no escapes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.page import flow
from gateway.page.blocks import Bullets, Code, Facts, Flow, Heading, Link, Listing, Paragraph, Strong, Table
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.page.blocks import Block, Inline, Phrase

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&$])")
_LIST_MARK = re.compile(r"(\d+)([.)])|([-+])")  # at the start of a line


def write(blocks: Sequence[Block]) -> str:
    """Write a page; the first block is a heading of level 1."""
    return "\n\n".join(map(_block, blocks)) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            text = _heading(block)
        case Paragraph(phrase):
            text = _line(phrase)
        case Bullets(items):
            text = "\n".join(f"- {_line(item)}" for item in items)
        case Facts(rows):
            text = "\n".join(f"- **{_text(term)}**: {_phrase(phrase)}" for term, phrase in rows)
        case Table():
            text = _table(block)
        case Listing():
            text = _listing(block)
        case Flow():
            text = f"```mermaid\n{flow.mermaid(block)}\n```"
    return text


def _heading(heading: Heading) -> str:
    target = f'<a id="{quote(heading.anchor, safe="")}"></a>\n\n' if heading.anchor else ""
    return f"{target}{'#' * heading.level} {_code(heading.text) if heading.is_code else _text(heading.text)}"


def _listing(listing: Listing) -> str:
    lines = "\n".join(map(printable, listing.text.split("\n")))
    fence = _fence(lines, 3)
    return f"{_text(listing.caption)}:\n\n{fence}\n{lines}\n{fence}"


def _table(table: Table) -> str:
    lines = [" | ".join(map(_text, table.heads)), " | ".join("---" for _ in table.heads)]
    lines += [" | ".join(_phrase(cell, is_cell=True) for cell in row) for row in table.rows]
    return f"**{_text(table.caption)}**\n\n" + "\n".join(f"| {line} |" for line in lines)


def _line(phrase: Phrase) -> str:
    """A phrase at the start of a line, where a number or a dash would start a list."""
    text = _phrase(phrase)
    match = _LIST_MARK.match(text)
    if not match:
        return text
    return f"{match[1]}\\{match[2]}{text[match.end() :]}" if match[1] else f"\\{text}"


def _phrase(phrase: Phrase, *, is_cell: bool = False) -> str:
    return "".join(_inline(inline, is_cell=is_cell) for inline in phrase)


def _inline(inline: Inline, *, is_cell: bool) -> str:
    match inline:
        case Code(text):
            return _code(text, is_cell=is_cell)
        case Strong(text):
            return f"**{_text(text)}**"
        case Link(text, target, is_code):
            shown = _code(text, is_cell=is_cell) if is_code else _text(text)
            return f"[{shown}]({_target(target)})"
        case str():
            return _text(inline)


def _target(target: str) -> str:
    return f"#{quote(target[1:], safe='')}" if target.startswith("#") else quote(target, safe=":/?#@!$&'*+,;=%")


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", printable(text))


def _code(text: str, *, is_cell: bool = False) -> str:
    """A code span whose fence is longer than any run of backticks in it."""
    text = printable(text).replace("|", r"\|" if is_cell else "|")
    fence = _fence(text, 1)
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fence(text: str, shortest: int) -> str:
    longest_run = max(map(len, re.findall(r"`+", text)), default=0)
    return "`" * max(shortest, longest_run + 1)
