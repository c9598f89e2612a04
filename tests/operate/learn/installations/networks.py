"""LoRaWAN networks: ChirpStack 4, and The Things Stack, which leaves out members that are zero, false or empty."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.operate.learn.installations.installation import Installation, Source, iso, wave

if TYPE_CHECKING:
    import random

APPLICATION = "031709f4-457f-4e1c-a446-b9780838d050"
DEVICES = [f"01020304050607{number:02x}" for number in range(8)]


def _time(second: int) -> str:
    return f"{iso(second)}.123456789"


def _without_zeros(value: Any) -> Any:
    """Leave out what proto3 leaves out in JSON: zeros, false, empty texts; but not inside what a codec decoded."""
    if not isinstance(value, dict):
        return value
    inner = {key: one if key in {"object", "decoded_payload"} else _without_zeros(one) for key, one in value.items()}
    return {key: one for key, one in inner.items() if one not in (0, "", False, [], {}) or isinstance(one, dict)}


def _uplink(eui: str, chance: random.Random, second: int) -> Any:
    return _without_zeros(
        {
            "deduplicationId": f"{chance.getrandbits(64):016x}",
            "time": f"{_time(second)}+00:00",
            "deviceInfo": {
                "tenantId": "52f14cd4",
                "applicationId": APPLICATION,
                "applicationName": "Parking",
                "deviceProfileName": "US",
                "deviceName": f"spot {eui[-2:]}",
                "devEui": eui,
                "tags": {},
            },
            "devAddr": "009aa844",
            "adr": True,
            "dr": chance.randrange(6),
            "fCnt": second // 60,
            "fPort": 2,
            "confirmed": chance.random() < 0.1,
            "data": base64.b64encode(chance.randbytes(3)).decode(),
            "object": {"distance_cm": wave(chance, 172, 90), "state": chance.choice(["FREE", "TAKEN"])},
            "rxInfo": [
                {
                    "gatewayId": "dca632fffe52c445",
                    "uplinkId": chance.randrange(65536),
                    "rssi": -chance.randrange(60, 120),
                    "snr": wave(chance, 5, 6),
                    "crcStatus": "CRC_OK",
                }
            ],
            "txInfo": {
                "frequency": 867900000,
                "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}},
            },
        }
    )


chirpstack = Installation(
    "chirpstack",
    [
        Source(f"application/{APPLICATION}/device/{eui}/event/up", 60, partial(_uplink, eui), number * 7)
        for number, eui in enumerate(DEVICES)
    ]
    + [
        Source(
            f"application/{APPLICATION}/device/{DEVICES[0]}/event/join",
            1800,
            lambda _, second: {
                "deduplicationId": f"c9dbe{second}",
                "time": f"{_time(second)}+00:00",
                "devAddr": "00189440",
                "deviceInfo": {"applicationId": APPLICATION, "devEui": DEVICES[0]},
            },
        )
    ],
    {
        "application/{application}/device/{device}/event/up",
        "application/{application_id}/device/{dev_eui}/event/join",
    },
    families={"chirpstack"},
)


def _things_uplink(device: str, chance: random.Random, second: int) -> Any:
    return _without_zeros(
        {
            "end_device_ids": {
                "device_id": device,
                "application_ids": {"application_id": "icicle"},
                "dev_eui": "3036363266398F0D",
                "dev_addr": "260BED9C",
            },
            "correlation_ids": [f"gs:uplink:{chance.getrandbits(40):x}"],
            "received_at": f"{_time(second)}Z",
            "uplink_message": {
                "f_port": chance.choice([0, 1, 2]),
                "f_cnt": second // 45,
                "frm_payload": "AQ==",
                "decoded_payload": {"detected": chance.random() < 0.5, "level": chance.randrange(4)},
                "rx_metadata": [
                    {
                        "gateway_ids": {"gateway_id": "eui-ac1f09fffe09141b", "eui": "AC1F09FFFE09141B"},
                        "rssi": -chance.randrange(40, 120),
                        "snr": 13.5,
                    }
                ],
                "settings": {
                    "data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7}},
                    "frequency": "867300000",
                },
                "confirmed": chance.random() < 0.2,
                "consumed_airtime": "0.046336s",
            },
        }
    )


the_things_stack = Installation(
    "the-things-stack",
    [
        Source(f"v3/icicle@ttn/devices/{device}/up", 45, partial(_things_uplink, device), number * 5)
        for number, device in enumerate(("portenta-h7-00", "portenta-h7-01", "py-saxion"))
    ],
    {"v3/{application}/devices/{device}/up"},
    families={"the-things-stack"},
)  # fmt: skip


def _counter(device: str, chance: random.Random, second: int) -> Any:
    """A network of nobody's: its JSON is proto3's, so zero is left out, also where it is a reading."""
    return {"dev": device, "seq": second // 20 + 1} | {
        name: value
        for name, value in {
            "people": chance.randrange(3),
            "dark": chance.random() < 0.4,
            "zone": chance.choice(["", "a"]),
        }.items()
        if value
    }


zero_omitted = Installation(
    "zero-omitted",
    [
        Source(f"counters/{device}/state", 20, partial(_counter, device), number)
        for number, device in enumerate(("door-1", "door-2", "door-3"))
    ],
    {"counters/{dev}/state"},
    traps={"members left out": r"people"},
)  # fmt: skip
