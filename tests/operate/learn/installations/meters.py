"""Meters and energy: the Smart Meter Adapter, DSMR-reader, vzlogger, Venus OS, HeishaMon."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.operate.learn.installations.installation import Installation, Source, epoch, iso, rising, wave

if TYPE_CHECKING:
    import random

    from tests.operate.learn.installations.installation import Make

UNSET_CLOCK = 1_104_625_548  # 2005-01-02: a meter whose clock was never set


def _adapter(chance: random.Random, second: int) -> dict[str, Any]:
    time = UNSET_CLOCK + second if second < 300 else epoch(second)
    return {
        "0-0:96.1.1": {"value": "1ISK0000001"},
        "1-0:1.8.0": {"value": int(rising(83402, 0.1, second)), "time": time},
        "1-0:2.8.0": {"value": 0, "time": time},
        "1-0:1.7.0": {"value": chance.randrange(40, 900), "time": time},
        "1-0:2.7.0": {"value": 0, "time": time},
        "0-0:96.13.0": {"value": ""},
        "api_version": "v1",
        "name": "",
        "sma_time": rising(2360.4, 1, second, 1),
    }


smart_meter_adapter = Installation(
    "smart-meter-adapter",
    [Source("house/sma", 5, _adapter)],
    {"house/sma"},
    families={"smart-meter-adapter"},
    traps={"2005 clock": r"earliest is of 2005"},
)


def _telegram(chance: random.Random, second: int) -> dict[str, Any]:
    return {
        "id": 2864217 + second // 10,
        "timestamp": f"{iso(second)}Z",
        "electricity_delivered_1": f"{rising(12972.117, 0.0002, second):09.3f}",
        "electricity_returned_1": "00746.379",
        "electricity_delivered_2": f"{rising(14730.9, 0.0001, second):09.3f}",
        "electricity_returned_2": "01722.431",
        "electricity_currently_delivered": f"{wave(chance, 0.4, 0.3, 3):07.3f}",
        "electricity_currently_returned": "0000.00",
        "phase_currently_delivered_l1": None,
        "phase_voltage_l1": f"{wave(chance, 230, 4)}",
        "phase_power_current_l1": chance.randrange(0, 9),
        "extra_device_timestamp": f"{iso(0)}Z",
        "extra_device_delivered": "08950.179",
    }


dsmr_reader = Installation(
    "dsmr-reader",
    [
        Source("dsmr/json", 10, _telegram),
        Source(
            "dsmr/consumption/gas/json",
            300,
            lambda _, second: {
                "read_at": f"{iso(second, 1)}+01:00",
                "delivered": f"{rising(6573.284, 0.0002, second)}",
                "currently_delivered": "0.072",
            },
        ),
    ],
    {"dsmr/json", "dsmr/consumption/gas/json"},
    families={"dsmr-reader"},
)

vzlogger = Installation(
    "vzlogger",
    [
        Source("vzlogger/data/chn0/raw", 2, lambda chance, _: f"{wave(chance, 200, 600, 1):.6f}"),
        Source("vzlogger/data/chn1/raw", 2, lambda _, second: f"{rising(42601.95, 0.05, second, 4):.6f}"),
        Source("vzlogger/data/chn2/agg", 60, lambda chance, _: f"{wave(chance, 200, 600, 1):.6f}"),
    ],
    {"vzlogger/data/{channel}/{kind}"},
    {
        f"vzlogger/data/chn{number}/{name}": value
        for number, code in enumerate(("1-0:16.7.0*255", "1-0:1.8.0*255", "1-0:16.7.0*255"))
        for name, value in {"id": code, "uuid": f"dffbc5f0-3cb9-11ec-9bbc-0242ac13000{number}"}.items()
    },
    families={"vzlogger"},
    ignored=("/id", "/uuid"),
)

# Venus OS: {"value": x} for each value of each service; null when there is none now

PORTAL = "N/c0619ab93165"
VENUS = {
    "grid/30/Ac/Power": lambda chance, _: wave(chance, 400, 900, 2),
    "grid/30/Ac/L1/Voltage": lambda chance, _: wave(chance, 230, 4, 2),
    "grid/30/Ac/L2/Voltage": lambda chance, _: wave(chance, 230, 4, 2),
    "grid/30/Ac/Energy/Forward": lambda _, second: rising(812, 0.0002, second),
    "battery/512/Soc": lambda chance, _: wave(chance, 60, 20),
    "battery/512/Dc/0/Voltage": lambda chance, _: wave(chance, 52, 2, 2),
    "battery/512/Dc/0/Temperature": lambda chance, _: None if chance.random() < 0.1 else chance.randrange(15, 30),
    "system/0/Dc/Battery/Power": lambda chance, _: chance.randrange(-3000, 3000),
    "system/0/Dc/Pv/Power": lambda chance, _: None if chance.random() < 0.3 else wave(chance, 800, 500, 2),
    **{
        f"{service}/{path}": lambda chance, _: wave(chance, 50, 9, 2)
        for service, paths in {
            "vebus/276": (
                "Ac/ActiveIn/L1/P",
                "Ac/Out/L1/F",
                "Ac/Out/L1/I",
                "Ac/Out/L1/V",
                "Dc/0/Current",
                "Mode",
                "Soc",
            ),
            "solarcharger/279": ("Dc/0/Current", "Dc/0/Voltage", "History/Daily/0/Yield", "Load/I", "Pv/V", "State"),
            "tank/21": ("Capacity", "FluidType", "Level", "Remaining"),
            "temperature/24": ("Humidity", "Pressure", "Temperature", "TemperatureType"),
        }.items()
        for path in paths
    },
    "solarcharger/279/Yield/Power": lambda chance, _: wave(chance, 400, 300, 2),
}


def _venus_value(make: Make, chance: random.Random, second: int) -> dict[str, Any]:
    return {"value": make(chance, second)}


venus_os = Installation(
    "venus-os",
    [Source(f"{PORTAL}/{path}", 3, partial(_venus_value, make), number / 10)
     for number, (path, make) in enumerate(VENUS.items())]
    + [Source(f"{PORTAL}/keepalive", 30, lambda _, second: {"value": epoch(second)})],
    {"N/{level2}/{level3}"},
    {f"{PORTAL}/system/0/Serial": {"value": "c0619ab93165"}},
)  # fmt: skip

# HeishaMon: bare numbers and texts

HEISHAMON = {
    "Outside_Temp": lambda chance, _: str(chance.randrange(-5, 12)),
    "Main_Outlet_Temp": lambda chance, _: f"{wave(chance, 35, 4, 2)}",
    "Main_Inlet_Temp": lambda chance, _: f"{wave(chance, 31, 4, 2)}",
    "Compressor_Freq": lambda chance, _: str(chance.randrange(0, 60)),
    "Heat_Power_Consumption": lambda chance, _: str(chance.randrange(0, 30) * 100),
    "Operations_Hours": lambda _, second: str(12345 + second // 3600),
    "Heat_Pump_Model": lambda _, __: "E2 D5 0B 08 95 02 D6 0E 66 95",
}

heishamon = Installation(
    "heishamon",
    [
        Source(f"panasonic_heat_pump/main/{name}", 15, make, number)
        for number, (name, make) in enumerate(HEISHAMON.items())
    ],
    {"panasonic_heat_pump/main/{level3}"},
    {"panasonic_heat_pump/LWT": "Online"},
    ignored=("/LWT",),
)
