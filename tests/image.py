"""The container image, built and run: `make test-image`.

Named so that pytest takes it only when told: it takes root or subordinate ids, and minutes. podman runs the image where
this machine has it; elsewhere its files run after a chroot, with the user, the variables and the command of the image.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from gateway import __version__
from release import image
from tests.test_compose import lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the image."""
    return image.build("amd64", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the layer of the image."""
    folder = tmp_path_factory.mktemp("root")
    with tarfile.open(archive) as files:
        layer = max((entry for entry in files if entry.name.startswith("blobs/")), key=lambda entry: entry.size)
        packed = files.extractfile(layer)
        assert packed
        subprocess.run(["tar", "-xz", "--numeric-owner", "-C", folder], input=packed.read(), check=True)
    return folder


def run(root: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the command of the image on its files alone, as its user and without any capability."""
    user, _, group = image.USER.partition(":")
    inside = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    command = [*image.CONFIGURATION["Entrypoint"], *arguments]
    return subprocess.run(
        ["chroot", root, "/usr/bin/env", "-i", *image.CONFIGURATION["Env"], *inside, *command],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_image_has_the_gateway_and_no_settings(root: Path) -> None:
    done = run(root, ["--version"])
    assert done.stdout == f"gateway {__version__} (native)\n", done.stderr
    done = run(root, image.CONFIGURATION["Cmd"])
    assert done.returncode == 78, "the installation mounts its settings"
    assert "/etc/gateway/gateway.yaml" in done.stderr


def test_the_image_accepts_the_settings_of_the_compose_file(root: Path) -> None:
    lay_out("gateway", root)
    done = run(root, ["check", "-c", "/etc/gateway/gateway.yaml"])
    assert done.returncode == 0, done.stdout + done.stderr


def test_podman_runs_the_image(archive: Path) -> None:
    """Where this machine has podman."""
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("this machine has no podman; the other tests ran the files of the image")
    subprocess.run([podman, "load", "--input", archive], check=True, capture_output=True)
    ran = [podman, "run", "--rm", "--read-only", "--cap-drop=all", f"iot-gateway:{__version__}", "--version"]
    assert subprocess.run(ran, capture_output=True, text=True, check=True).stdout == f"gateway {__version__} (native)\n"
    shown = subprocess.run([podman, "image", "inspect", f"iot-gateway:{__version__}"], capture_output=True, check=True)
    assert json.loads(shown.stdout)[0]["Config"]["User"] == image.USER
