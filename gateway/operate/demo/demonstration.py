"""`gateway demo`: everything between a sensor and Kafka, on this machine, without Java; nothing is left behind.

    simulator ─► Mosquitto ─► gateway ─► Kafka ─► tail
    this process   child        child     this process: librdkafka's mock cluster

Broker and gateway are the real programs, started with a configuration in a temporary folder, on loopback ports that
the kernel chose. There is no registry: a lock file has the schema ids, as at an edge site without one.

Records are counted as they arrive, because the mock cluster keeps only about 5 MB per partition.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.mqtt.broker import Broker
from gateway.operate.demo.accounts import Accounts, Count, last_ledger
from gateway.operate.demo.child import Child
from gateway.operate.demo.mock_kafka import MockCluster
from gateway.operate.dlq.dead_letters import headers_of
from gateway.operate.simulate.publisher import Publisher, publish_all
from gateway.operate.simulate.simulator import Simulator
from gateway.operate.tail.consumer import TopicConsumer
from gateway.operate.tail.decoder import Decoder, ShownRecord
from gateway.registry.lock_file import LOCK_FILE, update_lock
from gateway.service import program
from gateway.signals import StopFlag
from gateway.text import printable

if TYPE_CHECKING:
    from confluent_kafka import Message

    from gateway.core.model import Contract

Say = Callable[[str], None]  # shows a line

READY_SECONDS = 30.0
SETTLE_SECONDS = 30.0  # without a single new record
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
SHOW_EVERY_SECONDS = 1.0  # one record of each topic
COUNT_EVERY_SECONDS = 10.0
DEFAULT_PARTITIONS = 3
LINE_WIDTH = 200  # characters, where the output is not a terminal

# Only Mosquitto as root reads `user`: by default it becomes user mosquitto, which may not read the temporary folder.
BROKER_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
user root
log_type error
log_type warning
"""


class Options(NamedTuple):
    """The options of the command."""

    contract: Path
    seconds: float | None  # how long readings are published; None for until SIGINT or SIGTERM
    rate: float  # readings per second
    broken_share: float  # from 0 to 1
    seed: int  # of the simulator


def demo(options: Options, say: Say) -> int:
    """Run the demo; give 0 when all counts agree, else 1. GatewayError when a part does not start, or ends early."""
    contract = contracts.load(options.contract)
    _require_no_tls(contract)
    stopping = _stop_on_signals()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-")))
        say(
            "Simulated sensors publish JSON over MQTT; the gateway checks each reading and sends it to Kafka as Avro.\n"
        )
        port = stack.enter_context(_broker(folder, say))
        topics = _topics(contract)
        kafka = stack.enter_context(MockCluster(topics))
        _introduce("Kafka", kafka.bootstrap, "a mock cluster in this process", say)
        consumer = stack.enter_context(TopicConsumer({"bootstrap.servers": kafka.bootstrap}, [*topics], "beginning"))
        _pin_schema_ids(contract, folder)
        gateway = stack.enter_context(
            _gateway(folder, _settings(options.contract, contract, port, kafka.bootstrap), say)
        )
        servers = contract.mqtt_servers.values()
        brokers = [Broker(server.name, "127.0.0.1", port, server.version == "5.0") for server in servers]
        publisher = stack.enter_context(Publisher(brokers))
        _introduce("sensors", f"{options.rate:g} per second", f"{options.broken_share:.1%} broken on purpose", say)
        show = _Show(Decoder(contract, folder / LOCK_FILE, None), _dead_letter_topics(contract), say)
        simulator = Simulator(contract, options.seed, options.broken_share)
        sensors = _Sensors(simulator, publisher, options.rate)
        stack.callback(sensors.stopping.set)
        until = None if options.seconds is None else time.monotonic() + options.seconds
        while not stopping.is_set() and (until is None or time.monotonic() < until):
            if not show.poll(consumer, POLL_SECONDS):
                gateway.check()
            sensors.check()
        say("\nThe sensors stop. Waiting until Kafka has every reading ...")
        show.is_quiet = True
        sensors.stop()
        _settle(consumer, show, publisher)
        exit_code = gateway.stop(STOP_SECONDS)
        while show.poll(consumer, 1.0):  # records beyond the expected ones count too
            pass
        streams = [one for stream in contract.streams.values() for one in stream.by_message]
        is_one_each = not any(one.is_array or len(one.own_routes) > 1 for one in streams)
        return _report(Accounts(publisher, show.count, last_ledger(gateway.output), exit_code, is_one_each), say)


def _stop_on_signals() -> StopFlag:
    """Let SIGINT and SIGTERM end the demo in order; a second SIGINT or SIGTERM ends it at once."""
    stopping = StopFlag()

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopping


def _report(accounts: Accounts, say: Say) -> int:
    for line in accounts.lines():
        say(line)
    differences = list(accounts.differences())
    for difference in differences:
        say(f"\nThe ledger does not balance: {difference}")
    if not differences:
        say("\nThe ledger balances: no reading was lost or duplicated, and every broken one is a dead letter.")
    return 1 if differences else 0


# --- the parts -------------------------------------------------------------------------------------------------------


def _require_no_tls(contract: Contract) -> None:
    secure = [server.name for server in contract.mqtt_servers.values() if server.tls]
    secure += [contract.kafka.name] if contract.kafka.tls else []
    if secure:
        raise GatewayError(
            f"The demo has no certificates, but the contract requires TLS for {', '.join(secure)}.",
            "Use a copy of the contract whose protocols are mqtt and kafka.",
        )


def _topics(contract: Contract) -> dict[str, int]:
    topics = [route.topic for s in contract.streams.values() for route in (*s.routes, s.dead_letters)]
    return {topic.name: topic.partitions or DEFAULT_PARTITIONS for topic in topics}


def _dead_letter_topics(contract: Contract) -> set[str]:
    return {stream.dead_letters.topic.name for stream in contract.streams.values()}


def _introduce(name: str, address: str, note: str, say: Say) -> None:
    say(f"  {name:<12} {address:<18} {note}")


@contextmanager
def _broker(folder: Path, say: Say) -> Iterator[int]:
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not mosquitto:
        raise GatewayError("The demo needs the Mosquitto broker.", "Run: sudo apt-get install mosquitto")
    port = _free_port()
    path = folder / "mosquitto.conf"
    path.write_text(BROKER_CONFIGURATION.format(port=port), encoding="utf-8")
    with Child("Mosquitto", [mosquitto, "-c", str(path)], folder / "mosquitto.log") as broker:
        _wait(lambda: _accepts(port), broker, "Mosquitto does not listen")
        _introduce("MQTT broker", f"127.0.0.1:{port}", f"Mosquitto, process {broker.pid}", say)
        yield port


def _pin_schema_ids(contract: Contract, folder: Path) -> None:
    routes = [route for stream in contract.streams.values() for route in stream.routes]
    subjects = dict.fromkeys(route.subject for route in routes)
    update_lock(folder / LOCK_FILE, routes, dict(zip(subjects, count(1), strict=False)))


def _settings(contract_path: Path, contract: Contract, mqtt_port: int, bootstrap: str) -> dict[str, Any]:
    """Give gateway.yaml; the address of the registry is never used."""
    servers: dict[str, Any] = {name: {"host": f"127.0.0.1:{mqtt_port}"} for name in contract.mqtt_servers}
    servers[contract.kafka.name] = {"host": bootstrap, "registry": {"url": "http://127.0.0.1:9"}}
    return {"contract": str(contract_path.resolve()), "servers": servers, "log": {"format": "json"}}


@contextmanager
def _gateway(folder: Path, settings: dict[str, Any], say: Say) -> Iterator[Child]:
    port = _free_port()
    settings |= {"spool": {"path": str(folder / "spool.db")}, "http": {"listen": f"127.0.0.1:{port}"}}
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")  # JSON is valid YAML
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    command = program.command("run", "-c", str(path))
    with Child("The gateway", command, folder / "gateway.log", program.environment(environment)) as gateway:
        _wait(lambda: _is_ready(port), gateway, "The gateway does not become ready")
        _introduce("gateway", f"127.0.0.1:{port}", f"status page and metrics over HTTP, process {gateway.pid}", say)
        yield gateway


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _wait(condition: Callable[[], bool], child: Child, problem: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while not condition():
        child.check()
        if time.monotonic() > until:
            raise GatewayError(f"{problem} within {READY_SECONDS:g} s.\n{printable(child.output[-1000:])}")
        time.sleep(0.05)


class _Sensors:
    def __init__(self, simulator: Simulator, publisher: Publisher, rate: float) -> None:
        self.stopping = threading.Event()
        self._error: GatewayError | None = None
        self._thread = threading.Thread(
            target=self._run, args=(simulator, publisher, rate), name="sensors", daemon=True
        )
        self._thread.start()

    def _run(self, simulator: Simulator, publisher: Publisher, rate: float) -> None:
        try:
            publish_all(simulator, publisher, rate=rate, stopping=self.stopping, qos=1)
            publisher.settle()
        except GatewayError as error:
            self._error = error

    def check(self) -> None:
        if self._error:
            raise self._error

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join()
        self.check()


# --- the records in Kafka --------------------------------------------------------------------------------------------


class _Show:
    """Counts every record, and shows one of each topic per second."""

    def __init__(self, decoder: Decoder, dead_letter_topics: set[str], say: Say) -> None:
        self.is_quiet = False
        self.count = Count()
        self._decoder = decoder
        self._dead_letter_topics = dead_letter_topics
        self._say = say
        self._shown_at: dict[str, float] = {}
        self._counted_at = time.monotonic()
        say("\nRecords in Kafka, one per topic and second, as topic:partition:offset, key, value:\n")

    def poll(self, consumer: TopicConsumer, seconds: float) -> bool:
        record = consumer.poll(seconds)
        if record is None:
            return False
        topic = record.topic() or ""
        if topic in self._dead_letter_topics:
            reason = dict(headers_of(record)).get("error.reason", b"")
            self.count.dead_letters[reason.decode("utf-8", "backslashreplace")] += 1
        else:
            self.count.records[topic] += 1
        if not self.is_quiet:
            self._show(topic, record, time.monotonic())
        return True

    def _show(self, topic: str, record: Message, now: float) -> None:
        if now - self._shown_at.get(topic, 0.0) >= SHOW_EVERY_SECONDS:
            self._shown_at[topic] = now
            self._say(_line(self._decoder.show(record)))
        if now - self._counted_at >= COUNT_EVERY_SECONDS:
            self._counted_at = now
            records, dead_letters = self.count.records.total(), self.count.dead_letters.total()
            self._say(f"  ... {records:,} records and {dead_letters:,} dead letters so far")


def _line(shown: ShownRecord) -> str:
    """Write a record on one line of this terminal; null members are left out."""
    place = f"{shown.topic}:{shown.partition}:{shown.offset}"
    if isinstance(shown.value, dict):
        value = {name: _short(member) for name, member in shown.value.items() if member not in (None, {})}
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = f"{shown.note} {shown.raw[:80].decode('utf-8', 'backslashreplace')}"
    line = printable(f"  {place:<26} {shown.key:<22} {text}")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else LINE_WIDTH
    return line if len(line) <= width else line[: width - 1] + "…"


def _short(member: Any) -> Any:
    """Round a float of 32 bits to the digits it has: 243.3, not 243.3000030517578."""
    if not isinstance(member, float):
        return member
    short = float(f"{member:.7g}")
    return short if ctypes.c_float(short).value == member else member


def _settle(consumer: TopicConsumer, show: _Show, publisher: Publisher) -> None:
    """Wait until Kafka has as many records as the broker acknowledged, or until no more come."""
    until = time.monotonic() + SETTLE_SECONDS
    while show.count.total < publisher.acknowledged and time.monotonic() < until:
        if show.poll(consumer, POLL_SECONDS):
            until = time.monotonic() + SETTLE_SECONDS
