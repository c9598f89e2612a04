"""The foreign readers are proven on records framed here by hand, byte by byte, not by the gateway."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from confluent_kafka import Producer

from tests.stack.readers import read_with_avro_deserializer, read_with_java, read_with_kcat
from tests.stack.reading_records import record_count, records

if TYPE_CHECKING:
    from tests.conftest import NewTopic
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Sample",
    "namespace": "org.example.tests",
    "fields": [
        {"name": "machine", "type": "string"},
        {"name": "value", "type": ["null", "double"], "default": None},
        {"name": "single", "type": "float"},
        {"name": "count", "type": "long"},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["open", "closed"]}},
        {"name": "digest", "type": "bytes"},
        {"name": "phases", "type": {"type": "array", "items": "int"}},
        {"name": "registers", "type": {"type": "map", "values": ["double", "string"]}},
    ],
}

VALUES: list[dict[str, Any]] = [
    {
        "machine": "MagicMaker3000",
        "value": 231.0,
        "single": 0.5,
        "count": 2**62,
        "state": "open",
        "digest": bytes(range(256)),
        "phases": [-1, 0, 2**31 - 1],
        "registers": {"1-0:1.8.0": 83402.0, "0-0:96.1.0": "90296857"},
    },
    {
        "machine": "Öfen 店",
        "value": None,
        "single": -2.25,
        "count": -1,
        "state": "closed",
        "digest": b"",
        "phases": [],
        "registers": {},
    },
]


@dataclass(frozen=True)
class Written:
    """What was produced.

    Args:
        topic: where.
        values: the framed bytes, in order.
    """

    topic: str
    values: list[bytes]


@pytest.fixture
def written(kafka: Kafka, registry: Registry, topic: NewTopic) -> Written:
    """Produce the values to a topic of one partition, framed by hand."""
    name = topic("samples", partitions=1)
    schema_id = registry.register(f"{name}-value", json.dumps(SCHEMA))
    framed = [struct.pack(">bI", 0, schema_id) + _avro(value) for value in VALUES]
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for value, frame in zip(VALUES, framed, strict=True):
        headers: list[tuple[str, str | bytes | None]] = [("mqtt.topic", b"factory/a/b"), ("qos", b"1")]
        producer.produce(name, frame, value["machine"].encode(), headers=headers, timestamp=1_600_000_000_000)
    assert producer.flush(30) == 0
    return Written(name, framed)


def _avro(value: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, value)
    return body.getvalue()


def test_records_are_read_back_as_the_bytes_that_were_produced(kafka: Kafka, written: Written) -> None:
    found = records(kafka.bootstrap, written.topic, 2)
    assert [record.value for record in found] == written.values
    assert [record.key for record in found] == [b"MagicMaker3000", "Öfen 店".encode()]
    assert [(record.partition, record.offset) for record in found] == [(0, 0), (0, 1)]
    assert found[0].headers == [("mqtt.topic", b"factory/a/b"), ("qos", b"1")]
    assert found[0].timestamp == 1_600_000_000_000
    assert record_count(kafka.bootstrap, written.topic) == 2


def test_records_that_never_come_fail_with_how_many_came(kafka: Kafka, written: Written) -> None:
    with pytest.raises(AssertionError, match="2 of 3 records"):
        records(kafka.bootstrap, written.topic, 3, seconds=1)


def test_avro_deserializer_reads_the_values_that_went_in(kafka: Kafka, registry: Registry, written: Written) -> None:
    found = read_with_avro_deserializer(kafka.bootstrap, registry.url, written.topic, 2)
    assert [record["value"] for record in found] == VALUES
    assert [record["key"] for record in found] == ["MagicMaker3000", "Öfen 店"]


def test_kcat_reads_the_bytes_key_and_headers_that_went_in(kafka: Kafka, written: Written) -> None:
    found = read_with_kcat(kafka.bootstrap, written.topic, 2)
    assert [bytes.fromhex(record["value"]) for record in found] == written.values
    assert found[1] == {
        "key": "Öfen 店",
        "value": written.values[1].hex(),
        "headers": {"mqtt.topic": "factory/a/b", "qos": "1"},
        "partition": 0,
        "offset": 1,
        "timestamp": 1_600_000_000_000,
    }


def test_java_reads_the_values_that_went_in(kafka: Kafka, registry: Registry, written: Written) -> None:
    found = read_with_java(kafka.bootstrap, registry.apicurio_url, written.topic, 2)
    expected = [{**value, "digest": value["digest"].decode("iso-8859-1")} for value in VALUES]
    assert [record["value"] for record in found] == expected
    assert found[0]["schema"] == "org.example.tests.Sample"
    assert found[1]["key"] == "Öfen 店"
    assert found[1]["headers"] == {"mqtt.topic": "factory/a/b", "qos": "1"}
    assert (found[1]["partition"], found[1]["offset"]) == (0, 1)
