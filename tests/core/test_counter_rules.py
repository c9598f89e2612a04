"""The counters of a record, read from its schema."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.avro_schema import build
from gateway.core.counter_rules import counter_rules


def rules(*fields: dict[str, Any]) -> Any:
    return counter_rules(build({"type": "record", "name": "R", "fields": list(fields)}))


def test_counter_rules_have_defaults_for_all_that_is_not_stated() -> None:
    (rule,) = rules({"name": "v", "type": "long", "x-counter": {}}, {"name": "w", "type": "long"})
    assert rule == (("v",), (("v",),), None, "", 0, 5, None, (), "")


@pytest.mark.parametrize(
    ("stated", "slope"),
    [({"most": 36000}, 0.01), ({"most": 36000, "per": "1h"}, 0.01), ({"most": 2, "per": "4s"}, 5e-4)],
)
def test_counter_rules_have_the_slope_per_millisecond(stated: dict[str, Any], slope: float) -> None:
    (rule,) = rules({"name": "v", "type": "long", "x-counter": stated})
    assert rule.slope == pytest.approx(slope)


def test_counter_rules_find_the_field_of_the_meter_by_any_of_its_sources() -> None:
    number = {
        "name": "meter",
        "type": "string",
        "x-source": ["$message.payload#/0-0:96.1.0/value", "$message.payload#/0.0.1/value"],
    }
    counter = {"of": "$message.payload#/0.0.1/value", "tolerance": 0.1, "confirm": 3}
    source = {"location": ["$message.payload#/a", "$message.payload#/b/c"], "factor": 1000}
    (rule,) = rules(number, {"name": "v", "type": "double", "x-source": source, "x-counter": counter})
    assert rule == (
        ("v",),
        (("a",), ("b", "c")),
        None,
        "",
        0.1,
        3,
        ("meter",),
        (("0-0:96.1.0", "value"), ("0.0.1", "value")),
        "1000",
    )


def test_counter_rules_look_into_records_once_and_not_into_arrays() -> None:
    inner = {
        "type": "record",
        "name": "Inner",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "total", "type": "long", "x-counter": {"of": "$message.payload#/place/id"}},
            {"name": "again", "type": ["null", "Inner"]},
        ],
    }
    outer = {"name": "inside", "type": ["null", inner], "x-source": "$message.payload#/place"}
    more = {"name": "all", "type": {"type": "array", "items": "Inner"}}
    (rule,) = rules(outer, more)
    assert (rule.names, rule.paths, rule.meter) == (("inside", "total"), (("place", "total"),), ("inside", "id"))
