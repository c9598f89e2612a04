"""The recorded surface, and the rule that ties it to the changelog.

`recorded/` holds what users of the last release rely on: one file for each kind of thing, one line for each name:

    spool.after: number, default 5.0

A name is added, removed or changed when the present surface (`present.py`, `running.py`) differs from the record. Each
such name must be written in backticks under the heading of its kind (Added, Removed, Changed) of the section Unreleased
in CHANGELOG.md. An added or removed name also covers the names below it that were added or removed with it:
`gateway copy` covers `gateway copy --from`, and `cache` covers `cache.size`.

A release takes the present surface over with `python -m tests.surface`, before it renames Unreleased. The command
refuses as long as an entry is missing, so that recording anew cannot replace the entry.

Limit: a name that changes twice between two releases needs one entry. Whether its text is true is for the review.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

RECORDED = Path(__file__).parent / "recorded"
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"

Surface = dict[str, dict[str, str]]  # file -> name -> description


class Change(NamedTuple):
    """A difference between the recorded surface and the present one."""

    kind: str  # the heading in the changelog
    file: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        """Write the change with the entry that it needs."""
        return f"{self.file}: `{self.name}` needs an entry under {self.kind}; was {self.before!r}, is {self.after!r}"


def read(folder: Path = RECORDED) -> Surface:
    """Read a recorded surface."""
    return {
        path.stem: dict(_split(line) for line in path.read_text().splitlines()) for path in sorted(folder.glob("*.txt"))
    }


def write(surface: Surface, folder: Path = RECORDED) -> None:
    """Replace the recorded surface."""
    for path in folder.glob("*.txt"):
        path.unlink()
    for file, names in surface.items():
        (folder / f"{file}.txt").write_text("".join(f"{name}: {names[name]}\n" for name in sorted(names)))


def _split(line: str) -> tuple[str, str]:
    name, _, description = line.partition(": ")
    return name, description


def differences(recorded: Surface, present: Surface) -> list[Change]:
    """List every name that was added, removed or changed."""
    changes = []
    for file in sorted(recorded.keys() | present.keys()):
        before, after = recorded.get(file, {}), present.get(file, {})
        changes += [Change("Added", file, name, "", after[name]) for name in sorted(after.keys() - before.keys())]
        changes += [Change("Removed", file, name, before[name], "") for name in sorted(before.keys() - after.keys())]
        changes += [
            Change("Changed", file, name, before[name], after[name])
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        ]
    return changes


def without_entry(changes: list[Change], changelog: str) -> list[Change]:
    """List the changes that the section Unreleased does not name.

    Args:
        changes: as `differences` returns them.
        changelog: text of CHANGELOG.md.
    """
    entries = _unreleased(changelog)
    moved = {(change.kind, change.name) for change in changes if change.kind != "Changed"}
    return [
        change
        for change in changes
        if not any(
            name == change.name or ((change.kind, name) in moved and _is_below(change.name, name))
            for name in entries.get(change.kind, set())
        )
    ]


def _is_below(name: str, parent: str) -> bool:
    return name.startswith((f"{parent} ", f"{parent}."))


def _unreleased(changelog: str) -> dict[str, set[str]]:
    """Return the names in backticks by heading."""
    section = re.search(r"^## Unreleased$(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^### (\w+)$", section[1] if section else "", flags=re.MULTILINE)
    return {
        heading: set(re.findall(r"`([^`]+)`", text)) for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
