"""Which of librdkafka's producer properties an installation may set.

Properties that would break a guarantee are rejected with the reason. librdkafka checks all others, one by one, so that
`gateway check` finds a misspelt one. A list of valid properties in this file would be outdated with librdkafka's next
release.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

import confluent_kafka

_ALWAYS: Final = "The gateway sets it, because a reading is acknowledged only when it is stored safely."
_ORDER: Final = "The gateway sets it, because the order of records with the same key depends on it."
_ORDER_IN_FLIGHT: Final = "Kafka keeps the order of at most five requests in flight."
_RETRIES: Final = "The gateway keeps a reading until Kafka has stored it, however long that takes."
_ELSEWHERE: Final = "The gateway derives it from the server's host, tls and sasl, and from the contract."
_REPORTS: Final = "The gateway needs its own delivery reports and events to settle readings."
_REFUSED_PROPERTIES: Final = {
    "acks": _ALWAYS,
    "request.required.acks": _ALWAYS,
    "enable.idempotence": _ORDER,
    "enable.gapless.guarantee": "It stops the producer where the gateway would retry.",
    "queuing.strategy": _ORDER,
    "partitioner": "The gateway partitions keys like Java's producers do; joins depend on it.",
    "sticky.partitioning.linger.ms": "The gateway sets it; every record has a key.",
    "message.timeout.ms": _RETRIES,
    "delivery.timeout.ms": _RETRIES,
    "retries": _RETRIES,
    "message.send.max.retries": _RETRIES,
    "transactional.id": "The gateway does not use transactions.",
    "transaction.timeout.ms": "The gateway does not use transactions.",
    "allow.auto.create.topics": "Topics are created only as the contract describes them.",
    "bootstrap.servers": _ELSEWHERE,
    "metadata.broker.list": _ELSEWHERE,
    "delivery.report.only.error": _REPORTS,
    "on_delivery": _REPORTS,
    "logger": _REPORTS,
    "opaque": _REPORTS,
    "default.topic.config": "It hides other properties; write them next to this one.",
    "plugin.library.paths": "It would load other code into the gateway.",
}
_IN_FLIGHT: Final = {"max.in.flight", "max.in.flight.requests.per.connection"}
_ORDERED: Final = {"1", "2", "3", "4", "5"}  # requests in flight whose order Kafka keeps
_LINGER: Final = {"linger.ms", "queue.buffering.max.ms"}  # two names of one property
_MILLISECONDS: Final = re.compile(r"[0-9]+(\.[0-9]*)?")  # librdkafka also accepts forms such as 0x10 and nan
_REFUSED_PATTERNS: Final = (
    (re.compile(r"(security|ssl|sasl|enable\.ssl|enable\.sasl|https)\..*"), _ELSEWHERE),
    (re.compile(r".*_cb|enabled_events"), _REPORTS),
    (re.compile(r"test\..*"), "Readings would go to a mock cluster in memory."),
)


def _refusal(name: str) -> str | None:
    matching = (reason for pattern, reason in _REFUSED_PATTERNS if pattern.fullmatch(name))
    return _REFUSED_PROPERTIES.get(name) or next(matching, None)


def refuse(name: str, value: object) -> tuple[str, str] | None:
    """What is wrong with a producer property, named as in librdkafka's CONFIGURATION.md, and the fix; or None."""
    plain = name.strip().lower()
    if reason := _refusal(plain):
        return f"This property would break a guarantee. {reason}", "Remove it."
    if plain in _IN_FLIGHT and str(value) not in _ORDERED:
        return f"This value would break a guarantee. {_ORDER_IN_FLIGHT}", "Write a number from 1 to 5, or remove it."
    if not isinstance(value, str | int | float):
        return None  # the check of its type rejects it
    if plain in _LINGER and not _MILLISECONDS.fullmatch(str(value)):
        return "Expected a number of milliseconds.", "Write a number such as 5."
    if reason := _librdkafka_refuses(name, value):
        return reason, "See the producer's properties in librdkafka's CONFIGURATION.md."
    return None


def take_linger(properties: dict[str, Any]) -> float:
    """Remove the linger from a producer's properties, and return its seconds or 0: the bridge delays records itself."""
    given = [properties.pop(name) for name in list(properties) if name.strip().lower() in _LINGER]
    return float(given[-1]) / 1000 if given else 0.0


def _librdkafka_refuses(name: str, value: str | float) -> str | None:
    silent = logging.Logger("unused", logging.CRITICAL + 1)  # noqa: LOG001  (never registered, and drops all records)
    try:
        confluent_kafka.Producer({name: value}, logger=silent)  # connects to nothing, because it has no broker
    except (confluent_kafka.KafkaException, ValueError, TypeError, AttributeError) as error:
        is_unknown = "No such" in str(error)
        return "librdkafka has no such property." if is_unknown else "librdkafka rejects this value."
    return None
