"""Write `docs/proof.md`: what became of each reading while gateways were killed, for both modes and QoS.

    python -m tests.faults.proof --seconds 60 --seed 1

Real Mosquitto and Kafka; a device publishes numbered readings, and a reader of committed records checks them.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from tests.faults.failpoints import SuicidalGateway
from tests.faults.site import KEEP_ALIVE, Site, is_gone
from tests.faults.soak import LIKELY, Nemesis, Span
from tests.stack.gateway import ROOT, Gateway
from tests.stack.kafka import Kafka
from tests.stack.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.ledger_verdict import Verdict

RATE = 200
LONGEST_LIFE = 1.5  # of a gateway that is killed, seconds from its start
SETTINGS: dict[str, Any] = {"spool": {"after": "1s"}, "edits": {KEEP_ALIVE: "keepAlive: 2\n"}, "rate": RATE}
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


def kills(site: Site, span: Span, seed: int) -> int:
    """Kill the gateway at random moments."""
    chance, count, began = random.Random(seed), 0, time.monotonic()
    while not span.is_over(began, count):
        time.sleep(chance.uniform(0, LONGEST_LIFE))
        site.gateway.kill()
        site.gateway.start(ready=False)
        count += 1
    return count


def places(site: Site, span: Span, _seed: int) -> int:
    """Start the gateway again each time that it has killed itself; the last one lives."""
    count, began = -1, time.monotonic()  # the first kill is not its own
    assert isinstance(site.gateway, SuicidalGateway)
    site.gateway.is_suicidal = True
    os.kill(site.gateway.pid, signal.SIGKILL)
    while not span.is_over(began, count):
        time.sleep(0.02)
        if (code := is_gone(site.gateway)) is not None:
            assert code == -signal.SIGKILL, site.gateway.log[-2000:]
            count += 1
            site.gateway.stop()
            site.gateway.launch_command("run", "-c", site.gateway.settings_file)
    site.gateway.is_suicidal = False
    site.gateway.stop()
    site.gateway.start(ready=False)
    return count


def mixed(site: Site, span: Span, seed: int, kafka: Kafka) -> int:
    """Break everything but Mosquitto's own memory."""
    nemesis = Nemesis(site, kafka, seed, LIKELY | {"kill_broker": 0})
    nemesis.run(span)
    return nemesis.events.total()


def run(kafka: Kafka, registry: str, name: str, seconds: float, seed: int, **settings: Any) -> tuple[int, Verdict, str]:
    """Make one run; give the number of faults, the verdict, and where the gateway killed itself."""
    kind: type[Gateway] = SuicidalGateway if name == "places" else Gateway
    given = SETTINGS | {"gateway": kind} | settings
    steps: dict[str, Callable[[Site, Span, int], int]] = {
        "kills": kills,
        "places": places,
        "mixed": lambda site, span, seed: mixed(site, span, seed, kafka),
    }
    with tempfile.TemporaryDirectory() as folder, Site(kafka, registry, Path(folder), **given) as site:
        site.gateway.start()  # before the device: until there is a session the broker keeps nothing for us
        with site.device:
            faults = steps[name](site, Span(seconds), seed)
            verdict = site.verdict(is_exact=False, dropped=None, seconds=120)
        return faults, verdict, where_killed(site)


def where_killed(site: Site) -> str:
    """List the places at which the gateway killed itself, and how often."""
    path = site.gateway.folder / "places"
    found = Counter(path.read_text().splitlines()) if path.exists() else Counter[str]()
    return ", ".join(f"{place} {count}" for place, count in sorted(found.items()))


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
