"""The arm64 package, run under emulation on the Pythons of Debian 12, 13 and testing: `make test-arm64`.

Named so that pytest takes it only when told: it fetches Debian's arm64 Pythons and takes minutes. mmdebstrap unpacks
them without running any of it; qemu's user emulation runs one program and looks for files in that tree first (-L).
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gateway import __version__
from release import deb
from release.lock import REPOSITORY
from tests.stack.software import command

if TYPE_CHECKING:
    from pathlib import Path

CACHE = REPOSITORY / ".cache" / "arm64"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13", "forky": "3.14"}
TIMEOUT = 600

# What the hot path does with all that is compiled, and every library in C that a wheel brings.
ENCODE = """
import sys
sys.path.insert(0, "/usr/lib/gateway")
import platform
from pathlib import Path
import _cffi_backend, confluent_kafka, cryptography.hazmat.bindings._rust, fastavro._read, pydantic_core, rpds, yaml
from gateway import contract
from gateway.core.reading import Reading
from gateway.core.transform import Transform
stream = contract.examine(Path("/etc/gateway/asyncapi.yaml"))[0].streams["receiveDoors"]
record = Transform(stream, 7, 1000)(Reading("receiveDoors", b"doors/gate-1", b'{"state": "closed"}', 1, 0))
print(platform.machine(), yaml.__with_libyaml__, confluent_kafka.libversion()[0] >= "2", record.key, record.value.hex())
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package."""
    return deb.build("arm64", tmp_path_factory.mktemp("dist"), compression="none")


@pytest.fixture(scope="module", params=PYTHONS)
def root(request: pytest.FixtureRequest, package: Path) -> Path:
    """Unpack the package over a Debian."""
    suite = str(request.param)
    folder = CACHE / suite
    if not (folder / "usr/bin/python3").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        debian = [command("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=extract", "--architectures=arm64"]
        debian.append('--aptopt=Acquire::Check-Valid-Until "false"')  # testing's index expires after a week
        subprocess.run([*debian, "--include=base-files,python3", suite, str(folder)], check=True)
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def run(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run arm64's Python in the unpacked Debian."""
    emulator = command("qemu-aarch64-static", "qemu-user-static")
    python = (root / "usr/bin/python3").resolve()
    return subprocess.run(
        [emulator, "-L", root, python, "-IS", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={},
        timeout=TIMEOUT,
    )


def test_version(root: Path) -> None:
    """The launcher finds the gateway, with the Python of that Debian."""
    told = run(root, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    assert told.stdout.strip() == PYTHONS[root.name], told.stderr
    assert run(root, root / "usr/bin/gateway", "--version").stdout == f"gateway {__version__} (native)\n"


def test_check(root: Path) -> None:
    """The packaged contract is fit to run."""
    checked = run(root, root / "usr/bin/gateway", "check", "--contract", root / "etc/gateway/asyncapi.yaml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "receiveDoors: doors/+ (factoryBroker) -> door-sensors, key /location, compiled" in checked.stdout


def test_encode(root: Path) -> None:
    """Every compiled library loads, and a reading becomes the bytes that any machine makes of it."""
    told = run(root, "-c", ENCODE)
    value = b"\x00" + (7).to_bytes(4, "big") + b"\x0cgate-1" + b"\x02"
    assert told.stdout.split() == ["aarch64", "True", "True", "b'gate-1'", value.hex()], told.stderr
