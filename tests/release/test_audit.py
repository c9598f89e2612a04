"""An audit passes only what was really looked up."""

from __future__ import annotations

from typing import Any

import pytest

from release.audit import judge
from release.lock import Package

LOCKED = (Package("attrs", "26.1.0", ""), Package("typing-extensions", "4.16.0", ""))
ATTRS: dict[str, Any] = {"name": "attrs", "version": "26.1.0", "vulns": []}
TYPING: dict[str, Any] = {"name": "typing_extensions", "version": "4.16.0", "vulns": []}


def test_judge_passes_a_lock_that_was_looked_up_whole() -> None:
    """Nothing is said where each package was looked at and has no vulnerability."""
    assert judge(LOCKED, [{"dependencies": [ATTRS, TYPING]}]) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"name": "attrs", "skip_reason": "Dependency not found"}, "was not looked up: Dependency not found"),
        ({"name": "attrs", "version": "25.0", "vulns": []}, "was not looked up: only version 25.0 was"),
        (
            ATTRS | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["26.2.0"]}]},
            "PYSEC-2026-1, mended in 26.2.0",
        ),
        (ATTRS | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": []}]}, "PYSEC-2026-1, mended in no version yet"),
    ],
)
def test_judge_fails_what_is_vulnerable_or_was_skipped(told: dict[str, Any], said: str) -> None:
    """A package that the index does not know is no package without vulnerabilities."""
    (sentence,) = judge(LOCKED, [{"dependencies": [told, TYPING]}, {}])
    assert sentence.startswith("attrs 26.1.0")
    assert sentence.endswith(said)


def test_judge_fails_an_answer_that_leaves_packages_out() -> None:
    """No answer at all is a failure for every package."""
    assert judge(LOCKED, [{}, {}]) == [
        f"{package.name} {package.version} was not looked up: no answer names it" for package in LOCKED
    ]


def test_judge_takes_what_either_service_knows() -> None:
    """A package that one skips counts when the other has looked at it; a vulnerability counts wherever it is known."""
    skipped = {"name": "attrs", "skip_reason": "Dependency not found"}
    assert judge(LOCKED, [{"dependencies": [skipped, TYPING]}, {"dependencies": [ATTRS]}]) == []
    vulnerable = ATTRS | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": []}]}
    assert len(judge(LOCKED, [{"dependencies": [ATTRS, TYPING]}, {"dependencies": [vulnerable]}])) == 1
