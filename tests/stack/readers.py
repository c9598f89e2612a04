"""Readers that nobody here wrote: whoever reads our topics reads them with one of these.

Each returns one dict a record, with at least `key` (text or None), `partition` and `offset`:

    read_with_avro_deserializer   `value`: the dict that confluent-kafka's AvroDeserializer makes
    read_with_kcat                `value`: the bytes as hexadecimal digits; `headers`: texts by name
    read_with_java                `value`: the fields as Apicurio's stock Java deserializer (Apache Avro for Java)
                                  reads them, raw Avro types; bytes and fixed as ISO 8859-1 text; `headers`: texts by
                                  name; `schema`: full name of the record's schema

`values_that_java_sees` shows what a consumer of an isolation level gets.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.stack.reading_records import records
from tests.stack.software import command, fetched, java

READ_SECONDS = 120  # Java's first poll took more than 60 on a busy machine once


def read_with_avro_deserializer(bootstrap: str, registry_url: str, topic: str, count: int) -> list[dict[str, Any]]:
    """Read the first records of a topic with confluent-kafka's AvroDeserializer.

    Args:
        bootstrap: servers, comma-separated.
        registry_url: base of the Confluent REST API.
        topic: its name.
        count: how many.

    Returns:
        Exactly `count` records.
    """
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry_url}))
    return [
        {
            "key": None if record.key is None else record.key.decode(),
            "value": deserialize(record.value, SerializationContext(topic, MessageField.VALUE, [*record.headers])),
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
        }
        for record in records(bootstrap, topic, count, READ_SECONDS)
    ]


def read_with_kcat(bootstrap: str, topic: str, count: int) -> list[dict[str, Any]]:
    """Read the first records of a topic with kcat.

    Args:
        bootstrap: servers, comma-separated.
        topic: its name.
        count: how many.

    Returns:
        Exactly `count` records. kcat prints headers as `a=1,b=2`, so texts with a comma cannot be told apart.
    """
    # Values are bytes: lengths go before, and a mark that no record contains goes behind.
    mark = uuid.uuid4().hex
    form = f"%p %o %T %K %S %k%s%h{mark}"
    reading = ("-C", "-q", "-b", bootstrap, "-t", topic, "-o", "beginning", "-c", str(count), "-f", form)
    output = _output([command("kcat", "kcat"), *reading])
    found = [_kcat_record(part) for part in output.split(mark.encode())[:-1]]
    assert len(found) == count, f"kcat read {len(found)} of {count} records of topic {topic}"
    return found


def read_with_java(bootstrap: str, registry_url: str, topic: str, count: int) -> list[dict[str, Any]]:
    """Read the first records of a topic with Kafka's Java consumer and a stock Avro deserializer.

    Args:
        bootstrap: servers, comma-separated.
        registry_url: base of Apicurio's own API (`Registry.apicurio_url`).
        topic: its name.
        count: how many.

    Returns:
        Exactly `count` records.
    """
    folder = fetched("reader")
    class_path = f"{folder / 'classes'}:{folder / 'lib'}/*"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    arguments = (bootstrap, registry_url, topic, str(count), str(READ_SECONDS))
    output = _output(java("reader", quiet, "-Dfile.encoding=UTF-8", "-cp", class_path, "Reader", *arguments))
    return [json.loads(line) for line in output.splitlines()]


def values_that_java_sees(bootstrap: str, topic: str, *isolation: str) -> list[str]:
    """Read the values of a topic's first partition to its end with Kafka's Java consumer.

    Args:
        bootstrap: servers, comma-separated.
        topic: its name.
        isolation: the isolation level; none for Java's default.

    Returns:
        The values, which are text on one line each.
    """
    source = Path(__file__).parent / "java" / "Isolation.java"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    class_path = f"{fetched('reader') / 'lib'}/*"
    return _output(java("reader", quiet, "-cp", class_path, source, bootstrap, topic, *isolation)).decode().splitlines()


def _output(command_line: list[str]) -> bytes:
    outcome = subprocess.run(
        command_line, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=2 * READ_SECONDS
    )
    assert outcome.returncode == 0, f"{command_line[0]} failed:\n{outcome.stderr.decode(errors='replace')[-3000:]}"
    return outcome.stdout


def _kcat_record(printed: bytes) -> dict[str, Any]:
    *numbers, rest = printed.split(b" ", 5)
    partition, offset, timestamp, key_length, length = map(int, numbers)
    key, rest = (rest[:key_length], rest[key_length:]) if key_length >= 0 else (None, rest)
    value, headers = (rest[:length], rest[length:]) if length >= 0 else (None, rest)
    return {
        "key": None if key is None else key.decode(),
        "value": None if value is None else value.hex(),
        "headers": dict(header.split("=", 1) for header in headers.decode().split(",") if header),
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
    }
