"""Members are moved as text: what is not touched keeps every byte."""

from __future__ import annotations

import pytest

from gateway.documents.yaml_edit import FlowStyleError, insert, members

TEXT = """\
# A contract.
channels:
    # The first.
    one:
        address: a   # kept

    two: {address: b}
    # at the end

info:
  description: |
    Two lines,

    and a blank one.

servers: {broker: {host: x}}
empty:
"""


def test_members_are_lines_with_the_comments_above() -> None:
    assert members(TEXT, ("channels",)) == {
        "one": "# The first.\none:\n    address: a   # kept\n",
        "two": "two: {address: b}\n",
    }
    assert members(TEXT, ("info",)) == {"description": "description: |\n  Two lines,\n\n  and a blank one.\n"}
    assert members(TEXT, ("operations",)) == {}


def test_insert_follows_the_indentation_of_the_mapping() -> None:
    changed = insert(TEXT, {("channels",): {"three": "three:\n  address: c\n"}})
    assert changed == TEXT.replace("    # at the end", "    three:\n      address: c\n    # at the end")


def test_insert_after_a_block_scalar_comes_before_the_blank_lines() -> None:
    changed = insert(TEXT, {("info",): {"title": "title: T\n"}})
    assert changed == TEXT.replace("a blank one.\n", "a blank one.\n  title: T\n")


def test_insert_creates_what_is_absent() -> None:
    """Once, when several mappings in it are added to; each comes to the end of what it is in."""
    added = {
        ("components", "schemas"): {"s": "s: {}\n"},
        ("components", "messages"): {"m": "m:\n  payload: 1\n"},
        ("a",): {"c": "c: 2\n"},
    }
    created = "components:\n  schemas:\n    s: {}\n  messages:\n    m:\n      payload: 1\n"
    assert insert("a:\n  b: 1\nz: 1", added) == f"a:\n  b: 1\n  c: 2\nz: 1\n{created}"


def test_insert_keeps_the_line_ends_of_the_file() -> None:
    assert insert("a:\r\n  b: 1\r\n", {("a",): {"c": "c: 2\n"}}) == "a:\r\n  b: 1\r\n  c: 2\r\n"


@pytest.mark.parametrize(("place", "line"), [(("servers",), 16), (("servers", "broker"), 16), (("empty",), 17)])
def test_insert_refuses_what_has_no_lines_of_its_own(place: tuple[str, ...], line: int) -> None:
    with pytest.raises(FlowStyleError) as refused:
        insert(TEXT, {place: {"x": "x: 1\n"}})
    assert refused.value.line == line


def test_insert_of_nothing_changes_nothing() -> None:
    assert insert(TEXT, {("servers",): {}}) == TEXT
