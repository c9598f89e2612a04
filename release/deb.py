"""The Debian package: everything inside, nothing fetched on the machine that it is installed on.

A tree is laid out under build/ and packed by `dpkg-deb --root-owner-group`: no root, no machine of the package's own
kind; a cross compiler makes the module in C. The wheels of the lock are in /usr/lib/gateway for every supported Python
(see `wheels.py`: 21 MB packed), and run on Debian's own interpreter, which gets its security updates from Debian. The
same sources and SOURCE_DATE_EPOCH make the same bytes.

Lost: dh-virtualenv and debhelper (a virtual environment holds absolute paths and one Python; both build on the machine
they build for, so arm64 takes a Pi or hours of emulation). A PyInstaller bundle (its own Python, unpacked at each start
onto an SD card). Debian's python3-* packages (no confluent-kafka or msgspec as new as the lock). A snap or a container
(a second package system on a Raspberry Pi).

The user is systemd's (DynamicUser), so there is nothing for sysusers.d; the directories are the package's own and
StateDirectory's, so there is nothing for tmpfiles.d. Purge leaves no user behind.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from typer.completion import get_completion_script  # type: ignore[attr-defined]  # public, not listed by typer

from gateway import __version__
from release import licences, manual, wheels
from release.epoch import epoch
from release.lock import REPOSITORY, packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "gateway"
MAINTAINER = "IoT sensor gateway maintainers <maintainers@iot-gateway.invalid>"
HOMES = {
    "asyncapi.yaml": "etc/gateway/asyncapi.yaml",
    "schemas": "etc/gateway/schemas",
    "deploy/gateway.yaml": "etc/gateway/gateway.yaml",
    "deploy/gateway.service": "usr/lib/systemd/system/gateway.service",
    "deploy/gateway@.service": "usr/lib/systemd/system/gateway@.service",
    "deploy/gateway-update.service": "usr/lib/systemd/system/gateway-update.service",
    "deploy/gateway-update.timer": "usr/lib/systemd/system/gateway-update.timer",
    "deploy/debian/gateway": "usr/bin/gateway",
    "mosquitto": "usr/share/doc/gateway/examples/mosquitto",
    "deploy/prometheus": "usr/share/doc/gateway/examples/prometheus",
    "deploy/grafana": "usr/share/doc/gateway/examples/grafana",
    "deploy/runbook.md": "usr/share/doc/gateway/runbook.md",
    "README.md": "usr/share/doc/gateway/README.md",
    "docs/guarantees.md": "usr/share/doc/gateway/docs/guarantees.md",
    "docs/reference.md": "usr/share/doc/gateway/docs/reference.md",
    "docs/devices.md": "usr/share/doc/gateway/docs/devices.md",
    "CHANGELOG.md": "usr/share/doc/gateway/CHANGELOG.md",
}
SCRIPTS = ("postinst", "prerm", "postrm")
SECRETS = "etc/gateway/secrets"
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/gateway",
    "zsh": "usr/share/zsh/vendor-completions/_gateway",
    "fish": "usr/share/fish/vendor_completions.d/gateway.fish",
}
DEPENDS = "python3 (>= 3.11), python3 (<< 3.15), libc6 (>= 2.36), libgcc-s1, libstdc++6, tzdata"
DESCRIPTION = """\
MQTT to Kafka gateway for smart meters and factory sensors
 Subscribes to MQTT topics, checks each reading against its Avro schema and
 produces it to Kafka in the schema registry's wire format, keyed and in order.
 What it has acknowledged is in Kafka or on its disk.
 .
 The service is installed stopped. Edit /etc/gateway/gateway.yaml, then:
 systemctl enable --now gateway"""


def build(architecture: str, folder: Path, compression: str = "xz") -> Path:
    """Build the package.

    Args:
        architecture: `amd64` or `arm64`.
        folder: where it goes.
        compression: as `dpkg-deb -Z` has it; `none` is quick.

    Returns:
        Its path.

    Raises:
        ValueError: the wheels do not lie in one folder together.
        subprocess.CalledProcessError: pip or dpkg-deb failed; it has said why.
    """
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    tree = REPOSITORY / "build" / architecture
    shutil.rmtree(tree, ignore_errors=True)
    lay_out(tree, architecture)
    _describe(tree, architecture)
    _set_modes(tree)
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / f"{PACKAGE}_{version()}_{architecture}.deb"
    pack = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--threads-max=1", "--build"]  # threads change bytes
    subprocess.run([*pack, str(tree), str(package)], check=True, stdout=subprocess.DEVNULL)
    return package


def version(of: str = __version__) -> str:
    """Write a version as Debian orders it: 1.0rc1 comes before 1.0 as 1.0~rc1.

    Args:
        of: as Python writes it.
    """
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", of)


def lay_out(tree: Path, architecture: str) -> None:
    """Put every file where the package has it.

    Args:
        tree: the folder that becomes the package.
        architecture: whose wheels.

    Raises:
        ValueError: the wheels do not lie in one folder together.
        subprocess.CalledProcessError: pip failed; it has said why.
    """
    for source, home in HOMES.items():
        target = tree / home
        target.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            shutil.copytree(REPOSITORY / source, target)
        else:
            shutil.copyfile(REPOSITORY / source, target)
    (tree / SECRETS).mkdir()
    fetched = wheels.download(architecture, REPOSITORY / ".cache" / "wheels" / _lock_digest() / architecture)
    wheels.lay([*fetched, wheels.own(REPOSITORY / "build", wheels.MACHINES[architecture])], tree / "usr/lib/gateway")
    for shell, home in COMPLETIONS.items():
        _write(tree / home, get_completion_script(prog_name="gateway", complete_var="_GATEWAY_COMPLETE", shell=shell))
    _write_documents(tree)


def _lock_digest() -> str:
    """Name the lock and the Pythons, so that wheels of an older lock or of fewer Pythons are not taken for its own."""
    lock = (REPOSITORY / "requirements" / "run.txt").read_bytes()
    return hashlib.sha256(lock + " ".join(wheels.PYTHONS).encode()).hexdigest()[:16]


def _write_documents(tree: Path) -> None:
    date = datetime.fromtimestamp(epoch(), UTC)
    documents = tree / "usr/share/doc/gateway"
    changes = f"""{PACKAGE} ({version()}) stable; urgency=medium

  * What changed is in CHANGELOG.md beside this file.

 -- {MAINTAINER}  {date:%a, %d %b %Y %H:%M:%S} +0000
"""
    _write(documents / "copyright", "\n".join(_copyright()))
    _write_compressed(documents / "changelog.gz", changes)
    _write_compressed(tree / "usr/share/man/man1/gateway.1.gz", manual.page(f"{date:%Y-%m-%d}"))


def _copyright() -> Iterator[str]:
    yield "The gateway, by its maintainers: Apache-2.0, whose text is in /usr/share/common-licenses/Apache-2.0."
    yield "It comes with these packages, unchanged; the text of each licence, and of those of the C libraries that a"
    yield "package brings, is in its folder /usr/lib/gateway/*.dist-info."
    yield ""
    for package in packages("run"):
        yield f"{package.name} {package.version}: {licences.licence(package)}"
    yield ""


def _describe(tree: Path, architecture: str) -> None:
    """Write what dpkg reads: control, conffiles, md5sums and the scripts."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    names = [str(path.relative_to(tree)) for path in files]
    control = {
        "Package": PACKAGE,
        "Version": version(),
        "Architecture": architecture,
        "Maintainer": MAINTAINER,
        "Section": "net",
        "Priority": "optional",
        "Installed-Size": str(sum(-(-path.stat().st_size // 1024) for path in files)),
        "Depends": DEPENDS,
        "Recommends": "ca-certificates",
        "Suggests": "mosquitto, openssh-client",
        "Description": DESCRIPTION,
    }
    described = tree / "DEBIAN"
    _write(described / "control", "".join(f"{field}: {value}\n" for field, value in control.items()))
    _write(described / "conffiles", "".join(f"/{name}\n" for name in names if name.startswith("etc/")))
    digests = (hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in files)
    sums = zip(digests, names, strict=True)
    _write(
        described / "md5sums", "".join(f"{digest}  {name}\n" for digest, name in sums if not name.startswith("etc/"))
    )
    for script in SCRIPTS:
        shutil.copyfile(REPOSITORY / "deploy" / "debian" / script, described / script)


def _set_modes(tree: Path) -> None:
    executable = {tree / "usr/bin/gateway", *(tree / "DEBIAN" / script for script in SCRIPTS)}
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in executable else 0o644)
    (tree / SECRETS).chmod(0o700)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_compressed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    """Build for each architecture of the command line, into dist/."""
    parser = argparse.ArgumentParser(prog="release.deb", description="Build the Debian package.")
    parser.add_argument("architectures", nargs="*", default=list(wheels.MACHINES), metavar="ARCHITECTURE")
    for architecture in parser.parse_args().architectures:
        package = build(architecture, REPOSITORY / "dist")
        print(f"{package.relative_to(REPOSITORY)}: {package.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
