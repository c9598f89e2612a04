"""The container image, as an archive of the OCI image layout: made of Debian packages without a registry.

mmdebstrap makes a minimal Debian, dpkg installs the package of `deb.py` into it, and this module writes its one layer,
the configuration and the manifest. `podman load -i`, `docker load -i` and `skopeo copy oci-archive:` read the archive.
The same commit and the same Debian packages give the same bytes. No compiler and no shell script run at a start; the
process has a numeric user.

mmdebstrap needs root, or a user with subordinate ids (`/etc/subuid`).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import __version__
from release import deb
from release.epoch import epoch
from release.lock import REPOSITORY

SUITE = "trixie"
INSIDE = "python3,ca-certificates,libgcc-s1,libstdc++6,tzdata"
USER = "10001:10001"
LEFT_OUT = ("usr/share/man/*", "usr/share/locale/*", "usr/share/info/*", "var/cache/apt/archives/*.deb")
CONFIGURATION: dict[str, Any] = {
    "User": USER,
    "Env": ["PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
    "Entrypoint": ["gateway"],
    "Cmd": ["run", "--config", "/etc/gateway/gateway.yaml"],
    "ExposedPorts": {"9464/tcp": {}},
    "Volumes": {"/var/lib/gateway": {}},
    "StopSignal": "SIGTERM",
    "Labels": {
        "org.opencontainers.image.title": "IoT sensor gateway",
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.licenses": "Apache-2.0",
    },
}


def build(architecture: str, folder: Path) -> Path:
    """Build the image of an architecture, a key of `wheels.MACHINES`; for that of another machine it needs qemu.

    Raises:
        subprocess.CalledProcessError: mmdebstrap, pip or dpkg failed; it has printed the reason.
    """
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    with tempfile.TemporaryDirectory() as scratch:
        package = deb.build(architecture, Path(scratch), compression="none")
        layer = Path(scratch) / "layer.tar"
        subprocess.run(_debian(architecture, package, layer), check=True)
        image = folder / f"{deb.PACKAGE}_{deb.version()}_{architecture}.oci.tar"
        folder.mkdir(parents=True, exist_ok=True)
        write(layer, architecture, image)
    return image


def _debian(architecture: str, package: Path, layer: Path) -> list[str]:
    """The command that makes the files of the image; it clamps their times to SOURCE_DATE_EPOCH."""
    install = 'chroot "$1" dpkg --install /gateway.deb && rm "$1/gateway.deb"'
    prepare = f'install -d -o {USER.partition(":")[0]} -g {USER.partition(":")[2]} "$1/var/lib/gateway"'
    settings = 'rm -r "$1/etc/gateway"'  # an installation mounts its own
    hooks = (f"copy-in {package} /", f'mv "$1/{package.name}" "$1/gateway.deb" && {install}', prepare, settings)
    return [
        "mmdebstrap", "--quiet", "--variant=minbase", f"--architectures={architecture}", f"--include={INSIDE}",
        *(f"--dpkgopt=path-exclude=/{pattern}" for pattern in LEFT_OUT),
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE, str(layer),
    ]  # fmt: skip


def write(layer: Path, architecture: str, image: Path) -> None:
    """Write an image of one layer, a tar archive; see the OCI image specification, "Image Layout"."""
    content = layer.read_bytes()
    packed = gzip.compress(content, 6, mtime=0)
    created = datetime.fromtimestamp(epoch(), UTC).isoformat().replace("+00:00", "Z")
    configuration = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": CONFIGURATION,
            "rootfs": {"type": "layers", "diff_ids": [_digest(content)]},
            "history": [{"created": created, "created_by": "release/image.py"}],
        }
    )
    kind = "application/vnd.oci.image"
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": _described(f"{kind}.config.v1+json", configuration),
            "layers": [_described(f"{kind}.layer.v1.tar+gzip", packed)],
        }
    )
    name = {"org.opencontainers.image.ref.name": f"iot-gateway:{__version__}"}
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.index.v1+json",
            "manifests": [
                _described(f"{kind}.manifest.v1+json", manifest)
                | {"platform": {"architecture": architecture, "os": "linux"}, "annotations": name}
            ],
        }
    )
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index}
    blobs = {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (manifest, configuration, packed)}
    with tarfile.open(image, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path, blob in (files | blobs).items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(blob), epoch()
            archive.addfile(entry, io.BytesIO(blob))


def _described(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def main() -> None:
    """Build for each architecture of the command line, into dist/."""
    parser = argparse.ArgumentParser(prog="release.image", description="Build the container image.")
    parser.add_argument("architectures", nargs="*", default=["amd64"], metavar="ARCHITECTURE")
    for architecture in parser.parse_args().architectures:
        image = build(architecture, REPOSITORY / "dist")
        print(f"{image.relative_to(REPOSITORY)}: {image.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
