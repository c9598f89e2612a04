"""The bill of materials: what a gateway runs on, as CycloneDX 1.6 in JSON.

Made from the lock alone, with licences from the packages' own metadata: the same lock makes the same bytes, and a diff
of two bills is a diff of two releases. cyclonedx-py lost: it reads an environment, with whatever else is in it, and
needs thirty packages to do so.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway import __version__
from release.epoch import epoch
from release.licences import licence
from release.lock import REPOSITORY, packages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release.lock import Package

OURSELVES = "iot-gateway"


def bill(locked: Sequence[Package]) -> dict[str, Any]:
    """Write the bill.

    Args:
        locked: packages of a lock, installed here.

    Returns:
        The document; its serial number follows from its content.

    Raises:
        LookupError: a package is not installed here in the lock's version.
    """
    product = {
        "type": "application",
        "name": OURSELVES,
        "version": __version__,
        "bom-ref": _reference(OURSELVES, __version__),
    }
    content = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch(), UTC).isoformat(),
            "component": product | {"licenses": [{"expression": "Apache-2.0"}]},
        },
        "components": [_component(package) for package in locked],
        "dependencies": _dependencies(locked),
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(content, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
    } | content


def _component(package: Package) -> dict[str, Any]:
    """Describe a package; its hashes are those of every file of it that the lock accepts."""
    return {
        "type": "library",
        "name": package.name,
        "version": package.version,
        "bom-ref": _reference(package.name, package.version),
        "purl": _reference(package.name, package.version),
        "hashes": [{"alg": "SHA-256", "content": each} for each in package.hashes],
        "licenses": [{"expression": licence(package)}],
    }


def _dependencies(locked: Sequence[Package]) -> list[dict[str, Any]]:
    references = {package.name: _reference(package.name, package.version) for package in locked}
    wanting = {OURSELVES: _reference(OURSELVES, __version__)} | references
    return [
        {"ref": reference, "dependsOn": [references[each.name] for each in locked if name in each.wanted_by]}
        for name, reference in wanting.items()
    ]


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def main() -> None:
    """Write the bill into dist/."""
    path = REPOSITORY / "dist" / f"gateway_{__version__}.cdx.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(bill(packages("run")), indent=2) + "\n")
    print(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
