"""Two gateways and one broker: one is killed, and what happens to readings, order and repeats until it is back.

Three ways to have a second one: both share every stream; each has whole streams; one works and another, under the same
name and with a spool of its own, waits to take its place. What they promise is asserted, what they do is printed
(`pytest -rP tests/faults/test_failover.py`) and stands in the README.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest

from tests.faults.device import Device
from tests.faults.ledger_verdict import Verdict, compare, faults_of_books
from tests.stack.gateway import Gateway
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.conftest import StartSite
    from tests.faults.site import Site

RATE = 1_000
MACHINES = 51  # odd: dealt out in turn to two, the readings of each come to both
BATCH = 100  # with fewer at once the broker's small packets wait for TCP, and the rate is not reached
AWAY_READINGS = 5 * RATE


class Worker(Gateway):
    """One gateway of two, each on a machine of its own.

    Args:
        number: of the worker.
        settings: of both, as another gateway's file has them.
    """

    def __init__(self, number: int, settings: dict[str, Any]) -> None:
        more = {key: value for key, value in settings.items() if key not in {"servers", "contract", "http"}}
        super().__init__(settings["servers"], Path(settings["contract"]), **more)
        self._number = str(number)

    def start(self, *, ready: bool = True) -> Self:
        """Start it as its unit does."""
        self.launch_command("run", "-c", self.settings_file, "--worker", self._number)
        self.wait_ready(self.is_ready if ready else self.is_alive, 60)
        return self


class Pair(NamedTuple):
    """Two gateways at work.

    Args:
        site: broker and topics.
        device: publishes the numbers.
        victim: is killed.
        other: is not.
    """

    site: Site
    device: Device
    victim: Worker
    other: Worker

    def waiting(self) -> int:
        """Count the readings that the broker took and Kafka has not."""
        return len(self.device.promised) - self.site.count()

    def verdict(self) -> Verdict:
        """End the device, wait until both hold nothing, stop them, and compare."""
        self.device.finish()
        wait_for(lambda: self.waiting() <= 0 and not self._held(), 60, lambda: f"{self.waiting()} readings")
        running = [each for each in (self.victim, self.other) if each.is_running]
        books = "; ".join(faults_of_books(each.stop_and_read_ledger(), dropped=None) for each in running).strip("; ")
        return compare(self.site.numbers(), self.device.promised, self.device.possible, books)

    def _held(self) -> float:
        names = ("gateway_in_flight", "gateway_spooled")
        return sum(each.metric(name) for each in (self.victim, self.other) if each.is_running for name in names)


@pytest.fixture
def pair(site: StartSite, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Start two workers that split the work as the test says."""
    with ExitStack() as started:
        here = site(workers={"count": 2, "split": request.param, "apart": True})
        settings = json.loads(here.gateway.settings_file.read_text())
        victim, other = (started.enter_context(Worker(number, settings)).start() for number in (1, 2))
        device = started.enter_context(Device(here.broker.port, RATE, BATCH, MACHINES))
        device.wait_for_more(3 * RATE)
        yield Pair(here, device, victim, other)


class Course(NamedTuple):
    """How it went while one was away, in readings and seconds.

    Args:
        waiting: what had piled up at the end of that time.
        published: what came in that time.
        seconds: from the return until nothing waited any more.
        rate: of the device, readings a second.
    """

    waiting: int
    published: int
    seconds: float
    rate: float


def fail_over(pair: Pair, replacement: Worker) -> Course:
    """Kill the victim, go on without it, start the replacement, and wait until it has caught up."""
    before, killed_at = len(pair.device.promised), time.monotonic()
    pair.victim.kill()
    pair.device.wait_for_more(AWAY_READINGS, 60)
    waiting, published = pair.waiting(), len(pair.device.promised) - before
    began = time.monotonic()
    replacement.start()
    wait_for(lambda: pair.waiting() < RATE / 10, 60, lambda: f"{pair.waiting()} readings to be delivered")
    seconds = time.monotonic() - began
    return Course(waiting, published, seconds, published / (began - killed_at))


def tell(name: str, course: Course, verdict: Verdict) -> None:
    waiting = f"{course.rate:.0f}/s, waiting {course.waiting} of {course.published}"
    figures = f"{waiting}, caught up {course.seconds:.1f} s after its start"
    told = str(verdict).replace("\n", ", ")
    print(f"{name}: {figures}; {told}, of {verdict.records} records")  # noqa: T201 - the figures are what it is for


@pytest.mark.parametrize("pair", ["shared"], indirect=True)
def test_run_shared_with_one_killed_delivers_the_other_half_and_the_rest_when_it_is_back(pair: Pair) -> None:
    """Order per key is not kept, killed or not. The broker goes on dealing to the session of the one that is away."""
    course = fail_over(pair, pair.victim)
    verdict = pair.verdict()
    tell("shared", course, verdict)
    assert (verdict.missing, verdict.strangers, verdict.books) == ([], [], "")
    assert course.waiting < course.published, "the other one works on"


@pytest.mark.parametrize("pair", ["streams"], indirect=True)
def test_run_of_whole_streams_with_one_killed_keeps_the_order(pair: Pair) -> None:
    """The streams of the one that is away wait in its session; the others do not notice."""
    course = fail_over(pair, pair.victim)
    verdict = pair.verdict()
    tell("streams", course, verdict)
    assert verdict.is_clean, verdict


@pytest.mark.parametrize("pair", ["streams"], indirect=True)
def test_run_of_a_standby_that_takes_the_place_of_one_killed_keeps_the_order(pair: Pair) -> None:
    """Another machine, the same number: it takes over the session, and the dead one's disk held nothing."""
    settings = json.loads(pair.victim.settings_file.read_text())
    with Worker(1, settings) as standby:
        course = fail_over(pair, standby)
        verdict = pair._replace(victim=standby).verdict()
    tell("standby", course, verdict)
    assert verdict.is_clean, verdict
