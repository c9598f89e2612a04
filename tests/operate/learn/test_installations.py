"""What is learnt from simulated installations: exact addresses, a contract that passes its check, no silent mistake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.operate.learn.installations import ALL, Installation, factories, homes
from tests.operate.learn.rig import accepted, learn

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 300
ACCEPTED = 0.99


@pytest.mark.parametrize("installation", ALL, ids=lambda one: one.name)
def test_an_installation_is_learnt(installation: Installation, tmp_path: Path) -> None:
    learnt = learn(installation, tmp_path, SECONDS)
    assert learnt.families == installation.families
    assert learnt.addresses == installation.addresses
    assert learnt.errors == []
    fates = learnt.fate(list(installation.messages(SECONDS)), installation.ignored)
    assert accepted(fates) >= ACCEPTED, fates
    assert [name for name, pattern in installation.traps.items() if not re.search(pattern, learnt.texts)] == []


@pytest.mark.parametrize("installation", [factories.odd_values, factories.junk, homes.zigbee], ids=lambda one: one.name)
def test_the_same_traffic_gives_the_same_bytes(installation: Installation, tmp_path: Path) -> None:
    first, second = (learn(installation, tmp_path / name, SECONDS) for name in ("first", "second"))
    assert (first.texts, first.report) == (second.texts, second.report)
