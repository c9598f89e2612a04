"""A short run of the fuzz target with every run of the tests."""

from __future__ import annotations

from tests.fuzz.entries import fuzz

SECONDS = 2


def test_c_does_with_entries_what_python_does() -> None:
    count, fault = fuzz(seed=1, seconds=SECONDS)
    assert not fault
    assert count
