"""A household behind a real gateway: its contract, what is published, and what must have become of each reading."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import fastavro

from tests.core.household import SCHEMA, STEP, household
from tests.stack.gateway import ROOT
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count, records
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewTopic
    from tests.core.household import Expected
    from tests.stack.gateway import Gateway
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto

STREAM = "receiveMeters"
SIGNS = {"f": "fell", "j": "jumped"}
EXAMPLE = {"n": 1, "number": "1", "at": 1_767_607_200_000, "tariff_1": 2.5, "tariff_2": 1.5, "fed": 0.5, "gas": 1.5,
           "gas_at": 1, "power": -310.5}  # fmt: skip


class Found(NamedTuple):
    """What is in Kafka, by the number of the reading."""

    good: Counter[int]
    wrong: dict[int, str]  # reason
    is_in_order: bool  # the first copies of the good ones are


class House:
    """The household's topics and contract; the month ends now, so that no time of it is in the future."""

    def __init__(self, kafka: Kafka, topic: NewTopic, folder: Path, between: int) -> None:
        keeps = {"retention.ms": "-1", "message.timestamp.after.max.ms": "9223372036854775807"}
        self.kafka = kafka
        self.topic, self.dead = topic("meters", 1, keeps), topic("meter-dead-letters", 1)
        self.folder = folder
        count = sum(1 for _ in household(0, between))
        start = (int(time.time() * 1_000) - count * STEP) // 3_600_000 * 3_600_000
        self.readings = list(household(start, between))
        step = ROOT / "docs" / "steps" / "22"
        text = (step / "asyncapi.yaml").read_text().replace("{place}", "{house}").replace("{place:", "{house:")
        text = text.replace("#/place", "#/house").replace("address: meters\n", f"address: {self.topic}\n")
        text = text.replace("address: meter-dead-letters\n", f"address: {self.dead}\n").replace("2592000000", "-1")
        head, _, rest = text.partition("      examples: [{name: noon")
        tail = rest.partition("\n")[2]
        sent = json.dumps({"name": "noon", "payload": EXAMPLE})
        stored = json.dumps({"name": "noon", "payload": {"house": "house", **EXAMPLE}})
        middle, _, end = tail.partition("        - name: noon\n")
        text = f"{head}      examples: [{sent}]\n{middle}        - {stored}\n{end.partition(chr(10))[2]}"
        self.contract = folder / "asyncapi.yaml"
        self.contract.write_text(text)
        (folder / "meter.avsc").write_text(json.dumps(SCHEMA))

    def quiet_places(self) -> list[int]:
        """List places with 30 true readings before and after."""
        faults = [number for number, each in enumerate(self.readings) if each.fault]
        return [one + 30 for one, other in pairwise(faults) if other - one > 60]

    def servers(self, broker: Mosquitto, registry_url: str) -> dict[str, Any]:
        """Write the `servers` section of gateway.yaml."""
        kafka = {"host": self.kafka.bootstrap, "registry": {"url": registry_url}}
        return {"broker": {"host": f"127.0.0.1:{broker.port}"}, "kafka": kafka}

    def publish(self, broker: Mosquitto, readings: list[Expected]) -> None:
        """Let the household's meter publish."""
        with Publisher(broker.port) as publisher:
            publisher.publish(("meters/home", json.dumps(each.payload).encode()) for each in readings)

    def wait_settled(self, gateway: Gateway, count: int, seconds: float = 120) -> None:
        """Wait until each of the first readings is in Kafka, as a record or a dead letter."""
        wanted = {each.payload["n"] for each in self.readings[:count]}
        wait_for(lambda: gateway.metric("gateway_in_flight") + gateway.metric("gateway_spooled") == 0, seconds, "idle")
        wait_for(lambda: wanted <= self.found().good.keys() | self.found().wrong.keys(), seconds, "all readings")

    def found(self) -> Found:
        """Read both topics."""
        schema = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))
        stored = records(self.kafka.bootstrap, self.topic, record_count(self.kafka.bootstrap, self.topic), 120)
        bodies = (io.BytesIO((one.value or b"")[5:]) for one in stored)
        numbers: list[Any] = [fastavro.schemaless_reader(body, schema, None)["n"] for body in bodies]  # type: ignore[index,call-overload] # a record
        dead = records(self.kafka.bootstrap, self.dead, record_count(self.kafka.bootstrap, self.dead), 120)
        wrong = {json.loads(one.value or b"")["n"]: dict(one.headers)["error.reason"].decode() for one in dead}
        first = list(dict.fromkeys(numbers))
        return Found(Counter(numbers), wrong, first == sorted(first))

    def differences(self, found: Found) -> list[tuple[int, str, str, str]]:
        """List the readings that became something else than expected: number, fault, expected, found."""
        became = {n: found.wrong.get(n, "good") for n in found.good.keys() | found.wrong.keys()}
        return [
            (each.payload["n"], each.fault, each.sign, became.get(each.payload["n"], "missing"))
            for each in self.readings
            if SIGNS.get(each.sign, "good") != became.get(each.payload["n"], "missing")
        ]
