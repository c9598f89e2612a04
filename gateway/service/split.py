"""Several gateways (workers) for one contract: what each subscribes to, and which names and files are its own.

**Order per key** is why a shared subscription is not enough. The broker distributes its messages regardless of their
key: two readings of one machine go to two workers, and the second may reach Kafka first.

- `split: streams`, the default, keeps the order. Each worker subscribes to whole streams. Streams that go to the same
  Kafka topic stay together, so the records of a topic come from one worker, and so do streams that one subscription
  brings. There can be no more workers than such groups, and a topic is never faster than one worker. A stream that is
  too much for one worker has to be divided in the contract, into streams with an address and a topic each: MQTT filters
  cannot hash a machine's name.
- `split: shared` distributes every stream to all workers: `$share/GROUP/FILTER`, MQTT 5.0 section 4.8.2; Mosquitto
  supports it in MQTT 3.1.1, too. Order per key does **not** hold, and a warning says so. Use it if consumers sort by
  the time in the readings, or if the broker chooses the worker by topic (EMQX: `hash_topic`) and the number of workers
  stays the same. The standard has no retained messages for such subscriptions, but Mosquitto 2.0 sends them to every
  worker, and each accepts them unless `mqtt.retained` is `never`.

In both cases, every reading is delivered at least once, and the ledger of each worker balances.

Worker 1 is what `gateway run` is without workers: same client id, spool and port. So its session and backlog continue
when a second worker is added or the last one removed. Worker N has

    client id        CLIENT-ID-N                    a broker disconnects the first of two clients with the same id
    spool and state  worker-N/ beside the spool     one process per file; memory and limit apply to each worker
    schema ids       worker-N/, copied from worker 1's if that is newer, so that it can start without the registry
    HTTP             the port N - 1 above http.listen's; the same port with `apart`: on a machine or in a pod of its own

All workers know all streams and connect to all brokers: a worker that receives no new readings of a stream still
delivers those in its spool and in its session. A worker above the count is *retired*: it unsubscribes, receives nothing
new, and delivers what it has. So `gateway run` starts a retired worker as long as its `worker-N/` has a spool.

Not promised: when the count or the split changes, streams move to other workers. Readings at that moment may be
delivered twice, and readings of an old backlog after newer ones. Between UNSUBSCRIBE of the old worker and SUBACK of
the new one, there may be no subscription to a stream: make the change while the devices are quiet. Messages for a
worker that is down wait in its session, shared or not; the broker does not redistribute them.
"""

from __future__ import annotations

import dataclasses
import logging
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from gateway import files
from gateway.core.counters import has_counters
from gateway.errors import ConfigurationError
from gateway.installation import lock_path_of, subscriptions
from gateway.settings.consistency import check_consistency
from gateway.settings.settings import StatusSettings

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
    """One of several gateways for one contract."""

    contract: Contract  # with its own client ids
    settings: Settings  # with its own spool and port
    streams: list[str]  # that it subscribes to
    filters: dict[str, dict[str, int]]  # server -> filter that it subscribes to -> QoS
    number: int  # from 1
    of_all: tuple[Contract, Settings]  # what it was derived from

    @property
    def enabled(self) -> dict[str, Stream]:
        """All streams that are not switched off, by name."""
        return {stream.name: stream for stream in _enabled(self.contract, self.settings)}


def worker(contract: Contract, settings: Settings, number: int) -> Worker:
    """Derive a worker from the contract and settings of all; its number starts at 1, above the count it is retired."""
    streams = _streams(contract, settings, number)
    own = _filters(contract, settings, streams)
    settings_of_it = own_settings(settings, number)
    return Worker(_with_own_ids(contract, number), settings_of_it, streams, own, number, (contract, settings))


def _streams(contract: Contract, settings: Settings, number: int) -> list[str]:
    """The streams that a worker subscribes to; none for a retired worker."""
    workers = settings.workers
    if number > workers.count:
        return []
    if workers.split == "shared":
        return [stream.name for stream in _enabled(contract, settings)]
    return list(chain.from_iterable(_groups(contract, settings)[number - 1 :: workers.count]))


def _filters(contract: Contract, settings: Settings, own: list[str]) -> dict[str, dict[str, int]]:
    """The filters of streams that share no subscription with others, with their QoS, by server."""
    workers = settings.workers
    shared = f"$share/{workers.share}/" if workers.split == "shared" else ""
    return {
        server: {
            f"{shared}{each}": max(map(settings.qos_of, streams))
            for each, streams in subscriptions(contract, settings.is_enabled, server).items()
            if streams[0].name in own
        }
        for server in contract.mqtt_servers
    }


def _enabled(contract: Contract, settings: Settings) -> list[Stream]:
    return [stream for stream in contract.streams.values() if settings.is_enabled(stream.name)]


def _groups(contract: Contract, settings: Settings) -> list[list[str]]:
    """Group the streams that share a Kafka topic or a subscription, directly or through other streams."""
    ties = [[one.name for one in streams] for server in contract.mqtt_servers
            for streams in subscriptions(contract, settings.is_enabled, server).values()]  # fmt: skip
    by_topic: dict[str, list[str]] = {}
    for stream in _enabled(contract, settings):
        for route in stream.routes:
            by_topic.setdefault(route.topic.name, []).append(stream.name)
    group_of: dict[str, list[str]] = {}  # by stream
    for tied in [*by_topic.values(), *ties]:
        groups = {id(group): group for name in tied if (group := group_of.get(name))}
        joined = list(dict.fromkeys([*chain.from_iterable(groups.values()), *tied]))
        group_of |= dict.fromkeys(joined, joined)
    return list({id(group): group for group in group_of.values()}.values())


def own_settings(settings: Settings, number: int) -> Settings:
    """The settings of all workers with the spool and port of one."""
    if number == 1:
        return settings
    path = settings.resolve(settings.spool.path)
    spool = settings.spool.model_copy(update={"path": str(path.parent / f"worker-{number}" / path.name)})
    listen = settings.http.listen if settings.workers.apart else _own_listen(settings.http, number)
    http = settings.http.model_copy(update={"listen": listen})
    status = StatusSettings()  # the first worker publishes it
    return settings.model_copy(update={"spool": spool, "http": http, "status": status})


def numbers(settings: Settings) -> list[int]:
    """The workers to start: those of the count, and retired ones that have a spool."""
    spool = settings.resolve(settings.spool.path)
    suffixes = (path.parent.name.removeprefix("worker-") for path in spool.parent.glob(f"worker-*/{spool.name}"))
    retired = {int(text) for text in suffixes if text.isdecimal() and int(text) > settings.workers.count}
    return [*range(1, settings.workers.count + 1), *sorted(retired)]


def prepare_worker(contract: Contract, settings: Settings, number: int) -> Worker:
    """Derive a worker and make its folder, with the schema ids of worker 1; ConfigurationError if that fails."""
    own = worker(contract, settings, number)
    if number > settings.workers.count:
        detail = "once its status shows nothing on disk, stop it and remove its folder"
        text = "This worker is above workers.count: it subscribes to nothing, and sends what it has on disk."
        log.warning(text, extra={"detail": detail})
    elif settings.workers.split == "shared":
        detail = "workers.split is shared; to keep the order, set it to streams"
        log.warning("Order per key is not guaranteed.", extra={"detail": detail})
    try:
        _prepare_folder(lock_path_of(settings), lock_path_of(own.settings))
    except OSError as error:
        message = f"Cannot write the folder of worker {number} beside the spool: {error.strerror}."
        finding = settings.finding(("spool", "path"), message, "Make the gateway's user the owner of that folder.")
        raise ConfigurationError([finding]) from None
    return own


def check(contract: Contract, settings: Settings) -> None:
    """Raise ConfigurationError with all errors of settings that do not fit the contract, or cannot be split."""
    findings = [*check_consistency(settings, contract), *examine(contract, settings)]
    if errors := [finding for finding in findings if finding.severity == "error"]:
        raise ConfigurationError(errors)


def examine(contract: Contract, settings: Settings) -> Iterator[Finding]:
    """Check the count and the split of the workers."""
    workers, last = settings.workers, own_settings(settings, settings.workers.count).http.listen
    if last and int(last.rpartition(":")[2]) > HIGHEST_PORT:
        message = f"The ports of all workers do not fit between this port and {HIGHEST_PORT}."
        yield settings.finding(("http", "listen"), message, "Use a lower port.")
    if workers.split == "streams":
        groups = _groups(contract, settings)
        if workers.count > max(len(groups), 1):
            message = (
                f"There are more workers than groups of streams to split among them ({len(groups)}): streams that "
                "share a Kafka topic or a subscription stay together."
            )
            fix = "Use fewer workers, or split: shared, which does not keep the order per key."
            yield settings.finding(("workers", "count"), message, fix)
        return
    place = ("workers", "split")
    message = "Order per key does not hold: the broker distributes the readings of a machine to all workers."
    yield settings.finding(place, message, "To keep the order, set split to streams.", "warning")
    if counting := [stream.name for stream in contract.streams.values() if has_counters(stream)]:
        message = f"x-counter of {counting[0]} needs all readings of a key, but each worker receives a part of them."
        yield settings.finding(place, message, "Set split to streams.")
    if any(stream.is_watched for stream in contract.streams.values()):
        message = "x-sequence and x-silent-after have no effect: each worker receives a part of a key's readings."
        yield settings.finding(place, message, "For these, set split to streams.", "warning")
    if any(stream.lines for stream in contract.streams.values()):
        message = "The lines of a telegram would go to different workers, and no telegram would be complete."
        yield settings.finding(place, message, "Set split to streams.")
    for server in contract.mqtt_servers.values():
        if server.version != "5.0":
            message = f"MQTT 3.1.1, which the contract states for {server.name}, has no shared subscriptions."
            fix = "Mosquitto supports them anyway; check the manual of other brokers, or use protocolVersion 5.0."
            yield settings.finding(place, message, fix, "warning")


def tag_log_records(number: int) -> None:
    """Add `worker` to every log line of this process."""
    make = logging.getLogRecordFactory()

    def make_tagged(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        record.worker = number
        return record

    logging.setLogRecordFactory(make_tagged)


def _prepare_folder(first: Path, own: Path) -> None:
    """Make the folder of the worker's lock file, and copy worker 1's file if it is newer."""
    if own == first:
        return
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if first.exists() and (not own.exists() or own.stat().st_mtime < first.stat().st_mtime):
        files.replace(own, first.read_text(encoding="utf-8"))


def _with_own_ids(contract: Contract, number: int) -> Contract:
    if number == 1:
        return contract
    servers = {
        name: dataclasses.replace(server, client_id=f"{server.client_id}-{number}")
        for name, server in contract.mqtt_servers.items()
    }
    return dataclasses.replace(contract, mqtt_servers=servers)


def _own_listen(http: HttpSettings, number: int) -> str | None:
    host, _, port = (http.listen or "").rpartition(":")
    if not http.listen or port == "0":
        return http.listen
    return f"{host}:{int(port) + number - 1}"
