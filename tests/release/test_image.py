"""The container image: an archive of the OCI layout whose every part is what its digest says."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from typing import TYPE_CHECKING, Any

from gateway import __version__
from release import image
from release.lock import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def made(folder: Path) -> dict[str, bytes]:
    """Write an image of a layer with one file, and read the archive."""
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        entry = tarfile.TarInfo("usr/bin/gateway")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"run\n"))
    image.write(layer, "arm64", folder / "image.tar")
    with tarfile.open(folder / "image.tar") as archive:
        return {entry.name: read.read() for entry in archive if (read := archive.extractfile(entry))}


def blob(files: dict[str, bytes], described: dict[str, Any]) -> bytes:
    """Follow a descriptor, and compare the content with its digest and size."""
    algorithm, digest = described["digest"].split(":")
    content = files[f"blobs/{algorithm}/{digest}"]
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, described["size"])
    return content


def test_an_image_leads_from_its_index_to_the_files_of_its_layer(tmp_path: Path) -> None:
    files = made(tmp_path)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["platform"] == {"architecture": "arm64", "os": "linux"}
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": f"iot-gateway:{__version__}"}
    manifest = json.loads(blob(files, entry))
    configuration = json.loads(blob(files, manifest["config"]))
    (described,) = manifest["layers"]
    layer = gzip.decompress(blob(files, described))
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        assert archive.getnames() == ["usr/bin/gateway"]
    assert len(files) == 5, "nothing else is in the archive"


def test_the_same_layer_gives_the_same_bytes(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert made(tmp_path) == first


def test_an_image_of_a_debian_has_the_package_that_is_installed_on_debian() -> None:
    """What the package depends on is in the image, so dpkg installs it without another source."""
    from release import deb  # noqa: PLC0415  (only this test needs it)

    wanted = set(re.findall(r"[a-z][\w+.-]+", re.sub(r"\([^)]*\)", "", deb.DEPENDS)))
    assert wanted <= {*image.INSIDE.split(","), "libc6"}
    assert (REPOSITORY / "deploy/debian/gateway").exists()
