"""Members of a block mapping as text, and a YAML text with members added; comments and form of the rest stay.

No dependency writes YAML with comments, so members are moved as lines. Those of a member begin with the comments above
its key and end before the next key. Mappings in flow style (`{a: 1}`) have no lines of their own, and are refused.
"""

from __future__ import annotations

from functools import lru_cache
from textwrap import dedent, indent
from typing import TYPE_CHECKING

import yaml

from gateway.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.documents.source import Place

STEP = "  "  # indentation of what is created


class FlowStyleError(DataError):
    """A mapping that is to get members is written in flow style, or is no mapping; carries its place."""

    def __init__(self, place: Place, line: int) -> None:
        super().__init__(f"line {line} is not a mapping in block style")
        self.place = place
        self.line = line


def members(text: str, place: Place) -> dict[str, str]:
    """The members of the mapping at a place, each as text that begins at the left margin; none if it is absent."""
    node = _find(_root(text), place)
    if node is None:
        return {}
    lines = text.splitlines(keepends=True)
    keys = [key for key, _ in node.value]
    starts = [_with_comments(lines, key.start_mark.line) for key in keys]
    ends = [*starts[1:], _end(node, lines)]
    parts = ["".join(lines[start:end]).rstrip() + "\n" for start, end in zip(starts, ends, strict=True)]
    return {key.value: dedent(part) for key, part in zip(keys, parts, strict=True)}


def insert(text: str, added: Mapping[Place, Mapping[str, str]]) -> str:
    """Add members, as `members` gives them, at the end of mappings, by place; absent mappings are created.

    It raises FlowStyleError where such a mapping, or one around it, is in flow style.
    """
    root, lines = _root(text), text.splitlines(keepends=True)
    ending = "\r\n" if lines[0].endswith("\r\n") else "\n"
    bodies = {place: "".join(parts.values()) for place, parts in added.items() if parts}
    edits: list[tuple[int, str]] = []
    while bodies:
        place = max(bodies, key=len)
        body = bodies.pop(place)
        if (node := _find(root, place)) is None:
            bodies[place[:-1]] = f"{bodies.get(place[:-1], '')}{place[-1]}:\n{indent(body, STEP)}"
        else:
            margin = " " * node.value[0][0].start_mark.column
            edits.append((_end(node, lines), indent(body, margin).replace("\n", ending)))
    if not lines[-1].endswith("\n"):
        lines[-1] += ending
    for line, written in sorted(edits, reverse=True):
        lines.insert(line, written)
    return "".join(lines)


@lru_cache(maxsize=4)
def _root(text: str) -> yaml.MappingNode:
    node = yaml.compose(text, Loader=yaml.CSafeLoader)
    assert isinstance(node, yaml.MappingNode), "the file was read before, and its top is a mapping"
    return node


def _find(node: yaml.MappingNode, place: Place) -> yaml.MappingNode | None:
    """The mapping at a place; None if a member on the way to it is absent."""
    for depth, key in enumerate(place, start=1):
        value = next((value for name, value in node.value if name.value == key), None)
        if value is None:
            return None
        if not isinstance(value, yaml.MappingNode) or value.flow_style:
            raise FlowStyleError(place[:depth], value.start_mark.line + 1)
        node = value
    if node.flow_style:
        raise FlowStyleError((), node.start_mark.line + 1)
    return node


def _with_comments(lines: list[str], line: int) -> int:
    """The first line of a member: its key's, or that of the comments above it."""
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _end(node: yaml.Node, lines: list[str]) -> int:
    """The line after the last one of a value. Marks of block collections and block scalars lie behind blank lines."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    line = int(node.end_mark.line)
    if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
        while not lines[line - 1].strip():
            line -= 1
        return line
    return line + 1
