"""The loop: one turn reads what the MQTT sockets hold, sends while the window has room, settles, acknowledges.

    MQTT sources --> spool --> transform --> Kafka sink
         ^             |
         +-- acknowledge when safe

One thread, no locks. librdkafka's own threads do Kafka's network I/O; the only other threads here dial brokers, ask
the registry and serve HTTP, and none of them touches a reading.

How long a turn may wait: not at all while there is work; else until the next thing to do, or until something comes. Two
ends may wake it and cannot be waited for at once: sockets have `poll`, librdkafka's reports have a call of their own.
While a report may come at any moment the wait listens to the reports and looks at the sockets every millisecond, so
that readings that come meanwhile go together; when none has come for some time (Kafka is away) it waits at the sockets,
and asks for reports less and less often.

A request to Kafka costs the same for one record as for a hundred, and so does a turn, so both are made larger where
that delays little. While more than a few records are in flight, turns keep a distance, which grows with them: many are
in flight where readings come fast or Kafka takes its time. With a linger turns keep that one instead while any are, so
that a lone reading waits for nobody. While few are in flight, their reports are awaited together: a broker that allows
only 20 unacknowledged readings then gets 20 acknowledgements at once, and sends the next 20 at once; in small groups on
ways of their own they did 6,500 a second, together 10,000. And while thousands of readings are under way in many lanes,
each lane waits until it has enough of them for a request.
"""

from __future__ import annotations

import logging
import select
import time
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from gateway.core.dead_letter import CUT_TO, dead_letter_record
from gateway.core.reading import DeadLetter, Reason, TransformResults
from gateway.core.topic_index import UNMAPPED
from gateway.kafka.errors import Outcome, outcome, sentence
from gateway.spool.lane import FEW_READINGS, Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from confluent_kafka import KafkaError

    from gateway.core.entry import Entry
    from gateway.core.ledger import Books, Ledger
    from gateway.core.reading import Reading, Record
    from gateway.core.retained import RetainedMessages
    from gateway.core.sequence import SequenceMonitor
    from gateway.kafka.sink import KafkaSink
    from gateway.mqtt.source import MqttSource
    from gateway.spool.spool import Spool

    class Transform(Protocol):
        """Judges the readings of a stream."""

        def transform_all(
            self, readings: Sequence[Reading]
        ) -> TransformResults[Record] | TransformResults[list[Record]]:
            """Transform readings, from the first on, all or as many as make many records."""


log = logging.getLogger(__name__)

QUANTUM = 2_048  # readings a lane may send before the next lane has its turn: what one turn reads
FEW_RECORDS = 20  # in flight: as many as Mosquitto allows MQTT 3.1.1
TOGETHER_SECONDS = 0.01  # from the begin of a turn, for the reports on few records to come
LATE_SECONDS = 0.1  # for which nothing is waited for like that, when one did not come
DISTANCE_SECONDS = 0.000035  # from turn to turn, with more of them, for each
LONGEST_DISTANCE_SECONDS = 0.003
FULL_DISTANCE_SECONDS = 0.0007  # after a turn that took in enough for a request
LONGEST_LINGER_SECONDS = 0.1  # from turn to turn: acknowledgements, keep-alive and a stop wait as well
MANY_LANES = 5  # requests that are under way at once, whatever they hold
MANY_READINGS = QUANTUM  # under way: then lanes with few of them wait for more
LISTEN_SECONDS = 0.001  # to reports, between two looks at the sockets
EXPECTED_SECONDS = 0.02  # after this a report is overdue
LONGEST_FLIGHT_WAIT_SECONDS = 0.1
LOOK_SECONDS = 0.05  # for the schema id that readings wait for; another thread asks
LONGEST_WAIT_SECONDS = 1.0
NO_MONITORS: Mapping[str, SequenceMonitor] = MappingProxyType({})


class Bridge:
    """Moves readings from the sources through the spool to the sink, and acknowledgements back.

    Args:
        sources: the MQTT brokers.
        spool: holds every reading until it is safe.
        sink: Kafka.
        ledger: the books.
        dead_letter_topics: stream -> Kafka topic of its dead letters; UNMAPPED included.
        payload_limit: bytes of payload that a record or dead letter may hold.
        retained: decides which retained messages are readings.
        continuities: stream -> watches for readings that are not there; only streams that ask for it.
        linger_seconds: how long readings may wait for others while some are in flight; more than 0.1 counts as that.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the picture above
        self,
        sources: Sequence[MqttSource],
        spool: Spool,
        sink: KafkaSink,
        ledger: Ledger,
        dead_letter_topics: dict[str, str],
        payload_limit: int,
        retained: RetainedMessages,
        continuities: Mapping[str, SequenceMonitor] = NO_MONITORS,
        linger_seconds: float = 0.0,
    ) -> None:
        self.is_reading = True
        self.turned_at = time.monotonic()
        self.transforms: dict[str, Transform] = {UNMAPPED: _Unmapped()}
        self.lanes = {name: Lane(name) for name in dead_letter_topics}
        self.dead_lanes = {stream: Lane(topic, stream) for stream, topic in dead_letter_topics.items()}
        self.new_transforms: SimpleQueue[tuple[str, Transform]] = SimpleQueue()
        self._sources = sources
        self._spool = spool
        self._sink = sink
        self._ledger = ledger
        self._payload_limit = payload_limit
        self._retained = retained
        self._expecting_since, self._flight_wait = self.turned_at, EXPECTED_SECONDS
        self._continuities = continuities
        self._linger = min(linger_seconds, LONGEST_LINGER_SECONDS)
        self._received_last_turn = 0  # readings, in the last turn
        self._is_batching = False  # lanes with few readings wait for more; decided anew whenever they could send
        self._next_watch = 0.0
        self._listens_from = self.turned_at
        self._readable: set[int] = set()  # sockets
        spool.attach(list(self.lanes.values()), list(self.dead_lanes.values()))
        self._busy = dict.fromkeys(lane for lane in self.lanes.values() if lane.has_backlog)  # lanes with work to do
        self.lanes[UNMAPPED].begin(self.turned_at)

    def run_once(self) -> None:
        """Go once round the picture."""
        self._pace()
        self._wait()
        self.turned_at = time.monotonic()
        self._adopt_transforms()
        self._received_last_turn = self._read()
        self._spool.persist_due(self.turned_at)
        if not self._sink.in_flight:
            self._expecting_since = self.turned_at
        self._send(self.turned_at)
        self._sink.poll(0)
        self._settle()
        self._acknowledge()
        self._report_stalls(self.turned_at)

    @property
    def is_idle(self) -> bool:
        """True when everything that came in is settled."""
        return not any(lane.held for lane in self.all_lanes())

    def all_lanes(self) -> list[Lane]:
        """List every lane, the dead letters' included."""
        return [*self.lanes.values(), *self.dead_lanes.values()]

    # --- waiting -------------------------------------------------------------------------------------------------

    def _pace(self) -> None:
        in_flight = self._sink.in_flight
        distance = 0.0
        if in_flight > FEW_RECORDS:
            is_full = self._received_last_turn >= FEW_READINGS
            distance = FULL_DISTANCE_SECONDS if is_full else min(DISTANCE_SECONDS * in_flight, LONGEST_DISTANCE_SECONDS)
        if self._linger and in_flight and not self._has_more():
            distance = max(distance, self._linger)
        if distance:
            time.sleep(max(0.0, self.turned_at + distance - time.monotonic()))

    def _has_more(self) -> bool:
        """Tell whether the last turn left readings that the next one can read or send: then none waits for others."""
        return self._received_last_turn >= QUANTUM or not self._longest_wait(time.monotonic())

    def _wait(self) -> None:
        poller = select.poll()
        reads = select.POLLIN if self._may_read() else 0
        for source in self._sources:
            if source.fileno >= 0:
                poller.register(source.fileno, reads | (select.POLLOUT if source.wants_write else 0))
        now = time.monotonic()
        until = now + self._longest_wait(now)
        while self._sink.in_flight and now < min(until, self._expecting_since + EXPECTED_SECONDS):
            reports = self._sink.poll(LISTEN_SECONDS)
            if reports:
                self._await_remaining_reports()
            self._readable = {fileno for fileno, _ in poller.poll(0)}
            if self._readable or reports:
                return
            now = time.monotonic()
        if self._sink.in_flight:
            until = min(until, now + self._flight_wait)
            self._flight_wait = min(2 * self._flight_wait, LONGEST_FLIGHT_WAIT_SECONDS)
        self._readable = {fileno for fileno, _ in poller.poll(max(0.0, until - now) * 1000)}

    def _await_remaining_reports(self) -> None:
        """Take the other reports as well when few are unreported, so that the broker's next readings come together too.

        Its topic may be away when one does not come: then the others do not wait for it again and again.
        """
        while 0 < self._sink.unreported <= FEW_RECORDS and self.turned_at >= self._listens_from:
            now = time.monotonic()
            if now >= self.turned_at + TOGETHER_SECONDS:
                self._listens_from = now + LATE_SECONDS
            else:
                self._sink.poll(LISTEN_SECONDS)

    def _may_read(self) -> bool:
        return self.is_reading and self._spool.has_room

    def _longest_wait(self, now: float) -> float:
        wait = LONGEST_WAIT_SECONDS
        gathers = self._is_batching and self._sink.in_flight
        for lane in self._busy:
            if self._sink.room and self._can_send(lane) and (lane.sendable(now) or self._may_refill(lane, now)):
                wait = min(wait, lane.gather_seconds(now) if gathers else 0.0)
                if not wait:
                    return wait
            if not self._can_send(lane):
                wait = min(wait, LOOK_SECONDS)
            elif lane.waiting and lane.retry_at > now:
                wait = min(wait, lane.retry_at - now)
        for source in self._sources:
            wait = min(wait, max(0.0, source.next_action_seconds - now))
        return wait

    def _can_send(self, lane: Lane) -> bool:
        return lane.stream in self.transforms

    def _report_stalls(self, now: float) -> None:
        """Say so when a lane stands still, or when readings of a stream are not there."""
        if now < self._next_watch:
            return
        self._next_watch = now + LONGEST_WAIT_SECONDS
        for lane in self.all_lanes():
            if self._can_send(lane) and lane.has_stalled(now):
                log.error("no progress", extra={"stream": lane.name, "count": lane.held, "detail": lane.blocked_reason})
        for stream, continuity in self._continuities.items():
            if not self.lanes[stream].has_waiting:  # else a key may only seem silent
                continuity.look(now)
            self._ledger.books[stream].silent_keys = continuity.silent_keys
            if continuity.news:
                key, detail = continuity.news
                continuity.news = None
                log.warning("readings are not continuous", extra={"stream": stream, "key": key, "detail": detail})

    # --- MQTT to spool -------------------------------------------------------------------------------------------

    def _read(self) -> int:
        count = 0
        now = time.monotonic()
        for source in self._sources:
            may_read = self._may_read()
            source.maintain(now, is_reading=may_read)
            if (
                may_read
                and (source.fileno in self._readable or source.has_buffered_tls_data)
                and (entries := source.read())
            ):
                self._take_in(entries)
                count += len(entries)
        return count

    def _take_in(self, entries: list[Entry]) -> None:
        self._spool.append(entries, self.turned_at)
        for stream, group in _by_stream(entries).items():
            books = self._ledger.books[stream]
            books.received += len(group)
            books.in_flight += len(group)
            books.last_reading_at = group[-1].reading.received_at
            marked = [entry for entry in group if entry.reading.dup or entry.reading.retain]
            books.repeated += sum([entry.reading.dup for entry in marked])
            self._add(self.lanes[stream], self._drop_retained_duplicates(stream, group) if marked else group)

    def _drop_retained_duplicates(self, stream: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Drop the retained messages that are no readings.

        They are settled in their place of the log, so that none is acknowledged before the reading that it repeats.
        """
        refused = [entry for entry in entries if entry.reading.retain and self._retained.refuses(entry.reading)]
        if not refused:
            return entries
        self._book_out(stream, refused).dropped["retained"] += len(refused)
        return [entry for entry in entries if not entry.is_settled]

    def _dead_letter(self, lane: Lane, letters: Iterable[tuple[Entry, DeadLetter]]) -> None:
        """Send readings on as dead letters, but for those that left memory as such before and are read back later.

        Args:
            lane: of the dead letters of their stream.
            letters: readings by offset, and what is wrong with each.
        """
        condemned = []
        for entry, letter in letters:
            entry.letter = letter
            if entry.is_stored and lane.has_on_disk(entry.offset):
                self._spool.evict(entry)
            else:
                condemned.append(entry)
        if condemned:
            self._add(lane, condemned)

    def _is_dead_letter(self, entry: Entry) -> bool:
        """Transform again what was read back for the dead letters: the disk has the good ones around them as well."""
        entry.letter = self.transforms[entry.reading.stream].transform_all([entry.reading]).dead_letters.get(0)
        return entry.letter is not None

    def _add(self, lane: Lane, entries: Sequence[Entry]) -> None:
        lane.add(entries, self.turned_at)
        self._busy[lane] = None

    def _lane_of(self, entry: Entry) -> Lane:
        lanes = self.lanes if entry.letter is None else self.dead_lanes
        return lanes[entry.reading.stream]

    # --- spool to Kafka ------------------------------------------------------------------------------------------

    def _has_much(self, now: float) -> bool:
        """Tell whether many lanes have enough together for Kafka to do: then those with few readings wait for more."""
        if len(self._busy) <= MANY_LANES or not self._sink.in_flight:
            return False
        waiting = sum([lane.sendable(now) for lane in self._busy if self._can_send(lane)])
        return self._sink.in_flight + waiting >= MANY_READINGS

    def _adopt_transforms(self) -> None:
        while not self.new_transforms.empty():
            stream, transform = self.new_transforms.get_nowait()
            self.transforms[stream] = transform
            self.lanes[stream].begin(self.turned_at)

    def _send(self, now: float) -> None:
        self._is_batching = self._has_much(now)
        for lane in list(self._busy):
            lane.recover()
            if transform := self.transforms.get(lane.stream):
                is_for_readings = self.lanes[lane.stream] is lane
                if self._sink.room and self._may_refill(lane, now):
                    self._spool.load(lane, now, None if is_for_readings else self._is_dead_letter)
                if (room := self._room(lane, now)) and not (self._is_batching and lane.gather_seconds(now)):
                    if is_for_readings:
                        self._send_readings(lane, transform, room)
                    else:
                        self._send_dead_letters(lane, room)
            if not lane.has_waiting:
                del self._busy[lane]

    def _room(self, lane: Lane, now: float) -> int:
        return min(lane.sendable(now), self._sink.room, QUANTUM)

    def _may_refill(self, lane: Lane, now: float) -> bool:
        return self.is_reading and lane.needs_refill(now)

    def _send_readings(self, lane: Lane, transform: Transform, room: int) -> None:
        taken = lane.take(room)
        results = transform.transform_all([entry.reading for entry in taken])
        records: Sequence[Record | list[Record]] = results.records
        entries, rest = taken[: results.readings], taken[results.readings :]
        if results.dead_letters:
            condemned = [(entries[number], letter) for number, letter in results.dead_letters.items()]
            self._dead_letter(self.dead_lanes[lane.stream], condemned)
            entries = [entry for number, entry in enumerate(entries) if number not in results.dead_letters]
        if continuity := self._continuities.get(lane.name):
            for entry, result in zip(entries, records, strict=True):
                record = result[0] if isinstance(result, list) else result
                if record.value is not None:  # a tombstone is no reading
                    continuity.note(entry.offset, entry.reading, record.key, self.turned_at)
        lane.sent([*entries, *rest], [*self._sink.send(records, entries), *rest], self.turned_at)

    def _send_dead_letters(self, lane: Lane, room: int) -> None:
        entries = lane.take(room)
        letters = [self._letter_of(entry, lane.name) for entry in entries]
        lane.sent(entries, self._sink.send(letters, entries), self.turned_at)

    def _letter_of(self, entry: Entry, topic: str) -> Record:
        assert entry.letter is not None, "only dead letters are put into this lane"
        return dead_letter_record(entry.reading, entry.letter, topic, CUT_TO if entry.is_cut else self._payload_limit)

    # --- reports back --------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        settled, failed = self._sink.take_reports()
        if settled or failed:
            self._expecting_since, self._flight_wait = self.turned_at, EXPECTED_SECONDS
        groups: dict[Lane, list[Entry]] = {}
        for entries in settled:  # all of one lane
            groups.setdefault(self._lane_of(entries[0]), []).extend(entries)
        for lane, group in groups.items():
            self._settle_lane(lane, group)
        for entry, error in failed:
            self._take_back(entry, error)
        for lane in self._busy if failed else ():
            lane.recover()

    def _settle_lane(self, lane: Lane, entries: Sequence[Entry]) -> None:
        books = self._book_out(lane.stream, entries)
        lane.settle(len(entries), self.turned_at)
        if self.lanes[lane.stream] is lane:
            books.delivered += len(entries)
        else:
            found = [(entry.letter.reason, entry.reading.received_at) for entry in entries if entry.letter]
            books.dead_lettered.update([reason for reason, _ in found])
            books.last_dead_letter_at.update(found)

    def _book_out(self, stream: str, entries: Sequence[Entry]) -> Books:
        """Take readings out of the spool and off their account; give the account, to book where they went."""
        stored = self._spool.settle(entries)
        books = self._ledger.books[stream]
        books.spooled -= stored
        books.in_flight -= len(entries) - stored
        return books

    def _take_back(self, entry: Entry, error: KafkaError) -> None:
        lane = self._lane_of(entry)
        self._busy[lane] = None
        if outcome(error) is Outcome.REQUEUE:
            lane.requeue(entry)
            return
        trouble = sentence(error, lane.name)
        if trouble != lane.blocked_reason:
            extra = {"stream": entry.reading.stream, "detail": trouble}
            log.warning("Kafka did not take a record", extra=extra)
        if outcome(error) is Outcome.RETRY:
            lane.fail(entry, trouble, time.monotonic())
        elif lane.probe is not entry:
            lane.isolate(entry, trouble)
        else:
            lane.probe = None
            lane.in_flight -= 1
            self._reject(entry, error)

    def _reject(self, entry: Entry, error: KafkaError) -> None:
        """Deal with a reading that Kafka refused by itself: a dead letter, then a shorter one, then a named drop."""
        if entry.letter is None:
            letter = DeadLetter(Reason.REFUSED, "", f"Kafka refused the record: {error.str()}")
            self._dead_letter(self.dead_lanes[entry.reading.stream], [(entry, letter)])
        elif not entry.is_cut:
            entry.is_cut = True
            self._add(self._lane_of(entry), [entry])
        else:
            self._book_out(entry.reading.stream, [entry]).dropped["dead_letter_refused"] += 1
            log.error("Kafka refuses a dead letter even when cut", extra={"stream": entry.reading.stream})

    def _acknowledge(self) -> None:
        self._spool.acknowledge_safe()
        for source in self._sources:
            source.flush()

    def store(self) -> None:
        """Leave what is unsettled to the disk and send the acknowledgements that this allows."""
        self._spool.persist(time.monotonic())
        self._acknowledge()

    def close(self) -> None:
        """Leave what is unsettled to the disk, and close the books over what the disk does not take."""
        self._spool.close(time.monotonic())
        for entry in self._spool.unsettled():
            books = self._ledger.books[entry.reading.stream]
            books.in_flight -= 1
            books.dropped["returned_to_broker" if entry.packet_id else "lost_at_stop"] += 1


def _by_stream(entries: Sequence[Entry]) -> Mapping[str, Sequence[Entry]]:
    streams = {entry.reading.stream for entry in entries}
    if len(streams) == 1:
        return {streams.pop(): entries}
    groups: dict[str, list[Entry]] = {stream: [] for stream in streams}
    for entry in entries:
        groups[entry.reading.stream].append(entry)
    return groups


class _Unmapped:
    """Judges readings that no stream describes; in the place of their transform."""

    def transform_all(self, readings: Sequence[Reading]) -> TransformResults[Record]:
        letter = DeadLetter(Reason.UNMAPPED_TOPIC, "", "no stream of the contract has this topic")
        return TransformResults([], dict.fromkeys(range(len(readings)), letter))
