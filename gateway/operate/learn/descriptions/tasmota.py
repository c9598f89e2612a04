"""`tasmota/discovery/MAC/config` and `.../sensors`: the first has the topics, the second an example of readings.

The full topic may have its parts anywhere: `%prefix%/%topic%/`, `%topic%/%prefix%/`, `house/%prefix%/%hostname%/`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.core.codec.validation_error import pointer
from gateway.operate.learn.descriptions.description import MAX_MEMBERS, Described, DescribedMember
from gateway.operate.learn.descriptions.values import mapping, text, topic_name

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "tasmota"
TOPIC = re.compile(r"tasmota/discovery/([0-9A-F]{12})/(config|sensors)")
NO_READINGS = ("INFO1", "INFO2", "INFO3", "LWT", "STATE")
DISCOVERY = "tasmota/discovery/#"
UNITS = {
    **dict.fromkeys(("ExportActive", "ImportActive", "Today", "Total", "Yesterday"), "kWh"),
    **dict.fromkeys(("ExportReactive", "ImportReactive"), "kvarh"),
    **dict.fromkeys(("Battery", "Humidity", "Moisture"), "%"),
    **dict.fromkeys(("Ambient", "Illuminance"), "lx"),
    **dict.fromkeys(("CarbonDioxide", "eCO2"), "ppm"),
    **dict.fromkeys(("PM1", "PM2.5", "PM10"), "µg/m³"),
    "ApparentPower": "VA", "Current": "A", "Distance": "cm", "Frequency": "Hz", "PhaseAngle": "°", "Power": "W",
    "ReactivePower": "var", "TVOC": "ppb", "Voltage": "V", "Weight": "kg",
}  # fmt: skip
SET_UNITS = {  # by a member of the message
    **dict.fromkeys(("DewPoint", "Temperature"), "TempUnit"),
    **dict.fromkeys(("Pressure", "SeaPressure"), "PressureUnit"),
    "Speed": "SpeedUnit",
}
DEGREES = {"C": "°C", "F": "°F"}


def read(match: re.Match[str], value: Any) -> list[Described]:
    """Describe a device: its topic, or its members."""
    mac, part = match.groups()
    if part == "sensors":
        example = mapping(mapping(value).get("sn"))
        members = dict(islice(_members(example, (), example), MAX_MEMBERS))
        return [Described(SOURCE, members=members, ignored=(DISCOVERY,), id=mac)]
    return _topics(mac, mapping(value))


def _topics(mac: str, value: dict[str, Any]) -> list[Described]:
    prefixes = value.get("tp")
    if not isinstance(prefixes, list) or len(prefixes) != 3 or not all(text(one) for one in prefixes):
        return []
    command, status, telemetry = (_full_topic(mac, value, one) for one in prefixes)
    if not telemetry:
        return []
    ignored = [DISCOVERY, *(telemetry + one for one in NO_READINGS)]
    if len({command, status, telemetry}) == len(prefixes):
        ignored += [f"{command}#", f"{status}#"]
    return [Described(SOURCE, f"{telemetry}SENSOR", text(value.get("dn")), ignored=tuple(ignored), id=mac)]


def _full_topic(mac: str, value: dict[str, Any], prefix: str) -> str:
    """Give a full topic with a slash at its end; "" if it is no topic."""
    parts = {"%prefix%": prefix, "%topic%": text(value.get("t")), "%hostname%": text(value.get("hn")), "%id%": mac[-6:]}
    full = re.sub("|".join(parts), lambda match: parts[match[0]], text(value.get("ft")))
    return topic_name(f"{full.rstrip('/')}/") if full.strip("/") else ""


def _members(
    value: dict[str, Any], path: tuple[str, ...], example: dict[str, Any]
) -> Iterator[tuple[str, DescribedMember]]:
    for name, one in value.items():
        if isinstance(one, dict):
            yield from _members(one, (*path, name), example)
        else:
            unit = _unit(name.rstrip("0123456789") if name not in UNITS else name, example) if path else ""
            yield pointer((*path, name)), DescribedMember(unit)


def _unit(name: str, example: dict[str, Any]) -> str:
    unit = text(example.get(SET_UNITS[name])) if name in SET_UNITS else UNITS.get(name, "")
    return DEGREES.get(unit, unit)
