"""Logical types of Avro (1.12, "Logical Types"): how JSON says them, and the checked way to their underlying type.

A logical type that is unknown, or stands on a type it is not made for, is ignored, as the specification demands.
ISO 8601 is read in the profile of RFC 3339. Digits that the type cannot keep are refused, not cut: a contract that
wants microseconds says timestamp-micros.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

ToInteger = Callable[[str], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?", re.ASCII)
_DATE_TIME = re.compile(_DATE.pattern + r"[Tt ]" + _TIME.pattern + r"(?:([Zz])|([+-])(\d\d):([0-5]\d))?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def days(text: str) -> int:
    """Read a date as days since 1970-01-01.

    Raises:
        ValidationError: BAD_FORMAT when it is no date of the form YYYY-MM-DD.
    """
    if not (match := _DATE.fullmatch(text)):
        raise _bad(text, "a date YYYY-MM-DD")
    try:
        return (date(*map(int, match.groups())) - _EPOCH_DAY).days
    except ValueError:
        raise _bad(text, "a date of the calendar") from None


def time_of_day(digits: int) -> ToInteger:
    """Make a reader of times of day.

    Args:
        digits: of a second's fraction: 3 for milliseconds, 6 for microseconds.

    Returns:
        Text HH:MM:SS[.fraction] to units since midnight; it raises ValidationError (BAD_FORMAT, NOT_EXACT).
    """
    per_second = int(10**digits)

    def read(text: str) -> int:
        if not (match := _TIME.fullmatch(text)):
            raise _bad(text, "a time HH:MM:SS")
        hour, minute, second, fraction = match.groups()
        if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
            raise _bad(text, "a time of the day")
        seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
        return seconds * per_second + _fraction(fraction, digits)

    return read


def timestamp(digits: int, *, zoned: bool) -> ToInteger:
    """Make a reader of timestamps.

    Args:
        digits: of a second's fraction: 3, 6 or 9.
        zoned: True for timestamp-*, whose text must name its zone; False for local-timestamp-*, whose must not.

    Returns:
        Text to units since 1970-01-01T00:00:00; it raises ValidationError (BAD_FORMAT, NOT_EXACT).
    """
    per_second = int(10**digits)

    def read(text: str) -> int:
        match = _DATE_TIME.fullmatch(text)
        if not match:
            raise _bad(text, "an ISO 8601 time such as 2020-02-19T12:22:45Z")
        *moment, fraction, utc, sign, hours, minutes = match.groups()
        if zoned != bool(utc or sign):
            raise _bad(text, "a time with its zone (Z or +01:00)" if zoned else "a time without zone")
        try:
            offset = timedelta(hours=int(hours), minutes=int(minutes)) if sign else timedelta()
            zone = timezone(-offset if sign == "-" else offset)
            year, month, day, hour, minute, second = map(int, moment)
            since = datetime(year, month, day, hour, minute, second, tzinfo=zone) - _EPOCH
        except ValueError:
            raise _bad(text, "a time of the calendar") from None
        return (since.days * 86_400 + since.seconds) * per_second + _fraction(fraction, digits)

    return read


def uuid(text: str) -> bytes:
    """Read a UUID as its 16 bytes.

    Raises:
        ValidationError: BAD_FORMAT when it is not of the form 8-4-4-4-12 (RFC 9562).
    """
    if not _UUID.fullmatch(text):
        raise _bad(text, "a UUID")
    return bytes.fromhex(text.replace("-", ""))


def unscaled(value: int | Decimal, precision: int, scale: int) -> int:
    """Turn a number into a decimal's unscaled integer.

    Args:
        value: the JSON number, exact.
        precision: most digits of the unscaled integer.
        scale: digits after the point.

    Returns:
        value x 10**scale.

    Raises:
        ValidationError: NOT_EXACT when digits would be lost, OUT_OF_RANGE when there are too many.
    """
    number = Decimal(value)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "JSON has no infinities"
    shift = exponent + scale
    if number and number.adjusted() + scale + 1 > precision:
        raise ValidationError(Reason.OUT_OF_RANGE, f"more than {precision} digits")
    text = "".join(map(str, digits))
    if shift >= 0:
        magnitude = int(text) * 10**shift if number else 0
    elif text[shift:].strip("0"):
        raise ValidationError(Reason.NOT_EXACT, f"more than {scale} digits after the point")
    else:
        magnitude = int(text[:shift] or "0")
    return -magnitude if sign else magnitude


def _fraction(text: str | None, digits: int) -> int:
    if not text:
        return 0
    if text[digits:].strip("0"):
        raise ValidationError(Reason.NOT_EXACT, f"more than {digits} digits of a second's fraction")
    return int(text[:digits].ljust(digits, "0"))


def _bad(text: str, wanted: str) -> ValidationError:
    return ValidationError(Reason.BAD_FORMAT, f"{shown(text)} is not {wanted}")
