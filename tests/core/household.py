"""The smart meter of a household for a month, with the faults that users report, and what must become of each reading.

What is expected follows from the rules and from what the fault is, never from what the gateway did:

    .   it goes to its topic             f  quarantined, `fell`        j  quarantined, `jumped`
    s   it does, and is a swap           r  it does, and is a reset

A fault takes the true readings of some steps and changes them, or changes the meter itself from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.contract_values import record, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
STEP = 10 * SECOND
KWH = {"most": 36, "per": "1h", "tolerance": 0.1, "of": "$message.payload#/number"}  # a fuse of 3 x 50 A
GAS = {"most": 6, "per": "1h"}
SCHEMA = record(
    ("house", "string"),
    ("n", "long"),
    ("number", "string"),
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "tariff_1", "type": "double", "x-counter": KWH},
    {"name": "tariff_2", "type": "double", "x-counter": KWH},
    {"name": "fed", "type": "double", "x-counter": KWH},
    {"name": "gas", "type": "double", "x-counter": GAS},
    ("gas_at", "long"),
    ("power", "double"),
)
HOUSE = stream("house", SCHEMA, address="meters/{house}", keys=("/house",), locations={"house": "/house"})
HOUSE = replace(HOUSE, route=replace(HOUSE.route, timestamp="/at"))
ELECTRIC = ("tariff_1", "tariff_2", "fed")
CONFIRMED = 6  # readings of a new start before the one that is accepted: 5 are enough after a minute, here after 7


class Expected(NamedTuple):
    """A reading as it is published, and what must become of it."""

    payload: dict[str, Any]
    sign: str
    fault: str = ""


@dataclass
class Meter:
    """The true state of the meter; energies in kWh, gas in cubic metres."""

    random: Random
    at: int
    number: str = "90296857"
    tariff: int = 1
    clock: int = 0  # what its clock is off by
    totals: dict[str, float] = field(default_factory=lambda: {"tariff_1": 13_423.7, "tariff_2": 9_100.2, "fed": 512.25})
    gas: float = 7_301.4
    shown_gas: float = 7_301.4
    power: float = 400.0
    n: int = 0

    def next(self) -> dict[str, Any]:
        """Let a step pass, and read it."""
        self.n, self.at = self.n + 1, self.at + STEP
        self.power = min(9_000.0, max(-4_000.0, self.power + self.random.gauss(0, 150)))
        energy = abs(self.power) * STEP / HOUR / 1_000
        self.totals["fed" if self.power < 0 else f"tariff_{self.tariff}"] += energy
        self.gas += self.random.uniform(0, 1.5) * STEP / HOUR
        if self.at % HOUR < STEP:
            self.shown_gas = self.gas
        return self.read()

    def read(self) -> dict[str, Any]:
        """Read what it shows."""
        totals = {name: round(total, 3) for name, total in self.totals.items()}
        gas = {"gas": round(self.shown_gas, 3), "gas_at": self.at // HOUR * HOUR}
        return {"n": self.n, "number": self.number, "at": self.at + self.clock, **totals, **gas, "power": self.power}


def zero_dip(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """All totals, or one, are 0: once, for a minute, for an hour."""
    names = (*ELECTRIC, "gas") if number % 2 else ("tariff_1",)
    for _ in range((1, 3, 7, 360)[number % 4]):
        yield meter.next() | dict.fromkeys(names, 0.0), "f"


def jitter(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """A total is lower by 0.1, which is noise, and then by 0.3, which is not."""
    before = meter.read()["tariff_2"]
    meter.tariff = 1  # so that the other one stands still
    for less, sign in ((0.1, "."), (0.05, "."), (0.3, "f"), (0.1, "."), (0.0, ".")):
        yield meter.next() | {"tariff_2": round(before - less, 3)}, sign
    meter.tariff = 1 + number % 2


def tenfold(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """A total is ten times as high for 90 minutes."""
    name = ("tariff_1", "tariff_2")[number % 2]
    for _ in range(540):
        reading = meter.next()
        yield reading | {name: round(10 * reading[name], 3)}, "j"


def spike(meter: Meter, _number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """A total is 50 kWh higher, once."""
    reading = meter.next()
    yield reading | {"tariff_1": round(reading["tariff_1"] + 50, 3)}, "j"


def reset(meter: Meter, _number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The totals are lost, and begin at 0; readings of nothing but zeros confirm nothing."""
    meter.totals = dict.fromkeys(ELECTRIC, 0.0)
    left = CONFIRMED
    while left >= 0:
        reading = meter.next()
        left -= any(reading[name] for name in ELECTRIC)
        yield reading, "f" if left >= 0 else "r"


def swap(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Another meter, with a number of its own."""
    meter.number = f"7{number:07}"
    meter.totals = {"tariff_1": 310.0 + number, "tariff_2": 150.5, "fed": 20.0}
    yield meter.next(), "s"


def silent_swap(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Another meter behind an adapter that does not say its number: it shows less, or more."""
    meter.totals = {name: total + (7_000.0 if number % 2 else -total / 3) for name, total in meter.totals.items()}
    sign = "j" if number % 2 else "f"
    for left in range(CONFIRMED, -1, -1):
        yield meter.next(), sign if left else "r"


def tariff_change(meter: Meter, _number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The other tariff counts from now on."""
    meter.tariff = 3 - meter.tariff
    yield meter.next(), "."


def negative_power(meter: Meter, _number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The sun shines."""
    meter.power = -3_500.0
    for _ in range(20):
        yield meter.next(), "."


def gas_year_ahead(meter: Meter, _number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The time of the gas meter is a year ahead, which is no rule's concern."""
    for _ in range(30):
        reading = meter.next()
        yield reading | {"gas_at": reading["gas_at"] + 365 * DAY}, "."


def clock_of_2005(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The clock was never set, for one reading or for some; a dip is one all the same."""
    for again in range(1 + 19 * (number % 2)):
        reading = meter.next() | {"at": 1_104_625_548_000 + again * STEP}
        yield (reading | {"tariff_1": 0.0}, "f") if again == 7 else (reading, ".")


def clock_change(meter: Meter, number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Local time without a zone: an hour back in autumn, or forward in spring."""
    meter.clock += HOUR if number % 2 else -HOUR
    yield meter.next(), "."


def late(meter: Meter, _number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Readings that come again, after later ones."""
    three = [meter.next() for _ in range(3)]
    for reading in (*three, *three[:2]):
        meter.n += 1
        yield reading | {"n": meter.n}, "."


FAULTS = (  # first what lets every counter rise: until then its period is not known
    tariff_change, negative_power, zero_dip, jitter, tenfold, spike, reset, swap, silent_swap, gas_year_ahead,
    clock_of_2005, clock_change,
)  # fmt: skip


def household(start: int, between: int, faults: int = 60, seed: int = 1) -> Iterator[Expected]:
    """Give a household's readings: faults one after the other, with so many true readings before each."""
    meter = Meter(Random(seed), start)
    for number in range(faults):
        fault = FAULTS[number % len(FAULTS)]
        for _ in range(between):
            yield Expected(meter.next(), ".")
        for payload, sign in fault(meter, number // len(FAULTS)):
            yield Expected(payload, sign, f"{fault.__name__} {number // len(FAULTS)}")
    for payload, sign in late(meter, 0):
        yield Expected(payload, sign, "late")
    for _ in range(between):
        yield Expected(meter.next(), ".")
