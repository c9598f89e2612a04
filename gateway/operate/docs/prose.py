"""The contract's own text as blocks, and values as people read them.

Descriptions may be CommonMark. Paragraphs, lists, `code`, **strong** and [links](https://...) are understood, which is
what descriptions are made of; the rest, HTML and pictures among it, is shown as it is written.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gateway.page.blocks import Block, Bullets, Code, Inline, Link, Paragraph, Phrase, Strong, joined

_MARKUP = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|(?<!!)\[(?P<text>[^\[\]]+)\]\((?P<target>https?://[^\s()]+)\)"
)
_BULLET = re.compile(r"[-*+] +")
_SPANS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def blocks(text: str | None) -> list[Block]:
    """Read a description."""
    found: list[Block] = []
    for part in re.split(r"\n\s*\n", (text or "").strip()):
        lines = [line.strip() for line in part.splitlines()]
        if lines and all(map(_BULLET.match, lines)):
            found.append(Bullets(tuple(phrase(_BULLET.sub("", line, count=1)) for line in lines)))
        elif lines:
            found.append(Paragraph(phrase(" ".join(lines))))
    return found


def phrase(text: str | None) -> Phrase:
    """Read a description that must stay in one line."""
    text = " ".join((text or "").split())
    parts: list[Inline] = []
    end = 0
    for match in _MARKUP.finditer(text):
        parts += [text[end : match.start()], _marked(match)]
        end = match.end()
    return tuple(part for part in (*parts, text[end:]) if part)


def _marked(match: re.Match[str]) -> Inline:
    if match["code"]:
        return Code(match["code"])
    return Strong(match["strong"]) if match["strong"] else Link(match["text"], match["target"])


def sentence(*parts: Phrase) -> Phrase:
    """Put sentences and phrases one after another, a space between those that are not empty."""
    found: list[Inline] = []
    for part in filter(None, parts):
        found += [" ", *part] if found else part
    return tuple(found)


def value(data: Any) -> Phrase:
    """Show a value as the document has it; text without quotes, unless it is empty."""
    return (Code(data if isinstance(data, str) and data else compact(data)),)


def rest(members: dict[str, Any], told: frozenset[str]) -> Phrase:
    """Tell by their names the members that have no place of their own."""
    found = [(f"{key}: ", *value(one)) for key, one in members.items() if key not in told]
    return (*joined(found, "; "), ".") if found else ()


def compact(data: Any) -> str:
    """JSON in one line."""
    return json.dumps(data, ensure_ascii=False)


def span(seconds: float) -> str:
    """Say how long that is where it is a whole number of days, hours or minutes: `604800` is `7 days`."""
    for unit, length in _SPANS:
        if seconds >= length and seconds % length == 0:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count > 1)}"
    return ""
