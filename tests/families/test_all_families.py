"""All families in one contract, on a real broker, Kafka and registry.

Each message has one place, in order of its key, and the ledger balances.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from gateway.operate.init import family as families
from tests.families.harness import Outcomes
from tests.families.test_families import HERE, table
from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

COUNTER = re.compile(r' "x-counter": \{[^{}]*\},')
TIMES = 3  # that each payload of the tables is published


def test_every_message_of_all_families_has_its_place(
    mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "asyncapi.yaml"
    families.add([families.family(name) for name in families.names()], path, [])
    for schema in tmp_path.glob("*.avsc"):  # the tables have readings of many meters under one key
        schema.write_text(COUNTER.sub("", schema.read_text()))
    path.write_text(path.read_text().replace("gateway-dead-letters", "families-dead-letters"))
    outcomes = Outcomes(path)
    messages = [(row.topic, row.payload.encode()) for name in families.names() for row in table(HERE / f"{name}.yaml")]
    messages *= TIMES
    random.Random(19).shuffle(messages)
    expected: dict[tuple[str, bytes | None], list[bytes]] = defaultdict(list)
    dropped: Counter[str] = Counter()
    dead = 0
    for topic, payload in messages:
        made = outcomes.of(topic, payload)
        if isinstance(made, list):
            for record, _ in made:
                expected[record.topic, record.key].append((record.value or b"")[5:])
        elif made.startswith("dead"):
            dead += 1
        else:
            dropped[made.removeprefix("dropped: ")] += 1
    broker = mosquitto()
    servers = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    with Gateway(servers, path) as gateway, Publisher(broker.port) as publisher:
        assert gateway.command("topics", "apply", "--yes", "-c", str(gateway.settings_file)).returncode == 0
        gateway.start(ready=False)
        gateway.wait_subscribed("broker")
        publisher.publish(messages)
        gateway.wait_settled(len(messages))
        assert {reason: gateway.metric("gateway_dropped_total", reason=reason) for reason in dropped} == dropped
        assert gateway.metric("gateway_dead_lettered_total") == dead
        ledger = gateway.stop_and_read_ledger()
    assert ledger["received"] == len(messages) == ledger["delivered"] + dead + dropped.total()
    found: dict[tuple[str, bytes | None], list[bytes]] = defaultdict(list)
    for topic, count in Counter(topic for (topic, _), values in expected.items() for _ in values).items():
        for stored in records(kafka.bootstrap, topic, count):
            found[topic, stored.key].append((stored.value or b"")[5:])
    assert found == expected
    assert len(records(kafka.bootstrap, "families-dead-letters", dead)) == dead
