"""`python -m tests.service.reload_campaign --reloads 200 --rate 5000`: reloads under load, and what they cost.

In turns a stream is added, taken away, given another schema or another name, and the contract is broken. Prints missing
and repeated readings, the connections that the broker logged, and the longest turns of the loop, which are measured in
the gateway's process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from tests.service.reload_site import Flow, Load, ReloadSite
from tests.stack.gateway import ExecutedGateway
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import Mosquitto
from tests.stack.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

# A broker that writes its store after each change is too slow for this.
IN_MEMORY = "listener 1883\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
TURNS = "turns.json"  # in the gateway's folder
LONG_SECONDS = 0.02

ONE, TWO, THREE = (Flow(f"a/{{machine}}/{word}", word) for word in ("one", "two", "three"))
WIDER = Flow("a/{machine}/two", "two", {"extra": "string"})
STEPS: tuple[Mapping[str, Flow] | None, ...] = (  # None: a broken contract
    {"one": ONE, "two": TWO, "three": THREE},
    {"one": ONE, "two": WIDER, "three": THREE},
    None,
    {"one": ONE, "renamed": TWO, "three": THREE},
    {"one": ONE, "two": TWO},
)


class TimedGateway(ExecutedGateway):
    """A gateway that writes how long its turns took."""

    def launch_command(self, *arguments: str | Path, **environment: str) -> None:
        """Start it through this module."""
        variables = [f"{name}={value}" for name, value in {**environment, "TURNS": str(self.folder / TURNS)}.items()]
        module = "tests.service.reload_campaign"
        self.launch(["/usr/bin/env", *variables, sys.executable, "-m", module, "--gateway", *arguments])


def run_gateway(arguments: list[str]) -> None:
    """Run the gateway, and note the turns that took long, their waits left out, and what was exchanged."""
    from gateway.bridge.bridge import Bridge  # noqa: PLC0415 - only in the gateway's process
    from gateway.cli import make_app  # noqa: PLC0415 - as above
    from gateway.service import hangup  # noqa: PLC0415 - as above
    from gateway.service.reload import Reloader  # noqa: PLC0415 - as above

    hangup.install()
    noted: list[tuple[str, float, float]] = []  # name, seconds, of which this thread waited for a processor
    schedstat = Path(f"/proc/self/task/{os.getpid()}/schedstat")  # ns: running, waiting for a processor

    def delay() -> float:
        return int(schedstat.read_text().split()[1]) / 1e9

    def turn(self: Bridge) -> None:
        run_once(self)
        seconds = time.monotonic() - self.turned_at
        if seconds > LONG_SECONDS:
            noted.append(("turn", seconds, delay() - began[0]))

    def wait(self: Bridge) -> None:
        sleep(self)
        began[0] = delay()

    def adopt(self: Reloader) -> None:
        is_due, at, before = self._due is not None, time.monotonic(), delay()
        adopt_due(self)
        if is_due:
            noted.append(("adopt", time.monotonic() - at, delay() - before))

    began, run_once, sleep, adopt_due = [0.0], Bridge.run_once, Bridge._wait, Reloader.adopt_due  # noqa: SLF001 - as above
    for owner, name, timed in ((Bridge, "run_once", turn), (Bridge, "_wait", wait), (Reloader, "adopt_due", adopt)):
        setattr(owner, name, timed)
    try:
        make_app()(arguments, standalone_mode=False)
    finally:
        Path(os.environ["TURNS"]).write_text(json.dumps(noted))


def campaign(reloads: int, rate: int, delivery: str, pause: float) -> None:
    """Run it, and print the figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(IN_MEMORY) as broker,
        Kafka() as kafka,
        Registry() as registry,
    ):
        kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
        site = ReloadSite(
            Path(folder), broker, kafka, registry, STEPS[-1] or {}, gateway=TimedGateway, delivery=delivery
        )
        with site:
            load = Load(broker.port, ["a/{}/one", "a/{}/two"], rate, machines=50)
            expected: Counter[str] = Counter()
            rss = [site.resident_mebibytes]
            with load:
                load.wait_for(rate)
                for number in range(reloads):
                    flows = STEPS[number % len(STEPS)]
                    if flows is None:
                        good = site.contract.read_text()
                        site.contract.write_text(good.replace('"receive"', '"recieve"', 1))
                        site.reload("refused")
                        site.contract.write_text(good)
                    else:
                        load.topics = [topic for topic in load.topics if "three" not in topic or "three" in flows]
                        time.sleep(pause)
                        site.change(flows)
                        load.topics = [
                            f"a/{{}}/{name}" for name in ("one", "two", "three") if name != "three" or name in flows
                        ]
                    expected["refused" if flows is None else "accepted"] += 1
                    time.sleep(pause)
                    if number % 20 == 19:
                        rss.append(site.resident_mebibytes)
                        print(number + 1, site.outcomes(), "RSS MiB", rss[-1], "sent", load.sent.total(), flush=True)
            site.gateway.wait_settled(load.sent.total(), 300)
            connects = site.gateway.metric("gateway_mqtt_connects_total")
            outcomes = site.outcomes()
            ledger = site.gateway.stop_and_read_ledger()
            found = site.numbers("one", "two", "three")
            missing = repeated = disordered = 0
            for machine, count in load.sent.items():
                counts = Counter(found[machine])
                missing += count - len(counts)
                repeated += counts.total() - len(counts)
            for topic in ("one", "two", "three"):
                disordered += sum(each != sorted(each) for each in site.numbers(topic).values())
            turns = json.loads((site.gateway.folder / TURNS).read_text())
        connections = broker.log.count(f"as reload-{site.suffix}")
    print(f"reloads {dict(outcomes)} (expected {dict(expected)}), sent {load.sent.total()} at {rate}/s, {delivery}")
    print(f"missing {missing}, repeated {repeated}, machines out of order in a topic {disordered}")
    print(f"connects {connects}, CONNECT packets in the broker's log {connections}; ledger {ledger}; RSS MiB {rss}")
    for name in ("turn", "adopt"):
        own = [(seconds, delay) for each, seconds, delay in turns if each == name]
        plain = sorted((round(1000 * seconds, 1) for seconds, _ in own), reverse=True)
        running = sorted((round(1000 * (seconds - delay), 1) for seconds, delay in own), reverse=True)
        print(f"{name}: {len(own)} noted, longest {plain[:6]} ms; without waiting for a processor {running[:12]} ms")


def main() -> None:
    """Parse the command line."""
    if sys.argv[1:2] == ["--gateway"]:
        run_gateway(sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--delivery", default="at_least_once")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds before and after a reload")
    given = parser.parse_args()
    campaign(given.reloads, given.rate, given.delivery, given.pause)


if __name__ == "__main__":
    main()
