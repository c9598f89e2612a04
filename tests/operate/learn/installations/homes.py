"""Devices of homes: Zigbee2MQTT, Tasmota, Shelly of both generations, ESPHome, Homie."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

from tests.operate.learn.installations.installation import Installation, Source, epoch, iso, of_chance, rising, wave

# Zigbee2MQTT


def _numeric(name: str, unit: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "numeric", "name": name, "property": name, "access": 1, **({"unit": unit} if unit else {}), **more}


LINK = _numeric("linkquality", "lqi", value_min=0, value_max=255)
ZIGBEE = {
    "contact": (
        "Aqara",
        "MCCGQ11LM",
        [
            {
                "type": "binary",
                "name": "contact",
                "property": "contact",
                "access": 1,
                "value_on": False,
                "value_off": True,
            },
            _numeric("battery", "%", value_min=0, value_max=100),
            _numeric("voltage", "mV"),
            LINK,
        ],
    ),
    "climate": (
        "Aqara",
        "WSDCGQ11LM",
        [
            _numeric("temperature", "°C"),
            _numeric("humidity", "%"),
            _numeric("pressure", "hPa"),
            _numeric("battery", "%", value_min=0, value_max=100),
            LINK,
        ],
    ),
    "plug": (
        "TuYa",
        "TS011F_plug_1",
        [
            {
                "type": "switch",
                "features": [
                    {
                        "type": "binary",
                        "name": "state",
                        "property": "state",
                        "access": 7,
                        "value_on": "ON",
                        "value_off": "OFF",
                    }
                ],
            },
            _numeric("power", "W"),
            _numeric("current", "A"),
            _numeric("voltage", "V"),
            _numeric("energy", "kWh"),
            LINK,
        ],
    ),
    "lamp": (
        "IKEA",
        "LED1623G12",
        [
            {
                "type": "light",
                "features": [
                    {
                        "type": "binary",
                        "name": "state",
                        "property": "state",
                        "access": 7,
                        "value_on": "ON",
                        "value_off": "OFF",
                    },
                    {
                        "type": "numeric",
                        "name": "brightness",
                        "property": "brightness",
                        "access": 7,
                        "value_min": 0,
                        "value_max": 254,
                    },
                ],
            },
            LINK,
        ],
    ),
}
ZIGBEE_DEVICES = {
    "kitchen/window": "contact",
    "front door": "contact",
    "bedroom": "climate",
    "cellar/left/store": "climate",
    "attic": "climate",
    "kitchen/kettle": "plug",
    "office/desk/lamp": "lamp",
}


ZIGBEE["motion"] = ("Aqara", "RTCGQ11LM", [
    {"type": "binary", "name": "occupancy", "property": "occupancy", "access": 1, "value_on": True, "value_off": False},
    _numeric("illuminance", "lx"), LINK])  # fmt: skip


def _zigbee_state(kind: str, chance: random.Random, second: int) -> dict[str, Any]:
    link = {"linkquality": chance.randrange(20, 255)}
    if kind == "contact":
        return {"battery": 97, "contact": chance.random() < 0.8, "voltage": chance.randrange(2950, 3005), **link}
    if kind == "climate":
        return {"battery": 86, "humidity": wave(chance, 55, 9, 2), "pressure": wave(chance, 1000, 9),
                "temperature": wave(chance, 21, 4, 2), **link}  # fmt: skip
    if kind == "plug":
        return {
            "current": wave(chance, 2, 1, 2),
            "energy": rising(12, 0.0003, second, 2),
            "power": wave(chance, 400, 300, 0),
            "state": chance.choice(["ON", "ON", "OFF"]),
            "voltage": chance.randrange(228, 236),
            **link,
        }
    if kind == "motion":
        return {"illuminance": chance.randrange(300), "occupancy": chance.random() < 0.3, **link}
    return {"brightness": chance.randrange(1, 255), "state": chance.choice(["ON", "OFF"]), **link}


def _bridge_devices(named: dict[str, str]) -> list[dict[str, Any]]:
    devices = [
        {"ieee_address": f"0x00158d00036c18{number:02x}", "type": "EndDevice", "network_address": number,
         "supported": True, "friendly_name": name, "disabled": False, "power_source": "Battery",
         "definition": {"vendor": ZIGBEE[kind][0], "model": ZIGBEE[kind][1], "exposes": ZIGBEE[kind][2],
                        "description": "A device", "options": []}}
        for number, (name, kind) in enumerate(named.items())
    ]  # fmt: skip
    return [{"ieee_address": "0x00124b00", "type": "Coordinator", "friendly_name": "Coordinator", "definition": None},
            *devices]  # fmt: skip


zigbee = Installation(
    "zigbee2mqtt",
    [
        Source(f"zigbee2mqtt/{name}", 12 if kind == "plug" else 47, partial(_zigbee_state, kind), number)
        for number, (name, kind) in enumerate(ZIGBEE_DEVICES.items())
    ]
    + [
        Source(
            "zigbee2mqtt/bridge/logging", 30, lambda _, second: {"level": "info", "message": f"MQTT publish {second}"}
        ),
        Source("zigbee2mqtt/kitchen/kettle/set", 600, lambda _, __: {"state": "ON"}),
    ],
    {"zigbee2mqtt/{device}"},
    {
        "zigbee2mqtt/bridge/state": {"state": "online"},
        "zigbee2mqtt/bridge/devices": _bridge_devices(ZIGBEE_DEVICES),
        "zigbee2mqtt/bridge/info": {"version": "1.40.1", "config": {"mqtt": {"base_topic": "zigbee2mqtt"}}},
        **{f"zigbee2mqtt/{name}/availability": {"state": "online"} for name in ZIGBEE_DEVICES},
    },
    families={"zigbee2mqtt"},
    ignored=("zigbee2mqtt/bridge/", "/availability", "/set"),
)

# Devices that the family does not know: what the bridge says of them is all

OTHER_DEVICES = {"hall/motion": "motion", "attic/left/motion": "motion", "office/desk/lamp": "lamp", "lamp": "lamp"}

zigbee_others = Installation(
    "other zigbee devices",
    [
        Source(f"zigbee2mqtt/{name}", 11, partial(_zigbee_state, kind), number)
        for number, (name, kind) in enumerate(OTHER_DEVICES.items())
    ]
    + [Source("zigbee2mqtt/bridge/logging", 30, lambda _, second: {"level": "info", "message": f"{second}"})],
    {"zigbee2mqtt/{level2}"},
    {
        "zigbee2mqtt/bridge/devices": _bridge_devices(OTHER_DEVICES),
        **{f"zigbee2mqtt/{name}/availability": {"state": "online"} for name in OTHER_DEVICES},
    },
    ignored=("/availability", "/bridge/"),
)

# The same devices, with other settings: a base topic of two levels

zigbee_elsewhere = Installation(
    "zigbee2mqtt elsewhere",
    [replace(one, topic=f"house/{one.topic}") for one in zigbee.sources],
    {"house/zigbee2mqtt/{device}"},
    {f"house/{topic}": payload for topic, payload in zigbee.retained.items()},
    zigbee.families,
    ignored=("house/zigbee2mqtt/bridge/", "/availability", "/set"),
)

# Tasmota


def _energy(chance: random.Random, second: int) -> dict[str, Any]:
    power = chance.randrange(20, 2600)
    return {"Time": iso(second, 1), "ENERGY": {
        "TotalStartTime": "2025-11-14T18:39:40", "Total": rising(6.294, 0.0004, second), "Yesterday": 5.34,
        "Today": rising(0.954, 0.0004, second), "Period": chance.randrange(0, 9), "Power": power,
        "ApparentPower": power + 15, "ReactivePower": chance.randrange(200, 300), "Factor": wave(chance, 0.9, 0.1, 2),
        "Voltage": chance.randrange(226, 234), "Current": round(power / 230, 3)}}  # fmt: skip


def _dallas(chance: random.Random, second: int) -> dict[str, Any]:
    return {
        "Time": iso(second, 1),
        "DS18B20": {"Id": "3C01D607561F", "Temperature": wave(chance, 20, 3)},
        "TempUnit": "C",
    }


def _tasmota_state(chance: random.Random, second: int) -> dict[str, Any]:
    return {
        "Time": iso(second, 1),
        "Uptime": f"0T00:{second // 60:02}:{second % 60:02}",
        "UptimeSec": second,
        "Heap": chance.randrange(20, 30),
        "POWER": "ON",
        "Wifi": {"AP": 1, "RSSI": chance.randrange(60, 90)},
    }


TASMOTA = {"tasmota_DC0386": ("5CCF7FDC0386", "washer", _energy), "pow2": ("5CCF7F000002", "dryer", _energy),
           "cellar": ("5CCF7F000003", "cellar", _dallas)}  # fmt: skip


def _tasmota_config(topic: str, mac: str, name: str) -> dict[str, Any]:
    return {
        "ip": "192.168.1.5",
        "dn": name,
        "fn": [name, None],
        "hn": topic,
        "mac": mac,
        "md": "Sonoff Pow",
        "ofln": "Offline",
        "onln": "Online",
        "state": ["OFF", "ON", "TOGGLE", "HOLD"],
        "sw": "13.1.0",
        "t": topic,
        "ft": "%prefix%/%topic%/",
        "tp": ["cmnd", "stat", "tele"],
        "rl": [1, 0],
        "so": {"4": 0},
        "ver": 1,
    }


def _tasmota_retained() -> dict[str, Any]:
    retained: dict[str, Any] = {}
    for topic, (mac, name, make) in TASMOTA.items():
        retained |= {
            f"tasmota/discovery/{mac}/config": _tasmota_config(topic, mac, name),
            f"tasmota/discovery/{mac}/sensors": {"sn": make(random.Random(1), 0), "ver": 1},
            f"tele/{topic}/LWT": "Online",
        }
    return retained


tasmota = Installation(
    "tasmota",
    [
        source
        for number, (topic, (_, _, make)) in enumerate(TASMOTA.items())
        for source in (
            Source(f"tele/{topic}/SENSOR", 10, make, number),
            Source(f"tele/{topic}/STATE", 60, _tasmota_state, number + 5),
            Source(f"stat/{topic}/RESULT", 400, lambda _, __: {"POWER": "ON"}, number + 9),
        )
    ],
    {"tele/{device}/SENSOR"},
    _tasmota_retained(),
    families={"tasmota"},
    ignored=("tasmota/discovery/", "/LWT", "/STATE", "stat/"),
)

# Shelly

EM3 = ("shellyem3-3494546ECFF8", "shellyem3-68C63AFAF952")
shelly_gen1 = Installation(
    "shelly-gen1",
    [
        Source(f"shellies/{device}/emeter/{phase}/{quantity}", 10, make, phase)
        for device in EM3
        for phase in range(3)
        for quantity, make in {
            "power": lambda chance, _: f"{wave(chance, 100, 400, 2)}",
            "voltage": lambda chance, _: f"{wave(chance, 230, 4, 2)}",
            "current": lambda chance, _: f"{wave(chance, 3, 2, 2)}",
            "pf": lambda chance, _: f"{wave(chance, 0.5, 0.4, 2)}",
            "total": lambda _, second: f"{rising(1200, 0.03, second, 1)}",
            "total_returned": lambda _, __: "53.0",
        }.items()
    ]
    + [
        source
        for device in ("shellyplug-s-C18B12", "shellyplug-s-C18B13")
        for source in (
            Source(f"shellies/{device}/relay/0", 30, lambda chance, _: chance.choice(["on", "off"])),
            Source(f"shellies/{device}/relay/0/power", 30, lambda chance, _: f"{wave(chance, 20, 20, 2)}"),
            Source(f"shellies/{device}/relay/0/energy", 60, lambda _, second: str(94736 + second // 3)),
        )
    ]
    + [
        Source(f"shellies/shellyht-A4CF12/sensor/{quantity}", 300, make, 7)
        for quantity, make in {
            "humidity": lambda chance, _: f"{wave(chance, 52, 5)}",
            "temperature": lambda chance, _: f"{wave(chance, 21, 2, 2)}",
            "battery": lambda _, __: "87",
        }.items()
    ],
    {"shellies/{device}/emeter/{channel}/{quantity}", "shellies/{device}/relay/{channel}/power",
     "shellies/{device}/relay/{channel}/energy", "shellies/{device}/sensor/{quantity}",
     "shellies/{device}/emeter/{channel}/total", "shellies/{device}/emeter/{channel}/total_returned",
     "shellies/{shelly}/relay/{level4}"},
    {f"shellies/{device}/online": "true" for device in EM3},
    families={"shelly-gen1"},
    ignored=("/online",),
)  # fmt: skip


def _notify(device: str, second: int, params: dict[str, Any], method: str = "NotifyStatus") -> dict[str, Any]:
    return {
        "src": device,
        "dst": f"{device}/events",
        "method": method,
        "params": {"ts": epoch(second) + 0.29, **params},
    }


def _em(chance: random.Random) -> dict[str, Any]:
    phases = {
        f"{phase}_{name}": wave(chance, middle, spread, digits)
        for phase in "abc"
        for name, middle, spread, digits in (("act_power", 400, 300, 1), ("aprt_power", 450, 300, 1),
                                             ("current", 2, 1.5, 3), ("pf", 0.9, 0.1, 2), ("voltage", 233, 4, 1))
    }  # fmt: skip
    return {"id": 0, **phases, "n_current": None, "total_act_power": wave(chance, 1300, 500, 3),
            "total_aprt_power": wave(chance, 1400, 500, 3), "total_current": wave(chance, 6, 3, 3)}  # fmt: skip


def _switch(chance: random.Random, second: int) -> dict[str, Any]:
    if chance.random() < 0.05:
        return {"id": 0, "output": chance.random() < 0.5, "source": "HTTP_in"}
    return {"id": 0, "apower": wave(chance, 99, 50), "current": wave(chance, 0.6, 0.3, 3),
            "aenergy": {"total": rising(26589, 0.03, second), "by_minute": [844.5, 1337.4, 1344.0],
                        "minute_ts": epoch(second)}}  # fmt: skip


def _notify_switch(device: str, chance: random.Random, second: int) -> dict[str, Any]:
    return _notify(device, second, {"switch:0": _switch(chance, second)})


shelly_gen2 = Installation(
    "shelly-gen2",
    [
        Source("shellypro3em-ec6260890b50/events/rpc", 2,
               lambda chance, second: _notify("shellypro3em-ec6260890b50", second, {"em:0": _em(chance)})),
        Source("shellypro3em-ec6260890b50/events/rpc", 60,
               lambda _, second: _notify("shellypro3em-ec6260890b50", second, {"emdata:0": {
                   "id": 0, "a_total_act_energy": rising(1075513, 0.1, second, 2),
                   "total_act": rising(2852055, 0.3, second, 2), "total_act_ret": 0.0}}), 1),
        *[Source(f"{device}/events/rpc", 5,
                 partial(_notify_switch, device))
          for device in ("shelly1pmminig3-5432044edbc0", "shelly1pmminig3-5432044edbc1")],
        Source("shelly1pmminig3-5432044edbc0/events/rpc", 900,
               lambda _, second: _notify("shelly1pmminig3-5432044edbc0", second, {"sys": {"cfg_rev": 35}}), 3),
    ],
    {"{prefix}/events/rpc"},
    {"shellypro3em-ec6260890b50/online": "true"},
    families={"shelly-gen2"},
    ignored=("/online",),
)  # fmt: skip

# ESPHome, described for Home Assistant

ESPHOME = {"temperature": ("°C", lambda chance: "nan" if chance.random() < 0.01 else f"{wave(chance, 21, 3):.1f}"),
           "humidity": ("%", lambda chance: f"{wave(chance, 50, 9):.1f}"),
           "uptime": ("s", lambda chance: str(chance.randrange(9999)))}  # fmt: skip


def _esphome_config(device: str, sensor: str, unit: str) -> dict[str, Any]:
    return {
        "unit_of_meas": unit,
        "stat_cla": "measurement",
        "name": sensor.title(),
        "stat_t": f"{device}/sensor/{sensor}/state",
        "avty_t": f"{device}/status",
        "uniq_id": f"ESPsensor{device}{sensor}",
        "dev": {"ids": f"a0b1c2{device}", "name": device, "sw": "2025.4.0", "mdl": "esp32dev", "mf": "Espressif"},
    }


esphome = Installation(
    "esphome",
    [
        Source(f"{device}/sensor/{sensor}/state", 20, of_chance(make), number)
        for number, device in enumerate(("weather", "greenhouse"))
        for sensor, (_, make) in ESPHOME.items()
    ]
    + [Source(f"{device}/binary_sensor/door/state", 60, lambda chance, _: chance.choice(["ON", "OFF"]))
       for device in ("weather", "greenhouse")],
    {"{device}/sensor/{sensor}/state", "{device}/binary_sensor/{sensor}/state"},
    {
        **{f"homeassistant/sensor/{device}/{sensor}/config": _esphome_config(device, sensor, unit)
           for device in ("weather", "greenhouse") for sensor, (unit, _) in ESPHOME.items()},
        **{f"homeassistant/binary_sensor/{device}/door/config": {
            "name": "Door", "stat_t": f"{device}/binary_sensor/door/state", "dev_cla": "door",
            "avty_t": f"{device}/status"} for device in ("weather", "greenhouse")},
        **{f"{device}/status": "online" for device in ("weather", "greenhouse")},
    },
    families={"esphome"},
    ignored=("homeassistant/", "/status"),
)  # fmt: skip

# Homie: attributes of devices, nodes and properties begin with $

HOMIE = {"temperature": ("float", "°C", lambda chance: f"{wave(chance, 21, 3)}"),
         "humidity": ("integer", "%", lambda chance: str(chance.randrange(30, 70))),
         "mode": ("enum", "", lambda chance: chance.choice(["heat", "cool", "off"]))}  # fmt: skip
HOMIE_DEVICES = ("livingroom", "bathroom", "hall")  # each with two nodes, so that both are parameters
HOMIE_NODES = ("radiator-1", "radiator-2")

homie = Installation(
    "homie",
    [
        Source(f"homie/{device}/{node}/{name}", 15, of_chance(make), number, is_retained=True)
        for number, device in enumerate(HOMIE_DEVICES)
        for node in HOMIE_NODES
        for name, (_, _, make) in HOMIE.items()
    ],
    {f"homie/{{level2}}/{{level3}}/{name}" for name in HOMIE},
    {
        f"homie/{device}/{attribute}": value
        for device in HOMIE_DEVICES
        for node in HOMIE_NODES
        for attribute, value in {
            "$homie": "4.0.0", "$name": device.title(), "$state": "ready", "$nodes": ",".join(HOMIE_NODES),
            f"{node}/$name": node, f"{node}/$type": "V1", f"{node}/$properties": ",".join(HOMIE),
            **{f"{node}/{name}/$datatype": kind for name, (kind, _, _) in HOMIE.items()},
            **{f"{node}/{name}/$name": name for name in HOMIE},
            **{f"{node}/{name}/$unit": unit for name, (_, unit, _) in HOMIE.items() if unit},
        }.items()
    },
    ignored=("/$",),
)  # fmt: skip
