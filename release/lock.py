"""Read the locks: requirements/*.txt, as `make lock` writes them.

They are pip's own format, of which `make lock` uses little: `name==version`, a marker perhaps, and hashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
REQUIREMENTS = REPOSITORY / "requirements"

_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))?(?: \\)?$")
_HASH = re.compile(r"^    --hash=sha256:(?P<hash>[0-9a-f]{64})(?: \\)?$")
_WANTED_BY = re.compile(r"^    #(?: via|  ) (?P<name>[\w.-]+)")


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a lock.

    Args:
        name: as the index writes it, in lower case.
        version: the only one that is accepted.
        marker: where it is installed at all, as in `sys_platform == 'win32'`; empty: everywhere.
        hashes: SHA-256 of each file that is accepted.
        wanted_by: names of the packages that it is there for.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...] = ()
    wanted_by: tuple[str, ...] = ()

    @property
    def is_for_linux(self) -> bool:
        """Whether a gateway can have it; markers name the systems that it is for."""
        return "win32" not in self.marker


def packages(lock: str) -> tuple[Package, ...]:
    """Read a lock.

    Args:
        lock: `run`, `build` or `dev`.

    Returns:
        What is in it for Linux, in its order.

    Raises:
        ValueError: a line is none that `make lock` writes.
    """
    return tuple(package for package in parse((REQUIREMENTS / f"{lock}.txt").read_text()) if package.is_for_linux)


def parse(text: str) -> tuple[Package, ...]:
    """Read the text of a lock.

    Args:
        text: lines of pins, hashes and comments.

    Returns:
        All packages, in order.

    Raises:
        ValueError: a line is none of these, or a package has no hash.
    """
    found: list[Package] = []
    for number, line in enumerate(text.splitlines(), 1):
        if pin := _PIN.match(line):
            found.append(Package(pin["name"], pin["version"], pin["marker"] or ""))
        elif found and (file := _HASH.match(line)):
            found[-1] = replace(found[-1], hashes=(*found[-1].hashes, file["hash"]))
        elif found and (other := _WANTED_BY.match(line)):
            found[-1] = replace(found[-1], wanted_by=(*found[-1].wanted_by, other["name"]))
        elif line.strip() and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} is no line of a lock: {line!r}; make it again with `make lock`")
    if bare := [package.name for package in found if not package.hashes]:
        raise ValueError(f"no hash for {', '.join(bare)}; make the lock again with `make lock`")
    return tuple(found)
