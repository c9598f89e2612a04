"""The settings of topics as Kafka has them, with its defaults for what a topic does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.kafka.topic_settings import actual_settings
from tests.stack.mock_kafka import MockCluster

if TYPE_CHECKING:
    from tests.conftest import FreePort, NewTopic
    from tests.stack.kafka import Kafka


def test_settings_are_the_topics_own_or_the_clusters(kafka: Kafka, topic: NewTopic) -> None:
    """Of topics that exist."""
    own, inherited = topic("own", 1, settings={"retention.ms": "1000"}), topic("inherited", 1)
    found = actual_settings({"bootstrap.servers": kafka.bootstrap}, [own, inherited, f"{own}-not"], 10)
    assert {name: settings and settings["retention.ms"] for name, settings in found.items()} == {
        own: "1000",
        inherited: "604800000",
    }


def test_settings_are_hidden_where_the_cluster_shows_none() -> None:
    """The mock cluster answers no such request; it is not even asked, so this takes no time."""
    with MockCluster({"readings": 1}) as mock:
        assert actual_settings({"bootstrap.servers": mock.bootstrap}, ["readings"], 10) == {"readings": None}


def test_settings_are_not_known_while_kafka_does_not_answer(free_port: FreePort) -> None:
    assert actual_settings({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, ["readings"], 0.5) == {}
