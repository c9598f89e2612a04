"""The writer of generated source."""

from __future__ import annotations

import struct

import pytest

from gateway.core.codec.source_text import Known, Number, Part, SourceWriter


@pytest.mark.parametrize(
    ("parts", "source"),
    [
        ([], "b''"),
        ([b"a", b"", b"b"], "b'ab'"),
        ([b"a", Number("d", "v")], "pack_1sd(b'a', v)"),
        ([Number("d", "v"), Number("B", "w")], "pack_dB(v, w)"),
        (["x", "y"], "x + y"),
        (["x", "y", b"a"], "join((x, y, b'a'))"),
        ([Known("k"), b"a", "x"], "head1 + x"),
    ],
)
def test_joined_writes_few_expressions(parts: list[Part], source: str) -> None:
    """Neighbours of fixed size become one call of struct; what is known before is joined before."""
    assert SourceWriter().joined(parts) == source


def test_compile_runs_what_was_written() -> None:
    writer = SourceWriter()
    with writer.block("def double(x):"):
        name = writer.let("y", "x * 2")
        writer.line(f"return {writer.joined([b'=', Number('d', name)])}")
    assert str(writer).splitlines()[0] == "def double(x):"
    assert writer.compile("<test>")["double"](2.0) == struct.pack("<sd", b"=", 4.0)
