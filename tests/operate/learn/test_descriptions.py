"""Descriptions of devices are read as their sources document them, and whatever else a device writes does no harm."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.operate.learn.descriptions import (
    Described,
    DescribedMember,
    Descriptions,
    described,
    is_description,
    merged,
)

BASE = "home/zigbee2mqtt"
PLUG = {
    "ieee_address": "0xa4c1380000000001",
    "type": "Router",
    "friendly_name": "kitchen/kettle",
    "supported": True,
    "definition": {
        "model": "TS011F",
        "vendor": "TuYa",
        "exposes": [
            {"type": "switch", "features": [
                {"type": "binary", "name": "state", "property": "state", "access": 7, "value_on": "ON",
                 "value_off": "OFF", "value_toggle": "TOGGLE"}]},
            {"type": "numeric", "name": "power", "property": "power", "access": 5, "unit": "W",
             "description": "Instantaneous measured power"},
            {"type": "numeric", "name": "energy", "property": "energy", "access": 1, "unit": "kWh"},
            {"type": "binary", "name": "tamper", "property": "tamper", "access": 1, "value_on": True,
             "value_off": False},
            {"type": "enum", "name": "identify", "property": "identify", "access": 2, "values": ["identify"]},
            {"type": "enum", "name": "mode", "property": "indicator_mode", "access": 7, "values": ["off", "on", "on"]},
            {"type": "numeric", "name": "level", "property": "level", "access": 7, "value_min": 0, "value_max": 254,
             "value_step": 0.5},
            {"type": "numeric", "name": "start", "property": "start", "access": 7, "value_min": 0, "value_max": 9,
             "presets": [{"name": "previous", "value": 65535}]},
            {"type": "composite", "name": "color_xy", "property": "color", "features": [
                {"type": "numeric", "name": "x", "property": "x", "access": 7}]},
            {"type": "list", "name": "since", "property": "a/b", "access": 1, "item_type": {"type": "numeric"}},
        ],
    },
}  # fmt: skip
CONFIG = {
    "ip": "192.168.1.5", "dn": "Meter", "fn": ["Meter", None], "hn": "tasmota-1234", "mac": "5CCF7F139ABC",
    "md": "Generic", "ofln": "Offline", "onln": "Online", "state": ["OFF", "ON", "TOGGLE", "HOLD"], "sw": "13.1.0",
    "t": "meter", "ft": "%prefix%/%topic%/", "tp": ["cmnd", "stat", "tele"], "rl": [1, 0], "ver": 1,
}  # fmt: skip
SENSORS = {
    "sn": {"Time": "2026-01-05T10:00:00", "ENERGY": {"Total": 6.294, "Power": [1688, 0], "Factor": 0.99},
           "DS18B20": {"Id": "3C01D607", "Temperature": None}, "ANALOG": {"Temperature1": -5}, "TempUnit": "C"},
    "ver": 1,
}  # fmt: skip


def read(topic: str, value: Any) -> list[Described]:
    return described(topic.encode(), json.dumps(value).encode())


def entity(value: dict[str, Any], component: str = "sensor") -> Described:
    (found,) = read(f"homeassistant/{component}/node/object/config", {"stat_t": "a/state", **value})
    return found


def member(value: dict[str, Any], component: str = "sensor") -> DescribedMember:
    (found,) = entity(value, component).members.values()
    return found


def test_a_bridge_describes_its_devices() -> None:
    coordinator = {"type": "Coordinator", "friendly_name": "Coordinator", "definition": None}
    unsupported = {"type": "EndDevice", "friendly_name": "0x01", "definition": None, "supported": False}
    bridge, plug, other = read(f"{BASE}/bridge/devices", [coordinator, PLUG, unsupported])
    assert bridge == Described("zigbee2mqtt", ignored=(f"{BASE}/bridge/#",))
    assert (plug.topic, plug.device) == (f"{BASE}/kitchen/kettle", "kitchen/kettle")
    assert plug.ignored == tuple(f"{BASE}/kitchen/kettle/{one}" for one in ("availability", "get/#", "set/#"))
    assert (other.topic, other.members) == (f"{BASE}/0x01", {})


def test_what_a_zigbee_device_exposes_becomes_members() -> None:
    """A group adds no level, a composite does; what is only set is no member."""
    assert dict(read(f"{BASE}/bridge/devices", [PLUG])[0].members) == {
        "/state": DescribedMember(on="ON", off="OFF"),
        "/power": DescribedMember("W", text="Instantaneous measured power"),
        "/energy": DescribedMember("kWh"),
        "/tamper": DescribedMember(),
        "/indicator_mode": DescribedMember(),
        "/level": DescribedMember(),
        "/start": DescribedMember(),
        "/color/x": DescribedMember(),
        "/a~1b": DescribedMember(),
    }


def test_a_device_of_several_entities_describes_each() -> None:
    """The device form: entities share topics and the base, and may have their own."""
    found = read(
        "homeassistant/device/abc/config",
        {
            "dev": {"ids": ["x1"], "name": "Kitchen", "mdl": "B", "mf": "A"},
            "o": {"name": "a2mqtt"},
            "~": "a2mqtt/kitchen",
            "stat_t": "~/state",
            "avty": [{"t": "~/online"}],
            "cmps": {
                "t": {"p": "sensor", "unit_of_meas": "°C", "val_tpl": "{{ value_json.temperature}}"},
                "s": {"p": "switch", "cmd_t": "~/set", "stat_t": "~/switch"},
                "gone": {"p": "sensor", "stat_t": ""},
                "wrong": 3,
            },
        },
    )
    assert [(one.topic, one.device) for one in found] == [
        ("a2mqtt/kitchen/state", "Kitchen"),
        ("a2mqtt/kitchen/switch", "Kitchen"),
    ]
    assert found[0].members == {"/temperature": DescribedMember("°C")}
    assert set(found[1].ignored) == {
        "a2mqtt/kitchen/online", "a2mqtt/kitchen/set", "homeassistant/+/+/+/config", "homeassistant/+/+/config",
        "homeassistant/status"}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "pointer"),
    [
        ("{{ value_json.x }}", "/x"),
        ("{{value_json['x']}}", "/x"),
        ('{{- value_json["a"].b[ 0 ] | float(0) | round(1) -}}', "/a/b/0"),
        ("{{ value_json['a/b'] | default('x') }}", "/a~1b"),
        ("{{ value }}", ""),
        ("{{ value | int }}", ""),
        ("{{ value_json }}", ""),
        ("{{ value_json.x / 10 }}", None),
        ("{{ value_json.x | timestamp_local }}", None),
        ("{% if value_json.x %}ON{% endif %}", None),
        ("{{ value_json.a }}{{ value_json.b }}", None),
        (3, None),
        (None, None),
    ],
)
def test_a_template_that_only_reads_a_value_names_it(template: Any, pointer: str | None) -> None:
    assert list(entity({"value_template": template}).members) == ([] if pointer is None else [pointer])


@pytest.mark.parametrize(
    ("component", "value", "expected"),
    [
        ("sensor", {}, DescribedMember()),
        ("sensor", {"unit_of_meas": "W", "name": "Power"}, DescribedMember("W", text="Power")),
        ("sensor", {"unit_of_meas": 3, "name": ["x"]}, DescribedMember()),
        ("binary_sensor", {}, DescribedMember(on="ON", off="OFF")),
        ("binary_sensor", {"pl_on": True, "pl_off": False}, DescribedMember()),
        ("binary_sensor", {"pl_on": 1, "pl_off": 0}, DescribedMember(on="1", off="0")),
        ("switch", {"pl_on": "on", "stat_off": "0"}, DescribedMember(on="on", off="0")),
    ],
)
def test_an_entity_describes_its_value(component: str, value: dict[str, Any], expected: DescribedMember) -> None:
    text = json.dumps({"stat_t": "a/state", **value})
    (found,) = described(f"homeassistant/{component}/object/config".encode(), text.encode())
    assert found.members == {"": expected}


def test_an_entity_without_readings_says_only_what_is_ignored() -> None:
    (button,) = read("ha/button/x/config", {"cmd_t": "x/press", "avty_t": "x/online"})
    assert (button.topic, button.members) == ("", {})
    assert {"x/press", "x/online", "ha/+/+/config"} <= set(button.ignored)
    assert entity({"stat_t": "cam/image"}, "camera").members == {}


@pytest.mark.parametrize(
    ("full_topic", "topic"),
    [
        ("%prefix%/%topic%/", "tele/meter/SENSOR"),
        ("%topic%/%prefix%", "meter/tele/SENSOR"),
        ("house/%hostname%/%prefix%/%id%/", "house/tasmota-1234/tele/139ABC/SENSOR"),
        ("fixed/", "fixed/SENSOR"),
    ],
)
def test_a_tasmota_topic_has_its_parts_anywhere(full_topic: str, topic: str) -> None:
    (found,) = read("tasmota/discovery/5CCF7F139ABC/config", {**CONFIG, "ft": full_topic})
    assert (found.topic, found.device) == (topic, "Meter")
    assert topic.replace("SENSOR", "LWT") in found.ignored
    if "%prefix%" in full_topic:
        assert any(one.endswith("#") and "stat" in one for one in found.ignored)


def test_both_messages_of_tasmota_make_one_description() -> None:
    mac = "5CCF7F139ABC"
    messages = [*read(f"tasmota/discovery/{mac}/config", CONFIG), *read(f"tasmota/discovery/{mac}/sensors", SENSORS)]
    for order in (messages, messages[::-1]):
        (found,) = merged(order)
        assert (found.topic, found.device) == ("tele/meter/SENSOR", "Meter")
        assert dict(found.members) == {
            "/Time": DescribedMember(),
            "/ENERGY/Total": DescribedMember("kWh"),
            "/ENERGY/Power": DescribedMember("W"),
            "/ENERGY/Factor": DescribedMember(),
            "/DS18B20/Id": DescribedMember(),
            "/DS18B20/Temperature": DescribedMember("°C"),
            "/ANALOG/Temperature1": DescribedMember("°C"),
            "/TempUnit": DescribedMember(),
        }


def test_several_sources_add_to_each_other_in_any_order() -> None:
    """Zigbee2MQTT publishes for Home Assistant as well: what one leaves open comes from the other."""
    topic = f"{BASE}/kitchen/kettle"
    found = read(f"{BASE}/bridge/devices", [PLUG])
    for name, value in {
        "power": {"unit_of_meas": "kW"},
        "update": {"unit_of_meas": "%"},
    }.items():
        found += read(
            f"homeassistant/sensor/x/{name}/config",
            {"stat_t": topic, "val_tpl": f"{{{{ value_json.{name} }}}}", "avty_t": topic, **value},
        )
    expected = merged(found)
    for seed in range(5):
        random.Random(seed).shuffle(found)
        assert merged(found) == expected
    (both,) = expected
    assert topic not in both.ignored
    assert both.members["/power"] == DescribedMember("W", text="Instantaneous measured power")
    assert both.members["/update"].unit == "%"


def test_members_of_an_unknown_device_are_left_out() -> None:
    (found,) = merged(read("tasmota/discovery/5CCF7F139ABC/sensors", SENSORS))
    assert (found.topic, found.members, found.ignored) == ("", {}, ("tasmota/discovery/#",))


@pytest.mark.parametrize(
    "topic", ["a/bridge/devices", "homeassistant/sensor/x/config", "tasmota/discovery/5CCF7F139ABC/config"]
)
@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"[NaN]", b"[" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40, b"[]", b"{}", b"null", b'"x"',
     b'[{"friendly_name":"a+b"}]', b'[{"friendly_name":"\\u0000"}]', b'[{"friendly_name":""}]', b'{"stat_t":"a/#"}',
     b'{"ft":"/","t":"","tp":["","",""]}', b'{"ft":"%topic%/","t":"#","tp":["a","b","c"]}', b"1" * 10_000],
)  # fmt: skip
def test_what_is_no_description_gives_nothing(topic: str, payload: bytes) -> None:
    assert described(topic.encode(), payload) == []


def test_only_the_topics_of_descriptions_are_read() -> None:
    assert is_description(b"zigbee2mqtt/bridge/devices")
    assert not is_description(b"zigbee2mqtt/lamp")
    assert not is_description(b"\xff/x")
    assert described(b"machines/1", json.dumps([PLUG]).encode()) == []


def test_a_large_bridge_is_read_and_a_huge_payload_is_not() -> None:
    many = [{**PLUG, "friendly_name": f"plug/{number}"} for number in range(500)]
    assert len(read(f"{BASE}/bridge/devices", many)) == 500
    assert described(b"a/bridge/devices", b" " * (16 * 1024 * 1024) + b"[]") == []


def test_only_the_last_description_of_a_topic_is_kept() -> None:
    """A bridge publishes its devices whenever one changes."""
    kept, topic = Descriptions(), f"{BASE}/bridge/devices".encode()
    for number in range(200):
        kept.take(topic, json.dumps([{**PLUG, "friendly_name": f"plug {number // 2}"}]).encode())
    assert [one.topic for one in kept.merged()] == [f"{BASE}/plug 99"]
    kept.take(topic, b"")
    assert kept.merged() == []


def test_descriptions_have_a_limit() -> None:
    """What goes makes room again."""
    kept = Descriptions(room=25)
    for number in range(5):
        kept.take(f"{number}/bridge/devices".encode(), json.dumps([PLUG]).encode())
    assert [one.topic for one in kept.merged()] == ["0/kitchen/kettle", "1/kitchen/kettle"]
    kept.take(b"0/bridge/devices", b"[]")
    kept.take(b"9/bridge/devices", json.dumps([PLUG]).encode())
    assert [one.topic for one in kept.merged()] == ["1/kitchen/kettle", "9/kitchen/kettle"]


NAMES = [
    "friendly_name",
    "definition",
    "exposes",
    "features",
    "type",
    "property",
    "access",
    "unit",
    "value_on",
    "model",
    "values",
    "~",
    "stat_t",
    "state_topic",
    "dev",
    "cmps",
    "avty",
    "val_tpl",
    "ops",
    "p",
    "pl_on",
    "ids",
    "min",
    "sn",
    "ft",
    "tp",
    "t",
    "hn",
    "a/b~c",
]
WORDS = ["composite", "binary", "numeric", "enum", "Coordinator", "sensor", "switch", "select", "number", "%prefix%",
         "%topic%/", "~/x", "{{ value_json.a['b'] }}", "{{ value }}", "tele", "\ud7ff", "a" * 300]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
)
TOPICS = [
    f"{BASE}/bridge/devices",
    "tasmota/discovery/5CCF7F139ABC/config",
    "tasmota/discovery/5CCF7F139ABC/sensors",
    "homeassistant/sensor/x/config",
    "homeassistant/device/x/config",
    "homeassistant/select/x/y/config",
]


@given(st.sampled_from(TOPICS), VALUES, st.sampled_from([{}, PLUG, CONFIG, SENSORS]))
def test_any_json_is_read_without_harm(topic: str, value: Any, start: dict[str, Any]) -> None:
    """Members of the right names with values of any type, at any place."""
    changed = {**start, **value} if isinstance(value, dict) else value
    found = read(topic, [changed, {**PLUG, "definition": changed}] if topic.startswith(BASE) else changed)
    for one in merged(found):
        assert not set(one.topic) & set("+#\0")
        assert all(pointer == "" or pointer.startswith("/") for pointer in one.members)
        assert all(isinstance(each, str) for each in (one.device, *one.ignored))
        hash(tuple(one.members.values()))


@given(st.sampled_from(TOPICS), st.binary(max_size=50))
def test_any_bytes_are_read_without_harm(topic: str, payload: bytes) -> None:
    assert isinstance(described(topic.encode(), payload), list)
