"""A module's tests are found by its name: `gateway/spool/lane.py` is tested in `tests/spool/test_lane.py`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("bridge", "core", "kafka", "mqtt", "registry", "spool")


def _defines_something(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(path.read_text()).body)


MODULES = sorted(
    path
    for package in PACKAGES
    for path in (REPOSITORY / "gateway" / package).rglob("*.py")
    if _defines_something(path)
)


def _test_file(path: Path) -> Path:
    """Name the test file of a module; that of a package's own code, in `__init__.py`, has the package's name."""
    below = path.relative_to(REPOSITORY / "gateway")
    name = below.parent.name if below.name == "__init__.py" else below.stem
    return REPOSITORY / "tests" / below.parent / f"test_{name}.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_module_has_a_test_file_of_its_name(path: Path) -> None:
    assert _test_file(path).is_file(), f"{_test_file(path).relative_to(REPOSITORY)} is missing"


def test_no_test_patches_the_gateway() -> None:
    patches = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in sorted((REPOSITORY / "tests").rglob("*.py"))
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "monkeypatch.setattr(" in line
        and not any(f"setattr({module}," in line for module in ("os", "socket", "time"))
    ]
    assert not patches, patches
