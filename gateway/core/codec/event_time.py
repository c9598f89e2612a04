"""The timestamp of a record in Kafka: the time of the event, which the codec reads with the record, or of its arrival.

A record keeps its own time only where that does no harm in Kafka. It gets the time of its arrival when the field is
null, and in these cases:

    until 1970       Kafka has no earlier time, and librdkafka takes 0 for "now"
    too old          the topic's `retention.ms` would delete it as soon as Kafka checks
    in the future    Kafka refuses what is beyond `message.timestamp.after.max.ms`, an hour unless the topic says other;
                     such a record would also keep its whole segment from being deleted

The time of the device stays in the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.codec.field_value import FieldValue
from gateway.core.codec.scale import factor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.avro_schema import AvroType

MAX_AHEAD = 3_600_000  # milliseconds; the default of Kafka 4


class EventTime:
    """Reads the event time on the precise path; the pointer leads to a timestamp of the record that may be null."""

    def __init__(self, record: AvroType, pointer: str) -> None:
        self._value = FieldValue(record, pointer)
        form = self._value.field.type.non_null[0].time
        assert form is not None, "the contract takes no field but a timestamp"
        self._form, self._scale = form, factor_of(self._value.field)

    def of(self, value: dict[str, Any]) -> int | None:
        """Read the time, milliseconds since 1970 UTC, from JSON that the schema has accepted; None when it is null."""
        found, is_default = self._value.of(value)
        if found is None:
            return None
        if type(found) is str:
            found = self._form.read(found)
        elif self._scale and not is_default:
            found = self._scale(found)
        return int(found) // self._form.per_millisecond


class RecordTime:
    """Chooses the timestamps of a topic's records by the topic's settings."""

    def __init__(self, configuration: Mapping[str, str]) -> None:
        self._ahead = _setting(configuration, "message.timestamp.after.max.ms", MAX_AHEAD)
        is_deleted = "delete" in configuration.get("cleanup.policy", "delete")
        self._kept = _setting(configuration, "retention.ms", -1) if is_deleted else -1

    def __call__(self, event_time: int | None, received_at: int) -> int:
        """Choose between the time of the event and that of its arrival, in milliseconds since 1970 UTC."""
        if event_time is None or not 0 < event_time <= received_at + self._ahead:
            return received_at
        is_kept = self._kept < 0 or event_time > received_at - self._kept
        return event_time if is_kept else received_at


def _setting(configuration: Mapping[str, str], name: str, default: int) -> int:
    text = configuration.get(name, "")
    return int(text) if text.removeprefix("-").isdecimal() else default
