"""Plausible readings for every stream of a contract, endless; on request a share of broken ones among them.

Made from the contract alone: addresses, Avro schemas, `x-source` and examples, user properties among them. The same
seed and clock give the same readings.

Each stream has some made-up devices. A device is a topic, the values that name it (parameters of the address and
fields of the key), and habits: which optional members it sends, where its counters stand.
"""

from __future__ import annotations

import time
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.precise_encoder import ABSENT, source
from gateway.core.codec.scalar_payload import wrapped
from gateway.core.codec.validation_error import tokens
from gateway.core.headers import CONTENT_TYPE_HEADER, CORRELATION_DATA_HEADER
from gateway.operate.simulate.breakage import Breaker, written
from gateway.operate.simulate.plausible import Device, Path, Plausible, found, nth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.core.model import Contract, Stream

NAMES = 10  # machines, doors, lines, meters
NAMES_BELOW = 3  # sensors of a machine
CORRELATION_BYTES = 8
MOST_AT_ONCE = 5  # readings in an array
MEDIA_TYPES = {"json": "application/json", "text": "text/plain"}
TOPIC_FORBIDDEN = str.maketrans("/+#\0", "----")


class Publication(NamedTuple):
    """What a device publishes.

    Args:
        server: name of the MQTT server in the contract.
        topic: the topic.
        payload: the bytes.
        qos: the stream's.
        is_broken: True when the gateway must make a dead letter of it.
        kind: what is wrong with a broken one; "" for a good one.
        stream: name of the stream.
        properties: MQTT 5 user properties.
        content_type: of MQTT 5; "" for none.
        correlation: correlation data of MQTT 5; empty for none.
    """

    server: str
    topic: str
    payload: bytes
    qos: int
    is_broken: bool
    kind: str
    stream: str
    properties: Mapping[str, str] = {}
    content_type: str = ""
    correlation: bytes = b""


class Simulator:
    """An endless iterator of publications.

    Args:
        contract: what streams there are.
        seed: of all chance.
        broken_share: from 0 to 1.
        clock: seconds since 1970 UTC, for the readings' times.
    """

    def __init__(
        self, contract: Contract, seed: int, broken_share: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose, nothing secret hangs on it
        self._broken_share = broken_share
        self._sources = [_Source(stream, self._random, clock) for stream in contract.streams.values()]

    def __iter__(self) -> Iterator[Publication]:
        return self

    def __next__(self) -> Publication:
        is_broken = self._random.random() < self._broken_share
        return self._random.choice(self._sources).publication(is_broken=is_broken)


class _Source:
    """The devices of one stream."""

    def __init__(self, stream: Stream, random: Random, clock: Callable[[], float]) -> None:
        assert stream.route.schema is not None, "the contract gives every route of readings a schema"
        definition = stream.route.schema.definition
        located = {tokens(parameter.pointer) for parameter in stream.parameters if parameter.pointer}
        self._stream = stream
        self._random = random
        headers = frozenset[str]().union(*(route.headers for route in stream.routes))
        self._content_type = MEDIA_TYPES[stream.content] if CONTENT_TYPE_HEADER in headers else ""
        self._correlates = CORRELATION_DATA_HEADER in headers
        self._devices = list(_devices(stream, definition))
        self._plausible = Plausible(definition, _examples(stream, definition), frozenset(located), random, clock)
        self._breaker = Breaker(stream, self._plausible.schemas, random)

    def publication(self, *, is_broken: bool) -> Publication:
        device, topic = self._random.choice(self._devices)
        server = self._random.choice(self._stream.servers)
        reading = self._plausible.reading(device)
        if is_broken:
            broken = self._breaker.broken(reading, topic)
            kind, topic, payload = broken.kind, broken.topic, broken.payload
        else:
            kind, payload = "", written(reading.value, self._stream.content)
        if self._stream.is_array:
            payload = self._among_others(payload, device)
        shown = self._stream.example_headers
        properties = self._random.choice(shown) if shown else {}
        correlation = self._random.randbytes(CORRELATION_BYTES) if self._correlates else b""
        return Publication(
            server, topic, payload, self._stream.qos, is_broken, kind, self._stream.name,
            properties, self._content_type, correlation,
        )  # fmt: skip

    def _among_others(self, payload: bytes, device: Device) -> bytes:
        """Give an array of the device's readings, this one behind good ones."""
        others = [self._plausible.reading(device).value for _ in range(self._random.randrange(MOST_AT_ONCE))]
        return b"[" + b",".join([*(written(other, "json") for other in others), payload]) + b"]"


def _examples(stream: Stream, definition: dict[str, Any]) -> tuple[Any, ...]:
    """The stream's examples as the objects that its record is read from."""
    return tuple(wrapped(definition, example) for example in stream.example_readings)


def _devices(stream: Stream, definition: dict[str, Any]) -> Iterator[tuple[Device, str]]:
    """Make a stream's devices and their topics: ten, or ten times three where the address has several parameters."""
    examples = [example for example in _examples(stream, definition) if isinstance(example, dict)]
    keys = _key_paths(stream, definition)
    choices = [
        [_parameter_value(stream, place, number, examples) for number in range(NAMES if place == 0 else NAMES_BELOW)]
        for place in range(len(stream.parameters))
    ]
    values_of = list(product(*choices)) if choices else [()] * NAMES
    for number, values in enumerate(values_of):
        example = examples[number % len(examples)] if examples else None
        fixed = _key_values(keys, example, number) if not stream.parameters else {}
        fixed |= {tokens(p.pointer): value for p, value in zip(stream.parameters, values, strict=True) if p.pointer}
        yield Device(number, example, fixed), _topic(stream, values)


def _parameter_value(stream: Stream, place: int, number: int, examples: list[dict[str, Any]]) -> str:
    parameter = stream.parameters[place]
    path = tokens(parameter.pointer) if parameter.pointer else ("",)
    said = [found(example, path) for example in examples]
    known = next((text for text in said if isinstance(text, str) and text), f"{parameter.name}-1")
    return nth(known, number).translate(TOPIC_FORBIDDEN)


def _topic(stream: Stream, values: tuple[str, ...]) -> str:
    left = iter(values)
    return "/".join(next(left) if level is None else level for level in stream.address.levels)


def _key_paths(stream: Stream, definition: dict[str, Any]) -> list[tuple[Path, bool]]:
    """Find where the key's fields stand in the JSON, and whether they may be absent; in the order of the contract."""
    fields = {field["name"]: field for field in definition["fields"]}
    names = [tokens(key) for key in stream.route.keys]
    found_fields = [fields[name[0]] for name in names if len(name) == 1 and name[0] in fields]
    return [(source(field).paths[0], "default" in field) for field in found_fields if _is_text(field["type"])]


def _is_text(schema: Any) -> bool:
    branches = schema if isinstance(schema, list) else [schema]
    return all(branch in ("null", "string", {"type": "string"}) for branch in branches)


def _key_values(keys: list[tuple[Path, bool]], example: Any, number: int) -> dict[Path, Any]:
    """Name a device. Every fourth has its first name empty, and one in four leaves it out, if a later one is there."""
    values: dict[Path, Any] = {}
    names = [name for name in (found(example, path) for path, _ in keys) if isinstance(name, str) and name]
    for path, _ in keys:
        said = found(example, path)
        values[path] = nth(said if said in names else names[0] if names else f"{path[0]}-1", number)
    if len(keys) > 1:
        (first, may_be_absent), *_ = keys
        values[first] = "" if number % 4 == 3 else ABSENT if may_be_absent and number % 4 == 2 else values[first]
    return values
