"""The transform: a reading becomes a record or a dead letter, and nothing else happens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.array import ArrayTransform
from gateway.core.codec.event_time import RecordTime
from gateway.core.codec.framing import frame
from gateway.core.model import OfTopic, Topic, TopicChoice
from gateway.core.reading import DeadLetter, Reading, Reason, Record
from gateway.core.transform import Transform
from tests.contract_values import record, stream

if TYPE_CHECKING:
    from gateway.core.model import Stream

SENSOR = record(("machine", "string"), ("sensor", "string"), ("value", "int"))
GOOD = b'{"value":1}'
LIMIT = 1_000


def sensors(**changed: Any) -> Stream:
    """Give a stream whose topic says machine and sensor; `changed` are fields of its route."""
    made = stream(
        "factory",
        SENSOR,
        address="factory/{machine}/{sensor}",
        keys=("/machine",),
        locations={"machine": "/machine", "sensor": "/sensor"},
    )
    return replace(made, route=replace(made.route, **changed))


def reading(topic: bytes = b"factory/a/b", payload: bytes = GOOD, **more: Any) -> Reading:
    return Reading("factory", topic, payload, 1_582_114_965_123, **more)


def test_transform_makes_the_record() -> None:
    """Topic, key, framed value and time of arrival: the record that Kafka gets."""
    assert Transform(sensors(), 7, LIMIT)(reading()) == Record(
        "factory", b"a", b"\0\0\0\0\7" + b"\2a" + b"\2b" + b"\2", [], 1_582_114_965_123
    )


def test_transform_fills_each_topic_from_itself() -> None:
    """Parameters come from the topic of the very reading, also after many other topics."""
    transform = Transform(sensors(), 7, LIMIT)
    for _ in range(2):
        for name in (b"a", b"b", "ä".encode()):
            record_ = transform(reading(b"factory/" + name + b"/s"))
            assert isinstance(record_, Record)
            assert record_.key == name


@pytest.mark.parametrize(
    ("topic", "reason", "detail"),
    [
        (b"factory//b", Reason.BAD_TOPIC, "a level of the topic that names a parameter is empty"),
        (b"factory/a/", Reason.BAD_TOPIC, "a level of the topic that names a parameter is empty"),
        (b"factory/\xff/b", Reason.BAD_TOPIC, "byte 8 of the topic is not valid UTF-8"),
        (b"doors/a", Reason.UNMAPPED_TOPIC, "the topic does not match factory/{machine}/{sensor}"),
        (b"factory/a", Reason.UNMAPPED_TOPIC, "the topic does not match factory/{machine}/{sensor}"),
    ],
)
def test_transform_refuses_a_bad_topic(topic: bytes, reason: Reason, detail: str) -> None:
    """A topic that names no machine is a dead letter, however good the payload is, the second time too."""
    transform = Transform(sensors(), 7, LIMIT)
    assert transform(reading(topic)) == transform(reading(topic)) == DeadLetter(reason, "", detail)
    assert isinstance(transform(reading()), Record)


def test_transform_refuses_a_payload_that_says_another_machine() -> None:
    """A device may not speak for another."""
    dead_letter = Transform(sensors(), 7, LIMIT)(reading(payload=b'{"machine":"z","value":1}'))
    assert isinstance(dead_letter, DeadLetter)
    assert (dead_letter.reason, dead_letter.pointer) == (Reason.TOPIC_MISMATCH, "/machine")


def test_transform_refuses_a_payload_above_the_limit() -> None:
    """Up to the limit a payload is accepted, one byte more is too large, and the detail says both sizes."""
    transform = Transform(sensors(), 7, LIMIT)
    assert isinstance(transform(reading(payload=GOOD.ljust(LIMIT))), Record)
    dead_letter = transform(reading(payload=GOOD.ljust(LIMIT + 1)))
    assert dead_letter == DeadLetter(Reason.TOO_LARGE, "", "1001 bytes; the limit is 1000")


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT - 1])
def test_transform_refuses_a_payload_that_the_source_found_too_large(size: int) -> None:
    """A source may have a lower limit, of its server: what it cut is too large, never bad JSON."""
    dead_letter = Transform(sensors(), 7, LIMIT)(reading(payload=GOOD[:5], size=size, sha256=b"x" * 32))
    assert isinstance(dead_letter, DeadLetter)
    assert (dead_letter.reason, dead_letter.detail.split(";")[0]) == (Reason.TOO_LARGE, f"{size} bytes")


def test_transform_puts_the_id_into_a_header_when_the_contract_says_so() -> None:
    """With header framing the value is the bare Avro body."""
    record_ = Transform(sensors(framing="header"), 7, LIMIT)(reading())
    assert isinstance(record_, Record)
    assert record_.headers == [("__value_schema_id", frame(7))]
    assert record_.value == b"\2a\2b\2"


@pytest.mark.parametrize(
    ("framing", "headers", "expected"),
    [
        ("payload", frozenset(), []),
        ("payload", frozenset({"mqtt.topic"}), [("mqtt.topic", b"factory/a/b")]),
        ("payload", frozenset({"other"}), []),
        ("payload", frozenset({"gateway.received_at"}), [("gateway.received_at", b"2020-02-19T12:22:45.123Z")]),
        ("header", frozenset({"mqtt.topic"}), [("__value_schema_id", frame(7)), ("mqtt.topic", b"factory/a/b")]),
    ],
)
def test_transform_writes_the_headers_that_the_contract_declares(
    framing: str, headers: frozenset[str], expected: list[tuple[str, bytes]]
) -> None:
    """The MQTT topic is a header where the Kafka message declares it."""
    record_ = Transform(sensors(framing=framing, headers=headers), 7, LIMIT)(reading())
    assert isinstance(record_, Record)
    assert record_.headers == expected


def test_transform_turns_its_own_failure_into_a_dead_letter() -> None:
    """A bug of ours costs one reading a detour; it must not end the service at each start anew."""
    dead_letter = Transform(sensors(), 7, LIMIT)(reading(payload=None))  # type: ignore[arg-type]  # no payload at all
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == Reason.FAULT
    assert "please report it: TypeError" in dead_letter.detail


def test_transform_remembers_a_bounded_number_of_topics() -> None:
    """A flood of topics, good or bad, does not grow memory without end."""
    transform = Transform(sensors(), 7, LIMIT, max_topics=50)
    for number in range(500):
        assert isinstance(transform(reading(b"factory/%d/b" % number)), Record)
        assert isinstance(transform(reading(b"factory//%d" % number)), DeadLetter)
    assert len(transform._topics) <= 50  # noqa: SLF001 - that memory is bounded shows nowhere else


def test_transform_forgets_long_topics() -> None:
    """Topics of many bytes are fewer in memory."""
    transform = Transform(sensors(), 7, LIMIT)
    for number in range(600):
        assert isinstance(transform(reading(b"factory/%d/" % number + 60_000 * b"s")), Record)
    assert len(transform._topics) <= 300  # noqa: SLF001 - as above


def by_site(framing: Any = "payload") -> Stream:
    """Give a stream whose Kafka topic the machine chooses."""
    topics = (Topic("readings-a"), Topic("readings-b"))
    choice = TopicChoice({"machine": ("a", "b")}, topics)
    return sensors(framing=framing, topic=topics[0], choice=choice)


@pytest.mark.parametrize("ids", [[7, 7], [7, 8]])
@pytest.mark.parametrize("framing", ["payload", "header"])
def test_a_parameter_chooses_topic_and_schema_id(ids: list[int], framing: str) -> None:
    """Each value of the parameter has its topic, whose schema id may differ; the compiled and precise path agree."""
    transform = Transform(by_site(framing), ids, LIMIT)
    readings = [reading(b"factory/%b/s" % name) for name in (b"a", b"a", b"b", b"b")]
    records = [*transform.transform_all(readings).records, *transform.transform_all(readings).records]
    assert [one.topic for one in records] == ["readings-a", "readings-a", "readings-b", "readings-b"] * 2
    given = [dict(one.headers).get("__value_schema_id") or (one.value or b"")[:5] for one in records]
    assert given == [frame(ids[0]), frame(ids[0]), frame(ids[1]), frame(ids[1])] * 2


def test_a_value_without_a_topic_is_a_dead_letter() -> None:
    """A device cannot make a Kafka topic."""
    transform = Transform(by_site(), [7, 7], LIMIT)
    expected = DeadLetter(Reason.NOT_ALLOWED, "", "the topic has 'c' for machine; allowed are a, b")
    assert transform(reading(b"factory/c/s")) == transform(reading(b"factory/c/s", b"{")) == expected
    of_array = ArrayTransform(transform, LIMIT, by_site())
    assert of_array(reading(b"factory/c/s", b"[" + GOOD + b"]")) == expected


def test_each_topic_dates_its_records() -> None:
    """A topic that keeps records for a shorter time gets the time of sending earlier."""
    short = RecordTime()
    short.limit({"retention.ms": "1000"}, 1_582_114_965_123 + 5_000)
    transform = Transform(by_site(), [7, 7], LIMIT, record_times={"readings-b": short})
    records = transform.transform_all([reading(b"factory/a/s"), reading(b"factory/b/s")]).records
    assert [one.timestamp for one in records] == [1_582_114_965_123, 0]


@given(topic=st.binary(max_size=20) | st.just(b"factory/a/b"), payload=st.binary(max_size=20) | st.just(GOOD))
def test_transform_never_raises_on_data(topic: bytes, payload: bytes) -> None:
    """Any bytes as topic and payload end as a record or a dead dead_letter."""
    found = TRANSFORM(reading(topic, payload))
    assert isinstance(found, Record) == (topic == b"factory/a/b" and payload == GOOD)


TRANSFORM = Transform(sensors(), 7, LIMIT)


LATEST = Topic("latest", configuration={"cleanup.policy": "compact,delete"})


def test_transform_ends_no_key_that_the_topic_does_not_name() -> None:
    made = sensors(topic=LATEST)
    unnamed = replace(made, parameters=(replace(made.parameters[0], pointer=None), made.parameters[1]))
    dead_letter = Transform(unnamed, 7, LIMIT)(reading(payload=b""))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == Reason.EMPTY
    ended = Transform(made, 7, LIMIT)(reading(payload=b""))
    assert isinstance(ended, Record)
    assert ended.value is None


def test_transform_ends_the_key_that_readings_have_had() -> None:
    """Where another member comes before the one that the topic fills in, the topic alone does not tell the key."""
    names = record(
        {"name": "machine", "type": "string", "x-source": ["$message.payload#/name", "$message.payload#/id"]}
    )
    made = stream("m", names, address="m/{id}", keys=("/machine",), locations={"id": "/id"})
    made = replace(made, route=replace(made.route, topic=LATEST))
    dead_letter = Transform(made, 7, LIMIT)(reading(b"m/a", payload=b""))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == Reason.EMPTY


@pytest.mark.parametrize(
    ("keys", "separator", "key"),
    [
        ((OfTopic("sensor"),), None, b"b"),
        ((OfTopic(),), None, b"factory/a/b"),
        ((OfTopic("sensor"), "/value"), None, b"b"),
        (("/machine", OfTopic("sensor")), ":", b"a:b"),
        ((OfTopic("sensor"), "/value"), ":", None),
        (("/value", OfTopic("sensor")), None, None),
    ],
)
def test_transform_ends_a_key_whose_parts_the_topic_names(keys: Any, separator: str | None, key: bytes | None) -> None:
    transform = Transform(sensors(topic=LATEST, keys=keys, separator=separator), 7, LIMIT)
    ended = transform(reading(payload=b""))
    assert (ended.key if isinstance(ended, Record) else None) == key
    record_ = transform(reading())
    assert isinstance(record_, Record)
    assert key is None or record_.key == key


def test_transform_gives_a_tombstone_the_headers_of_a_reading() -> None:
    made = sensors(topic=LATEST, headers=frozenset({"mqtt.topic", "gateway.received_at"}))
    ended = Transform(made, 7, LIMIT)(reading(payload=b""))
    assert isinstance(ended, Record)
    assert [name for name, _ in ended.headers] == ["mqtt.topic", "gateway.received_at"]
