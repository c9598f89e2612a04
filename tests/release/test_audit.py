"""An audit passes only packages that were really looked up."""

from __future__ import annotations

from typing import Any

import pytest

from release.audit import findings
from release.lock import Package

LOCKED = (Package("attrs", "26.1.0", ""), Package("typing-extensions", "4.16.0", ""))
ATTRS: dict[str, Any] = {"name": "attrs", "version": "26.1.0", "vulns": []}
TYPING: dict[str, Any] = {"name": "typing_extensions", "version": "4.16.0", "vulns": []}


def test_findings_of_a_lock_that_was_looked_up_completely_are_none() -> None:
    """There are no findings if every package was looked up and has no vulnerability."""
    assert findings(LOCKED, [{"dependencies": [ATTRS, TYPING]}]) == []


@pytest.mark.parametrize(
    ("entry", "end"),
    [
        ({"name": "attrs", "skip_reason": "Dependency not found"}, "was not looked up: Dependency not found"),
        ({"name": "attrs", "version": "25.0", "vulns": []}, "was not looked up: only version 25.0 was"),
        (
            ATTRS | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["26.2.0"]}]},
            "PYSEC-2026-1, fixed in 26.2.0",
        ),
        (ATTRS | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": []}]}, "PYSEC-2026-1, fixed in no version yet"),
    ],
)
def test_findings_name_a_vulnerable_or_skipped_package(entry: dict[str, Any], end: str) -> None:
    """A package that the index does not know may have vulnerabilities."""
    (sentence,) = findings(LOCKED, [{"dependencies": [entry, TYPING]}, {}])
    assert sentence.startswith("attrs 26.1.0")
    assert sentence.endswith(end)


def test_findings_name_packages_that_an_answer_leaves_out() -> None:
    """No answer at all is a failure for every package."""
    assert findings(LOCKED, [{}, {}]) == [
        f"{package.name} {package.version} was not looked up: no answer names it" for package in LOCKED
    ]


def test_findings_combine_the_answers_of_both_services() -> None:
    """One service is enough for a package to be looked up; a vulnerability that one service knows is a finding."""
    skipped = {"name": "attrs", "skip_reason": "Dependency not found"}
    assert findings(LOCKED, [{"dependencies": [skipped, TYPING]}, {"dependencies": [ATTRS]}]) == []
    vulnerable = ATTRS | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": []}]}
    assert len(findings(LOCKED, [{"dependencies": [ATTRS, TYPING]}, {"dependencies": [vulnerable]}])) == 1
