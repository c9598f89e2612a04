"""Units by the names of members: a guess, which the proposal says it is.

Only names that state the unit, or that nearly always have the same one, count. `temperature` is not among them where a
family of devices may use Fahrenheit; it gets a unit from a description only.
"""

from __future__ import annotations

import re

ENDINGS = {  # of a name in snake case, after an underscore
    "wh": "Wh", "kwh": "kWh", "w": "W", "kw": "kW", "va": "VA", "var": "var", "v": "V", "mv": "mV", "a": "A",
    "ma": "mA", "hz": "Hz", "c": "Cel", "celsius": "Cel", "f": "[degF]", "k": "K", "percent": "%", "pct": "%",
    "hpa": "hPa", "pa": "Pa", "kpa": "kPa", "bar": "bar", "mbar": "mbar", "ppm": "[ppm]", "lux": "lx", "lx": "lx",
    "dbm": "dBm", "db": "dB", "m3": "m3", "l": "l", "rpm": "{rev}/min", "ms": "ms", "s": "s", "m": "m", "mm": "mm",
    "cm": "cm", "km": "km", "kg": "kg", "g": "g", "kva": "kVA", "kvar": "kvar", "kv": "kV", "khz": "kHz", "mwh": "MWh",
    "mhz": "MHz", "kmh": "km/h", "lpm": "l/min",
}  # fmt: skip
UCUM = {  # units of descriptions
    "°C": "Cel", "°F": "[degF]", "°": "deg", "ppm": "[ppm]", "ppb": "[ppb]", "rpm": "{rev}/min", "VAr": "var",
    "VArh": "var.h", "varh": "var.h", "VAh": "VA.h", "L": "l", "mph": "[mi_i]/h", "psi": "[psi]", "in": "[in_i]",
    "ft": "[ft_i]",
}  # fmt: skip
PLAIN = str.maketrans("µμ²³", "uu23")  # two signs for micro
# A unit whose prefix or symbol is told by capitals: mW is not MW. In the name of a field it is one word.
EXACT = re.compile(
    r"(?<![A-Za-z])(?:[kMGmu]?(?:Wh|W|VAh|VA|varh|VArh|var|VAr|V|A|Pa|Hz|bar|Ohm)|hPa|dBm|dB)(?![A-Za-z])"
)
NAMES = {"humidity": "%", "rssi": "dBm", "co2": "[ppm]", "battery_level": "%"}
MEASURES = {
    "temperature", "temp", "humidity", "pressure", "power", "energy", "voltage", "current", "frequency", "battery",
    "state", "status", "rssi", "illuminance", "lux", "co2", "flow", "level", "speed", "rpm", "vibration", "light",
    "motion", "contact", "availability", "online", "total", "total_returned", "power_factor", "pf", "reactive_power",
    "returned_energy", "returned", "setpoint", "position", "value", "uptime", "noise", "pm25", "pm10", "tvoc",
    "moisture", "hum", "bat", "mode", "soc", "weight", "volume", "valve", "occupancy", "is_valid",
}  # fmt: skip
FRACTIONAL = {
    "temperature", "temp", "humidity", "pressure", "power", "voltage", "current", "frequency", "energy", "flow",
    "speed", "vibration", "weight", "volume", "setpoint", "moisture",
}  # fmt: skip
WHOLE_UNITS = {"", "ms", "s", "dBm", "dB", "lqi", "[ppm]", "ppm", "ppb", "lx", "{rev}/min"}


def has_fractions(name: str, unit: str) -> bool:
    """Tell whether what is measured has fractions, also if only whole numbers were received."""
    return unit not in WHOLE_UNITS or name.rpartition("_")[2] in FRACTIONAL


def unit_of(name: str) -> str:
    """The unit that the name of a member suggests, as it is written first; "" for none."""
    last, words = name.rpartition("_")[2], snake(name)
    if EXACT.fullmatch(last) and (last != name or len(last) > 1) and not last.islower():
        return ucum(last)
    return ENDINGS.get(words.rpartition("_")[2], "") if "_" in words else NAMES.get(words, "")


def ucum(unit: str) -> str:
    """Write a unit of a description in UCUM, as families do."""
    return UCUM.get(unit, unit.translate(PLAIN))


def is_measure(name: str) -> bool:
    """Tell whether a level of a topic says what is measured."""
    words = snake(name)
    return words in MEASURES or words.rpartition("_")[2] in MEASURES or words.rpartition("_")[2] in ENDINGS


def snake(name: str) -> str:
    """Write a name in snake case: `currentPower` as `current_power`, `DS18B20/T` as `ds18b20_t`."""
    name = EXACT.sub(lambda match: match[0].lower(), name)
    parted = re.sub(r"([a-z0-9])([A-Z][a-z])|([a-z])([A-Z])", r"\1\3_\2\4", name)
    plain = re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
    return f"n_{plain}" if plain[:1].isdigit() or not plain else plain
