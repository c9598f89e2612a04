"""`python -m tests.security.token_campaign --rate 5000 --down 120`: an OAuth endpoint that is down, under load.

A real Kafka verifies tokens of a minute. Their endpoint is up, refuses connections for two minutes, and is up again.
Takes five minutes, and prints what was sent, missing and repeated, and the rate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.security.test_oauth import CLIENT, SECRET, secret_file, servers
from tests.service.reload_campaign import IN_MEMORY
from tests.service.reload_site import Flow, Load, ReloadSite
from tests.stack.gateway import ExecutedGateway
from tests.stack.identity import IdentityProvider
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import Mosquitto
from tests.stack.registry import Registry

FLOW = Flow("a/{machine}/one", "one")
SETTLED_SECONDS = 600


def campaign(rate: int, up: float, down: float, lifetime: float) -> None:
    """Run it, and print the figures."""
    with (
        tempfile.TemporaryDirectory() as name,
        IdentityProvider(Path(name), (CLIENT, SECRET)) as identity,
        Kafka(jwks=identity.jwks) as kafka,
        Registry() as registry,
        Mosquitto(IN_MEMORY) as broker,
    ):
        identity.lifetime_seconds = lifetime
        flows = {"one": FLOW}
        site = ReloadSite(Path(name), broker, kafka, registry, flows, is_started=False, gateway=ExecutedGateway)
        site.set_server("kafka", **servers(identity, kafka, registry)["kafka"])
        secret_file(site.gateway.folder)
        with site:
            site.gateway.start()
            process, began = site.pid, time.monotonic()
            figures: list[tuple[int, int]] = []
            with Load(broker.port, ["a/{}/one"], rate, machines=50) as load:
                _watch(site, up, figures)
                identity.stop()
                granted = len(identity.issued)
                _watch(site, down, figures)
                state = site.gateway.states()["kafka"]
                identity.start()
                back = time.monotonic()
                _watch(site, up, figures)
            seconds, sent = time.monotonic() - began, load.sent
            site.gateway.wait_settled(sent.total(), SETTLED_SECONDS)
            drained = time.monotonic() - back
            restarts = int(not (site.gateway.is_running and site.pid == process))
            ledger = site.gateway.stop_and_read_ledger()
            found = {machine: Counter(numbers) for machine, numbers in site.numbers("one").items()}
    missing = sum(count - len(found.get(machine, ())) for machine, count in sent.items())
    repeated = sum(numbers.total() - len(numbers) for numbers in found.values())
    print(f"sent {sent.total():,}, missing {missing}, repeated {repeated}; ledger {ledger}")
    print(f"{sent.total() / seconds:,.0f}/s of {rate:,}/s; restarts {restarts}")
    print(f"tokens: {granted} before the endpoint went down, {len(identity.issued)} in all; state meanwhile: {state}")
    spooled, memory = max(each for each, _ in figures), [each for _, each in figures][:: max(1, len(figures) // 10)]
    print(
        f"at most {spooled:,} waited; all were in Kafka {drained:.0f} s after the endpoint came back; RSS MiB {memory}"
    )


def _watch(site: ReloadSite, seconds: float, figures: list[tuple[int, int]]) -> None:
    """Note once a second how many readings wait, and the memory in MiB."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))
        figures.append((int(site.gateway.metric("gateway_spooled")), site.resident_mebibytes))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--up", type=float, default=75, help="seconds with the endpoint, before and after")
    parser.add_argument("--down", type=float, default=120, help="seconds without it")
    parser.add_argument("--lifetime", type=float, default=60, help="seconds of a token")
    given = parser.parse_args()
    campaign(given.rate, given.up, given.down, given.lifetime)


if __name__ == "__main__":
    main()
