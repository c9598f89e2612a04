"""A short seed of the nemesis; `make soak` runs longer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.soak import soak

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry


def test_soak_of_a_few_seconds_breaks_no_promise(away_kafka: Kafka, registry: Registry, tmp_path: Path) -> None:
    """Missing 0, order per key kept, books balanced, no crash."""
    verdict, nemesis = soak(away_kafka, registry.url, tmp_path, seconds=25, seed=1)
    assert verdict.is_clean, verdict
    assert not nemesis.crashes
