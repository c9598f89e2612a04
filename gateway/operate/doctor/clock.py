"""This machine's clock against another's.

A Raspberry Pi has no clock of its own: it wakes up in the past, and certificates and the times of readings are wrong
until somebody tells it the time. The registry's HTTP Date header tells (to the second), whatever else it answers.
Without one there are Kafka's newest records: one from the future, and this clock is behind, or their producer's ahead.
"""

from __future__ import annotations

import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it does not declare its exports

from gateway.operate.doctor.diagnosis import Diagnosis, State
from gateway.operate.topics import wanted
from gateway.settings.settings import TlsSettings
from gateway.settings.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.installation import Installation

PLACE, WHAT = "clock", "this machine's"
FAR_SECONDS = 5.0
ANSWER_SECONDS = 10.0
FIX = "Set it, and keep it set: `timedatectl set-ntp true`."


def examine(installation: Installation) -> Iterator[Diagnosis]:
    """Compare the clock with the registry's, else with Kafka's newest records.

    Args:
        installation: its files.
    """
    kafka = installation.contract.kafka
    given = installation.settings.server(kafka.name).registry
    told = _date(given.url or kafka.registry_url or "", given.ca_file, installation)
    if told is not None:
        yield judge("the registry's", told - time.time())
    elif (newest := _newest_seconds(installation)) is not None and newest > time.time() + FAR_SECONDS:
        yield judge("Kafka's newest record", newest - time.time())
    else:
        yield Diagnosis(
            PLACE, WHAT, State.UNSEEN, "no registry tells the time, and no record in Kafka is from the future"
        )


def judge(whose: str, ahead_seconds: float) -> Diagnosis:
    """Judge how far another clock is from ours.

    Args:
        whose: the other clock.
        ahead_seconds: of ours; negative when it is behind.
    """
    told = f"{whose} is {abs(ahead_seconds):,.0f} s {'ahead' if ahead_seconds > 0 else 'behind'}"
    if abs(ahead_seconds) > FAR_SECONDS:
        return Diagnosis(PLACE, WHAT, State.WARNING, told, FIX)
    return Diagnosis(PLACE, WHAT, State.OK, told)


def _date(url: str, ca_file: str | None, installation: Installation) -> float | None:
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    if parts.scheme == "https":
        context = tls_context(TlsSettings(ca_file=ca_file), installation.settings)
        connection: HTTPConnection = HTTPSConnection(
            parts.hostname, parts.port, timeout=ANSWER_SECONDS, context=context
        )
    else:
        connection = HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
    with closing(connection):
        try:
            connection.request("HEAD", f"{parts.path.rstrip('/')}/subjects")
            return parsedate_to_datetime(connection.getresponse().headers["date"]).timestamp()
        except (OSError, HTTPException, TypeError, ValueError):  # no answer, no date, or none that can be read
            return None


def _newest_seconds(installation: Installation) -> float | None:
    """The latest time that a record of our topics has; None when there is none, or nobody says."""
    properties: Mapping[str, Any] = installation.kafka(producing=False)
    admin = AdminClient({**properties, "log_level": 0})
    try:
        there = admin.list_topics(timeout=ANSWER_SECONDS).topics
        places = [
            TopicPartition(name, number)
            for name in wanted(installation.contract)
            if name in there
            for number in there[name].partitions
        ]
        if not places:
            return None
        newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]  # the library has not typed it
        asked = admin.list_offsets(dict.fromkeys(places, newest), request_timeout=ANSWER_SECONDS)
        times = [one.result(2 * ANSWER_SECONDS).timestamp for one in asked.values()]
    except KafkaException:
        return None
    return max(times) / 1_000 if max(times) > 0 else None
