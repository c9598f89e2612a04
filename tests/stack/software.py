"""Where the real servers come from. What is missing fails the test with a sentence; no test is skipped for it.

Commands come from Debian packages, jars and Prometheus from `.cache/`, where `make setup` puts them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CACHE = Path(__file__).resolve().parents[2] / ".cache"

# Debian's users have no /usr/sbin in their PATH, and mosquitto is installed there.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def command(name: str, package: str) -> str:
    """Find a command.

    Args:
        name: of the command.
        package: the Debian package that brings it.

    Returns:
        Its full path. The running test fails when there is none.
    """
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        pytest.fail(
            f"The command {name} is missing. `make setup` installs it (Debian package {package}).", pytrace=False
        )
    return path


def fetched(folder: str) -> Path:
    """Find what was fetched.

    Args:
        folder: `kafka`, `registry`, `reader` or `prometheus`.

    Returns:
        The folder in `.cache/`. The running test fails when it is not complete.
    """
    path = CACHE / folder
    if not (path / ".complete").exists():
        pytest.fail(f"The software in {path} is missing. `make setup` fetches it.", pytrace=False)
    return path


def class_archive(folder: str) -> Path:
    """Name the file in which a JVM finds the classes of a program, ready for use (`make setup` makes Kafka's)."""
    return CACHE / folder / "classes.jsa"


def java(folder: str, *arguments: str | Path) -> list[str]:
    """Write the command line of a small, quickly started JVM.

    Args:
        folder: of its program in `.cache/`.
        arguments: class path, main class and what it is given.

    Returns:
        The command line.
    """
    # C1 only, one collector thread, small stacks: on two cores a broker starts in seconds and takes 160 MB.
    small = ["-Xmx256m", "-Xms64m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    if (archive := class_archive(folder)).exists():
        small.append(f"-XX:SharedArchiveFile={archive}")
    return [command("java", "default-jdk-headless"), *small, "-Djava.awt.headless=true", *map(str, arguments)]
