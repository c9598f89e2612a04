"""The loop with a real sink: order, dead letters, acknowledgements and books, through all failures of Kafka.

The MQTT end is a source whose readings the test publishes; the real one has its own tests. It is a socket pair, so that
the loop sleeps and wakes as with a broker.
"""

from __future__ import annotations

import json
import random
import socket
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from gateway.bridge.bridge import LONGEST_WAIT_SECONDS, Bridge, Rules
from gateway.bridge.pacing import QUANTUM, Pacing, Turn, Wait
from gateway.core.counters import CounterMonitor
from gateway.core.dead_letter import CUT_TO
from gateway.core.entry import Batch, Entry
from gateway.core.gateway_clock import GatewayClock
from gateway.core.ledger import Ledger
from gateway.core.reading import Reading, Reason
from gateway.core.retained import RetainedMessages
from gateway.core.sequence import SequenceMonitor
from gateway.core.session import Session
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED
from gateway.core.transform import Transform
from gateway.kafka.sink import KafkaSink
from gateway.mqtt.source import Link, MqttSource
from gateway.spool.file import SpoolFile
from gateway.spool.spool import Policy, Spool
from tests.contract_values import record, several, stream
from tests.stack.mock_kafka import PRODUCE, MockCluster
from tests.stack.reading_records import StoredRecord, record_count, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from gateway.core.model import Stream
    from gateway.mqtt.routing import Routing
    from tests.conftest import NewTopic
    from tests.stack.kafka import Kafka

LIMIT = 900_000
PACING = Pacing()
READING = record(("key", "string"), ("number", "int"), {"name": "text", "type": "string", "default": ""})
COUNTING = record(("key", "string"), {"name": "number", "type": "int", "x-counter": {}}, READING["fields"][2])
# Kafka's protocol error codes: some that librdkafka outlasts, some that end a batch, one that ends the producer.
PASSING, FINAL, FATAL = (6, 19, 20), (-1, 29), 45
INVALID_TIMESTAMP = 32
IGNORED = frozenset({"ignoreLights"})
TIGHT = {"max.message.bytes": "2000"}  # of a topic


class ScriptedSource:
    """What the bridge needs of a source; its readings are those that the test publishes."""

    def __init__(self, name: str = "broker") -> None:
        self.name = name
        self.link, self.is_down = Link.UP, False
        self.detail = ""
        self.denied: list[str] = []
        self.connects = 1
        self.sessions_lost = 0
        self.session = Session()
        self.session_key = f"gateway@{name}"
        self.on_session: Callable[[bool], None] = lambda _is_present: None
        self.wants_write = self.has_buffered_data = False
        self.published: list[int] = []
        self.acknowledged: list[int] = []
        self.flushed = 0  # of the acknowledged, how many have been sent
        self.is_reading = True
        self.routings: list[Routing] = []
        self.has_former_filters = False
        self.wait_seconds = 0.05  # so that a test's condition is looked at often
        self._arrived = Batch()
        self._here, self._there = socket.socketpair()

    @property
    def fileno(self) -> int:
        """Readable while there are readings."""
        return self._here.fileno()

    @property
    def is_read(self) -> bool:
        """True when the bridge has taken all that was published."""
        return not self._arrived

    @property
    def next_action_seconds(self) -> float:
        """When the loop must come back."""
        return time.monotonic() + self.wait_seconds

    @property
    def acknowledge(self) -> Callable[[Iterable[Entry]], None]:
        """The source is its own connection."""
        return lambda entries: self.acknowledged.extend(entry.packet_id for entry in entries)

    def publish(
        self,
        stream_name: str,
        payload: bytes,
        *,
        qos: int = 1,
        dup: bool = False,
        retain: bool = False,
        topic: bytes = b"",
        age: int = 0,
        packet_id: int = 0,
    ) -> None:
        """Let a reading arrive, so many milliseconds ago; with the packet id of an earlier one when it comes again."""
        packet_id = packet_id or (len(self.published) + 1 if qos else 0)
        if qos:
            self.published.append(packet_id)
        now = time.time_ns() // 1_000_000 - age
        reading = Reading(stream_name, topic or f"lab/{stream_name}".encode(), payload, now, qos, retain, dup)
        self._arrived.add(Entry(reading, self, packet_id))
        if len(self._arrived) == 1:
            self._there.send(b"!")

    def read(self) -> Batch:
        """Give what has arrived."""
        if self._arrived:
            self._here.recv(1)
        arrived, self._arrived = self._arrived, Batch()
        return arrived

    def maintain(self, _now: float, *, is_reading: bool) -> None:
        """Note whether the bridge reads."""
        self.is_reading = is_reading

    def flush(self) -> None:
        """Send acknowledgements."""
        self.flushed = len(self.acknowledged)

    def change(self, routing: Routing) -> None:
        """Note what is subscribed from now on."""
        self.routings.append(routing)

    def close(self, _timeout_seconds: float = 0) -> None:
        """Close the sockets."""
        self._here.close()
        self._there.close()


class Plant:
    """A bridge with all its parts, between a scripted source and a Kafka.

    Args:
        bootstrap: of Kafka.
        streams: names of streams, each its own Kafka topic.
        dead_letters: Kafka topic.
        memory: bytes.
        file: of the spool; everything goes to it at once.
        with_ids: False when no schema id is known yet.
        sequence: pointer to the number that counts, for all streams.
        counts: True when the number must not fall.
        pacing: how long the loop waits.
        clock: that dates the readings.
        producer: librdkafka's properties.
    """

    def __init__(
        self,
        bootstrap: str,
        streams: Sequence[str],
        dead_letters: str,
        *,
        memory: int = 2**25,
        file: SpoolFile | None = None,
        with_ids: bool = True,
        sequence: str | None = None,
        counts: bool = False,
        pacing: Pacing = PACING,
        clock: GatewayClock | None = None,
        **producer: Any,
    ) -> None:
        quick = {"topic.metadata.propagation.max.ms": 200, "linger.ms": 0, "batch.num.messages": 20}
        given = {name.replace("_", "."): value for name, value in producer.items()}
        self.sink = KafkaSink({"bootstrap.servers": bootstrap, "compression.type": "none"} | quick | given)
        topics = dict.fromkeys([*streams, UNMAPPED], dead_letters)
        self.ledger = Ledger([*topics, *IGNORED])
        self.spool = Spool(Policy(memory, after_seconds=0), self.ledger, file)
        self.source = ScriptedSource()
        sources = [cast("MqttSource", self.source)]  # it has all that the bridge uses
        counters = {name: self.ledger.books[name].continuity for name in streams if sequence}
        monitors = {name: SequenceMonitor(counter, None, is_numbered=True) for name, counter in counters.items()}
        retained = RetainedMessages("once")
        clock = clock or GatewayClock()
        self._schema = COUNTING if counts else READING
        monitored = {
            name: CounterMonitor(self._stream(name), self.ledger.books[name].counters) for name in streams if counts
        }
        rules = Rules(topics, LIMIT, retained, monitors, pacing, ignored=IGNORED, clock=clock, counters=monitored)
        self.bridge = Bridge(sources, self.spool, self.sink, self.ledger, rules)
        self._streams = streams
        self._sequence = sequence
        if with_ids:
            self.find_ids()

    def find_ids(self) -> None:
        """Give each stream its transform, as the service does when it has the schema id."""
        for name in self._streams:
            made = replace(self._stream(name), sequence=self._sequence)
            self.bridge.new_transforms.put((name, Transform(made, 1, LIMIT)))

    def _stream(self, name: str) -> Stream:
        return stream(name, self._schema, address=f"lab/{name}", keys=("/key",))

    def turn_until(self, condition: Callable[[], object], what: str, seconds: float = 40) -> None:
        """Turn the loop until a condition holds; acknowledgements are looked at in each turn."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited {seconds} s for {what}: {self.ledger.totals()}, {self.blocked_reason}"
            )
            self.bridge.run_once()
            self.check()

    def settle(self) -> None:
        """Turn until everything that was published is settled; with memory full it is not even read at once."""
        self.bridge.run_once()
        self.turn_until(lambda: self.source.is_read and self.bridge.is_idle, "all readings to be settled")
        assert self.ledger.totals()["in_flight"] == 0
        assert self.source.acknowledged == self.source.published
        assert self.source.flushed == len(self.source.acknowledged)

    def check(self) -> None:
        """See that the books balance, and that acknowledgements are a prefix of what arrived, in its order."""
        totals = self.ledger.totals()
        assert totals["balanced"], totals
        assert totals["in_flight"] + totals["spooled"] == len(self.spool.unsettled()), totals
        assert self.source.acknowledged == self.source.published[: len(self.source.acknowledged)]

    @property
    def blocked_reason(self) -> dict[str, str]:
        """What the lanes wait for."""
        return {lane.name: lane.blocked_reason for lane in self.bridge.all_lanes() if lane.blocked_reason}

    def figures(self, name: str) -> tuple[int, dict[Reason, int], dict[str, int]]:
        """Give a stream's delivered, dead-lettered and dropped readings."""
        books = self.ledger.books[name]
        return books.delivered, dict(books.dead_lettered), dict(books.dropped)

    def close(self) -> None:
        """Close the ends."""
        self.source.close()
        self.sink.close(0.1)


class Noted(NamedTuple):
    """A wait of the loop."""

    turn: Turn
    now: float
    wait: Wait


@dataclass(frozen=True)
class NotedPacing(Pacing):
    """Decides as always, and notes each decision: it is the same however loaded the machine is."""

    noted: list[Noted] = field(default_factory=list)

    def wait(self, turn: Turn, now: float) -> Wait:
        """Compute the waits before the next turn."""
        self.noted.append(Noted(turn, now, super().wait(turn, now)))
        return self.noted[-1].wait


def payload(number: int, key: str = "k", text: str = "") -> bytes:
    return json.dumps({"key": key, "number": number, "text": text}).encode()


def number_in(value: bytes | None) -> int:
    """Read the number of a record's value: five bytes of framing, the key, then a zigzag varint."""
    assert value is not None
    assert value[0] == 0
    at = 6 + value[5] // 2
    shift = zigzag = 0
    while True:
        zigzag |= (value[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if value[at - 1] < 0x80:
            return zigzag >> 1


def numbers_by_key(stored: list[StoredRecord]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for one in stored:
        found[(one.key or b"").decode()].append(number_in(one.value))
    return found


@pytest.fixture
def plants() -> Iterator[Callable[..., Plant]]:
    """Make plants that end with the test."""
    made: list[Plant] = []

    def make(*arguments: Any, **more: Any) -> Plant:
        made.append(Plant(*arguments, **more))
        return made[-1]

    yield make
    for plant in made:
        plant.close()


def test_turn_moves_readings_and_acknowledges_them(kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]) -> None:
    """Readings are records, in order per key; each QoS 1 reading is acknowledged once, QoS 0 never."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    for number in range(1_000):
        plant.source.publish(name, payload(number, f"k{number % 10}"), qos=number % 2)
    plant.settle()
    found = numbers_by_key(records(kafka.bootstrap, name, 1_000))
    assert found == {f"k{key}": list(range(key, 1_000, 10)) for key in range(10)}
    assert len(plant.source.acknowledged) == 500
    assert plant.figures(name) == (1_000, {}, {})


def test_turn_lets_lanes_with_few_readings_wait_while_much_is_under_way(
    away_kafka: Kafka, plants: Callable[..., Plant]
) -> None:
    """Few readings of a lane are sent together once they fill a request, or after some time, whatever Kafka does."""
    names = [f"line{number}" for number in range(PACING.many_lanes + 1)]
    for name in [*names, "dead-lines"]:
        away_kafka.create_topic(name)
    plant = plants(away_kafka.bootstrap, names, "dead-lines", memory=2**27, pacing=Pacing(gather_seconds=3.0))
    lanes = [plant.bridge.lanes[name] for name in names]
    counts: Counter[str] = Counter()

    def publish(count: int, to: list[str]) -> None:
        for name in to:
            for _ in range(count):
                plant.source.publish(name, payload(counts[name]))
                counts[name] += 1
        plant.bridge.run_once()

    publish(1, names)
    plant.settle()
    away_kafka.freeze()
    publish(PACING.many_readings // PACING.many_lanes, names)
    assert not any(each.waiting for each in lanes), "nothing was under way"
    publish(1, names)
    assert [len(each.waiting) for each in lanes] == [1] * len(lanes)
    publish(PACING.full_request - 1, names[:1])
    assert [len(each.waiting) for each in lanes] == [0] + [1] * (len(lanes) - 1)
    plant.turn_until(lambda: not any(each.waiting for each in lanes), "the waiting to end")
    away_kafka.thaw()
    plant.settle()
    for name in names:
        assert numbers_by_key(records(away_kafka.bootstrap, name, counts[name])) == {"k": list(range(counts[name]))}


@pytest.mark.parametrize(
    ("streams", "readings"),
    [(PACING.many_lanes, PACING.many_readings // 2), (PACING.many_lanes + 1, 1)],
    ids=["few lanes", "few readings"],
)
def test_turn_lets_no_lane_wait_while_lanes_or_readings_are_few(
    kafka: Kafka,
    topic: NewTopic,
    plants: Callable[..., Plant],
    streams: int,
    readings: int,
) -> None:
    names, dead = [topic(f"line{number}", 1) for number in range(streams)], topic("dead", 1)
    patient = Pacing(full_request=1_000_000, gather_seconds=60.0)
    plant = plants(kafka.bootstrap, names, dead, memory=2**27, pacing=patient)
    for _ in range(2):
        for name in names:
            for number in range(readings):
                plant.source.publish(name, payload(number))
        plant.bridge.run_once()
        assert not any(plant.bridge.lanes[name].waiting for name in names)
    plant.settle()


def test_turn_counts_what_the_broker_sent_before(kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]) -> None:
    """A reading marked DUP is delivered like any other, and counted."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    for number in range(10):
        plant.source.publish(name, payload(number), dup=number < 3)
    plant.settle()
    assert plant.ledger.books[name].repeated == 3
    assert plant.figures(name) == (10, {}, {})


def test_turn_counts_missing_and_repeated_numbers(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the contract names a number that counts; a dead letter leaves a gap, and nothing is dropped for it."""
    name, dead_letters = topic(), topic("dead-letters")
    plant = plants(kafka.bootstrap, [name], dead_letters, sequence="/number")
    for number in (1, 2, 3, 6, 6):
        plant.source.publish(name, payload(number))
    plant.source.publish(name, b'{"key":"k","number":7,"text":5}')
    plant.source.publish(name, payload(8, key="k\n"))
    plant.source.publish(name, payload(8))
    plant.settle()
    plant.turn_until(lambda: "Sequence numbers of a key are" in caplog.text, "the line in the log")
    books = plant.ledger.books[name]
    assert (books.delivered, books.dead_lettered.total(), books.dropped.total()) == (7, 1, 0)
    assert +books.continuity == {"gaps": 2, "missing": 3, "repeated": 1}
    (said,) = [vars(line) for line in caplog.records if "Sequence numbers" in line.getMessage()]
    assert (said["stream"], said["key"], said["detail"]) == (name, b"k", "number 8 arrived after 6")


def test_turn_books_retained_messages_that_repeat_and_acknowledges_them_in_their_place(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """A retained duplicate is dropped, and acknowledged only after the reading that it repeats is safe."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, with_ids=False)
    for number in (0, 0, 1, 1):
        plant.source.publish(name, payload(number), retain=True)
    plant.turn_until(lambda: plant.figures(name) == (0, {}, {"retained": 2}), "the duplicates to be booked")
    assert plant.source.acknowledged == []
    plant.find_ids()
    plant.settle()
    assert plant.figures(name) == (2, {}, {"retained": 2})


def test_turn_recognises_what_the_broker_sends_again(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """Over a new connection of the session: stored once, acknowledged only when it is safe, and counted."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, with_ids=False)
    for number in (1, 2, 3):
        plant.source.publish(name, payload(number))
    plant.turn_until(lambda: plant.source.is_read, "the messages to be read")
    plant.source.on_session(True)  # noqa: FBT003 - as the source calls it
    for number in (1, 2, 3):
        plant.source.publish(name, payload(number), dup=True, packet_id=number)
    plant.source.publish(name, payload(4), dup=True)
    plant.source.publish(name, payload(1), dup=True, packet_id=1)
    plant.turn_until(lambda: plant.source.is_read, "the messages to be read")
    assert plant.source.acknowledged == []
    plant.find_ids()
    plant.settle()
    assert numbers_by_key(records(kafka.bootstrap, name, 5)) == {"k": [1, 2, 3, 4, 1]}
    assert plant.figures(name) == (5, {}, {"repeated": 3})
    assert plant.ledger.books[name].repeated == 5


def test_turn_recognises_a_qos_2_message_by_its_packet_id(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """When the client returns, until it is released; also when no stream wants it."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    plant.source.session.uses_qos_2 = True
    for stream_name in (name, NOT_ADDRESSED):
        plant.source.publish(stream_name, payload(1), qos=2)
        plant.settle()
        plant.source.session.resume([], 0)
        plant.source.publish(stream_name, payload(1), qos=2, packet_id=len(plant.source.published))
    plant.settle()
    assert plant.figures(name) == (1, {}, {"repeated": 1})
    assert plant.figures(UNMAPPED) == (0, {}, {"not_addressed": 1, "repeated": 1})
    plant.source.session.released.append(1)
    plant.bridge.run_once()
    plant.source.publish(name, payload(3), qos=2, packet_id=1)
    plant.settle()
    assert plant.figures(name) == (2, {}, {"repeated": 1})


def test_turn_drops_and_acknowledges_what_is_not_wanted_while_kafka_is_away(plants: Callable[..., Plant]) -> None:
    """Messages to ignore, and those that no address has, wait for nothing, and take no memory behind a reading."""
    plant = plants("127.0.0.1:1", ["sensors"], "dead", memory=100_000)
    for number in range(100):
        plant.source.publish("ignoreLights", 50_000 * b"x", dup=number < 3)
        plant.source.publish(NOT_ADDRESSED, 50_000 * b"x", qos=number % 2)
    plant.turn_until(lambda: plant.source.acknowledged == plant.source.published, "the acknowledgements")
    assert len(plant.source.published) == 150
    assert plant.figures("ignoreLights") == (0, {}, {"ignored": 100})
    assert plant.figures(UNMAPPED) == (0, {}, {"not_addressed": 100})
    assert plant.ledger.books["ignoreLights"].repeated == 3
    plant.source.publish("sensors", payload(1))
    for _ in range(100):
        plant.source.publish("ignoreLights", 50_000 * b"x")
        plant.source.publish(NOT_ADDRESSED, 50_000 * b"x", qos=0)
    plant.turn_until(lambda: plant.figures("ignoreLights")[2] == {"ignored": 200}, "all to be dropped")
    assert len(plant.source.acknowledged) == 150
    assert plant.spool.has_room


def test_turn_sends_bad_readings_to_the_dead_letters(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """What does not fit is a dead letter with its bytes and reason, unmapped topics too; neighbours pass."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    plant.source.publish(name, payload(1))
    plant.source.publish(name, b"ON")
    plant.source.publish(UNMAPPED, b"\xff", topic=b"stranger/\xff")
    plant.source.publish(name, payload(2))
    plant.settle()
    dead_letters = {
        (
            dead_letter.key,
            dead_letter.value,
            dict(dead_letter.headers)["error.reason"],
            dict(dead_letter.headers)["error.operation"],
        )
        for dead_letter in records(kafka.bootstrap, dead, 2)
    }
    assert dead_letters == {
        (f"lab/{name}".encode(), b"ON", b"not_json", name.encode()),
        (b"stranger/\xff", b"\xff", b"unmapped_topic", b"unmapped"),
    }
    assert numbers_by_key(records(kafka.bootstrap, name, 2)) == {"k": [1, 2]}
    assert plant.figures(UNMAPPED) == (0, {Reason.UNMAPPED_TOPIC: 1}, {})


def test_turn_sends_each_message_to_its_topic_and_drops_the_ignored(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """One lane has the records of both topics, in order per key; all are acknowledged, and the books balance."""
    name, other, dead = topic("sensors", 1), topic("others", 3), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, with_ids=False)
    noted = {"type": "object", "required": ["kind"]}
    messages = {
        each: replace(
            stream(where, record(*READING["fields"], {"name": "kind", "type": "string", "default": ""}),
                   address=f"lab/{name}", keys=("/key",)),
            payload_schema={**noted, "properties": {"kind": {"const": each}}},
        )
        for each, where in (("first", name), ("second", other))
    }  # fmt: skip
    made = several(**messages, log={**noted, "properties": {"kind": {"const": "log"}}})
    plant.bridge.new_transforms.put((name, transform_of(made, [1, 1], LIMIT)))
    kinds = ["first", "second", "log", "unheard of"]
    for number in range(400):
        plant.source.publish(
            name, payload(number, f"k{number % 5}")[:-1] + b', "kind": "%s"}' % kinds[number % 4].encode()
        )
    plant.settle()
    for where, first in ((name, 0), (other, 1)):
        numbers = numbers_by_key(records(kafka.bootstrap, where, 100))
        assert sorted(number for each in numbers.values() for number in each) == list(range(first, 400, 4))
        assert all(each == sorted(each) for each in numbers.values())
    assert plant.figures(name) == (200, {Reason.NO_MESSAGE: 100}, {"ignored": 100})


def test_turn_moves_arrays_of_many_readings(kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]) -> None:
    """More records than librdkafka's queue holds: in order, none twice, and a bad one takes no good ones with it."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, with_ids=False, queue_buffering_max_messages=7_000)
    made = replace(stream(name, READING, address=f"lab/{name}", keys=("/key",)), is_array=True)
    plant.bridge.new_transforms.put((name, transform_of(made, [1], LIMIT)))
    for first in range(0, 30_000, 3_000):
        plant.source.publish(name, b"[" + b",".join(map(payload, range(first, first + 3_000))) + b"]")
        plant.source.publish(name, b"[" + payload(first) + b",5]")
    plant.settle()
    assert numbers_by_key(records(kafka.bootstrap, name, 30_000)) == {"k": list(range(30_000))}
    assert plant.figures(name) == (10, {Reason.WRONG_TYPE: 10}, {})


def test_turn_keeps_the_order_when_a_topic_is_created_late(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """A missing topic holds up its own stream only; once it is there its readings follow, in order per key."""
    name, other, dead = f"late-{uuid.uuid4().hex[:8]}", topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name, other], dead)
    for number in range(300):
        plant.source.publish(name, payload(number, f"k{number % 3}"))
        plant.source.publish(other, payload(number))
    plant.turn_until(
        lambda: plant.figures(other)[0] == 300 and plant.blocked_reason, "the other stream, and a complaint"
    )
    assert set(plant.blocked_reason) == {name}
    assert "gateway topics apply" in plant.blocked_reason[name]
    assert plant.source.acknowledged == []
    for number in range(300, 400):
        plant.source.publish(name, payload(number, f"k{number % 3}"))
    plant.bridge.run_once()
    kafka.create_topic(name, 2)
    plant.settle()
    assert plant.blocked_reason == {}
    assert numbers_by_key(records(kafka.bootstrap, name, 400)) == {
        f"k{key}": list(range(key, 400, 3)) for key in range(3)
    }


def test_turn_sends_good_readings_while_the_dead_letter_topic_is_missing(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """Bad readings wait for their topic, good ones flow; acknowledgements wait at the first bad one."""
    name, dead = topic("sensors", 1), f"dead-{uuid.uuid4().hex[:8]}"
    plant = plants(kafka.bootstrap, [name], dead)
    for number in range(100):
        plant.source.publish(name, b"bad" if number % 10 == 5 else payload(number))
    plant.turn_until(
        lambda: plant.figures(name)[0] == 90 and plant.blocked_reason, "the good readings, and a complaint"
    )
    assert set(plant.blocked_reason) == {dead}
    assert plant.source.acknowledged == [1, 2, 3, 4, 5]
    kafka.create_topic(dead)
    plant.settle()
    assert plant.figures(name) == (90, {Reason.NOT_JSON: 10}, {})
    assert record_count(kafka.bootstrap, dead) == 10


def test_turn_waits_for_a_schema_id(kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]) -> None:
    """Readings of a stream without schema id wait; they are no dead letters, and nothing is acknowledged."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, with_ids=False)
    for number in range(50):
        plant.source.publish(name, payload(number) if number else b"bad")
    for _ in range(5):
        plant.bridge.run_once()
        plant.check()
    assert (plant.ledger.totals()["in_flight"], plant.source.acknowledged) == (50, [])
    plant.find_ids()
    plant.settle()
    assert numbers_by_key(records(kafka.bootstrap, name, 49)) == {"k": list(range(1, 50))}


# --- refused records -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad_places", [{0}, {3, 4, 5}, {19, 20, 199}])
def test_turn_turns_a_refused_record_into_a_dead_letter(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant], bad_places: set[int]
) -> None:
    """Kafka refuses single records of a stream: they are dead letters; their neighbours arrive once and in order."""
    name, dead = topic("sensors", 1, TIGHT), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    for number in range(200):
        plant.source.publish(name, payload(number, text="x" * 5_000 if number in bad_places else ""))
    plant.settle()
    assert plant.figures(name) == (200 - len(bad_places), {Reason.REFUSED: len(bad_places)}, {})
    good = [number for number in range(200) if number not in bad_places]
    assert numbers_by_key(records(kafka.bootstrap, name, len(good))) == {"k": good}
    assert record_count(kafka.bootstrap, name) == len(good)
    dead_letters = records(kafka.bootstrap, dead, len(bad_places))
    assert sorted(json.loads(dead_letter.value or b"")["number"] for dead_letter in dead_letters) == sorted(bad_places)
    assert {dict(dead_letter.headers)["error.reason"] for dead_letter in dead_letters} == {b"refused"}


def test_turn_sends_neighbours_of_a_refused_record_again_only_once(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """One report covers a whole run until Kafka refuses a record; from then on each record has its own."""
    name, dead = topic("sensors", 1, TIGHT), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    repeats = []
    for first in range(0, 600, 200):
        for number in range(first, first + 200):
            plant.source.publish(name, payload(number, text="x" * 5_000 if number in {300, 500} else ""))
        plant.settle()
        repeats.append(record_count(kafka.bootstrap, name))
    good = [number for number in range(600) if number not in {300, 500}]
    assert plant.figures(name) == (598, {Reason.REFUSED: 2}, {})
    stored = numbers_by_key(records(kafka.bootstrap, name, repeats[-1]))["k"]
    assert list(dict.fromkeys(stored)) == good
    assert [number for number in stored if number >= 400] == [number for number in good if number >= 400]
    assert repeats[0] == 200


def test_turns_keep_a_distance_that_grows_with_what_is_in_flight(
    away_kafka: Kafka, plants: Callable[..., Plant]
) -> None:
    """No distance while few are in flight, and less after a turn that read enough for a request."""
    pacing = replace(
        NotedPacing(linger_seconds=0.0), distance_seconds=0.005, longest_distance_seconds=0.4, full_distance_seconds=0.1
    )
    for name in ("distant", "dead-distant"):
        away_kafka.create_topic(name)
    plant = plants(away_kafka.bootstrap, ["distant"], "dead-distant", pacing=pacing)

    def turn(count: int) -> None:
        for _ in range(count):
            plant.source.publish("distant", payload(len(plant.source.published)))
        plant.bridge.run_once()
        assert plant.bridge.turned_at >= pacing.noted[-1].wait.pause_until

    def keeps(distance: Callable[[int], float], first: int) -> bool:
        for count in (first, first, first, 1):
            turn(count)
        return all(
            each.wait.pause_until == max(each.now, each.turn.began_at + distance(each.turn.in_flight))
            for each in pacing.noted[-3:]
        )

    turn(1)
    plant.settle()
    away_kafka.freeze()
    assert keeps(lambda _: 0.0, 6)
    turn(15)
    assert keeps(lambda in_flight: in_flight * 0.005, 1)
    turn(PACING.full_request - 1)
    assert keeps(lambda _: 0.4, PACING.full_request - 1)
    assert keeps(lambda _: 0.1, PACING.full_request)
    assert plant.sink.in_flight == len(plant.source.published) - 1
    away_kafka.thaw()
    plant.settle()


def test_turn_lingers_while_readings_are_in_flight(kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]) -> None:
    """A single reading is sent at once; readings that arrive while it is in flight wait for others."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    pacing = NotedPacing(linger_seconds=0.08)
    plant = plants(kafka.bootstrap, [name], dead, pacing=pacing)
    deadline = time.monotonic() + 40
    together: list[float] = []
    while len(together) < 5:
        assert time.monotonic() < deadline, "Kafka answers before the turn that sends is over, again and again"
        plant.source.publish(name, payload(len(plant.source.published)))
        plant.bridge.run_once()
        alone = pacing.noted[-1]
        assert alone.wait == (alone.now, alone.now, alone.turn.work_at), "the reading itself ends the wait"
        sent_at, is_in_flight = plant.bridge.turned_at, plant.sink.in_flight
        plant.bridge.run_once()
        if is_in_flight:
            together.append(plant.bridge.turned_at - sent_at)
        plant.settle()
    assert min(together) >= 0.08


def test_turn_lingers_not_while_there_is_more_to_send(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """What waits in memory or on disk goes at full speed: it has others already to go with."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    pacing = NotedPacing(linger_seconds=0.08)
    plant = plants(kafka.bootstrap, [name], dead, pacing=pacing)
    for number in range(5 * QUANTUM):
        plant.source.publish(name, payload(number))
    plant.bridge.run_once()
    plant.bridge.run_once()  # after one that read so many that the brokers may have more
    pacing.noted.clear()
    while plant.bridge.lanes[name].waiting:
        plant.bridge.run_once()
    for turn, now, wait in pacing.noted:
        assert wait.pause_until <= max(now, turn.began_at + pacing.longest_distance_seconds)
    plant.settle()


def test_a_linger_delays_the_loop_a_tenth_of_a_second_at_most(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """Acknowledgements, keep-alive and a stop do not wait for minutes, whatever Kafka's clients allow."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, pacing=Pacing(linger_seconds=20.0))
    plant.source.publish(name, payload(0))
    plant.bridge.run_once()
    sent_at = plant.bridge.turned_at
    plant.bridge.run_once()
    assert plant.bridge.turned_at - sent_at < 10
    plant.settle()


def test_turn_rejects_a_record_only_when_it_was_sent_alone(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """A record under suspicion shares no batch with those that arrive meanwhile: one of them may be the culprit."""
    name, dead = topic("sensors", 1, TIGHT), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, linger_ms=50)

    def publish(numbers: range) -> None:
        for number in numbers:
            plant.source.publish(name, payload(number, text="x" * 5_000 if number in {0, 3} else ""))

    publish(range(3))
    plant.turn_until(lambda: plant.blocked_reason, "a refused batch")
    publish(range(3, 6))
    plant.settle()
    assert plant.figures(name) == (4, {Reason.REFUSED: 2}, {})
    assert numbers_by_key(records(kafka.bootstrap, name, 4)) == {"k": [1, 2, 4, 5]}


def test_turn_refuses_a_record_above_the_clients_limit(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """A record that is refused on the spot does not disturb the order of the others."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, message_max_bytes=2_000)
    for number in range(100):
        plant.source.publish(name, payload(number, text="x" * 1_990 if number % 10 == 3 else ""))
    plant.settle()
    assert numbers_by_key(records(kafka.bootstrap, name, 90)) == {"k": [n for n in range(100) if n % 10 != 3]}
    # The dead letter, bytes and headers, is above this limit as well, cut or not.
    assert plant.figures(name) == (90, {}, {"dead_letter_refused": 10})


def test_turn_cuts_a_dead_letter_that_kafka_refuses(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """Refused whole, a dead letter is sent again with its first 64 KiB; others in the lane do not suffer for it."""
    name, dead = topic("sensors", 1), topic("dead", 1, {"max.message.bytes": "100000"})
    plant = plants(kafka.bootstrap, [name], dead, linger_ms=50)
    sizes = [300_000, 70_000, 90_000, 5, 200_000, 90_000, 300_000]
    for size in sizes:
        plant.source.publish(name, b"x" * size)
    plant.settle()
    assert plant.figures(name) == (0, {Reason.NOT_JSON: len(sizes)}, {})
    dead_letters = records(kafka.bootstrap, dead, len(sizes))
    cuts = Counter((len(one.value or b""), dict(one.headers).get("payload.size")) for one in dead_letters)
    assert cuts[(CUT_TO, b"300000")] == 2
    assert cuts[(CUT_TO, b"200000")] == 1
    assert cuts[(5, None)] == 1
    assert sum(cuts.values()) == len(sizes)


def test_turn_drops_by_name_what_no_dead_letter_can_hold(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """A dead-letter topic too narrow even for the cut: counted as dropped, acknowledged, and the lane goes on."""
    name, dead = topic("sensors", 1), topic("dead", 1, {"max.message.bytes": "10000"})
    plant = plants(kafka.bootstrap, [name], dead)
    for size in (5, 100_000, 6, 20_000, 7):
        plant.source.publish(name, b"x" * size)
    plant.settle()
    assert plant.figures(name) == (0, {Reason.NOT_JSON: 3}, {"dead_letter_refused": 2})
    assert record_count(kafka.bootstrap, dead) == 3


def test_turn_sends_a_dead_letter_whose_pointer_is_huge(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """A member name as long as the payload does not make a dead letter that Kafka refuses."""
    name, dead = topic("sensors", 1), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    plant.source.publish(name, b'{"key":"k","number":1,"' + b"~" * 700_000 + b'":1}')
    plant.settle()
    assert plant.figures(name) == (0, {Reason.EXTRA_FIELD: 1}, {})


# --- Kafka away ------------------------------------------------------------------------------------------------------


def test_turn_keeps_the_order_while_credentials_are_renewed(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """The producer is replaced again and again, with readings in flight: all arrive once, in order per key."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, linger_ms=20)
    for number in range(2_000):
        plant.source.publish(name, payload(number, f"k{number % 3}"))
        if number % 100 == 0:
            plant.sink.renew({})
            plant.bridge.run_once()
            plant.check()
    plant.settle()
    assert numbers_by_key(records(kafka.bootstrap, name, 2_000)) == {
        f"k{key}": list(range(key, 2_000, 3)) for key in range(3)
    }


def test_turn_acknowledges_nothing_while_kafka_is_frozen(away_kafka: Kafka, plants: Callable[..., Plant]) -> None:
    """Only Kafka's acknowledgement makes a reading safe; with memory full, reading stops, and goes on later."""
    for name in ("patient", "dead-patient"):
        away_kafka.create_topic(name)
    plant = plants(away_kafka.bootstrap, ["patient"], "dead-patient", memory=100_000)
    plant.source.publish("patient", payload(0))
    plant.settle()
    away_kafka.freeze()
    for number in range(1, 1_001):
        plant.source.publish("patient", payload(number))
    plant.turn_until(lambda: not plant.source.is_reading, "memory to fill")
    for number in range(1_001, 1_011):
        plant.source.publish("patient", payload(number))
    for _ in range(20):
        plant.bridge.run_once()
        plant.check()
    assert plant.source.acknowledged == [1]
    assert plant.ledger.books["patient"].received == 1_001, "what came later was not read"
    away_kafka.thaw()
    plant.turn_until(lambda: plant.ledger.books["patient"].received == 1_011, "reading to go on")
    plant.settle()
    assert plant.source.is_reading
    assert numbers_by_key(records(away_kafka.bootstrap, "patient", 1_011)) == {"k": list(range(1_011))}


def test_close_books_what_is_left(topic: NewTopic, kafka: Kafka, plants: Callable[..., Plant]) -> None:
    """At the end QoS 1 readings go back to the broker, QoS 0 readings are lost, and the books say so."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead, with_ids=False)
    for number in range(10):
        plant.source.publish(name, payload(number), qos=number % 2)
    plant.bridge.run_once()
    assert not plant.bridge.is_idle
    plant.bridge.close()
    assert plant.figures(name) == (0, {}, {"returned_to_broker": 5, "lost_at_stop": 5})
    assert plant.ledger.totals() | {"in_flight": 0, "balanced": True} == plant.ledger.totals()
    assert plant.source.acknowledged == []


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Start a mock cluster with a topic for each of two streams, and one for dead letters."""
    with MockCluster({"one": 2, "two": 2, "dead": 1}) as started:
        yield started


def numbers_there(bootstrap: str, name: str) -> dict[str, list[int]]:
    """Read which numbers a topic holds, sorted.

    Their order is no fact here: unlike Kafka the mock cluster checks no sequences, and takes what was on its way
    behind a batch that it refused. The tests of refused records look at the order, on real Kafka.
    """
    found = numbers_by_key(records(bootstrap, name, record_count(bootstrap, name)))
    return {key: sorted(set(numbers)) for key, numbers in found.items()}


@pytest.mark.parametrize("code", [*FINAL, FATAL])
def test_turn_sends_again_after_a_failed_batch(cluster: MockCluster, plants: Callable[..., Plant], code: int) -> None:
    """A batch fails for good, or the producer, while others wait behind it: all arrive, and the loop lives."""
    plant = plants(cluster.bootstrap, ["one"], "dead", max_in_flight=1)
    plant.source.publish("one", payload(0))
    plant.settle()
    cluster.push_errors(PRODUCE, [code])
    for number in range(1, 201):
        plant.source.publish("one", payload(number))
    plant.settle()
    assert plant.figures("one") == (201, {}, {})
    assert numbers_there(cluster.bootstrap, "one") == {"k": list(range(201))}


def test_turn_dates_what_kafka_refuses_as_too_old_by_the_time_of_sending(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]
) -> None:
    """Readings and dead letters that waited for a day, where Kafka does not show that it takes an hour at most."""
    short = {"message.timestamp.before.max.ms": "3600000"}
    name, dead = topic("sensors", 1, settings=short), topic("dead", 1, settings=short)
    plant = plants(kafka.bootstrap, [name], dead)
    old = {3, 4, 11}
    for number in range(20):
        plant.source.publish(name, payload(number), age=86_400_000 if number in old else 0)
    plant.source.publish(name, b"{}", age=86_400_000)
    sent_at = time.time_ns() // 1_000_000
    plant.settle()
    assert plant.figures(name) == (20, {Reason.MISSING: 1}, {})
    stored = records(kafka.bootstrap, name, 20)
    assert [number_in(one.value) for one in stored] == list(range(20))
    assert min(one.timestamp for one in (*stored, *records(kafka.bootstrap, dead, 1))) >= sent_at - 1_000


def test_turn_keeps_readings_while_kafka_refuses_every_timestamp(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """Then the clock of this machine is wrong: they wait, and none becomes a dead letter."""
    plant = plants(cluster.bootstrap, ["one"], "dead", max_in_flight=1)
    cluster.push_errors(PRODUCE, [INVALID_TIMESTAMP] * 4)
    plant.source.publish("one", payload(1))
    plant.source.publish("one", payload(2))
    plant.turn_until(lambda: plant.bridge.lanes["one"].retry_at, "a pause")
    assert "check this machine's clock" in plant.blocked_reason["one"]
    plant.settle()
    assert plant.figures("one") == (2, {}, {})


@pytest.mark.parametrize("code", [43, 76])
def test_turn_keeps_readings_while_kafka_refuses_the_compression(
    cluster: MockCluster, plants: Callable[..., Plant], code: int
) -> None:
    """They wait, the reason names the setting, and none becomes a dead letter."""
    plant = plants(cluster.bootstrap, ["one"], "dead", max_in_flight=1)
    cluster.push_errors(PRODUCE, [code] * 3)
    for number in range(50):
        plant.source.publish("one", payload(number))
    plant.turn_until(lambda: "{compression.type: gzip}" in plant.blocked_reason.get("one", ""), "the reason")
    plant.settle()
    assert plant.figures("one") == (50, {}, {})


def test_turn_says_a_lasting_trouble_once(
    cluster: MockCluster, plants: Callable[..., Plant], caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred records come back for the same reason: one line in the log."""
    plant = plants(cluster.bootstrap, ["one"], "dead", max_in_flight=1)
    cluster.push_errors(PRODUCE, [29])
    for number in range(100):
        plant.source.publish("one", payload(number, key=f"k{number}"))
    plant.settle()
    lines = [line for line in caplog.records if line.getMessage() == "Kafka did not store a record."]
    assert 1 <= len(lines) <= 3  # once a try


@pytest.mark.parametrize("streams", [2, 3 * PACING.many_lanes])
@pytest.mark.parametrize("seed", range(2))
def test_turn_balances_the_books_through_random_faults(
    cluster: MockCluster, plants: Callable[..., Plant], seed: int, streams: int
) -> None:
    """Good, bad, unmapped and huge readings, and errors of every class: each ends where it must.

    With many streams, lanes wait for more readings as soon as a hundred are under way.
    """
    chance = random.Random(seed)
    names = ["one", "two", *[f"line{number}" for number in range(2, streams)]]
    for name in names[2:]:
        cluster.create_topic(name, 2)
    plant = plants(cluster.bootstrap, names, "dead", max_in_flight=1, pacing=Pacing(many_readings=100))
    expected: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in names}
    dead_letters: Counter[Reason] = Counter()
    for number in range(1_500):
        name, key = chance.choice(names), f"k{chance.randrange(5)}"
        match chance.choices(["good", "bad", "unmapped", "huge"], [90, 5, 3, 2])[0]:
            case "good":
                plant.source.publish(name, payload(number, key), qos=chance.randrange(2))
                expected[name][key].append(number)
            case "bad":
                plant.source.publish(name, b"{}", qos=chance.randrange(2))
                dead_letters[Reason.MISSING] += 1
            case "unmapped":
                plant.source.publish(UNMAPPED, b"?", topic=b"stranger")
                dead_letters[Reason.UNMAPPED_TOPIC] += 1
            case "huge":
                plant.source.publish(name, b"x" * (LIMIT + 1))
                dead_letters[Reason.TOO_LARGE] += 1
        if chance.random() < 0.02:
            plant.bridge.run_once()
            plant.check()
        if number in {200, 600, 1_000, 1_400}:
            cluster.push_errors(PRODUCE, [chance.choice([*PASSING, *FINAL, FATAL])])
    plant.settle()
    assert {name: numbers_there(cluster.bootstrap, name) for name in expected} == expected
    booked = sum((books.dead_lettered for books in plant.ledger.books.values()), Counter[Reason]())
    assert booked == dead_letters
    assert plant.ledger.totals()["dropped"] == 0


def test_turn_quarantines_each_reading_once_whatever_happens_to_it(
    cluster: MockCluster, plants: Callable[..., Plant], tmp_path: Path
) -> None:
    """Good ones and ones that fell, refused again and again, out of memory and back: all keep their verdict."""
    chance = random.Random(1)
    with SpoolFile(tmp_path / "spool.db") as file:
        plant = plants(cluster.bootstrap, ["one"], "dead", max_in_flight=1, memory=40_000, file=file, counts=True)
        rising: list[int] = []
        fallen: list[int] = []
        for number in range(1, 801):
            is_wrong = number > 10 and chance.random() < 0.3
            (fallen if is_wrong else rising).append(number - 10 if is_wrong else number)
            plant.source.publish("one", payload(number - 10 if is_wrong else number))
            if chance.random() < 0.05:
                plant.bridge.run_once()
            if number in {50, 400}:
                cluster.push_errors(PRODUCE, [chance.choice(FINAL) for _ in range(3)])
        plant.bridge.run_once()
        lanes = plant.bridge.all_lanes()
        deadline = time.monotonic() + 90
        while any(lane.held or lane.has_backlog for lane in lanes):
            assert time.monotonic() < deadline, plant.ledger.totals()
            plant.bridge.run_once()
        assert numbers_there(cluster.bootstrap, "one")["k"] == rising
        dead = records(cluster.bootstrap, "dead", record_count(cluster.bootstrap, "dead"))
        assert {json.loads(one.value or b"")["number"] for one in dead} == set(fallen)
        assert plant.figures("one") == (len(rising), {Reason.FELL: len(fallen)}, {})
        assert plant.ledger.books["one"].counters["fell"] == len(fallen)


@pytest.mark.parametrize("seed", range(2))
def test_turn_sends_each_reading_once_when_all_of_them_leave_memory(
    cluster: MockCluster, plants: Callable[..., Plant], tmp_path: Path, seed: int
) -> None:
    """Good and bad ones mixed, refused again and again while memory is full: none is sent or booked twice."""
    chance = random.Random(seed)
    with SpoolFile(tmp_path / "spool.db") as file:
        plant = plants(cluster.bootstrap, ["one", "two"], "dead", max_in_flight=1, memory=40_000, file=file)
        expected: dict[str, list[int]] = {"one": [], "two": []}
        dead_letters = 0
        for number in range(2_000):
            name = chance.choice(["one", "two"])
            if chance.random() < 0.4:
                plant.source.publish(name, b"{}")
                dead_letters += 1
            else:
                plant.source.publish(name, payload(number))
                expected[name].append(number)
            if chance.random() < 0.05:
                plant.bridge.run_once()
            if number in {100, 1_000}:
                cluster.push_errors(PRODUCE, [chance.choice(FINAL) for _ in range(3)])
        lanes = plant.bridge.all_lanes()
        plant.bridge.run_once()
        deadline = time.monotonic() + 90
        while any(lane.held or lane.has_backlog for lane in lanes):
            assert time.monotonic() < deadline, plant.ledger.totals()
            plant.bridge.run_once()
        assert {name: numbers_there(cluster.bootstrap, name)["k"] for name in expected} == expected
        found = [plant.ledger.books[name] for name in expected]
        assert sum(books.dead_lettered.total() for books in found) == dead_letters
        assert [books.delivered for books in found] == [len(numbers) for numbers in expected.values()]
        assert all(not (books.missing or books.spooled or books.in_flight or books.dropped) for books in found)
        assert plant.source.acknowledged == plant.source.published
        assert plant.spool.bytes_held == 0


def test_turn_sends_what_kafka_refused_while_dead_letters_are_on_disk(
    kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant], tmp_path: Path
) -> None:
    """The row of a refused reading is not read back as a dead letter, because only memory knows that it is one."""
    name, dead = topic("sensors", 1, TIGHT), f"dead-{uuid.uuid4().hex[:8]}"
    kinds = Counter[Reason]()
    with SpoolFile(tmp_path / "spool.db") as file:
        plant = plants(kafka.bootstrap, [name], dead, memory=40_000, file=file)
        for number in range(600):
            is_bad, is_huge = number % 3 == 1, number % 20 == 12
            kinds += Counter({Reason.NOT_JSON: is_bad, Reason.REFUSED: is_huge and not is_bad})
            plant.source.publish(name, b"bad" if is_bad else payload(number, text="x" * 5_000 if is_huge else ""))
            if number % 10 == 0:
                plant.bridge.run_once()
        lane, deadline = plant.bridge.dead_lanes[name], time.monotonic() + 120
        while plant.figures(name)[0] < 600 - kinds.total() or not lane.has_backlog:
            assert time.monotonic() < deadline, plant.ledger.totals()
            plant.bridge.run_once()
        kafka.create_topic(dead)
        while plant.figures(name)[1] != kinds:
            assert time.monotonic() < deadline, plant.ledger.totals()
            plant.bridge.run_once()
        books = plant.ledger.books[name]
        assert not any((books.missing, books.spooled, books.in_flight, books.dropped))
        assert record_count(kafka.bootstrap, dead) == kinds.total()
        assert plant.spool.bytes_held == 0


def test_turn_waits_as_long_as_nothing_is_to_do(kafka: Kafka, topic: NewTopic, plants: Callable[..., Plant]) -> None:
    """An idle loop sleeps until the source wants its turn, and a reading wakes it at once."""
    name, dead = topic("sensors"), topic("dead", 1)
    plant = plants(kafka.bootstrap, [name], dead)
    plant.source.publish(name, payload(0))
    plant.settle()
    plant.source.wait_seconds = 0.3
    started = time.monotonic()
    plant.bridge.run_once()
    assert time.monotonic() - started >= 0.25
    plant.source.wait_seconds = 60

    def wakes(number: int) -> bool:
        plant.source.publish(name, payload(number))
        started = time.monotonic()
        plant.bridge.run_once()
        assert plant.ledger.books[name].received == 1 + number
        return time.monotonic() - started < LONGEST_WAIT_SECONDS

    assert any(map(wakes, range(1, 20))), "none of them waited: a loaded machine can delay one turn, not all"


PAST, STEP = 1_451_606_400_000, 300_000_000_000  # 2016-01-01, and ten years
MARK = ("gateway.clock", b"unsynchronised")


class SetClock(GatewayClock):
    """A clock that starts in 2016, and that a test sets; `uptime` is in milliseconds."""

    def __init__(self, wait: int) -> None:
        self.uptime, self.epoch = 9_000, PAST
        super().__init__(b"b" * 16, lambda: (self.epoch + self.uptime, self.uptime), wait, is_synchronised=False)

    def age(self, uptime: int) -> int:
        """How long ago the time was that this clock showed then, for `publish`."""
        return time.time_ns() // 1_000_000 - self.offset - uptime


@pytest.mark.parametrize("with_file", [False, True])
def test_turn_sends_nothing_before_the_clock_is_set(
    cluster: MockCluster,
    plants: Callable[..., Plant],
    tmp_path: Path,
    with_file: bool,  # noqa: FBT001 - the column of the table
) -> None:
    """Readings and dead letters of 2016 wait, in memory and with most on disk only; all arrive with the right time."""
    clock = SetClock(60_000)
    with SpoolFile(tmp_path / "spool.db", clock=clock) as file:
        more = {"file": file, "memory": 3_000} if with_file else {}
        plant = plants(cluster.bootstrap, ["one"], "dead", clock=clock, **more)
        sent = range(10, 22)
        for number in sent:
            clock.uptime += 1_000
            plant.source.publish("one", payload(number) if number % 3 else b"{}", age=clock.age(clock.uptime))
            plant.bridge.run_once()
        is_acknowledged = plant.source.acknowledged == plant.source.published
        assert [is_acknowledged, plant.bridge.lanes["one"].has_backlog] == [with_file, with_file]
        assert plant.sink.in_flight == 0
        clock.epoch += STEP
        deadline = time.monotonic() + 40
        while any(lane.held or lane.has_backlog for lane in plant.bridge.all_lanes()):
            assert time.monotonic() < deadline, plant.ledger.totals()
            plant.bridge.run_once()
        assert plant.figures("one") == (8, {Reason.MISSING: 4}, {})
    arrived = {number: PAST + STEP + 9_000 + 1_000 * (number - 9) for number in sent}
    for topic, numbers in (("one", [n for n in sent if n % 3]), ("dead", [n for n in sent if not n % 3])):
        found = sorted(records(cluster.bootstrap, topic, len(numbers)), key=lambda each: each.timestamp)
        assert all(abs(each.timestamp - arrived[number]) < 1_000 for each, number in zip(found, numbers, strict=True))
        assert not any(MARK in each.headers for each in found)


def test_turn_marks_what_it_sends_before_the_clock_is_set(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """Without a wait, and after one; what arrives later has no mark."""
    clock = SetClock(0)
    plant = plants(cluster.bootstrap, ["one"], "dead", clock=clock)
    plant.source.publish("one", payload(1), age=clock.age(9_000))
    plant.source.publish("one", b"{}", age=clock.age(9_000))
    plant.settle()
    clock.epoch += STEP
    plant.source.publish("one", payload(2))
    plant.source.publish("one", b"{}")
    plant.settle()
    for topic in ("one", "dead"):
        first, second = sorted(records(cluster.bootstrap, topic, 2), key=lambda each: each.timestamp)
        assert (first.timestamp // 1_000, first.headers.count(MARK)) == (PAST // 1_000 + 9, 1)
        assert second.headers.count(MARK) == 0


def test_turn_ends_the_wait_without_a_complaint(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """Lanes that waited for the clock are not taken for blocked ones."""
    clock = SetClock(100_000)
    plant = plants(cluster.bootstrap, ["one"], "dead", clock=clock)
    plant.source.publish("one", payload(1), age=clock.age(9_000))
    plant.bridge.lanes["one"].begin(time.monotonic() - 1_000)
    plant.bridge.run_once()
    assert plant.bridge.lanes["one"].held == 1
    clock.uptime += 100_000
    plant.settle()
    assert plant.blocked_reason == {}
    assert [MARK in each.headers for each in records(cluster.bootstrap, "one", 1)] == [True]
