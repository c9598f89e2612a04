"""Contract values made by hand, for tests that are not about reading `asyncapi.yaml`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gateway.core.address import Address
from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.validation_error import tokens
from gateway.core.message_demands import Demands, demands_of
from gateway.core.model import AvroSchema, Contract, KafkaServer, Message, MqttServer, Parameter, Route, Stream, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CODECS = 300  # that are kept
_CODECS: dict[str, Codec] = {}  # by their arguments


def avro(definition: dict[str, Any], path: str = "schemas/made_by_hand.avsc") -> AvroSchema:
    """A schema as the contract holds it; `definition` may have `x-source` on its fields."""
    fullname = f"{definition['namespace']}.{definition['name']}" if "namespace" in definition else definition["name"]
    return AvroSchema(Path(path), fullname, definition, json.dumps(_without_extensions(definition)), build(definition))


def record(*fields: dict[str, Any] | tuple[str, Any], name: str = "MadeByHand") -> dict[str, Any]:
    """An Avro record; a field is an object, or a pair of name and type."""
    return {
        "type": "record",
        "name": name,
        "fields": [f if isinstance(f, dict) else {"name": f[0], "type": f[1]} for f in fields],
    }


def codec_of(
    definition: dict[str, Any],
    keys: tuple[str | int, ...],
    parameters: Sequence[str | None] = (),
    *,
    is_fast: bool = True,
    is_native: bool = True,
    **more: Any,
) -> Codec:
    """A codec of an Avro record; `more` are members of its `Conversion`.

    It is the one that was made for the same arguments, because compiling a codec takes longer than most tests of it.
    """
    arguments = repr((definition, keys, parameters, is_fast, is_native, more))
    if arguments not in _CODECS:
        if len(_CODECS) >= MOST_CODECS:
            _CODECS.clear()
        conversion = Conversion(build(definition), keys, tuple(parameters), **more)
        _CODECS[arguments] = Codec(conversion, is_fast=is_fast, is_native=is_native)
    return _CODECS[arguments]


def route(topic: str, definition: dict[str, Any] | None = None, keys: tuple[str, ...] = ()) -> Route:
    """A send operation to a topic of two partitions; without a definition it takes dead letters."""
    schema = None if definition is None else avro(definition)
    return Route(f"send-{topic}", Topic(topic, partitions=2), schema, keys, frozenset())


def stream(  # every argument is by name and has the usual value
    name: str,
    definition: dict[str, Any],
    *,
    address: str,
    keys: tuple[str, ...],
    locations: dict[str, str] | None = None,
    examples: Sequence[Any] = (),
    servers: tuple[str, ...] = ("broker",),
    unknown: Literal["reject", "ignore"] = "reject",
    content: Literal["json", "text"] = "json",
) -> Stream:
    """A receive operation; `locations` are the parameters' pointers into the payload."""
    parsed = Address.parse(address)
    parameters = tuple(Parameter(parameter, (locations or {}).get(parameter)) for parameter in parsed.names)
    to = route(name, definition, keys)
    failing = route("dead-letters")
    return Stream(name, servers, parsed, parameters, 1, unknown, to, failing, tuple(examples), content=content)


def several(**kinds: Stream | dict[str, Any]) -> Stream:
    """A receive operation of several messages, by name: a stream of one, or the JSON Schema of one that is ignored."""
    messages = tuple(
        Message(name, demands_of_stream(one), one)
        if isinstance(one, Stream)
        else Message(name, demands_of(one, None), None)
        for name, one in kinds.items()
    )
    return replace(next(one.stream for one in messages if one.stream), messages=messages)


def demands_of_stream(made: Stream) -> Demands:
    """The demands of a stream's only message."""
    assert made.route.schema is not None
    if made.is_array:
        return demands_of(made.array_schema or {"type": "array"}, None)
    record_, tied = made.route.schema.record, {tokens(one.pointer) for one in made.parameters if one.pointer}
    rejects = made.unknown == "reject"
    return demands_of(made.payload_schema, record_, tied, rejects=rejects)


def contract(*streams: Stream, servers: Sequence[str] = ("broker",)) -> Contract:
    """A contract of these streams and MQTT 5 servers."""
    mqtt = {name: mqtt_server(name) for name in servers}
    kafka = KafkaServer("kafka", "127.0.0.1:9092", tls=False, security=(), registry_url=None)
    return Contract(Path("asyncapi.yaml"), "made by hand", "1", mqtt, kafka, {s.name: s for s in streams})


def mqtt_server(name: str, version: Literal["3.1.1", "5.0"] = "5.0") -> MqttServer:
    """A broker at an address where nothing listens, until a test sets another one."""
    return MqttServer(
        name,
        "127.0.0.1:1883",
        tls=False,
        version=version,
        client_id=f"gateway-{name}",
        clean_session=False,
        keep_alive=60,
        session_expiry=3600,
        maximum_packet_size=None,
        last_will=None,
        security=(),
    )


def _without_extensions(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_extensions(member) for key, member in value.items() if not key.startswith("x-")}
    return [_without_extensions(item) for item in value] if isinstance(value, list) else value
