"""Which transform a stream gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.array import ArrayTransform
from gateway.core.fan_out import FanOut
from gateway.core.reading import Record
from gateway.core.stream_transform import transform_of
from gateway.core.transform import Transform
from tests.core.test_transform import LIMIT, by_site, reading, sensors


@pytest.mark.parametrize(
    ("routes", "is_array", "kind"),
    [(1, False, Transform), (2, False, FanOut), (1, True, ArrayTransform), (2, True, ArrayTransform)],
)
def test_transform_of_chooses_by_routes_and_payload(routes: int, is_array: bool, kind: type) -> None:  # noqa: FBT001 - a row of a table
    made = sensors()
    stream = replace(made, also=(made.route,) * (routes - 1), is_array=is_array)
    assert type(transform_of(stream, range(routes), LIMIT)) is kind


def test_transform_of_takes_the_ids_of_all_topics() -> None:
    """A route with a choice of topics needs an id for each; the next route's ids follow."""
    made = by_site()
    stream = replace(made, also=(sensors().route,))
    assert [route.topic.name for route in stream.routes] == ["readings-a", "readings-b", "factory"]
    records = transform_of(stream, [1, 2, 3], LIMIT)(reading(b"factory/b/s"))
    assert isinstance(records, list)
    assert [(one.topic, (one.value or b"")[4]) for one in records if isinstance(one, Record)] == [
        ("readings-b", 2), ("factory", 3),
    ]  # fmt: skip
