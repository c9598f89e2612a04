"""Whose licence each package has that a gateway runs on, and whether it may be handed out together with Apache-2.0.

What fits is a list, not a rule: a licence that nobody has looked at fails the check, and is looked at.
MPL-2.0 binds only its own files, which go out unchanged; of `A OR B` one that fits is enough.
Libraries in C that a wheel brings along are in that wheel's own licence file, which the Debian package ships.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING

from gateway.operate.table import table
from release.lock import packages

if TYPE_CHECKING:
    from email.message import Message

    from release.lock import Package

FITTING = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense",
    "Zlib",
}  # fmt: skip

# What packages without an SPDX expression write instead.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
}


def licence(package: Package) -> str:
    """Say a package's licence, as its own metadata does.

    Args:
        package: of a lock, and installed here in that version.

    Returns:
        An SPDX expression, or the package's words where they are none; empty: it says nothing.

    Raises:
        LookupError: it is not installed, or in another version than the lock's.
    """
    try:
        told = metadata(package.name)
    except PackageNotFoundError:
        raise LookupError(f"{package.name} is not installed: run `make setup`") from None
    if told["Version"] != package.version:
        raise LookupError(f"{package.name} is {told['Version']} here, {package.version} in the lock: run `make setup`")
    return expression(told)  # type: ignore[arg-type]  # importlib's PackageMetadata is an email.message.Message


def expression(told: Message) -> str:
    """Read the licence out of core metadata: the expression, else the licence's name, else the classifier.

    Args:
        told: what METADATA says.

    Returns:
        As `licence` does.
    """
    classifiers = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License")]
    for words in (told.get("License-Expression", ""), told.get("License", ""), *classifiers):
        if words:
            first_line = str(words).splitlines()[0]
            return _SPDX.get(first_line, first_line)
    return ""


def fits(spdx: str) -> bool:
    """Tell whether a licence fits Apache-2.0.

    Args:
        spdx: an expression of names, AND and OR; brackets fit nothing, so that somebody looks.
    """
    return any(set(re.split(r"\s+AND\s+", choice)) <= FITTING for choice in re.split(r"\s+OR\s+", spdx))


def main() -> None:
    """Print every package with its licence; exit code 1 when one does not fit."""
    found = [(package.name, package.version, licence(package)) for package in packages("run")]
    print(table(("package", "version", "licence"), found))
    if strangers := [name for name, _, spdx in found if not fits(spdx)]:
        sys.exit(f"Not known to fit Apache-2.0: {', '.join(strangers)}. Read them, then see release/licences.py.")


if __name__ == "__main__":
    main()
