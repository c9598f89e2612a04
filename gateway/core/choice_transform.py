"""A stream of several messages: each payload is transformed as the one message that it fits.

The payload is parsed once: the choice looks at it, and the compiled path of the chosen message takes it apart. When
that does not give a record, all is decided again with the precise choice: if one message is left, its own validation
gives the record or the dead letter; otherwise the dead letter is `no_message`, and says what is wrong with the payload
as the nearest message.

An ignored message is dropped. Only its demands (`message_demands.py`) are looked at, always precisely: nothing of it is
wanted, so its patterns and limits do not matter.

An empty payload is not one of the messages. In each compacted topic of the messages it becomes a tombstone: a record
without a value, with the key that the MQTT topic gives.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.compiled import parse_plain
from gateway.core.codec.json_text import parse
from gateway.core.codec.validation_error import ValidationError, pointer
from gateway.core.message_choice import MessageChoice
from gateway.core.reading import (
    IGNORED,
    MANY_RECORDS,
    DeadLetter,
    Reading,
    Reason,
    Record,
    TransformResults,
    fault,
)
from gateway.core.topic_memory import TopicMemory
from gateway.core.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.array import ArrayTransform
    from gateway.core.codec.conversion import Encoded, Prepared
    from gateway.core.fan_out import FanOut
    from gateway.core.message_demands import Demands
    from gateway.core.reading import Result
    from gateway.core.transform import ParsedFacts


class Kind(NamedTuple):
    """One of the messages."""

    name: str
    demands: Demands
    transform: Transform | FanOut | ArrayTransform | None  # None when it is ignored
    topics: Sequence[Transform] = ()  # the transforms of its topics


class ChoiceTransform:
    """Checks and encodes the readings of a stream of several messages, at least one of which is not ignored."""

    def __init__(self, kinds: Sequence[Kind], payload_limit: int) -> None:
        self._kinds = kinds
        self._payload_limit = payload_limit
        self._choice = MessageChoice([each.demands for each in kinds])
        self._choose = self._choice.compiled()
        self._topics = [topic for each in kinds for topic in each.topics]
        self._any = self._topics[0]
        self._ending = [each for each in self._topics if each.makes_tombstones]
        # MQTT topic -> message, as `compiled` names it -> facts
        self._facts: TopicMemory[dict[int, ParsedFacts]] = TopicMemory(lambda _topic: {})
        has_lists = any(each.transform and not isinstance(each.transform, Transform) for each in kinds)
        self._gives_lists = has_lists or len(self._ending) > 1

    def __call__(self, reading: Reading) -> Result:
        """Transform one reading: give its record or records, why there are none, or that it is ignored."""
        results = self.transform_all([reading])
        if results.ignored:
            return IGNORED
        return results.records[0] if results.records else results.dead_letters[0]

    def transform_all(self, readings: list[Reading]) -> TransformResults[Record | list[Record]]:
        """Transform readings, from the first on, as many as make many records."""
        records: list[Record | list[Record]] = []
        dead_letters: dict[int, DeadLetter] = {}
        ignored: list[int] = []
        choose, facts, limit, gives_lists = self._choose, self._facts, self._payload_limit, self._gives_lists
        earliest, room = max([each.earliest for each in self._topics]), MANY_RECORDS
        is_old = bool(readings) and (readings[0].received_at < earliest or readings[-1].received_at < earliest)
        is_quick = not is_old and not gives_lists
        for place, reading in enumerate(readings):
            payload = reading.payload
            result: Result | None = None
            try:  # the fast path of a reading that fits; the precise path decides on all others
                if reading.size < 0 and len(payload) <= limit:
                    parsed = parse_plain(payload)
                    encode, prepared, topic, headers, is_plain, finish = facts[reading.topic][choose(parsed)]
                    encoded = encode(payload, prepared, parsed)
                    if is_plain and is_quick:
                        key, value, _, number, counts = encoded
                        records.append(Record(topic, key, value, headers, reading.received_at, number, counts))
                        continue
                    result = finish(reading, encoded)
            except Exception:  # noqa: BLE001, S110 - the compiled path may raise anything
                pass
            if result is None or isinstance(result, DeadLetter):
                result = self._transform_precisely(reading)
            if isinstance(result, Record):
                records.append([result] if gives_lists else result)
            elif isinstance(result, list):
                records.append(result)
                room -= len(result)
            elif isinstance(result, DeadLetter):
                dead_letters[place] = result
            else:
                ignored.append(place)
            if room <= 0:
                break
        return TransformResults(records, dead_letters, tuple(ignored))

    def _transform_precisely(self, reading: Reading) -> Result:
        try:
            return self._transform_one(reading)
        except Exception as error:  # noqa: BLE001 - a bug here: one dead letter, not a service that restarts for ever
            return fault(error)

    def _transform_one(self, reading: Reading) -> Result:
        if not reading.payload and self._ending:
            return self._end_keys(reading)
        if not reading.payload or reading.size >= 0 or len(reading.payload) > self._payload_limit:
            return self._any(reading)  # it is too large, or its topic is wrong
        try:
            value = parse(reading.payload)
        except ValidationError as error:
            return self._any.topic_error(reading.topic) or error.dead_letter()
        remaining = self._choice.remaining(value)
        if len(remaining) == 1:
            kind = self._kinds[remaining[0]]
            if kind.transform:
                self._learn(reading.topic, remaining[0])
                return kind.transform(reading)
            if not kind.demands.failed(value):
                return IGNORED
        return self._any.topic_error(reading.topic) or self._no_message(value)

    def _no_message(self, value: Any) -> DeadLetter:
        """Say what is wrong with a payload as the nearest message that is not ignored."""
        number, place = self._choice.nearest(
            value, [number for number, each in enumerate(self._kinds) if each.transform]
        )
        path, difference = self._kinds[number].demands.difference(place, value)
        detail = f"no message of the operation fits; the nearest is {self._kinds[number].name}: {difference}"
        return DeadLetter(Reason.NO_MESSAGE, pointer(path), detail)

    def _end_keys(self, reading: Reading) -> Result:
        ends: dict[str, Record] = {}  # by topic, because messages may share one
        for each in self._ending:
            result = each(reading)
            if isinstance(result, DeadLetter):
                return result
            ends.setdefault(result.topic, result)
        return list(ends.values()) if self._gives_lists else ends.popitem()[1]

    def _learn(self, topic: bytes, number: int) -> None:
        """Note what the fast path needs of a topic for a message that has come there."""
        facts, transform = self._facts[topic], self._kinds[number].transform
        if isinstance(transform, Transform):
            if not transform.topic_error(topic):
                facts[1 << number] = transform.parsed_facts(topic)
        elif transform:
            facts[1 << number] = _whole, (), "", [], False, partial(_finish_whole, transform)


def _whole(_payload: bytes, _prepared: Prepared, _parsed: Any) -> Encoded:
    """Leave the payload to the transform of a message with several records."""
    return b"", b"", None, None, None


def _finish_whole(transform: FanOut | ArrayTransform, reading: Reading, _: Encoded) -> list[Record] | DeadLetter:
    return transform(reading)
