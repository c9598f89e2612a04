"""The fuzz target itself, and a short run of it with every run of the tests."""

from __future__ import annotations

from gateway.core.native import MODULE
from tests.fuzz.records import fuzz

SECONDS = 3


def test_runs_store_what_single_records_store() -> None:
    count, natively, fault = fuzz(seed=1, seconds=SECONDS)
    assert not fault
    assert natively > count / 2 or MODULE is None
