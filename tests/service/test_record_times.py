"""The timestamps of records by the settings that Kafka has, which a thread looks up."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.core.model import Topic
from gateway.operate.topics import Change, Cluster, Need
from gateway.service.record_times import RecordTimes
from tests.contract_values import record, stream
from tests.stack.mock_kafka import MockCluster
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest

    from gateway.core.model import Stream
    from tests.conftest import FreePort, NewTopic, StartKafka
    from tests.stack.kafka import Kafka

HOUR = 3_600_000
AT = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
TRANSFORM: Any = object()  # is passed on as it is


def now() -> int:
    return time.time_ns() // 1_000_000


def dated(topic: str, dead_letters: str, configuration: Mapping[str, str] | None = None) -> Stream:
    """Describe a stream with x-timestamp."""
    made = stream("dated", record(("k", "string"), AT), address="dated", keys=("/k",))
    route = replace(made.route, timestamp="/at", topic=Topic(topic, configuration=dict(configuration or {})))
    return replace(made, route=route, dead_letters=replace(made.dead_letters, topic=Topic(dead_letters)))


@contextmanager
def running(made: Stream, properties: Mapping[str, Any]) -> Iterator[tuple[RecordTimes, list[tuple[str, Any]]]]:
    """Start the lookups, with the transform of the stream handed over; give what is passed on."""
    times, passed = RecordTimes([made], lambda: properties, refresh_seconds=0.2), list[tuple[str, Any]]()
    times.hand_over(made.name, TRANSFORM)
    times.start(passed.append)
    yield times, passed
    times.stop()


def test_transform_waits_for_the_settings_of_its_topics(kafka: Kafka, topic: NewTopic) -> None:
    """A topic that does not exist yet may be created with any setting; a setting that changes holds from then on."""
    name, dead = topic("readings") + "-later", topic("dead", 1)
    with running(dated(name, dead), {"bootstrap.servers": kafka.bootstrap}) as (times, passed):
        wait_for(lambda: times[dead].earliest > now() - 169 * HOUR, 30, "the settings of the topic that exists")
        assert not passed
        kafka.create_topic(name, 1, settings={"retention.ms": str(HOUR)})
        wait_for(lambda: passed, 30, "the transform")
        assert passed == [("dated", TRANSFORM)]
        assert times[name](now() - 2 * HOUR, at := now()) == at
        cluster = Cluster({"bootstrap.servers": kafka.bootstrap})
        cluster.make(Change(Topic(name), "retention.ms", "", "-1", Need.NOTHING))
        wait_for(lambda: times[name].earliest == 1, 30, "the new setting")


def test_transform_without_event_times_waits_for_nothing(free_port: FreePort) -> None:
    made = dated("readings", "dead", {"retention.ms": str(HOUR)})
    made = replace(made, route=replace(made.route, timestamp=None))
    with running(made, {"bootstrap.servers": f"127.0.0.1:{free_port()}"}) as (times, passed):
        wait_for(lambda: passed, 30, "the transform")
        assert times["readings"].earliest > now() - 2 * HOUR  # as the contract says


def test_settings_that_kafka_does_not_have_are_those_of_the_contract() -> None:
    """The mock cluster describes no topics."""
    made = dated("readings", "dead", {"retention.ms": str(HOUR)})
    with MockCluster({"readings": 1, "dead": 1}) as mock, running(made, {"bootstrap.servers": mock.bootstrap}) as found:
        times, passed = found
        wait_for(lambda: passed, 30, "the transform")
        assert times["readings"].earliest > now() - 2 * HOUR


def test_settings_that_a_user_may_not_read_are_those_of_the_contract_or_kafkas_defaults(
    kafka_cluster: StartKafka, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = kafka_cluster(
        users={"gateway": "secret"},
        settings={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    guarded.create_topic("readings", settings={"retention.ms": str(HOUR)})
    guarded.allow("gateway", "readings", "WRITE")
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "gateway"}
    properties = {"bootstrap.servers": guarded.servers("SASL_PLAINTEXT"), "sasl.password": "secret", **login}
    with running(dated("readings", "dead"), properties) as (times, passed):
        wait_for(lambda: passed, 30, "the transform")
        assert now() - 169 * HOUR < times["readings"].earliest < now() - 167 * HOUR
    text = "Kafka does not show the settings of topics to this user."
    (line,) = [line for line in caplog.records if line.message == text]
    assert "DESCRIBE_CONFIGS" in vars(line)["detail"]
