"""The contract as the gateway uses it: what `asyncapi.yaml` says, resolved and checked, and nothing else.

Plain frozen values, which can be pickled. Everything that is specific to an installation (addresses, secrets) is in
`settings.Settings` under the same server names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gateway.core.headers import carried

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.address import Address
    from gateway.core.avro_schema import AvroType


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker publishes when the gateway disconnects ungracefully."""

    topic: str
    message: str
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class MqttServer:
    """An MQTT broker of the contract.

    Args:
        name: the contract's server name; settings and metrics use it.
        host: `host:port` with server variables filled in.
        tls: protocol is `secure-mqtt` (or `mqtts`).
        version: MQTT protocol version.
        client_id: fixed, from the MQTT binding; it identifies the session.
        clean_session: True only when the contract asks the broker to discard the session.
        keep_alive: seconds.
        session_expiry: seconds the broker keeps the session after a disconnect.
        maximum_packet_size: bytes; a larger message becomes a dead letter. None for the gateway's default.
        last_will: or None.
        security: types of the security schemes, e.g. `("userPassword",)`; empty when none is declared.
    """

    name: str
    host: str
    tls: bool
    version: Literal["3.1.1", "5.0"]
    client_id: str
    clean_session: bool
    keep_alive: int
    session_expiry: int
    maximum_packet_size: int | None
    last_will: LastWill | None
    security: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """The Kafka cluster of the contract.

    Args:
        name: the contract's server name.
        host: bootstrap servers, comma-separated.
        tls: protocol is `kafka-secure`.
        security: types of the security schemes, e.g. `("scramSha512",)`.
        registry_url: from the Kafka server binding, or None.
    """

    name: str
    host: str
    tls: bool
    security: tuple[str, ...]
    registry_url: str | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name}` of a channel address.

    Args:
        name: as in the address.
        pointer: RFC 6901 pointer to the payload member with the same value (from `location`), or None.
    """

    name: str
    pointer: str | None


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic as the contract declares it.

    Args:
        name: the topic name.
        partitions: or None when the contract leaves it to the cluster.
        replicas: likewise.
        configuration: `topicConfiguration` of the binding, values as text.
    """

    name: str
    partitions: int | None = None
    replicas: int | None = None
    configuration: dict[str, str] = field(default_factory=dict)

    @property
    def is_compacted(self) -> bool:
        """True when Kafka keeps the latest record of each key, and a record without a value ends its key."""
        return "compact" in self.configuration.get("cleanup.policy", "").replace(" ", "").split(",")


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """An Avro record schema.

    Args:
        path: the `.avsc` file, or the contract's own file for an inline schema.
        fullname: namespace and name of the record.
        definition: the JSON of the file, `x-source` and other attributes included; named types defined where
            first used.
        text: compact JSON without `x-` attributes, as it is registered.
        record: the outermost type, built from the definition.
    """

    path: Path
    fullname: str
    definition: dict[str, Any]
    text: str
    record: AvroType = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """A send operation: where readings of a stream go in Kafka.

    Args:
        operation: name of the send operation.
        topic: the Kafka topic.
        schema: the record's Avro schema; None for the dead-letter channel.
        keys: RFC 6901 pointers into the *record*, tried in order; the first non-empty string is the key.
        headers: names of the headers that the message declares.
        framing: where the schema id goes.
        subject_strategy: how the registry subject is named.
        required_headers: those of the headers that every record must have.
        timestamp: RFC 6901 pointer into the record, to its timestamp in Kafka; None to use the time of arrival.
    """

    operation: str
    topic: Topic
    schema: AvroSchema | None
    keys: tuple[str, ...]
    headers: frozenset[str]
    framing: Literal["payload", "header"] = "payload"
    subject_strategy: Literal["TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy"] = (
        "TopicNameStrategy"
    )
    required_headers: frozenset[str] = frozenset()
    timestamp: str | None = None

    @property
    def subject(self) -> str:
        """The registry subject of the record's value schema."""
        assert self.schema is not None, "dead letters have no subject"
        return {
            "TopicNameStrategy": f"{self.topic.name}-value",
            "RecordNameStrategy": self.schema.fullname,
            "TopicRecordNameStrategy": f"{self.topic.name}-{self.schema.fullname}",
        }[self.subject_strategy]


@dataclass(frozen=True, slots=True)
class Stream:
    """A receive operation: one kind of reading.

    Args:
        name: name of the receive operation; logs and metrics use it.
        servers: names of the MQTT servers it is subscribed on.
        address: the channel's address.
        parameters: of the address, in its order.
        qos: subscription QoS, 0 or 1.
        unknown: what to do with members that no field reads.
        route: where valid readings go.
        dead_letters: where the others go.
        examples: payloads of the MQTT message's examples, for the simulator and the checks.
        payload_schema: the MQTT message's JSON Schema where it has one of its own, else None.
        also: further routes that valid readings take at the same time.
        sequence: RFC 6901 pointer into the payload, to a number that counts up by one per key; None without one.
        silent_after: seconds without a reading after which a key counts as silent; None for no limit.
        user_properties: MQTT 5 user properties that the MQTT message declares.
        example_headers: user properties of its examples, for the simulator.
        content: what the payload is written in.
        is_array: True when a payload is an array of readings, each of which becomes a record.
    """

    name: str
    servers: tuple[str, ...]
    address: Address
    parameters: tuple[Parameter, ...]
    qos: int
    unknown: Literal["reject", "ignore"]
    route: Route
    dead_letters: Route
    examples: tuple[Any, ...] = ()
    payload_schema: dict[str, Any] | None = None
    also: tuple[Route, ...] = ()
    sequence: str | None = None
    silent_after: int | None = None
    user_properties: frozenset[str] = frozenset()
    example_headers: tuple[dict[str, str], ...] = ()
    content: Literal["json", "text"] = "json"
    is_array: bool = False

    @property
    def routes(self) -> tuple[Route, ...]:
        """Everywhere that valid readings go."""
        return (self.route, *self.also)

    @property
    def keeps_properties(self) -> bool:
        """True when a header comes from MQTT 5 properties, so that readings must keep them."""
        return any(carried(route.headers, self.user_properties) for route in self.routes)

    @property
    def example_readings(self) -> tuple[Any, ...]:
        """The readings in the examples' payloads."""
        if not self.is_array:
            return self.examples
        return tuple(one for example in self.examples if isinstance(example, list) for one in example)

    @property
    def is_watched(self) -> bool:
        """True when the contract says how to detect missing readings."""
        return self.sequence is not None or self.silent_after is not None


@dataclass(frozen=True, slots=True)
class Contract:
    """All that `asyncapi.yaml` says.

    Args:
        path: the file it came from.
        title: `info.title`.
        version: `info.version`, the contract's own version.
        mqtt_servers: by name.
        kafka: the Kafka cluster.
        streams: by name, in document order.
    """

    path: Path
    title: str
    version: str
    mqtt_servers: dict[str, MqttServer]
    kafka: KafkaServer
    streams: dict[str, Stream]

    @property
    def brokers(self) -> list[MqttServer]:
        """The MQTT servers that a stream comes from."""
        used = {name for stream in self.streams.values() for name in stream.servers}
        return [server for name, server in self.mqtt_servers.items() if name in used]
