"""The parts of a gateway that its contract and its settings make, and that a reload makes anew."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gateway.bridge.bridge import Change, Rules
from gateway.core.counters import CounterMonitor, has_counters
from gateway.core.sequence import SequenceMonitor
from gateway.core.telegram_lines import TelegramLines
from gateway.core.topic_index import UNMAPPED
from gateway.installation import connection_properties, registry_of, topics_at
from gateway.kafka.state_topic import STATE_TOPIC
from gateway.mqtt.routing import Routing
from gateway.service.record_times import RecordTimes
from gateway.service.schema_ids import Former, SchemaIdResolver

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping

    from gateway.bridge.bridge import Transform
    from gateway.core.ledger import Ledger
    from gateway.core.model import Stream
    from gateway.core.sequence import Figure
    from gateway.service.reload_plan import StreamChanges
    from gateway.service.split import Worker

_Item = TypeVar("_Item")


class Parts(NamedTuple):
    """The parts; `transforms` gets those of all streams whose transform is new."""

    own: Worker
    record_times: RecordTimes
    schema_ids: SchemaIdResolver
    transforms: SimpleQueue[tuple[str, Transform | None]]

    @property
    def streams(self) -> list[Stream]:
        """The streams that are not switched off."""
        return list(self.own.enabled.values())

    @property
    def dead_letter_topics(self) -> dict[str, str]:
        """The topics of dead letters, by stream; those of unmapped topics go where those of the first stream go."""
        topics = {stream.name: stream.dead_letters.topic.name for stream in self.streams}
        return topics | {UNMAPPED: next(iter(topics.values()), "")}

    @property
    def topics(self) -> set[str]:
        """The Kafka topics that must exist."""
        topics = {route.topic.name for stream in self.streams for route in stream.routes}
        topics |= {STATE_TOPIC} if self.own.settings.delivery == "exactly_once" else set()
        return topics | set(self.dead_letter_topics.values())

    def routing(self, server: str) -> Routing:
        """Say what the source of a server subscribes to, and whose the topics are."""
        keeping = (stream.name for stream in self.streams if server in stream.servers and stream.keeps_properties)
        stream_of = topics_at(self.own.contract, self.own.settings, [server])
        return Routing(self.own.filters.get(server, {}), stream_of, frozenset(keeping))

    def start(self) -> None:
        """Start the threads."""
        self.record_times.start(self.transforms.put)
        self.schema_ids.start()

    def stop(self) -> None:
        """End the threads."""
        self.schema_ids.stop()
        self.record_times.stop()


def parts_of(own: Worker, payload_limit: int, former: Parts | None = None, changed: Collection[str] = ()) -> Parts:
    """Make the parts; those that continue others look up the ids of the changed streams now, which takes a moment."""
    streams = list(own.enabled.values())
    properties = partial(kafka_properties, own)
    record_times = RecordTimes(streams, properties, former=former and former.record_times)
    read_registry = partial(registry_of, own.contract, own.settings)
    before = Former(former.schema_ids, changed) if former else None
    schema_ids = SchemaIdResolver(read_registry, streams, record_times, payload_limit, before)
    return Parts(own, record_times, schema_ids, SimpleQueue())


def kafka_properties(own: Worker) -> dict[str, Any]:
    """Give librdkafka's properties as the files are now."""
    contract, settings = own.contract, own.settings
    return connection_properties(contract.kafka, settings.server(contract.kafka.name), settings)


def rules_of(parts: Parts, ledger: Ledger, common: Rules, before: Mapping[str, Stream] = MappingProxyType({})) -> Rules:
    """Make the rules from those that stay; of streams that were there `before`, what is known continues if it fits."""
    own, now, books = (
        parts.own,
        parts.own.enabled,
        ledger.open([*parts.dead_letter_topics, *parts.own.contract.ignored]),
    )
    is_complete = own.settings.workers.split != "shared"  # the readings of a key
    same = {name for name, one in now.items() if before.get(name) == one}
    watching = {name for name, one in now.items() if name in before and _watch(before[name]) == _watch(one)}
    joining = {name for name, one in before.items() if name not in now or one.lines == now[name].lines}
    watched = [one for one in now.values() if one.is_watched and is_complete]
    counting = [one for one in now.values() if has_counters(one) and one.name not in same]
    monitors = {one.name: _monitor(one, books[one.name].continuity) for one in watched}
    lines = {one.name: TelegramLines(one.lines) for one in now.values() if one.lines}
    counters = {one.name: CounterMonitor(one, books[one.name].counters) for one in counting}
    return replace(
        common,
        dead_letter_topics=parts.dead_letter_topics,
        record_times=parts.record_times,
        ignored=frozenset(own.contract.ignored),
        monitors=monitors | _kept(common.monitors, watching & monitors.keys()),
        lines=lines | _kept(common.lines, joining),  # those of streams that are gone, until they are let go
        counters=counters | _kept(common.counters, same),
    )


def _watch(stream: Stream) -> tuple[bool, int | None]:
    return stream.sequence is not None, stream.silent_after


def _monitor(stream: Stream, continuity: Counter[Figure]) -> SequenceMonitor:
    return SequenceMonitor(continuity, stream.silent_after, is_numbered=stream.sequence is not None)


def _kept(items: Mapping[str, _Item], names: Collection[str]) -> dict[str, _Item]:
    return {name: item for name, item in items.items() if name in names}


def change_of(parts: Parts, rules: Rules, changes: StreamChanges, servers: Collection[str]) -> Change:
    """Say what the loop has to change; `servers` are those of the sources."""
    return Change(
        rules,
        parts.transforms,
        changes.added | changes.changed,
        changes.former,
        {one.name: frozenset(route.topic.name for route in one.routes) for one in parts.streams},
        {server: parts.routing(server) for server in servers},
    )
