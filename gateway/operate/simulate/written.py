"""Values as a device writes them: the inverse of `core/codec/value_reader.py`, which reads them as `x-source` says.

An example of the payload shows the form: how many digits a number in text has, and whether a time has a zone.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from gateway.core.codec.local_time import LocalTime
from gateway.core.codec.validation_error import ValidationError
from gateway.core.codec.value_reader import json_number, reader_of
from gateway.operate.simulate.limits import ENCODERS

if TYPE_CHECKING:
    from random import Random

    from gateway.core.avro_schema import AvroType, Field
    from gateway.operate.simulate.limits import Limits

RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
EXACT_IN_FLOAT = 2**24

_OFFSET = re.compile(r"(?<=:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d(:?\d\d)?)\Z")
_SEASON = re.compile(r"[SW]\Z")  # of a meter's local time
_FRACTION = re.compile(r"(?<=:\d\d)\.(\d+)")
_ENCODED = {**ENCODERS, "hex": ENCODERS["base16"]}


class Form:
    """How values of a field with words in its `x-source` stand in the payload."""

    def __init__(self, field: Field) -> None:
        self._words, self._factor, self._reader = field.words, field.factor, reader_of(field)
        self._is_integral = any(each.kind in RANGES for each in field.type.branches)

    def hint(self, example: Any) -> Any:
        """Read a value of an example; a text that is a time stays one, and what is invalid is returned unchanged."""
        exact = Decimal(str(example)) if type(example) is float else example
        assert self._reader is not None, "a field with words has a reader"
        try:
            read = self._reader(exact)
        except ValidationError:
            return example
        if isinstance(example, str) and type(read) is int and "parse" not in self._words:
            return example
        return _plain(read)

    def null(self, limits: Limits, random: Random) -> Any:
        """Write null in one of the forms that the schema allows."""
        forms = [each for each in (None, *self._words.get("nulls", ())) if limits.allow(each)]
        return random.choice(forms) if forms else None

    def written(self, made: Any, avro_type: AvroType, example: Any, random: Random) -> Any:
        """Write a value that is not null."""
        if isinstance(made, bool):
            forms = self._words.get("trues" if made else "falses", ())
            forms = ["true" if made else "false"] if "parse" in self._words else forms
            return random.choice(forms) if forms else made
        if isinstance(made, int | float | Decimal):
            number = _unscaled(made, self._factor, avro_type, example, is_integral=self._is_integral)
            if "round" in self._words:
                number = _with_fraction(number, decimals(example), random)
            return _number_text(number, example) if self._words.get("parse") == "number" else number
        if isinstance(made, str) and (encode := _ENCODED.get(self._words.get("parse", ""))):
            text = encode(made.encode("latin-1")).decode()
            return text.rstrip("=") if self._words["parse"] == "base64url" else text
        if self._words.get("parse") == "string" and type(example) is int:
            return int(made) if str(made).isdecimal() and str(int(made)) == made else example
        return self._time(made, str(example), random) if avro_type.time and isinstance(made, str) else made

    def _time(self, text: str, example: str, random: Random) -> str:
        offset, fraction, season = _OFFSET.search(example), _FRACTION.search(example), _SEASON.search(example)
        if (zone := self._words.get("zone")) and not offset:
            local = datetime.fromisoformat(text).astimezone(ZoneInfo(zone))
            text = local.replace(tzinfo=None).isoformat(timespec="milliseconds")
            is_summer = local.utcoffset() == LocalTime(zone).offset(local, "S")
            text += ("S" if is_summer else "W") if season else ""
        elif offset and offset[1] not in {"Z", "z"}:
            text = text.removesuffix("Z") + ("+00:00" if ":" in offset[1] else "+0000")
        if "round" in self._words and fraction:
            more = "".join(random.choices("0123456789", k=len(fraction[1]) - 3))
            text = _FRACTION.sub(rf".\g<1>{more}", text)
        return text


def _with_fraction(number: float | Decimal, digits: int, random: Random) -> int | float | Decimal:
    """Add the digits that are cut off again, as many as an example has."""
    if not digits or number != int(number):
        return number
    return float(Decimal(number) + Decimal(random.randrange(10**digits)).scaleb(-digits))


def _number_text(number: float | Decimal, example: Any) -> str:
    """Write a number with as many digits as an example has."""
    text = f"{Decimal(str(number)):f}"
    try:
        shown = json_number(example) if isinstance(example, str) else ""
    except ValidationError:
        shown = ""
    if not shown or "e" in shown.lower():
        return text
    whole, _, fraction = text.partition(".")
    decimals = shown.partition(".")[2]
    text = f"{whole}.{fraction.ljust(len(decimals), '0')}" if fraction or decimals else whole
    return text.zfill(len(example.strip())) if example.strip().lstrip("+-").startswith("0") else text


def _plain(read: Any) -> Any:
    if type(read) is not Decimal:
        return read
    return int(read) if read == int(read) else float(read)


def decimals(number: Any) -> int:
    """Count the digits of an example's number after the point."""
    return len(str(number).partition(".")[2].rstrip("0")) if isinstance(number, float | str) else 0


def fitting(kind: str, number: float) -> int | float:
    """Make a number that its Avro type holds exactly, or rounds as every reader does."""
    if kind in RANGES:
        low, high = RANGES[kind]
        return max(low, min(high, round(number)))
    if isinstance(number, int) or number.is_integer():
        return int(number) if abs(number) < EXACT_IN_FLOAT else float(number)
    return number


def _unscaled(
    value: float | Decimal, factor: Decimal | None, avro_type: AvroType, example: Any, *, is_integral: bool
) -> int | float | Decimal:
    """Make a raw number near a value whose product its type holds; exactly, where the type must hold it exactly."""
    if factor is None:
        return value
    exact = Decimal(str(value))
    if not is_integral and avro_type.logical_name != "decimal":
        raw = float(f"{exact / factor:.12g}")
        return fitting(avro_type.kind, raw if example is None else round(raw, decimals(example)))
    step, unit = factor.scaleb(avro_type.scale).as_integer_ratio()  # `unit` of the raw number is `step` of the type
    return int(exact.scaleb(avro_type.scale)) // step * unit
