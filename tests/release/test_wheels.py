"""Wheels are laid into one folder, or it is said why not."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from release import wheels

if TYPE_CHECKING:
    from pathlib import Path


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """Make a wheel."""
    path = folder / name
    with ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return path


def test_lay_puts_several_pythons_into_one_folder(tmp_path: Path) -> None:
    """What is compiled lies side by side, what is not is there once, and pip's own notes are left out."""
    both = [
        wheel(
            tmp_path,
            f"a-1-cp{python}-cp{python}-linux_x86_64.whl",
            {"a/__init__.py": "", f"a/b.cpython-{python}.so": python, "a-1.dist-info/WHEEL": python},
        )
        for python in ("311", "313")
    ]
    wheels.lay(both, tmp_path / "into")
    files = sorted(
        str(path.relative_to(tmp_path / "into")) for path in (tmp_path / "into").rglob("*") if path.is_file()
    )
    assert files == ["a/__init__.py", "a/b.cpython-311.so", "a/b.cpython-313.so"]


def test_lay_refuses_wheels_that_differ_in_what_they_share(tmp_path: Path) -> None:
    """One of two would be wrong for one of the Pythons."""
    both = [wheel(tmp_path, f"a-{number}.whl", {"a/__init__.py": str(number)}) for number in (1, 2)]
    with pytest.raises(ValueError, match=r"a-2\.whl and a wheel before it differ in a/__init__\.py"):
        wheels.lay(both, tmp_path / "into")


@pytest.mark.parametrize("name", ["a-1.data/scripts/a", "a.pth"])
def test_lay_refuses_wheels_that_want_more(tmp_path: Path, name: str) -> None:
    """Scripts elsewhere, and lines that Python would run at each start, are not unpacked silently."""
    with pytest.raises(ValueError, match=r"a\.whl wants more than to be unpacked"):
        wheels.lay([wheel(tmp_path, "a.whl", {name: ""})], tmp_path / "into")


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_lay_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    """No wheel writes beside the folder that it is unpacked into."""
    with pytest.raises(ValueError, match="wants more than to be unpacked"):
        wheels.lay([wheel(tmp_path, "a.whl", {name: ""})], tmp_path / "into")
