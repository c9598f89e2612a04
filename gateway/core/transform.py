"""Reading -> Record or DeadLetter, for every stream of the contract. Pure, and it never raises on data.

A stream whose schema id is not known yet has no transform: its readings wait in the spool (they are no dead letters),
so `Transform` is made when the id is there.

A stream may go to several topics. Then each of its readings becomes several records, or one dead letter: what one topic
could not hold goes to none. So it is with a message that holds an array of readings (`array.py`). A topic that is
compacted holds the latest reading of each key; an empty payload, which is how MQTT clears a retained message, ends the
key there and is no reading for the other topics.

Readings are results many at a time: a call for each cost as much as finding what is known of its topic. That is a plain
tuple, because a named one is taken apart as any iterable is, and slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.codec.codec import Codec
from gateway.core.codec.event_time import EventTime
from gateway.core.codec.framing import SCHEMA_ID_HEADER, frame
from gateway.core.codec.precise_encoder import source
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.dead_letter import TOPIC_HEADER
from gateway.core.headers import VaryingHeaders
from gateway.core.reading import DeadLetter, Headers, Reading, Reason, Record, TransformResults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.codec.compiled import Prepared
    from gateway.core.model import Route, Stream

MAX_TOPICS = 65_536  # remembered per stream; beyond that the memory is started anew


# What a topic contributes to each of its records: the parameters' values, encoded for the compiled path; the headers;
# and the values themselves.
_TopicFacts = tuple["Prepared", Headers, tuple[str, ...]]


class Transform:
    """Judges and encodes the readings of one stream for one topic.

    Args:
        stream: from the contract.
        schema_id: the registry's id of the route's schema.
        payload_limit: bytes; a longer payload is a dead letter TOO_LARGE.
        route: one of the stream's; without it the first.
    """

    def __init__(self, stream: Stream, schema_id: int, payload_limit: int, route: Route | None = None) -> None:
        route = route or stream.route
        assert route.schema is not None, "the contract gives every route of readings a schema"
        self._stream = stream
        self._key_level = _key_level(stream, route) if route.topic.is_compacted else None
        self._topic = route.topic.name
        framed = frame(schema_id)
        self._codec = Codec(
            route.schema.definition,
            route.keys,
            [parameter.pointer for parameter in stream.parameters],
            stream.unknown,
            framed if route.framing == "payload" else b"",
            content=stream.content,
        )
        self._fast = self._codec.fast
        self._fixed_headers: Headers = [] if route.framing == "payload" else [(SCHEMA_ID_HEADER, framed)]
        self._names_topic = TOPIC_HEADER in route.headers
        varying = VaryingHeaders(route.headers, route.required_headers, stream.user_properties, payload_limit)
        self._varying = varying or None
        self._event_time = _event_time(route, len(framed))
        self._is_plain = self._varying is None and self._event_time is None
        self._payload_limit = payload_limit
        self._topics: dict[bytes, _TopicFacts] = {}
        self._refused: dict[bytes, DeadLetter] = {}

    @property
    def ends_keys(self) -> bool:
        """True when an empty payload ends the key that its topic names."""
        return self._key_level is not None

    def __call__(self, reading: Reading) -> Record | DeadLetter:
        """Judge one reading.

        Args:
            reading: of this transform's stream.

        Returns:
            The record to produce, or why there is none.
        """
        records, letters = self.transform_all([reading])
        return records[0] if records else letters[0]

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[Record]:
        """Judge readings, all of them."""
        records: list[Record] = []
        letters: dict[int, DeadLetter] = {}
        topic, fast, is_plain, limit = self._topic, self._fast, self._is_plain, self._payload_limit
        found = map(self._topics.get, [reading.topic for reading in readings])
        for reading, facts in zip(readings, found, strict=True):
            payload = reading.payload
            try:  # the short way of a reading that fits; whatever it stumbles over, the long way judges
                if reading.size < 0 and len(payload) <= limit:
                    prepared, headers, _ = facts  # type: ignore[misc]  # of a topic that is seen first there are none
                    key, value = fast(payload, prepared)
                    if is_plain:
                        records.append(Record(topic, key, value, headers, reading.received_at))
                    else:
                        records.append(self._record(key, value, headers, reading))
                    continue
            except Exception:  # noqa: BLE001, S110 - the compiled path raises anything it likes
                pass
            result = self._transform_precisely(reading)
            if isinstance(result, DeadLetter):
                letters[len(records) + len(letters)] = result
            else:
                records.append(result)
        return TransformResults(records, letters)

    def _transform_precisely(self, reading: Reading) -> Record | DeadLetter:
        try:
            return self._transform_one(reading)
        except ValidationError as error:
            return error.dead_letter()
        except Exception as error:  # noqa: BLE001 - a bug of ours: one dead letter, not a service that restarts for ever
            return DeadLetter(Reason.FAULT, "", f"the gateway failed on this reading, please report it: {error!r}")

    def check_headers(self, reading: Reading) -> None:
        """Raise ValidationError when the properties of a message do not give what the headers need."""
        if self._varying is not None:
            self._varying(reading)

    def _transform_one(self, reading: Reading) -> Record | DeadLetter:
        facts = self._topics.get(reading.topic) or self._refused.get(reading.topic) or self._learn(reading.topic)
        if isinstance(facts, DeadLetter):
            return facts
        _, headers, values = facts
        size = max(reading.size, len(reading.payload))
        if size > self._payload_limit:
            return DeadLetter(Reason.TOO_LARGE, "", f"{size} bytes; the limit is {self._payload_limit}")
        if not reading.payload and self._key_level is not None:
            return self._record(values[self._key_level].encode(), None, headers, reading)
        if reading.size >= 0:  # the source says the size only of what is above its server's own limit
            return DeadLetter(Reason.TOO_LARGE, "", f"{size} bytes; the contract's limit of its server is lower")
        encoded = self._codec.encode_precisely(reading.payload, values)
        if isinstance(encoded, DeadLetter):
            return encoded
        return self._record(*encoded, headers, reading)

    def _record(self, key: bytes, value: bytes | None, headers: Headers, reading: Reading) -> Record:
        """Make a record whose headers or time differ from reading to reading; raises ValidationError."""
        if self._varying is not None:
            headers = [*headers, *self._varying(reading)]
        at = reading.received_at
        if self._event_time is not None and value is not None:
            at = self._event_time(value, at)
        return Record(self._topic, key, value, headers, at)

    def _learn(self, topic: bytes) -> _TopicFacts | DeadLetter:
        if len(self._topics) + len(self._refused) >= MAX_TOPICS:
            self._topics.clear()
            self._refused.clear()
        facts = self._judge_topic(topic)
        if isinstance(facts, DeadLetter):
            self._refused[topic] = facts
        else:
            self._topics[topic] = facts
        return facts

    def _judge_topic(self, topic: bytes) -> _TopicFacts | DeadLetter:
        try:
            values = self._stream.address.match(topic.decode())
        except UnicodeDecodeError as error:
            return DeadLetter(Reason.BAD_TOPIC, "", f"byte {error.start} of the topic is not valid UTF-8")
        if values is None:
            return DeadLetter(Reason.UNMAPPED_TOPIC, "", f"the topic does not match {self._stream.address.text}")
        if not all(values):
            return DeadLetter(Reason.BAD_TOPIC, "", "a level of the topic that names a parameter is empty")
        headers = [*self._fixed_headers, *([(TOPIC_HEADER, topic)] if self._names_topic else [])]
        return self._codec.prepare(values), headers, values


def _event_time(route: Route, frame_bytes: int) -> EventTime | None:
    """What dates the route's records; None when their arrival does."""
    if route.timestamp is None:
        return None
    assert route.schema is not None, "the contract gives every route of readings a schema"
    start = frame_bytes if route.framing == "payload" else 0
    return EventTime(route.schema.definition, route.timestamp, start, route.topic.configuration)


def _key_level(stream: Stream, route: Route) -> int | None:
    """Which parameter of the address is the key, whatever the payload says; None when only the payload tells."""
    assert route.schema is not None, "the contract gives every route of readings a schema"
    first, *below = tokens(route.keys[0])
    field = next(field for field in route.schema.definition["fields"] if field["name"] == first)
    place = (*source(field).paths[0], *below)  # the first source alone: the topic fills it in when it is absent
    levels = (level for level, each in enumerate(stream.parameters) if each.pointer and tokens(each.pointer) == place)
    return next(levels, None)
