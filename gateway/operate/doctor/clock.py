"""This machine's clock against another's.

A Raspberry Pi has no battery-backed clock: it starts in the past, and until NTP sets the time, certificates are not
valid yet and the timestamps of readings are wrong. The registry's HTTP Date header tells the time, to the second, with
any status. Without a registry Kafka's newest records are used: if one is from the future, this clock is behind, or its
producer's is ahead.

The first finding says what the gateway goes by: whether a time service has set the clock, who says so, and for how long
readings wait at a start when it has not (`service/time_service.py`).
"""

from __future__ import annotations

import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it does not declare its exports

from gateway.errors import Finding
from gateway.operate.topics import wanted
from gateway.service import time_service
from gateway.settings.settings import TlsSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.installation import Installation
    from gateway.service.time_service import Answer
    from gateway.settings.pem import TlsFiles

PLACE, WHAT, SYNCHRONISED = "clock", "this machine's", "synchronised"
FAR_SECONDS = 5.0
ANSWER_SECONDS = 10.0
FIX = "Set it and keep it synchronized: `timedatectl set-ntp true`."


def examine(installation: Installation) -> Iterator[Finding]:
    """Say whether the clock is synchronised, and compare it with the registry's, or with Kafka's newest records."""
    kafka, settings = installation.contract.kafka, installation.settings
    yield synchronisation(time_service.ask(), settings.clock.wait, has_rtc=time_service.has_rtc())
    given = settings.server(kafka.name)
    registry, sasl = given.registry, given.sasl
    date = _date(registry.url or kafka.registry_url or "", "/subjects", settings.tls_files(registry.tls))
    if date is not None:
        yield compare("the registry's", date - time.time())
    elif (newest := _newest_seconds(installation)) is not None and newest > time.time() + FAR_SECONDS:
        yield compare("Kafka's newest record", newest - time.time())
    else:
        text = "no registry answers with the time, and no record in Kafka is from the future"
        yield Finding.at(PLACE, WHAT, "unknown", text)
    for oauth in (sasl and sasl.oauth, registry.oauth):  # a token counts by the times that it states
        if oauth and oauth.token_url:
            files = settings.tls_files(TlsSettings(ca_file=oauth.ca_file))
            if (date := _date(oauth.token_url, "", files)) is not None:
                yield compare(f"the token endpoint {urlsplit(oauth.token_url).hostname}", date - time.time())


def synchronisation(answer: Answer, wait_seconds: float | None, *, has_rtc: bool) -> Finding:
    """Say whether the clock is synchronised, and what the gateway does while it is not."""
    found = time_service.stance(answer, wait_seconds, has_rtc=has_rtc, is_too_early=time_service.is_too_early())
    said = f"{answer.who} says that it is {'' if answer.is_synchronised else 'not '}synchronised"
    text = f"{said if answer.who else 'no time service answers'}; {'with' if has_rtc else 'without'} a real-time clock"
    if answer.is_synchronised:
        return Finding.at(PLACE, SYNCHRONISED, "ok", text)
    if found.is_trusted:
        return Finding.at(PLACE, SYNCHRONISED, "unknown", f"{text}; readings do not wait and are not marked")
    wait = f"readings wait {found.wait_seconds:g} s for it after the start"
    text = f"{text}; {wait}, then are sent with the header gateway.clock"
    return Finding.at(PLACE, SYNCHRONISED, "warning", text, FIX)


def compare(other: str, ahead_seconds: float) -> Finding:
    """Compare another clock with this machine's; `ahead_seconds` is negative when the other is behind."""
    text = f"{other} is {abs(ahead_seconds):,.0f} s {'ahead' if ahead_seconds > 0 else 'behind'}"
    if abs(ahead_seconds) > FAR_SECONDS:
        return Finding.at(PLACE, WHAT, "warning", text, FIX)
    return Finding.at(PLACE, WHAT, "ok", text)


def _date(url: str, below: str, files: TlsFiles) -> float | None:
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    connect: Callable[..., HTTPConnection] = HTTPConnection
    if parts.scheme == "https":
        connect = partial(HTTPSConnection, context=files.context())
    with closing(connect(parts.hostname, parts.port, timeout=ANSWER_SECONDS)) as connection:
        try:
            connection.request("HEAD", f"{parts.path.rstrip('/')}{below}")
            return parsedate_to_datetime(connection.getresponse().headers["date"]).timestamp()
        except (OSError, HTTPException, TypeError, ValueError):  # no answer, no date, or one that cannot be parsed
            return None


def _newest_seconds(installation: Installation) -> float | None:
    """The latest timestamp of a record in the contract's topics; None when there is none, or Kafka does not answer."""
    admin = AdminClient({**installation.kafka(producing=False), "log_level": 0})
    try:
        topics = admin.list_topics(timeout=ANSWER_SECONDS).topics
        names = [name for name in wanted(installation.contract) if name in topics]
        places = [TopicPartition(name, number) for name in names for number in topics[name].partitions]
        if not places:
            return None
        newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]  # the library has not typed it
        offsets = admin.list_offsets(dict.fromkeys(places, newest), request_timeout=ANSWER_SECONDS)
        times = [one.result(2 * ANSWER_SECONDS).timestamp for one in offsets.values()]
    except (KafkaException, TimeoutError):
        return None
    return max(times) / 1_000 if max(times) > 0 else None
