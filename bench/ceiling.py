"""Contestant (a), the ceiling: ready-made records, handed to librdkafka as fast as it takes them, and nothing else.

With a rate it is the direct way to Kafka that the latency rows compare with. There are two of it: one with a report for
each record, as the library's documentation has it, and one that hands over as the gateway does (`gateway/kafka.py`),
so that nobody takes the first for all that librdkafka can do.

    python -m bench.ceiling BOOTSTRAP TOPIC [--by-runs] [--near]    commands and answers as `load_broker.py` has them

`--near` lets two requests be under way, as the gateway does where Kafka is near, instead of librdkafka's five.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from bench.load import STAMP_DIGITS, Load
from gateway.core.entry import Entry
from gateway.core.reading import Reading, Record
from gateway.kafka.distance import FAR, NEAR
from gateway.kafka.sink import DEFAULTS, FIXED, KafkaSink

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from gateway.core.reading import Headers

FRAME = b"\0\0\0\0\1"
POLL_EVERY = 512
REST_SECONDS = 0.0002
RUN = 1_024  # records handed over at once, as the gateway's quantum


class Direct:
    """A producer with the gateway's own settings.

    Args:
        bootstrap: Kafka.
        topic: gets the records.
        requests: how many may be under way.
    """

    def __init__(self, bootstrap: str, topic: str, requests: int) -> None:
        given = {"bootstrap.servers": bootstrap, "max.in.flight": requests}
        self._producer = Producer(DEFAULTS | FIXED | given)
        self._topic = topic
        self._delivered = 0
        self._load = Load()
        self._records: list[tuple[bytes, bytes, Headers]] = []

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Produce what a command says and wait for every report."""
        self._prepare(Load(**command["load"]))
        self._delivered, count, rate = 0, command["count"], command.get("rate", 0.0)
        first_at, cpu = time.monotonic(), time.process_time()
        if rate:
            self._pace(count, rate, first_at)
        else:
            self._rush(count)
        while self._delivered < count:
            self._producer.poll(0.01)
        last_at = time.monotonic()
        used = time.process_time() - cpu
        return {"seconds": last_at - first_at, "first_at": first_at, "last_at": last_at, "cpu_seconds": used}

    def _prepare(self, load: Load) -> None:
        if load != self._load or not self._records:
            made = map(load.record, range(load.cycle))
            self._records = [(key, FRAME + body, [("mqtt.topic", topic.encode())]) for key, body, topic in made]
            self._load = load

    def _rush(self, count: int) -> None:
        produce, poll, topic, cycle = self._producer.produce, self._producer.poll, self._topic, len(self._records)
        for number in range(count):
            key, value, headers = self._records[number % cycle]
            while True:
                try:
                    produce(topic, value, key, on_delivery=self._report, headers=headers)
                    break
                except BufferError:
                    poll(0.01)
            if not number % POLL_EVERY:
                poll(0)

    def _pace(self, count: int, rate: float, first_at: float) -> None:
        number = 0
        while number < count:
            due = min(count, int((time.monotonic() - first_at) * rate) + 1)
            stamp = b"%0*d" % (STAMP_DIGITS, time.monotonic_ns())
            for number in range(number, due):  # noqa: B020 - it goes on where it was
                key, value, headers = self._records[number % len(self._records)]
                value = value[:-STAMP_DIGITS] + stamp
                self._producer.produce(self._topic, value, key, on_delivery=self._report, headers=headers)
            number = due
            self._producer.poll(0)
            time.sleep(max(0.0, first_at + number / rate - time.monotonic()))

    def _report(self, error: KafkaError | None, _message: object) -> None:
        assert error is None, error
        self._delivered += 1


class ByRuns(Direct):
    """The same, handed over by the gateway's own sink; at full speed only."""

    def __init__(self, bootstrap: str, topic: str, requests: int) -> None:
        super().__init__(bootstrap, topic, requests)
        self._sink = KafkaSink({"bootstrap.servers": bootstrap, "max.in.flight": requests})
        self._entries = [Entry(Reading("", b"", b"", 0), None, 0)] * RUN

    def _rush(self, count: int) -> None:
        now = time.time_ns() // 1_000_000
        records = [Record(self._topic, key, value, headers, now) for key, value, headers in self._records]
        sink, handed = self._sink, 0
        while self._delivered < count:
            first = handed % len(records)
            wanted = min(RUN, sink.room, count - handed, len(records) - first)
            handed += wanted - len(sink.send(records[first : first + wanted], self._entries[:wanted]))
            sink.poll(0 if wanted else 0.01)
            settled, failed = sink.take_reports()
            assert not failed, failed[0]
            self._delivered += sum(map(len, settled))


def main() -> None:
    """Serve commands until there are no more."""
    bootstrap, topic, *options = sys.argv[1:]
    direct = (ByRuns if "--by-runs" in options else Direct)(bootstrap, topic, NEAR if "--near" in options else FAR)
    print(json.dumps({"port": 0}), flush=True)
    for line in sys.stdin:
        print(json.dumps(direct.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
