"""The contestants, each a process of its own behind a load broker of its own, and measured by its process id.

Every one subscribes at QoS 1 and writes with acks=all, idempotence and lz4. They stay up while the others are
measured, so that rounds go round all of them in turn and no one has the machine's good minutes for itself.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench import figures
from bench.build import GO_BRIDGE, RUST_BRIDGES, java_class_path
from bench.contract import topics, write_contract
from bench.figures import Run
from bench.load import Load
from tests.stack.gateway import Gateway
from tests.stack.process import Server
from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from bench.far_end import FarEnd

ROOT = Path(__file__).parents[1]


class Commanded:
    """A process that takes commands on standard input: the load broker, the ceiling. It ends with its input.

    Args:
        module: to run.
        arguments: its own.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        guard = [command("setpriv", "util-linux"), "--pdeathsig", "KILL"]  # nothing is left behind, whatever happens
        line = [*guard, sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.answer()["port"])

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def tell(self, **what: Any) -> None:
        """Send a command."""
        assert self._process.stdin
        print(json.dumps(what), file=self._process.stdin, flush=True)

    def answer(self, bridge: Server | None = None) -> dict[str, Any]:
        """Wait for an answer, as long as the bridge lives that it depends on."""
        assert self._process.stdout
        while not select.select([self._process.stdout], [], [], 0.2)[0]:
            assert bridge is None or bridge.is_running, f"{bridge.name} ended:\n{bridge.log}"
        line = self._process.stdout.readline()
        assert line, "the process ended"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Contestant:
    """A bridge and the load broker before it; a context manager that ends both.

    Args:
        name: for the table.
        far_end: Kafka.
        topic_names: what it writes to.
        partitions: of each topic.
    """

    def __init__(self, name: str, far_end: FarEnd, topic_names: list[str], partitions: int = 6) -> None:
        self.name = name
        self.far_end = far_end
        self.topics = topic_names
        self.sent = 0
        self.bridges = 1  # connections that share the readings
        self.server: Server | None = None  # the bridge's process
        self._ends = ExitStack()
        far_end.create(topic_names, partitions)
        self.source = self._source()
        self._ends.callback(self.source.close)

    def _source(self) -> Commanded:
        return Commanded("bench.load_broker")

    @property
    def pid(self) -> int:
        """Process id of the bridge."""
        raise NotImplementedError

    def run(self, load: Load, count: int, **how: float) -> Run:
        """Send it readings and measure.

        Args:
            load: which readings.
            count: how many.
            how: `window`, `rate`.

        Returns:
            What it took.
        """
        self.source.tell(load=asdict(load), count=0, bridges=self.bridges)  # makes the packets
        self.source.answer()
        before = figures.cpu_seconds(self.pid)
        self.source.tell(load=asdict(load), count=count, bridges=self.bridges, **how)
        answer = self.source.answer(self.server)
        self.sent += count
        return Run(count, answer["seconds"], figures.cpu_seconds(self.pid) - before)

    def verify(self) -> dict[str, int]:
        """See that every reading it was sent is in Kafka, and decode a sample."""
        found = self.far_end.wait_for_count(self.topics, self.sent)
        return {"sent": self.sent, "in_kafka": found, "decoded": self._decoded()}

    def _decoded(self) -> int:
        telegrams = [name for name in self.topics if name.endswith("-telegrams")]
        return self.far_end.check_sample(self.topics[0], "machine_sensor") + sum(
            self.far_end.check_sample(name, "smart_meter") for name in telegrams
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()


class Product(Contestant):
    """`gateway run`, with the contract of `contract.py` and no settings but where the servers are.

    Args:
        far_end: Kafka and registry.
        streams: how many streams of sensors.
        version: of MQTT.
        partitions: of each topic.
        workers: how many processes; not more than streams.
        producer: librdkafka's properties.
        settings: more sections of gateway.yaml.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a row may ask for, all but the first by name
        self,
        far_end: FarEnd,
        streams: int = 1,
        version: str = "5.0",
        partitions: int = 6,
        workers: int = 1,
        producer: dict[str, int] | None = None,
        **settings: Any,
    ) -> None:
        prefix = f"gateway-{uuid.uuid4().hex[:6]}"
        super().__init__("gateway", far_end, topics(prefix, streams), partitions)
        servers = {
            "broker": {"host": f"127.0.0.1:{self.source.port}"},
            "kafka": {
                "host": far_end.kafka.bootstrap,
                "registry": {"url": far_end.registry.url},
                "producer": producer or {},
            },
        }
        self.bridges = workers
        self.server = self.gateway = Gateway(servers, Path("asyncapi.yaml"), **settings)
        write_contract(self.gateway.folder, prefix, streams, version)
        self._ends.callback(self.gateway.close)
        self.source.tell(load=asdict(Load()), is_v5=version == "5.0")
        self.source.answer()
        self.start_seconds = self._start()

    @property
    def pid(self) -> int:
        """Process id of the gateway."""
        return self.gateway.pid

    def restart(self) -> float:
        """Stop it and start it again; give the seconds until its first reading is acknowledged."""
        self.gateway.stop()
        return self._start()

    def _start(self) -> float:
        began = time.monotonic()
        workers = ["--workers", str(self.bridges)] if self.bridges > 1 else []
        self.gateway.launch([sys.executable, "-m", "gateway.cli", "run", "-c", self.gateway.settings_file, *workers])
        load = Load(streams=self.bridges)  # one reading for each
        self.source.tell(load=asdict(load), count=self.bridges, bridges=self.bridges)
        answer = self.source.answer(self.gateway)
        self.sent += self.bridges
        return float(answer["last_at"]) - began


class Script(Contestant):
    """A bridge that takes its settings as environment variables: the plain Python script, the Go and Java programs.

    Args:
        name: for the table.
        far_end: Kafka and registry.
        program: and its arguments.
        environment: more variables.
    """

    def __init__(self, name: str, far_end: FarEnd, program: list[str | Path], **environment: str) -> None:
        super().__init__(name, far_end, [f"{name}-{uuid.uuid4().hex[:6]}-{what}" for what in ("sensors", "telegrams")])
        self.server = self._server = Server(name)
        self._ends.callback(self._server.close)
        addresses = {
            "MQTT": f"127.0.0.1:{self.source.port}",
            "BOOTSTRAP": far_end.kafka.bootstrap,
            "REGISTRY": far_end.registry.url,
            "TOPIC": self.topics[0],
            "TELEGRAMS": self.topics[1],
            "PYTHONPATH": str(ROOT),
        }
        variables = [f"{name}={value}" for name, value in (addresses | environment).items()]
        self._server.launch([shutil.which("env") or "env", *variables, *program])
        wait_for(self._is_subscribed, 30, lambda: f"{name} to subscribe:\n{self._server.log}")

    def _is_subscribed(self) -> bool:
        assert self._server.is_running, self._server.log
        self.source.tell(ask="subscribed")
        return bool(self.source.answer()["is_subscribed"])

    @property
    def pid(self) -> int:
        """Process id of the bridge."""
        return self._server.pid


def plain_python(far_end: FarEnd) -> Script:
    """Start contestant (b)."""
    return Script("plain-python", far_end, [sys.executable, ROOT / "bench" / "plain_python.py"])


def plain_go(far_end: FarEnd, *, is_hasty: bool = False) -> Script:
    """Start contestant (c).

    Args:
        far_end: Kafka and registry.
        is_hasty: True for no linger in its producer and acknowledgements each millisecond instead of each 50.
    """
    hasty = {"LINGER_MS": "0", "ACKNOWLEDGE_MS": "1"}
    return Script("plain-go", far_end, [GO_BRIDGE], **(hasty if is_hasty else {}))


def rust(far_end: FarEnd, kind: str) -> Script:
    """Start contestant (e), `plain`, or (f), `tuned`."""
    return Script(f"{kind}-rust", far_end, [RUST_BRIDGES / kind])


class ByteBridge(Script):
    """Contestant (d), in Java: it forwards payloads as they are.

    Args:
        far_end: Kafka.
    """

    def __init__(self, far_end: FarEnd) -> None:
        java = command("java", "default-jdk-headless")
        super().__init__("plain-java", far_end, [java, "-cp", java_class_path(), "Bridge"])

    def _decoded(self) -> int:
        return self.far_end.check_sample(self.topics[0])


class Ceiling(Contestant):
    """Contestant (a): the process that is sent the readings is the one that produces them.

    Args:
        far_end: Kafka and registry.
        is_by_runs: True for handing records over as the gateway does.
        is_near: True for as many requests under way as the gateway has where Kafka is near.
    """

    def __init__(self, far_end: FarEnd, *, is_by_runs: bool = False, is_near: bool = False) -> None:
        self._topic = f"ceiling-{uuid.uuid4().hex[:6]}"
        options = ["--by-runs"] * is_by_runs + ["--near"] * is_near
        self._arguments = [far_end.kafka.bootstrap, self._topic, *options]
        super().__init__("ceiling-by-runs" if is_by_runs else "ceiling", far_end, [self._topic])

    def _source(self) -> Commanded:
        return Commanded("bench.ceiling", *self._arguments)

    @property
    def pid(self) -> int:
        """Process id of the producer."""
        return self.source.pid
