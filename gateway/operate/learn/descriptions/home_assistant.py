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
from gateway.operate.learn.descriptions.description import (
    MAX_MEMBERS,
    Described,
    DescribedMember,
    mapping,
    mappings,
    number,
    text,
    texts,
    topic_name,
)

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
    "dev": "device", "dev_cla": "device_class", "ids": "identifiers", "mdl": "model", "mf": "manufacturer",
    "ops": "options", "p": "platform", "pl_off": "payload_off", "pl_on": "payload_on", "stat_cla": "state_class",
    "stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic", "t": "topic",
    "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template",
}  # fmt: skip
SHARED = ("~", "availability", "availability_topic", "command_topic", "state_topic")  # by the components of a device
SWITCHED = {"binary_sensor": ("payload_on", "payload_off"), "fan": ("payload_on", "payload_off"),
            "siren": ("state_on", "state_off"), "switch": ("state_on", "state_off")}  # fmt: skip
TEXT_CLASSES = {"date", "enum", "timestamp"}
PATH = re.compile(r"""\.(\w+)|\[\s*(?:'([^'\\]*)'|"([^"\\]*)"|(\d+))\s*]""")
TEMPLATE = re.compile(
    r"""\{\{-?\s*(?:value|value_json((?:\.\w+|\[\s*(?:'[^'\\]*'|"[^"\\]*"|\d+)\s*])*))\s*"""
    r"""(?:\|\s*(?:default|float|int|is_defined|round)\s*(?:\([^()|]*\)\s*)?)*-?\}\}"""
)


def read(match: re.Match[str], value: Any) -> list[Described]:
    """Describe the entities of a message, each on its own."""
    prefix, component = match.groups()
    whole = _with_long_names(mapping(value))
    device = _with_long_names(mapping(whole.get("device")))
    ids = device.get("identifiers")
    about = {
        "device": text(device.get("name")),
        "model": f"{text(device.get('manufacturer'))} {text(device.get('model'))}".strip(),
        "id": text(ids) or next(iter(texts(ids)), ""),
    }
    discovery = (f"{prefix}/+/+/+/config", f"{prefix}/+/+/config", f"{prefix}/status")
    parts = _components(whole) if component == "device" else [{**whole, "platform": component}]
    return [_entity(part, about, discovery) for part in parts if _names_topics(part)]


def _with_long_names(value: dict[str, Any]) -> dict[str, Any]:
    return {LONG_NAMES.get(key, key): one for key, one in value.items()}


def _components(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shared = {key: whole[key] for key in SHARED if key in whole}
    for one in islice(mappings(mapping(whole.get("components"))), MAX_MEMBERS):
        yield {**shared, **_with_long_names(one)}


def _names_topics(part: dict[str, Any]) -> bool:
    return bool(_topic(part, part.get("state_topic")) or _topic(part, part.get("command_topic")))


def _entity(part: dict[str, Any], about: dict[str, str], discovery: tuple[str, ...]) -> Described:
    topic, path = _topic(part, part.get("state_topic")), _path(part.get("value_template", "{{ value }}"))
    is_readable = topic and path is not None and text(part.get("platform")) in READABLE
    members = {path or "": _member(part)} if is_readable else {}
    availability = part.get("availability")
    listed = mappings(availability if isinstance(availability, list) else [availability])
    named = (part.get("command_topic"), part.get("availability_topic"), *(_listed_topic(one) for one in listed))
    ignored = {found for one in named if (found := _topic(part, one))} - {topic}
    return Described(SOURCE, topic, members=members, ignored=(*discovery, *sorted(ignored)), **about)


def _listed_topic(availability: dict[str, Any]) -> Any:
    return _with_long_names(availability).get("topic")


def _topic(part: dict[str, Any], value: Any) -> str:
    """Give a topic whose `~`, at its start or end, stands for the base."""
    base, topic = part.get("~"), topic_name(value)
    if isinstance(base, str) and topic:
        topic = base + topic[1:] if topic.startswith("~") else topic
        topic = topic[:-1] + base if topic.endswith("~") else topic
    return topic_name(topic)


def _path(template: Any) -> str | None:
    """Give the JSON pointer of the value that a template reads; None when it is not only read."""
    match = TEMPLATE.fullmatch(text(template).strip())
    steps = PATH.finditer(match[1] or "") if match else ()
    return pointer(tuple(next(filter(None, step.groups()), "") for step in steps)) if match else None


def _member(part: dict[str, Any]) -> DescribedMember:
    platform, unit, name = part["platform"], text(part.get("unit_of_measurement")), text(part.get("name"))
    if platform in SWITCHED:
        on, off = (_word(part, key) for key in SWITCHED[platform])
        return DescribedMember("boolean", on=on, off=off, text=name)
    if words := texts(part.get("options")):
        return DescribedMember("text", words=words, text=name)
    state_class = text(part.get("state_class"))
    if platform == "number" or unit or state_class:
        low, high, step = (number(part.get(key)) for key in ("min", "max", "step"))
        return DescribedMember("number", unit, low, high, step, text=name,
                               is_counter=state_class == "total_increasing")  # fmt: skip
    is_text = platform != "sensor" or text(part.get("device_class")) in TEXT_CLASSES
    return DescribedMember("text" if is_text else "", text=name)


def _word(part: dict[str, Any], key: str) -> str:
    """Give the word of a state; "" for JSON's true and false."""
    value = part.get(key, part.get(key.replace("state", "payload"), key.rpartition("_")[2].upper()))
    return "" if isinstance(value, bool) else text(value) or text(str(value))
