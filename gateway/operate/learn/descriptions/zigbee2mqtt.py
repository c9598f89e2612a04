"""`BASE/bridge/devices` of Zigbee2MQTT: all devices in one message, each with what it `exposes`.

A device publishes to `BASE/FRIENDLY_NAME`, and the name may contain slashes. So topics of one base differ in depth, and
only this description says where a name ends.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.core.codec.validation_error import pointer
from gateway.operate.learn.descriptions.description import (
    MAX_DEVICES,
    MAX_MEMBERS,
    Described,
    DescribedMember,
    Kind,
    mapping,
    mappings,
    number,
    text,
    texts,
    topic_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "zigbee2mqtt"
TOPIC = re.compile(r"(.+)/bridge/devices")
PUBLISHED = 1  # the bit of `access` for members of the published state
KINDS: dict[Any, Kind] = {"numeric": "number", "enum": "text", "text": "text", "list": "list"}
COUNTER = re.compile(r"(.*_)?energy(_.*)?")
COUNTER_UNITS = {"Wh", "kWh", "MWh"}


def read(match: re.Match[str], value: Any) -> list[Described]:
    """Describe the devices of a bridge."""
    entries = islice(mappings(value), MAX_DEVICES) if isinstance(value, list) else ()
    return [found for one in entries if (found := _device(match[1], one))]


def _device(base: str, entry: dict[str, Any]) -> Described | None:
    if entry.get("type") == "Coordinator":
        return Described(SOURCE, ignored=(f"{base}/bridge/#",))
    name, definition = entry.get("friendly_name"), mapping(entry.get("definition"))
    if not name or not isinstance(name, str) or not (topic := topic_name(f"{base}/{name}")):
        return None
    model = f"{text(definition.get('vendor'))} {text(definition.get('model'))}".strip()
    members = dict(islice(_members(definition.get("exposes"), ()), MAX_MEMBERS))
    ignored = (f"{topic}/availability", f"{topic}/get/#", f"{topic}/set/#")
    return Described(SOURCE, topic, text(name), model, members, ignored, text(entry.get("ieee_address")))


def _members(exposes: Any, path: tuple[str, ...]) -> Iterator[tuple[str, DescribedMember]]:
    """Walk `exposes`; a light, a switch and so on group members, and only a composite is an object of the payload."""
    for one in mappings(exposes if isinstance(exposes, list) else []):
        name = text(one.get("property"))
        if "features" in one:
            yield from _members(one["features"], (*path, name) if one.get("type") == "composite" and name else path)
        elif name and _is_published(one.get("access", PUBLISHED)):
            yield pointer((*path, name)), _member(one, name)


def _is_published(access: Any) -> bool:
    return isinstance(access, int) and bool(access & PUBLISHED)


def _member(expose: dict[str, Any], name: str) -> DescribedMember:
    unit, meaning = text(expose.get("unit")), text(expose.get("description"))
    if expose.get("type") == "binary":
        on, off = expose.get("value_on"), expose.get("value_off")
        is_json = isinstance(on, bool) and isinstance(off, bool)
        return DescribedMember("boolean" if is_json or (text(on) and text(off)) else "", on=text(on), off=text(off),
                               text=meaning)  # fmt: skip
    # Presets are values with a meaning of their own, often outside of the limits.
    low, high = (None if expose.get("presets") else number(expose.get(key)) for key in ("value_min", "value_max"))
    return DescribedMember(
        kind=KINDS.get(text(expose.get("type")), ""),
        unit=unit,
        minimum=low,
        maximum=high,
        step=number(expose.get("value_step")),
        words=texts(expose.get("values")),
        text=meaning,
        is_counter=unit in COUNTER_UNITS and bool(COUNTER.fullmatch(name)),
    )
