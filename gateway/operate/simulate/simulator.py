"""Endless messages for every stream of a contract, a share of them invalid on request.

They are made from the contract alone: addresses, Avro schemas, `x-source`, and examples with their user properties.
The same seed and clock give the same messages.

Each stream has some simulated devices. A device has a topic, the values that identify it (parameters of the address
and fields of the key), and habits: which optional members it sends, where its counters are.
"""

from __future__ import annotations

import time
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.json_text import ABSENT
from gateway.core.codec.validation_error import pointer, tokens
from gateway.core.encoding import JSON
from gateway.core.headers import CONTENT_TYPE_HEADER, CORRELATION_DATA_HEADER
from gateway.core.message_schema import schema_at
from gateway.core.record_path import ENVELOPE, PARAMETER, reads
from gateway.core.telegram_lines import PLAIN
from gateway.core.topic_index import topic_index
from gateway.core.transform import conversion
from gateway.operate.simulate.breakage import DEFECTS, TO_BYTES, Breaker, written
from gateway.operate.simulate.encoded import encoded
from gateway.operate.simulate.limits import Limits
from gateway.operate.simulate.message import joined, split
from gateway.operate.simulate.plausible import Device, Path, Plausible, nth, value_at
from gateway.operate.simulate.telegram import completed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from gateway.core.avro_schema import AvroType
    from gateway.core.message_demands import Demands
    from gateway.core.model import Contract, Stream
    from gateway.operate.simulate.breakage import Defect
    from gateway.operate.simulate.plausible import Sample

NAMES = 10  # machines, doors, lines, meters
NAMES_BELOW = 3  # sensors of a machine
CORRELATION_BYTES = 8
MAX_PRECEDING = 4  # valid readings before the one in question, in an array
MEDIA_TYPES = {"json": "application/json", "text": "text/plain", "telegram": "text/vnd.dsmr.p1"}
TOPIC_FORBIDDEN = str.maketrans("/+#\0", "----")


class Publication(NamedTuple):
    """A message that a device publishes."""

    server: str  # name of the MQTT server in the contract
    topic: str
    payload: bytes
    qos: int
    is_broken: bool  # the gateway must make a dead letter of it
    kind: str  # the defect of a broken one
    stream: str
    properties: Mapping[str, str] = {}  # MQTT 5 user properties
    content_type: str = ""  # of MQTT 5
    correlation: bytes = b""  # correlation data of MQTT 5


class Simulator:
    """An endless iterator of publications; `clock` gives seconds since 1970 UTC, for the timestamps in payloads."""

    def __init__(
        self,
        contract: Contract,
        seed: int,
        broken_share: float = 0.0,  # from 0 to 1
        clock: Callable[[], float] = time.time,
        defects: Mapping[str, Defect] = DEFECTS,
    ) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose, no secret depends on it
        self._broken_share = broken_share
        streams = contract.streams.values()
        indexes = {stream.servers: topic_index(contract.addresses(stream.servers)) for stream in streams}
        self._sources = [
            _Source(
                each,
                [one.demands for one in stream.messages if one.stream != each],
                indexes[stream.servers],
                {name for name, server in contract.mqtt_servers.items() if server.version == "5.0"},
                self._random,
                clock,
                defects,
            )
            for stream in streams
            for each in stream.by_message
        ]

    def __iter__(self) -> Iterator[Publication]:
        return self

    def __next__(self) -> Publication:
        is_broken = self._random.random() < self._broken_share
        return self._random.choice(self._sources).publication(is_broken=is_broken)


class _Source:
    def __init__(  # noqa: PLR0913, PLR0917 - a message, the others of its stream, and what all sources share
        self,
        stream: Stream,
        others: Sequence[Demands],
        stream_of: Callable[[bytes], str],
        servers_with_properties: Collection[str],
        random: Random,
        clock: Callable[[], float],
        defects: Mapping[str, Defect],
    ) -> None:
        record = stream.route.avro.record
        in_topic = frozenset(tokens(parameter.pointer) for parameter in stream.parameters if parameter.pointer)
        headers = frozenset[str]().union(*(route.headers for route in stream.routes))
        values = stream.example_readings
        is_bare = record.whole_field and not (stream.is_array and reads(record))
        examples = tuple({PAYLOAD: value} for value in values) if is_bare else values
        is_typed = CONTENT_TYPE_HEADER in headers and stream.encoding == JSON
        self._stream = stream
        self._random = random
        self._servers_with_properties = servers_with_properties
        self._content_type = MEDIA_TYPES[stream.content] if is_typed else ""
        self._has_correlation = CORRELATION_DATA_HEADER in headers
        devices = list(_devices(stream, record, [one for one in examples if isinstance(one, dict)], random))
        # A more specific address may have some of their topics.
        self._devices = [each for each in devices if stream_of(each[1].encode()) == stream.name] or devices
        schema = stream.payload_schema if record.whole_field else conversion(stream, stream.route).schema
        dated_by = stream.route.timestamp if isinstance(stream.route.timestamp, tuple) else ()
        running = [record.located(tokens(one.pointer)) for one in dated_by if one.is_uptime]
        uptimes = frozenset(path for each in running for path in each.paths)
        self._plausible = Plausible(record, examples, in_topic, random, clock, schema, uptimes)
        self._breaker = Breaker(stream, record, random, defects, others)

    def publication(self, *, is_broken: bool) -> Publication:
        device, topic = self._random.choice(self._devices)
        sample = self._plausible.sample(device)
        if self._stream.content == "telegram":
            sample = sample._replace(value=completed(sample.value, device.example, self._stream.payload_schema))
        if is_broken:
            kind, topic, payload = self._breaker.broken(sample, topic)
        else:
            kind, payload = "", written(sample.value, self._stream.content)
        if self._stream.lines not in {"", PLAIN}:
            payload = TO_BYTES({self._stream.lines: payload.decode(errors="replace")})
        server = self._random.choice(self._stream.servers)
        payload = self._in_array(payload, device, sample) if self._stream.is_array else payload
        properties = self._random.choice(self._stream.example_headers or ({},))
        properties = properties if server in self._servers_with_properties else {}
        return Publication(
            server=server,
            topic=topic,
            payload=encoded(payload, self._stream.encoding, properties),
            qos=self._stream.qos,
            is_broken=is_broken,
            kind=kind,
            stream=self._stream.name,
            properties=properties,
            content_type=self._content_type,
            correlation=self._random.randbytes(CORRELATION_BYTES) if self._has_correlation else b"",
        )

    def _in_array(self, payload: bytes, device: Device, sample: Sample) -> bytes:
        """Write a message of the device's samples: some valid ones, then this one."""
        steps = self._stream.steps
        count = 1 + self._random.randint(0, MAX_PRECEDING)
        described = schema_at(self._stream.array_schema, steps[:-1])
        count = Limits(described, ()).size(count, "minItems", "maxItems")
        count = 1 if all(step.kind == "member" for step in steps) else count
        others = [self._plausible.sample(device).value for _ in range(count - 1)]
        last, around = split(payload, sample.value)
        around = _required_around(self._stream) | around
        return joined(steps, [*(split(written(other, "json"), other)[0] for other in others), last], around)


def _required_around(stream: Stream) -> dict[str, Any]:
    """What a message must have around its records that none of them reads, as the first example has it."""
    example: Any = next(iter(stream.examples), None)
    required = (stream.array_schema or {}).get("required", ()) if isinstance(example, dict) else ()
    places = {f"{ENVELOPE}{pointer((name,))}": name for name in required if name != stream.steps[0].name}
    known = reads(stream.route.avro.record)
    return {place: example[name] for place, name in places.items() if name in example and place not in known}


def _devices(
    stream: Stream, record: AvroType, examples: list[dict[str, Any]], random: Random
) -> Iterator[tuple[Device, str]]:
    """Make a stream's devices and their topics: ten, or ten times three where the address has two parameters."""
    keys = _key_paths(stream, record)
    choices = [
        dict.fromkeys(
            _parameter_value(stream, place, number, examples, random)
            for number in range(NAMES if place == 0 else NAMES_BELOW)
        )
        for place in range(len(stream.parameters))
    ]
    values_of = list(product(*choices)) if choices else [()] * NAMES
    for number, values in enumerate(values_of):
        example = examples[number % len(examples)] if examples else None
        fixed = _key_values(keys, example, number) if not stream.parameters else {}
        fixed = {path: _fitted(stream, path, value, random) for path, value in fixed.items()}
        fixed |= {
            tokens(each.pointer): _in_payload(stream, tokens(each.pointer), value)
            for each, value in zip(stream.parameters, values, strict=True)
            if each.pointer
        }
        yield Device(number, example, fixed), stream.address.topic(values)


def _fitted(stream: Stream, path: Path, name: Any, random: Random) -> Any:
    """Keep a name within the constraints of the JSON Schema."""
    return name if name is ABSENT else Limits(stream.payload_schema, path).fitted(name, random)


def _parameter_value(stream: Stream, place: int, number: int, examples: list[dict[str, Any]], random: Random) -> str:
    parameter = stream.parameters[place]
    if allowed := stream.allowed.get(parameter.name):
        return allowed[number % len(allowed)]
    path = tokens(parameter.pointer) if parameter.pointer else ("",)
    field = next((each for each in stream.route.avro.record.fields if path in each.paths), None)
    if field and "text" not in field.type.json_kinds and field.words.get("parse") != "number":
        return parameter.examples[number % len(parameter.examples)]
    if symbols := [each for branch in (field.type.non_null if field else ()) for each in branch.symbols]:
        return symbols[number % len(symbols)]
    values = [value_at(example, path) for example in examples]
    stated = [text for text in (*values, *parameter.examples) if isinstance(text, str) and text]
    value = str(_fitted(stream, path, nth([*stated, f"{parameter.name}-1"][0], number), random))
    is_multi = any(level.is_multi and level.name == parameter.name for level in stream.address.levels)
    return "/".join(each.translate(TOPIC_FORBIDDEN) for each in (value.split("/") if is_multi else [value]))


def _in_payload(stream: Stream, path: Path, level: str) -> Any:
    """Write a level of the topic as the JSON Schema of the payload has it; what reads only the topic is never sent."""
    if path[0].startswith(PARAMETER):
        return ABSENT
    is_number = level.isdecimal() and not Limits(stream.payload_schema, path).allows_type("string")
    return int(level) if is_number else level


def _key_paths(stream: Stream, record: AvroType) -> list[tuple[Path, bool]]:
    """List the paths of the key's fields in the JSON, and whether each may be absent; in the order of the contract."""
    names = [tokens(key) for key in stream.route.keys if isinstance(key, str)]
    fields = [field for name in names if len(name) == 1 and (field := record.field_named(name[0]))]
    return [(field.paths[0], field.has_default) for field in fields if _is_text(field.type)]


def _is_text(avro_type: AvroType) -> bool:
    return all(branch.label == "string" for branch in avro_type.non_null)


def _key_values(keys: list[tuple[Path, bool]], example: Any, number: int) -> dict[Path, Any]:
    """Name a device. Where a later name is there, every fourth device has an empty first name, and another lacks it."""
    values: dict[Path, Any] = {}
    names = [name for name in (value_at(example, path) for path, _ in keys) if isinstance(name, str) and name]
    for path, _ in keys:
        name = value_at(example, path)
        values[path] = nth(name if name in names else names[0] if names else f"{path[0]}-1", number)
    if len(keys) > 1:
        (first, may_be_absent), *_ = keys
        values[first] = "" if number % 4 == 3 else ABSENT if may_be_absent and number % 4 == 2 else values[first]
    return values
