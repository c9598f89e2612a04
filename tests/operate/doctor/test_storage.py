"""The folder of the spool, as a user sees it who may not look into it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.operate.doctor.storage import examine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65_534


@contextmanager
def another_user() -> Iterator[None]:
    """Be a user without rights, if this one has all."""
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(NOBODY)
        yield
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("forbidden", [".", "state"], ids=["the folder above", "the folder"])
def test_a_folder_that_this_user_may_not_list_is_a_finding(tmp_path: Path, forbidden: str) -> None:
    """The row says which user to run as, and the command goes on."""
    folder = tmp_path / "state"
    folder.mkdir()
    (tmp_path / forbidden).chmod(0o300)
    try:
        with another_user():
            [finding] = examine(folder / "spool.db", 2**20)
    finally:
        (tmp_path / forbidden).chmod(0o700)
    assert (finding.severity, finding.fix) == ("error", "Run this command as the gateway's user.")
    assert str(folder) in finding.message
