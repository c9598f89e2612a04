"""Which transform a stream gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.array import ArrayTransform
from gateway.core.fan_out import FanOut
from gateway.core.stream_transform import transform_of
from gateway.core.transform import Transform
from tests.core.test_transform import LIMIT, sensors


@pytest.mark.parametrize(
    ("routes", "is_array", "kind"),
    [(1, False, Transform), (2, False, FanOut), (1, True, ArrayTransform), (2, True, ArrayTransform)],
)
def test_transform_of_chooses_by_routes_and_payload(routes: int, is_array: bool, kind: type) -> None:  # noqa: FBT001 - a row of a table
    made = sensors()
    stream = replace(made, also=(made.route,) * (routes - 1), is_array=is_array)
    assert type(transform_of(stream, range(routes), LIMIT)) is kind
