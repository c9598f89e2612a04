"""The transform: a reading becomes a record or a dead letter, and nothing else happens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import transform as module
from gateway.core.codec.framing import frame
from gateway.core.fan_out import FanOut
from gateway.core.model import Topic
from gateway.core.reading import DeadLetter, Reading, Reason, Record
from gateway.core.stream_transform import transform_of
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
    letter = Transform(sensors(), 7, LIMIT)(reading(payload=b'{"machine":"z","value":1}'))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (Reason.TOPIC_MISMATCH, "/machine")


def test_transform_refuses_a_payload_above_the_limit() -> None:
    """Up to the limit a payload is judged, one byte more is too large, and the detail says both sizes."""
    transform = Transform(sensors(), 7, LIMIT)
    assert isinstance(transform(reading(payload=GOOD.ljust(LIMIT))), Record)
    letter = transform(reading(payload=GOOD.ljust(LIMIT + 1)))
    assert letter == DeadLetter(Reason.TOO_LARGE, "", "1001 bytes; the limit is 1000")


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT - 1])
def test_transform_refuses_a_payload_that_the_source_found_too_large(size: int) -> None:
    """A source may have a lower limit, of its server: what it cut is too large, never bad JSON."""
    letter = Transform(sensors(), 7, LIMIT)(reading(payload=GOOD[:5], size=size, sha256=b"x" * 32))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.detail.split(";")[0]) == (Reason.TOO_LARGE, f"{size} bytes")


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
    letter = Transform(sensors(), 7, LIMIT)(reading(payload=None))  # type: ignore[arg-type]  # no payload at all
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.FAULT
    assert "please report it: TypeError" in letter.detail


def test_transform_remembers_a_bounded_number_of_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of topics, good or bad, does not grow memory without end."""
    monkeypatch.setattr(module, "MAX_TOPICS", 50)
    transform = Transform(sensors(), 7, LIMIT)
    for number in range(500):
        assert isinstance(transform(reading(b"factory/%d/b" % number)), Record)
        assert isinstance(transform(reading(b"factory//%d" % number)), DeadLetter)
    assert len(transform._topics) <= 50  # noqa: SLF001 - that memory is bounded shows nowhere else


@given(topic=st.binary(max_size=20) | st.just(b"factory/a/b"), payload=st.binary(max_size=20) | st.just(GOOD))
def test_transform_never_raises_on_data(topic: bytes, payload: bytes) -> None:
    """Any bytes as topic and payload end as a record or a dead letter."""
    found = TRANSFORM(reading(topic, payload))
    assert isinstance(found, Record) == (topic == b"factory/a/b" and payload == GOOD)


TRANSFORM = Transform(sensors(), 7, LIMIT)


LATEST = Topic("latest", configuration={"cleanup.policy": "compact,delete"})


def fan_out(*topics: Topic) -> FanOut:
    """Give the transform of a stream that goes to these topics."""
    made = sensors()
    routes = [replace(made.route, topic=topic) for topic in topics]
    found = transform_of(replace(made, route=routes[0], also=tuple(routes[1:])), range(7, 7 + len(topics)), LIMIT)
    assert isinstance(found, FanOut)
    return found


def test_transform_makes_a_record_for_each_topic() -> None:
    """Each with the schema id of its own."""
    records = fan_out(Topic("history"), LATEST)(reading())
    assert isinstance(records, list)
    assert [(each.topic, each.key, (each.value or b"")[4]) for each in records] == [
        ("history", b"a", 7), ("latest", b"a", 8),
    ]  # fmt: skip


def test_transform_makes_one_dead_letter_though_there_are_several_topics() -> None:
    letter = fan_out(Topic("history"), LATEST)(reading(payload=b"{}"))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.MISSING


@given(
    payloads=st.lists(st.sampled_from([GOOD, b'{"value":2}', b"{}", b"", b'{"value":3,"x":1}']), max_size=8),
    is_fan_out=st.booleans(),
)
def test_judge_gives_for_many_readings_what_each_gives_alone(payloads: list[bytes], is_fan_out: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    """Records in order, and each dead letter at its place, by rising place."""
    many: Transform | FanOut = FANNED_OUT if is_fan_out else TRANSFORM
    readings = [reading(payload=payload) for payload in payloads]
    alone = [many(each) for each in readings]
    records, letters = many.transform_all(readings)
    assert records == [each for each in alone if not isinstance(each, DeadLetter)]
    assert list(letters.items()) == [(n, each) for n, each in enumerate(alone) if isinstance(each, DeadLetter)]


def test_judge_leaves_readings_for_the_next_time_when_they_make_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two topics, and five records are many: two readings are judged."""
    monkeypatch.setattr("gateway.core.fan_out.MANY_RECORDS", 5)
    judged = fan_out(Topic("history"), LATEST).transform_all([reading()] * 9)
    assert (judged.readings, [len(records) for records in judged.records]) == (2, [2, 2])


def test_judge_gives_a_reading_to_no_topic_when_one_cannot_hold_it() -> None:
    """Headers of one topic ask for a property that some messages lack."""
    site_header = frozenset({"site"})
    made = sensors()
    also = replace(made.route, topic=Topic("asking"), headers=site_header, required_headers=site_header)
    stream_ = replace(made, also=(also,), user_properties=site_header)
    site = b"\x26\0\x04site\0\x01x"
    readings = [reading(), reading(properties=site), reading(payload=b"{}"), reading(properties=site)]
    fanned_out = transform_of(stream_, [7, 8], LIMIT)
    assert isinstance(fanned_out, FanOut)
    judged = fanned_out.transform_all(readings)
    assert [[each.topic for each in records] for records in judged.records] == [["factory", "asking"]] * 2
    assert {place: letter.reason for place, letter in judged.dead_letters.items()} == {
        0: Reason.MISSING,
        2: Reason.MISSING,
    }


def test_transform_ends_a_key_where_the_topic_is_compacted_only() -> None:
    """A cleared retained message has an empty payload; what it was about is in its topic."""
    transform = fan_out(Topic("history"), LATEST)
    assert transform(reading(payload=b"")) == [Record("latest", b"a", None, [], 1_582_114_965_123)]
    letter = transform(reading(b"factory//b", payload=b""))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.BAD_TOPIC


def test_transform_ends_no_key_that_the_topic_does_not_name() -> None:
    made = sensors(topic=LATEST)
    unnamed = replace(made, parameters=(replace(made.parameters[0], pointer=None), made.parameters[1]))
    letter = Transform(unnamed, 7, LIMIT)(reading(payload=b""))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.EMPTY
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
    letter = Transform(made, 7, LIMIT)(reading(b"m/a", payload=b""))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.EMPTY


def test_transform_gives_a_tombstone_the_headers_of_a_reading() -> None:
    made = sensors(topic=LATEST, headers=frozenset({"mqtt.topic", "gateway.received_at"}))
    ended = Transform(made, 7, LIMIT)(reading(payload=b""))
    assert isinstance(ended, Record)
    assert [name for name, _ in ended.headers] == ["mqtt.topic", "gateway.received_at"]


FANNED_OUT = fan_out(Topic("history"), LATEST)
