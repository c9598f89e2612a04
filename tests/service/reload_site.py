"""A gateway whose contract changes while it runs, with sensors that publish all the time.

A contract here is a dict of streams: name -> `Flow`. Every reading has the key `machine`, a number that rises per
machine, and what else its stream's schema has.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

PARTITIONS = 3
FAST = 2_000  # readings a second
AVRO = "application/vnd.apache.avro;version=1.9.0"
DEAD_LETTER = {"contentType": "application/octet-stream", "payload": {"type": "string", "format": "binary"}}
FRAMING = {"schemaIdLocation": "payload", "schemaIdPayloadEncoding": "4", "schemaLookupStrategy": "TopicNameStrategy"}


@dataclass(frozen=True)
class Flow:
    """A stream: where its readings come from and go to.

    Args:
        address: of the MQTT channel; `{machine}` is the key.
        topic: word for the Kafka topic.
        more: fields of its schema beside machine and number, with their types.
    """

    address: str
    topic: str
    more: Mapping[str, str] = field(default_factory=dict)


def document(flows: Mapping[str, Flow], suffix: str, version: str) -> dict[str, Any]:
    """Write a contract."""
    channels: dict[str, Any] = {"deadTopic": _channel("kafka", f"dead-{suffix}", DEAD_LETTER)}
    operations: dict[str, Any] = {"sendDead": _operation("send", "deadTopic")}
    for name, flow in flows.items():
        fields: list[dict[str, Any]] = [{"name": "machine", "type": "string"}, {"name": "number", "type": "long"}]
        fields += [{"name": each, "type": ["null", kind], "default": None} for each, kind in flow.more.items()]
        schema = {"type": "record", "name": f"r_{flow.topic}", "fields": fields}
        payload = {"schemaFormat": AVRO, "schema": schema}
        key = {"type": "string", "x-location": "$message.payload#/machine"}
        record = {
            "contentType": "application/vnd.apache.avro",
            "payload": payload,
            "bindings": {"kafka": {**FRAMING, "key": key, "bindingVersion": "0.5.0"}},
        }
        channels[name] = _channel("broker", flow.address, {"payload": payload})
        channels[name]["parameters"] = {
            level[1:-1]: {"location": f"$message.payload#/{level[1:-1]}"}
            for level in flow.address.split("/")
            if level.startswith("{")
        }
        channels[f"{name}Topic"] = _channel("kafka", f"{flow.topic}-{suffix}", record)
        operations[f"send_{name}"] = _operation("send", f"{name}Topic")
        operations[name] = _operation("receive", name) | {
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}},
            "x-forward-to": {"$ref": f"#/operations/send_{name}"},
            "x-dead-letter-to": {"$ref": "#/operations/sendDead"},
        }
    mqtt = {"clientId": f"reload-{suffix}", "cleanSession": False, "keepAlive": 60, "bindingVersion": "0.2.0"}
    kafka = {"schemaRegistryUrl": "http://localhost:1", "schemaRegistryVendor": "confluent", "bindingVersion": "0.5.0"}
    return {
        "asyncapi": "3.1.0",
        "info": {"title": "Reloaded", "version": version},
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "localhost:1883",
                "protocol": "mqtt",
                "protocolVersion": "5.0",
                "bindings": {"mqtt": {**mqtt, "sessionExpiryInterval": 3600}},
            },
            "kafka": {"host": "localhost:9092", "protocol": "kafka", "bindings": {"kafka": kafka}},
        },
        "channels": channels,
        "operations": operations,
    }


def _channel(server: str, address: str, message: dict[str, Any]) -> dict[str, Any]:
    return {"address": address, "servers": [{"$ref": f"#/servers/{server}"}], "messages": {"it": message}}


def _operation(action: str, channel: str) -> dict[str, Any]:
    message = {"$ref": f"#/channels/{channel}/messages/it"}
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "messages": [message]}


class ReloadSite:
    """A gateway and its contract, at a broker, Kafka and a registry that run."""

    def __init__(
        self,
        folder: Path,
        broker: Mosquitto,
        kafka: Kafka,
        registry: Registry,
        flows: Mapping[str, Flow],
        *,
        is_started: bool = True,
        gateway: type[Gateway] = Gateway,
        **more: Any,
    ) -> None:
        self.suffix = uuid.uuid4().hex[:8]
        self.kafka, self.broker = kafka, broker
        self.contract = folder / "asyncapi.yaml"
        self.topics: set[str] = set()
        self._version = 0
        self.create("dead")
        self.write(flows)
        servers = {
            "broker": {"host": f"127.0.0.1:{broker.port}"},
            "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
        }
        self.gateway = gateway(servers, self.contract, **more)
        self._is_started = is_started

    def create(self, topic: str) -> str:
        """Make a Kafka topic, once."""
        name = f"{topic}-{self.suffix}"
        if topic not in self.topics:
            self.topics.add(topic)
            self.kafka.create_topic(name, PARTITIONS)
        return name

    def write(self, flows: Mapping[str, Flow]) -> str:
        """Write the contract anew; gives its version."""
        self._version += 1
        for flow in flows.values():
            self.create(flow.topic)
        version = f"{self._version}.0.0"
        written = self.contract.with_suffix(".new")
        written.write_text(json.dumps(document(flows, self.suffix, version), indent=1))
        written.rename(self.contract)
        return version

    @property
    def pid(self) -> int:
        """Process id of the gateway."""
        process = self.gateway._process  # noqa: SLF001 - of the test's own class
        assert process is not None
        return process.pid

    @property
    def resident_mebibytes(self) -> int:
        """Memory of the gateway's process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))

    def outcomes(self) -> Counter[str]:
        """Count the reloads by outcome."""
        words = ("accepted", "refused", "failed")
        page = self.gateway.metrics()
        return Counter({word: int(_sum(page, f'gateway_reloads_total{{outcome="{word}"}}')) for word in words})

    def reload(self, outcome: str = "accepted", seconds: float = 60) -> None:
        """Send SIGHUP, and wait for the outcome."""
        before = self.outcomes()
        os.kill(self.pid, signal.SIGHUP)
        wait_for(lambda: self.outcomes() != before, seconds, lambda: self.gateway.log[-3000:])
        assert self.outcomes() - before == Counter([outcome]), self.gateway.log[-3000:]

    def change(self, flows: Mapping[str, Flow]) -> None:
        """Write the contract anew and let the gateway work by it."""
        version = self.write(flows)
        self.reload()
        assert f'version="{version}"' in self.gateway.metrics()

    def events(self, message: str) -> list[dict[str, Any]]:
        """Read the lines of the log that tell an event."""
        lines = [json.loads(line) for line in self.gateway.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    def numbers(self, *topics: str) -> dict[str, list[int]]:
        """Read the numbers of the committed records of topics, by machine, in the order of each topic."""
        numbers: dict[str, list[int]] = defaultdict(list)
        for topic in topics:
            for value in _values(self.kafka.bootstrap, f"{topic}-{self.suffix}"):
                machine, number = decoded(value)
                numbers[machine].append(number)
        return numbers

    def set(self, **sections: Any) -> None:
        """Change sections of gateway.yaml."""
        given = json.loads(self.gateway.settings_file.read_text())
        self.gateway.settings_file.write_text(json.dumps(given | sections))

    def set_server(self, name: str, **settings: Any) -> None:
        """Change settings of a server."""
        servers = json.loads(self.gateway.settings_file.read_text())["servers"]
        self.set(servers=servers | {name: servers[name] | settings})

    def digest(self) -> str:
        """The digest of the contract in use."""
        return self.gateway.metrics().partition('digest="')[2].partition('"')[0]

    def numbers_of_all(self) -> dict[str, list[int]]:
        """Read the numbers of all records, sorted, by machine."""
        found = self.numbers(*(topic for topic in self.topics if topic != "dead"))
        return {machine: sorted(numbers) for machine, numbers in found.items()}

    def __enter__(self) -> Self:
        if self._is_started:
            self.gateway.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()


def _sum(page: str, sample: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(sample))


def _values(bootstrap: str, topic: str) -> list[bytes]:
    """Read a topic to the end, which the count of its records does not show: transactions have offsets, too."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "tests", "enable.partition.eof": True, "log_level": 3}
    consumer = Consumer({**settings, "enable.auto.commit": False, "isolation.level": "read_committed"})
    values: list[bytes] = []
    ended: set[int | None] = set()
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        deadline = time.monotonic() + 60
        while len(ended) < PARTITIONS:
            assert time.monotonic() < deadline, f"the end of {topic}"
            for message in consumer.consume(10_000, timeout=0.2):
                if (error := message.error()) is None:
                    values.append(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                    ended.add(message.partition())
    finally:
        consumer.close()
    return values


def decoded(value: bytes) -> tuple[str, int]:
    """Read machine and number, which come first in every schema here, behind the wire format's five bytes."""
    length, position = _zigzag(value, 5)
    machine = value[position : position + length].decode()
    number, _ = _zigzag(value, position + length)
    return machine, number


def _zigzag(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        result |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return (result >> 1) ^ -(result & 1), position


class Load:
    """Sensors: a thread that publishes so many readings a second to topics in turn, with numbers that rise per machine.

    `topics` may be replaced while it runs: topics with `{}` for the machine.
    """

    def __init__(self, port: int, topics: Sequence[str], rate: int, machines: int = 5, prefix: str = "m") -> None:
        self.topics = list(topics)
        self.sent: Counter[str] = Counter()  # by machine: its numbers are 0 up to this
        self._publisher = Publisher(port, f"sensors-{prefix}")
        self._rate = rate
        self._count = 0
        self._machines = [f"{prefix}{number}" for number in range(machines)]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        began = time.monotonic()
        # A broker acknowledges a batch some 30 ms later, however large it is.
        step = max(1, self._rate // (50 if self._rate < FAST else 10))
        while not self._stopping.is_set():
            self._publisher.publish(self._messages(step))
            self._stopping.wait(max(0.0, began + self._count / self._rate - time.monotonic()))

    def _messages(self, count: int) -> list[tuple[str, bytes]]:
        messages = []
        for _ in range(count):
            topics = self.topics
            machine = self._machines[self._count % len(self._machines)]
            topic = topics[self._count // len(self._machines) % len(topics)].format(machine)
            payload = json.dumps({"machine": machine, "number": self.sent[machine]}).encode()
            self.sent[machine] += 1
            self._count += 1
            messages.append((topic, payload))
        return messages

    def wait_for(self, count: int) -> None:
        """Wait until so many more readings were sent."""
        before = self.sent.total()
        wait_for(lambda: self.sent.total() >= before + count, 60, "readings to be sent")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._publisher.close()
