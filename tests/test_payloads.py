"""Bare values, numbers in another unit and arrays, as `docs/contract.md` has them, through a running gateway."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import fastavro

from tests.stack.gateway import ROOT, Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import StoredRecord, records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

STEP = ROOT / "docs" / "steps" / "11"
TOPICS = ("oven-readings", "vibration", "doors", "plugs", "weighings", "oven-dead-letters")
LOAVES = [(f"scales/s{number % 3}", [{"at": 1000 * number + item, "weight": item} for item in range(5)])
          for number in range(60)]  # fmt: skip
GOOD = [
    ("plugs/mixer/power", b"43.5"),
    ("plugs/fan/power", b" -3\n"),
    ("doors/hall/state", b"open\n"),
    ("ovens/bread-1", b'{"probe": {"dC": 2315}, "at": 1767592800}'),
    *((topic, json.dumps(loaves).encode()) for topic, loaves in LOAVES),
]
BAD = [
    ("plugs/mixer/power", b'1,"plug":"x"'),
    ("plugs/mixer/power", b"21,5"),
    ("doors/hall/state", b"ajar"),
    ("ovens/bread-1", b'{"probe": {"dC": 2315}, "at": 1767592800.0001}'),
    ("scales/s1", b'[{"at": 1, "weight": 1}, {"at": 2, "weight": "heavy"}]'),
    ("scales/s1", b"[]"),
]


def decoded(stored: StoredRecord, schema: str) -> Any:
    """Give the record's value without its frame."""
    definition = fastavro.parse_schema(json.loads((STEP / schema).read_text()))
    return fastavro.schemaless_reader(io.BytesIO((stored.value or b"")[5:]), definition, None)


def test_run_takes_bare_values_units_and_arrays(
    kafka: Kafka, topic: NewTopic, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """Each comes out as the page says; of an array the records in order, or one dead letter; the books balance."""
    shutil.copytree(STEP, tmp_path, dirs_exist_ok=True)
    contract = tmp_path / "asyncapi.yaml"
    text, named = contract.read_text(), {name: topic(partitions=3) for name in TOPICS}
    for name, made in named.items():
        text = text.replace(f"address: {name}\n", f"address: {made}\n")
    contract.write_text(text)
    broker = mosquitto()
    told = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    with Gateway(told, contract) as gateway:
        config = ("-c", str(gateway.settings_file))
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([*GOOD, *BAD])
        gateway.wait_settled(len(GOOD) + len(BAD))
        ledger = gateway.stop_and_read_ledger()
        explained = gateway.command("dlq", "list", *config, "--format", "json").stdout
        schema = contract.parent / "weighing.avsc"
        schema.write_text(schema.read_text().replace('"type": "double"', '"type": ["double", "string"]'))
        done = gateway.command("dlq", "replay", *config, "--format", "json")
        again = gateway.command("dlq", "replay", *config, "--format", "json")
    assert (ledger["delivered"], ledger["dead_lettered"], ledger["balanced"]) == (len(GOOD), len(BAD), True)
    assert {(one["reason"], one["pointer"]) for one in json.loads(explained)} == {
        ("not_json", ""), ("bad_format", ""), ("not_exact", "/at"), ("wrong_type", "/1/weight"), ("empty", ""),
    }  # fmt: skip
    assert [json.loads(each.stdout)["replayed"] for each in (done, again)] == [1, 0], done.stdout + done.stderr

    plugs = [decoded(one, "plug.avsc") for one in records(kafka.bootstrap, named["plugs"], 2)]
    assert {(one["plug"], one["power"]) for one in plugs} == {("mixer", 43.5), ("fan", -3.0)}
    (door,) = records(kafka.bootstrap, named["doors"], 1)
    assert (door.key, decoded(door, "door.avsc")) == (b"hall", {"door": "hall", "state": "open"})
    (oven,) = records(kafka.bootstrap, named["oven-readings"], 1)
    assert decoded(oven, "oven.avsc")["temperature"] == 231.5

    stored = records(kafka.bootstrap, named["weighings"], 5 * len(LOAVES) + 2)
    first = stored_of(stored)
    for scale in ("s0", "s1", "s2"):
        wanted = [(scale, loaf["weight"]) for where, loaves in LOAVES for loaf in loaves if where == f"scales/{scale}"]
        assert first[scale] == wanted


def stored_of(stored: list[StoredRecord]) -> dict[str, list[tuple[str, float]]]:
    """Give what stands in Kafka of each key, in its order, but for what was replayed."""
    found: dict[str, list[tuple[str, float]]] = {"s0": [], "s1": [], "s2": []}
    for one in stored:
        key = (one.key or b"").decode()
        if len(found[key]) < 5 * len(LOAVES) // 3:
            found[key].append((key, decoded(one, "weighing.avsc")["weight"]))
    return found
