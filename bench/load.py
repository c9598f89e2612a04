"""The readings of a run, by number: MQTT topic and payload, and the Kafka record that they shall become.

Every contestant is given the same readings and has to write the same records, header included, so that a row
compares equal work. The readings repeat after `CYCLE` of them; packet ids do the same.

A *stamped* reading carries the time of its sending in `units`, the last field of the record: whoever reads the record
finds it in its last `STAMP_DIGITS` bytes, with nothing to decode.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

CYCLE = 65_535  # as many as there are packet ids
LONG_CYCLE = 16_383  # of telegrams: each has 2 KB
STAMP_DIGITS = 19
NO_STAMP = "0" * STAMP_DIGITS
SCHEMAS = Path(__file__).parents[1] / "schemas"
BROKEN = (b'{"machine":"%s","sensor":"oven_temp","value":"hot","units":"C"}', b'{"sensor":"oven_temp","units":"C"}',
          b'{"machine":"%s","sensor":"oven_temp","value":21.5,')  # fmt: skip


@dataclass(frozen=True)
class Load:
    """What kind of readings a run consists of.

    Args:
        kind: `sensor`, `door` or `telegram` (a smart meter's, 30 registers).
        machines: how many keys, over all streams.
        streams: how many streams they are spread over; `sensor` only.
        broken_every: each so-manieth reading fits no schema; 0 for none.
        is_stamped: whether `units` is the time of sending.
    """

    kind: str = "sensor"
    machines: int = 1000
    streams: int = 1
    broken_every: int = 0
    is_stamped: bool = False

    @property
    def cycle(self) -> int:
        """After how many readings they repeat."""
        return LONG_CYCLE if self.kind == "telegram" else CYCLE

    def message(self, number: int) -> tuple[str, bytes]:
        """Make one MQTT message.

        Args:
            number: which, from 0.

        Returns:
            Topic and payload.
        """
        key = self._key(number)
        if self.kind == "telegram":
            return "sma", _json(telegram(key, number))
        if self.kind == "door":
            return f"doors/{key}", _json(_door(key, number))
        topic = f"{stream_topic(number % self.streams)}/{key}/oven_temp"
        if self.broken_every and number % self.broken_every == 0:
            broken = BROKEN[number // self.broken_every % len(BROKEN)]
            return topic, broken.replace(b"%s", key.encode())
        return topic, _json(_sensor(key, number, self.is_stamped))

    def record(self, number: int) -> tuple[bytes, bytes, str]:
        """Make the record that a sensor's message becomes: key, Avro body without the schema id, and MQTT topic."""
        key = self._key(number)
        body = io.BytesIO()
        fastavro.schemaless_writer(body, SENSOR, _sensor(key, number, self.is_stamped))
        return key.encode(), body.getvalue(), self.message(number)[0]

    def _key(self, number: int) -> str:
        return f"machine-{number // self.streams % (self.machines // self.streams):05d}"


def schema(name: str) -> dict[str, Any]:
    """Read one of the shipped Avro schemas."""
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.avsc").read_text())
    return found


SENSOR = fastavro.parse_schema(schema("machine_sensor"))
CODES = [
    (source.split("/")[1], 100 + 7.25 * place)
    for place, field in enumerate(schema("smart_meter")["fields"])
    if isinstance(source := field.get("x-source"), str) and source.endswith("/value") and "96.1.0" not in source
]
OTHER_CODES = [("1-0:15.8.0", 12_345), ("1-0:1.6.0", 4_200), ("1-0:81.7.40", 121.5), ("1-0:81.7.51", 240.25),
               ("1-0:15.35.0", 9_000), ("1-0:1.8.3", 77), ("1-0:1.8.4", 78), ("1-0:2.8.3", 79)]  # fmt: skip
REGISTERS = 30


def telegram(key: str, number: int) -> dict[str, Any]:
    """Make a telegram with 30 registers, most with a field of their own, some without."""
    codes = (CODES + OTHER_CODES)[: REGISTERS - 1]
    at = 1_697_622_940 + number
    registers = {code: {"value": value + number % 100, "time": at} for code, value in codes}
    fixed = {"api_version": "v1", "name": key, "sma_time": 2360.5 + number}
    return {"0-0:96.1.0": {"value": key}} | registers | fixed


def stream_topic(stream: int) -> str:
    """Name the first level of a stream's MQTT topics."""
    return f"line-{stream}"


def _sensor(key: str, number: int, is_stamped: bool) -> dict[str, Any]:  # noqa: FBT001 - private, and named where called
    units = NO_STAMP if is_stamped else "C"
    return {"machine": key, "sensor": "oven_temp", "value": 200 + number % 400 / 4, "units": units}


def _door(key: str, number: int) -> dict[str, Any]:
    return {"location": key, "state": "open" if number % 2 else "closed"}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
