"""Fields and limits of a contract that exists, widened to take what was received.

Only what loses nothing: a whole number becomes longer or gets a fraction, an enum gets more words, a field may be null,
text that holds a number is read as one. Whether readers of the records take it is for the subject's mode to say.
Limits of the JSON Schema are not part of what is registered, so any mode allows them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.operate.learn.contract_file import avsc_text
from gateway.operate.learn.types import SYMBOL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.contract.document import Node
    from gateway.core.avro_schema import Field
    from gateway.core.model import Stream
    from gateway.operate.learn.evidence import Evidence

INT = 2**31
NUMBERS = ("int", "long", "float", "double")


class Change(NamedTuple):
    """A field that takes more."""

    pointer: str
    text: str
    field: dict[str, Any]


def widened(field: Field, leaf: Evidence, samples: int) -> Iterator[Change]:
    """Give the one change that lets a field take all that was received, or what was received and is not taken."""
    made, said = dict(field.attributes), list[str]()
    branches = made["type"] if isinstance(made["type"], list) else [made["type"]]
    branches = [_widened(one, leaf, said) for one in branches] if not field.words else list(branches)
    is_absent = leaf.count < samples and not field.has_default
    if (leaf.nulls or is_absent) and "null" not in branches:
        said.append("may be null")
        branches.insert(0, "null")
        made["default"] = None
    texts = leaf.texts
    if (
        texts
        and texts.numeric == texts.count
        and not field.words
        and all(one in ("null", *NUMBERS) for one in branches)
    ):
        said.append("numbers in text are read")
        place = {"location": made["x-source"]} if "x-source" in made else {}
        made["x-source"] = {**place, "parse": "number"}
    if said:
        made["type"] = branches if len(branches) > 1 else branches[0]
        yield Change("" if field.takes_whole else pointer_of(field.paths[0]), ", ".join(said), made)


def _widened(branch: Any, leaf: Evidence, said: list[str]) -> Any:
    numbers, words = leaf.numbers, leaf.texts.words if leaf.texts else None
    if branch in ("int", "long") and numbers and numbers.doubles:
        said.append(f"{branch} becomes double")
        return "double"
    if branch == "int" and numbers and not -INT <= (numbers.low or 0) <= (numbers.high or 0) < INT:
        said.append("int becomes long")
        return "long"
    if isinstance(branch, dict) and branch.get("type") == "enum" and words:
        new = sorted(set(words) - set(branch["symbols"]))
        if new and all(map(SYMBOL.match, new)):
            said.append(f"new words of the enum: {', '.join(new)}")
            return {**branch, "symbols": [*branch["symbols"], *new]}
    return branch


def with_field(text: str, old: Any, new: dict[str, Any]) -> str:
    """Change a field in the text of a schema, or add one at its end; all else stays as it is, if that is possible."""
    definition = json.loads(text)
    written = json.dumps(new, ensure_ascii=False)
    if old is None:
        definition["fields"].append(new)
        end = text.rindex("]")
        changed = f"{text[:end].rstrip()},\n    {written}\n  {text[end:]}"
    else:
        name = old["name"]
        definition["fields"] = [new if one["name"] == name else one for one in definition["fields"]]
        changed = _replaced(text, name, written)
    return changed if changed and _same(changed, definition) else avsc_text(definition)


def _replaced(text: str, name: str, written: str) -> str:
    for match in re.finditer(r"\{", text):
        try:
            value, end = json.JSONDecoder().raw_decode(text, match.start())
        except ValueError:
            continue
        if value.get("name") == name and "fields" not in value and "symbols" not in value:
            return text[: match.start()] + written + text[end:]
    return ""


def _same(text: str, definition: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(text) == definition)
    except ValueError:
        return False


def with_limits(
    root: Node, files: Mapping[str, str], stream: Stream, place: int, evidence: Evidence
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Widen limits and words of the JSON Schema; each is a place, what it is, and the files that change."""
    messages = root.at("operations", stream.name, "channel", "messages").members()
    if place >= len(messages):
        return
    node = messages[place][1].at("payload")
    node = node.at("items") if stream.is_array and not node.at("items").is_absent else node
    for pointer, leaf in evidence.leaves():
        inner = node
        for name in pointer:
            inner = inner.at("properties", name)
        for keyword, wanted in _limits(inner, leaf):
            text = f"{keyword} {inner.at(keyword).value} is not what was received: {wanted}"
            name = next((each for each in files if inner.source.name.endswith(each)), "")
            changed = _with_keyword(files.get(name, ""), inner.at(keyword), keyword, wanted)
            more = "" if changed else f" Write it in line {inner.at(keyword).line}."
            yield pointer_of(pointer), f"{text}.{more}", {name: changed} if changed else {}


def _limits(node: Node, leaf: Evidence) -> Iterator[tuple[str, Any]]:
    numbers, words = leaf.numbers, leaf.texts.words if leaf.texts else None
    low, high, allowed = (node.at(keyword).value for keyword in ("minimum", "maximum", "enum"))
    if numbers and isinstance(low, int | float) and numbers.low is not None and numbers.low < low:
        yield "minimum", numbers.low
    if numbers and isinstance(high, int | float) and numbers.high is not None and numbers.high > high:
        yield "maximum", numbers.high
    if words and isinstance(allowed, list) and (new := sorted(set(words) - {str(one) for one in allowed})):
        yield "enum", [*allowed, *new]


def _with_keyword(text: str, node: Node, keyword: str, wanted: Any) -> str:
    """Write another value of a keyword into its line; "" where the line has it several times, or not in full."""
    lines = text.splitlines(keepends=True)
    line = lines[node.line - 1] if 0 < node.line <= len(lines) else ""
    pattern = rf"(\b{keyword}: *)" + (r"\[[^]]*\]" if keyword == "enum" else r"[-+.\deE]+")
    if len(re.findall(pattern, line)) != 1:
        return ""
    lines[node.line - 1] = re.sub(pattern, lambda match: match[1] + json.dumps(wanted, ensure_ascii=False), line)
    return "".join(lines)
