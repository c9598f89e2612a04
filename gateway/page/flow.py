"""The ways of the readings as a picture: MQTT channels on the left, Kafka topics on the right, their check between.

Each source has a row; a target stands in the middle of the rows that lead to it first. Arrows of dead letters are
dashed and leave from below the check. Colours are classes of `page.css`, since a strict policy forbids styles in place.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.page.blocks import Box, Flow

WIDTH = 880
BOX_WIDTH, BOX_HEIGHT = 256, 52
ROW = 72
MARGIN = 12
CHECK_LEFT, CHECK_WIDTH, CHECK_HEIGHT = 350, 180, 34
TARGET_LEFT = WIDTH - BOX_WIDTH - 1
NAME_LETTERS, NOTE_LETTERS, CHECK_LETTERS = 29, 36, 22  # that fit


TITLE = (
    "Readings go from MQTT channels through the check of their schema to Kafka topics; what does not fit goes to the "
    "dead letters. The table below says the same."
)
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
)


def svg(flow: Flow) -> str:
    """Draw a flow."""
    rows = max(len(flow.sources), len(flow.targets), 1)
    height = rows * ROW + 2 * MARGIN
    words = {source: word for source, _, word in reversed(flow.ways) if word is not None}
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [f'<svg {size} role="img" aria-labelledby="flow-title">', f'<title id="flow-title">{TITLE}</title>', ARROW]
    parts += _arrows(flow)
    for index, box in enumerate(flow.sources):
        parts += [*_box(box, 1, _middle(index), "source"), *_check(words.get(index, ""), _middle(index))]
    for index, box in enumerate(flow.targets):
        parts += _box(box, TARGET_LEFT, _middle(index), "letters" if _is_for_letters(flow, index) else "target")
    parts.append("</svg>")
    return "\n".join(parts)


def mermaid(flow: Flow) -> str:
    """Write a flow in the language of Mermaid, which GitHub and others draw."""
    lines = ["flowchart LR"]
    lines += [f"  s{index}[{_label(box)}]" for index, box in enumerate(flow.sources)]
    lines += [f"  t{index}[{_label(box)}]" for index, box in enumerate(flow.targets)]
    for source, target, word in flow.ways:
        lines.append(
            f"  s{source} -->|{_quoted(word)}| t{target}" if word is not None else f"  s{source} -.-> t{target}"
        )
    return "\n".join(lines)


def _middle(row: int) -> int:
    return MARGIN + row * ROW + ROW // 2


def _is_for_letters(flow: Flow, target: int) -> bool:
    return not any(to == target and word is not None for _, to, word in flow.ways)


def _box(box: Box, left: int, middle: int, kind: str) -> Iterator[str]:
    yield f'<g class="{kind}"><title>{_text(box.name)}: {_text(box.note)}</title>'
    yield f'<rect x="{left}" y="{middle - BOX_HEIGHT // 2}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
    yield f'<text class="name" x="{left + 12}" y="{middle - 4}">{_text(_short(box.name, NAME_LETTERS))}</text>'
    yield f'<text class="note" x="{left + 12}" y="{middle + 15}">{_text(_short(box.note, NOTE_LETTERS))}</text></g>'


def _check(word: str, middle: int) -> Iterator[str]:
    yield f'<g class="check"><title>{_text(word)}</title>'
    top, centre = middle - CHECK_HEIGHT // 2, CHECK_LEFT + CHECK_WIDTH // 2
    yield f'<rect x="{CHECK_LEFT}" y="{top}" width="{CHECK_WIDTH}" height="{CHECK_HEIGHT}" rx="17"/>'
    yield f'<text x="{centre}" y="{middle + 5}" text-anchor="middle">{_text(_short(word, CHECK_LETTERS))}</text></g>'


def _arrows(flow: Flow) -> Iterator[str]:
    for source in range(len(flow.sources)):
        yield _path("way", 1 + BOX_WIDTH, _middle(source), CHECK_LEFT, _middle(source))
    right = CHECK_LEFT + CHECK_WIDTH
    for source, target, word in flow.ways:
        yield _path("failing" if word is None else "way", right, _middle(source), TARGET_LEFT, _middle(target))


def _path(kind: str, left: int, from_y: int, right: int, to_y: int) -> str:
    bend = (left + right) // 2
    curve = f"M{left} {from_y}C{bend} {from_y} {bend} {to_y} {right} {to_y}"
    return f'<path class="{kind}" marker-end="url(#arrow)" d="{curve}"/>'


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _text(text: str) -> str:
    return escape(printable(text))


def _label(box: Box) -> str:
    return _quoted(f"{box.name}\n{box.note}").replace("\\n", "<br>")


def _quoted(text: str) -> str:
    """Mermaid knows no escapes; it has its own entities, a number between # and ;."""
    letters = (one if one.isalnum() or one in " -_./,:\\" else f"#{ord(one)};" for one in printable(text))
    return f'"{"".join(letters)}"'
