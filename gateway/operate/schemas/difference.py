"""Two versions of a schema side by side, field by field: what a person would say has changed.

    + humidity: null or double, default null
    - units: string
    ~ value: float -> double
    ~ state: doc "Open or closed." -> "What the door is now."

Inner records are opened where they are first met; a field of an array's records is `samples[].at`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.operate.schemas.avsc import Field, Schema, Type

WHOLE = "(record)"
Facts = dict[str, str]


def difference(old: Schema, new: Schema) -> list[str]:
    """Tell how a version differs from an earlier one.

    Returns:
        One line a change, in the order of the new version's fields, then what is gone; none when they are equal.
    """
    before, after = dict(_fields(old.type, "", set())), dict(_fields(new.type, "", set()))
    changed = (line for path, facts in after.items() for line in _compared(path, before.get(path), facts))
    gone = (f"- {path}: {facts['']}" for path, facts in before.items() if path not in after)
    return [printable(line) for line in (*changed, *gone)]


def _compared(path: str, old: Facts | None, new: Facts) -> Iterator[str]:
    if old is None:
        yield f"+ {path}: {', '.join(f'{fact} {told}'.strip() for fact, told in new.items() if fact != 'doc')}"
        return
    for fact in sorted(old.keys() | new.keys()):
        if old.get(fact) != new.get(fact):
            yield f"~ {path}: {f'{fact} ' * bool(fact)}{old.get(fact, 'none')} -> {new.get(fact, 'none')}"


def _fields(one: Type, path: str, opened: set[str]) -> Iterator[tuple[str, Facts]]:
    """List a type's fields, and those of the records inside them, by path."""
    if one.kind == "record":
        if one.name in opened:
            return
        opened.add(one.name)
        yield path or WHOLE, {"": str(one), "name": one.name} | _aliases(one)
        for each in one.fields.values():
            below = f"{path}.{each.name}".lstrip(".")
            yield below, _facts(each)
            yield from _inner(each.type, below, opened)
    else:
        yield path or WHOLE, {"": str(one)}
        yield from _inner(one, path, opened)


def _inner(one: Type, path: str, opened: set[str]) -> Iterator[tuple[str, Facts]]:
    if one.kind == "record":
        yield from ((inner, facts) for inner, facts in _fields(one, path, opened) if inner != path)
    mark = {"array": "[]", "map": "{}"}.get(one.kind, "")
    for branch in one.branches:
        yield from _inner(branch, path + mark, opened)


def _facts(one: Field) -> Facts:
    facts = {"": str(one.type)}
    if one.has_default:
        facts["default"] = json.dumps(one.default, ensure_ascii=False)
    if one.aliases:
        facts["aliases"] = ", ".join(one.aliases)
    if one.doc:
        facts["doc"] = json.dumps(one.doc, ensure_ascii=False)
    return facts | _symbols(one.type)


def _symbols(one: Type) -> Facts:
    found = [each for each in (one, *one.branches) if each.kind == "enum"]
    return {"symbols": "; ".join(", ".join(each.symbols) for each in found)} if found else {}


def _aliases(one: Type) -> Facts:
    return {"aliases": ", ".join(sorted(one.aliases))} if one.aliases else {}
