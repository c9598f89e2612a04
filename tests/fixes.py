"""Applies the fix that a finding quotes, as a reader would: at the place of the finding, and nowhere else.

A fix quotes something when it can be copied: a name, a value, a member, or "Remove it." Other fixes are prose. They say
what to decide, and nobody can apply them without knowing more than the file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gateway.core.codec.validation_error import tokens
from gateway.documents import json_file, yaml_file
from gateway.documents.source import pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.errors import Finding

PYTHON = re.compile(r"\b(?:None|True|False|NoneType|dict|tuple)\b|[\[{]'")  # words, and lists, of Python


class Target:
    """The value that a finding is about, in the data of its file."""

    def __init__(self, finding: Finding) -> None:
        self.path = Path(finding.source)
        self.is_json = self.path.suffix in {".json", ".avsc"}
        read: Any = json_file.read if self.is_json else yaml_file.read
        self.data = read(self.path, finding.source, *(() if self.is_json else (pointer,))).data
        self.message = finding.message
        keys = self._keys(finding.path)
        self.parent, self.key = self._parent(keys), (keys or [""])[-1]

    def _keys(self, path: str) -> list[str]:
        if path.startswith("#"):
            return list(tokens(path[1:]))
        keys: list[str] = []
        value = self.data  # keys of settings may have dots themselves
        while path and isinstance(value, dict):
            key = max((one for one in value if f"{path}.".startswith(f"{one}.")), key=len, default=path)
            keys, path, value = [*keys, key], path[len(key) + 1 :], value.get(key)
        return keys

    def _parent(self, keys: list[str]) -> Any:
        value = self.data
        for key in keys[:-1]:
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value

    @property
    def index(self) -> Any:
        return int(self.key) if isinstance(self.parent, list) else self.key

    @property
    def value(self) -> Any:
        """The value itself; None when it is absent."""
        if not self.key:
            return self.data
        is_there = not isinstance(self.parent, dict) or self.key in self.parent
        return self.parent[self.index] if is_there else None

    def put(self, value: Any) -> None:
        self.parent[self.index] = value

    def remove(self) -> None:
        del self.parent[self.index]

    def write(self) -> None:
        """Write the file; JSON is YAML too."""
        self.path.write_text(json.dumps(self.data, indent=1, ensure_ascii=False))


def _rename(target: Target, match: re.Match[str]) -> None:
    """Replace the name that the message quotes: the key, or all or part of the value."""
    quoted = [one for pair in re.findall(r"'([^']*)'|\"([^\"]*)\"", target.message) for one in pair if one]
    if target.key in quoted or "no such " in target.message or f"{{{target.key}}}" in target.message:
        target.parent[match[1]] = target.parent.pop(target.key)
    else:
        is_part = not match[1].startswith("$")  # an expression is never part of a value
        wrong = next((one for one in quoted if is_part and one in str(target.value)), target.value)
        wrong = target.value if target.value in quoted else wrong
        target.put(str(target.value).replace(wrong, match[1]))


def _members(target: Target, match: re.Match[str]) -> None:
    """Put members into the object that the finding is about, or that holds its value."""
    text, end = match[1], len(match[1])
    while end and not (members := _parsed(f"{{{text[:end]}}}")):
        end -= 1
    assert end, f"no members in {text}"
    (target.value if isinstance(target.value, dict) else target.parent).update(members)
    if "remove it here" in text:
        target.remove()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _yaml_member(target: Target, match: re.Match[str]) -> None:
    value = target.value
    holder = value if isinstance(value, dict) and match[1] != target.key else target.parent
    holder[match[1]] = yaml.safe_load(match[2])


def _only_type(target: Target, match: re.Match[str]) -> None:
    target.parent.clear()
    target.parent["type"] = match[1]


# The forms of fixes that can be copied. An ellipsis or a word such as `host` stands for what the reader knows.
EDITS: list[tuple[str, Callable[[Target, re.Match[str]], None]]] = [
    (r"(?:.* )?Did you mean '(.+)'\?", _rename),
    (r"Rename it to '(.+)'\.", _rename),
    (r'.*?(?:Write|as in) ("\w+": (?!\[?\.\.\.).+)', _members),
    (r'Write ("x-source": \{.+)', _members),
    (r".*?(?:Write|as in) `?([\[{][^.$]+[\]}])`?\.", lambda target, match: target.put(yaml.safe_load(match[1]))),
    (r"Remove it(?:\.|, or .*| to use the default\.)", lambda target, _match: target.remove()),
    (r"Remove the quotes\.", lambda target, _match: target.put(int(target.value))),
    (r"Put (?:it in quotes|quotes around it)\.", lambda target, _match: target.put(str(target.value))),
    (r"Write '([^']+)'.*", lambda target, match: target.put(match[1])),
    (r"Write ((?:[\w-]+: false, )+[\w-]+: false)\.",
     lambda target, match: target.value.update(yaml.safe_load(f"{{{match[1]}}}"))),
    (r"Write ([\w.-]+): ((?!.*\.\.\.).+?)(?: to lose no reading| to ignore such members, or false)?\.", _yaml_member),
    (r".*such as (\d+)(?: for a week)?\.", lambda target, match: target.put(int(match[1]))),
    (r"Write ((?=[^ ]*[/:#])(?!http://host|host:port|\$message.payload#/member)[\w$#/.;:=+-]*[\w])(?:\.|,.*)",
     lambda target, match: target.put(match[1])),
    (r"Write only the type, one of ([\w-]+)(?:, [\w-]+)*\.", _only_type),
    (r"Use (?:one of )?([\w.-]+)(?:, [\w.-]+)*\.", lambda target, match: target.put(match[1])),
    (r"Write a number with a unit, such as (\w+), .*", lambda target, match: target.put(match[1])),
    (r"Write it in the form (.+)\.", lambda target, match: target.put(match[1])),
    (r"Write ([01])(?:, 1)? or [12]\.", lambda target, match: target.put(int(match[1]))),
    (r"List exactly (.+)\.", lambda target, match: target.put(match[1].split(", "))),
]  # fmt: skip


def apply(finding: Finding) -> bool:
    """Apply a fix to the finding's file; returns False, and changes nothing, when it quotes nothing."""
    for form, edit in EDITS:
        if match := re.fullmatch(form, finding.fix):
            target = Target(finding)
            edit(target, match)
            target.write()
            return True
    return False
