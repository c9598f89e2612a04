"""The timestamp of a record, from one of several sources: the device's clock, its uptime, or the time of arrival.

A meter's clock may never have been set, and an adapter may only count the seconds since it started. So the contract
lists sources in the order in which they are tried (`x-timestamp`). The first one is used that is present, that differs
from the arrival by no more than its bound, and that the Kafka topic accepts (`event_time.py`). If there is none, the
time of arrival is used. The header `time.source` names the source.

An uptime has no date: the device started at the arrival minus the uptime, minus the transmission delay. The
delay differs from message to message, so the smallest such difference of each device is the best one, also for a
message that was delayed for hours. A crystal drifts by up to 100 ppm, therefore the difference may grow by as much.
When the uptime falls, the device has restarted or its counter overflowed, and the next difference is a new one. A
message that is sent again (DUP, or an earlier arrival) does not count as a restart.

A device is identified by MQTT topic and key. The time of a device is forgotten when it is beyond its bound, and when
`MAX_DEVICES` others have sent since. While the gateway's clock is not synchronised, uptimes are not used; when it is
set, all differences move with it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.core.dead_letter import SOURCE_HEADER

if TYPE_CHECKING:
    from gateway.core.codec.event_time import DatedBy, Moment, RecordTime
    from gateway.core.reading import Headers, Reading

DEVICE, UPTIME, ARRIVAL = b"device", b"uptime", b"arrival"
MAX_DEVICES = 65_536
DRIFT = 10_000  # a clock drifts by at most one part in so many


class Dating:
    """Chooses the times of a route's records.

    Args:
        dated_by: a field of the record or several times; None for the arrival.
        names_source: True when the records have the header `time.source`.
    """

    def __init__(self, dated_by: DatedBy | None, *, names_source: bool) -> None:
        self._sources = [(one, UptimeClocks()) for one in dated_by] if isinstance(dated_by, tuple) else []
        self._names_source = names_source

    def __call__(self, moment: Moment, key: bytes, reading: Reading, record_time: RecordTime) -> tuple[int, Headers]:
        """Choose the time of a record, in milliseconds since 1970 UTC, and give the header that says which it is."""
        at, source = self._choose(moment, key, reading, record_time)
        return at, [(SOURCE_HEADER, source)] if self._names_source else []

    def _choose(self, moment: Moment, key: bytes, reading: Reading, record_time: RecordTime) -> tuple[int, bytes]:
        arrival = reading.received_at
        if isinstance(moment, int) and record_time.takes(moment, arrival):
            return moment, DEVICE
        for (source, clocks), at in zip(self._sources, moment, strict=True) if isinstance(moment, tuple) else ():
            if at is None or (source.is_uptime and reading.is_unsynchronised):
                continue
            device = hash((reading.topic, key)) if source.is_uptime else 0  # that two are equal does not happen
            event = clocks.event_time(device, at, reading, record_time.stepped) if source.is_uptime else at
            is_near = source.within is None or abs(event - arrival) <= source.within
            if is_near and record_time.takes(event, arrival):
                return event, UPTIME if source.is_uptime else DEVICE
            clocks.forget(device)
        return record_time(None, arrival), ARRIVAL


class _Started(Struct):
    """When a device started. All times are milliseconds, and those of the gateway are without steps of its clock."""

    at: float  # the smallest difference between arrival and uptime
    uptime: int  # the latest
    arrival: int  # of the latest


class UptimeClocks:
    """The starts of the devices that have sent their uptime."""

    def __init__(self, max_devices: int = MAX_DEVICES) -> None:
        self._started: OrderedDict[int, _Started] = OrderedDict()  # the device that sent least recently is first
        self._max_devices = max_devices

    def event_time(self, device: int, uptime: int, reading: Reading, stepped: int = 0) -> int:
        """Give the time of a reading by its uptime; `stepped` is by how much the gateway's clock has been set."""
        arrival = reading.received_at - stepped
        found = self._started.get(device)
        if found is None:
            found = self._started[device] = _Started(arrival - uptime, uptime, arrival)
            if len(self._started) > self._max_devices:
                self._started.popitem(last=False)
        self._started.move_to_end(device)
        is_restart = uptime < found.uptime and arrival >= found.arrival and not reading.dup
        grown = max(0, uptime - found.uptime) / DRIFT
        found.at = arrival - uptime if is_restart else min(arrival - uptime, found.at + grown)
        if is_restart or uptime > found.uptime:
            found.uptime, found.arrival = uptime, arrival
        return uptime + int(found.at) + stepped

    def forget(self, device: int) -> None:
        """Forget when a device started."""
        self._started.pop(device, None)
