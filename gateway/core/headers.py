"""Headers of a record that differ from reading to reading.

A header that the Kafka message declares gets its value from

    mqtt.qos, mqtt.retain, gateway.received_at       the reading
    mqtt.content_type, mqtt.correlation_data         these properties of the PUBLISH
    any other name                                   the user property of that name, if the MQTT message declares it too

`mqtt.topic`, which differs from topic to topic, is added by the transform, and so is `time.source` (`dating.py`).
`gateway.clock` marks all records of a reading that arrived while the gateway's clock was not synchronised, whether it
is declared or not: a consumer cannot see otherwise that their time may be wrong by years. These names are reserved: a
user property with one of them is never read, so a device cannot forge them.

A user property that occurs several times becomes as many headers, in its order: MQTT and Kafka both allow it, and
choosing one would lose the others. An absent one is left out; if the Kafka message requires it, the reading is a dead
letter. Values are passed on unchanged: text must be UTF-8, as MQTT demands; the rest of their schema is not enforced.
Properties that are not declared are dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.dead_letter import (
    CLOCK_HEADER,
    CUT_TO,
    QOS_HEADER,
    RETAIN_HEADER,
    SOURCE_HEADER,
    TIME_HEADER,
    TOPIC_HEADER,
    UNSYNCHRONISED,
    flag,
    iso,
)
from gateway.core.mqtt_properties import CONTENT_TYPE, CORRELATION_DATA, MalformedPropertiesError, parse
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.mqtt_properties import Property
    from gateway.core.reading import Headers, Reading, Record

CONTENT_TYPE_HEADER, CORRELATION_DATA_HEADER = "mqtt.content_type", "mqtt.correlation_data"
OF_PUBLISH = {CONTENT_TYPE: CONTENT_TYPE_HEADER, CORRELATION_DATA: CORRELATION_DATA_HEADER}
OWN = frozenset({
    TOPIC_HEADER, TIME_HEADER, QOS_HEADER, RETAIN_HEADER, CLOCK_HEADER, SOURCE_HEADER, *OF_PUBLISH.values(),
})  # fmt: skip
_KNOWN: dict[str, Callable[[Reading], bytes]] = {
    TIME_HEADER: lambda reading: iso(reading.received_at),
    QOS_HEADER: lambda reading: b"%d" % reading.qos,
    RETAIN_HEADER: lambda reading: flag(is_set=reading.retain),
}


def marked(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Mark the records of a reading that arrived while the gateway's clock was not synchronised."""
    mark = [(CLOCK_HEADER, UNSYNCHRONISED)] * reading.is_unsynchronised
    return [structs.replace(record, headers=[*record.headers, *mark]) for record in records]


def carried(declared: frozenset[str], user_properties: frozenset[str]) -> frozenset[str]:
    """Name the headers that come from properties of a PUBLISH: `declared` by the Kafka message, and available."""
    return declared & ((user_properties - OWN) | set(OF_PUBLISH.values()))


class VaryingHeaders:
    """Writes the headers that differ from reading to reading.

    Args:
        declared: by the Kafka message.
        required: those of them that every record must have.
        user_properties: that the MQTT message declares.
        limit: bytes that payload and properties may have together.
    """

    def __init__(
        self, declared: frozenset[str], required: frozenset[str], user_properties: frozenset[str], limit: int
    ) -> None:
        names = carried(declared, user_properties)
        self._known = [(name, value_of) for name, value_of in _KNOWN.items() if name in declared]
        self._of_publish = {identifier: name for identifier, name in OF_PUBLISH.items() if name in names}
        self._of_user = {name.encode(): name for name in sorted(names - set(OF_PUBLISH.values()))}
        self._required = required & names
        self._carries = bool(names)
        self._limit = limit

    def __bool__(self) -> bool:
        """True when there are any."""
        return bool(self._known) or self._carries

    def __call__(self, reading: Reading) -> Headers:
        """Write the headers of one reading; raises ValidationError when its properties do not give them."""
        headers: Headers = [(name, value_of(reading)) for name, value_of in self._known]
        if self._carries:
            headers += self._carry(reading)
        return headers

    def _carry(self, reading: Reading) -> list[tuple[str, bytes]]:
        room = min(CUT_TO, self._limit - len(reading.payload))
        if len(reading.properties) > room:
            raise ValidationError(
                Reason.TOO_LARGE, f"beside this payload the message's properties may have {room} bytes"
            )
        headers = []
        for identifier, user_name, value in parsed(reading.properties):
            name = self._of_user.get(user_name) if user_name else self._of_publish.get(identifier)
            if name is not None:
                headers.append((name, value if identifier == CORRELATION_DATA else _text(name, value)))
        if self._required and (missing := self._required.difference(name for name, _ in headers)):
            raise ValidationError(
                Reason.MISSING, f"the message has no MQTT 5 property for the header {shown(min(missing))}"
            )
        return headers


def parsed(section: bytes) -> list[Property]:
    """Parse the properties of a reading; raises ValidationError."""
    try:
        return parse(section)
    except MalformedPropertiesError:
        raise ValidationError(Reason.BAD_ENCODING, "the message's MQTT 5 properties are malformed") from None


def _text(name: str, value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the property for the header {shown(name)} is not valid UTF-8"
        raise ValidationError(Reason.BAD_ENCODING, detail) from None
    return value
