"""Records of Kafka as people read them: decoded, one line each, nothing that could move a cursor.

Where the schema of a record comes from, in this order:

1. the lock file: it names the record's schema id for a schema of the contract, and that schema's text is still the one
   the id was given for. No registry is needed, which is how a box at the edge looks at its own records;
2. the registry, asked once for each id (a registry that does not answer is asked again after ten seconds);
3. neither: the value is shown in hexadecimal, with the reason why it is not decoded.

A dead letter is told by its header `error.reason`; it is shown with its reason and place, and its payload as text.
Consuming leaves no trace: no group, no committed offsets.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self
from uuid import UUID

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from fastavro import parse_schema, schemaless_reader

from gateway.core.codec.framing import SCHEMA_ID_HEADER
from gateway.errors import GatewayError
from gateway.kafka.errors import ClientErrors
from gateway.registry.lock_file import read_lock
from gateway.registry.registry import SchemaRegistry, Unresolved
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from confluent_kafka import Message

    from gateway.core.model import Contract

Start = Literal["beginning", "end"]

FRAME_BYTES = 5
METADATA_SECONDS = 10.0
ASK_AGAIN_SECONDS = 10.0
SHOWN_BYTES = 512  # of a dead letter's payload, and of a value that is not decoded
GOES_ON = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._PARTITION_EOF}  # noqa: SLF001 - public names, odd spelling


@dataclass(frozen=True, slots=True)
class Shown:
    """A record, ready to be shown.

    Args:
        topic: the Kafka topic.
        partition: of the topic.
        offset: in the partition.
        timestamp: milliseconds since 1970 UTC.
        key: text, with what is no UTF-8 escaped.
        schema_id: or None for what has none.
        value: decoded, or None when it could not be.
        note: why the value is not decoded; or a dead letter's reason, place and detail.
        reason: a dead letter's reason, else "".
        raw: the value's bytes, when it is not decoded.
        source: a dead letter's MQTT topic.
        is_tombstone: True when it has no value at all, which ends its key in a compacted topic.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str
    schema_id: int | None = None
    value: Any = None
    note: str = ""
    reason: str = ""
    raw: bytes = b""
    source: str = ""
    is_tombstone: bool = False

    def as_text(self) -> str:
        """One line for people: time, place, key, schema id, and the value as JSON."""
        moment = _iso(datetime.fromtimestamp(self.timestamp / 1000, UTC))
        head = f"{moment} {self.topic}/{self.partition}@{self.offset} {self.key}"
        if self.reason:
            return printable(f"{head} {self.note} payload={cut(self.raw, SHOWN_BYTES)}")
        if self.is_tombstone:
            return printable(f"{head} TOMBSTONE: its key has ended")
        if self.note:
            return printable(f"{head} schema={self.schema_id} {self.note}: {self.raw[:SHOWN_BYTES].hex()}")
        return printable(f"{head} schema={self.schema_id} {json.dumps(self.value, ensure_ascii=False)}")

    def as_json(self) -> str:
        """One line for machines; ASCII."""
        facts: dict[str, Any] = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": self.timestamp,
            "key": self.key,
            "schema_id": self.schema_id,
            "value": self.value,
        }
        if self.note:
            facts |= {"note": self.note, "raw": self.raw.decode("utf-8", "backslashreplace")}
        if self.is_tombstone:
            facts |= {"tombstone": True}
        if self.reason:
            facts |= {"reason": self.reason, "mqtt_topic": self.source}
        return json.dumps(facts)


class Decoder:
    """Finds schemas and decodes values.

    Args:
        contract: or None when there is only a registry.
        lock_path: the lock file, or None.
        registry: or None.
    """

    def __init__(self, contract: Contract | None, lock_path: Path | None, registry: SchemaRegistry | None) -> None:
        self._schemas: dict[int, Any] = _pinned(contract, lock_path) if contract and lock_path else {}
        self._registry = registry
        self._refusals: dict[int, tuple[float, Unresolved]] = {}

    def show(self, record: Message) -> Shown:
        """Decode a record; what cannot be decoded is shown with the reason. It never raises on data."""
        headers = {name: _bytes(value) for name, value in dict(record.headers() or ()).items()}
        shown = Shown(
            record.topic() or "",
            record.partition() or 0,
            record.offset() or 0,
            record.timestamp()[1],
            cut((record.key() or b""), SHOWN_BYTES),
            raw=record.value() or b"",
        )
        if "error.reason" in headers:
            return _dead_letter(shown, headers)
        if record.value() is None:
            return replace(shown, is_tombstone=True)
        schema_id, body = _unframed(shown.raw, headers)
        if schema_id is None:
            return replace(shown, note="no schema id")
        schema = self._schema(schema_id)
        if isinstance(schema, Unresolved):
            return replace(shown, schema_id=schema_id, note=f"not decoded ({schema.reason})")
        try:
            return replace(shown, schema_id=schema_id, value=_decoded(schema, body), raw=b"")
        except Exception as error:  # noqa: BLE001 - bytes from anywhere make the reader raise anything
            told = f"not decoded (the bytes do not fit schema {schema_id}: {cut(str(error))})"
            return replace(shown, schema_id=schema_id, note=told)

    def _schema(self, schema_id: int) -> Any:
        """Give the parsed schema, or the Unresolved that says why there is none."""
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        until, refusal = self._refusals.get(schema_id, (0.0, None))
        if refusal and time.monotonic() < until:
            return refusal
        answer = self._registry.schema(schema_id) if self._registry else _unknown(schema_id)
        parsed = answer if isinstance(answer, Unresolved) else _parsed(answer)
        if isinstance(parsed, Unresolved):
            until = time.monotonic() + ASK_AGAIN_SECONDS if parsed.retryable else inf
            self._refusals[schema_id] = (until, parsed)
        else:
            self._schemas[schema_id] = parsed
        return parsed


class Tail:
    """A reader of whole topics; a context manager and an iterator that never ends by itself.

    Args:
        properties: librdkafka's, with `bootstrap.servers`.
        topics: whose records are read.
        start: from the oldest record, or from now on.
        answer_seconds: how long to wait for Kafka to say where the topics are.

    Raises:
        GatewayError: when Kafka does not answer, or a topic is not there.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topics: Sequence[str],
        start: Start,
        answer_seconds: float = METADATA_SECONDS,
    ) -> None:
        own = {
            "group.id": "gateway-tail",
            "enable.auto.commit": False,
            "allow.auto.create.topics": False,
        }
        self._overheard = ClientErrors({**properties, **own})
        self._consumer = Consumer(self._overheard.properties)
        self._wait = answer_seconds
        offset = OFFSET_BEGINNING if start == "beginning" else OFFSET_END
        self._consumer.assign([TopicPartition(name, number, offset) for name, number in self._partitions(topics)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, timeout_seconds: float) -> Message | None:
        """Wait for the next record.

        Returns:
            A record, or None when the time is over.

        Raises:
            GatewayError: when Kafka refuses, e.g. for want of a right.
        """
        record = self._consumer.poll(timeout_seconds)
        if record is None:
            return None
        if (error := record.error()) is None:
            return record
        if error.code() in GOES_ON:
            return None
        raise GatewayError(f"Kafka says: {printable(error.str())}.", "Check the topic and the rights of this user.")

    def _partitions(self, topics: Sequence[str]) -> Iterator[tuple[str, int]]:
        for name in topics:
            try:
                found = self._consumer.list_topics(name, self._wait).topics[name]
            except KafkaException as error:
                raise self._overheard.no_answer(self._consumer, error.args[0].str()) from None
            if found.error is not None or not found.partitions:
                raise GatewayError(
                    f"Kafka has no topic {printable(name)}.", "`gateway check` lists the contract's topics."
                )
            yield from ((name, number) for number in found.partitions)


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _pinned(contract: Contract, lock_path: Path) -> dict[int, Any]:
    known = read_lock(lock_path)
    routes = [route for stream in contract.streams.values() for route in stream.routes]
    return {
        known[route.subject].id: parse_schema(json.loads(route.schema.text), {})
        for route in routes
        if route.schema and route.subject in known and known[route.subject].holds_for(route.schema)
    }


def _unknown(schema_id: int) -> Unresolved:
    reason = f"the lock file does not know schema {schema_id}, and no registry is named"
    return Unresolved(f"schema id {schema_id}", retryable=False, reason=reason)


def _parsed(text: str) -> Any:
    try:
        return parse_schema(json.loads(text), {})
    except Exception as error:  # noqa: BLE001 - text from a registry makes the parser raise anything
        return Unresolved("", retryable=False, reason=f"its schema is not readable: {cut(str(error))}")


class _Unframed(NamedTuple):
    schema_id: int | None
    body: bytes


def _unframed(value: bytes, headers: Mapping[str, bytes]) -> _Unframed:
    """Read the schema id: from the header where there is one, else from the first five bytes (`core/framing.py`)."""
    framed = headers.get(SCHEMA_ID_HEADER, value)
    if len(framed) < FRAME_BYTES or framed[0] != 0:
        return _Unframed(None, value)
    schema_id = int.from_bytes(framed[1:FRAME_BYTES], "big")
    return _Unframed(schema_id, value if SCHEMA_ID_HEADER in headers else value[FRAME_BYTES:])


def _decoded(schema: Any, body: bytes) -> Any:
    stream = BytesIO(body)
    value = schemaless_reader(stream, schema, None)
    if rest := len(body) - stream.tell():
        raise ValueError(f"{rest} bytes are left over")
    return plain(value)


def plain(value: Any) -> Any:
    """Turn a decoded Avro value into what JSON can say, in the form in which readings say it.

    Args:
        value: as fastavro gives it.

    Returns:
        None, bool, int, float, str, list or dict: bytes as code points, times as ISO 8601, decimals as text.
    """
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value


def _iso(moment: datetime) -> str:
    precision = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _dead_letter(shown: Shown, headers: Mapping[str, bytes]) -> Shown:
    reason, pointer, detail, source, stream = (
        cut(headers.get(name, b""))
        for name in ("error.reason", "error.pointer", "error.detail", "mqtt.topic", "error.operation")
    )
    place = f" at {pointer}" if pointer else ""
    return replace(shown, reason=reason, source=source, note=f"DEAD LETTER {reason}{place}: {detail} ({stream})")
