"""Discovery messages of Home Assistant: `PREFIX/COMPONENT/[NODE/]OBJECT/config`, one entity, or `device` with several.

Many devices publish them, ESPHome and Zigbee2MQTT among them. Entities of one device often share a state topic; each
describes the member of the payload that its template reads. Of templates only a path is understood, with filters that
do not change what the value is: another template says nothing about the payload.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.core.codec.validation_error import pointer
from gateway.operate.learn.descriptions.description import MAX_MEMBERS, Described, DescribedMember
from gateway.operate.learn.descriptions.values import mapping, mappings, text, topic_name

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "homeassistant"
READABLE = {"binary_sensor", "cover", "fan", "lock", "number", "select", "sensor", "siren", "switch", "text", "valve"}
COMPONENTS = {*READABLE, "alarm_control_panel", "button", "camera", "climate", "device", "device_automation",
              "device_tracker", "event", "humidifier", "image", "lawn_mower", "light", "notify", "scene", "tag",
              "update", "vacuum", "water_heater"}  # fmt: skip
TOPIC = re.compile(rf"(.+)/({'|'.join(sorted(COMPONENTS))})/(?:[\w-]+/)?[\w-]+/config")
LONG_NAMES = {
    "avty": "availability", "avty_t": "availability_topic", "cmd_t": "command_topic", "cmps": "components",
    "dev": "device", "p": "platform", "pl_off": "payload_off", "pl_on": "payload_on", "stat_off": "state_off",
    "stat_on": "state_on", "stat_t": "state_topic", "t": "topic", "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
}  # fmt: skip
SHARED = ("~", "availability", "availability_topic", "command_topic", "state_topic")  # by the components of a device
SWITCHED = {"binary_sensor": ("payload_on", "payload_off"), "fan": ("payload_on", "payload_off"),
            "siren": ("state_on", "state_off"), "switch": ("state_on", "state_off")}  # fmt: skip
PATH = re.compile(r"""\.(\w+)|\[\s*(?:'([^'\\]*)'|"([^"\\]*)"|(\d+))\s*]""")
TEMPLATE = re.compile(
    r"""\{\{-?\s*(?:value|value_json((?:\.\w+|\[\s*(?:'[^'\\]*'|"[^"\\]*"|\d+)\s*])*))\s*"""
    r"""(?:\|\s*(?:default|float|int|is_defined|round)\s*(?:\([^()|]*\)\s*)?)*-?\}\}"""
)


def read(match: re.Match[str], value: Any) -> list[Described]:
    """Describe the entities of a message, each on its own."""
    prefix, component = match.groups()
    whole = _with_long_names(value)
    device = text(_with_long_names(whole.get("device")).get("name"))
    discovery = (f"{prefix}/+/+/+/config", f"{prefix}/+/+/config", f"{prefix}/status")
    parts = _components(whole) if component == "device" else [{**whole, "platform": component}]
    return [_entity(part, device, discovery) for part in parts if _topic(part, "state") or _topic(part, "command")]


def _with_long_names(value: Any) -> dict[str, Any]:
    return {LONG_NAMES.get(key, key): one for key, one in mapping(value).items()}


def _components(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {key: whole[key] for key in SHARED if key in whole}
    for one in islice(mappings(mapping(whole.get("components"))), MAX_MEMBERS):
        yield {**shared, **_with_long_names(one)}


def _entity(part: dict[str, Any], device: str, discovery: tuple[str, ...]) -> Described:
    topic, path = _topic(part, "state"), _path(part.get("value_template", "{{ value }}"))
    is_readable = topic and path is not None and text(part.get("platform")) in READABLE
    members = {path or "": _member(part)} if is_readable else {}
    availability = part.get("availability")
    listed = [
        _full(part, _with_long_names(one).get("topic"))
        for one in mappings(availability if isinstance(availability, list) else [availability])
    ]
    ignored = {*filter(None, [_topic(part, "command"), _topic(part, "availability"), *listed])} - {topic}
    return Described(SOURCE, topic, device, members, (*discovery, *sorted(ignored)))


def _topic(part: dict[str, Any], kind: str) -> str:
    return _full(part, part.get(f"{kind}_topic"))


def _full(part: dict[str, Any], value: Any) -> str:
    """Give a topic whose `~`, at its start or end, stands for the base."""
    base, topic = part.get("~"), topic_name(value)
    if isinstance(base, str) and topic:
        topic = base + topic[1:] if topic.startswith("~") else topic
        topic = topic[:-1] + base if topic.endswith("~") else topic
    return topic_name(topic)


def _path(template: Any) -> str | None:
    """Give the JSON pointer of the member that a template reads; None when the template does more than read one."""
    match = TEMPLATE.fullmatch(text(template).strip())
    steps = PATH.finditer(match[1] or "") if match else ()
    return pointer(tuple(next(filter(None, step.groups()), "") for step in steps)) if match else None


def _member(part: dict[str, Any]) -> DescribedMember:
    words = (_word(part, key) for key in SWITCHED.get(part["platform"], ()))
    on, off = (*words, "", "")[:2]
    return DescribedMember(text(part.get("unit_of_measurement")), on, off, text(part.get("name")))


def _word(part: dict[str, Any], key: str) -> str:
    """Give the text that a device sends for on or off; "" when it sends true or false of JSON."""
    value = part.get(key, part.get(key.replace("state", "payload"), key.rpartition("_")[2].upper()))
    return "" if isinstance(value, bool) else text(value) or text(str(value))
