"""Several gateways for one contract: what each of them subscribes to, and what it calls its own.

**Order per key** is why this is not simply a shared subscription. The broker deals the messages of one out to whoever
shares it and looks at no key: two readings of one machine go to two workers, and the second may be in Kafka first.

- `split: streams`, the default, keeps the order. Each worker subscribes to whole streams of its own, in the usual way;
  streams that go to the same Kafka topic stay together, so what a topic gets comes from one worker. There can be no
  more workers than topics, and a topic is never faster than one worker. A stream that is too much for one has
  to become several in the contract, with an address and a topic each: MQTT filters cannot hash a machine's name.
- `split: shared` deals every stream out to all workers: `$share/GROUP/FILTER`, MQTT 5.0 section 4.8.2; Mosquitto takes
  it in MQTT 3.1.1, too. Order per key does **not** hold, and a warning says so. For readings that carry their time and
  are sorted by whoever reads them, or for a broker that chooses the worker by topic (EMQX: `hash_topic`), as long as
  no worker comes or goes. Retained messages: the standard has none for such subscriptions, but Mosquitto 2.0 sends them
  to every worker, and each takes them in; `mqtt.retained: never` takes none.

Whichever it is, every reading is delivered at least once and each worker's books balance.

What a worker calls its own. Worker 1 is what `gateway run` is without workers: same client id, spool and port, so that
a session and a backlog go on when the second worker comes or the last one goes. Worker N has

    client id        CLIENT-ID-N                 two with one id would push each other out
    spool and state  worker-N/ beside the spool  one process a file; memory and limit are those of each worker
    schema ids       worker-N/, begun as a copy of worker 1's whenever that is newer: starts without the registry
    HTTP             the port that is N - 1 above http.listen's; that one with `apart`: on a machine or in a pod each

All workers know all streams, and connect to all brokers: one that takes no new readings of a stream still delivers
those in its spool and in its session. A worker above the count is *retired*: it unsubscribes, takes nothing new, and
delivers what it has. To lower the count is to retire workers, not to forget them. So as long as a `worker-N/` has a
spool, `gateway run` starts that worker, too.

Not promised: when the count or the split changes, streams change hands. Readings of those moments may come twice, and
readings from an old backlog after newer ones. Between the old worker's UNSUBSCRIBE and the new one's SUBSCRIBE the
broker may keep a stream for nobody: change it while the devices are quiet.
A worker that is down keeps its part waiting, shared or not: the broker queues for its session and tells no other.
"""

from __future__ import annotations

import dataclasses
import logging
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from gateway import files as durable
from gateway.errors import ConfigurationError
from gateway.installation import lock_path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from gateway.core.model import Contract, Stream
    from gateway.errors import Finding
    from gateway.settings.settings import HttpSettings, Settings

log = logging.getLogger(__name__)

HIGHEST_PORT = 65_535


class Worker(NamedTuple):
    """One of several gateways for one contract.

    Args:
        contract: with client ids of its own.
        settings: with a spool and a port of its own.
        filters: name of each stream that it subscribes to, and the filter to do it with.
    """

    contract: Contract
    settings: Settings
    filters: dict[str, str]


def worker(contract: Contract, settings: Settings, number: int) -> Worker:
    """Tell what a worker takes and calls its own.

    Args:
        contract: of all workers.
        settings: of all workers.
        number: of the worker, from 1; retired when above the count.
    """
    return Worker(_with_own_ids(contract, number), own_settings(settings, number), filters(contract, settings, number))


def filters(contract: Contract, settings: Settings, number: int) -> dict[str, str]:
    """Tell what a worker subscribes to.

    Args:
        contract: says the streams.
        settings: which of them are switched on, how many workers there are, and how they split them.
        number: of the worker, from 1.

    Returns:
        Subscription filters by stream; none for a retired worker.
    """
    workers = settings.workers
    streams = [stream for stream in contract.streams.values() if settings.is_enabled(stream.name)]
    if number > workers.count:
        return {}
    if workers.split == "shared":
        return {stream.name: f"$share/{workers.share}/{stream.address.filter}" for stream in streams}
    own = _topic_groups(streams)[number - 1 :: workers.count]
    return {stream.name: stream.address.filter for part in own for stream in part}


def _topic_groups(streams: list[Stream]) -> list[list[Stream]]:
    """Put streams together that go to the same Kafka topic, also by way of a third one."""
    part_of: dict[str, list[Stream]] = {}  # by topic
    for stream in streams:
        topics = [route.topic.name for route in stream.routes]
        met = {id(part): part for topic in topics if (part := part_of.get(topic))}
        joined = [*chain.from_iterable(met.values()), stream]
        part_of |= dict.fromkeys((route.topic.name for one in joined for route in one.routes), joined)
    return list({id(part): part for part in part_of.values()}.values())


def own_settings(settings: Settings, number: int) -> Settings:
    """Give a worker's own spool and port to the settings of all.

    Args:
        settings: of all workers.
        number: of the worker, from 1.
    """
    if number == 1:
        return settings
    spool = settings.spool.model_copy(update={"path": str(_spool_path(settings, number))})
    listen = settings.http.listen if settings.workers.apart else _own_listen(settings.http, number)
    http = settings.http.model_copy(update={"listen": listen})
    return settings.model_copy(update={"spool": spool, "http": http})


def numbers(settings: Settings) -> list[int]:
    """List the workers to start: those of the count, and retired ones that have a spool."""
    spool = settings.resolve(settings.spool.path)
    left = (path.parent.name.removeprefix("worker-") for path in spool.parent.glob(f"worker-*/{spool.name}"))
    retired = {int(text) for text in left if text.isdecimal() and int(text) > settings.workers.count}
    return [*range(1, settings.workers.count + 1), *sorted(retired)]


def prepare_worker(contract: Contract, settings: Settings, number: int) -> Worker:
    """Begin to be a worker: make its folder, with the schema ids that worker 1 knows.

    Args:
        contract: of all workers.
        settings: of all workers.
        number: of the worker, from 1.

    Returns:
        What it takes and calls its own.

    Raises:
        ConfigurationError: when its folder cannot be made or written.
    """
    own = worker(contract, settings, number)
    if number > settings.workers.count:
        detail = "it takes nothing new; when its books say that nothing is spooled, stop it and remove its folder"
        log.warning("this worker is retired", extra={"detail": detail})
    elif settings.workers.split == "shared":
        log.warning("order per key does not hold", extra={"detail": "workers.split is shared; with streams it does"})
    try:
        _prepare_folder(lock_path_of(settings), lock_path_of(own.settings))
    except OSError as error:
        message = f"The folder of worker {number} beside it cannot be written ({error.strerror})."
        finding = settings.finding(("spool", "path"), message, "Give its folder to the gateway's user.")
        raise ConfigurationError([finding]) from None
    return own


def examine(contract: Contract, settings: Settings) -> Iterator[Finding]:
    """Find what does not fit together in count and split of the workers.

    Args:
        contract: says the streams.
        settings: of all workers.
    """
    workers, last = settings.workers, own_settings(settings, settings.workers.count).http.listen
    if last and int(last.rpartition(":")[2]) > HIGHEST_PORT:
        yield settings.finding(("http", "listen"), "The ports of all workers do not fit above it.", "Take a lower one.")
    if workers.split == "streams":
        parts = _topic_groups([stream for stream in contract.streams.values() if settings.is_enabled(stream.name)])
        if workers.count > max(len(parts), 1):
            message = f"There are more workers than Kafka topics to split over them ({len(parts)})."
            yield settings.finding(("workers", "count"), message, "Take fewer, or split: shared, which keeps no order.")
        return
    place = ("workers", "split")
    message = "Order per key does not hold: the broker deals the readings of a machine out to all workers."
    yield settings.finding(place, message, "With split: streams it does.", "warning")
    if any(stream.is_watched for stream in contract.streams.values()):
        message = "x-sequence and x-silent-after are not watched: each worker sees a part of a key's readings."
        yield settings.finding(place, message, "With split: streams they are.", "warning")
    for server in contract.mqtt_servers.values():
        if server.version != "5.0":
            message = f"Shared subscriptions are no part of MQTT 3.1.1, which the contract says for {server.name}."
            yield settings.finding(place, message, "Mosquitto takes them all the same; ask your broker's.", "warning")


def tag_log_records(number: int) -> None:
    """Let every log line of this process carry its worker's number."""
    make = logging.getLogRecordFactory()

    def make_signed(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        record.worker = number
        return record

    logging.setLogRecordFactory(make_signed)


def _prepare_folder(theirs: Path, own: Path) -> None:
    if own == theirs:
        return
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if theirs.exists() and (not own.exists() or own.stat().st_mtime < theirs.stat().st_mtime):
        durable.replace(own, theirs.read_text(encoding="utf-8"))


def _with_own_ids(contract: Contract, number: int) -> Contract:
    if number == 1:
        return contract
    servers = {
        name: dataclasses.replace(server, client_id=f"{server.client_id}-{number}")
        for name, server in contract.mqtt_servers.items()
    }
    return dataclasses.replace(contract, mqtt_servers=servers)


def _spool_path(settings: Settings, number: int) -> Path:
    spool = settings.resolve(settings.spool.path)
    return spool.parent / f"worker-{number}" / spool.name


def _own_listen(http: HttpSettings, number: int) -> str | None:
    host, _, port = (http.listen or "").rpartition(":")
    if not http.listen or port == "0":
        return http.listen
    return f"{host}:{int(port) + number - 1}"
