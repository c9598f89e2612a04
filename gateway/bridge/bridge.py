"""The loop: each turn runs these steps once.

    MQTT sources --> spool --> transform --> Kafka sink
         ^             |
         +-- acknowledge when safe

One thread, no locks. librdkafka's own threads do Kafka's network I/O. The other threads of the process connect to
brokers, look up schema ids and serve HTTP; none of them touches a reading. `pacing.py` computes how long a turn waits.
"""

from __future__ import annotations

import logging
import select
import time
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

from confluent_kafka import KafkaError
from msgspec import structs

from gateway.bridge.pacing import QUANTUM, Arrivals, Pacing, Turn
from gateway.bridge.quarantine import Quarantine
from gateway.core.codec.event_time import NOW
from gateway.core.dead_letter import CUT_TO, NO_LIMITS, dead_letter_record
from gateway.core.gateway_clock import GatewayClock
from gateway.core.headers import marked
from gateway.core.reading import DeadLetter, Reading, Reason, TransformResults
from gateway.core.successor import Successor
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED
from gateway.kafka.errors import Outcome, outcome, sentence
from gateway.spool.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.codec.event_time import RecordTime
    from gateway.core.counters import CounterMonitor
    from gateway.core.entry import Batch, Entry
    from gateway.core.ledger import Books, Ledger
    from gateway.core.model import Stream
    from gateway.core.reading import Record, Result
    from gateway.core.retained import RetainedMessages
    from gateway.core.sequence import SequenceMonitor
    from gateway.core.telegram_lines import TelegramLines
    from gateway.kafka.sink import KafkaSink
    from gateway.mqtt.routing import Routing
    from gateway.mqtt.source import MqttSource
    from gateway.spool.spool import Spool

    class Transform(Protocol):
        """Transforms the readings of a stream."""

        def __call__(self, reading: Reading) -> Result:
            """Transform one reading."""

        def transform_all(
            self, readings: list[Reading]
        ) -> TransformResults[Record] | TransformResults[list[Record]] | TransformResults[Record | list[Record]]:
            """Transform the readings in order: all, or as many as produce a limited number of records."""


log = logging.getLogger(__name__)

SCHEMA_ID_SECONDS = 0.05  # between two checks for a transform that another thread makes
SUCCESSOR_SECONDS = 0.02  # between two checks whether another gateway has taken over
LONGEST_WAIT_SECONDS = 1.0
DEPARTURE_SECONDS = 2.0  # after its UNSUBACK, readings of a removed stream are still taken for so long
_DROPPED = [Reading(UNMAPPED, b"", b"", 0, qos) for qos in range(3)]  # take the place of dropped ones, to free memory


@dataclass(frozen=True, slots=True)
class Rules:
    """What the contract and the settings say about all readings."""

    dead_letter_topics: Mapping[str, str]  # stream -> Kafka topic; UNMAPPED included
    payload_limit: int  # bytes of payload that a dead letter may hold
    retained: RetainedMessages
    monitors: Mapping[str, SequenceMonitor] = field(default_factory=dict)  # by stream
    pacing: Pacing = field(default_factory=Pacing)
    record_times: Mapping[str, RecordTime] = field(default_factory=dict)  # by Kafka topic
    ignored: frozenset[str] = frozenset()  # operations whose messages are dropped
    clock: GatewayClock = field(default_factory=GatewayClock)  # gives readings their time of arrival
    lines: Mapping[str, TelegramLines] = field(default_factory=dict)  # by stream; only where messages are single lines
    counters: Mapping[str, CounterMonitor] = field(default_factory=dict)  # by stream


class Change(NamedTuple):
    """Another contract; `transforms` gets the transforms of those streams that are `replaced`."""

    rules: Rules
    transforms: SimpleQueue[tuple[str, Transform | None]]
    replaced: frozenset[str]  # streams that are new, or not the same any more
    former: Mapping[str, Stream]  # streams that are gone, or have another address, as they were
    topics: Mapping[str, frozenset[str]]  # streams -> their Kafka topics
    routings: Mapping[str, Routing]  # by source


class Bridge:
    """Moves readings from the sources through the spool to the sink, and acknowledgements back.

    Any thread may put a stream and its transform into `new_transforms`, or None to let its readings wait.
    `core/stream_transform.py` makes the transform, once `service/schema_ids.py` has the schema id.

    `adopt` changes to another contract between two turns. Readings that wait are transformed by the new one if it has
    their stream, otherwise by the old. The lane of a stream that is gone stays until its filters are unsubscribed and
    its readings settled; its books stay, as after a restart. A new stream that goes to the same Kafka topic, such as
    one with another name, waits for them, so that order holds.
    """

    def __init__(
        self, sources: Sequence[MqttSource], spool: Spool, sink: KafkaSink, ledger: Ledger, rules: Rules
    ) -> None:
        self.is_reading = True  # False: read nothing, from MQTT or back from disk
        self.turned_at = time.monotonic()  # start of the current turn, monotonic seconds
        self.transforms: dict[str, Transform] = {UNMAPPED: _Unmapped()}
        self.lanes = {name: Lane(name) for name in rules.dead_letter_topics}
        self.dead_lanes = {stream: Lane(topic, stream) for stream, topic in rules.dead_letter_topics.items()}
        self.new_transforms: SimpleQueue[tuple[str, Transform | None]] = SimpleQueue()
        self._sources = sources
        self._spool = spool
        self._sink = sink
        self._ledger = ledger
        self.rules = rules
        self._clock = rules.clock
        self._drops = _drops(rules)
        self._departing: dict[str, Stream] = {}  # streams that the contract no longer has, or not at this address
        self._routings: Mapping[str, Routing] = {}  # by source; used from `_depart_at` on
        self._depart_at = 0.0
        self._former: dict[str, Transform] = {}  # for topics that a stream no longer has, until it has a new one
        self._behind: dict[str, Transform | None] = {}  # waiting for departing streams, with their transform
        self._quarantine = Quarantine(rules.counters, spool)
        self._pacing = rules.pacing
        self._received_last_turn = 0
        self._arrivals = Arrivals()
        self._reported_at = self.turned_at  # the last delivery report, or when the first record in flight was sent
        self._apart_until = self.turned_at  # reports are not awaited together
        self._is_batching = False
        self._next_stall_check = 0.0
        self._readable: set[int] = set()  # sockets
        self._polled: list[tuple[int, int]] = []  # sockets, and the events that they wait for
        self._sockets = select.poll()  # these
        spool.attach(list(self.lanes.values()), list(self.dead_lanes.values()))
        for source in sources:
            spool.restore_session(source.session_key, source.session)
            source.on_session = partial(self._on_session, source)
        self._busy = dict.fromkeys(lane for lane in self.lanes.values() if lane.has_backlog)  # lanes with work to do
        self.lanes[UNMAPPED].begin(self.turned_at)

    def run_once(self) -> None:
        """Run one turn; when only delivery reports have come, it does no more than acknowledge."""
        only_reports_came = self._wait()
        self.turned_at = time.monotonic()
        self._received_last_turn = 0 if only_reports_came else self._read()  # and append to the spool
        self._arrivals = self._pacing.follow(self._arrivals, self.turned_at, self._received_last_turn)
        if only_reports_came:
            self._settle()
            self._acknowledge()
            return
        self._adopt_transforms()
        self._follow_clock()
        if not any(map(self._is_in_doubt, self._sources)):  # else another gateway may get them from the broker
            self._spool.persist_due(self.turned_at, saves_sessions=not self._sink.saves_state)
        self._send(self.turned_at)  # transform and produce
        self._sink.poll(0)  # delivery reports
        self._settle()
        self._acknowledge()
        self._quarantine.save_due(self.turned_at)
        self._report_stalls(self.turned_at)
        self._let_go()

    @property
    def is_idle(self) -> bool:
        """True when no reading in memory is unsettled."""
        return not any(lane.held for lane in self.all_lanes())

    def all_lanes(self) -> list[Lane]:
        """List the lanes of readings and of dead letters."""
        return [*self.lanes.values(), *self.dead_lanes.values()]

    # --- waiting -------------------------------------------------------------------------------------------------

    def _wait(self) -> bool:
        """Wait as long as `pacing` says, and note which sockets are readable; give whether only reports came."""
        now, in_flight = time.monotonic(), self._sink.in_flight or self._sink.is_busy
        received, linger = self._received_last_turn, self._arrivals.linger
        turn = Turn(self.turned_at, received, in_flight, self._reported_at, self._next_work_at(now), linger)
        wait = self._pacing.wait(turn, now)
        # 1. A pause, in which readings and reports gather.
        if wait.pause_until > now:
            time.sleep(wait.pause_until - now)
        poller = self._poller()
        # 2. Delivery reports are expected. They have a call of their own, so the sockets are polled in between.
        self._readable = {fileno for fileno, _ in poller.poll(0)}
        while not self._readable and time.monotonic() < wait.reports_until:
            reports = self._sink.poll(self._pacing.socket_poll_seconds)
            if reports:
                self._await_last_reports()
            self._readable = {fileno for fileno, _ in poller.poll(0)}
            if reports:
                return not (self._readable or self._busy)
        if self._readable:
            return False
        # 3. No report is expected soon: the sockets only.
        milliseconds = max(0.0, wait.sockets_until - time.monotonic()) * 1000
        self._readable = {fileno for fileno, _ in poller.poll(milliseconds)}
        return False

    def _poller(self) -> select.poll:
        """Give the poller of the sockets; it is made anew when a socket, or an event that it waits for, has changed."""
        reads = select.POLLIN if self._may_read() else 0
        sockets = [
            (fileno, reads | (select.POLLOUT if source.wants_write else 0))
            for source in self._sources
            if (fileno := source.fileno) >= 0
        ]
        if sockets != self._polled:
            self._polled, self._sockets = sockets, select.poll()
            for fileno, events in sockets:
                self._sockets.register(fileno, events)
        return self._sockets

    def _await_last_reports(self) -> None:
        """Wait for the other reports as well, if only a few are missing.

        One that is late may belong to an unavailable topic: then reports are not awaited together for a while.
        """
        while 0 < self._sink.unreported <= self._pacing.few_records and self.turned_at >= self._apart_until:
            now = time.monotonic()
            if now >= self.turned_at + self._pacing.together_seconds:
                self._apart_until = now + self._pacing.apart_seconds
            else:
                self._sink.poll(self._pacing.socket_poll_seconds)

    def _may_read(self) -> bool:
        is_below_limit = self._spool.unacknowledged < self._sink.most_unacknowledged
        return self.is_reading and self._spool.has_room and self._sink.is_ready and is_below_limit

    def _next_work_at(self, now: float) -> float:
        """Return when a lane or a source has work to do even if nothing arrives; `now` when there is work already."""
        work_at = now + LONGEST_WAIT_SECONDS
        may_gather = self._is_batching and self._sink.in_flight
        for lane in self._busy:
            if not self._can_send(lane):
                work_at = min(work_at, now + SCHEMA_ID_SECONDS)
            elif self._sink.room and (lane.sendable(now) or self._may_refill(lane, now)):
                gathers_until = self._gathers_until(lane) if may_gather else 0.0
                if gathers_until <= now:
                    return now
                work_at = min(work_at, gathers_until)
            elif lane.waiting and lane.retry_at > now:
                work_at = min(work_at, lane.retry_at)
        actions = [
            now + SUCCESSOR_SECONDS if self._is_in_doubt(each) else each.next_action_seconds for each in self._sources
        ]
        return min([work_at, *actions])

    def _can_send(self, lane: Lane) -> bool:
        return lane.stream in self.transforms and not self._clock.is_waiting

    def _may_refill(self, lane: Lane, now: float) -> bool:
        return self.is_reading and lane.needs_refill(now) and self._spool.may_load

    def _gathers_until(self, lane: Lane) -> float:
        return 0.0 if lane.is_isolating else self._pacing.gathers_until(len(lane.waiting), lane.sent_at)

    # --- MQTT to spool -------------------------------------------------------------------------------------------

    def _read(self) -> int:
        count = 0
        for source in self._sources if self._sink.is_ready else ():
            may_read = self._may_read()
            if not self._is_in_doubt(source):  # connecting would end the connection of another gateway
                source.maintain(self.turned_at, is_reading=may_read)
            if (
                may_read
                and (source.fileno in self._readable or source.has_buffered_data)
                and (entries := source.read())
            ):
                self._append(entries, source.session.repeats(entries) if source.session.must_look else [])
                count += len(entries)
            if source.session.released:
                source.session.release()
        return count

    def _is_in_doubt(self, source: MqttSource) -> bool:
        return source.is_down and not self._sink.is_sole(source.lost_at)

    def _on_session(self, source: MqttSource, is_present: bool) -> None:  # noqa: FBT001 - as the source calls it
        session = source.session
        for entry in (each for lines in self.rules.lines.values() for each in lines.waiting(session)):
            session.forget_arrival(entry)
            entry.packet_id = entry.packet_id if is_present else 0
        self._spool.resume_session(session, self.turned_at, is_present=is_present)

    def _append(self, batch: Batch, repeats: Sequence[Entry] = ()) -> None:
        entries: list[Entry] = batch
        has_flags = batch.has_flags
        groups = dict.fromkeys(batch.streams, entries) if len(batch.streams) == 1 else _by_stream(entries)
        if repeats:
            self._drop_repeats(repeats)
            groups = _by_stream([entry for entry in entries if not entry.is_settled])
        if not self._drops.keys().isdisjoint(groups):
            entries = self._drop_unwanted(entries, groups)
        if not self.rules.lines.keys().isdisjoint(groups):
            entries = self._join_lines(entries, groups)
            has_flags = True  # perhaps of a line that came earlier
        self._append_to_log(entries, groups, has_flags=has_flags)

    def _append_to_log(self, entries: list[Entry], groups: dict[str, list[Entry]], *, has_flags: bool = True) -> None:
        self._spool.append(entries, self.turned_at)
        for stream, group in groups.items():
            books = self._ledger.books[stream]
            books.received += len(group)
            books.in_flight += len(group)
            books.last_reading_at = group[-1].reading.received_at
            flagged = [entry for entry in group if entry.reading.dup or entry.reading.retain] if has_flags else []
            books.repeated += sum([entry.reading.dup for entry in flagged])
            self._add(self.lanes[stream], self._drop_retained_duplicates(stream, group) if flagged else group)

    def _note_lines(self) -> None:
        """Tell the sessions with QoS 2 which lines are not in the log yet."""
        for session in (source.session for source in self._sources if source.session.uses_qos_2):
            lines = (each for own in self.rules.lines.values() for each in own.waiting(session))
            session.gathering = {each.packet_id for each in lines}

    def _join_lines(self, entries: list[Entry], groups: dict[str, list[Entry]]) -> list[Entry]:
        """Join lines to telegrams; give the entries that go into the log."""
        for stream in self.rules.lines.keys() & groups:
            joined = self.rules.lines[stream].add(groups.pop(stream))
            entries = [entry for entry in entries if entry.is_settled or entry.reading.stream != stream] + joined
            if whole := [entry for entry in joined if not entry.is_settled]:
                groups[stream] = whole
        self._note_lines()
        return entries

    def _drop_repeats(self, repeats: Sequence[Entry]) -> None:
        """Drop messages that the gateway has already.

        They stay in the log, settled, so that none is acknowledged before the reading that it repeats.
        """
        for entry in repeats:
            entry.is_settled = True
            stream = entry.reading.stream
            books = self._ledger.books[self._drops[stream][0] if stream in self._drops else stream]
            books.received += 1
            books.repeated += entry.reading.dup
            books.dropped["repeated"] += 1

    def _drop_unwanted(self, entries: list[Entry], groups: dict[str, list[Entry]]) -> list[Entry]:
        """Drop messages that the contract ignores or does not address; give those that go into the log.

        One with a packet id stays in the log, settled and without its payload, because acknowledgements keep the order
        of arrival.
        """
        for stream in self._drops.keys() & groups:
            name, reason = self._drops[stream]
            dropped, books = groups.pop(stream), self._ledger.books[name]
            books.received += len(dropped)
            books.dropped[reason] += len(dropped)
            books.repeated += sum([entry.reading.dup for entry in dropped])
            books.last_reading_at = dropped[-1].reading.received_at
            for entry in dropped:
                entry.reading, entry.is_settled = _DROPPED[entry.reading.qos], True
        return [entry for entry in entries if entry.packet_id or not entry.is_settled]

    def _drop_retained_duplicates(self, stream: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Drop retained messages that repeat a reading.

        They stay in the log, settled, so that none is acknowledged before the reading that it repeats.
        """
        duplicates = [
            entry for entry in entries if entry.reading.retain and self.rules.retained.is_duplicate(entry.reading)
        ]
        if not duplicates:
            return entries
        self._book_out(stream, duplicates).dropped["retained"] += len(duplicates)
        return [entry for entry in entries if not entry.is_settled]

    def _dead_letter(self, lane: Lane, dead_letters: Iterable[tuple[Entry, DeadLetter]]) -> None:
        """Put readings into the lane of their stream's dead letters.

        A reading that left that lane's memory earlier, and is in its backlog on disk, only leaves memory again,
        unless Kafka refused it.
        """
        added = []
        for entry, dead_letter in dead_letters:
            entry.dead_letter = dead_letter
            if entry.is_stored and lane.has_on_disk(entry.offset) and not entry.is_refused:
                self._spool.evict(entry)
            else:
                added.append(entry)
        if added:
            self._add(lane, added)

    def _is_dead_letter(self, entry: Entry) -> bool:
        """Transform a reading that was read back from disk, where good ones lie between the dead letters.

        What the lane of readings has passed was a dead letter, perhaps by an earlier contract.
        """
        transform = self.transforms[entry.reading.stream]
        known = self._quarantine.dead_letter(entry)
        entry.dead_letter = known or transform.transform_all([entry.reading]).dead_letters.get(0)
        return entry.dead_letter is not None or not self.lanes[entry.reading.stream].has_on_disk(entry.offset)

    def _add(self, lane: Lane, entries: Sequence[Entry]) -> None:
        lane.add(entries, self.turned_at)
        self._busy[lane] = None

    def _lane_of(self, entry: Entry) -> Lane:
        lanes = self.lanes if entry.dead_letter is None else self.dead_lanes
        return lanes[entry.reading.stream]

    def _follow_clock(self) -> None:
        """When the machine's clock has been set, set the time of all readings that are not settled as well."""
        was_waiting = self._clock.is_waiting
        if step := self._clock.step():
            extra = {"step_seconds": step / 1_000, "count": self._spool.redate(step)}
            for record_time in self.rules.record_times.values():
                record_time.follow(step, self._clock.now())
            log.warning("The machine's clock was set. Readings that are not in Kafka got the new time.", extra=extra)
        if was_waiting and not self._clock.is_waiting:
            for lane in self.all_lanes():
                lane.begin(self.turned_at)

    # --- another contract ----------------------------------------------------------------------------------------

    def adopt(self, change: Change) -> None:
        """Work by another contract from now on; call it between two turns."""
        rules, streams = change.rules, change.rules.dead_letter_topics
        self._keep_lines(rules.lines)
        waiting = (change.topics.keys() - self.lanes.keys()) | self._gone.keys() | self._behind.keys()
        self._departing = {
            name: one for name, one in {**self._departing, **change.former}.items() if name in self.lanes
        }
        self._former = {name: former for name in change.replaced if (former := self._former_of(name))}
        self._drops, self.rules = _drops(rules), rules
        # A stream that is gone without a transform, because its schema has no id, is not waited for.
        gone = [one for name, one in self._gone.items() if name in self.transforms]
        topics = {route.topic.name for one in gone for route in one.routes}
        self._behind = {name: None for name in waiting & change.topics.keys() if topics & change.topics[name]}
        for name in change.replaced:
            self.transforms.pop(name, None)
        self.new_transforms = change.transforms
        kept = [*streams, *self._gone]
        self.lanes = {name: self.lanes.get(name) or Lane(name) for name in kept}
        self.dead_lanes = {name: self.dead_lanes.get(name) or Lane(streams[name], name) for name in kept}
        for name, topic in streams.items():
            self.dead_lanes[name].name = topic
        self._spool.attach(list(self.lanes.values()), list(self.dead_lanes.values()))
        self._busy |= dict.fromkeys(lane for lane in self.lanes.values() if lane.has_backlog)
        self._quarantine.adopt(rules.counters)
        self._route(change.routings)

    @property
    def _gone(self) -> dict[str, Stream]:
        """The departing streams that the contract no longer has."""
        return {name: one for name, one in self._departing.items() if name not in self.rules.dead_letter_topics}

    def _former_of(self, name: str) -> Transform | None:
        """Give the transform of the topics that a changed stream no longer has, also of changes before."""
        present = self.transforms.get(name)
        if present is None:
            return self._former.get(name)
        return present if name in self._departing else getattr(present, "former", None)

    def _keep_lines(self, lines: Mapping[str, TelegramLines]) -> None:
        """Keep these joiners of lines; the incomplete telegrams of the others are rejected."""
        closed = [own for name, own in self.rules.lines.items() if lines.get(name) is not own]
        if rejected := [entry for own in closed for entry in own.close()]:
            whole = [entry for entry in rejected if not entry.is_settled]
            self._append_to_log(rejected, _by_stream(whole))
        self.rules = replace(self.rules, lines=lines)

    def _route(self, routings: Mapping[str, Routing]) -> None:
        """Subscribe as the contract says; messages that match only a departing stream still go to that stream."""
        self._routings, self._depart_at = routings, self.turned_at + DEPARTURE_SECONDS
        for source in self._sources:
            own = [each for each in self._departing.values() if source.name in each.servers]
            source.change(routings[source.name].beside(own) if own else routings[source.name])

    def _let_go(self) -> None:
        """Let go of departing streams: first of their topics, then of their lanes."""
        if not self._departing:
            return
        gone = self._gone
        empty = [name for name in gone if self._is_empty(name)]
        if len(empty) == len(gone):
            for name, transform in self._behind.items():
                if transform:
                    self._use(name, transform)
            self._behind = {}
        if any(source.has_former_filters for source in self._sources):
            self._depart_at = self.turned_at + DEPARTURE_SECONDS
        if self._routings and self.turned_at >= self._depart_at:
            self._keep_lines({name: own for name, own in self.rules.lines.items() if name not in gone})
            for source in self._sources:
                source.change(self._routings[source.name])
            self._routings = {}
        elif not self._routings:
            self._departing = {name: one for name, one in gone.items() if name not in empty}
            for name in empty:
                self._busy.pop(self.dead_lanes[name], None)
                self._busy.pop(self.lanes[name], None)
                self.transforms.pop(name, None)
                self.lanes = {key: lane for key, lane in self.lanes.items() if key != name}
                self.dead_lanes = {key: lane for key, lane in self.dead_lanes.items() if key != name}
                self._spool.attach(list(self.lanes.values()), list(self.dead_lanes.values()))

    def _is_empty(self, stream: str) -> bool:
        return not any(lane.held or lane.has_backlog for lane in (self.lanes[stream], self.dead_lanes[stream]))

    def _adopt_transforms(self) -> None:
        while not self.new_transforms.empty():
            stream, transform = self.new_transforms.get_nowait()
            if transform and (former := self._former.pop(stream, None)):
                transform = Successor(transform, former)
            if stream in self._behind:
                self._behind[stream] = transform
            elif transform:
                self._use(stream, transform)
            else:
                self.transforms.pop(stream, None)

    def _use(self, stream: str, transform: Transform) -> None:
        self.transforms[stream] = transform
        self.lanes[stream].begin(self.turned_at)

    # --- spool to Kafka ------------------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        in_flight = self._sink.in_flight
        if not in_flight and not self._sink.is_busy:
            self._reported_at = now
        sendable = (lane.sendable(now) for lane in self._busy if self._can_send(lane))
        self._is_batching = self._pacing.is_batching(len(self._busy), in_flight, sendable)
        for lane in list(self._busy):
            lane.recover()
            if self._can_send(lane):
                if self._sink.room and self._may_refill(lane, now):
                    self._spool.load(lane, now, self._is_dead_letter if lane.holds_dead_letters else None)
                room = min(lane.sendable(now), self._sink.room, QUANTUM)
                if room and not (self._is_batching and self._gathers_until(lane) > now):
                    if lane.holds_dead_letters:
                        self._send_dead_letters(lane, room)
                    else:
                        self._send_readings(lane, self.transforms[lane.stream], room)
            if not lane.has_waiting:
                del self._busy[lane]

    def _send_readings(self, lane: Lane, transform: Transform, room: int) -> None:
        taken = lane.take(room)
        self._clock.mark(taken)
        results = transform.transform_all([entry.reading for entry in taken])
        records: Sequence[Record | list[Record]] = results.records
        entries, rest = taken[: results.readings], taken[results.readings :]
        dead_letters = [(entries[number], dead_letter) for number, dead_letter in results.dead_letters.items()]
        if results.ignored:
            ignored = [entries[number] for number in results.ignored]
            self._book_out(lane.stream, ignored, "dropped/ignored").dropped["ignored"] += len(ignored)
        if results.dead_letters or results.ignored:
            others = {*results.dead_letters, *results.ignored}
            entries = [entry for number, entry in enumerate(entries) if number not in others]
        if wrong := self._quarantine.check(lane.stream, entries, records, self.turned_at):
            dead_letters += [(entries[number], dead_letter) for number, dead_letter in wrong.items()]
            dead_letters.sort(key=lambda pair: pair[0].offset)
            entries = [entry for number, entry in enumerate(entries) if number not in wrong]
            records = [record for number, record in enumerate(records) if number not in wrong]
        if dead_letters:
            self._dead_letter(self.dead_lanes[lane.stream], dead_letters)
        if monitor := self.rules.monitors.get(lane.name):
            for entry, result in zip(entries, records, strict=True):
                record = result[0] if isinstance(result, list) else result
                if record.value is not None:  # a tombstone carries no sequence number
                    monitor.note(entry.offset, entry.reading, record, self.turned_at)
        if self._clock.has_doubts:
            records = [_marked(record, entry) for record, entry in zip(records, entries, strict=True)]
        if len(entries) == 1 and entries[0].is_dated_now:
            records = [_dated_now(records[0])]
        lane.sent([*entries, *rest], [*self._sink.send(records, entries), *rest], self.turned_at)

    def _send_dead_letters(self, lane: Lane, room: int) -> None:
        taken = lane.take(room)
        if good := [entry for entry in taken if entry.dead_letter is None]:
            self._add(self.lanes[lane.stream], good)
        entries = [entry for entry in taken if entry.dead_letter is not None]
        self._clock.mark(entries)
        records = [self._dead_letter_record(entry, lane.name) for entry in entries]
        lane.sent(entries, self._sink.send(records, entries), self.turned_at)

    def _dead_letter_record(self, entry: Entry, topic: str) -> Record:
        assert entry.dead_letter is not None, "the lane holds dead letters only"
        limit = CUT_TO if entry.is_cut else self.rules.payload_limit
        record_time = self.rules.record_times.get(topic, NO_LIMITS)
        record = dead_letter_record(entry.reading, entry.dead_letter, topic, limit, record_time)
        return structs.replace(record, timestamp=NOW) if entry.is_dated_now else record

    # --- delivery reports ----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        settled, failed = self._sink.take_reports()
        if settled or failed:
            self._reported_at = self.turned_at
        groups: dict[Lane, list[Entry]] = {}
        for entries in settled:  # each list is of one lane
            groups.setdefault(self._lane_of(entries[0]), []).extend(entries)
        for lane, group in groups.items():
            self._settle_lane(lane, group)
        for entry, error in failed:
            self._take_back(entry, error)
        for lane in self._busy if failed else ():
            lane.recover()

    def _settle_lane(self, lane: Lane, entries: list[Entry]) -> None:
        books = self._book_out(lane.stream, entries)
        lane.settle(len(entries), self.turned_at)
        if not lane.holds_dead_letters:
            books.delivered += len(entries)
        else:
            arrivals = [(entry.dead_letter.reason, entry.reading.received_at) for entry in entries if entry.dead_letter]
            books.dead_lettered.update([reason for reason, _ in arrivals])
            books.last_dead_letter_at.update(arrivals)

    def _book_out(self, stream: str, entries: list[Entry], outcome: str = "") -> Books:
        """Settle readings in the spool and subtract them from the books, which are returned to book the outcome."""
        stored = self._spool.settle(entries, outcome)
        self._quarantine.settle(entries)
        books = self._ledger.books[stream]
        books.spooled -= stored
        books.in_flight -= len(entries) - stored
        return books

    def _take_back(self, entry: Entry, error: KafkaError) -> None:
        """Decide what happens to a reading that Kafka did not store."""
        lane = self._lane_of(entry)
        self._busy[lane] = None
        if outcome(error) is Outcome.REQUEUE:
            lane.requeue(entry)
            return
        reason = sentence(error, lane.name)
        if reason != lane.blocked_reason:
            log.warning("Kafka did not store a record.", extra={"stream": entry.reading.stream, "detail": reason})
        if outcome(error) is Outcome.RETRY:
            lane.fail(entry, reason, time.monotonic())
        elif lane.probe is not entry:
            lane.isolate(entry, reason)
        elif error.code() == KafkaError.INVALID_TIMESTAMP and not entry.is_dated_now:
            entry.is_dated_now = True
            lane.isolate(entry, reason)
        elif error.code() == KafkaError.INVALID_TIMESTAMP:  # this machine's clock is wrong: so is that of all readings
            lane.fail(entry, reason, time.monotonic())
        else:
            lane.probe = None
            lane.in_flight -= 1
            self._reject(entry, error)

    def _reject(self, entry: Entry, error: KafkaError) -> None:
        """Take the next step for a reading that Kafka refused by itself: dead letter, cut dead letter, drop."""
        stream = entry.reading.stream
        if entry.dead_letter is None:
            dead_letter = DeadLetter(Reason.REFUSED, "", f"Kafka refused the record: {error.str()}")
            self._dead_letter(self.dead_lanes[stream], [(entry, dead_letter)])
        elif not entry.is_cut:
            entry.is_cut = True
            self._add(self._lane_of(entry), [entry])
        else:
            self._book_out(stream, [entry], "dropped/dead_letter_refused").dropped["dead_letter_refused"] += 1
            extra = {"stream": stream, "detail": sentence(error, self._lane_of(entry).name)}
            log.error(
                "A reading was dropped: Kafka refused its dead letter, even with the payload truncated.", extra=extra
            )

    def _acknowledge(self) -> None:
        self._spool.acknowledge_safe()
        for source in self._sources:
            source.flush()

    def _report_stalls(self, now: float) -> None:
        if now < self._next_stall_check:
            return
        self._next_stall_check = now + LONGEST_WAIT_SECONDS
        for lane in self.all_lanes():
            if self._can_send(lane) and lane.has_stalled(now):
                log.error(
                    "Readings of a stream do not get to Kafka.",
                    extra={"stream": lane.name, "count": lane.held, "detail": lane.blocked_reason},
                )
        for stream, monitor in self.rules.monitors.items():
            if not self.lanes[stream].has_waiting:  # a key may only seem silent while readings wait
                monitor.expire(now)
            self._ledger.books[stream].silent_keys = monitor.silent_keys
            if monitor.last_anomaly:
                key, detail = monitor.last_anomaly
                monitor.last_anomaly = None
                log.warning(
                    "Sequence numbers of a key are missing, repeated or out of order, or the key is silent.",
                    extra={"stream": stream, "key": key, "detail": detail},
                )

    # --- end -----------------------------------------------------------------------------------------------------

    def store(self) -> None:
        """Write unsettled readings to disk and send the acknowledgements that this allows."""
        if rejected := [entry for lines in self.rules.lines.values() for entry in lines.incomplete()]:
            self._append_to_log(rejected, _by_stream(rejected))
        self._note_lines()
        self.make_safe()

    def make_safe(self) -> None:
        """Write readings that are not safe to disk, and acknowledge them, so that no broker sends them again."""
        self._spool.persist(time.monotonic())
        self._acknowledge()

    def close(self) -> None:
        """Write unsettled readings to disk; book those that the disk does not take as dropped."""
        self._quarantine.save()
        self._spool.close(time.monotonic())
        for entry in self._spool.unsettled():
            books = self._ledger.books[entry.reading.stream]
            books.in_flight -= 1
            books.dropped["returned_to_broker" if entry.packet_id else "lost_at_stop"] += 1


def _drops(rules: Rules) -> dict[str, tuple[str, str]]:
    """Give books and reason of what is dropped, by the stream of the reading."""
    return {NOT_ADDRESSED: (UNMAPPED, "not_addressed")} | {name: (name, "ignored") for name in rules.ignored}


def _marked(record: Record | list[Record], entry: Entry) -> Record | list[Record]:
    if not entry.reading.is_unsynchronised:
        return record
    return marked(record, entry.reading) if isinstance(record, list) else marked([record], entry.reading)[0]


def _dated_now(record: Record | list[Record]) -> Record | list[Record]:
    if isinstance(record, list):
        return [structs.replace(each, timestamp=NOW) for each in record]
    return structs.replace(record, timestamp=NOW)


def _by_stream(entries: list[Entry]) -> dict[str, list[Entry]]:
    streams = {entry.reading.stream for entry in entries}
    if len(streams) == 1:
        return {streams.pop(): entries}
    groups: dict[str, list[Entry]] = {stream: [] for stream in streams}
    for entry in entries:
        groups[entry.reading.stream].append(entry)
    return groups


class _Unmapped:
    """The transform of readings whose topic no stream describes: all are dead letters."""

    dead_letter = DeadLetter(Reason.UNMAPPED_TOPIC, "", "no stream of the contract has this topic")

    def __call__(self, reading: Reading) -> DeadLetter:  # noqa: ARG002 - as every transform
        return self.dead_letter

    def transform_all(self, readings: list[Reading]) -> TransformResults[Record]:
        return TransformResults([], dict.fromkeys(range(len(readings)), self.dead_letter))
