"""The Kafka end, against real Kafka; against librdkafka's mock cluster where a broker must answer with errors."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from gateway.certificate import FILES_UNDER_SERVERS
from gateway.core.entry import Entry
from gateway.core.model import KafkaServer
from gateway.core.reading import Reading, Record
from gateway.errors import GatewayError
from gateway.installation import connection_properties
from gateway.kafka.errors import Outcome, outcome, sentence
from gateway.kafka.sink import TOKEN_SECONDS, WINDOW, KafkaSink
from gateway.operate.drift.partitioner import murmur2
from gateway.settings.settings import load
from tests.stack.kafka import Kafka
from tests.stack.mock_kafka import PRODUCE, MockCluster
from tests.stack.ports import HeldPort
from tests.stack.reading_records import record_count, records
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.conftest import FreePort, NewTopic
    from tests.stack.certificates import Certificates

INIT_PRODUCER_ID = 22
# Kafka's protocol error codes
UNKNOWN, NOT_LEADER, NOT_ENOUGH_REPLICAS = -1, 6, 19
TOPIC_DENIED, CLUSTER_DENIED, OUT_OF_ORDER = 29, 31, 45
NOW = 1_791_547_200_000

Failed = dict[int, KafkaError]


def record(topic: str, value: bytes | None = b"v", key: bytes = b"k", headers: Any = ()) -> Record:
    return Record(topic, key, value, list(headers), NOW)


def entry(number: int) -> Entry:
    return Entry(Reading("s", b"t", b"", NOW), None, 0, number)


def left(sink: KafkaSink, made: Sequence[Record | list[Record]]) -> list[int]:
    """Send readings; give the numbers of those that were not taken."""
    return [one.offset for one in sink.send(made, [entry(number) for number in range(len(made))])]


def collect(sink: KafkaSink, count: int, seconds: float = 30) -> tuple[list[int], Failed]:
    """Poll until so many records are reported; give the numbers of the settled, and the errors of the failed."""
    settled: list[int] = []
    failed: Failed = {}

    def is_done() -> bool:
        sink.poll(0.02)
        good, bad = sink.take_reports()
        settled.extend(one.offset for run in good for one in run)
        failed.update({one.offset: error for one, error in bad})
        return len(settled) + len(failed) >= count

    wait_for(
        is_done,
        seconds,
        lambda: f"{count} reports; {len(settled)} settled, {len(failed)} failed; {sink.blocked_reason}",
    )
    assert sink.in_flight == 0
    return settled, failed


@contextmanager
def closing_sink(properties: dict[str, Any], **options: Any) -> Iterator[KafkaSink]:
    """Make a sink, and close it without waiting for records that cannot be delivered."""
    sink = KafkaSink(properties, **options)
    yield sink
    sink.close(0.1)


def complaint(sink: KafkaSink) -> str:
    """Give the sink's trouble after one more poll."""
    sink.poll(0.02)
    return sink.blocked_reason


def deliver(sink: KafkaSink, made: Iterable[Record]) -> tuple[list[int], Failed]:
    """Send records, numbered from 0, as long as the sink takes them, and collect their reports."""
    taken = takewhile(lambda one: not sink.send([one[1]], [entry(one[0])]), enumerate(made))
    return collect(sink, sum(1 for _ in taken))


@pytest.fixture
def sink(kafka: Kafka) -> Iterator[KafkaSink]:
    """Make a sink for the shared Kafka."""
    made = KafkaSink({"bootstrap.servers": kafka.bootstrap})
    yield made
    made.close(5)


# --- delivery --------------------------------------------------------------------------------------------------------


def test_send_delivers_key_value_headers_and_timestamp(kafka: Kafka, topic: NewTopic, sink: KafkaSink) -> None:
    """What Kafka stores is what the record says, and its entry is settled."""
    name = topic("readings", 1)
    headers = [("mqtt.topic", b"\xff/a"), ("empty", b""), ("mqtt.topic", b"again")]
    assert deliver(sink, [record(name, b"\0\1\2", "ä".encode(), headers)]) == ([0], {})
    (stored,) = records(kafka.bootstrap, name, 1)
    assert (stored.key, stored.value, stored.headers) == ("ä".encode(), b"\0\1\2", headers)
    assert stored.timestamp == NOW


def test_send_reports_a_reading_once_when_all_of_its_records_are_there(
    kafka: Kafka, topic: NewTopic, sink: KafkaSink
) -> None:
    first, second = topic("first"), topic("second")
    readings = [[record(first, b"%d" % number), record(second, None)] for number in range(3)]
    assert not sink.send(readings, [entry(number) for number in range(3)])
    assert collect(sink, 3) == ([0, 1, 2], {})
    assert [one.value for one in records(kafka.bootstrap, first, 3)] == [b"0", b"1", b"2"]
    assert [one.value for one in records(kafka.bootstrap, second, 3)] == [None, None, None]


def test_send_fails_a_reading_of_which_one_record_fails(topic: NewTopic, sink: KafkaSink) -> None:
    """Whichever of them it is, and whatever became of the others, it is reported once, with the cause."""
    there, missing = topic("there"), topic("there") + "-not"
    huge = record(there, b"x" * (sink.record_limit + 1))
    readings = [[record(there), record(missing)], [record(missing), record(there)], [record(there), huge]]
    assert not sink.send(readings, [entry(number) for number in range(3)])
    settled, failed = collect(sink, 3)
    assert settled == []
    unknown, too_large = KafkaError._UNKNOWN_TOPIC, KafkaError.MSG_SIZE_TOO_LARGE  # noqa: SLF001 - librdkafka's own name
    assert failed[2].code() == too_large
    assert all(failed[number].code() in {unknown, KafkaError.UNKNOWN_TOPIC_OR_PART} for number in (0, 1))


def test_send_keeps_the_order_of_each_key(kafka: Kafka, topic: NewTopic, sink: KafkaSink) -> None:
    """Records of a key are in one partition, in the order they were sent."""
    name = topic("readings", 3)
    settled, failed = deliver(sink, (record(name, b"%d" % number, b"key-%d" % (number % 7)) for number in range(3_000)))
    assert (sorted(settled), failed) == (list(range(3_000)), {})
    places: dict[bytes | None, list[tuple[int, int]]] = {}
    for stored in records(kafka.bootstrap, name, 3_000):
        places.setdefault(stored.key, []).append((stored.partition, int(stored.value or b"")))
    assert len(places) == 7
    for found in places.values():
        assert found == sorted(found)
        assert len({partition for partition, _ in found}) == 1


def test_send_settles_every_reading_of_a_run_and_keeps_the_order_of_each_key(
    kafka: Kafka, topic: NewTopic, sink: KafkaSink
) -> None:
    """Once the partition of a key is known, one report tells of all readings that went there together."""
    name = topic("readings", 3)
    numbers = range(500)
    made = [record(name, b"%d" % number, b"key%d" % (number % 20)) for number in numbers]
    for _ in range(2):
        assert not sink.send(made, [entry(number) for number in numbers])
        settled, failed = collect(sink, 500)
        assert (sorted(settled), failed) == (list(numbers), {})
    stored = records(kafka.bootstrap, name, 1_000)
    for key in {one.key for one in made}:
        expected = [one.value for one in made if one.key == key]
        assert [one.value for one in stored if one.key == key] == 2 * expected


def test_send_keeps_topics_apart_whose_keys_are_the_same(kafka: Kafka, topic: NewTopic, sink: KafkaSink) -> None:
    """The partition of a key is that of its topic; the second time it is known for both."""
    one, three = topic("one", 1), topic("three", 3)
    made = [record(name, b"%d" % number, b"key%d" % (number % 7)) for number in range(60) for name in (one, three)]
    for _ in range(2):
        assert not left(sink, made)
        settled, failed = collect(sink, 120)
        assert (sorted(settled), failed) == (list(range(120)), {})
    for name in (one, three):
        stored = records(kafka.bootstrap, name, 120)
        for key in {each.key for each in made}:
            expected = [each.value for each in made if each.key == key and each.topic == name]
            assert [each.value for each in stored if each.key == key] == 2 * expected


def test_send_leaves_records_of_other_topics_behind_a_refused_one(
    kafka: Kafka, topic: NewTopic, sink: KafkaSink
) -> None:
    """They are sent again, in their order; the refused one is reported."""
    one, other = topic("one", 1), topic("other", 1)
    huge = record(one, b"x" * (sink.record_limit + 1))
    assert left(sink, [record(one), record(other), huge, record(other), record(one)]) == [1, 3, 4]
    settled, failed = collect(sink, 2)
    assert (settled, list(failed)) == ([0], [2])
    assert [each.value for each in records(kafka.bootstrap, one, 1)] == [b"v"]


def test_send_fails_what_it_can_no_longer_be_told_of(topic: NewTopic, sink: KafkaSink) -> None:
    """A record is refused on the spot in the middle of a run: what went before it has no report, and is sent again."""
    name = topic("readings", 1)
    assert deliver(sink, [record(name)]) == ([0], {})
    made = [record(name), record(name), record(name, b"x" * 1_100_000), record(name)]
    assert left(sink, made) == [3]
    assert sink.room == 0
    settled, failed = collect(sink, 3)
    assert (settled, {number: outcome(error) for number, error in failed.items()}) == (
        [],
        {0: Outcome.REQUEUE, 1: Outcome.REQUEUE, 2: Outcome.REFUSE},
    )
    assert sink.room > 0
    assert deliver(sink, [record(name)]) == ([0], {})


def test_send_gives_back_by_offset_what_it_did_not_take(topic: NewTopic, sink: KafkaSink) -> None:
    """Those of a partition are handed over together; what is left of several partitions is in order again."""
    name, keys = topic("readings", 3), [b"key%d" % number for number in range(12)]
    learned = deliver(sink, [record(name, key=key) for key in keys])
    assert (sorted(learned[0]), learned[1]) == (list(range(12)), {})
    made = [record(name, b"1", key) for key in keys] * 2
    made[13] = record(name, b"x" * 1_100_000, keys[1])
    given_back = left(sink, made)
    assert given_back == sorted(given_back)
    assert 13 not in given_back
    settled, failed = collect(sink, len(made) - len(given_back))
    assert sorted([*given_back, *settled, *failed]) == list(range(24))
    assert outcome(failed[13]) is Outcome.REFUSE


def test_send_sends_a_large_reading_by_itself(topic: NewTopic, sink: KafkaSink) -> None:
    """Nothing that went before a reading whose record may be too large is left without a report."""
    name = topic("readings", 1)
    assert deliver(sink, [record(name)]) == ([0], {})
    large = Entry(Reading("s", b"t", b"", NOW), None, 0, 1, 1_100_000)
    made = [record(name), record(name, b"x" * 1_100_000), record(name)]
    assert sink.send(made, [entry(0), large, entry(2)]) == [large, entry(2)]
    assert sink.send(made[1:], [large, entry(2)]) == [entry(2)]
    settled, failed = collect(sink, 2)
    assert (settled, list(failed)) == ([0], [1])


def test_send_uses_the_partitions_that_a_topic_gets_later(kafka: Kafka, topic: NewTopic) -> None:
    """The partitions of keys are forgotten, so a topic that has grown is filled as Java fills it."""
    name, keys = topic("readings", 1), [b"key%d" % number for number in range(40)]
    properties = {"bootstrap.servers": kafka.bootstrap, "topic.metadata.refresh.interval.ms": 200}
    with closing_sink(properties, forget_seconds=0.5) as sink:
        deliver(sink, [record(name, key=key) for key in keys])
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.create_partitions([NewPartitions(name, 4)])[name].result(30)

        expected = {key: (murmur2(key) & 0x7FFFFFFF) % 4 for key in keys}
        rounds = count()

        def is_spread() -> bool:
            value = b"round %d" % next(rounds)
            deliver(sink, [record(name, value, key) for key in keys])
            stored = records(kafka.bootstrap, name, record_count(kafka.bootstrap, name))
            return {one.key: one.partition for one in stored if one.value == value} == expected

        wait_for(is_spread, 30, "each key in its partition of four")


def test_send_picks_the_partition_that_java_picks(kafka: Kafka, topic: NewTopic, sink: KafkaSink) -> None:
    """Five hundred keys lie where Java's producers put them: joins with Kafka Streams need that."""
    name = topic("readings", 6)
    keys = [f"mäschine-{number}{'x' * (number % 5)}".encode() for number in range(500)]
    deliver(sink, (record(name, key=key) for key in keys))
    found = {stored.key: stored.partition for stored in records(kafka.bootstrap, name, 500)}
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 6 for key in keys}


def test_room_ends_with_the_window(free_port: FreePort) -> None:
    """Kafka away: the window fills, then the sink has no room, and nothing is lost or blocks."""
    sink = KafkaSink({"bootstrap.servers": f"127.0.0.1:{free_port()}", "queue.buffering.max.messages": 100})
    not_taken = [sink.send([record("t")], [entry(number)]) for number in range(101)]
    assert not_taken == [[]] * 100 + [[entry(100)]]
    assert not sink.room
    assert sink.in_flight == 100
    assert WINDOW < 200_000, "the window fits librdkafka's default queue"


def test_send_takes_all_records_of_a_reading_or_none(free_port: FreePort) -> None:
    """The queue has room for some of the next thirty: none is handed over, and nothing behind them gets ahead."""
    sink = KafkaSink({"bootstrap.servers": f"127.0.0.1:{free_port()}", "queue.buffering.max.messages": 100})
    several = [*([record("t")] * 30 for _ in range(4)), [record("t")]]
    assert left(sink, several) == [3, 4]
    assert (sink.room, sink.in_flight) == (0, 3)


def test_send_stops_behind_a_reading_of_which_a_record_is_refused(free_port: FreePort) -> None:
    """What comes behind does not get ahead of what must be sent again."""
    sink = KafkaSink({"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.max.bytes": 2_000})
    broken = [record("t"), record("t", b"x" * 3_000)]
    assert left(sink, [[record("t")], broken, [record("t")]]) == [2]
    assert sink.in_flight == 2


def test_a_queue_of_0_messages_is_one_without_limit(free_port: FreePort) -> None:
    """So librdkafka understands the number."""
    sink = KafkaSink({"bootstrap.servers": f"127.0.0.1:{free_port()}", "queue.buffering.max.messages": 0})
    assert sink.room == WINDOW
    assert left(sink, [[record("t")] * 30] * 2) == []


# --- topics ----------------------------------------------------------------------------------------------------------


def test_send_to_a_missing_topic_fails_with_the_next_step(kafka: Kafka, topic: NewTopic) -> None:
    """A record for a missing topic fails, and others are delivered; once the topic exists, it is delivered too."""
    sink = KafkaSink({"bootstrap.servers": kafka.bootstrap, "topic.metadata.propagation.max.ms": 200})
    there, missing = topic("there"), topic("there") + "-not"
    settled, failed = deliver(sink, [record(missing), record(there)])
    assert settled == [1]
    assert outcome(failed[0]) is Outcome.RETRY
    assert sentence(failed[0], missing) == (
        f"{missing}: Unknown topic or partition; "
        "the topic does not exist: `gateway topics apply -c FILE` creates it as the contract describes it"
    )
    kafka.create_topic(missing)
    wait_for(lambda: deliver(sink, [record(missing)]) == ([0], {}), 60, "the new topic to be noticed")
    assert record_count(kafka.bootstrap, missing) == 1
    sink.close(5)


def test_missing_topics_names_those_that_kafka_lacks(topic: NewTopic, sink: KafkaSink) -> None:
    """The names that are no topics of Kafka are returned, and asking for them creates no topic."""
    there = topic()
    for _ in range(2):
        assert sink.missing_topics({there, f"{there}-not"}, 10) == {f"{there}-not"}


def test_missing_topics_without_kafka_says_so(free_port: FreePort) -> None:
    """When nothing listens at the address, the error has the address and the cause."""
    port = free_port()
    with closing_sink({"bootstrap.servers": f"127.0.0.1:{port}"}) as sink:
        wait_for(lambda: complaint(sink), 60, "the client to notice")
        with pytest.raises(ConnectionError) as raised:
            sink.missing_topics({"t"}, 0.5)
    assert f"127.0.0.1:{port}" in str(raised.value)
    assert "refused" in str(raised.value)


# --- refused records -------------------------------------------------------------------------------------------------


def test_send_refuses_a_record_above_the_clients_limit(kafka: Kafka, topic: NewTopic, sink: KafkaSink) -> None:
    """A record above message.max.bytes is refused by itself; its neighbours are delivered."""
    name = topic("readings", 1)
    values = [b"before", b"x" * 1_100_000, b"after"]
    settled, failed = deliver(sink, (record(name, value) for value in values))
    assert settled == [0, 2]
    assert outcome(failed[1]) is Outcome.REFUSE
    assert [stored.value for stored in records(kafka.bootstrap, name, 2)] == [b"before", b"after"]


def test_send_refuses_a_record_above_the_topics_limit(kafka: Kafka, topic: NewTopic) -> None:
    """A record above the topic's max.message.bytes is refused, and nothing that stands behind it gets ahead."""
    name = topic("readings", 1, {"max.message.bytes": "2000"})
    with closing_sink({"bootstrap.servers": kafka.bootstrap, "compression.type": "none", "linger.ms": 0}) as sink:
        values = [b"%d" % number for number in range(200)]
        values[3] = b"x" * 5_000
        settled, failed = deliver(sink, (record(name, value) for value in values))
        assert sorted([*settled, *failed]) == list(range(200))
        assert outcome(failed[3]) is Outcome.REFUSE
        assert {outcome(error) for error in failed.values()} <= {Outcome.REFUSE, Outcome.REQUEUE}
        assert settled == list(range(len(settled))), "all that Kafka took stands before the one it refused"
        assert deliver(sink, [record(name, values[4])]) == ([0], {}), "a new producer has taken over"
    assert record_count(kafka.bootstrap, name) == len(settled) + 1


# --- errors, from a mock cluster -------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Start a mock cluster with a topic `readings`."""
    with MockCluster({"readings": 1}) as started:
        yield started


@pytest.fixture
def mocked(cluster: MockCluster) -> Iterator[KafkaSink]:
    """Make a sink that has delivered a record to the mock cluster.

    The mock cluster checks no sequences: it may take what was on its way behind a failed batch, which Kafka refuses. So
    order is no fact here; the tests of refused records look at it, on real Kafka.
    """
    properties = {"bootstrap.servers": cluster.bootstrap, "linger.ms": 0, "max.in.flight": 1, "batch.num.messages": 10}
    with closing_sink(properties) as sink:
        assert deliver(sink, [record("readings", b"first")]) == ([0], {})
        yield sink


def test_close_ends_with_records_in_flight(cluster: MockCluster) -> None:
    """Records in flight that are given up make the producer fatal, and a stop ends all the same."""
    sink = KafkaSink({"bootstrap.servers": cluster.bootstrap})
    deliver(sink, [record("readings")])
    cluster.rtt(5_000)
    assert not left(sink, [record("readings")])
    sink.close(0.5)  # the request goes out meanwhile, and is not answered


def stored_values(cluster: MockCluster, count: int) -> list[bytes]:
    return [stored.value or b"" for stored in records(cluster.bootstrap, "readings", count)]


@pytest.mark.parametrize("code", [NOT_LEADER, NOT_ENOUGH_REPLICAS])
def test_send_survives_transient_errors(cluster: MockCluster, mocked: KafkaSink, code: int) -> None:
    """A change of leaders or too few replicas: librdkafka waits and tries again, in order; nothing is reported."""
    cluster.push_errors(PRODUCE, [code] * 2)
    settled, failed = deliver(mocked, (record("readings", b"%d" % number) for number in range(50)))
    assert (settled, failed) == (list(range(50)), {})
    values = [value for value in stored_values(cluster, 51) if value != b"first"]
    assert values == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("code", [UNKNOWN, TOPIC_DENIED])
def test_send_gives_back_a_batch_that_failed_for_good(cluster: MockCluster, mocked: KafkaSink, code: int) -> None:
    """The batch comes back to be sent again, and so does what waited behind it; then a new producer takes over."""
    cluster.push_errors(PRODUCE, [code])
    settled, failed = deliver(mocked, (record("readings", b"%d" % number) for number in range(50)))
    assert outcome(failed[0]) is Outcome.RETRY
    assert {outcome(error) for error in failed.values()} <= {Outcome.RETRY, Outcome.REQUEUE}
    wait_for(lambda: deliver(mocked, [record("readings", b"again")])[0], 60, "a new producer to take over")
    assert stored_values(cluster, 1 + len(settled) + 1)[-1] == b"again"


def test_send_to_a_topic_without_rights_fails_with_the_next_step(cluster: MockCluster, mocked: KafkaSink) -> None:
    """The sentence says which right is missing."""
    cluster.push_errors(PRODUCE, [TOPIC_DENIED])
    _, failed = deliver(mocked, [record("readings")])
    assert sentence(failed[0], "readings").endswith("grant the gateway's user WRITE and DESCRIBE on the topic")


def test_send_survives_a_fatal_error(cluster: MockCluster, mocked: KafkaSink) -> None:
    """A producer that has lost its sequence is replaced; its records come back with the cause, and get in."""
    cluster.push_errors(PRODUCE, [OUT_OF_ORDER])
    _, failed = deliver(mocked, (record("readings", b"%d" % number) for number in range(50)))
    assert 0 in failed
    assert {(outcome(error), error.code()) for error in failed.values()} == {
        (Outcome.RETRY, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    }
    settled, failed = deliver(mocked, (record("readings", b"%d" % number) for number in range(50)))
    assert (settled, failed) == (list(range(50)), {})
    assert mocked.blocked_reason == ""


def test_send_without_the_right_to_produce_names_it_and_recovers(cluster: MockCluster) -> None:
    """Denied at the start, granted later: the trouble names the right, and no restart is needed."""
    cluster.push_errors(INIT_PRODUCER_ID, [CLUSTER_DENIED])
    with closing_sink({"bootstrap.servers": cluster.bootstrap}) as sink:
        _, failed = deliver(sink, [record("readings")])
        assert failed[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED
        assert sink.blocked_reason.endswith("grant the gateway's user IDEMPOTENT_WRITE on the cluster")
        assert deliver(sink, [record("readings")]) == ([0], {})


def test_room_is_none_while_a_fatal_producer_empties(cluster: MockCluster, mocked: KafkaSink) -> None:
    """Nothing is handed to a producer that is beyond repair."""
    cluster.push_errors(PRODUCE, [OUT_OF_ORDER])
    assert not mocked.send([record("readings")], [entry(0)])
    wait_for(lambda: complaint(mocked) or not mocked.room, 60, "the fatal error")
    assert mocked.send([record("readings")], [entry(1)]) == [entry(1)]
    assert not collect(mocked, 1)[0]
    assert mocked.room


def test_send_waits_for_a_cluster_that_is_down(cluster: MockCluster, mocked: KafkaSink) -> None:
    """Nothing times out: the record is there when the cluster is."""
    cluster.down()
    assert not mocked.send([record("readings", b"patient")], [entry(1)])
    wait_for(lambda: complaint(mocked), 60, "the client to notice")
    assert mocked.take_reports() == ([], [])
    cluster.up()
    assert collect(mocked, 1) == ([1], {})
    assert mocked.blocked_reason == ""


# --- TLS and passwords -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(certificates: Certificates) -> Iterator[Kafka]:
    """Start a Kafka that asks for a client certificate on one port, and for a password on others."""
    with Kafka(certificates=certificates, users={"gateway": "secret", "admin": "other"}) as cluster:
        cluster.create_topic("readings")
        yield cluster


def properties(folder: Path, encrypted: bool, **section: Any) -> dict[str, Any]:  # noqa: FBT001 - the contract's word for a secure protocol
    """Write properties as the service does, from gateway.yaml's section about Kafka."""
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({"contract": "asyncapi.yaml", "servers": {"kafka": section}}))
    settings = load(path, {})
    server = KafkaServer("kafka", "contract.example:9092", tls=encrypted, security=(), registry_url=None)
    return connection_properties(server, settings.server("kafka"), settings)


def sasl(folder: Path, mechanism: str = "SCRAM-SHA-512", password: str = "secret") -> dict[str, str]:
    path = folder / "password"
    path.write_text(f"{password}\n")
    path.chmod(0o600)
    return {"mechanism": mechanism, "username": "gateway", "password_file": "password"}


def client_certificate(certificates: Certificates, ca: Path, name: str = "client") -> dict[str, str]:
    key, certificate = certificates.key(name), certificates.certificate(name)
    return {"ca_file": str(ca), "cert_file": str(certificate), "key_file": str(key)}


def test_connection_properties_without_security(tmp_path: Path) -> None:
    """Host and properties of gateway.yaml; where it gives no host, the contract's."""
    assert properties(tmp_path, encrypted=False) == {
        "bootstrap.servers": "contract.example:9092",
        "security.protocol": "PLAINTEXT",
    }
    given = properties(tmp_path, encrypted=False, host="a.example:1,b.example:2", producer={"linger.ms": 5})
    assert given["bootstrap.servers"] == "a.example:1,b.example:2"
    assert int(given["linger.ms"]) == 5


def test_connection_properties_of_an_encrypted_server(tmp_path: Path) -> None:
    """The contract's kafka-secure means TLS, with the system's authorities where no file is given."""
    assert properties(tmp_path, encrypted=True)["security.protocol"] == "SSL"
    found = properties(tmp_path, encrypted=True, sasl=sasl(tmp_path))
    assert (found["security.protocol"], found["sasl.password"]) == ("SASL_SSL", "secret")


def test_properties_cannot_break_the_promises(kafka: Kafka) -> None:
    """Whatever an installation says, records are acknowledged by all replicas, in order, and never time out."""
    given = {"acks": 0, "enable.idempotence": False, "message.timeout.ms": 5, "partitioner": "random"}
    with closing_sink({"bootstrap.servers": kafka.bootstrap} | given) as sink:
        used = sink._properties  # noqa: SLF001 - librdkafka does not tell its settings
    assert (used["acks"], used["enable.idempotence"], used["enable.gapless.guarantee"]) == ("all", True, True)
    assert (used["message.timeout.ms"], used["partitioner"]) == (0, "murmur2_random")


def test_send_delivers_with_a_client_certificate(guarded: Kafka, certificates: Certificates, tmp_path: Path) -> None:
    """Mutual TLS: both sides show a certificate, and the record arrives."""
    tls = client_certificate(certificates, certificates.ca)
    with closing_sink(properties(tmp_path, encrypted=True, host=guarded.servers("SSL"), tls=tls)) as sink:
        assert deliver(sink, [record("readings")]) == ([0], {})


@pytest.mark.parametrize(
    ("mechanism", "listener"),
    [("PLAIN", "SASL_SSL"), ("SCRAM-SHA-256", "SASL_PLAINTEXT"), ("SCRAM-SHA-512", "SASL_SSL")],
)
def test_send_delivers_with_a_password(
    guarded: Kafka, certificates: Certificates, tmp_path: Path, mechanism: str, listener: str
) -> None:
    """Every mechanism that gateway.yaml knows signs in, over TLS and without."""
    tls = {"tls": {"ca_file": str(certificates.ca)}} if listener == "SASL_SSL" else {}
    login = sasl(tmp_path, mechanism)
    given = properties(tmp_path, encrypted=False, host=guarded.servers(listener), sasl=login, **tls)
    with closing_sink(given) as sink:
        assert deliver(sink, [record("readings")]) == ([0], {})


def trouble_of(given: dict[str, Any]) -> str:
    """Send a record that cannot get through; give what the sink says, and see that the record is still held."""
    with closing_sink(given) as sink:
        assert not sink.send([record("readings")], [entry(0)])
        wait_for(lambda: complaint(sink), 60, "the client to complain")
        with pytest.raises(ConnectionError) as raised:
            sink.missing_topics({"readings"}, 1)
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:  # complaints that follow must not hide the first
            sink.poll(0.05)
        assert sink.take_reports() == ([], []), "the record is neither lost nor given up"
        assert sink.in_flight == 1
        assert str(raised.value).partition("; ")[2] == sink.blocked_reason.partition("; ")[2], "both say what to check"
        return sink.blocked_reason


def test_send_with_a_wrong_password_says_what_to_check(guarded: Kafka, tmp_path: Path) -> None:
    """A wrong password is named as such, and never shown."""
    login = sasl(tmp_path, password="wrong-canary")
    trouble = trouble_of(properties(tmp_path, encrypted=False, host=guarded.servers("SASL_PLAINTEXT"), sasl=login))
    assert trouble == (
        f"Kafka at {guarded.servers('SASL_PLAINTEXT')}: user name or password rejected; "
        f"check sasl.username, password_file and mechanism {FILES_UNDER_SERVERS}"
    )
    assert "canary" not in trouble


def test_renew_signs_in_with_another_password(guarded: Kafka, tmp_path: Path) -> None:
    """What waited in the refused producer is handed back, in order, to be sent again by the new one."""
    login = sasl(tmp_path, password="of-yesterday")
    with closing_sink(
        properties(tmp_path, encrypted=False, host=guarded.servers("SASL_PLAINTEXT"), sasl=login)
    ) as sink:
        assert not sink.send([record("readings")], [entry(0)])
        wait_for(lambda: complaint(sink), 60, "the client to complain")
        sink.renew({"sasl.password": "secret"})
        settled, failed = collect(sink, 1)
        assert (settled, outcome(failed[0])) == ([], Outcome.REQUEUE)
        assert not sink.send([record("readings")], [entry(0)])
        assert collect(sink, 1) == ([0], {})
        assert sink.blocked_reason == ""


def test_renew_without_a_record_signs_in_as_well(guarded: Kafka, tmp_path: Path) -> None:
    """A gateway that nobody publishes to becomes ready, too."""
    login = sasl(tmp_path, password="of-yesterday")
    with closing_sink(
        properties(tmp_path, encrypted=False, host=guarded.servers("SASL_PLAINTEXT"), sasl=login)
    ) as sink:
        wait_for(lambda: complaint(sink), 60, "the client to complain")
        sink.renew({"sasl.password": "secret"})
        sink.poll(0)
        assert sink.missing_topics({"readings"}, 30) == set()


def test_renew_refuses_what_librdkafka_cannot_use(guarded: Kafka, certificates: Certificates, tmp_path: Path) -> None:
    """A certificate that does not fit its key yet: the producer stays as it is."""
    tls = client_certificate(certificates, certificates.ca)
    with closing_sink(properties(tmp_path, encrypted=True, host=guarded.servers("SSL"), tls=tls)) as sink:
        with pytest.raises(GatewayError, match=r"key values mismatch; check ca_file, cert_file and key_file"):
            sink.renew({"ssl.certificate.pem": certificates.certificate("broker").read_text()})
        assert deliver(sink, [record("readings")]) == ([0], {})


def test_send_to_a_server_of_another_authority_says_so(
    guarded: Kafka, certificates: Certificates, tmp_path: Path
) -> None:
    """A server whose certificate another authority signed is rejected; the pointer to the cause is in the message."""
    tls = client_certificate(certificates, certificates.other_ca)
    trouble = trouble_of(properties(tmp_path, encrypted=True, host=guarded.servers("SSL"), tls=tls))
    assert trouble == (
        f"Kafka at {guarded.servers('SSL')}: certificate rejected: certificate verify failed; "
        "run `gateway doctor -c FILE` for the cause"
    )
    assert not [thread for thread in threading.enumerate() if "kafka" in thread.name], "no thread looks for the cause"


def test_send_without_the_client_certificate_says_so(
    guarded: Kafka, certificates: Certificates, tmp_path: Path
) -> None:
    """A server that asks for a certificate and gets none is named with the setting to look at."""
    tls = {"ca_file": str(certificates.ca)}
    trouble = trouble_of(properties(tmp_path, encrypted=True, host=guarded.servers("SSL"), tls=tls))
    assert trouble == (
        f"Kafka at {guarded.servers('SSL')}: client certificate rejected or missing; "
        f"check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}"
    )


def test_the_cause_of_a_missing_token_outlasts_the_records_that_were_in_flight() -> None:
    """It is named once, and then librdkafka reports only that all brokers are down."""
    port = HeldPort()
    sink = KafkaSink({"bootstrap.servers": str(port)})
    handshake = "SASL OAUTHBEARER mechanism handshake failed: Broker: Request not valid in current SASL state"
    sink._on_error(KafkaError(KafkaError._AUTHENTICATION, handshake))  # noqa: SLF001 - what librdkafka calls
    sink._note_success()  # noqa: SLF001 - what a delivery report causes
    sink._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))  # noqa: SLF001 - as above
    assert sink.blocked_reason.startswith("Kafka: no token from the token endpoint: the last one is about to expire")
    sink._token_failed_at -= TOKEN_SECONDS  # noqa: SLF001 - as if the time had gone by
    sink._note_success()  # noqa: SLF001 - as above
    assert sink.blocked_reason == ""
    sink.close(0)
    port.release()
