"""A month of a household with 60 faults, against a list of what must become of each reading."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from gateway.core.counters import CounterMonitor
from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.core.transform import Transform
from tests.core.household import DAY, HOUSE, STEP, household

if TYPE_CHECKING:
    from gateway.core.counters import CounterFigure

START = 1_764_547_200_000  # 2025-12-01T00:00:00Z
BETWEEN = 60  # true readings before each fault, instead of thousands


@pytest.mark.parametrize("is_live", [True, False], ids=["as they are made", "all at once"])
def test_every_reading_of_a_household_is_judged_as_expected(*, is_live: bool) -> None:
    """Also if the broker kept all of them, so that only the device's clock tells when they were made."""
    figures: Counter[CounterFigure] = Counter()
    monitor = CounterMonitor(HOUSE, figures)
    transform = Transform(HOUSE, 1, 900_000)
    wrong: list[tuple[str, str, str, int]] = []
    for offset, expected in enumerate(household(START, BETWEEN)):
        received_at = START + (offset * STEP if is_live else 40 * DAY + offset // 50)
        reading = Reading("house", b"meters/home", json.dumps(expected.payload).encode(), received_at)
        (made,) = transform.transform_all([reading]).records
        found = monitor.check([Entry(reading, None, 0, offset)], [made])
        events = "".join("s" if event.is_swap else "r" for event in monitor.events)
        monitor.events.clear()
        sign = found[0].reason.value[0] if found else events or "."
        if sign != expected.sign:
            wrong.append((expected.fault, expected.sign, sign, offset))
    assert not wrong, wrong[:20]
    assert figures["resets"] == 10
    assert figures["swaps"] == 5
