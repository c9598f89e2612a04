"""Long runs of `delivery: exactly_once`; each prints a row for `docs/guarantees.md`.

    python -m tests.faults.campaign mixed --kills 1000 --qos 2 --seed 1
    python -m tests.faults.campaign places --kills 200 --place "after PUBREC" --qos 2
    python -m tests.faults.campaign leaders --seconds 300
    python -m tests.faults.campaign outage --seconds 600 --rate 1000
    python -m tests.faults.campaign trace --seconds 30 --qos 2

kills       `kill -9` at random moments
mixed       the same among other faults of process, link, broker and Kafka; a standby takes over from a frozen gateway
places      the gateway kills itself at the places of `failpoints.py`, or at one of them
leaders     three Kafka nodes, min.insync.replicas 2: a node that leads is killed, and comes back, again and again
outage      Kafka is away for so long, the gateway is killed three times meanwhile, and sends what has queued up
trace       strace writes down what the gateway sends and receives (`commit_trace.py`)
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from tests.faults import proof
from tests.faults.commit_trace import TRACED, check
from tests.faults.device import BATCH
from tests.faults.failpoints import SuicidalGateway
from tests.faults.site import Site
from tests.faults.soak import Nemesis, Span
from tests.faults.strace import Strace
from tests.stack.gateway import Gateway
from tests.stack.kafka import Kafka
from tests.stack.registry import Registry
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSACTIONS = "__transaction_state"
BATCHES = 10  # a second, at high rates: the broker's small packets wait for TCP
LIKELY = {
    "kill_gateway": 60,
    "restart_gateway": 2,
    "freeze_gateway": 2,
    "cut_link": 4,
    "black_hole_link": 3,
    "restart_broker": 2,
    "freeze_kafka": 2,
    "kill_kafka": 2,
    "replace_gateway": 0.5,
}


def kills(site: Site, _kafka: Kafka, span: Span, seed: int) -> str:
    """Kill the gateway."""
    return f"{proof.kills(site, span, seed):,} kills"


def mixed(site: Site, kafka: Kafka, span: Span, seed: int) -> str:
    """Kill it among other faults."""
    nemesis = Nemesis(site, kafka, seed, LIKELY, longest_pause=proof.LONGEST_LIFE)
    nemesis.run(span)
    assert not nemesis.crashes, nemesis.crashes
    return ", ".join(f"{count:,} {fault.replace('_', ' ')}" for fault, count in nemesis.events.most_common())


def places(site: Site, _kafka: Kafka, span: Span, seed: int) -> str:
    """Let the gateway kill itself."""
    return f"{proof.places(site, span, seed):,} kills: {proof.where_killed(site)}"


def leaders(site: Site, kafka: Kafka, span: Span, seed: int) -> str:
    """Kill the leader of the readings, of the transactions or of the state, and start it again."""
    chance, kills, began = random.Random(seed), Counter[str](), time.monotonic()
    while not span.is_over(began, 0):
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


def outage(site: Site, kafka: Kafka, span: Span, _seed: int) -> str:
    """Take Kafka away, and kill the gateway three times meanwhile."""
    site.device.wait_for_more(500)
    kafka.kill()
    peaks = []
    for part in range(4):
        until, peak = time.monotonic() + span.seconds / 4, 0
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
    peaks.append(0)

    def is_sent() -> bool:
        peaks[-1] = max(peaks[-1], _resident_mebibytes(site.gateway.pid))
        with suppress(KafkaException, AssertionError):  # it is only just back, and does not yet know its partitions
            return site.gateway.metric("gateway_spooled") == 0 and site.count() >= len(site.device.promised)
        return False

    wait_for(is_sent, 1_200, "the backlog to be sent")
    took = time.monotonic() - began
    return f"{held:,} readings in {span.seconds:.0f} s, 3 kills, sent in {took:.0f} s, memory {peaks} MiB"


def _resident_mebibytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() >> 20


def trace(site: Site, _kafka: Kafka, span: Span, _seed: int) -> str:
    """Check the order of what is sent and received."""
    with Strace(site.gateway.pid, *TRACED) as strace:
        time.sleep(span.seconds)
        site.device.finish()
        strace.detach()
        answers = check(strace.lines, site.link.port)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(answers.items()))


RUNS: dict[str, Callable[[Site, Kafka, Span, int], str]] = {
    each.__name__: each for each in (kills, mixed, places, leaders, outage, trace)
}


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--kills", type=int, default=math.inf)
    parser.add_argument("--place", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--qos", type=int, default=1)
    parser.add_argument("--rate", type=float, default=proof.RATE)
    parser.add_argument("--delivery", default="exactly_once")
    given = parser.parse_args()
    settings = proof.SETTINGS | {"rate": given.rate, "batch": max(BATCH, round(given.rate / BATCHES))}
    settings |= {"qos": given.qos, "delivery": given.delivery}
    settings |= {"gateway": SuicidalGateway if given.name == "places" else Gateway}
    if given.name == "trace":
        settings["producer"] = {"compression.type": "none"}
    nodes = 3 if given.name == "leaders" else 1
    with Kafka(nodes) as kafka, Registry() as registry, tempfile.TemporaryDirectory() as folder:
        kafka.create_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
        with Site(kafka, registry.url, Path(folder), **settings) as site:
            SuicidalGateway.place = given.place
            site.gateway.start()
            with site.device:
                done = RUNS[given.name](site, kafka, Span(given.seconds, given.kills), given.seed)
                verdict = site.verdict(is_exact=False, dropped=None, seconds=600)
            done += f"; {site.aborted():,} records of aborted transactions, load {os.getloadavg()[2]:.1f}"
    figures = (verdict.promised, len(verdict.missing), verdict.duplicates, len(verdict.out_of_order))
    print(f"| {given.name} | {given.qos} | {given.seed} | {done} | {' | '.join(f'{each:,}' for each in figures)} |")
    print(verdict, flush=True)
    return 0 if verdict.is_clean and not verdict.duplicates else 1


if __name__ == "__main__":
    sys.exit(main())
