"""The contract's values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.model import Topic
from tests.contract_values import record, route, stream

SCHEMA = {**record(("m", "string")), "namespace": "plant"}


@pytest.mark.parametrize(
    ("policy", "is_compacted"), [("delete", False), ("compact", True), ("compact, delete", True), ("", False)]
)
def test_topic_is_compacted_by_its_cleanup_policy(policy: str, is_compacted: bool) -> None:  # noqa: FBT001 - a row of a table
    assert Topic("t", configuration={"cleanup.policy": policy}).is_compacted == is_compacted


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [
        ("TopicNameStrategy", "doors-value"),
        ("RecordNameStrategy", "plant.MadeByHand"),
        ("TopicRecordNameStrategy", "doors-plant.MadeByHand"),
    ],
)
def test_route_names_its_subject(strategy: str, subject: str) -> None:
    assert replace(route("doors", SCHEMA), subject_strategy=strategy).subject == subject  # type: ignore[arg-type]  # one of the three


def test_stream_takes_its_examples_apart_where_payloads_are_arrays() -> None:
    made = stream("s", SCHEMA, address="s", keys=("/m",), examples=[[{"m": "a"}, {"m": "b"}], {"m": "c"}])
    assert made.example_readings == ([{"m": "a"}, {"m": "b"}], {"m": "c"})
    assert replace(made, is_array=True).example_readings == ({"m": "a"}, {"m": "b"})
