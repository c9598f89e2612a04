"""The plant that the tests of this folder share: one Kafka, one broker, one registry."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.security.site import PASSWORDS, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.certificates import Certificates
    from tests.stack.registry import Registry


@pytest.fixture(scope="session")
def plant(certificates: Certificates, registry: Registry) -> Iterator[Site]:
    """Start the servers once."""
    with ExitStack() as started:
        yield Site(certificates, registry, started, dict(PASSWORDS))


@pytest.fixture
def site(plant: Site) -> Iterator[Site]:
    """Give the plant, and have its servers show good certificates and know the right passwords afterwards."""
    yield plant
    if plant.passwords != PASSWORDS:
        plant.admit(dict(PASSWORDS))
    plant.present("broker")
