"""How long the loop waits, and for what. Pure: numbers in, times out.

A turn of the loop and a request to Kafka cost the same for one reading as for a hundred. Both are made larger where
this adds little delay. Six rules; `Pacing` has their numbers:

    distance   While more than a few records are in flight, turns keep a distance that grows with their number: it is
               high when readings arrive fast or Kafka is slow. A turn that read enough for a request is followed soon.
    linger     With `linger.ms`, turns keep that distance after a turn that read a reading, and while any record is in
               flight. A reading that arrives on an idle link is sent at once, and a backlog is sent at full speed.
    rate       Without `linger.ms`, a linger follows the rate: none up to 200 readings per second, so that a single
               reading never waits, 2.5 ms from 400 on, and less again from 1,600 on, where a turn has readings enough.
               When no reading came in most of the last lingers, there is none for a second: the broker seems to wait
               for acknowledgements.
    reports    No single call waits for sockets and for delivery reports. While a report may come at any moment, the
               loop waits for reports and polls the sockets every millisecond. When reports are overdue (Kafka is
               unreachable), it waits at the sockets and polls for reports less and less often.
    together   The last few reports are awaited together, so that the broker gets their acknowledgements at once and
               sends its next readings at once. A broker that allows 20 unacknowledged messages then delivers 10,000
               readings per second instead of 6,500.
    batching   While thousands of readings are under way in many lanes, a lane with few readings waits for more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

QUANTUM = 4_096  # readings that one turn reads, and that a lane may send before the next lane has its turn


class Arrivals(NamedTuple):
    """How readings arrive, as of the last turn. Times are monotonic seconds."""

    at: float = -math.inf  # start of the last turn that read a reading
    interval: float = math.inf  # average from one reading to the next
    linger: float = 0.0  # seconds to the next turn
    empty: float = 0.0  # share of the last lingers in which no reading came
    rest_until: float = -math.inf  # no linger before


class Turn(NamedTuple):
    """The state of the loop after a turn. Times are monotonic seconds."""

    began_at: float
    received: int  # readings that the turn read
    in_flight: int  # records without a delivery report
    reported_at: float  # arrival of the last report, or when the first of the records in flight was sent
    work_at: float  # when the loop has work to do even if nothing arrives
    linger: float = 0.0  # of `Arrivals`


class Wait(NamedTuple):
    """Three waits in a row, each until a time in monotonic seconds. A time in the past means no wait."""

    pause_until: float  # nothing ends it early
    reports_until: float  # a delivery report or a readable socket ends it
    sockets_until: float  # a readable socket ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """The numbers of the rules above, in their order."""

    few_records: int = 20  # up to so many in flight, turns keep no distance; Mosquitto's limit for MQTT 3.1.1 clients
    distance_seconds: float = 0.000035  # of two turns, for each record in flight,
    longest_distance_seconds: float = 0.003  # at most
    full_request: int = 64  # readings that are enough for a request
    full_distance_seconds: float = 0.0007  # the distance after a turn that read as many
    linger_seconds: float | None = None  # `linger.ms` of the installation; None for one that follows the rate
    longest_linger_seconds: float = 0.1  # because acknowledgements, keep-alive and a stop wait for it as well
    rate_linger_seconds: float = 0.0025  # the longest linger that follows the rate
    gathered: int = 4  # it is no longer than so many readings take to arrive
    averaged: int = 8  # the rate is an average over so many readings; the share of empty lingers, over so many lingers
    rest_seconds: float = 1.0  # no linger for so long when no reading came in most of the last ones
    socket_poll_seconds: float = 0.001  # between two polls of the sockets while a report is expected
    overdue_seconds: float = 0.02  # a report is expected so long after the last one, then it is overdue
    longest_overdue_wait_seconds: float = 0.1  # at the sockets while reports are overdue
    together_seconds: float = 0.01  # the last reports are awaited together until so long after the start of a turn
    apart_seconds: float = 0.1  # not awaited together for so long after one was late: its topic may be unavailable
    many_lanes: int = 5  # batching begins with more lanes than requests that may be under way at once,
    many_readings: int = QUANTUM  # and with so many readings in flight or ready to be sent
    gather_seconds: float = 0.2  # the longest time from one request of a lane to its next while batching

    def wait(self, turn: Turn, now: float) -> Wait:
        """Compute the waits before the next turn."""
        pause_until = max(now, turn.began_at + self._distance(turn, now))
        if not turn.in_flight:
            return Wait(pause_until, pause_until, turn.work_at)
        overdue_at = turn.reported_at + self.overdue_seconds
        # The socket wait is as long as Kafka has been silent: 20, 40, 80 ms, then the longest.
        begin = max(pause_until, overdue_at)
        silence = min(begin - turn.reported_at, self.longest_overdue_wait_seconds)
        return Wait(pause_until, min(turn.work_at, overdue_at), min(turn.work_at, begin + silence))

    def _distance(self, turn: Turn, now: float) -> float:
        distance = 0.0
        if turn.in_flight > self.few_records:
            distance = min(self.distance_seconds * turn.in_flight, self.longest_distance_seconds)
            if turn.received >= self.full_request:
                distance = self.full_distance_seconds
        if turn.received >= QUANTUM or turn.work_at <= now:  # there is more to read or to send
            return distance
        return max(distance, self._linger(turn))

    def _linger(self, turn: Turn) -> float:
        if self.linger_seconds is None:
            return turn.linger if turn.in_flight <= self.few_records else 0.0
        return min(self.linger_seconds, self.longest_linger_seconds) if turn.received or turn.in_flight else 0.0

    def follow(self, before: Arrivals, began_at: float, received: int) -> Arrivals:
        """Compute how readings arrive from a turn that began at a time and read so many."""
        empty, rest_until, longest = before.empty, before.rest_until, self.rate_linger_seconds
        if before.linger:
            empty += ((0 if received else 1) - empty) / self.averaged
            if empty > 0.5 and not received:
                rest_until = began_at + self.rest_seconds
        if not received:
            return Arrivals(before.at, before.interval, 0.0, empty, rest_until)
        silence, interval = began_at - before.at, 4 * longest
        if silence < interval:  # else the average begins anew
            interval = before.interval + (silence / received - before.interval) * min(1.0, received / self.averaged)
        linger = min(longest * max(0.0, 2 * longest / interval - 1), longest, self.gathered * interval)
        return Arrivals(began_at, interval, linger if began_at >= rest_until else 0.0, empty, rest_until)

    def is_batching(self, lanes: int, in_flight: int, sendable: Iterable[int]) -> bool:
        """Return True when lanes with few readings wait for more; `sendable` is what each lane with work could send."""
        return lanes > self.many_lanes and in_flight > 0 and in_flight + sum(sendable) >= self.many_readings

    def gathers_until(self, waiting: int, sent_at: float) -> float:
        """Return how long a lane waits for more readings; 0 when it has none to send, or enough for a request."""
        return sent_at + self.gather_seconds if 0 < waiting < self.full_request else 0.0
