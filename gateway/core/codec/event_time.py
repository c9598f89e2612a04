"""The timestamp of a record in Kafka: the time of the event, which the codec reads with the record, or of its arrival.

A record keeps its own time only where that does no harm in Kafka. It gets the time of its arrival when the field is
null, and in these cases:

    until 1970       Kafka has no earlier time, and librdkafka takes 0 for "now"
    too old          the topic's `retention.ms` would delete it as soon as Kafka checks, or Kafka refuses what is before
                     `message.timestamp.before.max.ms`
    in the future    Kafka refuses what is beyond `message.timestamp.after.max.ms`, an hour unless the topic says other;
                     such a record would also keep its whole segment from being deleted

An arrival that is too old itself, after a long outage or with a clock that was not set, gives way to the time at which
the record is sent. The limits are those that the topic has in Kafka, so they may change while the gateway runs.

The time of the device stays in the record.

Where the contract lists several times, the codec reads them all, and `dating.py` chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.field_value import FieldValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.avro_schema import AvroType

MAX_AHEAD = 3_600_000  # milliseconds; the default of Kafka 4
RETENTION = 604_800_000  # likewise of all versions
NOW = 0  # librdkafka fills in the time at which it gets the record
LONGEST_UPTIME = 10**10  # seconds; 300 years


class TimeSource(NamedTuple):
    """One of several times that may date a record."""

    pointer: str  # RFC 6901, into the record
    within: int | None = None  # milliseconds by which it may differ from the arrival; None for any
    is_uptime: bool = False  # the field is the number of seconds since the device started


DatedBy = str | tuple[TimeSource, ...]  # a pointer into the record, or several times in order
Moment = int | tuple[int | None, ...] | None  # milliseconds: since 1970, or for each of several times; None when absent


def uptime(value: Any) -> int | None:
    """Convert the number of a field, in seconds, to milliseconds; None when no device can have run for so long."""
    return round(float(value) * 1000) if value is not None and 0 <= value <= LONGEST_UPTIME else None


def event_time(record: AvroType, dated_by: DatedBy) -> EventTime | EventTimes:
    """Make what reads the event time, or the times, on the precise path."""
    return EventTime(record, dated_by) if isinstance(dated_by, str) else EventTimes(record, dated_by)


class EventTimes:
    """Reads several times on the precise path."""

    def __init__(self, record: AvroType, sources: tuple[TimeSource, ...]) -> None:
        self._each = [(Uptime if one.is_uptime else EventTime)(record, one.pointer) for one in sources]

    def of(self, value: dict[str, Any]) -> tuple[int | None, ...]:
        """Read each time in milliseconds, None where it is absent."""
        return tuple([each.of(value) for each in self._each])


class Uptime:
    """Reads the time since the start of a device on the precise path; the pointer leads to a number."""

    def __init__(self, record: AvroType, pointer: str) -> None:
        self._value = FieldValue(record, pointer)

    def of(self, value: dict[str, Any]) -> int | None:
        """Read the milliseconds from JSON that the schema has accepted; None when it is null."""
        return uptime(self._value.of(value))


class EventTime:
    """Reads the event time on the precise path; the pointer leads to a timestamp of the record that may be null."""

    def __init__(self, record: AvroType, pointer: str) -> None:
        self._value = FieldValue(record, pointer)
        form = self._value.field.type.non_null[0].time
        assert form is not None, "the contract takes no field but a timestamp"
        self._form = form

    def of(self, value: dict[str, Any]) -> int | None:
        """Read the time, milliseconds since 1970 UTC, from JSON that the schema has accepted; None when it is null."""
        found = self._value.of(value)
        if found is None:
            return None
        return int(self._form.read(found) if type(found) is str else found) // self._form.per_millisecond


class RecordTime:
    """Chooses the timestamps of a topic's records; any thread may `limit` them anew.

    Without limits it refuses only what no topic takes.
    """

    def __init__(self) -> None:
        self.earliest = 1  # milliseconds since 1970 UTC
        self.stepped = 0  # milliseconds by which the gateway's clock has been set since the start, in all
        self._ahead = MAX_AHEAD
        self._limited_at = 0  # milliseconds since 1970 UTC

    def limit(self, configuration: Mapping[str, str], now: int) -> None:
        """Apply a topic's settings, at a time in milliseconds; what they do not say is as in Kafka by default."""
        self._limited_at = now
        if configuration.get("message.timestamp.type") == "LogAppendTime":  # Kafka sets the timestamp itself
            self.earliest, self._ahead = 1, now
            return
        both = _setting(configuration, "message.timestamp.difference.max.ms", now)  # before Kafka 4
        before = _setting(configuration, "message.timestamp.before.max.ms", now)
        ages = [now - 1, both, before, *_kept(configuration)]
        self.earliest = now - min(ages)
        self._ahead = min(both, _setting(configuration, "message.timestamp.after.max.ms", MAX_AHEAD))

    def follow(self, step: int, now: int) -> None:
        """Note that the gateway's clock has been set by so many milliseconds; `limit` may know the new time already."""
        self.stepped += step
        if self.earliest > 1 and abs(self._limited_at + step - now) < abs(self._limited_at - now):
            self._limited_at += step
            self.earliest = max(1, self.earliest + step)

    def takes(self, event_time: int, received_at: int) -> bool:
        """Tell whether a record may have the time of its event."""
        return self.earliest <= event_time <= received_at + self._ahead

    def __call__(self, event_time: int | None, received_at: int) -> int:
        """Choose between the times of the event, of its arrival and of sending, in milliseconds since 1970 UTC."""
        if event_time is not None and self.takes(event_time, received_at):
            return event_time
        return received_at if received_at >= self.earliest else NOW


def _kept(configuration: Mapping[str, str]) -> list[int]:
    """How long the topic keeps a record, in milliseconds; nothing when it is for ever."""
    kept = _setting(configuration, "retention.ms", RETENTION)
    is_deleted = "delete" in configuration.get("cleanup.policy", "delete")
    return [kept - 1] if is_deleted and kept >= 0 else []


def _setting(configuration: Mapping[str, str], name: str, default: int) -> int:
    text = configuration.get(name, "")
    return int(text) if text.removeprefix("-").isdecimal() else default
