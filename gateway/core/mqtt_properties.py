"""The properties of a PUBLISH, parsed from its bytes (MQTT 5.0, section 2.2.2).

A reading keeps them as they were in the packet: the reader copies one slice, the spool stores one column, and a
contract that declares another header later finds it in today's backlog. Storing parsed pairs was rejected: every
reading would pay for all of them, and properties that no header uses would be lost.

Brokers validate the properties that they forward. If the bytes are malformed all the same, the result is a dead letter
and not a closed connection, because the broker would send the same message again after every reconnect.
"""

from __future__ import annotations

from gateway.errors import DataError

CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, SUBSCRIPTION_IDENTIFIER, USER_PROPERTY = 0x03, 0x08, 0x09, 0x0B, 0x26
_BLOCKS = {CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA}  # two bytes of length, then so many
_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}  # payload format indicator, message expiry interval, topic alias


class MalformedPropertiesError(DataError):
    """The bytes are not properties of a PUBLISH."""


Property = tuple[int, bytes, bytes]  # identifier; name of a user property, else empty; value


def parse(section: bytes) -> list[Property]:
    """Parse the bytes after the properties' length into those that may become a header, in their order.

    Properties of a fixed size are skipped. An unknown identifier, or an end inside a property, raises
    MalformedPropertiesError.
    """
    properties: list[Property] = []
    at, end = 0, len(section)
    try:
        while at < end:
            identifier = section[at]
            at += 1
            if identifier == USER_PROPERTY:
                name, at = _block(section, at)
                value, at = _block(section, at)
                properties.append((identifier, name, value))
            elif identifier in _BLOCKS:
                value, at = _block(section, at)
                properties.append((identifier, b"", value))
            else:
                at = _after(identifier, section, at)
    except (IndexError, KeyError):
        raise MalformedPropertiesError from None
    if at != end:
        raise MalformedPropertiesError
    return properties


def _block(section: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    after = start + (section[at] << 8 | section[at + 1])
    return section[start:after], after


def _after(identifier: int, section: bytes, at: int) -> int:
    """Skip a value that cannot become a header."""
    if identifier != SUBSCRIPTION_IDENTIFIER:
        return at + _FIXED[identifier]
    while section[at] & 0x80:  # a variable byte integer, section 1.5.5
        at += 1
    return at + 1
