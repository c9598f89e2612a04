"""Kafka topics by the contract: the difference shown, and the steps made on a real cluster."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaException

from gateway.core.model import Topic
from gateway.errors import GatewayError
from gateway.operate.topics import Change, Cluster, Hidden, Need, carry_out, plan, wanted
from tests.contract_values import contract, record, stream
from tests.stack.gateway import Gateway
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreePort, NewTopic, StartKafka
    from tests.stack.kafka import Kafka

ALLOWED = {"more_partitions": True, "lowering": True}
DENIED = {"more_partitions": False, "lowering": False}


@pytest.fixture
def cluster(kafka: Kafka) -> Cluster:
    return Cluster({"bootstrap.servers": kafka.bootstrap})


def unused(**facts: Any) -> Topic:
    return Topic(f"planned-{uuid.uuid4().hex[:8]}", **facts)


def planned(topic: Topic, cluster: Cluster) -> dict[str, tuple[str, str, Need]]:
    changes = plan({topic.name: topic}, cluster).changes
    return {one.setting: (one.now, one.wanted, one.need) for one in changes}


def made(topic: Topic, cluster: Cluster, **allowed: bool) -> list[tuple[Change, GatewayError | None]]:
    """Make the changes that are allowed."""
    steps, _ = plan({topic.name: topic}, cluster).split(**(DENIED | allowed))
    return list(carry_out(steps, cluster))


def settled(topic: Topic, cluster: Cluster) -> bool:
    """Wait until the cluster shows a topic as it is wanted: brokers learn of changes one after the other."""
    return wait_for(lambda: not planned(topic, cluster), 30, lambda: f"no changes, but {planned(topic, cluster)}")


def test_wanted_names_each_topic_of_the_contract_once() -> None:
    """Topics of streams, and the dead letters' that they share."""
    streams = [stream(name, record(("k", "string")), address=f"{name}/{{k}}", keys=("/k",)) for name in ("one", "two")]
    assert list(wanted(contract(*streams))) == ["one", "dead-letters", "two"]


def test_apply_creates_a_topic_as_described(cluster: Cluster) -> None:
    """A missing topic is one change; once made, there is no difference any more."""
    configuration = {"cleanup.policy": "compact,delete", "retention.ms": "-1", "min.insync.replicas": "1"}
    topic = unused(partitions=4, replicas=1, configuration=configuration)
    (change,) = plan({topic.name: topic}, cluster).changes
    assert (change.setting, change.now, change.need) == ("topic", "", Need.NOTHING)
    assert "partitions=4, replicas=1, cleanup.policy=compact,delete" in change.wanted
    assert made(topic, cluster) == [(change, None)]
    assert settled(topic, cluster)


def test_apply_leaves_to_the_cluster_what_the_contract_does_not_say(cluster: Cluster) -> None:
    """A topic without partitions, replicas and settings in the contract is created with the cluster's defaults."""
    topic = unused()
    assert [refusal for _, refusal in made(topic, cluster)] == [None]
    assert settled(topic, cluster)


def test_apply_adds_partitions_only_when_allowed(cluster: Cluster, topic: NewTopic) -> None:
    """More partitions send keys to other partitions, so an option must allow it; fewer are impossible in Kafka."""
    more, fewer = Topic(topic(partitions=2), partitions=3), Topic(topic(partitions=2), partitions=1)
    assert planned(more, cluster) == {"partitions": ("2", "3", Need.MORE_PARTITIONS)}
    assert not made(more, cluster)
    assert "order breaks" in plan({more.name: more}, cluster).as_text()
    assert [refusal for _, refusal in made(more, cluster, more_partitions=True)] == [None]
    assert settled(more, cluster)
    assert planned(fewer, cluster) == {"partitions": ("2", "1", Need.FEWER_PARTITIONS)}
    assert not made(fewer, cluster, **ALLOWED)


@pytest.mark.parametrize(
    ("setting", "values", "need"),
    [
        ("retention.ms", ("1000", "2000"), Need.NOTHING),
        ("retention.ms", ("2000", "1000"), Need.LOWERING),
        ("retention.ms", ("1000", "-1"), Need.NOTHING),
        ("retention.bytes", ("-1", "1000000"), Need.LOWERING),
        ("max.message.bytes", ("2000000", "1000000"), Need.LOWERING),
        ("min.insync.replicas", ("1", "2"), Need.NOTHING),
        ("cleanup.policy", ("delete", "compact"), Need.LOWERING),
        ("cleanup.policy", ("compact,delete", "delete"), Need.NOTHING),
        ("compression.type", ("lz4", "zstd"), Need.NOTHING),
        ("retention.ms", ("1000", "soon"), Need.NOTHING),
    ],
)
def test_plan_tells_what_may_lose_records(
    cluster: Cluster, topic: NewTopic, setting: str, values: tuple[str, str], need: Need
) -> None:
    """Raising is made as it is; lowering, or cleaning up in a way more, waits for a word."""
    now, then = values
    there = Topic(topic(settings={setting: now}), configuration={setting: then})
    assert planned(there, cluster) == {setting: (now, then, need)}
    if need is Need.LOWERING:
        assert not made(there, cluster)
    (outcome,) = made(there, cluster, lowering=True)
    if then == "soon":
        assert "Not a number" in str(outcome[1])
        assert "topicConfiguration" in str(outcome[1])
    else:
        assert outcome[1] is None
        assert settled(there, cluster)


def test_plan_takes_policies_in_any_order_for_the_same(cluster: Cluster, topic: NewTopic) -> None:
    name = topic(settings={"cleanup.policy": "delete,compact"})
    assert not planned(Topic(name, configuration={"cleanup.policy": "compact,delete"}), cluster)


def test_plan_shows_other_replicas_and_leaves_them(cluster: Cluster, topic: NewTopic) -> None:
    there = Topic(topic(), replicas=3)
    assert planned(there, cluster) == {"replicas": ("1", "3", Need.HAND)}
    assert not made(there, cluster, **ALLOWED)


def test_plan_passes_over_one_vendors_settings_with_a_word(cluster: Cluster) -> None:
    """Brokers of others would refuse the whole topic for them."""
    topic = unused(configuration={"confluent.value.schema.validation": "true"})
    differences = plan({topic.name: topic}, cluster)
    assert "confluent.value.schema.validation is skipped" in differences.as_text()
    assert [refusal for _, refusal in made(topic, cluster)] == [None]
    assert settled(topic, cluster)


@pytest.mark.parametrize(
    ("facts", "reason", "fix"),
    [
        ({"replicas": 5}, "target replication factor of 5", "add brokers"),
        ({"configuration": {"retention.msec": "1"}}, "Unknown topic config name", "topicConfiguration"),
    ],
)
def test_apply_tells_what_kafka_refuses_and_goes_on(
    cluster: Cluster, facts: dict[str, Any], reason: str, fix: str
) -> None:
    """A refusal is Kafka's sentence with a next step, and the other topics are made."""
    bad, good = unused(partitions=1, **facts), unused()
    steps, _ = plan({one.name: one for one in (bad, good)}, cluster).split(**DENIED)
    (_, refusal), (_, other) = carry_out(steps, cluster)
    assert bad.name in str(refusal)
    assert reason in str(refusal)
    assert fix in str(refusal)
    assert other is None


def test_plan_tells_why_kafka_does_not_answer(free_port: FreePort) -> None:
    """Nothing listens at the address: the error says so, and what to check."""
    nowhere = Cluster({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, answer_seconds=1)
    reason = "Kafka does not answer: Kafka at .*: connection refused. Check the address"
    with pytest.raises(GatewayError, match=reason):
        plan({"any": Topic("any")}, nowhere)


def allowed(topic: Topic, cluster: Cluster, hidden: Hidden) -> bool:
    """Tell whether a user may see a topic."""
    try:
        return bool(cluster.topics([topic.name], hidden))
    except GatewayError:
        return False


def test_plan_and_apply_tell_what_a_user_may_not(kafka_cluster: StartKafka) -> None:
    """Without the rights the sentence names the topic and the rights to ask for."""
    guarded = kafka_cluster(
        users={"gateway": "secret"},
        settings={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "gateway"}
    user = Cluster({"bootstrap.servers": guarded.servers("SASL_PLAINTEXT"), "sasl.password": "secret", **login})
    topic = unused(partitions=1)
    with pytest.raises(GatewayError, match=f"{topic.name}: Kafka reports: .*ALTER_CONFIGS on the topic"):
        plan({topic.name: topic}, user)
    with pytest.raises(GatewayError, match="CREATE"):
        user.make(Change(topic, "topic", "", "", Need.NOTHING))
    guarded.create_topic(topic.name)
    guarded.allow("gateway", topic.name, "WRITE")
    hidden: Hidden = {}
    seen = Topic(topic.name, partitions=2, configuration={"retention.ms": "1"})
    wait_for(lambda: allowed(seen, user, hidden), 30, "the right to reach the broker")
    assert [one.setting for one in plan({topic.name: seen}, user, hidden).changes] == ["partitions"]
    assert "DESCRIBE_CONFIGS" in hidden[topic.name].hint


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def site(kafka: Kafka, tmp_path: Path) -> Iterator[tuple[Gateway, Topics]]:
    """Prepare an installation whose topics have 3 partitions where the contract wants 6, and one is missing."""
    topics = Topics(kafka, tmp_path, missing="door-sensors")
    brokers = {name: {"host": "127.0.0.1:1"} for name in ("factoryBroker", "meterBroker")}
    kafka_settings = {"host": kafka.bootstrap, "registry": {"url": "http://127.0.0.1:9"}}
    with Gateway(brokers | {"kafka": kafka_settings}, topics.contract) as gateway:
        yield gateway, topics


def run(gateway: Gateway, *arguments: str, exit_code: int) -> str:
    done = gateway.command("topics", *arguments, "-c", str(gateway.settings_file))
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_plan_and_apply_bring_a_cluster_to_the_contract(site: tuple[Gateway, Topics]) -> None:
    """2 while there is a difference, 2 again while one is left, 0 when the cluster is as the contract says."""
    gateway, topics = site
    name = topics("door-sensors")
    changes = json.loads(run(gateway, "plan", "--format", "json", exit_code=2))["changes"]
    assert {"topic": name, "setting": "topic"}.items() <= next(one for one in changes if one["topic"] == name).items()
    assert [one["setting"] for one in changes if one["topic"] == topics("smart-meter")] == ["partitions"]

    left = run(gateway, "apply", "--yes", exit_code=2)
    assert f"{name} topic: missing -> partitions=6, replicas=1" in left
    assert f"{topics('smart-meter')} partitions: 3 -> 6: not made. Run `gateway topics apply -c " in left
    assert "partitions: 3 -> 6: done" in run(gateway, "apply", "--yes", "--allow-more-partitions", exit_code=0)
    wait_for(lambda: gateway.command("topics", "plan", "-c", str(gateway.settings_file)).returncode == 0, 30, "no plan")
    assert "The cluster matches the contract." in run(gateway, "apply", exit_code=0)


def test_apply_asks_before_it_changes_anything(site: tuple[Gateway, Topics]) -> None:
    """Without --yes and without an answer nothing is made."""
    gateway, topics = site
    run(gateway, "apply", exit_code=1)
    with pytest.raises((KafkaException, KeyError, AssertionError)):
        topics.count("door-sensors")
