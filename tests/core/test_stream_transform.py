"""Which transform a stream gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.reading import Record
from gateway.core.stream_transform import transform_of
from tests.core.test_transform import GOOD, LIMIT, by_site, reading, sensors


@pytest.mark.parametrize(("routes", "is_array", "records"), [(1, False, 0), (2, False, 2), (1, True, 3), (2, True, 6)])
def test_transform_of_chooses_by_routes_and_payload(routes: int, is_array: bool, records: int) -> None:  # noqa: FBT001 - a row of a table
    """One record alone, or a list of as many as there are readings and topics."""
    made = sensors()
    stream = replace(made, also=(made.route,) * (routes - 1), is_array=is_array)
    payload = b"[%b,%b,%b]" % (GOOD, GOOD, GOOD) if is_array else GOOD
    found = transform_of(stream, range(routes), LIMIT)(reading(payload=payload))
    assert (len(found) if isinstance(found, list) else 0) == records
    assert records or isinstance(found, Record)


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
