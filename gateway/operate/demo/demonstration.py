"""`gateway demo`: everything between a sensor and Kafka, on this machine, without Java, and nothing stays behind.

    simulator ─► Mosquitto ─► gateway ─► Kafka ─► tail
    this process   child        child     this process: librdkafka's mock cluster

Broker and gateway are the real ones, children with a configuration in a temporary folder, on loopback ports that
the kernel chose. There is no registry: the lock file holds the schema ids, as it does on a box at the edge.

At the end three countings must agree to the reading: what the brokers took from the simulator, what the gateway's
ledger says, and what Kafka was seen to hold. Records are counted as they arrive, because the mock cluster drops the
oldest beyond about 5 MB a partition.
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.mqtt.broker import Broker
from gateway.operate.demo.child import Child
from gateway.operate.demo.mock_kafka import MockCluster
from gateway.operate.simulate.publisher import Publisher, publish_all, summary
from gateway.operate.simulate.simulator import Simulator
from gateway.operate.tail.consumer import TopicConsumer
from gateway.operate.tail.decoder import Decoder, ShownRecord
from gateway.registry.lock_file import LOCK_FILE, pin
from gateway.service import program
from gateway.signals import StopFlag
from gateway.text import printable

if TYPE_CHECKING:
    from confluent_kafka import Message

    from gateway.core.model import Contract

Say = Callable[[str], None]

READY_SECONDS = 30.0
SETTLE_SECONDS = 30.0  # without a single new record
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
SHOW_EVERY_SECONDS = 1.0  # one record of each topic
COUNT_EVERY_SECONDS = 10.0
DEFAULT_PARTITIONS = 3
WIDE = 200  # characters of a line where nobody watches

BROKER_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
user {user}
log_type error
log_type warning
"""


@dataclass
class Count:
    """What was seen in Kafka.

    Args:
        records: by topic.
        dead_letters: by reason.
    """

    records: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Records and dead letters."""
        return self.records.total() + self.dead_letters.total()


def demo(  # noqa: PLR0913 - each is one option of the command
    contract_path: Path, *, seconds: float | None, rate: float, broken_share: float, seed: int, say: Say
) -> int:
    """Run the demo.

    Args:
        contract_path: asyncapi.yaml.
        seconds: how long readings are published, or None until SIGINT or SIGTERM.
        rate: readings a second.
        broken_share: from 0 to 1.
        seed: of the simulator.
        say: takes a line for people.

    Returns:
        0 when the books balance, else 1.

    Raises:
        GatewayError: when some part does not start or dies.
    """
    contract = contracts.load(contract_path)
    _check_is_plain(contract)
    stopping = _stop_on_signals()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-")))
        say("Sensors publish over MQTT, the gateway checks every reading and sends it to Kafka as Avro.")
        port = stack.enter_context(_mosquitto(folder, say))
        kafka = stack.enter_context(MockCluster(_partitions(contract)))
        say(f"  Kafka       {kafka.bootstrap:<17} librdkafka's mock cluster, in this process: no Java")
        tail = stack.enter_context(
            TopicConsumer({"bootstrap.servers": kafka.bootstrap}, [*_partitions(contract)], "beginning")
        )
        gateway = stack.enter_context(_gateway(folder, contract_path, contract, port, kafka.bootstrap, say))
        servers = contract.mqtt_servers.values()
        brokers = [Broker(server.name, "127.0.0.1", port, server.version == "5.0") for server in servers]
        publisher = stack.enter_context(Publisher(brokers))
        say(f"  simulator   {rate:g} readings a second, {broken_share:.1%} of them broken on purpose")
        show = _Show(Decoder(contract, folder / LOCK_FILE, None), _dead_letter_topics(contract), say)
        readings = Simulator(contract, seed, broken_share)
        sensors = stack.enter_context(_Sensors(readings, publisher, rate))
        _watch(tail, show, sensors, gateway, seconds, stopping)
        say("\nStopping: the sensors are silent, waiting until Kafka has everything.")
        show.is_quiet = True
        sensors.stop()
        _settle(tail, show, publisher)
        code = gateway.stop(STOP_SECONDS)
        _drain(tail, show)
        return _told(publisher, show.count, _ledger(gateway), code, say)


def _stop_on_signals() -> StopFlag:
    """Let SIGINT and SIGTERM end the demo in order; a second one ends it at once."""
    stopping = StopFlag()

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopping


# --- the parts -------------------------------------------------------------------------------------------------------


def _check_is_plain(contract: Contract) -> None:
    secure = [server.name for server in contract.mqtt_servers.values() if server.tls]
    secure += [contract.kafka.name] if contract.kafka.tls else []
    if secure:
        raise GatewayError(
            f"The demo has no certificates, and the contract wants TLS for {', '.join(secure)}.",
            "Try it with a copy of the contract whose protocols are mqtt and kafka.",
        )


def _partitions(contract: Contract) -> dict[str, int]:
    topics = [route.topic for s in contract.streams.values() for route in (*s.routes, s.dead_letters)]
    return {topic.name: topic.partitions or DEFAULT_PARTITIONS for topic in topics}


def _dead_letter_topics(contract: Contract) -> set[str]:
    return {stream.dead_letters.topic.name for stream in contract.streams.values()}


@contextmanager
def _mosquitto(folder: Path, say: Say) -> Iterator[int]:
    """Run a broker; gives its port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not program:
        raise GatewayError("The demo needs the Mosquitto broker.", "Run: sudo apt-get install mosquitto")
    port = _free_port()
    path = folder / "mosquitto.conf"
    # As root it would become user mosquitto, who may not read a temporary folder of ours.
    user = "root" if os.geteuid() == 0 else "nobody"
    path.write_text(BROKER_CONFIGURATION.format(port=port, user=user), encoding="utf-8")
    with Child("Mosquitto", [program, "-c", str(path)], folder / "mosquitto.log") as broker:
        _wait(lambda: _accepts(port), broker, "Mosquitto does not listen")
        say(f"  Mosquitto   {f'127.0.0.1:{port}':<17} the MQTT broker, process {broker.pid}")
        yield port


@contextmanager
def _gateway(  # noqa: PLR0913, PLR0917 - what it stands between
    folder: Path, contract_path: Path, contract: Contract, mqtt_port: int, bootstrap: str, say: Say
) -> Iterator[Child]:
    """Run the gateway as a user would, until it says that it is ready."""
    routes = [route for stream in contract.streams.values() for route in stream.routes]
    pin(folder / LOCK_FILE, routes, dict(zip(dict.fromkeys(route.subject for route in routes), count(1), strict=False)))
    http_port = _free_port()
    settings = {
        "contract": str(contract_path.resolve()),
        "servers": {name: {"host": f"127.0.0.1:{mqtt_port}"} for name in contract.mqtt_servers}
        | {contract.kafka.name: {"host": bootstrap, "registry": {"url": "http://127.0.0.1:9"}}},
        "spool": {"path": str(folder / "spool.db")},
        "http": {"listen": f"127.0.0.1:{http_port}"},
        "log": {"format": "json"},
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")  # JSON is YAML
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    command = program.command("run", "-c", str(path))
    with Child("The gateway", command, folder / "gateway.log", program.environment(environment)) as gateway:
        _wait(lambda: _is_ready(http_port), gateway, "The gateway does not become ready")
        say(f"  gateway     {f'127.0.0.1:{http_port}':<17} its /metrics and /readyz, process {gateway.pid}")
        yield gateway


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def _wait(condition: Callable[[], bool], child: Child, trouble: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while not condition():
        child.check()
        if time.monotonic() > until:
            raise GatewayError(f"{trouble} within {READY_SECONDS:g} s.\n{printable(child.said[-1000:])}")
        time.sleep(0.05)


class _Sensors:
    """The simulator's thread; a context manager that silences it."""

    def __init__(self, readings: Simulator, publisher: Publisher, rate: float) -> None:
        self._stopping = threading.Event()
        self._trouble: GatewayError | None = None
        self._thread = threading.Thread(target=self._run, args=(readings, publisher, rate), name="sensors", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def _run(self, readings: Simulator, publisher: Publisher, rate: float) -> None:
        try:
            publish_all(readings, publisher, rate=rate, stopping=self._stopping, qos=1)
            publisher.settle()
        except GatewayError as error:
            self._trouble = error

    def check(self) -> None:
        """Raise what has stopped them."""
        if self._trouble:
            raise self._trouble

    def stop(self) -> None:
        """Silence them and wait for the broker's acknowledgements."""
        self._stopping.set()
        self._thread.join()
        self.check()


# --- watching --------------------------------------------------------------------------------------------------------


class _Show:
    """Counts every record, and shows one of each topic a second: enough to follow, little enough to read."""

    def __init__(self, decoder: Decoder, dead_letter_topics: set[str], say: Say) -> None:
        self.is_quiet = False
        self.count = Count()
        self._decoder = decoder
        self._dead_letter_topics = dead_letter_topics
        self._say = say
        self._shown_at: dict[str, float] = {}
        self._counted_at = time.monotonic()
        say("\nWhat arrives in Kafka, one record of each topic a second: topic/partition@offset key value\n")

    def take(self, record: Message) -> None:
        """Count a record; show it when its topic has not been heard for a second."""
        topic = record.topic() or ""
        if topic in self._dead_letter_topics:
            headers = dict(record.headers() or ())
            self.count.dead_letters[_text(headers.get("error.reason"))] += 1
        else:
            self.count.records[topic] += 1
        if not self.is_quiet:
            self._show(topic, record, time.monotonic())

    def _show(self, topic: str, record: Message, now: float) -> None:
        if now - self._shown_at.get(topic, 0.0) >= SHOW_EVERY_SECONDS:
            self._shown_at[topic] = now
            self._say(_line(self._decoder.show(record)))
        if now - self._counted_at >= COUNT_EVERY_SECONDS:
            self._counted_at = now
            good, dead = self.count.records.total(), self.count.dead_letters.total()
            self._say(f"  … so far {good:,} records and {dead:,} dead letters")


def _line(shown: ShownRecord) -> str:
    """Write a record on one line of this terminal; members that are null are left out."""
    place = f"{shown.topic}/{shown.partition}@{shown.offset}"
    if isinstance(shown.value, dict):
        value = {name: _short(member) for name, member in shown.value.items() if member not in (None, {})}
        told = json.dumps(value, ensure_ascii=False)
    else:
        told = f"{shown.note} {shown.raw[:80].decode('utf-8', 'backslashreplace')}"
    line = printable(f"  {place:<26} {shown.key:<22} {told}")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    return line if len(line) <= width else line[: width - 1] + "…"


def _short(member: Any) -> Any:
    """Write a float of 32 bits with the digits it has: 243.3, not 243.3000030517578."""
    if not isinstance(member, float):
        return member
    short = float(f"{member:.7g}")
    return short if ctypes.c_float(short).value == member else member


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""


def _watch(  # noqa: PLR0913, PLR0917 - all that happens meanwhile
    tail: TopicConsumer, show: _Show, sensors: _Sensors, gateway: Child, seconds: float | None, stopping: StopFlag
) -> None:
    until = None if seconds is None else time.monotonic() + seconds
    while not stopping.is_set() and (until is None or time.monotonic() < until):
        record = tail.poll(POLL_SECONDS)
        if record is not None:  # a record with an empty value is false
            show.take(record)
        else:
            gateway.check()
        sensors.check()


def _settle(tail: TopicConsumer, show: _Show, publisher: Publisher) -> None:
    """Wait until Kafka has as many records as were published; give up when nothing comes any more."""
    until = time.monotonic() + SETTLE_SECONDS
    while show.count.total < publisher.acknowledged and time.monotonic() < until:
        if (record := tail.poll(POLL_SECONDS)) is not None:
            show.take(record)
            until = time.monotonic() + SETTLE_SECONDS


def _drain(tail: TopicConsumer, show: _Show) -> None:
    """Count what is there beyond what was expected."""
    while (record := tail.poll(1.0)) is not None:
        show.take(record)


# --- the books -------------------------------------------------------------------------------------------------------


def _ledger(gateway: Child) -> dict[str, Any]:
    """Find the last line `ledger` of the gateway's log; {} when there is none."""
    for line in reversed(gateway.said.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("message") == "ledger":
            return event
    return {}


def _told(publisher: Publisher, seen: Count, ledger: dict[str, Any], exit_code: int, say: Say) -> int:
    """Show the books and judge them."""
    broken = sum(number for (_, kind), number in publisher.sent.items() if kind)
    good = publisher.sent.total() - broken
    reasons = ", ".join(f"{reason} {number}" for reason, number in seen.dead_letters.most_common())
    say(f"\nWhat was published\n{summary(publisher.sent)}\n\nThe books, in readings")
    say(f"  published          {publisher.sent.total():>9,}  acknowledged by the broker: {publisher.acknowledged:,}")
    say(f"  received           {ledger.get('received', 0):>9,}")
    say(f"  delivered          {ledger.get('delivered', 0):>9,}  counted in Kafka: {seen.records.total():,}")
    say(f"  dead letters       {ledger.get('dead_lettered', 0):>9,}  counted in Kafka: {seen.dead_letters.total():,}")
    for name in ("in_flight", "spooled", "dropped"):
        say(f"  {name.replace('_', ' '):<18} {ledger.get(name, 0):>9,}")
    if reasons:
        say(f"  why they are dead letters: {reasons}")
    troubles = list(_troubles(publisher, seen, ledger, good, broken, exit_code))
    for trouble in troubles:
        say(f"\nThe books do not balance: {trouble}")
    if not troubles:
        say("\nThe books balance: nothing lost, nothing twice, and every broken reading is a dead letter.")
    return 1 if troubles else 0


def _troubles(  # noqa: PLR0913, PLR0917 - the countings that must agree
    publisher: Publisher, seen: Count, ledger: dict[str, Any], good: int, broken: int, exit_code: int
) -> Iterator[str]:
    if not ledger:
        yield "the gateway has written no ledger."
        return
    parts = sum(ledger.get(name, 0) for name in ("delivered", "dead_lettered", "spooled", "in_flight", "dropped"))
    if ledger["received"] != parts:
        yield f"received {ledger['received']}, but accounted for {parts}."
    if publisher.acknowledged != publisher.sent.total():
        yield f"the broker has acknowledged {publisher.acknowledged} of {publisher.sent.total()}."
    if ledger["received"] != publisher.acknowledged:
        yield f"the broker took {publisher.acknowledged}, the gateway received {ledger['received']}."
    if (ledger["delivered"], ledger["dead_lettered"]) != (seen.records.total(), seen.dead_letters.total()):
        yield "the gateway and Kafka count differently."
    if (seen.records.total(), seen.dead_letters.total()) != (good, broken):
        yield f"{good} good and {broken} broken readings were published."
    if exit_code:
        yield f"the gateway ended with exit code {exit_code}."
