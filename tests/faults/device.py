"""The test's own side of the ledger: a device that publishes numbered readings, and remembers what it was promised.

A number that the broker acknowledged is promised. A batch that broke off is never sent again: its numbers are possible,
they may have got through or not. Numbers rise, and each machine has its share, so order can be checked per machine.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable

MACHINES = 5
BATCH = 10
RECONNECT_SECONDS = 0.05


class Device(threading.Thread):
    """Publishes from `with` until `finish`, whatever becomes of the broker.

    Args:
        port: of the broker.
        rate: readings a second, unless the broker is slower.
        batch: readings published at once.
        machines: that share the readings.
        qos: of the readings.
    """

    def __init__(
        self, port: int, rate: float = 500, batch: int = BATCH, machines: int = MACHINES, qos: int = 1
    ) -> None:
        super().__init__(name="device", daemon=True)
        self.promised: dict[int, float] = {}  # number -> when it was acknowledged, monotonic seconds
        self.possible: set[int] = set()
        self._port = port
        self._rate = rate
        self._batch = batch
        self._machines = machines
        self._qos = qos
        self._next = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Publish until told to stop."""
        while not self._stopping.is_set():
            try:
                with Publisher(self._port) as publisher:
                    self._publish_through(publisher)
            except OSError:
                self._stopping.wait(RECONNECT_SECONDS)

    def publish(self, count: int) -> None:
        """Publish so many readings at once, from the caller's thread; for a device that is not started."""
        with Publisher(self._port) as publisher:
            self._publish(publisher, range(self._next, self._next + count))

    def wait_for_more(self, count: int, seconds: float = 30) -> None:
        """Wait until so many more readings are acknowledged."""
        wanted = len(self.promised) + count
        wait_for(lambda: len(self.promised) >= wanted, seconds, f"{count} more readings to be published")

    def finish(self) -> None:
        """Publish no more."""
        self._stopping.set()
        if self.ident:
            self.join(60)
            assert not self.is_alive(), "the device is stuck: does the broker answer?"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def _publish_through(self, publisher: Publisher) -> None:
        while not self._stopping.is_set():
            due = time.monotonic() + self._batch / self._rate
            self._publish(publisher, range(self._next, self._next + self._batch))
            self._stopping.wait(max(0, due - time.monotonic()))

    def _publish(self, publisher: Publisher, numbers: range) -> None:
        self._next = numbers.stop
        self.possible.update(numbers)
        publisher.publish((message(number, self._machines) for number in numbers), self._qos)
        self.promised |= dict.fromkeys(numbers, time.monotonic())
        self.possible.difference_update(numbers)


def message(number: int, machines: int = MACHINES) -> tuple[str, bytes]:
    """Write a reading: its topic, and a payload that tells its number."""
    return f"factory/machine-{number % machines}/s", b'{"value":1,"units":"%08d"}' % number


def publish_bad(port: int, count: int) -> None:
    """Publish readings that no schema lets pass, in a stream of the device's."""
    with Publisher(port) as publisher:
        publisher.publish([("factory/machine-0/s", b'{"value":"hot","units":"C"}')] * count)


def messages(numbers: Iterable[int]) -> list[tuple[str, bytes]]:
    """Write several readings."""
    return [message(number) for number in numbers]
