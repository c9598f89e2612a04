"""`BASE/bridge/devices` of Zigbee2MQTT: all devices in one message, each with what it `exposes`.

A device publishes to `BASE/FRIENDLY_NAME`, and the name may contain slashes. So topics of one base differ in depth, and
only this description says where a name ends.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.core.codec.validation_error import pointer
from gateway.operate.learn.descriptions.description import MAX_DEVICES, MAX_MEMBERS, Described, DescribedMember
from gateway.operate.learn.descriptions.values import mapping, mappings, text, topic_name

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "zigbee2mqtt"
TOPIC = re.compile(r"(.+)/bridge/devices")
PUBLISHED = 1  # the bit of `access` for members of the published state


def read(match: re.Match[str], value: Any) -> list[Described]:
    """Describe the devices of a bridge."""
    entries = islice(mappings(value), MAX_DEVICES) if isinstance(value, list) else ()
    return [found for one in entries if (found := _device(match[1], one))]


def _device(base: str, entry: dict[str, Any]) -> Described | None:
    if entry.get("type") == "Coordinator":
        return Described(SOURCE, ignored=(f"{base}/bridge/#",))
    name = entry.get("friendly_name")
    if not name or not isinstance(name, str) or not (topic := topic_name(f"{base}/{name}")):
        return None
    members = dict(islice(_members(mapping(entry.get("definition")).get("exposes"), ()), MAX_MEMBERS))
    ignored = (f"{topic}/availability", f"{topic}/get/#", f"{topic}/set/#")
    return Described(SOURCE, topic, text(name), members, ignored)


def _members(exposes: Any, path: tuple[str, ...]) -> Iterator[tuple[str, DescribedMember]]:
    """Walk `exposes`; a light, a switch and so on group members, and only a composite is an object of the payload."""
    for one in mappings(exposes if isinstance(exposes, list) else []):
        name, access = text(one.get("property")), one.get("access", PUBLISHED)
        if "features" in one:
            yield from _members(one["features"], (*path, name) if one.get("type") == "composite" and name else path)
        elif name and isinstance(access, int) and access & PUBLISHED:
            is_binary = one.get("type") == "binary"
            on, off = (text(one.get(key)) if is_binary else "" for key in ("value_on", "value_off"))
            yield pointer((*path, name)), DescribedMember(text(one.get("unit")), on, off, text(one.get("description")))
