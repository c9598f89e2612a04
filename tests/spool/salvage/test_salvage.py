"""Damaged spools of every kind: readable rows return, and the damaged files are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.spool import salvage
from gateway.spool.salvage import pages
from tests.faults import damage
from tests.spool.salvage.spools import reading, written

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_leaves_the_damaged_files_as_they_are(tmp_path: Path) -> None:
    """They are kept for the operator."""
    path = tmp_path / "spool.db"
    data = bytearray(written(path, {number: reading(number) for number in range(500)}))
    data[pages.PAGE_BYTES * 3 :][:500] = bytes(500)
    data[:50] = bytes(50)
    path.write_bytes(data)
    assert {row[0] for row in salvage.rows(path)} == set(range(500))
    assert path.read_bytes() == data


def test_open_leaves_the_log_of_a_damaged_file_as_it_is(tmp_path: Path) -> None:
    """Closed by SQLite in the usual way it would be copied over pages that hold more than it does."""
    damage.build(tmp_path / "sound.db", 1, is_live=True)
    (tmp_path / "damaged").mkdir()
    verdict = damage.try_one(tmp_path / "damaged", 0, tmp_path / "sound.db", "killed 1", "first pages destroyed")
    assert verdict.was_set_aside
    assert verdict.is_clean, verdict


def test_open_gives_back_whatever_is_readable_of_a_damaged_spool(tmp_path: Path) -> None:
    """One file of each kind of damage; `python -m tests.faults.damage` tries five hundred."""
    verdicts = list(damage.run(tmp_path, len(damage.WAYS), seed=3, copies=len(damage.WAYS)))
    assert [verdict for verdict in verdicts if not verdict.is_clean] == []
    assert any(verdict.was_set_aside for verdict in verdicts)
