"""The properties of a PUBLISH, read from its bytes (MQTT 5.0, section 2.2.2).

A reading carries them as they stood in the packet, so that a reader copies one slice, the spool keeps one column, and
a contract that asks for another header tomorrow finds it in the backlog of today. Parsed pairs lost: every reading
would pay for all of them, and what no header asks for would be gone.

A broker checks what it passes on. Bytes that are no properties all the same make a dead letter, not a closed link: the
broker would send the same message again after every connect.
"""

from __future__ import annotations

from gateway.errors import DataError

CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, SUBSCRIPTION_IDENTIFIER, USER_PROPERTY = 0x03, 0x08, 0x09, 0x0B, 0x26
_BLOCKS = {CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA}  # two bytes of length, then so many
_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}  # payload format indicator, message expiry interval, topic alias


class MalformedPropertiesError(DataError):
    """The bytes are no properties of a PUBLISH."""


Property = tuple[int, bytes, bytes]  # identifier; name of a user property, else empty; value


def parse(section: bytes) -> list[Property]:
    """Read properties; those of a fixed size are passed over.

    Args:
        section: what stands behind the properties' length.

    Returns:
        Those that may become a header, in their order; a user property may stand there more than once.

    Raises:
        MalformedPropertiesError: when the bytes do not end where a property does, or begin none.
    """
    found: list[Property] = []
    at, end = 0, len(section)
    try:
        while at < end:
            identifier = section[at]
            at += 1
            if identifier == USER_PROPERTY:
                name, at = _block(section, at)
                value, at = _block(section, at)
                found.append((identifier, name, value))
            elif identifier in _BLOCKS:
                value, at = _block(section, at)
                found.append((identifier, b"", value))
            else:
                at = _after(identifier, section, at)
    except (IndexError, KeyError):
        raise MalformedPropertiesError from None
    if at != end:
        raise MalformedPropertiesError
    return found


def _block(section: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    after = start + (section[at] << 8 | section[at + 1])
    return section[start:after], after


def _after(identifier: int, section: bytes, at: int) -> int:
    """Pass over a value that no header has."""
    if identifier != SUBSCRIPTION_IDENTIFIER:
        return at + _FIXED[identifier]
    while section[at] & 0x80:  # a variable byte integer, section 1.5.5
        at += 1
    return at + 1
