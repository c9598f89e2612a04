"""The topic in which transactions keep their state (`delivery: exactly_once`): compacted, with one partition.

Several gateways share it. The keys of their records say what is whose (`spool/committed_state.py`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateway.kafka.errors import OF_NO_GROUP, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_TOPIC = "gateway-state"
STATE_PARTITION = 0
# A start reads the whole topic, so segments are small and compacted soon.
STATE_SETTINGS = {
    "cleanup.policy": "compact",
    "segment.bytes": "16777216",
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.1",
}
_HARMLESS = {KafkaError._PARTITION_EOF, OF_NO_GROUP}  # noqa: SLF001 - librdkafka's own name
READ_SECONDS = 20.0  # others' open transactions end within their timeout
_PLACE = TopicPartition(STATE_TOPIC, STATE_PARTITION)


def read_state(
    properties: Mapping[str, Any], prefixes: tuple[str, ...], seconds: float = READ_SECONDS
) -> dict[str, bytes]:
    """Read the newest committed records by key, of keys with these prefixes; ConnectionError with the reason if not."""
    options = {
        "group.id": STATE_TOPIC,  # required, and never used
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "log_level": 0,
        "fetch.wait.max.ms": 10,  # for which Kafka holds back that there is no more
    }
    given = {name: value for name, value in properties.items() if name != "debug"} | options
    try:
        return _records(given, tuple(each.encode() for each in prefixes), seconds)
    except KafkaException as error:
        raise ConnectionError(sentence(error.args[0], STATE_TOPIC)) from None


def _records(properties: dict[str, Any], prefixes: tuple[bytes, ...], seconds: float) -> dict[str, bytes]:
    end = _end(properties, seconds)
    records: dict[str, bytes] = {}
    consumer = Consumer(properties | {"isolation.level": "read_committed"})
    try:
        until = time.monotonic() + seconds
        first, _ = consumer.get_watermark_offsets(
            _PLACE, timeout=seconds
        )  # connects: `assign` would take half a second
        consumer.assign([TopicPartition(STATE_TOPIC, STATE_PARTITION, first)])
        while time.monotonic() < until:
            for message in consumer.consume(1_000, 0.01):
                error, key, value = message.error(), message.key() or b"", message.value()
                if error and error.code() not in _HARMLESS:
                    raise KafkaException(error)
                if not error and isinstance(key, bytes) and key.startswith(prefixes):
                    records[key.decode()] = value or b""
                # The end that a reader of committed records sees lies before the open transactions of others.
                if error and (message.offset() or 0) >= end:
                    return {each: content for each, content in records.items() if content}
        raise ConnectionError(f"{STATE_TOPIC} could not be read to its end within {seconds:g} s")
    finally:
        consumer.close()


def _end(properties: dict[str, Any], seconds: float) -> int:
    consumer = Consumer(properties | {"isolation.level": "read_uncommitted"})
    try:
        _, end = consumer.get_watermark_offsets(_PLACE, timeout=seconds)
        return int(end)
    finally:
        consumer.close()
