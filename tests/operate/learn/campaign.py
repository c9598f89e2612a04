"""All installations, each on a Mosquitto of its own, an hour compressed: `gateway learn` as users run it.

    .venv/bin/python -m tests.operate.learn.campaign --seconds 120 [NAME ...]

It takes long, so no test runs it; `test_broker.py` has four installations in seconds.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.families.harness import Outcomes
from tests.operate.learn.installations import ALL
from tests.operate.learn.installations.installation import HOUR, Clock
from tests.operate.learn.rig import Learnt, accepted
from tests.stack.mosquitto import Mosquitto
from tests.stack.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.operate.learn.installations import Installation, Message

AFTER = 2  # seconds that the listener has after the last message
STEP = 0.05


@dataclass
class Outcome:
    """How the learning from an installation went."""

    name: str
    messages: int
    are_addresses_right: bool
    are_families_right: bool
    check: int
    accepted: float
    traps: dict[str, bool]
    seconds: float
    fates: dict[str, int]
    learnt: Learnt

    def __str__(self) -> str:
        return (
            f"{self.name:26} {self.messages:6} messages  addresses {'right' if self.are_addresses_right else 'WRONG'}"
            f"  families {'right' if self.are_families_right else 'WRONG'}  check {self.check}"
            f"  accepted {100 * self.accepted:6.2f} %  traps {self.traps or '-'}"
        )


def run(installation: Installation, folder: Path, seconds: float, hour: int = HOUR) -> Outcome:
    """Publish an hour in so many seconds while `gateway learn` listens, and look at the proposal."""
    Clock.start = int(time.time())
    messages, started = list(installation.messages(hour)), time.monotonic()
    with Mosquitto() as broker, Publisher(broker.port) as devices:
        devices.publish(((one.topic, one.payload) for one in messages if one.second < 0), retain=True)
        arguments = ["learn", "--broker", broker.address, "--for", f"{seconds + AFTER:g}s", "--into", str(folder)]
        learning = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert learning.stdout is not None, "piped"
        report = [next(one for one in iter(learning.stdout.readline, "") if one.startswith("Listening"))]
        _publish(devices, messages, seconds, hour)
        report += learning.stdout
        learning.wait(60)
    took = time.monotonic() - started
    learnt = Learnt(folder, "".join(report), Outcomes(folder / "asyncapi.yaml"))
    check = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "check", "-c", folder / "gateway.yaml"], capture_output=True, check=False
    ).returncode
    fates = learnt.fate(messages, installation.ignored)
    return Outcome(
        installation.name,
        len(messages),
        learnt.addresses == installation.addresses,
        learnt.families == installation.families,
        learning.returncode or check,
        accepted(fates),
        {name: bool(re.search(pattern, learnt.texts)) for name, pattern in installation.traps.items()},
        took,
        {fate: count for fate, count in fates.items() if fate != "record"},
        learnt,
    )


def _publish(devices: Publisher, messages: Sequence[Message], seconds: float, hour: int) -> None:
    begun, at = time.monotonic(), 0
    live = [one for one in messages if one.second >= 0]
    while at < len(live):
        until = (time.monotonic() - begun) * hour / seconds
        due = [(one.topic, one.payload) for one in _due(live, at, until)]
        devices.publish(due)
        at += len(due)
        time.sleep(STEP)


def _due(messages: Sequence[Message], at: int, until: float) -> Iterator[Message]:
    for one in messages[at:]:
        if one.second > until:
            return
        yield one


def main() -> None:
    """Run the campaign and show one line for each installation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for one in ALL:
        if not options.names or any(name in one.name for name in options.names):
            outcome = run(one, Path(tempfile.mkdtemp(prefix="learn-")), options.seconds)
            print(outcome, flush=True)
            if not outcome.are_addresses_right:
                print(f"   proposed {sorted(outcome.learnt.addresses)}")
            for fate, count in outcome.fates.items():
                print(f"   {count:,} {fate}")
            print(f"   {outcome.learnt.folder}")


if __name__ == "__main__":
    main()
