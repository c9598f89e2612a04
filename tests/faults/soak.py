"""The nemesis: faults of every kind in an order that a seed decides, under load, with a verdict at the end.

    python -m tests.faults.soak --minutes 10 --seed 1

Prints each event, then missing, duplicates, out of order and balance; exits 1 when a promise was broken. What the
broker itself loses at a kill -9 is not the gateway's: Mosquitto writes its store after each change, but after the
PUBACK, so numbers that it acknowledged in the last two seconds before its kill may be missing.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import ExitCode
from tests.faults.site import KEEP_ALIVE, Site, is_gone
from tests.faults.strace import Strace
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import OPEN_AND_PERSISTENT
from tests.stack.registry import Registry
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.faults.ledger_verdict import Verdict
    from tests.stack.gateway import Gateway

UNSAVED_SECONDS = 2.0
DISK_GAVE_UP = 74  # the exit code after failing fsyncs; systemd starts the gateway again
LONGEST_PAUSE, LONGEST_FREEZE = 2.0, 3.0
REPLACED_SECONDS = 20
# How often each fault comes, by the name of its method; one that is missing never comes.
LIKELY = {
    "kill_gateway": 6,
    "restart_gateway": 2,
    "freeze_gateway": 2,
    "cut_link": 3,
    "freeze_broker": 2,
    "restart_broker": 1,
    "kill_broker": 1,
    "freeze_kafka": 2,
    "kill_kafka": 1,
    "trouble_disk": 3,
}
SPEED_MATTERS = {"kill_broker": 0, "trouble_disk": 0}  # to when the broker saves, and to strace
INJECTIONS = {
    "slow disk": "fdatasync:delay_enter=200000",
    "failed fsync": "fdatasync:error=EIO:when=2",
    "full disk": "pwrite64:error=ENOSPC",
}


class Span(NamedTuple):
    """How long faults go on: for so many seconds, or until the gateway was killed so many times."""

    seconds: float = math.inf
    kills: float = math.inf

    def is_over(self, began: float, kills: int) -> bool:
        """Tell whether it is, by the monotonic time of the start."""
        return kills >= self.kills or time.monotonic() - began >= self.seconds


class Nemesis:
    """Breaks a site, one fault after the other.

    Args:
        site: its gateway runs.
        kafka: its cluster.
        seed: decides faults and pauses.
        likely: how often each fault comes.
        longest_pause: between two faults, seconds.
    """

    def __init__(
        self,
        site: Site,
        kafka: Kafka,
        seed: int,
        likely: Mapping[str, float] = LIKELY,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self.events: Counter[str] = Counter()
        self.excused: set[int] = set()
        self.crashes: list[int] = []
        self._site = site
        self._kafka = kafka
        self._chance = random.Random(seed)
        self._clock = threading.Event()  # never set: it only paces
        self._likely = likely
        self._longest_pause = longest_pause
        self._standby: Gateway | None = None

    def run(self, span: Span) -> None:
        """Break things for so long, then leave everything whole and running."""
        began = time.monotonic()
        while not span.is_over(began, self.events["kill_gateway"]):
            self._pause(self._longest_pause)
            self._revive()
            (fault,) = self._chance.choices(list(self._likely), list(self._likely.values()))
            self.events[fault] += 1
            print(f"{self.events.total():4} {fault.replace('_', ' ')}", flush=True)
            getattr(self, fault)()
        self._revive()
        self.restart_gateway()  # its back-off begins anew

    def kill_gateway(self) -> None:
        """As a power cut does."""
        self._site.gateway.kill()
        self._start()

    def restart_gateway(self) -> None:
        """As an update does."""
        self._revive()
        self._site.terminate(15)
        self._start()

    def freeze_gateway(self) -> None:
        """Longer than the keep-alive at times."""
        self._site.gateway.freeze()
        self._pause(LONGEST_FREEZE)
        self._site.gateway.thaw()

    def cut_link(self) -> None:
        """Reset the gateway's connections to the broker."""
        self._site.link.cut()

    def black_hole_link(self) -> None:
        """Longer than the keep-alive at times; what was sent meanwhile arrives after it."""
        self._site.link.black_hole()
        self._pause(2 * LONGEST_FREEZE)
        self._site.link.heal()

    def replace_gateway(self) -> None:
        """Freeze it while a standby takes over, which then works on; the two change places each time.

        What is on the disk of the frozen one would be delivered late, so there must be nothing. It must have started:
        one that is frozen while it starts takes over from the standby when it goes on.
        """
        frozen, standby = self._site.gateway, self._standby or self._site.another_gateway()
        wait_for(
            lambda: frozen.is_ready() and frozen.metric("gateway_spooled") == 0, 120,
            "the gateway to be ready and its disk to be empty",
        )  # fmt: skip
        frozen.freeze()
        until = time.monotonic() + REPLACED_SECONDS
        standby.start()
        self._clock.wait(max(0, until - time.monotonic()))
        frozen.thaw()
        wait_for(
            lambda: is_gone(frozen) is not None, 120,
            lambda: f"the frozen gateway to end:\n{frozen.log[-3000:]}\nits standby:\n{standby.log[-3000:]}",
        )  # fmt: skip
        assert is_gone(frozen) == ExitCode.SPOOL_TAKEN, frozen.log[-3000:]
        frozen.stop()
        self._site.gateway, self._standby = standby, frozen

    def freeze_broker(self) -> None:
        """A half-open link."""
        self._site.broker.freeze()
        self._pause(LONGEST_FREEZE)
        self._site.broker.thaw()

    def restart_broker(self) -> None:
        """Cleanly."""
        self._site.broker.restart()

    def kill_broker(self) -> None:
        """With what it has not saved."""
        self._site.broker.kill()
        since = time.monotonic() - UNSAVED_SECONDS
        promised = dict(self._site.device.promised)
        self.excused |= {number for number, at in promised.items() if at >= since}
        self._site.broker.start()

    def freeze_kafka(self) -> None:
        """Connections stay, nothing answers."""
        self._kafka.freeze()
        self._pause(2 * LONGEST_FREEZE)
        self._kafka.thaw()

    def kill_kafka(self) -> None:
        """And start it again."""
        self._kafka.kill()
        self._pause(LONGEST_PAUSE)
        self._kafka.start()

    def trouble_disk(self) -> None:
        """Slow, failing or full, while Kafka is away, so that the disk is needed."""
        name = self._chance.choice(list(INJECTIONS))
        print(f"     {name}", flush=True)
        call = INJECTIONS[name].partition(":")[0]
        self._kafka.freeze()
        with contextlib.suppress(AssertionError):  # noqa: SIM117 - it may end, or have ended, under strace
            with Strace(self._site.gateway.pid, "-e", f"trace={call}", "-e", f"inject={INJECTIONS[name]}"):
                self._pause(LONGEST_FREEZE)
        self._kafka.thaw()

    def _start(self) -> None:
        self._site.gateway.start(ready=False)

    def _revive(self) -> None:
        """Start a gateway that ended by itself, as systemd does, and note why it ended."""
        code = is_gone(self._site.gateway)
        if code is not None:
            print(f"     the gateway had ended with {code}", flush=True)
            if code != DISK_GAVE_UP:
                self.crashes.append(code)
            self._site.gateway.stop()
            self._start()

    def _pause(self, longest: float) -> None:
        self._clock.wait(self._chance.uniform(0, longest))


def soak(
    kafka: Kafka, registry: str, folder: Path, seconds: float, seed: int, *, likely: Mapping[str, float] = LIKELY
) -> tuple[Verdict, Nemesis]:
    """Break a site for so long and check it.

    Args:
        kafka: may be broken; whole afterwards.
        registry: URL.
        folder: for the contract.
        seconds: how long.
        seed: decides everything but the timing of the machine.
        likely: how often each fault comes.

    Returns:
        The verdict and the nemesis, which knows what it did.
    """
    chance = random.Random(seed)
    spool = {"when": chance.choice(["outage", "always"]), "after": chance.choice(["50ms", "1s"])}
    print(f"seed {seed}, spool {spool}", flush=True)
    impatient = {KEEP_ALIVE: "keepAlive: 2\n"}
    configuration = OPEN_AND_PERSISTENT
    with Site(kafka, registry, folder, configuration=configuration, edits=impatient, spool=spool, rate=300) as site:
        site.gateway.start()
        nemesis = Nemesis(site, kafka, seed, likely)
        with site.device:
            nemesis.run(Span(seconds))
            verdict = site.verdict(is_exact=False, dropped=None, excused=frozenset(nemesis.excused), seconds=120)
        print(
            f"seed {seed}: {nemesis.events.total()} events, {len(nemesis.excused)} excused, crashes {nemesis.crashes}"
        )
        print(verdict, flush=True)
        return verdict, nemesis


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with Kafka() as kafka, Registry() as registry, tempfile.TemporaryDirectory() as folder:
        verdict, nemesis = soak(kafka, registry.url, Path(folder), given.minutes * 60, given.seed)
    return 0 if verdict.is_clean and not nemesis.crashes else 1


if __name__ == "__main__":
    sys.exit(main())
