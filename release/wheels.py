"""The locked wheels of one architecture, laid into one folder that every supported Python reads.

Compiled modules carry the Python and the machine in their names (`cimpl.cpython-313-aarch64-linux-gnu.so`), so wheels
for several Pythons lie in one folder and share all the rest, as Debian's own python3-* packages do. That the shared
files are the same in each wheel is checked, not hoped. A folder for each Python was tried first: three times the size.

pip downloads with hashes and wheels only, for a machine that need not be this one; nothing of a wheel is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING
from zipfile import ZipFile

from gateway import __version__
from release.epoch import epoch
from release.lock import REPOSITORY, packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
ANY = "none"  # as native/build.py has it

# Debian 12 has glibc 2.36; wheels name the oldest that they run on, which is that of the image they were built in. pip
# compares each platform with each wheel of an index, so that all twenty cost seconds.
_GLIBC = (17, 24, 28, 31, 34)

# What pip keeps for itself, and what says for which Python a wheel was built.
_LEFT_OUT = ("/RECORD", "/WHEEL", "/INSTALLER", "/REQUESTED", "/direct_url.json")


def download(architecture: str, folder: Path) -> list[Path]:
    """Fetch the wheels of requirements/run.txt.

    Args:
        architecture: Debian's word for it, a key of `MACHINES`.
        folder: where they go, of this lock alone; once all are there, nothing is asked for again.

    Returns:
        Their paths, sorted.

    Raises:
        subprocess.CalledProcessError: pip could not have one of them; it has said why.
    """
    complete = folder / ".complete"
    if not complete.exists():
        _download(MACHINES[architecture], folder)
        complete.touch()
    return sorted(folder.glob("*.whl"))


def _download(machine: str, folder: Path) -> None:
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC] + [
        f"--platform=manylinux2014_{machine}"
    ]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    locked = ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    for python in PYTHONS:
        target = [f"--dest={folder}", "--implementation=cp", f"--python-version={python}"]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as missing:
            missing.writelines(_missing(folder))
            missing.flush()
            subprocess.run([*pip, *locked, "-r", missing.name, *target, *platforms], check=True)


def _missing(folder: Path) -> Iterator[str]:
    """The lines of the lock for packages without a wheel that runs on every Python."""
    there = {_name(wheel) for wheel in folder.glob("*-none-any.whl")}
    for package in packages("run"):
        if package.name not in there:
            hashes = "".join(f" --hash=sha256:{each}" for each in package.hashes)
            yield f"{package.name}=={package.version}{f' ; {package.marker}' if package.marker else ''}{hashes}\n"


def _name(wheel: Path) -> str:
    """The name of a wheel's package, as a lock writes it."""
    return wheel.name.partition("-")[0].replace("_", "-").lower()


def own(folder: Path, machine: str) -> Path:
    """Build the wheel of this repository; with SOURCE_DATE_EPOCH set, the same bytes each time.

    Args:
        folder: where it goes, and takes the place of one of the same version.
        machine: a value of `MACHINES`, or ANY for the wheel without the module in C.

    Returns:
        Its path.

    Raises:
        subprocess.CalledProcessError: it could not be built; pip has said why.
    """
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(REPOSITORY)]
    subprocess.run(command, check=True, env=os.environ | {"GATEWAY_MACHINE": machine})
    (wheel,) = folder.glob(f"iot_gateway-{__version__}-*{'any' if machine == ANY else machine}.whl")
    return wheel


def lay(wheels: Iterable[Path], folder: Path) -> None:
    """Unpack wheels over each other.

    Args:
        wheels: of one architecture, for any of the Pythons.
        folder: where their packages become importable.

    Raises:
        ValueError: two wheels have different files of one name, or a wheel wants more than to be unpacked.
    """
    for wheel in wheels:
        for name, content in _files(wheel):
            path = folder / name
            if path.exists() and path.read_bytes() != content:
                raise ValueError(f"{wheel.name} and a wheel before it differ in {name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            top, *below = name.split("/")
            if top.endswith((".data", ".pth")) or not top or ".." in (top, *below):
                raise ValueError(f"{wheel.name} wants more than to be unpacked: {name}")
            is_metadata = top.endswith(".dist-info")
            if not name.endswith("/") and not (is_metadata and (name.endswith(_LEFT_OUT) or "/sboms/" in name)):
                yield name, archive.read(name)


def main() -> None:
    """Build our own wheels, one for each kind of machine and one for all others, into dist/."""
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    for machine in (*MACHINES.values(), ANY):
        print(own(REPOSITORY / "dist", machine).relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
