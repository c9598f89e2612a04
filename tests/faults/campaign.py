"""Long runs of `delivery: exactly_once`; each prints a row for `docs/proof.md`.

    python -m tests.faults.campaign leaders --seconds 300 --seed 1
    python -m tests.faults.campaign outage --seconds 600 --rate 1000
    python -m tests.faults.campaign places --seconds 600 --qos 2
    python -m tests.faults.campaign trace --seconds 30 --qos 2

leaders     three Kafka nodes, min.insync.replicas 2: a node that leads is killed, and comes back, again and again
outage      Kafka is away for so long, the gateway is killed three times meanwhile, and sends what has queued up
places      the gateway kills itself at the places of `failpoints.py`
trace       strace writes down what the gateway sends and receives (`commit_trace.py`)
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from tests.faults import proof
from tests.faults.commit_trace import TRACED, check
from tests.faults.failpoints import SuicidalGateway
from tests.faults.site import KEEP_ALIVE, Site
from tests.faults.strace import Strace
from tests.stack.gateway import Gateway
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import OPEN_AND_PERSISTENT
from tests.stack.registry import Registry
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSACTIONS = "__transaction_state"


def leaders(site: Site, kafka: Kafka, seconds: float, seed: int) -> str:
    """Kill the leader of the readings, of the transactions or of the state, and start it again."""
    chance, kills, until = random.Random(seed), Counter[str](), time.monotonic() + seconds
    while time.monotonic() < until:
        topic = chance.choice([site.topic(), TRANSACTIONS, STATE_TOPIC])
        node = kafka.leader(topic)
        if node < 1:  # it is being elected
            time.sleep(0.1)
            continue
        kafka.kill(node)
        kills[topic.removesuffix(f"-{topic.rpartition('-')[2]}")] += 1
        site.device.wait_for_more(chance.randrange(50, 1_000), 120)
        kafka.start_node(node)
        site.device.wait_for_more(chance.randrange(50, 1_000), 120)
    return f"{kills.total()} leaders killed"


def outage(site: Site, kafka: Kafka, seconds: float, _seed: int) -> str:
    """Take Kafka away, and kill the gateway three times meanwhile."""
    site.device.wait_for_more(500)
    kafka.kill()
    peaks = []
    for part in range(4):
        until, peak = time.monotonic() + seconds / 4, 0
        while time.monotonic() < until:
            time.sleep(1)
            peak = max(peak, _resident_mebibytes(site.gateway.pid))
        peaks.append(peak)
        if part < 3:
            site.gateway.kill()
            site.gateway.start(ready=False)
    held, began = len(site.device.promised), time.monotonic()
    kafka.start()
    site.device.finish()
    wait_for(lambda: site.gateway.metric("gateway_spooled") == 0, 1_200, "the backlog to be sent")
    took = time.monotonic() - began
    return f"{held:,} readings in {seconds:.0f} s, 3 kills, sent in {took:.0f} s, memory {peaks} MiB"


def _resident_mebibytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() >> 20


def places(site: Site, _kafka: Kafka, seconds: float, seed: int) -> str:
    """Let the gateway kill itself."""
    count = proof.places(site, seconds, seed)
    found = Counter((site.gateway.folder / "places").read_text().splitlines())
    return f"{count} kills: {', '.join(f'{place} {number}' for place, number in sorted(found.items()))}"


def trace(site: Site, _kafka: Kafka, seconds: float, _seed: int) -> str:
    """Check the order of what is sent and received."""
    with Strace(site.gateway.pid, *TRACED) as strace:
        time.sleep(seconds)
        site.device.finish()
        strace.detach()
        answers = check(strace.lines, site.link.port)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(answers.items()))


RUNS: dict[str, Callable[[Site, Kafka, float, int], str]] = {
    each.__name__: each for each in (leaders, outage, places, trace)
}


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--qos", type=int, default=1)
    parser.add_argument("--rate", type=float, default=proof.RATE)
    given = parser.parse_args()
    settings: dict[str, Any] = {"spool": {"after": "1s"}, "rate": given.rate, "qos": given.qos}
    settings |= {"gateway": SuicidalGateway if given.name == "places" else Gateway, "delivery": "exactly_once"}
    settings |= {"configuration": OPEN_AND_PERSISTENT, "edits": {KEEP_ALIVE: "keepAlive: 2\n"}}
    if given.name == "trace":
        settings["producer"] = {"compression.type": "none"}
    nodes = 3 if given.name == "leaders" else 1
    with Kafka(nodes) as kafka, Registry() as registry, tempfile.TemporaryDirectory() as folder:
        kafka.create_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
        with Site(kafka, registry.url, Path(folder), **settings) as site:
            site.gateway.start()
            with site.device:
                told = RUNS[given.name](site, kafka, given.seconds, given.seed)
                verdict = site.verdict(is_exact=False, dropped=None, seconds=300)
    figures = (verdict.promised, len(verdict.missing), verdict.duplicates, len(verdict.out_of_order))
    print(f"| {given.name} | {given.qos} | {told} | {' | '.join(f'{each:,}' for each in figures)} |")
    print(verdict, flush=True)
    return 0 if verdict.is_clean and not verdict.duplicates else 1


if __name__ == "__main__":
    sys.exit(main())
