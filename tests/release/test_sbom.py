"""The bill of materials is whole, and says the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release import sbom
from release.lock import packages

if TYPE_CHECKING:
    import pytest


def test_bill_holds_every_locked_package_with_licence_and_hashes() -> None:
    """Each package of a gateway stands there once, with its version, and something to recognise it by."""
    locked = packages("run")
    components = sbom.bill(locked)["components"]
    assert [(each["name"], each["version"]) for each in components] == [(each.name, each.version) for each in locked]
    assert all(each["hashes"] and each["licenses"][0]["expression"] for each in components)
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}" for each in components)


def test_bill_says_who_needs_whom() -> None:
    """Every package is needed by ours or by another; nothing points to what is not there."""
    document = sbom.bill(packages("run"))
    needed = {each for node in document["dependencies"] for each in node["dependsOn"]}
    assert needed == {each["bom-ref"] for each in document["components"]}
    jsonschema = next(node for node in document["dependencies"] if "/jsonschema@" in node["ref"])
    assert [each.partition("@")[0] for each in jsonschema["dependsOn"]] == [
        f"pkg:pypi/{name}" for name in ("attrs", "jsonschema-specifications", "referencing", "rpds-py")
    ]


def test_bill_is_the_same_for_the_same_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its serial number comes from its content, its time from SOURCE_DATE_EPOCH."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = sbom.bill(packages("run"))
    assert first == sbom.bill(packages("run"))
    assert first["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert first["serialNumber"] != sbom.bill(packages("run")[1:])["serialNumber"]
