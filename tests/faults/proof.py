"""Write `docs/proof.md`: what became of each reading while gateways were killed, for both modes and QoS.

    python -m tests.faults.proof --seconds 60 --seed 1

Real Mosquitto and Kafka; a device publishes numbered readings, and a reader of committed records judges them.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from tests.faults.failpoints import SuicidalGateway
from tests.faults.site import KEEP_ALIVE, Site, is_gone
from tests.faults.soak import Nemesis
from tests.stack.gateway import ROOT, Gateway
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import OPEN_AND_PERSISTENT
from tests.stack.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.ledger_verdict import Verdict

RATE = 200
HEAD = """# Proof

What `make proof` measured: gateways were killed and their peers broken while a device published {rate} numbered
readings a second, to a real Mosquitto; a reader of committed records then looked for each of them in a real Kafka.

| run | what happens |
|---|---|
| kills | `kill -9` at random moments, also while the gateway sends what has queued up; then it starts again |
| places | the gateway kills itself, with 2 % each time, where a crash is most likely to do harm; the list is below |
| mixed | `kill -9`, stops, freezes, cut links, restarts of Mosquitto, a frozen or killed Kafka, failing disks |

| run | delivery | QoS | seed | faults | readings | missing | duplicates | out of order |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""
Run = tuple[str, int, "Verdict"]  # name, faults


def kills(site: Site, seconds: float, seed: int) -> int:
    """Kill the gateway at random moments."""
    chance, count, until = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(chance.uniform(0, 3))
        site.gateway.kill()
        site.gateway.start(ready=False)
        count += 1
    return count


def places(site: Site, seconds: float, _seed: int) -> int:
    """Start the gateway again each time that it has killed itself; the last one lives."""
    count, until = 0, time.monotonic() + seconds
    assert isinstance(site.gateway, SuicidalGateway)
    site.gateway.kill()
    site.gateway.is_suicidal = True
    while time.monotonic() < until:
        time.sleep(0.02)
        if is_gone(site.gateway) is not None:
            count += 1
            site.gateway.stop()
            site.gateway.launch_command("run", "-c", site.gateway.settings_file)
    site.gateway.is_suicidal = False
    site.gateway.stop()
    site.gateway.start(ready=False)
    return count


def mixed(site: Site, seconds: float, seed: int, kafka: Kafka) -> int:
    """Break everything but Mosquitto's own memory."""
    nemesis = Nemesis(site, kafka, seed, without=["kill_broker"])
    nemesis.run(seconds)
    return nemesis.events


def run(kafka: Kafka, registry: str, name: str, seconds: float, seed: int, **settings: Any) -> tuple[int, Verdict, str]:
    """Make one run; give the number of faults, the verdict, and where the gateway killed itself."""
    kind: type[Gateway] = SuicidalGateway if name == "places" else Gateway
    given: dict[str, Any] = {"configuration": OPEN_AND_PERSISTENT, "edits": {KEEP_ALIVE: "keepAlive: 2\n"}}
    given |= {"rate": RATE, "spool": {"after": "1s"}, "gateway": kind}
    steps: dict[str, Callable[[Site, float, int], int]] = {
        "kills": kills,
        "places": places,
        "mixed": lambda site, seconds, seed: mixed(site, seconds, seed, kafka),
    }
    with tempfile.TemporaryDirectory() as folder, Site(kafka, registry, Path(folder), **given, **settings) as site:
        site.gateway.start()  # before the device: until there is a session the broker keeps nothing for us
        with site.device:
            faults = steps[name](site, seconds, seed)
            verdict = site.verdict(is_exact=False, dropped=None, seconds=120)
        path = site.gateway.folder / "places"
        found = Counter(path.read_text().splitlines()) if path.exists() else Counter[str]()
    return faults, verdict, ", ".join(f"{place} {count}" for place, count in sorted(found.items()))


def main() -> None:
    """Make all runs, and write the page after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    both = [(delivery, qos) for delivery in ("at_least_once", "exactly_once") for qos in (1, 2)]
    plan = [(name, *each) for name in ("kills", "places", "mixed") for each in both]
    text, notes = HEAD.format(rate=RATE), ""
    with Kafka() as kafka, Registry() as registry:
        kafka.create_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
        for seed, (name, delivery, qos) in enumerate(plan, given.seed):
            faults, verdict, where = run(kafka, registry.url, name, given.seconds, seed, delivery=delivery, qos=qos)
            figures = (faults, verdict.promised, len(verdict.missing), verdict.duplicates, len(verdict.out_of_order))
            text += f"| {name} | `{delivery}` | {qos} | {seed} | {' | '.join(f'{each:,}' for each in figures)} |\n"
            notes += f"- `{delivery}`, QoS {qos}: {where}.\n" if where else ""
            page = f"{text}\nWhere the gateways killed themselves:\n\n{notes}" if notes else text
            (ROOT / "docs" / "proof.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
