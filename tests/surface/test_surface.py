"""What users rely on changes only with an entry in CHANGELOG.md: the rule is in `record.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.surface import record
from tests.surface.running import surface

if TYPE_CHECKING:
    from pathlib import Path

    from tests.surface.record import Surface

RECORDED: Surface = {
    "commands": {"gateway run": "command", "gateway run --config": "path, required"},
    "settings": {"spool.after": "number, default 5.0", "http.listen": "string"},
}
BEFORE_A_RELEASE = "# Changelog\n\n## Unreleased\n\n### Added\n- `gateway run`, `http.listen` and `spool.after`.\n"


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Surface:
    """Derive the present surface once."""
    return surface(tmp_path_factory.mktemp("surface"))


@pytest.mark.parametrize("file", sorted(record.read()))
def test_every_change_of_the_surface_has_an_entry(file: str, present: Surface) -> None:
    """Each name that differs from the last release is in backticks under Added, Changed or Removed of Unreleased."""
    changes = [change for change in record.differences(record.read(), present) if change.file == file]
    assert not [*map(str, record.without_entry(changes, record.CHANGELOG.read_text()))]


def test_the_record_covers_every_part_of_the_surface(present: Surface) -> None:
    assert record.read().keys() == present.keys()
    assert all(present.values())


PLANTED = [
    ("Added", "cache.size", RECORDED | {"cache": {"cache.size": "integer"}}),
    ("Removed", "spool.after", RECORDED | {"settings": {"http.listen": "string"}}),
    ("Changed", "http.listen", RECORDED | {"settings": RECORDED["settings"] | {"http.listen": "integer"}}),
]


@pytest.mark.parametrize(("kind", "name", "surface_then"), PLANTED)
def test_a_planted_change_needs_an_entry_of_its_name_and_kind(kind: str, name: str, surface_then: Surface) -> None:
    """Another heading, another name, a released section or the name without backticks do not do."""
    changes = record.differences(RECORDED, surface_then)
    assert [(change.kind, change.name) for change in changes] == [(kind, name)]
    other = "Changed" if kind == "Removed" else "Removed"
    for wrong in (
        "",
        BEFORE_A_RELEASE,
        f"## Unreleased\n\n### {other}\n- `{name}`\n",
        f"## Unreleased\n\n### {kind}\n- {name}\n- `{name}s`\n",
        f"## Unreleased\n\n## 0.1.0\n\n### {kind}\n- `{name}`\n",
    ):
        assert record.without_entry(changes, wrong) == changes, wrong
    assert not record.without_entry(changes, f"{BEFORE_A_RELEASE}\n### {kind}\n- `{name}` is another. **Do:** look.\n")


def test_an_entry_of_an_added_name_covers_what_is_below_it() -> None:
    """One line is enough for a new command, but an entry of a command that was there covers no new option."""
    commands = {"gateway copy": "command", "gateway copy --from": "path", "gateway run --fast": "flag"}
    changes = record.differences(RECORDED, RECORDED | {"commands": RECORDED["commands"] | commands})
    changelog = "## Unreleased\n\n### Added\n- `gateway copy`, and more of `gateway run`.\n"
    assert [change.name for change in record.without_entry(changes, changelog)] == ["gateway run --fast"]


def test_an_unchanged_surface_needs_no_entry() -> None:
    assert not record.differences(RECORDED, dict(RECORDED))


def test_a_surface_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Names and descriptions survive, and what is no longer there leaves no file."""
    record.write({"old": {"a": "b"}}, tmp_path)
    record.write(RECORDED, tmp_path)
    assert record.read(tmp_path) == RECORDED
