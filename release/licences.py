"""The licences of the packages that a gateway needs, and whether they may be distributed together with Apache-2.0.

The compatible licences are a list, not a rule: an unknown licence fails the check, and must be reviewed.
MPL-2.0 binds only its own files, which are distributed unchanged; for `A OR B` one compatible licence is enough.
C libraries inside a wheel are covered by that wheel's licence file, which the Debian package contains.
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
    """Return a package's licence, from its metadata.

    Args:
        package: of a lock, installed here in that version.

    Returns:
        An SPDX expression, or the package's own text if it has none; empty if it names no licence.

    Raises:
        LookupError: it is not installed, or in a version other than the locked one.
    """
    try:
        fields = metadata(package.name)
    except PackageNotFoundError:
        raise LookupError(f"{package.name} is not installed: run `make setup`") from None
    if fields["Version"] != package.version:
        raise LookupError(
            f"{package.name} is {fields['Version']} here, {package.version} in the lock: run `make setup`"
        )
    return expression(fields)  # type: ignore[arg-type]  # importlib's PackageMetadata is an email.message.Message


def expression(fields: Message) -> str:
    """Read the licence from core metadata: the expression, else the name, else the classifier.

    Args:
        fields: of METADATA.

    Returns:
        As `licence` does.
    """
    classifiers = [
        line.rpartition(" :: ")[2] for line in fields.get_all("Classifier", []) if line.startswith("License")
    ]
    for words in (fields.get("License-Expression", ""), fields.get("License", ""), *classifiers):
        if words:
            first_line = str(words).splitlines()[0]
            return _SPDX.get(first_line, first_line)
    return ""


def fits(spdx: str) -> bool:
    """Whether a licence is compatible with Apache-2.0.

    Args:
        spdx: an expression of names, AND and OR; brackets are never compatible, so that they are reviewed.
    """
    return any(set(re.split(r"\s+AND\s+", choice)) <= FITTING for choice in re.split(r"\s+OR\s+", spdx))


def main() -> None:
    """Print every package with its licence; exit with code 1 when one is not compatible."""
    found = [(package.name, package.version, licence(package)) for package in packages("run")]
    print(table(("package", "version", "licence"), found))
    if unknown := [name for name, _, spdx in found if not fits(spdx)]:
        sys.exit(
            f"Not known to be compatible with Apache-2.0: {', '.join(unknown)}. Review them; see release/licences.py."
        )


if __name__ == "__main__":
    main()
