"""Logical types of Avro (1.12, "Logical Types"): the one table of them, and how JSON writes their values.

A new logical type is a row of `LOGICAL_TYPES`: both encoders, the contract checks, `gateway dlq` and the simulator
read what they need from there. A logical type that is not in the table, or annotates a type that it does not belong to,
is ignored, as the specification demands.

    timestamp-*        ISO 8601 text with zone (Z, +01:00, +0100 or +01), or an integer in the type's unit
    local-timestamp-*  ISO 8601 text without zone, or an integer
    date, time-*       ISO 8601 text, or an integer (days; units since midnight)
    decimal            a number; text is refused, because JSON numbers are exact here
    big-decimal        a number, whose digits after the point are kept: 1.50 has the scale 2; zero has the scale 0
    uuid               text in the 8-4-4-4-12 form
    duration           ISO 8601 text such as P1Y2M10DT2H30M; 12 months a year, 7 days a week

ISO 8601 is read in the profile of RFC 3339, with two more forms of an offset. Digits that the type cannot keep are
refused, not cut: a contract that wants microseconds says timestamp-micros, or `round` in the field's `x-source`.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from gateway.core.codec.json_text import MAX_DIGITS, Unrepresentable
from gateway.core.codec.primitives import INT, LONG, Encoder, integer, long, string, wrong_type
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

ToInteger = Callable[[str], int]
Offset = Callable[[datetime, str], timedelta]  # of a local time, with its season or ""; raises ValidationError


class Annotated(NamedTuple):
    """A type that carries a logical type."""

    kind: str  # of the type: `long`, `fixed` and so on
    name: str  # of the logical type
    size: int = 0  # of a fixed, in bytes
    precision: int | None = None  # digits of a decimal; None when none are declared
    scale: int = 0  # digits of a decimal after the point


class LogicalType(NamedTuple):
    """What the gateway knows of a logical type."""

    bases: tuple[str, ...]  # kinds of type that it can annotate
    description: str  # the JSON values that it accepts; `{precision}` and `{scale}` stand for a decimal's
    json_kinds: tuple[str, ...]  # `integer`, `number` or `text`: the kinds of these values
    encoder: Callable[[Annotated], Encoder]
    size: int = 0  # bytes of a fixed that it can annotate; 0 for any
    time: TimeForm | None = None  # set for types that JSON writes as ISO 8601 text or as an integer
    # raises ValidationError for a text that an annotated string must not hold
    check_text: Callable[[str], object] | None = None

    @property
    def is_exact(self) -> bool:
        """True for numbers that keep all their digits."""
        return "number" in self.json_kinds


class TimeForm(NamedTuple):
    """How a date or time stands in JSON."""

    read: ToInteger  # text to integer
    limits: tuple[int, int]  # of the integer, both included
    per_millisecond: int = 0  # units in a millisecond; 0 when the integer does not name a moment
    # makes another `read`: `is_floor` cuts digits off, `offset` gives a local time's offset; None where neither applies
    reader: Callable[..., ToInteger] | None = None


def logical_type(annotated: Annotated) -> LogicalType | None:
    """Find the logical type of a type; None when the codec does not know it, or when it does not belong there."""
    known = LOGICAL_TYPES.get(annotated.name)
    if known is None or annotated.kind not in known.bases:
        return None
    if annotated.kind == "fixed" and known.size not in {0, annotated.size}:
        return None
    return known if annotated.name != "decimal" or _is_decimal(annotated) else None


def digits_of(size: int) -> int:
    """The decimal digits that a signed integer of some bytes holds."""
    return int((8 * size - 1) * math.log10(2))


def _is_decimal(annotated: Annotated) -> bool:
    precision = annotated.precision or 0
    return 0 <= annotated.scale <= precision > 0 and (not annotated.size or precision <= digits_of(annotated.size))


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - offsets are subtracted
_EPOCH_DAY = date(1970, 1, 1)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?", re.ASCII)
_OFFSET = r"(?:([Zz])|([SW])|([+-])(\d\d)(?::?([0-5]\d))?)?"  # with the letter of a meter's local time
_DATE_TIME = re.compile(_DATE.pattern + r"[Tt ]" + _TIME.pattern + _OFFSET, re.ASCII)
_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,10})Y)?(?:(\d{1,10})M)?(?:(\d{1,10})W)?(?:(\d{1,10})D)?"
    r"(?:T(?=.)(?:(\d{1,10})H)?(?:(\d{1,10})M)?(?:(\d{1,10})(?:\.(\d+))?S)?)?",
    re.ASCII,
)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def days(text: str) -> int:
    """Read a date YYYY-MM-DD as days since 1970-01-01; raises ValidationError, BAD_FORMAT."""
    if not (match := _DATE.fullmatch(text)):
        raise _bad(text, "a date YYYY-MM-DD")
    try:
        return (date(*map(int, match.groups())) - _EPOCH_DAY).days
    except ValueError:
        raise _bad(text, "a date of the calendar") from None


def time_of_day(digits: int, *, is_floor: bool = False) -> ToInteger:
    """Make a reader of times HH:MM:SS[.fraction] as units since midnight.

    A second's fraction has 3 or 6 `digits`; with `is_floor` more are cut off. The reader raises ValidationError,
    BAD_FORMAT or NOT_EXACT.
    """
    per_second = int(10**digits)

    def read(text: str) -> int:
        if not (match := _TIME.fullmatch(text)):
            raise _bad(text, "a time HH:MM:SS")
        hour, minute, second, fraction = match.groups()
        if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
            raise _bad(text, "a time of the day")
        seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
        return seconds * per_second + _fraction(fraction, digits, is_floor=is_floor)

    return read


def timestamp(digits: int, *, zoned: bool, is_floor: bool = False, offset: Offset | None = None) -> ToInteger:
    """Make a reader of timestamps as units since 1970-01-01T00:00:00.

    A second's fraction has 3, 6 or 9 `digits`; with `is_floor` more are cut off. The text of timestamp-* (`zoned`) must
    name its zone, unless `offset` gives that of a local time; that of local-timestamp-* must not. The reader raises
    ValidationError, BAD_FORMAT or NOT_EXACT.
    """
    per_second = int(10**digits)

    def read(text: str) -> int:
        match = _DATE_TIME.fullmatch(text)
        if not match:
            raise _bad(text, "an ISO 8601 time such as 2020-02-19T12:22:45Z")
        *moment, fraction, utc, season, sign, hours, minutes = match.groups()
        has_zone = bool(utc or sign)
        if (zoned != has_zone or season) and not (zoned and offset):
            raise _bad(text, "a time with its zone (Z or +01:00)" if zoned else "a time without zone")
        try:
            ahead = timedelta(hours=int(hours), minutes=int(minutes or 0)) if sign else timedelta()
            zone = timezone(-ahead if sign == "-" else ahead)
            year, month, day, hour, minute, second = map(int, moment)
            local = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the next line subtracts the zone
        except ValueError:
            raise _bad(text, "a time of the calendar") from None
        since = local - _EPOCH - (offset(local, season or "") if offset and not has_zone else zone.utcoffset(None))
        return (since.days * 86_400 + since.seconds) * per_second + _fraction(fraction, digits, is_floor=is_floor)

    return read


def uuid(text: str) -> bytes:
    """Read a UUID of the form 8-4-4-4-12 (RFC 9562) as its 16 bytes; raises ValidationError, BAD_FORMAT."""
    if not _UUID.fullmatch(text):
        raise _bad(text, "a UUID")
    return bytes.fromhex(text.replace("-", ""))


def duration(text: str) -> bytes:
    """Read an ISO 8601 duration as three unsigned integers of 4 bytes: months, days, milliseconds.

    It raises ValidationError: BAD_FORMAT, NOT_EXACT below a millisecond, OUT_OF_RANGE for what 4 bytes do not hold.
    """
    if not (match := _DURATION.fullmatch(text)):
        raise _bad(text, "an ISO 8601 duration such as P1Y2M10DT2H30M")
    *amounts, fraction = match.groups()
    years, months, weeks, days, hours, minutes, seconds = (int(each or 0) for each in amounts)
    milliseconds = ((hours * 60 + minutes) * 60 + seconds) * 1000 + _fraction(fraction, 3)
    try:
        return struct.pack("<3I", years * 12 + months, weeks * 7 + days, milliseconds)
    except struct.error:
        detail = f"{shown(text)} is more than 4,294,967,295 months, days or milliseconds"
        raise ValidationError(Reason.OUT_OF_RANGE, detail) from None


def big_decimal(value: int | Decimal) -> bytes:
    """Write a number as the contents of a big-decimal, as Avro's BigDecimalConversion for Java does.

    These are the Avro bytes of the unscaled integer, big-endian, and its scale as an Avro int. A number of
    `MAX_DIGITS` before or after the point raises ValidationError, OUT_OF_RANGE.
    """
    number = Decimal(value)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "JSON has no infinities"
    if not number:
        return long(1) + b"\0" + long(0)
    if max(number.adjusted() + 1, -exponent) >= MAX_DIGITS:
        raise ValidationError(Reason.OUT_OF_RANGE, f"{MAX_DIGITS} digits or more before or after the point")
    magnitude = int("".join(map(str, digits)))
    data = _signed(-magnitude if sign else magnitude)
    return long(len(data)) + data + long(-exponent)


def unscaled(value: int | Decimal, precision: int, scale: int) -> int:
    """Turn an exact JSON number into a decimal's unscaled integer: value x 10**scale, of at most `precision` digits.

    It raises ValidationError: NOT_EXACT when digits would be lost, OUT_OF_RANGE when there are too many.
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


def _fraction(text: str | None, digits: int, *, is_floor: bool = False) -> int:
    if not text:
        return 0
    if not is_floor and text[digits:].strip("0"):
        raise ValidationError(Reason.NOT_EXACT, f"more than {digits} digits of a second's fraction")
    return int(text[:digits].ljust(digits, "0"))


def _bad(text: str, expected: str) -> ValidationError:
    return ValidationError(Reason.BAD_FORMAT, f"{shown(text)} is not {expected}")


def _signed(number: int, size: int = 0) -> bytes:
    return number.to_bytes(size or number.bit_length() // 8 + 1, "big", signed=True)  # one bit is the sign's


# --- encoders ----------------------------------------------------------------------------------------------------


def _uuid_encoder(annotated: Annotated) -> Encoder:
    return _fixed_of(uuid) if annotated.kind == "fixed" else _uuid_text


def _uuid_text(value: Any, out: bytearray) -> None:
    if type(value) is str:
        uuid(value)
    string(value, out)


def _fixed_of(read: Callable[[str], bytes]) -> Encoder:
    def encode_fixed(value: Any, out: bytearray) -> None:
        if type(value) is not str:
            raise wrong_type("text", value)
        out += read(value)

    return encode_fixed


def _decimal_encoder(annotated: Annotated) -> Encoder:
    precision, scale, size = annotated.precision or 0, annotated.scale, annotated.size

    def encode_decimal(value: Any, out: bytearray) -> None:
        data = _signed(unscaled(_exact(value, precision), precision, scale), size)
        out += data if size else long(len(data)) + data

    return encode_decimal


def _big_decimal_encoder(_annotated: Annotated) -> Encoder:
    def encode_big_decimal(value: Any, out: bytearray) -> None:
        data = big_decimal(_exact(value, MAX_DIGITS))
        out += long(len(data)) + data

    return encode_big_decimal


def _exact(value: Any, precision: int) -> int | Decimal:
    if type(value) is Unrepresentable:
        raise ValidationError(Reason.OUT_OF_RANGE, f"more than {precision} digits")
    if type(value) is not int and type(value) is not Decimal:
        raise wrong_type("a number (decimal)", value)
    return value


# --- the table ---------------------------------------------------------------------------------------------------


def _time(base: str, description: str, form: TimeForm) -> LogicalType:
    def encoder(annotated: Annotated) -> Encoder:
        plain = integer(annotated.name, form.limits)
        return lambda value, out: plain(form.read(value) if type(value) is str else value, out)

    return LogicalType((base,), description, ("integer", "text"), encoder, time=form)


def _of_day(base: str, unit: str, digits: int) -> LogicalType:
    day = 86_400 * 10**digits
    description = f"a time HH:MM:SS, or {unit} since midnight as an integer"
    return _time(base, description, TimeForm(time_of_day(digits), (0, day - 1), 0, partial(time_of_day, digits)))


def _timestamp(unit: str, digits: int) -> LogicalType:
    text = 'an ISO 8601 time with zone such as "2020-02-19T12:22:45Z"'
    reader = partial(timestamp, digits, zoned=True)
    form = TimeForm(reader(), LONG, 10 ** (digits - 3), reader)
    return _time("long", f"{text}, or {unit} since 1970 as an integer", form)


def _local_timestamp(unit: str, digits: int) -> LogicalType:
    description = f"an ISO 8601 time without zone, or {unit} since 1970 as an integer"
    reader = partial(timestamp, digits, zoned=False)
    return _time("long", description, TimeForm(reader(), LONG, 0, reader))


LOGICAL_TYPES = {
    "decimal": LogicalType(
        ("bytes", "fixed"),
        "a number of up to {precision} digits, {scale} of them a fraction",
        ("number",),
        _decimal_encoder,
    ),
    "big-decimal": LogicalType(
        ("bytes",), f"a number of fewer than {MAX_DIGITS} digits", ("number",), _big_decimal_encoder
    ),
    "uuid": LogicalType(
        ("string", "fixed"),
        "text in the 8-4-4-4-12 form of a UUID",
        ("text",),
        _uuid_encoder,
        size=16,
        check_text=uuid,
    ),
    "date": _time("int", "a date YYYY-MM-DD, or days since 1970 as an integer", TimeForm(days, INT)),
    "time-millis": _of_day("int", "milliseconds", 3),
    "time-micros": _of_day("long", "microseconds", 6),
    "timestamp-millis": _timestamp("milliseconds", 3),
    "timestamp-micros": _timestamp("microseconds", 6),
    "timestamp-nanos": _timestamp("nanoseconds", 9),
    "local-timestamp-millis": _local_timestamp("milliseconds", 3),
    "local-timestamp-micros": _local_timestamp("microseconds", 6),
    "local-timestamp-nanos": _local_timestamp("nanoseconds", 9),
    "duration": LogicalType(
        ("fixed",),
        "an ISO 8601 duration such as P1Y2M10DT2H30M",
        ("text",),
        lambda _annotated: _fixed_of(duration),
        size=12,
    ),
}
