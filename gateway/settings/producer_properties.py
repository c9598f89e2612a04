"""Which of librdkafka's producer properties an installation may set.

Those that would break a promise are refused with the reason. librdkafka itself is asked about all others, one by one,
so that a misspelt one is found by `gateway check` and not on the first start: a list of our own would be outdated
with its next release.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

import confluent_kafka

_ALWAYS: Final = "The gateway sets it, because a reading may be acknowledged only when it is safe."
_ORDER: Final = "The gateway sets it, because the order per key hangs on it."
_ORDER_AT_ONCE: Final = "Kafka keeps the order of five requests that are under way at once, not of more."
_PATIENCE: Final = "The gateway keeps a reading until Kafka has it, however long that takes."
_ELSEWHERE: Final = "The gateway makes it from the server's host, tls and sasl and from the contract."
_REPORTS: Final = "The gateway settles readings by delivery reports and events of its own."
_REFUSED_PROPERTIES: Final = {
    "acks": _ALWAYS,
    "request.required.acks": _ALWAYS,
    "enable.idempotence": _ORDER,
    "enable.gapless.guarantee": "It ends the producer where the gateway would send again.",
    "queuing.strategy": _ORDER,
    "partitioner": "The gateway puts keys where Java's producers put them, or joins would break.",
    "sticky.partitioning.linger.ms": "The gateway sets it; every record has a key.",
    "message.timeout.ms": _PATIENCE,
    "delivery.timeout.ms": _PATIENCE,
    "retries": _PATIENCE,
    "message.send.max.retries": _PATIENCE,
    "transactional.id": "The gateway does not use transactions.",
    "transaction.timeout.ms": "The gateway does not use transactions.",
    "allow.auto.create.topics": "Topics are made as the contract describes them, not by accident.",
    "bootstrap.servers": _ELSEWHERE,
    "metadata.broker.list": _ELSEWHERE,
    "delivery.report.only.error": _REPORTS,
    "on_delivery": _REPORTS,
    "logger": _REPORTS,
    "opaque": _REPORTS,
    "default.topic.config": "It hides other properties; write them beside this one.",
    "plugin.library.paths": "It would load foreign code into the gateway.",
}
_IN_FLIGHT: Final = {"max.in.flight", "max.in.flight.requests.per.connection"}
_ORDERLY: Final = {"1", "2", "3", "4", "5"}  # so many requests at once Kafka keeps in order
_LINGER: Final = {"linger.ms", "queue.buffering.max.ms"}  # two names of one property
_MILLISECONDS: Final = re.compile(r"[0-9]+(\.[0-9]*)?")  # librdkafka takes more, such as 0x10 and nan
_REFUSED_PATTERNS: Final = (
    (re.compile(r"(security|ssl|sasl|enable\.ssl|enable\.sasl|https)\..*"), _ELSEWHERE),
    (re.compile(r".*_cb|enabled_events"), _REPORTS),
    (re.compile(r"test\..*"), "Readings would end in a mock cluster in memory."),
)


def _refusal(name: str) -> str | None:
    matching = (reason for pattern, reason in _REFUSED_PATTERNS if pattern.fullmatch(name))
    return _REFUSED_PROPERTIES.get(name) or next(matching, None)


def refuse(name: str, value: object) -> tuple[str, str] | None:
    """Tell why a property cannot be set.

    Args:
        name: as in librdkafka's CONFIGURATION.md.
        value: as in the settings.

    Returns:
        What is wrong and what to do, or None when nothing is.
    """
    plain = name.strip().lower()
    if reason := _refusal(plain):
        return f"This property would break a promise. {reason}", "Remove it."
    if plain in _IN_FLIGHT and str(value) not in _ORDERLY:
        return f"With this value the property would break a promise. {_ORDER_AT_ONCE}", "Write 1 to 5, or leave it out."
    if not isinstance(value, str | int | float):
        return None  # it is refused by its type
    if plain in _LINGER and not _MILLISECONDS.fullmatch(str(value)):
        return "This is no number of milliseconds.", "Write a number such as 5."
    if reason := _librdkafka_refuses(name, value):
        return reason, "See the producer's properties in librdkafka's CONFIGURATION.md."
    return None


def take_linger(properties: dict[str, Any]) -> float:
    """Take out of a producer's properties how long a record may wait for others; the loop does that waiting itself.

    Args:
        properties: by name; those of the linger are removed.

    Returns:
        Seconds; 0 when nothing is said.
    """
    given = [properties.pop(name) for name in list(properties) if name.strip().lower() in _LINGER]
    return float(given[-1]) / 1000 if given else 0.0


def _librdkafka_refuses(name: str, value: str | float) -> str | None:
    silent = logging.Logger("unused", logging.CRITICAL + 1)  # noqa: LOG001  (never registered, never heard)
    try:
        confluent_kafka.Producer({name: value}, logger=silent)  # connects to nothing: it knows no broker
    except (confluent_kafka.KafkaException, ValueError, TypeError, AttributeError) as error:
        is_unknown = "No such" in str(error)
        return "librdkafka has no such property." if is_unknown else "librdkafka does not take this value."
    return None
