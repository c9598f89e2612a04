"""A site under fault: broker, link, gateway, Kafka topics of its own, and the device that publishes and checks."""

from __future__ import annotations

import shutil
import signal
import uuid
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaException

from tests.faults.device import BATCH, Device
from tests.faults.ledger_verdict import UNCOMMITTED, compare, count_in, faults_of_books, numbers_in
from tests.faults.link import Link
from tests.stack.gateway import ROOT, Gateway
from tests.stack.mosquitto import Mosquitto
from tests.stack.reading_records import record_count
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.faults.ledger_verdict import Verdict
    from tests.stack.kafka import Kafka

TOPICS = ["machine-sensors", "door-sensors", "widget-readings", "smart-meter", "gateway-dead-letters"]
FIRST = TOPICS[0]
LETTERS = TOPICS[-1]
# Its store is written at a clean stop only: writing it after each change would make the tests measure that.
KEEPS_AT_STOP = (
    "listener 1883\nallow_anonymous true\npersistence true\nautosave_interval 0\n"
    "max_queued_messages 0\nmax_inflight_messages 0\n"
)
KEEP_ALIVE = "keepAlive: 60\n"  # as the contract's text has it for the broker that the device publishes to


class Site:
    """A context manager that starts the broker and nothing else.

    Args:
        kafka: a cluster that may be broken; what is broken must be healed by the test's fixture.
        registry: URL of a registry.
        folder: for the contract.
        configuration: of the broker.
        gateway: class of the gateway.
        servers: what differs in the `servers` section of gateway.yaml.
        edits: texts to replace in the contract.
        topic_settings: Kafka's, for the topic of machine sensors.
        rate: of the device, readings a second.
        batch: of the device, readings at once.
        producer: librdkafka properties.
        qos: of the device and of the gateway's subscription.
        listener: the one of the configuration that the gateway connects to; the device takes the first.
        files: that the configuration names.
        reach: how the gateway connects to it: what gateway.yaml says of both brokers.
        more: other sections of gateway.yaml.
    """

    def __init__(
        self,
        kafka: Kafka,
        registry: str,
        folder: Path,
        *,
        configuration: str = KEEPS_AT_STOP,
        gateway: type[Gateway] = Gateway,
        servers: Mapping[str, Any] | None = None,
        edits: Mapping[str, str] | None = None,
        topic_settings: Mapping[str, str] | None = None,
        rate: float = 500,
        batch: int = BATCH,
        producer: Mapping[str, Any] | None = None,
        qos: int = 1,
        listener: int = 1883,
        files: Mapping[str, Path] | None = None,
        reach: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._kafka = kafka
        self._suffix = uuid.uuid4().hex[:8]
        self._started = ExitStack()
        try:
            for name in TOPICS:
                settings = topic_settings if name == FIRST else None
                kafka.create_topic(self.topic(name), 3, settings=settings)
            self.broker = self._started.enter_context(Mosquitto(configuration, files))
            self.link = self._started.enter_context(Link(self.broker.port_of(listener)))
            at = {"host": f"127.0.0.1:{self.link.port}"} | dict(reach or {})
            cluster = {"host": kafka.bootstrap, "registry": {"url": registry}, "producer": dict(producer or {})}
            told: dict[str, Any] = {"factoryBroker": at, "meterBroker": at, "kafka": cluster}
            contract = self._contract(folder, {"qos: 1": f"qos: {qos}"} | dict(edits or {}))
            self._new_gateway = partial(gateway, told | dict(servers or {}), contract, **more)
            self.gateway = self.another_gateway()
            self.device = Device(self.broker.port, rate, batch, qos=qos)
            self._started.callback(self.device.__exit__)
        except BaseException:
            self._started.close()
            raise

    def another_gateway(self) -> Gateway:
        """Make a gateway with the same settings and a spool of its own; it is not started."""
        return self._started.enter_context(self._new_gateway())

    def topic(self, name: str = FIRST) -> str:
        """Tell what a topic of the shipped contract is called here."""
        return f"{name}-{self._suffix}"

    def _contract(self, folder: Path, edits: Mapping[str, str]) -> Path:
        text = (ROOT / "asyncapi.yaml").read_text()
        texts = {f"address: {name}\n": f"address: {self.topic(name)}\n" for name in TOPICS}
        for old, new in (texts | dict(edits)).items():
            assert old in text, f"the contract says {old!r}"
            text = text.replace(old, new)
        shutil.copytree(ROOT / "schemas", folder / "schemas", dirs_exist_ok=True)
        path = folder / f"asyncapi-{self._suffix}.yaml"
        path.write_text(text)
        return path

    # --- figures -------------------------------------------------------------------------------------------------

    def count(self, name: str = FIRST) -> int:
        """Count a topic's records."""
        return record_count(self._kafka.bootstrap, self.topic(name))

    def aborted(self) -> int:
        """Count the records of aborted transactions: a reader of uncommitted records sees them."""
        return count_in(self._kafka.bootstrap, self.topic(), UNCOMMITTED) - len(self.numbers())

    def numbers(self) -> list[tuple[bytes, int]]:
        """Read key and number of every record, outside our code."""
        return numbers_in(self._kafka.bootstrap, self.topic())

    def wait_for(self, metric: str, at_least: float, seconds: float = 30) -> None:
        """Wait until a metric has grown to a figure."""
        wait_for(
            lambda: self.gateway.metric(metric) >= at_least, seconds,
            lambda: f"{metric} {at_least}; it is {self.gateway.metric(metric)}\n{self.gateway.log[-2000:]}",
        )  # fmt: skip

    def terminate(self, seconds: float = 10) -> dict[str, Any]:
        """Stop the gateway as systemd does; it must end with 0 in time. Give the ledger that it prints."""
        return self.gateway.stop_and_read_ledger(seconds)

    # --- the verdict ---------------------------------------------------------------------------------------------

    def settle(self, seconds: float = 60, missing: int = 0) -> None:
        """End the device and wait until its last reading is in Kafka and the gateway holds nothing; or until too late.

        What is then missing is for the verdict to say.

        Args:
            seconds: how long to wait.
            missing: how many readings are known not to come.
        """
        self.device.finish()
        last = max(self.device.promised, default=-1)

        def is_settled() -> bool:
            held = self.gateway.metric("gateway_in_flight") + self.gateway.metric("gateway_spooled")
            if held:
                return False
            try:
                if self.count() + self.count(LETTERS) < len(self.device.promised) - missing:
                    return False
                return any(number == last for _, number in self.numbers())
            except (KafkaException, AssertionError):  # it is only just back, and does not yet know its partitions
                return False

        wait_for(is_settled, seconds, lambda: f"the last reading to settle; {self._told()}")

    def verdict(
        self,
        *,
        is_exact: bool = True,
        dropped: int | None = 0,
        excused: frozenset[int] = frozenset(),
        seconds: int = 60,
    ) -> Verdict:
        """Settle, stop the gateway, and compare.

        Args:
            is_exact: False when the gateway was killed, so that its books know less than Kafka.
            dropped: how many readings the books may name as dropped, repeats not counted; None for any number.
            excused: numbers that may be missing though they were promised.
            seconds: how long to wait for the last reading.
        """
        late = ""
        try:
            self.settle(seconds, dropped or 0)
        except AssertionError as error:
            late = f"{error}; "
        repeats = int(self.gateway.metric("gateway_dropped_total", reason="repeated"))  # those that it recognised
        ledger = self.terminate()
        ledger |= {"dropped": ledger["dropped"] - repeats}
        found = self.numbers()
        records = len(found) + count_in(self._kafka.bootstrap, self.topic(LETTERS))
        books = late + faults_of_books(ledger, records if is_exact else None, dropped)
        return compare(found, self.device.promised.keys() - excused, self.device.possible | excused, books)

    def _told(self) -> str:
        page = self.gateway.metrics()
        figures = [line for line in page.splitlines() if line.startswith("gateway_") and not line.endswith(" 0.0")]
        return "\n".join(figures) + self.gateway.log[-3000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()


def exit_code(gateway: Gateway, seconds: float = 15) -> int:
    """Wait until a gateway has ended by itself and tell its exit code."""
    process = gateway._process  # noqa: SLF001 - it belongs to the tests' own stack
    assert process, "it was started"
    return process.wait(seconds)


def is_gone(gateway: Gateway) -> int | None:
    """Tell the exit code of a gateway that ended by itself, or None."""
    process = gateway._process  # noqa: SLF001 - as above
    return process.poll() if process else -signal.SIGKILL
