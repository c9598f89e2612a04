r"""P1 telegrams of smart meters (DSMR and its relatives) as JSON text, which the codec reads as any payload.

A telegram is ASCII text from `/` to `!` with a checksum. Each line has an OBIS code, with values in parentheses:

    /KFM5KAIFA-METER                       "identification": "KFM5KAIFA-METER"
    0-0:1.0.0(101209113020W)               "0-0:1.0.0": {"value": "2010-12-09T11:30:20W"}
    0-0:96.14.0(0002)                      "0-0:96.14.0": {"value": "0002"}
    1-0:1.8.1(123456.789*kWh)              "1-0:1.8.1": {"value": 123456.789, "unit": "kWh"}
    0-1:24.2.1(101209112500W)(12785.1*m3)
        "0-1:24.2.1": {"time": "2010-12-09T11:25:00W", "value": 12785.1, "unit": "m3"}
    1-0:99.97.0(1)(0-0:96.7.19)(101208152415W)(0000000240*s)
        "1-0:99.97.0": {"texts": ["1", "0-0:96.7.19"],
                        "values": [{"time": "2010-12-08T15:24:15W", "value": 240, "unit": "s"}]}
    !6796

A number with a unit becomes a JSON number with all its digits. Every other value is text as the meter wrote it, because
nothing tells the number 12 from the name 0012. Only times get another form, that of ISO 8601. They are local, and keep
their last letter, S in summer time and W in winter, which `zone` in `x-source` reads (`local_time.py`).

The checksum is CRC-16/ARC of all bytes from `/` to `!`. Versions 2 and 3 have none; a telegram that states a later
version must have it, so that a cut there is found. Bridges change the line ends, CR LF, which the checksum includes; so
they are put back.

A code that is there twice means that two telegrams were mixed; a line of another form, that bytes were lost. One such
line refuses the whole telegram, because without a checksum nothing says that its other lines are right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 65_536  # of a telegram; real ones have one or two thousand
IDENTIFICATION = "identification"
MEMBERS = ("value", "unit", "time", "period", "texts", "values")  # of a code
VERSIONS = ("1-3:0.2.8", "0-0:96.1.4")  # codes of versions that have a checksum: DSMR 4 and 5, and Belgium's

_LINE_END = re.compile(rb"\r?\n|\r")
_CHECKSUM = re.compile(rb"[0-9A-Fa-f]{1,4}")  # some meters leave zeros out
_FIRST_LINE = re.compile(r"/([ -.0-~]*+)\s++")
_LINE = re.compile(r"""(["-'*-.0-~]++)((?:\([ -'*-~]*+\)\s*+)++)""")  # printable; in a code no ( ) / ! either
_VALUES = re.compile(r"\(([^)]*)\)")
_NUMBER = re.compile(r"\+?(-?)0*(\d+(?:\.\d+)?)\*([^*]+)", re.ASCII)
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)([SW]?)", re.ASCII)
_WITH_SEASON = 13  # characters of a time with its letter
_OLD_GAS = 7  # values of gas in versions 2 and 3: time, three numbers, code and unit, and on the next line the volume

_encode = msgspec.json.Encoder().encode


def as_json(payload: bytes) -> bytes:
    """Write a telegram as JSON text; raises ValidationError, EMPTY or BAD_TELEGRAM."""
    if not payload:
        raise ValidationError(Reason.EMPTY, "the payload is empty")
    text, is_checked = _checked(payload)
    first = _FIRST_LINE.match(text)
    if not first:
        raise _refused(f"its first line is {shown(text)}")
    members: dict[str, Any] = {IDENTIFICATION: first[1].rstrip()}
    for code, values in _lines(text, first.end()):
        if code in members:
            raise _refused(f"{shown(code)} is there twice")
        members[code] = _line(_VALUES.findall(values))
    if not is_checked and (stated := next((code for code in VERSIONS if code in members), "")):
        raise _refused(f"it has no checksum, but its version has one ({stated})")
    return _encode(members)


def checksum_of(text: bytes) -> int:
    """Compute the checksum of a telegram from `/` to `!`, with CR LF at the ends of its lines."""
    checksum = 0
    for byte in text:
        checksum = _TABLE[(checksum ^ byte) & 0xFF] ^ (checksum >> 8)
    return checksum


def _checked(payload: bytes) -> tuple[str, bool]:
    """Give the text before `!`, and whether there is a checksum, which is right then."""
    if len(payload) > MAX_BYTES:
        raise _refused(f"it has {len(payload)} bytes; a telegram has {MAX_BYTES} at most")
    sent = payload.strip()
    body, end, checksum = sent.partition(b"!")
    if not sent.startswith(b"/"):
        raise _refused("it does not begin with /")
    if not end:
        raise _refused("it is cut: it has no ! at its end")
    if checksum:
        computed = checksum_of(_LINE_END.sub(b"\r\n", body + end))
        if not _CHECKSUM.fullmatch(checksum) or int(checksum, 16) != computed:
            raise _refused(f"its checksum is {shown(checksum.decode('latin-1'))}, but that of its bytes {computed:04X}")
    try:
        return body.decode("ascii"), bool(checksum)
    except UnicodeDecodeError as error:
        raise _refused(f"byte {error.start} is not ASCII") from None


def _lines(text: str, place: int) -> Iterator[tuple[str, str]]:
    """Give the code and the values of each line; values may go on in the next line."""
    while place < len(text):
        if not (line := _LINE.match(text, place)):
            number = text.count("\n", 0, place) + 1
            raise _refused(f"line {number} is no code with values: {shown(text[place:].partition(chr(13))[0])}")
        yield line[1], line[2]
        place = line.end()


def _line(values: list[str]) -> dict[str, Any]:
    if len(values) == 1:
        return _value(values[0])
    if len(values) == _OLD_GAS and (volume := _NUMBER.fullmatch(f"{values[-1]}*{values[-2]}")):
        return {"time": _time(values[0]), "texts": values[1:5], **_number(volume)}
    texts: list[str] = []
    found: list[dict[str, Any]] = []
    times: list[str] = []
    for value in values:
        if len(value) == _WITH_SEASON and (time := _time(value)) != value:
            times.append(time)
        elif found or times or "*" in value:
            dates = {"period": times[0], "time": times[-1]} if len(times) > 1 else {"time": times[0]} if times else {}
            found.append(dates | _value(value))
            times = []
        else:
            texts.append(value)
    found += [{"time": time} for time in times]
    return found[0] if len(found) == 1 and not texts else {"texts": texts, "values": found}


def _value(text: str) -> dict[str, Any]:
    if number := _NUMBER.fullmatch(text):
        return _number(number)
    value, star, unit = text.partition("*")
    return {"value": value, "unit": unit} if star else {"value": _time(text) if len(text) == _WITH_SEASON else text}


def _number(number: re.Match[str]) -> dict[str, Any]:
    sign, digits, unit = number.groups()
    return {"value": msgspec.Raw(f"{sign}{digits}".encode()), "unit": unit}


def _time(text: str) -> str:
    """Write a time in the form of ISO 8601; every other text stays as it is."""
    if not (match := _TIME.fullmatch(text)):
        return text
    year, month, day, hour, minute, second, season = match.groups()
    return f"20{year}-{month}-{day}T{hour}:{minute}:{second}{season}"


def _refused(detail: str) -> ValidationError:
    return ValidationError(Reason.BAD_TELEGRAM, detail)


def _table() -> Iterator[int]:
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 * (value & 1))
        yield value


_TABLE = tuple(_table())
