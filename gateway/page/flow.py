"""The routes of the readings as a diagram: MQTT channels on the left, Kafka topics on the right, schemas between them.

Each source and each target has a row. Arrows to dead-letter topics are dashed. Colours are classes of `page.css`,
because the Content-Security-Policy forbids inline styles.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.page.blocks import Box, Flow

# Lengths in pixels.
WIDTH = 880
BOX_WIDTH, BOX_HEIGHT = 256, 52
ROW = 72
MARGIN = 12
CHECK_LEFT, CHECK_WIDTH, CHECK_HEIGHT = 350, 180, 34
TARGET_LEFT = WIDTH - BOX_WIDTH - 1
NAME_LENGTH, NOTE_LENGTH, CHECK_LENGTH = 29, 36, 22  # characters that fit

TITLE = (
    "Readings go from MQTT channels through validation against their schema to Kafka topics; invalid readings go to "
    "dead-letter topics. The table below lists the same routes."
)
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
)


def svg(flow: Flow) -> str:
    """Draw a flow."""
    height = max(len(flow.sources), len(flow.targets), 1) * ROW + 2 * MARGIN
    schemas = {source: schema for source, _, schema in reversed(flow.routes) if schema is not None}
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [f'<svg {size} role="img" aria-labelledby="flow-title">', f'<title id="flow-title">{TITLE}</title>', ARROW]
    parts += _arrows(flow)
    for index, box in enumerate(flow.sources):
        parts += [*_box(box, 1, _middle(index), "source"), *_check(schemas.get(index, ""), _middle(index))]
    for index, box in enumerate(flow.targets):
        parts += _box(box, TARGET_LEFT, _middle(index), "dead-letters" if _has_dead_letters(flow, index) else "target")
    parts.append("</svg>")
    return "\n".join(parts)


def mermaid(flow: Flow) -> str:
    """Write a flow as a Mermaid flowchart."""
    lines = ["flowchart LR"]
    lines += [f"  s{index}[{_label(box)}]" for index, box in enumerate(flow.sources)]
    lines += [f"  t{index}[{_label(box)}]" for index, box in enumerate(flow.targets)]
    for source, target, schema in flow.routes:
        arrow = "-.->" if schema is None else f"-->|{_quoted(schema)}|"
        lines.append(f"  s{source} {arrow} t{target}")
    return "\n".join(lines)


def _middle(row: int) -> int:
    return MARGIN + row * ROW + ROW // 2


def _has_dead_letters(flow: Flow, target: int) -> bool:
    return not any(to == target and schema is not None for _, to, schema in flow.routes)


def _box(box: Box, left: int, middle: int, kind: str) -> Iterator[str]:
    yield f'<g class="{kind}"><title>{_text(box.name)}: {_text(box.note)}</title>'
    yield f'<rect x="{left}" y="{middle - BOX_HEIGHT // 2}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
    yield f'<text class="name" x="{left + 12}" y="{middle - 4}">{_text(_short(box.name, NAME_LENGTH))}</text>'
    yield f'<text class="note" x="{left + 12}" y="{middle + 15}">{_text(_short(box.note, NOTE_LENGTH))}</text></g>'


def _check(schema: str, middle: int) -> Iterator[str]:
    yield f'<g class="check"><title>{_text(schema)}</title>'
    top, centre = middle - CHECK_HEIGHT // 2, CHECK_LEFT + CHECK_WIDTH // 2
    yield f'<rect x="{CHECK_LEFT}" y="{top}" width="{CHECK_WIDTH}" height="{CHECK_HEIGHT}" rx="17"/>'
    yield f'<text x="{centre}" y="{middle + 5}" text-anchor="middle">{_text(_short(schema, CHECK_LENGTH))}</text></g>'


def _arrows(flow: Flow) -> Iterator[str]:
    for source in range(len(flow.sources)):
        yield _path("route", 1 + BOX_WIDTH, _middle(source), CHECK_LEFT, _middle(source))
    right = CHECK_LEFT + CHECK_WIDTH
    for source, target, schema in flow.routes:
        yield _path("failing" if schema is None else "route", right, _middle(source), TARGET_LEFT, _middle(target))


def _path(kind: str, left: int, from_y: int, right: int, to_y: int) -> str:
    bend = (left + right) // 2
    curve = f"M{left} {from_y}C{bend} {from_y} {bend} {to_y} {right} {to_y}"
    return f'<path class="{kind}" marker-end="url(#arrow)" d="{curve}"/>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _text(text: str) -> str:
    return escape(printable(text))


def _label(box: Box) -> str:
    return _quoted(f"{box.name}\n{box.note}").replace("\\n", "<br>")


def _quoted(text: str) -> str:
    """Quote text for Mermaid, which has no escapes but entities: a number between # and ;."""
    characters = (one if one.isalnum() or one in " -_./,:\\" else f"#{ord(one)};" for one in printable(text))
    return f'"{"".join(characters)}"'
