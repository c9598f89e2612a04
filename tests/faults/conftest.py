"""Fixtures of the fault tests: sites on a Kafka that they may freeze and kill.

`README.md` lists the faults, and the test of each.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.faults.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what depends on time too much for a gate."""
    for item in items:
        if item.path.is_relative_to(FOLDER) and not item.get_closest_marker("gate"):
            item.add_marker("faults")


class StartSite(Protocol):
    """Makes sites."""

    def __call__(self, **settings: Any) -> Site:
        """Make a site; the gateway is not started."""


@pytest.fixture
def site(away_kafka: Kafka, registry: Registry, tmp_path: Path) -> Iterator[StartSite]:
    """Make sites; they end with the test."""
    with ExitStack() as started:

        def start(**settings: Any) -> Site:
            given = {"registry": registry.url} | settings
            return started.enter_context(Site(given.pop("kafka", away_kafka), folder=tmp_path, **given))

        yield start
