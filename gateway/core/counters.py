"""The counters of a stream: which of its records may go to Kafka, by `x-counter`; `counter_state.py` has the rules.

A reading whose counters broke a rule becomes a dead letter, `fell` or `jumped`: the dead-letter topic is the
quarantine. Nothing is calculated or corrected: a value goes to Kafka as it was sent, or does not go there. A message of
several records is good or wrong as a whole, and so is a reading that goes to several topics.

Every reading is compared once, in the order of its stream, however often it is transformed: the monitor knows the last
offset, and the caller keeps what became of those readings up to there that are not settled.

At most `max_keys` keys are remembered, and at least the most recent half of them; a forgotten key is counted, and
begins again. A key longer than a digest is remembered as a digest. `save` and `restore` let a restart continue: what is
saved may be old, because the rules then only allow more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from msgspec import Struct

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.json_text import ABSENT, parse
from gateway.core.codec.telegram import as_json
from gateway.core.codec.unread import IGNORED
from gateway.core.codec.validation_error import ValidationError, pointer
from gateway.core.counter_rules import counter_rules
from gateway.core.counter_state import GOOD, SWAP, KeyState, Moment
from gateway.core.message_demands import value_at
from gateway.core.reading import DeadLetter, Reason, Record
from gateway.core.record_path import RecordPath
from gateway.core.sequence import DIGEST_BYTES, MAX_KEYS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from gateway.core.avro_schema import AvroType, Path
    from gateway.core.counter_rules import CounterRule
    from gateway.core.entry import Entry
    from gateway.core.model import Stream
    from gateway.core.reading import Reading

CounterFigure = Literal["fell", "jumped", "resets", "swaps", "forgotten"]

COUNTER_FIGURES: tuple[CounterFigure, ...] = ("fell", "jumped", "resets", "swaps", "forgotten")
QUARANTINED = frozenset({Reason.FELL, Reason.JUMPED})


class CounterEvent(NamedTuple):
    """A counter that begins anew."""

    key: bytes
    is_swap: bool  # the meter has another number; else its readings were confirmed
    detail: str


class _Topic(NamedTuple):
    """What is known of the records of a Kafka topic."""

    prefix: bytes  # of their keys, among those of all topics
    stream: Stream  # of their message alone
    record: AvroType
    rules: tuple[CounterRule, ...]


class _Saved(Struct):
    """What a monitor knows, as it is saved."""

    until: int  # offset of the last reading that was compared
    counters: dict[str, list[str]]  # names of the counters, by topic
    keys: dict[str, dict[str, KeyState]]  # by topic and key


class CounterMonitor:
    """Compares the readings of one stream.

    Args:
        stream: with at least one counter (`has_counters`).
        counted: the figures to add to.
        max_keys: how many to remember.
    """

    def __init__(self, stream: Stream, counted: Counter[CounterFigure], max_keys: int = MAX_KEYS) -> None:
        self.until = -1  # offset of the last reading that was compared
        self.events: list[CounterEvent] = []  # the caller clears it
        self._counted = counted
        self._half = max(1, max_keys // 2)
        self._topics = {
            route.topic.name: _Topic(f"{route.topic.name}\n".encode(), one, several.avro.record, rules)
            for one in stream.by_message
            for several in one.own_routes
            if (rules := counter_rules(several.avro.record))
            for route in several.each
        }
        self._only: CounterRule | None = None  # the rule of a stream with one topic and one counter
        if len(self._topics) == 1:
            ((name, topic),) = self._topics.items()
            self._topics[name] = topic._replace(prefix=b"")
            self._only = topic.rules[0] if len(topic.rules) == 1 else None
        self._recent: dict[bytes, KeyState] = {}
        self._older: dict[bytes, KeyState] = {}
        for figure in COUNTER_FIGURES:
            counted[figure] += 0  # shown from the start

    def check(self, entries: Sequence[Entry], made: Sequence[Record | list[Record]]) -> dict[int, DeadLetter]:
        """Compare the readings that became records; give those that are wrong, by their place.

        Readings up to `until` are passed over.
        """
        wrong: dict[int, DeadLetter] = {}
        until, is_one = self.until, self._only is not None
        slope = self._only.slope if self._only else None
        for place, (entry, record) in enumerate(zip(entries, made, strict=True)):
            if entry.offset <= until:
                continue
            reading = entry.reading
            if is_one and record.__class__ is Record and record.counts:
                state = self._recent.get(record.key)
                if state is not None and state.count(slope, record.counts, record.timestamp, reading.received_at):
                    continue
            if dead_letter := self._check(reading, record if isinstance(record, list) else (record,)):
                wrong[place] = dead_letter
                self._counted["fell" if dead_letter.reason is Reason.FELL else "jumped"] += 1
        if entries:
            self.until = max(self.until, entries[-1].offset)
        return wrong

    def _check(self, reading: Reading, records: Sequence[Record]) -> DeadLetter | None:
        before: list[tuple[KeyState, bytes]] = []  # of the records of a message, in case a later one is wrong
        events: list[CounterEvent] = []
        for number, record in enumerate(records):
            if record.counts is None:  # it ends a key
                continue
            topic = self._topics[record.topic]
            state = self._state_of(topic, record.key)
            if len(records) > 1:
                before.append((state, msgspec.msgpack.encode(state)))
            now = Moment(record.timestamp or reading.received_at, reading.received_at, reading.dup)
            verdict = state.check(topic.rules, record.counts, now)
            if verdict.wrong is not None:
                _restore(before[:-1])
                place = sum(each.topic == record.topic for each in records[:number])
                path = _path(topic, topic.rules[verdict.wrong], reading.payload, place)
                return DeadLetter(Reason(verdict.outcome.value), pointer(path), verdict.detail)
            if verdict is not GOOD:
                events.append(CounterEvent(record.key, verdict is SWAP, f"it counts from {record.counts[::2]}"))
        for event in events:
            self._counted["swaps" if event.is_swap else "resets"] += 1
        self.events += events
        return None

    def _state_of(self, topic: _Topic, key: bytes) -> KeyState:
        """Find the state of a key, and make it one of the recent ones."""
        name = topic.prefix + (key if len(key) <= DIGEST_BYTES else blake2b(key, digest_size=DIGEST_BYTES).digest())
        state = self._recent.get(name)
        if state is None:
            state = self._older.pop(name, None) or KeyState([None] * len(topic.rules))
            if len(self._recent) >= self._half:
                self._counted["forgotten"] += len(self._older)
                self._recent, self._older = {}, self._recent
            self._recent[name] = state
        return state

    # --- from one process to the next --------------------------------------------------------------------------------

    def save(self) -> str:
        """Write what is known, for `restore`."""
        keys: dict[str, dict[str, KeyState]] = {name: {} for name in self._topics}
        prefixes = {topic.prefix: name for name, topic in self._topics.items()}
        for name, state in (self._older | self._recent).items():
            prefix = b"" if b"" in prefixes else name[: name.index(b"\n") + 1]
            keys[prefixes[prefix]][name.removeprefix(prefix).decode("latin-1")] = state
        counters = {name: list(map(_unit, topic.rules)) for name, topic in self._topics.items()}
        return msgspec.json.encode(_Saved(self.until, counters, keys)).decode()

    def restore(self, saved: str) -> None:
        """Continue where `save` was called; raises ValueError, and changes nothing, when the text is not from there.

        Counters and topics that the contract no longer has are left out.
        """
        known = msgspec.json.decode(saved, type=_Saved)
        self.until = known.until
        for name, topic in self._topics.items():
            names = known.counters.get(name, [])
            places = [names.index(own) if (own := _unit(rule)) in names else None for rule in topic.rules]
            for key, state in known.keys.get(name, {}).items():
                if len(state.bases) == len(names):
                    bases = [None if place is None else state.bases[place] for place in places]
                    start = state.start if bases == state.bases else None
                    self._older[topic.prefix + key.encode("latin-1")] = KeyState(bases, start)


def _unit(rule: CounterRule) -> str:
    """Name a counter and its unit."""
    return f"{pointer(rule.names)} {rule.factor}".rstrip()


def has_counters(stream: Stream) -> bool:
    """Tell whether a record of a stream has a field that counts."""
    return any(counter_rules(route.avro.record) for route in stream.routes)


def _restore(before: list[tuple[KeyState, bytes]]) -> None:
    for state, saved in reversed(before):
        former = msgspec.msgpack.decode(saved, type=KeyState)
        state.bases, state.start, state.wrong = former.bases, former.start, former.wrong


def _path(topic: _Topic, rule: CounterRule, payload: bytes, place: int) -> Path:
    """Find where the value of a counter is in a message."""
    try:
        if not topic.stream.is_array:
            path = _present(rule, as_json(payload) if topic.stream.content == "telegram" else payload)
        else:
            records = RecordPath(topic.stream.steps, topic.record, IGNORED)
            groups = records.cut(payload)
            text = [text for group in groups for text in group.texts][place]
            path = records.place(groups, place, _present(rule, text))
    except ValidationError:  # it is no JSON
        path = rule.paths[0]
    return path[1:] if path[:1] == (PAYLOAD,) else path


def _present(rule: CounterRule, text: bytes) -> Path:
    value = parse(text)
    return next((path for path in rule.paths if value_at(value, path) is not ABSENT), rule.paths[0])
