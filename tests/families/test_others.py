"""Devices that no family describes are modelled with what `docs/contract.md` says, in a few lines each.

Each folder in `others/` has the channels, operations and components that are added to `others/base.yaml`, and a table
of real payloads.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from gateway.operate.init import family as families
from tests.families.harness import Outcomes, Published, check
from tests.families.test_families import EXAMPLES, HERE, MOST_LINES, table

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = sorted(path for path in (HERE / "others").iterdir() if path.is_dir())


def other(folder: Path) -> families.Family:
    schemas = {path.name: path.read_text() for path in sorted(folder.glob("*.avsc"))}
    return families.Family(folder.name, (folder / "contract.yaml").read_text(), schemas)


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcomes]:
    """The contract of each of the others."""
    made = {}
    for folder in OTHERS:
        path = tmp_path_factory.mktemp(folder.name) / "asyncapi.yaml"
        shutil.copy(HERE / "others" / "base.yaml", path)
        families.add([other(folder)], path, [])
        made[folder.name] = Outcomes(path)
    return made


@pytest.mark.parametrize("folder", OTHERS, ids=lambda folder: folder.name)
def test_check_finds_nothing_in_the_contract(folder: Path, contracts: dict[str, Outcomes]) -> None:
    assert contracts[folder.name].findings == []


@pytest.mark.parametrize("folder", OTHERS, ids=lambda folder: folder.name)
def test_the_contract_is_short(folder: Path) -> None:
    text = (folder / "contract.yaml").read_text()
    assert EXAMPLES.sub("", text).count("\n") <= MOST_LINES * len(other(folder).schemas)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(folder.name, row, id=f"{folder.name}: {row.name}")
        for folder in OTHERS
        for row in table(folder / "payloads.yaml")
    ],
)
def test_real_payloads_become_records(name: str, message: Published, contracts: dict[str, Outcomes]) -> None:
    check(contracts[name], message)
