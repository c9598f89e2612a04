"""Streams of several messages: each reading becomes a record of the one message that it fits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.choice_transform import ChoiceTransform
from gateway.core.codec.compiled import parse_plain
from gateway.core.model import Topic
from gateway.core.reading import IGNORED, DeadLetter, Reading, Reason, Record
from gateway.core.stream_transform import transform_of
from tests.contract_values import record, route, several, stream

if TYPE_CHECKING:
    from gateway.core.model import Stream
    from gateway.core.reading import Result

LIMIT = 1_000
NUMBER = {"type": "number"}
ID = {"name": "id", "type": "string"}


def kind(name: str, schema: dict[str, Any], *fields: Any, **changed: Any) -> Stream:
    """A message whose JSON Schema is closed, and whose records go to a topic of its name."""
    described = {"type": "object", "additionalProperties": False, **schema}
    made = stream(name, record(ID, *fields), address="home/{id}", keys=("/id",), locations={"id": "/id"})
    return replace(made, name="home", payload_schema=described, **changed)


def members(required: str, **properties: Any) -> dict[str, Any]:
    return {"required": [required], "properties": {"id": {"type": "string"}, **properties}}


CONTACT = kind("contact", members("contact", contact={"type": "boolean"}), ("contact", "boolean"))
CLIMATE = kind(
    "climate",
    members("humidity", humidity=NUMBER, temperature=NUMBER),
    ("humidity", "double"),
    {"name": "temperature", "type": ["null", "double"], "default": None},
)
PLUG = kind(
    "plug",
    members("power", power=NUMBER, state={"enum": ["ON", "OFF"]}),
    {"name": "power", "type": "long", "x-source": {"location": "$message.payload#/power", "factor": "10"}},
    {"name": "state", "type": "string", "default": "ON"},
)
AVAILABILITY = {"type": "object", "required": ["available"], "properties": {"available": {"type": "boolean"}}}
HOME = several(contact=CONTACT, climate=CLIMATE, plug=PLUG, availability=AVAILABILITY)
ALONE = {each.route.topic.name: transform_of(each, [7], LIMIT) for each in (CONTACT, CLIMATE, PLUG)}


def made(home: Stream = HOME) -> ChoiceTransform:
    transform = transform_of(home, [7] * len(home.routes), LIMIT)._transform  # noqa: SLF001 - its two paths are compared
    assert isinstance(transform, ChoiceTransform)
    return transform


def reading(payload: Any, topic: bytes = b"home/a", **more: Any) -> Reading:
    sent = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Reading("home", topic, sent, 1_582_114_965_123, **more)


def fast(transform: ChoiceTransform, one: Reading) -> Result:
    """Transform on the compiled path only."""
    parsed = parse_plain(one.payload)
    facts = transform._facts[one.topic][transform._choose(parsed)]  # noqa: SLF001 - the compiled path is what is tested
    encode, prepared, *_, finish = facts
    return finish(one, encode(one.payload, prepared, parsed))


@pytest.mark.parametrize(
    ("payload", "topic"),
    [({"contact": True}, "contact"), ({"humidity": 1, "temperature": 2.5}, "climate"), ({"power": 1.5}, "plug"),
     ({"id": "a", "power": 3, "state": "OFF"}, "plug")],
)  # fmt: skip
def test_transform_makes_the_record_of_the_message_that_fits(payload: Any, topic: str) -> None:
    """The compiled path makes it, and it is the record of the message alone."""
    expected = ALONE[topic](reading(payload))
    assert isinstance(expected, Record)
    assert expected.topic == topic
    transform = made()
    assert transform(reading(payload)) == expected
    assert fast(transform, reading(payload)) == expected


def test_transform_ignores_a_message_that_is_not_wanted() -> None:
    assert made()(reading({"available": True})) is IGNORED
    results = made().transform_all([reading({"available": False}), reading({"contact": True}), reading({})])
    assert (results.ignored, [one.topic for one in results.records if isinstance(one, Record)]) == ((0,), ["contact"])
    assert (list(results.dead_letters), results.readings) == ([2], 3)


@pytest.mark.parametrize(
    ("payload", "reason", "pointer", "detail"),
    [
        (
            {"lux": 3},
            "no_message",
            "/contact",
            "no message of the operation fits; the nearest is contact: this member is missing",
        ),
        ({"humidity": 3, "lux": 3}, "extra_field", "/lux", ""),
        (
            {"humidity": 3, "power": 3},
            "no_message",
            "/power",
            "the nearest is climate: this member is not allowed",
        ),
        ({"humidity": "3"}, "wrong_type", "/humidity", ""),  # one message is left: its own reason
        ({"id": "b", "humidity": 3}, "topic_mismatch", "/id", ""),
        ([], "no_message", "", "the nearest is contact: expected an object"),
        (b"{", "not_json", "", ""),
        (b"", "empty", "", ""),
        (b" " * (LIMIT + 1), "too_large", "", ""),
    ],
)
def test_transform_says_why_no_message_fits(payload: Any, reason: str, pointer: str, detail: str) -> None:
    result = made()(reading(payload))
    assert isinstance(result, DeadLetter)
    assert (result.reason, result.pointer) == (reason, pointer)
    assert detail in result.detail


def test_transform_reports_a_wrong_topic_first() -> None:
    for payload in ({"lux": 3}, {"contact": True}, b"{"):
        result = made()(reading(payload, b"home/"))
        assert isinstance(result, DeadLetter)
        assert result.reason is Reason.BAD_TOPIC


def test_transform_ends_the_key_in_each_compacted_topic() -> None:
    """An empty payload is no message; one tombstone goes to each topic, also where two messages share it."""
    latest = replace(CONTACT.route, topic=Topic("latest", configuration={"cleanup.policy": "compact"}))
    other = replace(CLIMATE.route, topic=Topic("climate", configuration={"cleanup.policy": "compact"}))
    one = several(contact=replace(CONTACT, route=latest), climate=CLIMATE)
    ended = made(one)(reading(b""))
    assert isinstance(ended, Record)
    assert (ended.topic, ended.key, ended.value) == ("latest", b"a", None)
    two = several(
        contact=replace(CONTACT, route=latest), plug=replace(PLUG, route=replace(PLUG.route, topic=latest.topic)),
        climate=replace(CLIMATE, route=other),
    )  # fmt: skip
    results = made(two).transform_all([reading(b""), reading({"contact": True})])
    assert [[each.topic for each in one] for one in results.records if isinstance(one, list)] == [
        ["latest", "climate"], ["latest"],
    ]  # fmt: skip


def test_transform_takes_messages_of_several_topics_and_of_arrays() -> None:
    """Then every reading has a list of records."""
    both = replace(CONTACT, also=(route("also", record(ID, ("contact", "boolean")), ("/id",)),))
    several_kinds = several(contact=both, climates=replace(CLIMATE, is_array=True), plug=PLUG)
    sent = [{"contact": True}, [{"humidity": 1}, {"humidity": 2}], {"power": 1}, [{"humidity": "x"}], [{}], 5]
    results = made(several_kinds).transform_all([reading(each) for each in sent])
    topics = [[each.topic for each in one] for one in results.records if isinstance(one, list)]
    assert topics == [["contact", "also"], ["climate", "climate"], ["plug"]]
    reasons = {place: (each.reason, each.pointer) for place, each in results.dead_letters.items()}
    assert reasons == {3: ("wrong_type", "/0/humidity"), 4: ("missing", "/0/humidity"), 5: ("no_message", "")}


VALUES: st.SearchStrategy[Any] = st.sampled_from([0, 1, 2.5, 10**30, "ON", "x", True, None, [], {}])
MEMBERS = st.sampled_from(["id", "contact", "humidity", "temperature", "power", "state", "lux", "available"])
PAYLOADS = st.one_of(VALUES, st.dictionaries(MEMBERS, VALUES, max_size=4))
TRANSFORM = made()


@given(payloads=st.lists(PAYLOADS, max_size=5))
def test_transform_is_what_trying_every_message_gives(payloads: list[Any]) -> None:
    """The record of the only message that fits; a dead letter for all other payloads; on both paths the same."""
    readings = [reading(each) for each in payloads]
    results = TRANSFORM.transform_all(readings)
    records = iter(results.records)
    for place, one in enumerate(readings):
        fitting = [result for each in ALONE.values() if isinstance(result := each(one), Record)]
        assert len(fitting) <= 1
        assert (place in results.dead_letters, place in results.ignored) == (
            (False, False) if fitting else (not is_ignored(payloads[place]), is_ignored(payloads[place]))
        )
        if fitting:
            assert next(records) == fitting[0]
        assert TRANSFORM._transform_precisely(one) == TRANSFORM(one)  # noqa: SLF001 - the other path


def is_ignored(payload: Any) -> bool:
    """Tell whether a payload is the ignored message, whose schema is open."""
    return isinstance(payload, dict) and type(payload.get("available")) is bool
