"""Reading -> Record or DeadLetter, for every stream of the contract. Pure, and it never raises on data.

A stream without a schema id has no transform: its readings wait in the spool and are not dead letters. The transform
is made when the id is known.

A stream may have several messages (`choice_transform.py`), each as a stream of its own. It may go to several topics
(`fan_out.py`), and a message may hold an array of readings (`array.py`). Then a reading becomes several records or one
dead letter: what one topic cannot hold goes to none. A compacted topic holds the latest reading of each key; an empty
payload, with which MQTT clears a retained message, becomes a tombstone for the key there, and a dead letter in a stream
without such a topic.

Readings are transformed many at a time, because a call for each would cost as much as finding the facts of its topic.
These facts are a plain tuple, because a named one is unpacked as any iterable, which is slower. They have the
Kafka topic too, so that a route whose topic depends on a parameter of the address costs no more.
"""

from __future__ import annotations

from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.event_time import RecordTime
from gateway.core.codec.framing import SCHEMA_ID_HEADER, frame
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.counter_rules import counter_rules
from gateway.core.dating import Dating
from gateway.core.dead_letter import SOURCE_HEADER, TOPIC_HEADER
from gateway.core.headers import VaryingHeaders
from gateway.core.message_schema import schema_of_record
from gateway.core.model import OfTopic, TopicChoice
from gateway.core.native import MODULE
from gateway.core.reading import DeadLetter, Headers, Reading, Reason, Record, TransformResults, fault
from gateway.core.record_path import reads
from gateway.core.topic_memory import MAX_TOPICS, TopicMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.codec.conversion import Encode, Encoded, EncodeParsed, Prepared
    from gateway.core.codec.event_time import Moment
    from gateway.core.model import Route, Stream
    from gateway.core.reading import Counts

    Finish = Callable[[Reading, Encoded], Record | list[Record] | DeadLetter]

NO_LIMITS: Mapping[str, RecordTime] = MappingProxyType({})


class _Target(NamedTuple):
    """A Kafka topic of the route."""

    topic: str
    codec: Codec  # with the schema id
    headers: Headers  # that are the same for all records
    record_time: RecordTime  # chooses the timestamps


# What an MQTT topic contributes to each of its records: the codec's compiled path; the topic's texts, which are the
# parameters' values and the topic itself, encoded for that path; the Kafka topic; the headers; its target; the texts.
_TopicFacts = tuple["Encode", "Prepared", str, Headers, _Target, tuple[str, ...]]
# The same for a payload that is parsed already, and how the codec's result becomes a record, unless that is plain.
ParsedFacts = tuple["EncodeParsed", "Prepared", str, Headers, bool, "Finish"]


class Transform:
    """Checks and encodes the readings of one stream for one route, the first by default.

    `schema_ids` are those of each of the route's topics, or one for all. A payload longer than `payload_limit` bytes is
    a dead letter TOO_LARGE; `max_topics` are remembered. `record_times` choose the timestamps of the records, by topic.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of; most have a default
        self,
        stream: Stream,
        schema_ids: int | Sequence[int],
        payload_limit: int,
        route: Route | None = None,
        record_times: Mapping[str, RecordTime] = NO_LIMITS,
        max_topics: int = MAX_TOPICS,
    ) -> None:
        route = route or stream.route
        self._stream = stream
        self._choice = route.choice or TopicChoice({}, ())
        self._targets = _targets(stream, route, schema_ids, record_times)
        self._record_times = [target.record_time for target in self._targets.values()]
        self._tombstone_key = _key_of_topic(conversion(stream, route)) if route.topic.is_compacted else None
        self._names_topic = TOPIC_HEADER in route.headers
        varying = VaryingHeaders(route.headers, route.required_headers, stream.user_properties, payload_limit)
        self._varying = varying or None
        is_chosen = isinstance(route.timestamp, tuple) or SOURCE_HEADER in route.headers
        self._dating = Dating(route.timestamp, names_source=SOURCE_HEADER in route.headers) if is_chosen else None
        self._is_plain = self._varying is None and not (route.timestamp or is_chosen)
        self._payload_limit = payload_limit
        self._topics = TopicMemory(self._facts_of, max_topics)

    @property
    def makes_tombstones(self) -> bool:
        """True when an empty payload becomes a tombstone for the key that its MQTT topic names."""
        return self._tombstone_key is not None

    def __call__(self, reading: Reading) -> Record | DeadLetter:
        """Transform one reading of this stream: give its record, or why there is none."""
        results = self.transform_all([reading])
        return results.records[0] if results.records else results.dead_letters[0]

    def transform_all(self, readings: list[Reading]) -> TransformResults[Record]:
        """Transform readings, all of them."""
        records: list[Record] = []
        dead_letters: dict[int, DeadLetter] = {}
        limit, earliest = self._payload_limit, self.earliest
        # Readings come in order, unless the clock was set: so the oldest is at one of the ends.
        is_old = bool(readings) and (readings[0].received_at < earliest or readings[-1].received_at < earliest)
        is_plain = self._is_plain and not is_old
        encode_run = MODULE.encode_run if MODULE and is_plain else None
        place, count = 0, len(readings)
        while place < count:
            if encode_run:  # in C, up to what is left to Python
                place = encode_run(self._topics, readings, place, limit, records)
                if place == count:
                    break
            reading = readings[place]
            place += 1
            payload = reading.payload
            try:  # the fast path of a reading that fits; the precise path decides on all others
                if reading.size < 0 and len(payload) <= limit:
                    facts = self._topics.get(reading.topic)
                    fast, prepared, topic, headers, _, _ = facts  # type: ignore[misc]  # it raises for a new topic, and a refused one
                    key, value, moment, number, counts = fast(payload, prepared)
                    if is_plain:
                        records.append(Record(topic, key, value, headers, reading.received_at, number, counts))
                    else:
                        records.append(self._record(key, value, moment, number, counts, facts, reading))  # type: ignore[arg-type]  # as above
                    continue
            except Exception:  # noqa: BLE001, S110 - the compiled path may raise anything
                pass
            result = self._transform_precisely(reading)
            if isinstance(result, DeadLetter):
                dead_letters[len(records) + len(dead_letters)] = result
            else:
                records.append(result)
        return TransformResults(records, dead_letters)

    def parsed_facts(self, topic: bytes) -> ParsedFacts:
        """Give what `choice_transform.py` needs for the fast path of a topic, which has no error."""
        facts = self._topics[topic]
        assert isinstance(facts, tuple), "the topic has no error"
        _, _, kafka_topic, headers, target, texts = facts
        prepare, encode = target.codec.parsed

        def finish(reading: Reading, encoded: Encoded) -> Record:
            return self._record(*encoded, facts, reading)

        return encode, prepare(texts), kafka_topic, headers, self._is_plain, finish

    @property
    def earliest(self) -> int:
        """The time, in milliseconds since 1970 UTC, from which arrivals may date records of all its topics."""
        return max([each.earliest for each in self._record_times])

    def _transform_precisely(self, reading: Reading) -> Record | DeadLetter:
        try:
            return self._transform_one(reading)
        except ValidationError as error:
            return error.dead_letter()
        except Exception as error:  # noqa: BLE001 - a bug here: one dead letter, not a service that restarts for ever
            return fault(error)

    def topic_error(self, topic: bytes) -> DeadLetter | None:
        """Say why no reading of a topic fits; None when some may."""
        facts = self._topics[topic]
        return facts if isinstance(facts, DeadLetter) else None

    def check_message(self, reading: Reading) -> None:
        """Raise ValidationError when the topic or the properties of a message do not give what its records need."""
        facts = self._topics[reading.topic]
        if isinstance(facts, DeadLetter):
            raise ValidationError(facts.reason, facts.detail)
        if self._varying is not None:
            self._varying(reading)

    def _transform_one(self, reading: Reading) -> Record | DeadLetter:
        facts = self._topics[reading.topic]
        if isinstance(facts, DeadLetter):
            return facts
        *_, target, texts = facts
        size = max(reading.size, len(reading.payload))
        if size > self._payload_limit:
            return DeadLetter(Reason.TOO_LARGE, "", f"{size} bytes; the limit is {self._payload_limit}")
        if not reading.payload and self._tombstone_key is not None:
            return self._record(self._tombstone_key(texts), None, None, None, None, facts, reading)
        if reading.size >= 0:  # the source sets it only above the limit of its own server
            return DeadLetter(Reason.TOO_LARGE, "", f"{size} bytes; the contract's limit of its server is lower")
        encoded = target.codec.encode_precisely(reading.payload, texts)
        if isinstance(encoded, DeadLetter):
            return encoded
        return self._record(*encoded, facts, reading)

    def _record(  # noqa: PLR0913, PLR0917 - the codec's result, taken apart; a tuple would cost more here
        self,
        key: bytes,
        value: bytes | None,
        moment: Moment,
        number: int | None,
        counts: Counts | None,
        facts: _TopicFacts,
        reading: Reading,
    ) -> Record:
        """Make a record with headers or a time of its own; raises ValidationError."""
        _, _, topic, headers, target, _ = facts
        if self._varying is not None:
            headers = [*headers, *self._varying(reading)]
        at = reading.received_at
        if self._dating is not None:
            at, source = self._dating(moment, key, reading, target.record_time)
            headers = [*headers, *source]
        elif moment is not None or at < target.record_time.earliest:
            assert not isinstance(moment, tuple), "several times have a Dating"
            at = target.record_time(moment, at)
        return Record(topic, key, value, headers, at, number, counts)

    def _facts_of(self, topic: bytes) -> _TopicFacts | DeadLetter:
        try:
            text = topic.decode()
        except UnicodeDecodeError as error:
            return DeadLetter(Reason.BAD_TOPIC, "", f"byte {error.start} of the topic is not valid UTF-8")
        values = self._stream.address.match(text)
        if values is None:
            return DeadLetter(Reason.UNMAPPED_TOPIC, "", f"the topic does not match {self._stream.address.text}")
        if not all(value.strip("/") for value in values):
            return DeadLetter(Reason.BAD_TOPIC, "", "a level of the topic that names a parameter is empty")
        chosen = self._chosen(values)
        if isinstance(chosen, DeadLetter):
            return chosen
        headers = [*chosen.headers, *([(TOPIC_HEADER, topic)] if self._names_topic else [])]
        texts = (*values, text)
        return chosen.codec.fast, chosen.codec.prepare(texts), chosen.topic, headers, chosen, texts

    def _chosen(self, values: tuple[str, ...]) -> _Target | DeadLetter:
        """Choose the Kafka topic by the parameters' values."""
        named = dict(zip(self._stream.address.names, values, strict=True))
        if detail := self._choice.fault(named):
            return DeadLetter(Reason.NOT_ALLOWED, "", detail)
        return self._targets[tuple(named[name] for name in self._choice.allowed)]


def _targets(
    stream: Stream, route: Route, schema_ids: int | Sequence[int], record_times: Mapping[str, RecordTime]
) -> dict[tuple[str, ...], _Target]:
    """Make the targets of a route by the parameters' values that choose them; topics of one schema id share a codec."""
    values = product(*route.choice.allowed.values()) if route.choice else [()]
    routes = route.each
    ids = [schema_ids] * len(routes) if isinstance(schema_ids, int) else schema_ids
    in_payload = route.framing == "payload"
    codecs = {each: Codec(conversion(stream, route, frame(each) if in_payload else b"")) for each in set(ids)}
    return {
        chosen: _Target(
            one.topic.name,
            codecs[schema_id],
            [] if in_payload else [(SCHEMA_ID_HEADER, frame(schema_id))],
            record_times.get(one.topic.name) or RecordTime(),
        )
        for chosen, one, schema_id in zip(values, routes, ids, strict=True)
    }


def conversion(stream: Stream, route: Route, prefix: bytes = b"") -> Conversion:
    """Say how readings of a stream become records of one of its routes; `prefix` precedes the Avro body."""
    record, names = route.avro.record, [parameter.name for parameter in stream.parameters]
    return Conversion(
        record,
        key_parts(route.keys, names),
        (*(parameter.pointer for parameter in stream.parameters), None),
        stream.unknown,
        prefix,
        stream.content,
        route.timestamp,
        stream.sequence if route is stream.route else None,  # the contract checks only the first route's fields for it
        counter_rules(record),
        route.separator,
        schema_of_record(stream.payload_schema, stream.array_schema, stream.steps, record)
        if stream.is_array
        else stream.payload_schema,
        is_wrapped=stream.is_array and bool(reads(record)),
    )


def key_parts(keys: Sequence[str | OfTopic], names: Sequence[str]) -> tuple[str | int, ...]:
    """Find the topic's parts of a key among its texts: the values of the parameters, by name, and then the topic."""
    places = {name: place for place, name in enumerate([*names, None])}
    return tuple(places[part.parameter] if isinstance(part, OfTopic) else part for part in keys)


def _key_of_topic(converted: Conversion) -> Callable[[Sequence[str]], bytes] | None:
    """Make the function that gives the key from the topic's texts; None when only the payload has it."""
    parts = converted.keys if converted.separator is not None else converted.keys[:1]
    places = [_place_in_topic(converted, part) for part in parts]
    known = [place for place in places if place is not None]
    if len(known) < len(places):
        return None
    return lambda texts: (converted.separator or "").join([texts[place] for place in known]).encode()


def _place_in_topic(converted: Conversion, part: str | int) -> int | None:
    """Which of the topic's texts is always a part of the key; None when the payload has it."""
    if isinstance(part, int):
        return part
    return converted.tied(
        converted.record.located(tokens(part)).paths[0]
    )  # the topic fills in the first source, if absent
