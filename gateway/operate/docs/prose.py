"""Descriptions of the contract as blocks, and values as text.

Descriptions may be CommonMark. Paragraphs, bullet lists, `code`, **strong** and [links](https://...) are rendered.
Other markup, such as HTML and images, is shown as it is written.

markdown-it-py was tried instead. It renders all of CommonMark, but its tokens need as many lines to become blocks as
this parser has. Importing it (40 ms) and parsing the 330 descriptions of `asyncapi.yaml` with it (40 ms) takes longer
than the whole page does now (36 ms), and each start of a gateway waits for its page.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gateway.page.blocks import Block, Bullets, Code, Link, Paragraph, Phrase, Strong, joined

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gateway.page.blocks import Inline

_MARKUP = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|(?<!!)\[(?P<text>[^\[\]]+)\]\((?P<target>https?://[^\s()]+)\)"
)
_BULLET = re.compile(r"[-*+] +")
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def blocks(text: str | None) -> list[Block]:
    """Parse a description."""
    found: list[Block] = []
    for part in re.split(r"\n\s*\n", (text or "").strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines and all(map(_BULLET.match, lines)):
            found.append(Bullets(tuple(phrase(_BULLET.sub("", line, count=1)) for line in lines)))
        elif lines:
            found.append(Paragraph(phrase(" ".join(lines))))
    return found


def phrase(text: str | None) -> Phrase:
    """Parse a description that must stay on one line."""
    text = " ".join((text or "").split())
    parts: list[Inline] = []
    end = 0
    for match in _MARKUP.finditer(text):
        parts += [text[end : match.start()], _inline(match)]
        end = match.end()
    return tuple(part for part in (*parts, text[end:]) if part)


def _inline(match: re.Match[str]) -> Inline:
    if match["code"]:
        return Code(match["code"])
    return Strong(match["strong"]) if match["strong"] else Link(match["text"], match["target"])


def sentence(*parts: Phrase) -> Phrase:
    """Concatenate the phrases that are not empty, with spaces between them."""
    return joined([part for part in parts if part], " ")


def value(data: Any) -> Phrase:
    """A value as in the document; text without quotes, unless it is empty."""
    return (Code(data if isinstance(data, str) and data else json.dumps(data, ensure_ascii=False)),)


def rest(members: Mapping[str, Any], shown: Collection[str]) -> Phrase:
    """The members that are not shown elsewhere, with their names."""
    others = [(f"{key}: ", *value(one)) for key, one in members.items() if key not in shown]
    return (*joined(others, "; "), ".") if others else ()


def span(seconds: float) -> str:
    """A whole number of days, hours or minutes: `604800` is `7 days`; empty for other durations."""
    for unit, length in _UNITS:
        if seconds >= length and seconds % length == 0:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count > 1)}"
    return ""
