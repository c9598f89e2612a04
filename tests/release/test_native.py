"""The module in C is built for both kinds of machine, the same each time, and left out without a compiler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from native.build import MODULE, PLATFORM, compile_module
from release import wheels
from release.lock import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
STABLE_SINCE = re.compile(r"GLIBC_(\d+)\.(\d+)")


@pytest.mark.parametrize("machine", wheels.MACHINES.values())
def test_module_is_of_its_machine_and_needs_no_newer_c_library_than_its_wheel_says(
    machine: str, tmp_path: Path
) -> None:
    compile_module(tmp_path / "module.so", machine)
    content = (tmp_path / "module.so").read_bytes()
    assert int.from_bytes(content[18:20], "little") == ELF_MACHINES[machine]
    needed = [tuple(map(int, version)) for version in STABLE_SINCE.findall(content.decode("latin-1"))]
    assert max(needed) <= tuple(map(int, PLATFORM.split("_")[1:]))


def test_build_twice_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        compile_module(tmp_path / name / "module.so")
    assert (tmp_path / "one" / "module.so").read_bytes() == (tmp_path / "other" / "module.so").read_bytes()


def test_an_installation_without_a_compiler_gets_the_wheel_without_the_module(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, str(REPOSITORY)], check=True, env=os.environ | {"CC": "no-compiler-of-this-name"})
    (wheel,) = tmp_path.iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert MODULE not in ZipFile(wheel).namelist()


def test_a_wheel_that_names_its_machine_has_the_module(tmp_path: Path) -> None:
    wheel = wheels.own(tmp_path, "aarch64")
    assert wheel.name.endswith(f"-cp311-abi3-{PLATFORM}_aarch64.whl")
    assert MODULE in ZipFile(wheel).namelist()
