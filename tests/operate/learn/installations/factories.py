"""Machines: a factory of 3,000 topics, and workshops in which something is wrong."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.operate.learn.installations.installation import Installation, Source, epoch, iso, rising, wave

if TYPE_CHECKING:
    import random

SENSORS = {"temperature": (60, 20), "vibration": (3, 2.5), "pressure": (6, 1)}


def _reading(machine: str, sensor: str, chance: random.Random, second: int) -> dict[str, Any]:
    middle, spread = SENSORS[sensor]
    return {
        "machine": machine,
        "sensor": sensor,
        "value": wave(chance, middle, spread, 2),
        "ts": epoch(second) * 1000,
    }


def factory(machines: int = 1000, every: int = 300) -> Installation:
    """Make a factory of so many machines with three sensors each."""
    return Installation(
        f"factory of {machines}",
        [
            Source(f"factory/machine-{number:04}/{sensor}", every,
                   partial(_reading, f"machine-{number:04}", sensor),
                   number * every / machines)
            for number in range(machines)
            for sensor in SENSORS
        ],
        {"factory/{machine}/{sensor}"},
    )  # fmt: skip


def _plain(machine: str) -> Any:
    return lambda chance, second: {
        "machine": machine,
        "temperature": wave(chance, 60, 20, 2),
        "cycles": int(rising(9000, 0.5, second)),
        "at": f"{iso(second)}Z",
    }


def _plain_sources(machines: range, every: float = 2) -> list[Source]:
    return [Source(f"workshop/m{number}/state", every, _plain(f"m{number}"), number / 20) for number in machines]


def _with_faults(machine: str) -> Any:
    """A number as text and a null, once each in a thousand messages or so."""

    def make(chance: random.Random, second: int) -> Any:
        value = _plain(machine)(chance, second)
        if second == 100:
            value["temperature"] = str(value["temperature"])
        if second == 200:
            value["temperature"] = None
        return value

    return make


odd_values = Installation(
    "odd values",
    [*_plain_sources(range(4)), Source("workshop/m4/state", 1, _with_faults("m4"))],
    {"workshop/{machine}/state"},
    traps={"a number as text once": r"(?i)text", "null once": r"null"},
)

lying_id = Installation(
    "lying id",
    [*_plain_sources(range(150), 20), Source("workshop/m150/state", 20, _plain("m1"))],
    {"workshop/{machine}/state"},
    traps={"a device that lies about its id": r"another /machine"},
)

deep_topics = Installation(
    "depth varies",
    [
        Source(
            f"site/{place}/climate",
            5,
            lambda chance, _: {"temperature": wave(chance, 20, 5), "humidity": wave(chance, 50, 9)},
            number,
        )
        for number, place in enumerate(("office", "hall/east", "hall/west", "store/cold/a", "store/cold/b", "roof"))
    ],
    {"site/{level2}/climate"},
)

junk = Installation(
    "junk",
    [
        *_plain_sources(range(5)),
        Source("camera/front/snapshot", 60, lambda chance, _: b"\xff\xd8\xff\xe0" + chance.randbytes(4000)),
        Source("backup/dump", 600, lambda chance, _: chance.randbytes(300 * 1024)),
        Source("backup/log", 600, lambda _, __: {"lines": ["x" * 100] * 3000}),
        Source("workshop/m1/state", 1200, lambda _, __: b"\x00\x01\x02", 601),
        Source("workshop/m2/state", 1200, lambda _, __: '{"machine":"m2",', 602),
    ],
    {"workshop/{machine}/state"},
    {
        "old/test": "hello",
        "workshop/m99/state": "",
        "workshop/gone/state": '{"temp":"?"}',
        "test/1": "{",
        "odd\u202ename": "1",
    },
    traps={"binary": r"camera/front/snapshot", "300 KiB": r"backup/dump", "retained junk": r"old/test"},
    ignored=("camera/", "backup/", "old/", "test/", "workshop/gone", "workshop/m99", "odd\u202e"),
)


def _pump(name: str) -> Any:
    return lambda chance, _: {"model": "pump", "name": name, "flow": wave(chance, 12, 4), "running": True}


def _valve(name: str) -> Any:
    return lambda chance, _: {"model": "valve", "name": name, "position": chance.randrange(101), "fault": None}


two_models = Installation(
    "two models on one topic",
    [Source("line/1/devices", 3, _pump(f"p{number}"), number / 3) for number in range(3)]
    + [Source("line/1/devices", 3, _valve(f"v{number}"), 1 + number / 3) for number in range(3)]
    + [Source("line/2/devices", 3, _pump("p9")), Source("line/2/devices", 3, _valve("v9"), 1)],
    {"line/{level2}/devices"},
    traps={"two models": r"pump|valve"},
)

unset_clock = Installation(
    "clock of 2005",
    [
        *_plain_sources(range(3)),
        Source("workshop/m3/state", 2, lambda chance, second: {
            **_plain("m3")(chance, second),
            "at": f"2005-01-02T00:{second // 60 % 60:02}:{second % 60:02}Z"}),
    ],
    {"workshop/{machine}/state"},
    traps={"2005 clock": r"earliest is of 2005"},
)  # fmt: skip
