"""The settings of topics as Kafka has them: a topic's own, else the cluster's, else Kafka's default.

A client of its own asks, and is closed: the producer has no such request, and an idle client would keep its threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the library does not declare what it exports
    AdminClient,
    ConfigResource,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Settings = Mapping[str, str]


def describe(admin: AdminClient, names: Collection[str], timeout_seconds: float) -> dict[str, Settings | KafkaError]:
    """Look up the settings of topics, with one request; for each that Kafka does not describe, why not."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=timeout_seconds) if resources else {}
    return {resource.name: _settings(answer, 2 * timeout_seconds) for resource, answer in answers.items()}


def _settings(answer: Any, timeout_seconds: float) -> Settings | KafkaError:
    try:
        return {key: str(entry.value) for key, entry in answer.result(timeout_seconds).items()}
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        return reason


def actual_settings(
    properties: Mapping[str, Any], names: Collection[str], timeout_seconds: float
) -> dict[str, Settings | None]:
    """Look up the settings of the topics that exist; None for those whose settings Kafka does not show.

    Empty when Kafka does not answer.
    """
    try:  # to make the client fails as well, while a certificate is being replaced
        # With `debug` this client would print lines to standard error, past the log.
        admin = AdminClient({name: value for name, value in properties.items() if name != "debug"} | {"log_level": 0})
        metadata = admin.list_topics(timeout=timeout_seconds)
    except KafkaException:
        return {}
    present = [name for name in names if name in metadata.topics and not metadata.topics[name].error]
    can_ask = metadata.controller_id in metadata.brokers  # librdkafka's mock cluster names a controller that it lacks
    answers = describe(admin, present, timeout_seconds) if can_ask else dict.fromkeys(present)
    return {name: None if isinstance(answer, KafkaError) else answer for name, answer in answers.items()}
