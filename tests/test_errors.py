"""Every exception class of the gateway stands in the drawing of `gateway/errors.py`, in one of its families."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from gateway import errors

PACKAGE = Path(errors.__file__).parent
FAMILIES = {"GatewayError", "DataError", "FileError", "PeerError", "DiskError", "CodecLimit"}


def _classes() -> dict[str, set[str]]:
    """Name every class of the gateway with its bases."""
    return {
        node.name: {ast.unparse(base) for base in node.bases}
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


def _exceptions() -> dict[str, set[str]]:
    """Name the classes that are exceptions, by their bases, however far up."""
    classes = _classes()
    found = {name for name, bases in classes.items() if bases & {"Exception", "ValueError", "RuntimeError", "OSError"}}
    while more := {name for name, bases in classes.items() if bases & found} - found:
        found |= more
    return {name: classes[name] for name in found}


def test_every_exception_belongs_to_a_family() -> None:
    outside = {name for name, bases in _exceptions().items() if not bases & FAMILIES} - FAMILIES
    assert not outside


def test_every_exception_is_drawn() -> None:
    drawn = set(re.findall(r"^ {4}(?:[├└]── )?(\w+)", errors.__doc__ or "", flags=re.MULTILINE))
    assert drawn == set(_exceptions())
