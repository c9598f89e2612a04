"""Records of Kafka as people read them: decoded, on one line, with control characters escaped.

A schema comes from the registry, as for every other consumer. It is asked once for each id, and again after ten seconds
if it did not answer. Without an answer the lock file's ids count, for schemas of the contract that are unchanged since:
so this also works at an edge site without a registry. Asking the lock file first was rejected, because its ids may be
those of another registry. A value without a schema is shown in hexadecimal, with the reason why it is not decoded.

A record with the header `error.reason` is a dead letter. It is shown with reason, place and payload.
"""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastavro import parse_schema, schemaless_reader
from fastavro.read import LOGICAL_READERS

from gateway.core.codec.framing import SCHEMA_ID_HEADER
from gateway.core.codec.scale import EXACT
from gateway.operate.dlq.dead_letters import headers_of
from gateway.registry.lock_file import load_lock
from gateway.registry.registry import SchemaRegistry, Unresolved
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from confluent_kafka import Message

    from gateway.core.model import Contract

FRAME_BYTES = 5
RETRY_SECONDS = 10.0
SHOWN_BYTES = 512  # of a dead letter's payload, and of a value that is not decoded


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record, ready to be shown."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds since 1970 UTC
    key: str  # text; invalid UTF-8 is escaped
    schema_id: int | None = None  # None for a value without one
    value: Any = None  # decoded, or None when it could not be
    note: str = ""  # why the value is not decoded; or a dead letter's reason, place and detail
    reason: str = ""  # of a dead letter, else ""
    raw: bytes = b""  # the value's bytes, when it is not decoded
    source: str = ""  # a dead letter's MQTT topic
    is_tombstone: bool = False  # the record has no value, which deletes its key from a compacted topic

    def as_text(self) -> str:
        """One line for people: time, place, key, schema id, and the value as JSON."""
        moment = _iso(datetime.fromtimestamp(self.timestamp / 1000, UTC))
        head = f"{moment} {self.topic}:{self.partition}:{self.offset} {self.key}"
        if self.reason:
            return printable(f"{head} {self.note} payload={cut(self.raw, SHOWN_BYTES)}")
        if self.is_tombstone:
            return printable(f"{head} TOMBSTONE: deletes this key")
        if self.note:
            return printable(f"{head} schema={self.schema_id} {self.note}: {self.raw[:SHOWN_BYTES].hex()}")
        return printable(f"{head} schema={self.schema_id} {json.dumps(self.value, ensure_ascii=False)}")

    def as_json(self) -> str:
        """One line for machines; ASCII."""
        names = ("topic", "partition", "offset", "timestamp", "key", "schema_id", "value")
        members: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.note:
            members |= {"note": self.note, "raw": self.raw.decode("utf-8", "backslashreplace")}
        if self.is_tombstone:
            members |= {"tombstone": True}
        if self.reason:
            members |= {"reason": self.reason, "mqtt_topic": self.source}
        return json.dumps(members)


class Decoder:
    """Finds schemas and decodes values; each source of schemas may be None."""

    def __init__(self, contract: Contract | None, lock_path: Path | None, registry: SchemaRegistry | None) -> None:
        self._schemas: dict[int, Any] = {}
        self._pinned = _pinned(contract, lock_path) if contract and lock_path else {}
        self._registry = registry
        self._unresolved: dict[int, tuple[float, Unresolved]] = {}  # with the time of the next try

    def show(self, record: Message) -> ShownRecord:
        """Decode a record, or note why that failed. It never raises on data."""
        headers = dict(headers_of(record))
        shown = ShownRecord(
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
        schema_id, body = unframed(shown.raw, headers)
        if schema_id is None:
            return replace(shown, note="no schema id")
        schema = self._schema(schema_id)
        if isinstance(schema, Unresolved):
            return replace(shown, schema_id=schema_id, note=f"not decoded ({schema.reason})")
        try:
            return replace(shown, schema_id=schema_id, value=decoded(schema, body), raw=b"")
        except Exception as error:  # noqa: BLE001 - arbitrary bytes make the reader raise any exception
            note = f"not decoded (the bytes do not fit schema {schema_id}: {cut(str(error))})"
            return replace(shown, schema_id=schema_id, note=note)

    def _schema(self, schema_id: int) -> Any:
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        retry_at, unresolved = self._unresolved.get(schema_id, (0.0, None))
        if unresolved and time.monotonic() < retry_at:
            return unresolved
        answer = self._registry.schema(schema_id) if self._registry else _unknown(schema_id)
        if isinstance(answer, Unresolved) and schema_id in self._pinned:
            self._schemas = self._pinned | self._schemas  # do not wait for an answer again
            return self._schemas[schema_id]
        parsed = answer if isinstance(answer, Unresolved) else _parsed(schema_id, answer)
        if isinstance(parsed, Unresolved):
            retry_at = time.monotonic() + RETRY_SECONDS if parsed.retryable else inf
            self._unresolved[schema_id] = (retry_at, parsed)
        else:
            self._schemas[schema_id] = parsed
        return parsed


def _pinned(contract: Contract, lock_path: Path) -> dict[int, Any]:
    lock = load_lock(lock_path)
    routes = [route for stream in contract.streams.values() for route in stream.routes]
    schemas = {route.subject: route.schema for route in routes if route.schema}
    return {
        pin.id: parse_schema(json.loads(schema.text), {})
        for subject, schema in schemas.items()
        if (pin := lock.pin(subject, schema))
    }


def _unknown(schema_id: int) -> Unresolved:
    reason = f"schema {schema_id} is not in the lock file, and no registry is configured"
    return Unresolved(f"schema id {schema_id}", retryable=False, reason=reason)


def _parsed(schema_id: int, text: str | None) -> Any:
    if text is None:
        return Unresolved("", retryable=False, reason=f"the registry has no schema {schema_id}: HTTP 404")
    try:
        return parse_schema(json.loads(text), {})
    except Exception as error:  # noqa: BLE001 - text from a registry makes the parser raise any exception
        return Unresolved("", retryable=False, reason=f"its schema cannot be parsed: {cut(str(error))}")


def unframed(value: bytes, headers: Mapping[str, bytes]) -> tuple[int | None, bytes]:
    """Give schema id and Avro bytes; the id is in a header or in the first five bytes (`core/codec/framing.py`)."""
    frame = headers.get(SCHEMA_ID_HEADER, value)
    if len(frame) < FRAME_BYTES or frame[0] != 0:
        return None, value
    schema_id = int.from_bytes(frame[1:FRAME_BYTES], "big")
    return schema_id, value if SCHEMA_ID_HEADER in headers else value[FRAME_BYTES:]


def _big_decimal(data: bytes, *_schemas: Any) -> Decimal:
    stream = BytesIO(data)
    unscaled: Any = schemaless_reader(stream, "bytes", None)
    scale: Any = schemaless_reader(stream, "int", None)
    return EXACT.scaleb(Decimal(int.from_bytes(unscaled, "big", signed=True)), -scale)


def _duration(data: bytes, *_schemas: Any) -> str:
    months, days, milliseconds = struct.unpack("<3I", data)
    return f"P{months}M{days}DT{Decimal(milliseconds).scaleb(-3)}S"


def _nanos(nanoseconds: int, *_schemas: Any) -> str:
    seconds, fraction = divmod(nanoseconds, 10**9)
    return f"{datetime(1970, 1, 1) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:09}"  # noqa: DTZ001 - the caller adds the zone


LOGICAL_READERS.update({  # of Avro 1.12, which fastavro does not have
    "bytes-big-decimal": _big_decimal,
    "fixed-duration": _duration,
    "fixed-uuid": lambda data, *_schemas: str(UUID(bytes=data)),
    "long-timestamp-nanos": lambda value, *_schemas: f"{_nanos(value)}Z",
    "long-local-timestamp-nanos": _nanos,
})  # fmt: skip


def decoded(schema: Any, body: bytes) -> Any:
    """Decode the Avro bytes of a record to JSON values; arbitrary bytes may raise any exception."""
    stream = BytesIO(body)
    value = schemaless_reader(stream, schema, None)
    if rest := len(body) - stream.tell():
        raise ValueError(f"{rest} bytes are left over")
    return plain(value)


def plain(value: Any) -> Any:
    """Convert a decoded Avro value to JSON values: bytes as code points, times as ISO 8601, decimals as text."""
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


def _dead_letter(shown: ShownRecord, headers: Mapping[str, bytes]) -> ShownRecord:
    reason, pointer, detail, source, stream = (
        cut(headers.get(name, b""))
        for name in ("error.reason", "error.pointer", "error.detail", "mqtt.topic", "error.operation")
    )
    place = f" at {pointer}" if pointer else ""
    return replace(shown, reason=reason, source=source, note=f"DEAD LETTER {reason}{place}: {detail} ({stream})")
