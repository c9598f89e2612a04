"""Telegrams of the shapes that meters send: versions 2.2, 4 and 5 of DSMR, Belgium, Luxembourg; and damage to them.

Each comes with the tree that it must be read as. It is made from the meter's values, not from the text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Tree = dict[str, Any]


def crc(data: bytes) -> int:
    """CRC-16/ARC, bit by bit."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


class Meter:
    """Writes the lines of one telegram, and their tree."""

    def __init__(self, random: Random, identification: str) -> None:
        self.random = random
        self.lines = [f"/{identification}", ""]
        self.tree: Tree = {"identification": identification}

    def text(self, code: str, text: str) -> None:
        self.lines.append(f"{code}({text})")
        self.tree[code] = {"value": text}

    def name(self, code: str) -> None:
        self.text(code, self.random.randbytes(17).hex().upper())

    def time(self) -> tuple[str, str]:
        numbers = [self.random.randint(*each) for each in ((10, 27), (1, 12), (1, 28), (0, 23), (0, 59), (0, 59))]
        year, month, day, hour, minute, second = (f"{each:02}" for each in numbers)
        letter = self.random.choice("SW")
        iso = f"20{year}-{month}-{day}T{hour}:{minute}:{second}{letter}"
        return f"{year}{month}{day}{hour}{minute}{second}{letter}", iso

    def clock(self, code: str = "0-0:1.0.0") -> None:
        sent, read = self.time()
        self.lines.append(f"{code}({sent})")
        self.tree[code] = {"value": read}

    def amount(self, digits: int, decimals: int, unit: str) -> tuple[str, Tree]:
        number = Decimal(self.random.randrange(10 ** (digits + decimals))).scaleb(-decimals)
        width = digits + decimals + bool(decimals)
        return f"({number:0{width}.{decimals}f}*{unit})", {"value": number, "unit": unit}

    def number(self, code: str, digits: int, decimals: int, unit: str) -> None:
        sent, self.tree[code] = self.amount(digits, decimals, unit)
        self.lines.append(f"{code}{sent}")

    def dated(self, code: str, digits: int, decimals: int, unit: str) -> None:
        (sent, time), (amount, read) = self.time(), self.amount(digits, decimals, unit)
        self.lines.append(f"{code}({sent}){amount}")
        self.tree[code] = {"time": time, **read}

    def failures(self) -> None:
        count = self.random.randint(0, 5)
        sent, values = "", []
        for _ in range(count):
            (time, read_time), (amount, read) = self.time(), self.amount(10, 0, "s")
            sent += f"({time}){amount}"
            values.append({"time": read_time, **read})
        self.lines.append(f"1-0:99.97.0({count})(0-0:96.7.19){sent}")
        self.tree["1-0:99.97.0"] = {"texts": [str(count), "0-0:96.7.19"], "values": values}

    def peaks(self) -> None:
        count = self.random.randint(2, 13)
        sent, values = "", []
        for _ in range(count):
            (end, read_end), (time, read_time), (amount, read) = self.time(), self.time(), self.amount(2, 3, "kW")
            sent += f"({end})({time}){amount}"
            values.append({"period": read_end, "time": read_time, **read})
        self.lines.append(f"0-0:98.1.0({count})(1-0:1.6.0)(1-0:1.6.0){sent}")
        self.tree["0-0:98.1.0"] = {"texts": [str(count), "1-0:1.6.0", "1-0:1.6.0"], "values": values}

    def telegram(self, *, has_checksum: bool = True) -> tuple[bytes, Tree]:
        text = "\r\n".join([*self.lines, "!"]).encode()
        return text + (b"%04X\r\n" % crc(text) if has_checksum else b"\r\n"), self.tree


def _energy(meter: Meter, decimals: int = 3) -> None:
    for code in ("1-0:1.8.1", "1-0:1.8.2", "1-0:2.8.1", "1-0:2.8.2"):
        meter.number(code, 9 - decimals, decimals, "kWh")
    meter.text("0-0:96.14.0", f"{meter.random.randint(1, 2):04}")
    for code in ("1-0:1.7.0", "1-0:2.7.0"):
        meter.number(code, 2, 3, "kW")


def _phases(meter: Meter, current_decimals: int) -> None:
    for phase in (3, 5, 7)[: meter.random.choice((1, 3))]:
        meter.number(f"1-0:{phase}2.7.0", 3, 1, "V")
        meter.number(f"1-0:{phase}1.7.0", 3, current_decimals, "A")
        for code in (f"1-0:{phase - 1}1.7.0", f"1-0:{phase - 1}2.7.0"):
            meter.number(code, 2, 3, "kW")


def _quality(meter: Meter) -> None:
    for code in ("0-0:96.7.21", "0-0:96.7.9", "1-0:32.32.0", "1-0:32.36.0"):
        meter.text(code, f"{meter.random.randint(0, 99):05}")
    meter.failures()


def dsmr2(random: Random) -> tuple[bytes, Tree]:
    """Version 2.2: no clock, no checksum, and the volume of gas on a line of its own."""
    meter = Meter(random, r"ISk5\2MT382-1004")
    meter.name("0-0:96.1.1")
    _energy(meter)
    meter.number("0-0:17.0.0", 3, 0, "A")
    for code in ("0-0:96.3.10", "0-0:96.13.1", "0-0:96.13.0"):
        meter.text(code, "1" if code.startswith("0-0:96.3") else "")
    meter.text("0-1:24.1.0", "3")
    meter.name("0-1:96.1.0")
    (sent, time), (amount, read) = meter.time(), meter.amount(5, 3, "m3")
    meter.lines += [f"0-1:24.3.0({sent[:-1]})(08)(60)(1)(0-1:24.2.1)(m3)", amount.replace("*m3", "")]
    meter.tree["0-1:24.3.0"] = {"time": time[:-1], "texts": ["08", "60", "1", "0-1:24.2.1"], **read}
    meter.text("0-1:24.4.0", "1")
    return meter.telegram(has_checksum=False)


def dsmr4(random: Random) -> tuple[bytes, Tree]:
    """Version 4.2."""
    meter = Meter(random, "KFM5KAIFA-METER")
    meter.text("1-3:0.2.8", "42")
    meter.clock()
    meter.name("0-0:96.1.1")
    _energy(meter)
    _quality(meter)
    meter.text("0-0:96.13.1", "")
    meter.text("0-0:96.13.0", "")
    _phases(meter, 0)
    meter.text("0-1:24.1.0", "003")
    meter.name("0-1:96.1.0")
    meter.dated("0-1:24.2.1", 5, 3, "m3")
    return meter.telegram()


def dsmr5(random: Random) -> tuple[bytes, Tree]:
    """Version 5."""
    meter = Meter(random, r"Ene5\XS210 ESMR 5.0")
    meter.text("1-3:0.2.8", "50")
    meter.clock()
    meter.name("0-0:96.1.1")
    _energy(meter)
    _quality(meter)
    meter.text("0-0:96.13.0", "")
    _phases(meter, 2)
    for channel in range(1, random.randint(2, 4)):
        meter.text(f"0-{channel}:24.1.0", "003")
        meter.name(f"0-{channel}:96.1.0")
        meter.dated(f"0-{channel}:24.2.1", 5, 3, "m3")
    return meter.telegram()


def belgium(random: Random) -> tuple[bytes, Tree]:
    """Fluvius: a version of its own, peaks of the month, gas that is not corrected for temperature."""
    meter = Meter(random, r"FLU5\253770234_A")
    meter.text("0-0:96.1.4", "50217")
    meter.name("0-0:96.1.1")
    meter.clock()
    _energy(meter)
    meter.number("1-0:1.4.0", 2, 3, "kW")
    meter.dated("1-0:1.6.0", 2, 3, "kW")
    meter.peaks()
    _phases(meter, 2)
    meter.text("0-0:96.3.10", "1")
    meter.number("0-0:17.0.0", 3, 1, "kW")
    meter.number("1-0:31.4.0", 3, 0, "A")
    meter.text("0-0:96.13.0", "")
    meter.text("0-1:24.1.0", "003")
    meter.dated("0-1:24.2.3", 5, 3, "m3")
    return meter.telegram()


def luxembourg(random: Random) -> tuple[bytes, Tree]:
    """Luxembourg: totals without tariffs, reactive energy."""
    meter = Meter(random, r"Lux5\253663629_D")
    meter.text("1-3:0.2.8", "42")
    meter.clock()
    meter.name("0-0:42.0.0")
    for code, unit in (("1-0:1.8.0", "kWh"), ("1-0:2.8.0", "kWh"), ("1-0:3.8.0", "kvarh"), ("1-0:4.8.0", "kvarh")):
        meter.number(code, 6, 3, unit)
    meter.number("0-0:17.0.0", 2, 3, "kVA")
    for code in ("1-0:1.7.0", "1-0:2.7.0"):
        meter.number(code, 2, 3, "kW")
    meter.number("1-0:3.7.0", 2, 3, "kvar")
    _quality(meter)
    meter.text("0-0:96.13.2", "")
    _phases(meter, 0)
    return meter.telegram()


SHAPES: tuple[Callable[[Random], tuple[bytes, Tree]], ...] = (dsmr2, dsmr4, dsmr5, belgium, luxembourg)


def damaged(telegram: bytes, random: Random) -> bytes:
    """Change bytes, lose some, cut the telegram, mix it with itself or with other bytes.

    What only a checksum finds is done to telegrams that have one.
    """
    end = telegram.rindex(b"!")
    has_checksum = len(telegram) - end > len(b"!\r\n")
    place = random.randrange(1, end)
    lines = telegram[: end + 1].split(b"\r\n")
    line = random.randrange(2, len(lines) - 1)
    rest = telegram[end + 1 :]

    def joined(*some: bytes) -> bytes:
        return b"\r\n".join([*lines[:line], *some, *lines[line + 1 :]]) + rest

    always = [
        lambda: telegram[:place],
        lambda: telegram[place:],
        lambda: telegram[:place] + telegram,
        lambda: joined(lines[line], b"1-0:1.8.1(000"),
        lambda: joined(lines[line].replace(b")", b"", 1)),
        lambda: joined(lines[line], lines[line]) if lines[line][:1] != b"(" else telegram[:place],
        lambda: joined(lines[line], b"\x00\xff\x80"),
        lambda: joined(lines[line], telegram),
        lambda: random.randbytes(len(telegram)),
        lambda: telegram * 100,
    ]
    found = [
        joined,
        lambda: telegram[:place] + bytes([telegram[place] ^ 1 << random.randrange(7)]) + telegram[place + 1 :],
        lambda: telegram[:place] + telegram[place + 1 :],
        lambda: telegram[: end + random.randint(1, 4)],
        lambda: telegram[: end + 1] + b"%04X" % ((int(rest, 16) + 1) % 65_536),
    ]
    return random.choice(always + found * has_checksum)()
