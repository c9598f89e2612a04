"""Logical types at their borders; what the codec makes of them is in `test_codec.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec import logical
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59Z", -1),
        ("2020-02-29t12:00:00z", 1582977600),
        ("2020-02-29 12:00:00Z", 1582977600),
        ("2020-02-29T12:00:00-00:00", 1582977600),
        ("2020-02-29T13:30:00+01:30", 1582977600),
        ("2020-02-29T00:01:00-11:59", 1582977600),
        ("0001-01-01T00:00:00+23:59", -62135596800 - 86340),
        ("9999-12-31T23:59:59-23:59", 253402300799 + 86340),
    ],
)
def test_timestamp_reads_rfc_3339(text: str, seconds: int) -> None:
    """Date, time and zone become units since 1970, also where the calendar of other libraries ends."""
    assert logical.timestamp(3, zoned=True)(text) == seconds * 1_000
    assert logical.timestamp(9, zoned=True)(text) == seconds * 1_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2020-02-29", "12:00:00Z", "2020-02-29T12:00Z", "2020-02-29T12:00:00", "2020-2-29T12:00:00Z",
        "2019-02-29T12:00:00Z", "2020-13-01T12:00:00Z", "2020-00-01T12:00:00Z", "0000-01-01T00:00:00Z",
        "2020-02-29T24:00:00Z", "2020-02-29T12:60:00Z", "2020-02-29T23:59:60Z", "2020-02-29T12:00:00.Z",
        "2020-02-29T12:00:00,5Z", "2020-02-29T12:00:00+010", "2020-02-29T12:00:00+24:00",
        "2020-02-29T12:00:00+01:60", "2020-02-29T12:00:00+01:99", "+2020-02-29T12:00:00Z", "2020-02-29T12:00:00Z\n",
        "\uff12020-02-29T12:00:00Z", "2020-W09-6T12:00:00Z",
    ],
)  # fmt: skip
def test_timestamp_refuses_other_text(text: str) -> None:
    """What is no time of RFC 3339 is refused, not guessed."""
    with pytest.raises(ValidationError) as refused:
        logical.timestamp(3, zoned=True)(text)
    assert refused.value.reason == Reason.BAD_FORMAT


def test_timestamp_without_zone_refuses_a_zone() -> None:
    """A local timestamp has no zone; text with one is refused."""
    read = logical.timestamp(3, zoned=False)
    assert read("1970-01-01T00:00:01.5") == 1_500
    for text in ("1970-01-01T00:00:01Z", "1970-01-01T00:00:01+00:00"):
        with pytest.raises(ValidationError):
            read(text)


@given(
    moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - bounds are naive by hypothesis's rule
    minutes=st.integers(-1439, 1439),
)
def test_timestamp_agrees_with_the_standard_library(moment: datetime, minutes: int) -> None:
    """What `datetime.isoformat` writes is read as the same moment, to the microsecond."""
    told = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (told - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert logical.timestamp(6, zoned=True)(told.isoformat()) == expected


@pytest.mark.parametrize(
    ("digits", "fraction", "units"),
    [(3, "5", 500), (3, "120", 120), (3, "1200000", 120), (6, "000001", 1), (9, "000000001", 1), (6, "0", 0)],
)
def test_fractions_keep_their_digits(digits: int, fraction: str, units: int) -> None:
    """A second's fraction is as exact as its type; zeros behind it change nothing."""
    assert logical.timestamp(digits, zoned=True)(f"1970-01-01T00:00:00.{fraction}Z") == units
    assert logical.time_of_day(digits)(f"00:00:00.{fraction}") == units


@pytest.mark.parametrize(("digits", "fraction"), [(3, "0001"), (6, "1234567"), (9, "0000000001")])
def test_fractions_that_do_not_fit_are_refused(digits: int, fraction: str) -> None:
    """A digit that the type cannot keep is not cut off silently."""
    with pytest.raises(ValidationError) as refused:
        logical.timestamp(digits, zoned=True)(f"1970-01-01T00:00:00.{fraction}Z")
    assert refused.value.reason == Reason.NOT_EXACT


@pytest.mark.parametrize(
    ("value", "unscaled"),
    [
        (0, 0),
        (Decimal("0e999999999"), 0),
        (Decimal("0e-999999999"), 0),
        (Decimal("-0.0"), 0),
        (12, 1200),
        (Decimal("-12.34"), -1234),
        (Decimal("12.3400"), 1234),
        (Decimal("1e1"), 1000),
        (Decimal("99.99"), 9999),
    ],
)
def test_unscaled_is_exact(value: int | Decimal, unscaled: int) -> None:
    """A number becomes its unscaled integer; zeros may be added or left out, digits not."""
    assert logical.unscaled(value, precision=4, scale=2) == unscaled


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (100, Reason.OUT_OF_RANGE),
        (Decimal("100.00"), Reason.OUT_OF_RANGE),
        (Decimal("1e999999999"), Reason.OUT_OF_RANGE),
        (Decimal("0.001"), Reason.NOT_EXACT),
        (Decimal("1e-999999999"), Reason.NOT_EXACT),
    ],
)
def test_unscaled_refuses_what_does_not_fit(value: int | Decimal, reason: Reason) -> None:
    """Too many digits before or behind the point are refused at once, however large the exponent is."""
    with pytest.raises(ValidationError) as refused:
        logical.unscaled(value, precision=4, scale=2)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("number", "encoded"),  # as BigDecimalConversion of Avro 1.12.1 for Java writes it
    [
        ("1.50", "04009604"), ("0", "020000"), ("-3.14", "04fec604"), ("1E+3", "020105"), ("128", "04008000"),
        ("123456789012345678901234567890.5", "1a0f951a9fa3a286c94f0e766c3902"),
    ],
)  # fmt: skip
def test_big_decimal_gives_the_bytes_of_java(number: str, encoded: str) -> None:
    assert logical.big_decimal(Decimal(number)).hex() == encoded


def test_big_decimal_is_of_fewer_digits_than_a_parser_reads() -> None:
    """A huge exponent would be a few bytes here and gigabytes at a reader; zero has no scale."""
    for value in (10**398, Decimal("1e398"), Decimal("1e-399"), Decimal("-9e-399")):
        assert logical.big_decimal(value)
    assert logical.big_decimal(Decimal("0e999999999")) == logical.big_decimal(0)
    for value in (10**399, Decimal("1e399"), Decimal("1e-400"), Decimal("1e999999999"), Decimal("1e-999999999")):
        with pytest.raises(ValidationError) as refused:
            logical.big_decimal(value)
        assert refused.value.reason == Reason.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("P14M10DT4000000.123S", (14, 10, 4_000_000_123)), ("P1Y2M1W3DT1H1M1S", (14, 10, 3_661_000)),
        ("PT0S", (0, 0, 0)), ("P4294967295M", (2**32 - 1, 0, 0)), ("PT0.5000S", (0, 0, 500)),
    ],
)  # fmt: skip
def test_duration_gives_months_days_and_milliseconds(text: str, parts: tuple[int, int, int]) -> None:
    """Three unsigned integers, little-endian; the first line was written by DurationConversion of Avro 1.12.1."""
    assert logical.duration(text) == b"".join(each.to_bytes(4, "little") for each in parts)
    if text.startswith("P14M"):
        assert logical.duration(text).hex() == "0e0000000a0000007b286bee"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, Reason.BAD_FORMAT) for text in ("", "P", "PT", "P1DT", "-P1D", "P1.5D", "P1H", "1D", "p1d", "P1D\n")),
        ("PT0.0001S", Reason.NOT_EXACT), ("P4294967296D", Reason.OUT_OF_RANGE), ("P9999999999Y", Reason.OUT_OF_RANGE),
    ],
)  # fmt: skip
def test_duration_refuses_other_text(text: str, reason: Reason) -> None:
    with pytest.raises(ValidationError) as refused:
        logical.duration(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("digits", "size", "is_known"), [((9, 2), 0, True), ((9, 2), 4, True), ((10, 2), 4, False), ((2, 3), 0, False)]
)
def test_logical_type_ignores_an_invalid_decimal(digits: tuple[int, int], size: int, is_known: bool) -> None:  # noqa: FBT001 - a column
    """A decimal that Avro calls invalid is the type that it annotates."""
    annotated = logical.Annotated("fixed" if size else "bytes", "decimal", size, *digits)
    assert (logical.logical_type(annotated) is not None) == is_known


def test_uuid_gives_its_bytes() -> None:
    """A UUID is its sixteen bytes, upper case or lower; braces and URNs are refused."""
    text = "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"
    assert logical.uuid(text) == logical.uuid(text.lower()) == bytes.fromhex(text.replace("-", ""))
    for other in (f"{{{text}}}", f"urn:uuid:{text}", text.replace("-", ""), text[:-1], f"{text}\n"):
        with pytest.raises(ValidationError):
            logical.uuid(other)
