"""What one reading costs, stage by stage, in one process: `make bench-stages`.

    read         FastReader.feed: packets in, entries out
    websocket    read, behind FrameReader.feed: each packet in a WebSocket frame
    match        Routes: topic -> stream; a part of read
    encode       Codec.fast: JSON checked, key and Avro bytes out
    transform    Transform: encode and all around it
    produce      KafkaSink.send, without what librdkafka's own threads do
    report       KafkaSink.poll and take_reports: what Kafka has acknowledged
    settle       Spool.settle
    acknowledge  Spool.acknowledge_safe and the PUBACK packets

Each stage runs again and again on the same readings and its best run counts: what disturbs a run only makes it longer.
Time is the CPU time of the one thread. Kafka is librdkafka's mock, because only this side of it is looked at. A stage
that cannot be run is "not measured": later changes are compared with the figures, and nothing fails on them.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench import report
from bench.contract import write_contract
from bench.load import Load
from bench.load_broker import publish
from gateway.contract import load as load_contract
from gateway.core.entry import Batch
from gateway.core.ledger import Ledger
from gateway.core.topic_index import topic_index
from gateway.core.transform import Transform
from gateway.kafka.sink import KafkaSink
from gateway.mqtt.reader import FastReader, Intake
from gateway.mqtt.websocket import FrameReader
from gateway.operate.demo.mock_kafka import MockCluster
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.entry import Entry
    from gateway.core.model import Stream
    from gateway.core.reading import Reading, Record

READINGS = 1_000  # a batch, as a loop at full speed has them
REPETITIONS = 60
SECONDS = 20.0  # for librdkafka's mock to acknowledge a batch
PAYLOAD_LIMIT = 900_000
FILE = report.FOLDER / "stages.json"


class Bench:
    """The parts of a gateway that never leaves this process.

    Args:
        stream: from the contract.
        load: the readings.
    """

    def __init__(self, stream: Stream, load: Load) -> None:
        self.messages = [load.message(number) for number in range(READINGS)]
        packets = [publish(*message, number + 1, is_v5=True) for number, message in enumerate(self.messages)]
        self.packets = b"".join(packets)
        self.frames = b"".join(b"\x82\x7e" + len(one).to_bytes(2) + one for one in packets)
        self.routes = topic_index([(stream.name, stream.address)])
        self.reader = FastReader(
            Intake(self.routes, PAYLOAD_LIMIT),
            callback_api_version=CallbackAPIVersion.VERSION2,
            protocol=paho.MQTTv5,
        )
        self.reader.on_socket_register_write = lambda *_: None  # so that paho leaves writing to others
        self.transform = Transform(stream, 1, PAYLOAD_LIMIT)
        self.topic_values = [stream.address.match(topic) or () for topic, _ in self.messages]
        self.mock = MockCluster({stream.route.topic.name: 6})
        self.sink = KafkaSink({"bootstrap.servers": self.mock.bootstrap})
        self.spool = Spool(Policy(2**30), Ledger([stream.name]))

    def entries(self, packets: bytes = b"") -> list[Entry]:
        """Read the packets once more."""
        self.reader.feed(packets or self.packets)
        arrived, self.reader.arrived = self.reader.arrived, Batch()
        return arrived

    def records(self) -> list[Record]:
        """Make the records of a batch."""
        return self.transform.transform_all([entry.reading for entry in self.entries()]).records

    # --- stages: each prepares what it needs and gives the function to measure ---------------------------------------

    def read(self) -> Callable[[], object]:
        """Take packets in."""
        return self.entries

    def websocket(self) -> Callable[[], object]:
        """Take frames in."""
        return lambda: self.entries(FrameReader().feed(self.frames))

    def match(self) -> Callable[[], object]:
        """Find the stream of each topic."""
        topics = [topic.encode() for topic, _ in self.messages]
        return lambda: [self.routes(topic) for topic in topics]

    def encode(self) -> Callable[[], object]:
        """Check and encode each payload."""
        codec = self.transform._targets[()].codec  # noqa: SLF001 - as the transform has set it up
        encode = codec.fast
        prepared = map(codec.prepare, self.topic_values)
        pairs = [(payload, each) for (_, payload), each in zip(self.messages, prepared, strict=True)]
        return lambda: [encode(payload, each) for payload, each in pairs]

    def transform_all(self) -> Callable[[], object]:
        """Make a record of each reading."""
        readings: list[Reading] = [entry.reading for entry in self.entries()]
        return lambda: self.transform.transform_all(readings)

    def produce(self) -> Callable[[], object]:
        """Hand the records to librdkafka."""
        self._drain()
        records, entries = self.records(), self.entries()
        return lambda: self.sink.send(records, entries)

    def report(self) -> Callable[[], object]:
        """Take librdkafka's reports, all of which wait."""
        self.produce()()
        time.sleep(0.06)  # until the mock has acknowledged all: each poll for a part of them would cost extra
        return self._drain

    def settle(self) -> Callable[[], object]:
        """Note that the batch is in Kafka."""
        entries = self._appended()
        return lambda: self.spool.settle(entries)

    def acknowledge(self) -> Callable[[], object]:
        """Acknowledge the batch to MQTT."""
        self.settle()()
        return self._acknowledge

    def _acknowledge(self) -> None:
        self.spool.acknowledge_safe()
        self.reader.send_acknowledgements()
        self.reader._out_packet.clear()  # noqa: SLF001 - there is no socket to write to

    def _appended(self) -> list[Entry]:
        entries = self.entries()
        self.spool.append(entries, time.monotonic())
        return entries

    def _drain(self) -> None:
        until = time.monotonic() + SECONDS
        while self.sink.in_flight and time.monotonic() < until:
            self.sink.poll(0.01)
            _, failed = self.sink.take_reports()
            assert not failed, failed[0][1]


STAGES: dict[str, Callable[[Bench], Callable[[], object]]] = {
    "read": Bench.read,
    "websocket": Bench.websocket,
    "match": Bench.match,
    "encode": Bench.encode,
    "transform": Bench.transform_all,
    "produce": Bench.produce,
    "report": Bench.report,
    "settle": Bench.settle,
    "acknowledge": Bench.acknowledge,
}
LOADS = {"sensor": (Load(), "sensors-0"), "door": (Load("door"), "doors"), "telegram": (Load("telegram"), "telegrams")}


def measure(bench: Bench, prepare: Callable[[Bench], Callable[[], object]]) -> float | None:
    """Give the microseconds that a stage takes for each reading; None when it cannot be run."""
    best = float("inf")
    try:
        for _ in range(REPETITIONS):
            stage = prepare(bench)
            began = time.thread_time_ns()
            stage()
            best = min(best, time.thread_time_ns() - began)
    except Exception as error:  # noqa: BLE001 - the figures are for comparing; a stage that changed shape is no failure
        print(f"{prepare.__name__}: {error!r}")
        return None
    return best / 1000 / READINGS


def table(found: dict[str, dict[str, float | None]]) -> str:
    """Write the figures as a table: a row for each stage, a column for each kind of reading."""
    rows = [(stage, *(_cell(found[kind][stage]) for kind in found)) for stage in STAGES]
    return report.table(("microseconds per reading", *found), rows)


def _cell(value: float | None) -> str:
    return report.NOT_MEASURED if value is None else f"{value:.2f}"


def streams(folder: Path) -> dict[str, Stream]:
    """Load the contract of a run."""
    return dict(load_contract(write_contract(folder, "stages", 1)).streams)


def kinds(every: dict[str, Stream]) -> Sequence[tuple[str, Bench]]:
    """Set a bench up for each kind of reading."""
    return [(kind, Bench(every[name], load)) for kind, (load, name) in LOADS.items()]


def main() -> None:
    """Measure all stages, print the table, keep the figures."""
    with tempfile.TemporaryDirectory() as folder:
        benches = kinds(streams(Path(folder)))
    found = {kind: {stage: measure(bench, prepare) for stage, prepare in STAGES.items()} for kind, bench in benches}
    print(table(found))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps({"machine": report.machine(), "microseconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
