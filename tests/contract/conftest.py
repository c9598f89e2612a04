"""A copy of the contract for a test to edit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.contract import examine

if TYPE_CHECKING:
    from gateway.contract import Contract
    from gateway.errors import Finding

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Copy:
    """`asyncapi.yaml` and `schemas/` in a folder of their own."""

    folder: Path

    @property
    def document(self) -> Path:
        """The AsyncAPI document."""
        return self.folder / "asyncapi.yaml"

    def edit(self, old: str, new: str, file: str = "asyncapi.yaml") -> None:
        """Replace the first occurrence of a text, which must be there."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def findings(self) -> list[Finding]:
        """All findings."""
        return examine(self.document)[1]

    def contract(self) -> Contract:
        """The contract; it must have no errors."""
        found, findings = examine(self.document)
        assert found is not None, findings
        return found


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the contract."""
    shutil.copy(REPOSITORY / "asyncapi.yaml", tmp_path)
    shutil.copytree(REPOSITORY / "schemas", tmp_path / "schemas")
    return Copy(tmp_path)
