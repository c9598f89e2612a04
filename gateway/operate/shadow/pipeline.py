"""What one contract makes of readings, one after the other: records, a dead letter, or nothing.

It does what the bridge does between MQTT and Kafka, without either: the address decides the stream, lines are joined to
telegrams, and counters are compared, so readings must come in the order of their arrival. Ids of schemas are
placeholders, one for each text of a schema; two pipelines share them, so equal records are equal in all that they mean.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from fastavro import parse_schema
from msgspec import structs

from gateway.core.counters import CounterMonitor, has_counters
from gateway.core.dead_letter import CUT_TO
from gateway.core.entry import Entry
from gateway.core.reading import DeadLetter, IgnoredReading, Reading, Reason, Record
from gateway.core.stream_transform import transform_of
from gateway.core.telegram_lines import TelegramLines
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED, topic_index
from gateway.installation import subscriptions, topics_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.encoded_transform import EncodedTransform
    from gateway.core.model import AvroSchema, Stream
    from gateway.installation import Installation

NOT_SUBSCRIBED, IGNORED, JOINED = "not_subscribed", "ignored", "part of a telegram"


class Outcome(NamedTuple):
    """What becomes of a reading."""

    stream: str  # of the contract, or what the topic index says
    reading: Reading  # the whole telegram, where its lines are readings
    made: list[Record] | DeadLetter | str  # a text says why there is nothing
    dead_letters: str = ""  # the topic of a dead letter

    @property
    def is_received(self) -> bool:
        """Whether a subscription brings it."""
        return self.made != NOT_SUBSCRIBED


class Placeholders:
    """Ids for schemas, the same for the same text."""

    def __init__(self) -> None:
        self.schemas: list[Any] = []  # parsed, by id
        self._ids: dict[str, int] = {}

    def id_of(self, schema: AvroSchema) -> int:
        """Give the id of a schema."""
        if schema.text not in self._ids:
            self._ids[schema.text] = len(self.schemas)
            self.schemas.append(parse_schema(json.loads(schema.text), {}))
        return self._ids[schema.text]


class _Path:
    """The path of the readings of one stream."""

    def __init__(self, stream: Stream, transform: EncodedTransform, limit: int) -> None:
        self.transform = transform
        self.limit = limit
        self.dead_letters = stream.dead_letters.topic.name
        self.lines = TelegramLines(stream.lines) if stream.lines else None
        self.counters = CounterMonitor(stream, Counter()) if has_counters(stream) else None
        self._offset = 0

    def entries(self, reading: Reading) -> list[Entry]:
        """Give what goes into the log when a message arrives."""
        if len(reading.payload) > self.limit:
            size = max(reading.size, len(reading.payload))
            reading = structs.replace(reading, payload=reading.payload[:CUT_TO], size=size)
        arrived = [Entry(reading, None, 0)]
        return [one for one in self.lines.add(arrived) if not one.is_settled] if self.lines else arrived

    def made_of(self, entry: Entry) -> list[Record] | DeadLetter | str:
        """Transform a reading, and compare its counters."""
        result = self.transform(entry.reading)
        if isinstance(result, DeadLetter):
            return result
        if isinstance(result, IgnoredReading):
            return IGNORED
        if self.counters:
            entry.offset = self._offset = self._offset + 1
            wrong = self.counters.check([entry], [result])
            self.counters.events.clear()
            if wrong:
                return wrong[0]
        return [result] if isinstance(result, Record) else result


class Pipeline:
    """One contract under the settings of an installation."""

    def __init__(self, installation: Installation, placeholders: Placeholders) -> None:
        self.contract, self._settings = installation.contract, installation.settings
        self._indexes: dict[tuple[str, ...], tuple[Callable[[bytes], str], Callable[[bytes], str]]] = {}
        limit = installation.payload_limit
        self._paths: dict[str, _Path] = {}
        self.unmapped_to = ""  # the topic of dead letters without a stream
        for name, stream in self.contract.streams.items():
            if self._settings.is_enabled(name):
                ids = [placeholders.id_of(route.avro) for route in stream.routes]
                sizes = (self.contract.mqtt_servers[one].maximum_packet_size or limit for one in stream.servers)
                self._paths[name] = _Path(stream, transform_of(stream, ids, limit), min(limit, *sizes))
                self.unmapped_to = self.unmapped_to or stream.dead_letters.topic.name

    def __call__(self, reading: Reading, servers: tuple[str, ...]) -> list[Outcome]:
        """Take a message that came from one of some servers, or from any."""
        stream_of, brought = self.indexes(servers)
        name = stream_of(reading.topic)
        if path := self._paths.get(name):
            found = [Outcome(name, one.reading, path.made_of(one), path.dead_letters) for one in path.entries(reading)]
            return found or [Outcome(name, reading, JOINED)]
        made: DeadLetter | str = name if name == NOT_ADDRESSED else IGNORED
        if brought(reading.topic) == UNMAPPED:
            # The gateway received it all the same, over a session that has old filters, or it was received elsewhere.
            is_received = name == reading.stream == UNMAPPED
            made = DeadLetter(Reason.UNMAPPED_TOPIC, "", "no stream describes it") if is_received else NOT_SUBSCRIBED
        return [Outcome(name, reading, made, self.unmapped_to)]

    def indexes(self, servers: tuple[str, ...]) -> tuple[Callable[[bytes], str], Callable[[bytes], str]]:
        """Find streams by topic at some servers, or all if it has none of them; and, by UNMAPPED, what none brings."""
        if servers not in self._indexes:
            known = [one for one in servers if one in self.contract.mqtt_servers] or [*self.contract.mqtt_servers]
            enabled = self._settings.is_enabled
            filters = [one for name in known for one in subscriptions(self.contract, enabled, name)]
            self._indexes[servers] = topics_at(self.contract, self._settings, known), topic_index((), filters)
        return self._indexes[servers]
