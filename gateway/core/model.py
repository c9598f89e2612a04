"""The contract as the gateway uses it: what `asyncapi.yaml` says, resolved and checked, and nothing else.

Plain frozen values, which can be pickled. Everything that is specific to an installation (addresses, secrets) is in
`settings.Settings` under the same server names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gateway.core.codec.unread import IGNORED
from gateway.core.codec.validation_error import shown
from gateway.core.dead_letter import TOPIC_HEADER
from gateway.core.encoding import JSON, Encoding
from gateway.core.headers import carried
from gateway.core.record_path import EACH_ITEM, RecordPath, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from gateway.core.address import Address
    from gateway.core.avro_schema import AvroType
    from gateway.core.codec.conversion import Content
    from gateway.core.codec.event_time import DatedBy
    from gateway.core.message_demands import Demands
    from gateway.errors import Finding


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker publishes when the gateway disconnects ungracefully."""

    topic: str
    message: str
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class MqttServer:
    """An MQTT broker of the contract."""

    name: str  # settings and metrics use it
    host: str  # `host:port` with server variables filled in
    tls: bool
    version: Literal["3.1.1", "5.0"]
    client_id: str  # it identifies the session
    clean_session: bool  # True only when the contract asks the broker to discard the session
    keep_alive: int  # seconds
    session_expiry: int  # seconds the broker keeps the session after a disconnect
    maximum_packet_size: int | None  # bytes; a larger message becomes a dead letter; None for the gateway's default
    last_will: LastWill | None
    security: tuple[str, ...]  # types of the security schemes, e.g. `("userPassword",)`
    websocket_path: str | None = None  # None for MQTT without WebSocket


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """The Kafka cluster of the contract."""

    name: str
    host: str  # bootstrap servers, comma-separated
    tls: bool
    security: tuple[str, ...]  # types of the security schemes, e.g. `("scramSha512",)`
    registry_url: str | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name}` of a channel address."""

    name: str
    pointer: str | None  # RFC 6901, to the payload member with the same value
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic as the contract declares it."""

    name: str
    partitions: int | None = None  # None when the contract leaves it to the cluster
    replicas: int | None = None  # likewise
    configuration: dict[str, str] = field(default_factory=dict)  # `topicConfiguration`, values as text

    @property
    def is_compacted(self) -> bool:
        """True when Kafka keeps the latest record of each key, and a record without a value ends its key."""
        return "compact" in self.configuration.get("cleanup.policy", "").replace(" ", "").split(",")


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """An Avro record schema."""

    path: Path  # the `.avsc` file, or the contract's own file for an inline schema
    fullname: str  # namespace and name of the record
    definition: dict[str, Any]  # the JSON of the file, `x-` attributes included
    text: str  # compact JSON without `x-` attributes, as it is registered
    record: AvroType = field(compare=False, repr=False)  # the outermost type, built from the definition


class OfTopic(NamedTuple):
    """A part of a key that the MQTT topic gives."""

    parameter: str | None = None  # of the address; None for the whole topic

    def __str__(self) -> str:
        return TOPIC_HEADER if self.parameter is None else f"{{{self.parameter}}}"


@dataclass(frozen=True, slots=True)
class TopicChoice:
    """The topics of a Kafka address with parameters, which has a topic for each of their values."""

    allowed: dict[str, tuple[str, ...]]  # parameter, also of the MQTT address -> its values
    topics: tuple[Topic, ...]  # of each combination of values, the last parameter changing first

    def fault(self, values: Mapping[str, str]) -> str:
        """Say which value of the parameters has no topic; "" when there is none."""
        for name, allowed in self.allowed.items():
            if values[name] not in allowed:
                return f"the topic has {shown(values[name])} for {name}; allowed are {', '.join(allowed)}"
        return ""


@dataclass(frozen=True, slots=True)
class Route:
    """A send operation: where readings of a stream go in Kafka."""

    operation: str  # name of the send operation
    topic: Topic  # the first one, where there is a choice
    schema: AvroSchema | None  # None for the dead-letter channel
    keys: tuple[str | OfTopic, ...]  # the parts of the key; a text is an RFC 6901 pointer into the record
    headers: frozenset[str]  # names of those that the message declares
    framing: Literal["payload", "header"] = "payload"  # where the schema id goes
    subject_strategy: Literal["TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy"] = (
        "TopicNameStrategy"
    )
    required_headers: frozenset[str] = frozenset()  # those of the headers that every record must have
    timestamp: DatedBy | None = None  # field of the record, or several times; None to use the time of arrival
    separator: str | None = None  # joins the parts of the key; None when the first one that is not empty is the key
    choice: TopicChoice | None = None  # when parameters of the MQTT address choose the topic

    @property
    def each(self) -> tuple[Route, ...]:
        """The routes to each of its topics."""
        topics = self.choice.topics if self.choice else (self.topic,)
        return tuple(replace(self, topic=topic, choice=None) for topic in topics)

    @property
    def avro(self) -> AvroSchema:
        """The schema of its records; the dead-letter channel has none."""
        assert self.schema is not None, "the contract gives every route of readings a schema"
        return self.schema

    @property
    def subject(self) -> str:
        """The registry subject of the record's value schema."""
        return {
            "TopicNameStrategy": f"{self.topic.name}-value",
            "RecordNameStrategy": self.avro.fullname,
            "TopicRecordNameStrategy": f"{self.topic.name}-{self.avro.fullname}",
        }[self.subject_strategy]


@dataclass(frozen=True, slots=True)
class Stream:
    """A receive operation: one kind of reading."""

    name: str  # of the receive operation; logs and metrics use it
    servers: tuple[str, ...]  # names of the MQTT servers it is subscribed on
    address: Address
    parameters: tuple[Parameter, ...]  # of the address, in its order
    qos: int  # of the subscription, 0, 1 or 2
    unknown: Literal["reject", "ignore"]  # what to do with members that no field reads
    route: Route  # of valid readings
    dead_letters: Route  # of all others
    examples: tuple[Any, ...] = ()  # payloads of the MQTT message's examples
    payload_schema: dict[str, Any] | None = None  # the JSON Schema of a reading in the MQTT message, if it has its own
    array_schema: dict[str, Any] | None = None  # the JSON Schema of the message that holds several, likewise
    also: tuple[Route, ...] = ()  # further routes that valid readings take at the same time
    sequence: str | None = None  # RFC 6901 pointer into the payload, to a number that counts up by one per key
    silent_after: int | None = None  # seconds without a reading after which a key counts as silent
    user_properties: frozenset[str] = frozenset()  # that the MQTT message declares
    example_headers: tuple[dict[str, str], ...] = ()  # user properties of the examples
    content: Content = "json"
    encoding: Encoding = JSON  # of the payloads: of all messages, if there are several
    lines: str = ""  # the form of messages that are lines of a telegram (`telegram_lines.py`); "" for whole ones
    is_array: bool = False  # a message holds several readings, each of which becomes a record
    steps: tuple[Step, ...] = EACH_ITEM  # these lead to them; a plain array has this one step
    messages: tuple[Message, ...] = ()  # where there are several; all above is of the first that is not ignored

    @property
    def by_message(self) -> tuple[Stream, ...]:
        """Each message that is not ignored, as a stream of one message; the stream itself if it has only one."""
        return tuple(one.stream for one in self.messages if one.stream) or (self,)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Everywhere that valid readings go, message by message: the routes to each topic."""
        return tuple(each for one in self.by_message for route in one.own_routes for each in route.each)

    @property
    def own_routes(self) -> tuple[Route, ...]:
        """Where valid readings of one message go."""
        return self.route, *self.also

    @property
    def allowed(self) -> dict[str, tuple[str, ...]]:
        """The values of parameters that choose topics, by parameter: those for which all routes have a topic."""
        allowed: dict[str, tuple[str, ...]] = {}
        for route in self.own_routes:
            for name, values in route.choice.allowed.items() if route.choice else ():
                allowed[name] = tuple(value for value in allowed.get(name, values) if value in values)
        return allowed

    @property
    def keeps_properties(self) -> bool:
        """True when a header comes from MQTT 5 properties, or they say how payloads are encoded."""
        return self.encoding != JSON or any(
            carried(route.headers, each.user_properties) for each in self.by_message for route in each.own_routes
        )

    @property
    def example_readings(self) -> tuple[Any, ...]:
        """The readings in the examples' payloads."""
        if not self.is_array:
            return self.examples
        path = RecordPath(self.steps, self.route.avro.record, IGNORED)
        return tuple(reading for example in self.examples for reading in path.readings(example))

    @property
    def is_watched(self) -> bool:
        """True when the contract says how to detect missing readings."""
        return self.sequence is not None or self.silent_after is not None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A receive operation whose messages are not wanted: what a wider filter brings of them is dropped and counted."""

    name: str
    servers: tuple[str, ...]
    address: Address


@dataclass(frozen=True, slots=True)
class Message:
    """One of several messages of a stream."""

    name: str  # its key in the channel
    demands: Demands  # that tell it apart from the others
    stream: Stream | None  # of this message alone; None when it is ignored


class Choice(NamedTuple):
    """What an installation says about the servers of the contract that it uses."""

    servers: tuple[str, ...]  # their names; () for all
    place: Finding  # of this setting, for findings about it


@dataclass(frozen=True, slots=True)
class Contract:
    """All that `asyncapi.yaml` says."""

    path: Path
    title: str
    version: str  # `info.version`, the contract's own version
    mqtt_servers: dict[str, MqttServer]  # by name
    kafka: KafkaServer
    streams: dict[str, Stream]  # by name, in document order
    elsewhere: frozenset[str] = frozenset()  # servers and operations that this installation does not use
    ignored: dict[str, Ignored] = field(default_factory=dict)  # by name, in document order
    digest: str = ""  # of the contents of its files

    @property
    def brokers(self) -> list[MqttServer]:
        """The MQTT servers that a stream comes from."""
        used = {name for stream in self.streams.values() for name in stream.servers}
        return [server for name, server in self.mqtt_servers.items() if name in used]

    def addresses(self, servers: Collection[str] | None = None) -> list[tuple[str, Address]]:
        """The addresses of all receive operations, or of those on some servers, each with the operation's name."""
        every: list[Stream | Ignored] = [*self.streams.values(), *self.ignored.values()]
        return [(one.name, one.address) for one in every if servers is None or not set(one.servers).isdisjoint(servers)]
