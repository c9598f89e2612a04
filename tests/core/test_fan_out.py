"""A stream that goes to several topics: a record for each of them, or one dead letter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.fan_out import FanOut
from gateway.core.model import Topic
from gateway.core.reading import MANY_RECORDS, DeadLetter, Reason, Record
from gateway.core.stream_transform import transform_of
from tests.core.test_transform import GOOD, LATEST, LIMIT, TRANSFORM, reading, sensors

if TYPE_CHECKING:
    from gateway.core.transform import Transform


def fan_out(*topics: Topic) -> FanOut:
    """Give the transform of a stream that goes to these topics."""
    made = sensors()
    routes = [replace(made.route, topic=topic) for topic in topics]
    found = transform_of(replace(made, route=routes[0], also=tuple(routes[1:])), range(7, 7 + len(topics)), LIMIT)
    fan_out = found._transform  # noqa: SLF001 - without what is around every transform
    assert isinstance(fan_out, FanOut)
    return fan_out


def test_fan_out_makes_a_record_for_each_topic() -> None:
    """Each with the schema id of its own."""
    records = fan_out(Topic("history"), LATEST)(reading())
    assert isinstance(records, list)
    assert [(each.topic, each.key, (each.value or b"")[4]) for each in records] == [
        ("history", b"a", 7), ("latest", b"a", 8),
    ]  # fmt: skip


def test_fan_out_makes_one_dead_letter_though_there_are_several_topics() -> None:
    dead_letter = fan_out(Topic("history"), LATEST)(reading(payload=b"{}"))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == Reason.MISSING


@given(
    payloads=st.lists(st.sampled_from([GOOD, b'{"value":2}', b"{}", b"", b'{"value":3,"x":1}']), max_size=8),
    is_fan_out=st.booleans(),
)
def test_transform_all_gives_for_many_readings_what_each_gives_alone(payloads: list[bytes], is_fan_out: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    """Records in order, and each dead letter at its place, by rising place."""
    many: Transform | FanOut = FANNED_OUT if is_fan_out else TRANSFORM
    readings = [reading(payload=payload) for payload in payloads]
    alone = [many(each) for each in readings]
    records, dead_letters, _ = many.transform_all(readings)
    assert records == [each for each in alone if not isinstance(each, DeadLetter)]
    assert list(dead_letters.items()) == [(n, each) for n, each in enumerate(alone) if isinstance(each, DeadLetter)]


def test_transform_all_leaves_readings_for_the_next_call_when_they_make_many_records() -> None:
    """With two topics, half as many readings are transformed as records may be made."""
    results = fan_out(Topic("history"), LATEST).transform_all([reading()] * (MANY_RECORDS // 2 + 9))
    assert results.readings == MANY_RECORDS // 2
    assert {len(records) for records in results.records} == {2}


def test_transform_all_gives_a_reading_to_no_topic_when_one_cannot_hold_it() -> None:
    """Headers of one topic ask for a property that some messages lack."""
    site_header = frozenset({"site"})
    made = sensors()
    also = replace(made.route, topic=Topic("asking"), headers=site_header, required_headers=site_header)
    stream_ = replace(made, also=(also,), user_properties=site_header)
    site = b"\x26\0\x04site\0\x01x"
    readings = [reading(), reading(properties=site), reading(payload=b"{}"), reading(properties=site)]
    fanned_out = transform_of(stream_, [7, 8], LIMIT)
    results = fanned_out.transform_all(readings)
    assert [[each.topic for each in records] for records in results.records] == [["factory", "asking"]] * 2
    assert {place: dead.reason for place, dead in results.dead_letters.items()} == {
        0: Reason.MISSING,
        2: Reason.MISSING,
    }


def test_fan_out_ends_a_key_where_the_topic_is_compacted_only() -> None:
    """A cleared retained message has an empty payload; what it was about is in its topic."""
    transform = fan_out(Topic("history"), LATEST)
    assert transform(reading(payload=b"")) == [Record("latest", b"a", None, [], 1_582_114_965_123)]
    dead_letter = transform(reading(b"factory//b", payload=b""))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == Reason.BAD_TOPIC


FANNED_OUT = fan_out(Topic("history"), LATEST)
