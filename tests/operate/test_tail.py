"""`gateway tail`: what it shows of records, dead letters and bytes from anywhere."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from fastavro import parse_schema

from gateway.core.avro_schema import build
from gateway.core.codec.framing import SCHEMA_ID_HEADER, frame
from gateway.core.codec.precise_encoder import compile_encoder
from gateway.core.dead_letter import dead_letter_record
from gateway.core.reading import DeadLetter, Reading, Record
from gateway.core.transform import Transform
from gateway.errors import GatewayError
from gateway.operate.demo.mock_kafka import MockCluster
from gateway.operate.tail.consumer import TopicConsumer
from gateway.operate.tail.decoder import Decoder, ShownRecord, decoded, plain
from gateway.registry.api import Endpoint
from gateway.registry.lock_file import update_lock
from gateway.registry.registry import SchemaRegistry
from tests.contract_values import contract, record, stream
from tests.stack.preloaded import run
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from gateway.core.model import Stream
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

SENSOR = record(("machine", "string"), ("value", "double"))
STREAM = stream(
    "machine-sensors", SENSOR, address="factory/{machine}", keys=("/machine",), locations={"machine": "/machine"}
)
OURS = Path(__file__).parents[2] / "asyncapi.yaml"


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    """Start a mock cluster; each test makes its own topic."""
    with MockCluster({}) as started:
        yield started


@pytest.fixture
def topic(cluster: MockCluster) -> str:
    """Make a topic with two partitions."""
    name = f"topic-{uuid4().hex[:8]}"
    cluster.create_topic(name, 2)
    return name


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Pin schema id 7 for the machine sensors."""
    update_lock(tmp_path / "lock", [STREAM.route], {STREAM.route.subject: 7})
    return tmp_path / "lock"


def of_reading(payload: bytes, made: Stream = STREAM, schema_id: int = 7) -> Record:
    """Make the record or dead letter of a reading."""
    reading = Reading(made.name, b"factory/oven", payload, 1_700_000_000_123, qos=1)
    result = Transform(made, schema_id, 1_000_000)(reading)
    return dead_letter_record(reading, result, "dead-letters", 1_000_000) if isinstance(result, DeadLetter) else result


def shown(cluster: MockCluster, topic: str, decoder: Decoder, *records: Record) -> list[ShownRecord]:
    """Produce records and give what tail shows of them, in the order of producing."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for each in records:
        producer.produce(topic, each.value, each.key, 0, timestamp=each.timestamp, headers=list(each.headers))
    assert producer.flush(20) == 0
    seen: list[ShownRecord] = []
    with TopicConsumer({"bootstrap.servers": cluster.bootstrap}, [topic], "beginning") as consumer:

        def take() -> bool:
            if (message := consumer.poll(0.1)) is not None:
                seen.append(decoder.show(message))
            return len(seen) == len(records)

        wait_for(take, 60, "records")
    return seen


def test_show_decodes_by_the_contract_with_a_pinned_id(cluster: MockCluster, topic: str, lock: Path) -> None:
    """A record of a pinned schema is decoded without a registry, in one line."""
    decoder = Decoder(contract(STREAM), lock, None)
    (one,) = shown(cluster, topic, decoder, of_reading(b'{"value": 21.5}'))
    expected = f'2023-11-14T22:13:20.123Z {topic}:0:0 oven schema=7 {{"machine": "oven", "value": 21.5}}'
    assert one.as_text() == expected
    assert json.loads(one.as_json()) == {
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "timestamp": 1_700_000_000_123,
        "key": "oven",
        "schema_id": 7,
        "value": {"machine": "oven", "value": 21.5},
    }


def test_show_reads_the_schema_id_from_the_header(cluster: MockCluster, topic: str, lock: Path) -> None:
    """A record framed by header is decoded too."""
    framed = of_reading(b'{"value": 1}')
    assert framed.value
    by_header = Record(topic, b"oven", framed.value[5:], [(SCHEMA_ID_HEADER, framed.value[:5])], framed.timestamp)
    (one,) = shown(cluster, topic, Decoder(contract(STREAM), lock, None), by_header)
    assert one.value == {"machine": "oven", "value": 1.0}


def test_show_asks_the_registry_for_what_the_lock_file_does_not_know(
    cluster: MockCluster, topic: str, tmp_path: Path, registry: Registry
) -> None:
    """Without a lock file the schema comes from the registry; an unknown id is reported."""
    assert STREAM.route.schema is not None
    schema_id = registry.register(f"{topic}-value", STREAM.route.schema.text)
    client = SchemaRegistry(Endpoint(registry.url), tmp_path / "lock")
    records = [of_reading(b'{"value": 2}', schema_id=each) for each in (schema_id, 2_000_000_000)]
    one, two = shown(cluster, topic, Decoder(None, None, client), *records)
    assert one.value == {"machine": "oven", "value": 2.0}
    assert two.value is None
    assert "404" in two.note


def test_show_gives_hexadecimal_when_there_is_no_schema(cluster: MockCluster, topic: str) -> None:
    """Without lock file and registry the bytes are shown, and why."""
    (one,) = shown(cluster, topic, Decoder(None, None, None), of_reading(b'{"value": 1}'))
    assert "no registry is configured" in one.note
    assert one.as_text().endswith("0000000007086f76656e000000000000f03f")


@pytest.mark.parametrize("value", [b"", b"\0", b"text", frame(7), frame(7) + b"\xff" * 20, b"\xff" * 2_000])
def test_show_takes_any_bytes(cluster: MockCluster, topic: str, lock: Path, value: bytes) -> None:
    """A value that is no record of ours is shown with the reason, never an exception."""
    (one,) = shown(cluster, topic, Decoder(contract(STREAM), lock, None), Record(topic, b"\xff\x1b", value, [], 1))
    assert one.value is None
    assert one.note
    assert one.as_text().isprintable()
    assert r"\xff\u001b" in one.as_text()
    json.loads(one.as_json())


def test_show_gives_the_reason_of_a_dead_letter(cluster: MockCluster, topic: str, lock: Path) -> None:
    """A dead letter shows reason, place, detail and its payload, with everything dangerous escaped."""
    dead_letters = of_reading(b'{"value": "\x1b[31m\nhot"}'), of_reading(b'{"value": "hot\x7f"}')
    one, two = shown(cluster, topic, Decoder(contract(STREAM), lock, None), *dead_letters)
    assert (one.reason, two.reason) == ("not_json", "wrong_type")
    text = two.as_text()
    assert "DEAD LETTER wrong_type at /value: " in text
    assert r'payload={"value": "hot\u007f"}' in text
    assert text.isprintable()
    assert one.as_text().isprintable()
    facts = json.loads(two.as_json())
    assert (facts["reason"], facts["mqtt_topic"]) == ("wrong_type", "factory/oven")


def test_show_escapes_what_moves_a_cursor(cluster: MockCluster, topic: str, lock: Path) -> None:
    """Control and bidirectional characters in good values are escaped too; other characters stay as they are."""
    made = Reading(STREAM.name, "factory/Ofen \u202e\x9b31m Süd".encode(), b'{"value": 1}', 1)
    result = Transform(STREAM, 7, 1_000_000)(made)
    assert isinstance(result, Record)
    (one,) = shown(cluster, topic, Decoder(contract(STREAM), lock, None), result)
    assert r"Ofen \u202e\u009b31m Süd" in one.as_text()
    assert one.as_json().isascii()


def test_tail_from_the_end_shows_only_new_records(cluster: MockCluster, topic: str) -> None:
    """From the end, what was there before is not shown."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    producer.produce(topic, b"old", partition=0)
    assert producer.flush(20) == 0
    values: list[bytes | None] = []
    with TopicConsumer({"bootstrap.servers": cluster.bootstrap}, [topic], "end") as consumer:

        def take() -> bool:
            producer.produce(topic, b"new", partition=0)
            producer.flush(20)
            if (message := consumer.poll(0.1)) is not None:
                values.append(message.value())
            return bool(values)

        wait_for(take, 60, "a new record")
    assert values == [b"new"]


def test_tail_says_that_a_topic_is_not_there(cluster: MockCluster) -> None:
    """A topic that is not there is named."""
    with pytest.raises(GatewayError, match="has no topic nobody-made-me"):
        TopicConsumer({"bootstrap.servers": cluster.bootstrap}, ["nobody-made-me"], "end")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda topic: topic[:-1], "Did you mean '{topic}'?"),
        (lambda _topic: "receiveDoors", "Did you mean '{topic}'? It is the topic of 'receiveDoors'."),
        (lambda _topic: "receveDoors", "Did you mean '{topic}'? It is the topic of 'receiveDoors'."),
    ],
    ids=["misspelt", "a stream", "a misspelt stream"],
)
def test_tail_suggests_a_topic(cluster: MockCluster, topic: str, wrong: Callable[[str], str], hint: str) -> None:
    with pytest.raises(GatewayError) as raised:
        TopicConsumer({"bootstrap.servers": cluster.bootstrap}, [wrong(topic)], "end", streams={"receiveDoors": topic})
    assert raised.value.hint == hint.format(topic=topic)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [b"\xff", Decimal("1.50"), None]}, {"a": ["ÿ", "1.50", None]}),
        (True, True),
    ],
)
def test_plain_is_what_json_can_say(value: Any, expected: Any) -> None:
    """Bytes become code points and decimals text."""
    assert plain(value) == expected


def test_logical_types_are_shown_as_they_are_meant() -> None:
    """Those that fastavro does not know, too."""
    types: dict[str, Any] = {
        "price": {"type": "bytes", "logicalType": "big-decimal"},
        "window": {"type": "fixed", "name": "P", "size": 12, "logicalType": "duration"},
        "id": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
        "at": {"type": "long", "logicalType": "timestamp-nanos"},
        "local": {"type": "long", "logicalType": "local-timestamp-nanos"},
    }
    reading = {
        "price": Decimal("-12.50"), "window": "P1Y2M1DT1M0.5S", "id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "at": "2020-02-19T12:22:45.000000001Z", "local": "1969-12-31T23:59:59.9",
    }  # fmt: skip
    schema = record(*types.items())
    body = bytearray()
    compile_encoder(build(schema))(reading, body)
    assert decoded(parse_schema(schema), bytes(body)) == {
        "price": "-12.50", "window": "P14M1DT60.500S", "id": reading["id"], "at": reading["at"],
        "local": "1969-12-31T23:59:59.900000000",
    }  # fmt: skip


# --- the command -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("tail", *arguments)


def test_tail_command_stops_after_the_count(cluster: MockCluster, topic: str) -> None:
    """`--count 2 --from beginning` shows two lines and ends with 0."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number in range(3):
        producer.produce(topic, b"%d" % number, b"key", 0)
    assert producer.flush(20) == 0
    done = command(topic, "--bootstrap", cluster.bootstrap, "--count", "2", "--from", "beginning")
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"{topic}:0:{n} key" in line for n, line in enumerate(done.stdout.splitlines())] == [True, True]


def test_tail_command_names_a_missing_topic(cluster: MockCluster) -> None:
    """A missing topic is a sentence and exit code 1."""
    done = command("nobody-made-me", "--bootstrap", cluster.bootstrap)
    assert done.returncode == 1
    assert "Kafka has no topic nobody-made-me." in done.stderr
    assert "Traceback" not in done.stderr


def test_tail_command_shows_records_of_aborted_transactions_without_committed(kafka: Kafka) -> None:
    name = kafka.create_topic(f"tailed-{uuid4().hex[:8]}")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    for value, end in ((b"lost", producer.abort_transaction), (b"kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(name, value, b"k")
        producer.flush(30)
        end(30)
    asked = (name, "--bootstrap", kafka.bootstrap, "--from", "beginning", "--format", "json", "--count")
    raw = [json.loads(line)["raw"] for line in command(*asked, "2").stdout.splitlines()]
    assert raw == ["lost", "kept"]
    committed = [json.loads(line)["raw"] for line in command(*asked, "1", "--committed").stdout.splitlines()]
    assert committed == ["kept"]
