"""The simulator: what it makes is valid or broken as it says, by the gateway's own transform."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract import load
from gateway.core.counters import CounterMonitor
from gateway.core.encoding import JSON, Encoding
from gateway.core.entry import Entry
from gateway.core.mqtt_properties import CONTENT_TYPE, CORRELATION_DATA
from gateway.core.reading import DeadLetter, IgnoredReading, Reading, Record
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import topic_index
from gateway.mqtt.broker import Broker
from gateway.operate.simulate.breakage import DEFECTS
from gateway.operate.simulate.publisher import Publisher, publish_all
from gateway.operate.simulate.simulator import Publication, Simulator
from tests.contract_values import contract, record, several, stream
from tests.core.avro_schemas import records
from tests.core.test_headers import user
from tests.operate.hostile_payloads import HOSTILE
from tests.stack.mosquitto import Mosquitto, hashed_passwords
from tests.stack.preloaded import run
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from gateway.core.counters import CounterFigure
    from gateway.core.model import Contract, Stream
    from gateway.operate.simulate.breakage import Defect
    from tests.conftest import FreePort, StartMosquitto

OURS = Path(__file__).parents[2] / "asyncapi.yaml"
STEPS = OURS.parent / "docs" / "steps"
NOON = 1_791_547_200.0


def transformed(
    made: Contract, count: int, broken_share: float, seed: int = 1, defects: Mapping[str, Defect] = HOSTILE
) -> list[tuple[Publication, Record | list[Record] | DeadLetter | IgnoredReading]]:
    """Give what the simulator made, and what the gateway makes of it."""
    transforms = {name: transform_of(each, [1] * len(each.routes), 1_000_000) for name, each in made.streams.items()}
    publications = islice(Simulator(made, seed, broken_share, lambda: NOON, defects), count)
    return [
        (
            sent,
            transforms[sent.stream](
                Reading(sent.stream, sent.topic.encode(), sent.payload, 0, properties=carried(sent))
            ),
        )
        for sent in publications
    ]


def carried(sent: Publication) -> bytes:
    """Write the properties as the broker hands them on."""
    blocks = ((CONTENT_TYPE, sent.content_type.encode()), (CORRELATION_DATA, sent.correlation))
    own = b"".join(bytes([identifier]) + len(value).to_bytes(2) + value for identifier, value in blocks if value)
    return own + b"".join(user(name.encode(), value.encode()) for name, value in sent.properties.items())


def good_values(made: Contract, count: int = 500) -> list[Any]:
    """Give the JSON of good readings."""
    return [json.loads(sent.payload) for sent in islice(Simulator(made, 1, 0.0, lambda: NOON), count)]


def ours(name: str) -> Contract:
    """Give our contract with one of its streams."""
    made = load(OURS)
    return replace(made, streams={name: made.streams[name]})


def everything() -> dict[str, Any]:
    """Make a schema with each shape: nested, recursive, array, map, unions, logical types."""
    node = record({"name": "next", "type": ["null", "Node"], "default": None}, ("weight", "int"), name="Node")
    return record(
        ("id", "string"),
        ("flags", {"type": "array", "items": "boolean"}),
        ("limits", {"type": "map", "values": "double"}),
        ("chain", node),
        ("either", ["null", "int", "string", {"type": "array", "items": "int"}]),
        ("raw", "bytes"),
        ("four", {"type": "fixed", "name": "Four", "size": 4}),
        ("colour", {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}),
        ("day", {"type": "int", "logicalType": "date"}),
        ("at", {"type": "long", "logicalType": "timestamp-micros"}),
        ("local", {"type": "long", "logicalType": "local-timestamp-millis"}),
        ("noon", {"type": "int", "logicalType": "time-millis"}),
        ("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        ("ticket", {"type": "string", "logicalType": "uuid"}),
        {"name": "deep", "type": "float", "x-source": "$message.payload#/a/b~1c/value"},
        {"name": "twice", "type": "long", "x-source": ["$message.payload#/p/time", "$message.payload#/q/time"]},
        {"name": "rest", "type": {"type": "map", "values": "string"}, "default": {}, "x-source": "$message.payload#"},
    )


def whole_streams() -> list[Stream]:
    """Make streams whose payload is one value, of many types, as plain text and as JSON."""
    state = {"type": "enum", "name": "State", "symbols": ["ON", "OFF"]}
    at = {"type": "long", "logicalType": "timestamp-millis"}
    kinds: list[tuple[Any, Any]] = [
        ("double", 21.5), ("int", None), ("boolean", None), ("string", "open"), (state, "ON"), (at, None),
        (["null", "double"], 3), (["double", "string"], None),
    ]  # fmt: skip
    return [
        stream(
            f"{content}{number}",
            record(("id", "string"), {"name": "value", "type": kind, "x-source": "$message.payload#"}),
            address=f"{content}{number}/{{id}}",
            keys=("/id",),
            locations={"id": "/id"},
            examples=[] if example is None else [example],
            content=content,
        )
        for content in ("text", "json")
        for number, (kind, example) in enumerate(kinds)
    ]


def scaled_streams() -> list[Stream]:
    """Make streams whose payload has a number in another unit, at a place, as the whole, and at one of two places."""
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    at = {"type": "long", "logicalType": "timestamp-millis"}
    kinds: list[tuple[Any, Any, Any]] = [
        ("double", "0.001", None), ("double", 0.1, 215), ("int", 0.1, 210), ("int", "2.5", None), ("long", 1000, 7),
        (["null", "float"], "0.1", 33), (price, "0.1", None), (price, "0.25", 1.28), (at, 1000, 1_791_547_200),
        (at, "0.001", None), ("long", "-1", 5), ("double", -3, None),
    ]  # fmt: skip
    places: list[tuple[Any, Callable[[Any], Any]]] = [
        ("$message.payload#/raw/v", lambda example: {"raw": {"v": example}}),
        ("$message.payload#", lambda example: example),
        (["$message.payload#/a", "$message.payload#/b"], lambda example: {"b": example}),
    ]
    made = []
    for number, ((kind, factor, example), (location, placed)) in enumerate(product(kinds, places)):
        value = {"name": "value", "type": kind, "x-source": {"location": location, "factor": factor}}
        made.append(
            stream(
                f"scaled{number}",
                record(("id", "string"), value),
                address=f"scaled{number}/{{id}}",
                keys=("/id",),
                locations={"id": "/id"},
                examples=[] if example is None else [placed(example)],
            )
        )
    return made


def worded_streams() -> list[Stream]:
    """Make streams in which values are as devices write them: in a record inside the record, and at a place."""
    at = {"type": "long", "logicalType": "timestamp-millis"}
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    local, seconds = {"zone": "Europe/Vienna"}, {"factor": 1000}
    number, nulls = {"parse": "number"}, {"nulls": ["nan", -9999, ""]}
    kinds: list[tuple[Any, Any, Any]] = [
        ("double", number, "005779.835"), ("double", number, None), ("long", {**number, "factor": "0.5"}, "0042"),
        (price, {**number, "round": "floor"}, "1.509"), (["null", "double"], nulls, 21.5),
        (["null", "int"], {"nulls": ["n/a"]}, "n/a"), (["null", "double"], {**number, **nulls, "factor": "0.1"}, "215"),
        ("boolean", {"parse": "boolean"}, "true"), (["boolean", "null"], {"trues": ["ON", 1], "falses": ["OFF"]}, "ON"),
        ("bytes", {"parse": "base64url"}, "AQI"), ({"type": "fixed", "name": "F", "size": 3}, {"parse": "hex"}, None),
        (at, local, "2026-01-05T06:00:00"), (at, local, "2026-01-05T06:00:00+0100"),
        (at, {**local, "round": "floor"}, "2026-01-05T06:00:00.1234567"), ("int", {"round": "floor"}, 7.5),
        (at, {**seconds, "round": "floor"}, 1767592800.1234567), (at, {**number, **seconds}, "1767592800"),
    ]  # fmt: skip
    made = []
    for number_of, (kind, words, example) in enumerate(kinds):
        inner = record({"name": "value", "type": kind, "x-source": words}, name="Inner")
        value = {"name": "v", "type": kind, "x-source": {"location": "$message.payload#/raw/v", **words}}
        places = [({"name": "i", "type": inner}, {"i": {"value": example}}), (value, {"raw": {"v": example}})]
        for where, (field, sent) in enumerate(places):
            made.append(
                stream(
                    f"worded{number_of}-{where}",
                    record(("id", "string"), field),
                    address=f"worded{number_of}-{where}/{{id}}",
                    keys=("/id",),
                    locations={"id": "/id"},
                    examples=[] if example is None else [sent],
                )
            )
    return made


@pytest.mark.parametrize(
    "made",
    [
        OURS,
        contract(stream("everything", everything(), address="lab/{id}", keys=("/id",), locations={"id": "/id"})),
        contract(stream("no-parameter", everything(), address="lab", keys=("/id",))),
        contract(*whole_streams()),
        contract(*(replace(each, is_array=True) for each in whole_streams() if each.content == "json")),
        OURS.parent / "docs" / "steps" / "13" / "asyncapi.yaml",
        OURS.parent / "docs" / "steps" / "14" / "asyncapi.yaml",
        OURS.parent / "docs" / "steps" / "18" / "asyncapi.yaml",
        OURS.parent / "docs" / "steps" / "19" / "asyncapi.yaml",
        OURS.parent / "gateway" / "families" / "dsmr-p1" / "asyncapi.yaml",
        OURS.parent / "gateway" / "families" / "shelly-gen2" / "asyncapi.yaml",
        OURS.parent / "gateway" / "families" / "opcua-pubsub" / "asyncapi.yaml",
        contract(*scaled_streams()),
        contract(*worded_streams()),
        contract(
            stream(
                "empty",
                record(("id", "string"), {"name": "on", "type": "boolean", "default": True}),
                address="x/{id}",
                keys=("/id",),
                locations={"id": "/id"},
            )
        ),
        contract(stream("ignoring", record(("id", "string")), address="x/{y}/{z}", keys=("/id",), unknown="ignore")),
    ],
    ids=[
        "ours",
        "every shape",
        "one topic",
        "one value",
        "arrays",
        "steps",
        "keys",
        "heat",
        "records",
        "telegrams",
        "one of several members",
        "an envelope that no record reads",
        "scaled",
        "worded",
        "empty",
        "ignoring",
    ],
)
def test_simulator_makes_readings_that_are_what_it_says(made: Contract | Path) -> None:
    """The gateway refuses exactly those readings that the simulator calls broken."""
    results = transformed(load(made) if isinstance(made, Path) else made, 1_000, 0.5)
    assert [each for each in results if isinstance(each[1], DeadLetter) != each[0].is_broken] == []


CONSTRAINED = record(
    ("id", "string"), ("a", "double"), ("b", "int"), ("c", "string"), ("d", ["null", "string"]), ("f", "bytes"),
    {"name": "e", "type": {"type": "array", "items": "double"}, "default": []},
    ("g", {"type": "fixed", "name": "F", "size": 4}),
    {"name": "h", "type": {"type": "map", "values": "int"}, "default": {}},
    ("t", {"type": "long", "logicalType": "timestamp-millis"}),
    {"name": "z", "type": "double", "x-source": {"factor": "0.1"}},
)  # fmt: skip
CONSTRAINTS = {
    "required": ["id", "e", "h"],
    "properties": {
        "id": {"pattern": "^[a-c]{2}[0-9]$"},
        "a": {"minimum": 0.5, "exclusiveMaximum": 2.5, "multipleOf": 0.25},
        "b": {"allOf": [{"maximum": -7}, {"exclusiveMinimum": -9}]},
        "c": {"enum": ["on", "off"]},
        "d": {"type": "string", "minLength": 12},
        "e": {"minItems": 2, "maxItems": 3, "items": {"minimum": 100}},
        "f": {"contentEncoding": "base64"},
        "g": {"contentEncoding": "base16"},
        "h": {"minProperties": 2, "additionalProperties": {"maximum": 3}},
        "t": {"type": "integer"},
        "z": {"minimum": 5, "maximum": 9},
    },
}


@pytest.mark.parametrize("address", ["lab/{id}", "lab"])
@pytest.mark.parametrize("is_array", [False, True])
def test_simulator_keeps_to_the_constraints_of_the_payload(address: str, *, is_array: bool) -> None:
    """And breaks them on purpose only: a number beyond its limits is one of the defects."""
    locations = {"id": "/id"} if "{" in address else {}
    made = stream("limited", CONSTRAINED, address=address, keys=("/id",), locations=locations)
    around = {"minItems": 3, "maxItems": 4} if is_array else None
    limited = replace(made, payload_schema=CONSTRAINTS, is_array=is_array, array_schema=around)
    results = transformed(contract(limited), 400, 0.5)
    assert [each for each in results if isinstance(each[1], DeadLetter) != each[0].is_broken] == []
    reasons = {(sent.kind, result.reason) for sent, result in results if isinstance(result, DeadLetter)}
    assert ("out of range", "out_of_range") in reasons


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=records(), seed=st.integers(0, 9))
def test_simulator_takes_any_schema(drawn: tuple[dict[str, Any], object], seed: int) -> None:
    """A stream with any record schema, and no example, is simulated at once."""
    definition = {**drawn[0], "fields": [{"name": "KEY", "type": "string"}, *drawn[0]["fields"]]}
    made = contract(stream("drawn", definition, address="drawn/{k}", keys=("/KEY",), locations={"k": "/KEY"}))
    for sent, result in transformed(made, 60, 0.5, seed):
        assert isinstance(result, DeadLetter) == sent.is_broken, (sent, result)


@pytest.mark.parametrize(("defects", "kinds_of_each"), [(DEFECTS, 7), (HOSTILE, 20)], ids=["simulate", "hostile"])
def test_simulator_has_many_kinds_of_defect(defects: Mapping[str, Defect], kinds_of_each: int) -> None:
    """They give at least ten reasons in all, and every stream of ours gets many of them."""
    kinds, reasons = defaultdict(set), set()
    for sent, result in transformed(load(OURS), 1_000, 1.0, defects=defects):
        assert isinstance(result, DeadLetter)
        kinds[sent.stream].add(sent.kind)
        reasons.add(result.reason)
    assert min(map(len, kinds.values())) >= kinds_of_each
    assert len(reasons) >= 10


def test_simulator_repeats_itself_with_the_same_seed() -> None:
    """The same seed and clock give the same publications; another seed gives others."""

    def first(seed: int) -> list[Publication]:
        return list(islice(Simulator(load(OURS), seed, 0.1, lambda: NOON), 200))

    assert first(7) == first(7) != first(8)


def test_simulator_keeps_to_the_broken_share() -> None:
    """About the requested share is broken, and none without it."""
    count = Counter(sent.is_broken for sent in islice(Simulator(ours("receiveDoors"), 1, 0.1), 5_000))
    assert 400 < count[True] < 600
    assert not any(sent.is_broken for sent in islice(Simulator(ours("receiveDoors"), 1), 500))


def test_simulator_sends_every_message_of_an_operation() -> None:
    """A valid one is of its message, an invalid one of none: climate without humidity would be the other message."""
    number = {"type": "number"}
    kinds = {
        "climate": ["temperature", "humidity"],
        "plain": ["temperature"],
        "plug": ["power"],
    }
    messages = {}
    for name, members in kinds.items():
        made = stream(name, record(("id", "string"), *((each, "double") for each in members)), address="home/{id}",
                      keys=("/id",), locations={"id": "/id"})  # fmt: skip
        described = {"id": {"type": "string"}, **dict.fromkeys(members, number)}
        schema = {"type": "object", "additionalProperties": False, "required": members, "properties": described}
        messages[name] = replace(made, name="home", payload_schema=schema)
    home = contract(replace(several(**messages), name="home"))
    sent = transformed(home, 300, 0.5, defects=DEFECTS)
    topics = {result.topic for one, result in sent if not one.is_broken and isinstance(result, Record)}
    assert topics == set(kinds)
    assert [one for one, result in sent if one.is_broken != isinstance(result, DeadLetter)] == []


def test_simulator_sends_the_user_properties_that_examples_show() -> None:
    """And what else the record has of MQTT's properties; a stream whose record asks for none sends none."""
    made = load(OURS.parent / "docs" / "steps" / "13" / "asyncapi.yaml")
    found = defaultdict(list)
    for sent in islice(Simulator(made, 1, 0.1, lambda: NOON), 100):
        found[sent.stream].append((sent.properties, sent.content_type, len(sent.correlation)))
    shown = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "firmware": "2.4"}
    assert all(each == (shown, "application/json", 8) for each in found["receiveVibration"])
    assert all(each == ({}, "", 0) for each in found["receiveOvens"])


def test_simulator_uses_every_stream_and_its_servers() -> None:
    """All streams of the contract are heard, each on its own server."""
    made = load(OURS)
    heard = {(sent.stream, sent.server) for sent in islice(Simulator(made, 1), 500)}
    assert heard == {(each.name, server) for each in made.streams.values() for server in each.servers}


def test_simulator_shows_ten_machines_with_several_sensors() -> None:
    """The factory has ten machines, named like the one in the example."""
    topics = {sent.topic for sent in islice(Simulator(ours("receiveFactorySensors"), 1), 500)}
    machines = {topic.split("/")[1] for topic in topics}
    assert len(machines) == 10
    assert "MagicMaker3000" in machines
    assert len(topics) == 30


def test_simulator_shows_meters_that_differ() -> None:
    """Meters have different registers, some no name, some no times, and every one has a key."""
    meters = good_values(ours("receiveSmartMeter"))
    assert len({frozenset(meter) for meter in meters}) > 5
    assert any(meter.get("name") == "" for meter in meters)
    assert any("name" not in meter for meter in meters)
    assert all(meter.get("name") or meter["0-0:96.1.0"]["value"] for meter in meters)
    registers = [member for meter in meters for member in meter.values() if isinstance(member, dict)]
    assert {"time" in register for register in registers} == {True, False}
    assert {isinstance(register["value"], str) for register in registers} == {True, False}


def test_simulator_counts_energy_upwards() -> None:
    """A meter's energy never goes back, and grows."""
    levels = defaultdict(list)
    for value in good_values(ours("receiveSmartMeter")):
        if "1-0:1.8.0" in value:
            levels[value["0-0:96.1.0"]["value"]].append(value["1-0:1.8.0"]["value"])
    assert len(levels) > 5
    assert all(level == sorted(level) and level[0] < level[-1] for level in levels.values())


def test_simulator_lets_counters_rise_as_their_rules_say() -> None:
    """A gateway that compares them quarantines nothing, and sees no meter replaced."""
    total = {"name": "total", "type": "long", "x-source": {"location": "$message.payload#/kwh", "factor": 1000},
             "x-counter": {"most": 36_000, "of": "$message.payload#/number"}}  # fmt: skip
    plain = {"name": "plain", "type": "double", "x-counter": {"most": 5, "per": "1m"}}
    schema = record(("id", "string"), ("number", "string"), total, plain)
    examples = [
        {"id": "a", "number": "A1", "kwh": 7, "plain": 0.25},
        {"id": "b", "number": "B1", "kwh": 9, "plain": 3.5},
    ]
    meters = stream("meters", schema, address="m/{id}", keys=("/id",), locations={"id": "/id"}, examples=examples)
    now = [1_767_592_800.0]
    simulator = Simulator(contract(meters), seed=1, clock=lambda: now[0])
    figures: Counter[CounterFigure] = Counter()
    monitor, transform = CounterMonitor(meters, figures), transform_of(meters, [1], 900_000)
    for offset, sent in enumerate(islice(simulator, 2_000)):
        now[0] += 0.5
        reading = Reading("meters", sent.topic.encode(), sent.payload, int(now[0] * 1_000))
        results = transform.transform_all([reading])
        assert not results.dead_letters
        assert not monitor.check([Entry(reading, None, 0, offset)], results.records)
    assert not figures.total()


def test_simulator_tells_the_time_of_its_clock() -> None:
    """Timestamps are now, as text where the example has text, and never go back when the clock does."""
    times = iter([NOON, NOON + 5, NOON - 3600, NOON + 6])
    made = contract(
        stream(
            "timed",
            record(("id", "string"), ("ts", {"type": "long", "logicalType": "timestamp-millis"}), ("since", "long")),
            address="t/{id}",
            keys=("/id",),
            examples=[{"id": "a", "ts": "2020-01-01T00:00:00Z", "since": 5}],
        )
    )
    said = [json.loads(sent.payload)["ts"] for sent in islice(Simulator(made, 1, 0.0, lambda: next(times)), 4)]
    assert said == [f"2026-10-09T12:00:{second}.000Z" for second in ("00", "05", "05", "06")]


def test_simulator_publishes_to_topics_of_each_kind() -> None:
    """Names have levels as in the examples, values are those that have a Kafka topic, and all are the stream's."""
    made = load(STEPS / "17" / "asyncapi.yaml")
    stream_of = topic_index(made.addresses(), ["#"])
    results = transformed(made, 600, 0.3)
    for sent, result in results:
        assert stream_of(sent.topic.encode()) == sent.stream
        assert isinstance(result, DeadLetter) == sent.is_broken, (sent, result)
    good = {sent.topic for sent, _ in results if not sent.is_broken}
    assert {topic.split("/")[1] for topic in good if topic.startswith("heating/")} == {"north", "south"}
    assert any(topic.startswith("zigbee2mqtt/attic/west") for topic in good)
    assert any(topic.startswith("zigbee2mqtt/plug-fridge") for topic in good)
    assert {"empty topic level", "topic value"} <= {sent.kind for sent, _ in results}


def test_simulator_leaves_out_what_the_topic_says() -> None:
    """A member that the topic says is sometimes left out, and never differs from the topic."""
    seen: Counter[bool] = Counter()
    for sent in islice(Simulator(ours("receiveDoors"), 1), 500):
        said = json.loads(sent.payload).get("location")
        assert said in {None, sent.topic.removeprefix("doors/")}
        seen[said is None] += 1
    assert seen[True]
    assert seen[False] > seen[True]


def outside(values: list[float], low: float, high: float) -> list[float]:
    return [value for value in values if not low <= value <= high]


@pytest.mark.parametrize(
    ("kind", "accepts"), [("int", lambda v: isinstance(v, int)), ("float", lambda v: isinstance(v, int | float))]
)
def test_simulator_varies_numbers_around_the_example(kind: str, accepts: Callable[[object], bool]) -> None:
    """Numbers look like the example's: near it, and not all the same."""
    definition = record(("id", "string"), ("pressure", kind))
    made = contract(stream("s", definition, address="s/{id}", keys=("/id",), examples=[{"id": "a", "pressure": 200}]))
    values = [value["pressure"] for value in good_values(made)]
    assert all(map(accepts, values))
    assert outside(values, 150, 250) == []
    assert len(set(values)) > 10


# --- publishing ------------------------------------------------------------------------------------------------------

CLOSED = "listener 1883\nallow_anonymous false\npassword_file passwd\nacl_file acl"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `gateway simulate` on our contract."""
    return run("simulate", "--contract", OURS, *arguments)


def both_servers(broker: Mosquitto) -> list[str]:
    return ["--server", f"factoryBroker={broker.address}", "--server", f"meterBroker={broker.address}"]


def test_simulate_publishes_what_it_counts(mosquitto: StartMosquitto) -> None:
    """Every reading that the command counts has arrived, over MQTT 5 and 3.1.1, at QoS 1."""
    broker = mosquitto()
    arrived: list[paho.MQTTMessage] = []
    listener = paho.Client(CallbackAPIVersion.VERSION2)
    listener.on_message = lambda _client, _data, message: arrived.append(message)
    listener.connect("127.0.0.1", broker.port)
    listener.loop_start()
    subscribed = threading.Event()
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.subscribe("#", 1)
    assert subscribed.wait(10)
    done = command(*both_servers(broker), "--rate", "0", "--count", "500", "--broken", "0.2", "--seed", "3")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(arrived) == 500, 60, lambda: f"500 messages, {len(arrived)} are there")
    listener.loop_stop()
    assert {message.qos for message in arrived} == {1}
    assert "published 500 readings" in done.stdout
    assert "500 acknowledged" in done.stdout


def test_simulate_keeps_to_its_rate(mosquitto: StartMosquitto) -> None:
    """Forty readings at 100 a second take at least 0.39 seconds."""
    broker = mosquitto()
    made = load(OURS)
    brokers = [Broker(name, "127.0.0.1", broker.port) for name in made.mqtt_servers]
    with Publisher(brokers) as publisher:
        started = time.monotonic()
        publish_all(Simulator(made, 1), publisher, rate=100, stopping=threading.Event(), count=40)
        assert time.monotonic() - started > 0.38
        publisher.settle()
    assert publisher.acknowledged == 40


def test_simulate_reports_what_the_broker_refuses(mosquitto: StartMosquitto) -> None:
    """A publication that the access list forbids is counted, and the exit code is not 0."""
    broker = mosquitto(CLOSED, {"passwd": hashed_passwords({"guest": "secret"}), "acl": "user guest\ntopic read #\n"})
    made = contract(stream("s", record(("id", "string")), address="s/{id}", keys=("/id",)))
    guest = Broker("broker", "127.0.0.1", broker.port, username="guest", password="secret")
    with Publisher([guest]) as publisher:
        publish_all(Simulator(made, 1), publisher, rate=0, stopping=threading.Event(), count=10)
        publisher.settle()
    assert publisher.acknowledged == 0
    assert publisher.refusals == {"Not authorized": 10}
    assert "secret" not in repr(guest)


def test_simulate_says_how_to_sign_in(mosquitto: StartMosquitto) -> None:
    """A broker that requires a user is named, with what to do; no traceback."""
    broker = mosquitto(CLOSED, {"passwd": hashed_passwords({"guest": "secret"}), "acl": "topic read #\n"})
    done = command(*both_servers(broker), "--count", "1")
    assert done.returncode == 1
    assert "--password-file" in done.stderr
    assert "Traceback" not in done.stderr


def test_simulate_says_which_broker_is_away(free_port: FreePort) -> None:
    """A broker that is away is named, with its address."""
    port = free_port()
    done = command("--server", f"factoryBroker=127.0.0.1:{port}", "--count", "1")
    assert done.returncode == 1
    assert f"Cannot connect to broker factoryBroker at 127.0.0.1:{port}: [Errno 111]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("override", ["nobody=localhost:1883", "factoryBroker", "factoryBroker=mqtt://x"])
def test_simulate_refuses_a_wrong_override(override: str) -> None:
    """A server that is none of the contract's, or no address, is refused with what would be right."""
    done = command("--server", override)
    assert done.returncode == 1
    assert "factoryBroker" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_uptime_rises_with_the_time() -> None:
    """The seconds since the start of a device: as many more as have passed since its last message."""
    now = [NOON]
    made = Simulator(load(STEPS / "23" / "asyncapi.yaml"), 1, 0.0, lambda: now[0])
    started: dict[str, set[float]] = {}
    for sent in islice(made, 60):
        now[0] += 7.5
        if (running := json.loads(sent.payload).get("sma_time")) is not None:
            started.setdefault(sent.topic, set()).add(round(now[0] - 7.5 - running, 1))
    assert started
    assert all(len(each) == 1 for each in started.values()), started


@pytest.mark.parametrize("encoding", [Encoding("msgpack"), Encoding("cbor"), Encoding("cbor", is_gzip=True)])
def test_simulate_encodes_as_the_contract_says(encoding: Encoding) -> None:
    made = load(OURS)
    made = replace(made, streams={name: replace(one, encoding=encoding) for name, one in made.streams.items()})
    for publication, result in transformed(made, 100, 0.1):
        assert isinstance(result, DeadLetter) == publication.is_broken, publication


def test_simulate_sends_gzip_where_an_example_says_so() -> None:
    """By its user property, which MQTT 3.1.1 does not have; the same readings as of streams without it."""
    made = load(OURS)
    texts = ({"Content-Encoding": "gzip"}, {"content-encoding": "identity"}, {"trace": "1"})
    more: dict[str, Any] = {"encoding": Encoding(has_property=True), "example_headers": texts}
    streams = {name: replace(one, **more) for name, one in made.streams.items() if not one.messages}
    plain = transformed(
        replace(made, streams={name: replace(one, encoding=JSON) for name, one in streams.items()}), 200, 0.1
    )
    sent = transformed(replace(made, streams=streams), 200, 0.1)
    for (publication, result), (other, _) in zip(sent, plain, strict=True):
        assert isinstance(result, DeadLetter) == publication.is_broken, publication
        is_gzip = publication.properties == texts[0]
        assert (gzip.decompress(publication.payload) if is_gzip else publication.payload) == other.payload
    assert {each.properties.get("Content-Encoding") for each, _ in sent} == {"gzip", None}
    old = {name: replace(server, version="3.1.1") for name, server in made.mqtt_servers.items()}
    for publication, result in transformed(replace(made, streams=streams, mqtt_servers=old), 50, 0.0):
        assert isinstance(result, (Record, list)), publication
        assert not publication.properties
