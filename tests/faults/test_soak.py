"""Short seeds of the nemesis; `make soak` runs longer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.soak import LIKELY, SPEED_MATTERS, soak

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry


@pytest.mark.gate
def test_soak_without_the_brokers_own_losses_breaks_no_promise(
    away_kafka: Kafka, registry: Registry, tmp_path: Path
) -> None:
    """Kills, freezes and cut links only: nothing in it depends on how fast the machine is, so nothing is excused."""
    verdict, nemesis = soak(away_kafka, registry.url, tmp_path, seconds=20, seed=4, likely=LIKELY | SPEED_MATTERS)
    assert verdict.is_clean, verdict
    assert not nemesis.crashes
    assert not nemesis.excused


def test_soak_of_a_few_seconds_breaks_no_promise(away_kafka: Kafka, registry: Registry, tmp_path: Path) -> None:
    """Missing 0, order per key kept, books balanced, no crash."""
    verdict, nemesis = soak(away_kafka, registry.url, tmp_path, seconds=25, seed=1)
    assert verdict.is_clean, verdict
    assert not nemesis.crashes
