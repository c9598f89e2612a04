"""The process under fault: killed again and again, stopped under load, frozen, started twice; and idle on the disk."""

from __future__ import annotations

import random
import re
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.device import publish_bad
from tests.faults.site import KEEP_ALIVE
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.faults.conftest import StartSite

KILLS = 8


@pytest.mark.parametrize("when", [pytest.param("outage", marks=pytest.mark.gate), "always"])
def test_run_killed_again_and_again_under_load_loses_nothing(site: StartSite, when: str) -> None:
    """`kill -9` at any moment, also during the start: each reading is in Kafka, in order."""
    chance = random.Random(24)
    here = site(spool={"when": when, "after": "50ms"})
    here.gateway.start()  # before the device: until there is a session the broker keeps nothing for us
    here.gateway.kill()
    with here.device:
        for _ in range(KILLS // 2):
            here.gateway.start(ready=chance.random() < 0.7)
            here.device.wait_for_more(chance.randrange(1, 200))
            here.gateway.kill()
        here.gateway.start()
        verdict = here.verdict(is_exact=False, dropped=None)
    assert verdict.is_clean, verdict


def test_run_terminated_under_load_ends_in_time_and_loses_nothing(site: StartSite) -> None:
    """SIGTERM at full load: exit 0 within 10 seconds; after the next start no reading is missing or sent twice."""
    here = site(rate=1_000)
    here.gateway.start()
    with here.device:
        for _ in range(2):
            here.device.wait_for_more(500)
            began = time.monotonic()
            here.terminate(10)
            assert time.monotonic() - began < 10
            here.gateway.start()
        here.device.wait_for_more(100)
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


def test_run_frozen_and_thawed_loses_nothing(site: StartSite) -> None:
    """The broker ends a frozen gateway's connection; what is acknowledged for it afterwards has no effect."""
    here = site(edits={KEEP_ALIVE: "keepAlive: 1\n"})
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(200)
        here.gateway.freeze()
        here.device.wait_for_more(1_500)  # three seconds: twice what the broker waits for
        here.gateway.thaw()
        here.device.wait_for_more(200)
        here.settle()
        repeated = here.gateway.metric("gateway_repeated_total")
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates <= repeated, verdict


@pytest.mark.gate
def test_run_twice_on_one_spool_ends_with_73_and_names_the_holder(site: StartSite) -> None:
    """The second process ends with 73, writes nothing, and names the process that holds the spool."""
    here = site()
    here.gateway.start()
    spool = here.gateway.folder / "spool.db"
    before = spool.read_bytes()
    second = here.gateway.command("run", "-c", str(here.gateway.settings_file))
    assert second.returncode == 73, second.stderr
    assert f"Process {here.gateway.pid} holds the spool" in second.stderr
    assert "Traceback" not in second.stderr
    assert spool.read_bytes() == before
    here.device.publish(50)
    verdict = here.verdict()
    assert verdict.is_clean, verdict


def test_run_with_no_file_descriptors_left_keeps_its_pipeline(site: StartSite) -> None:
    """Idle clients of the HTTP port use up all file descriptors; readings still get through."""
    here = site()
    here.gateway.start()
    here.device.publish(100)
    here.gateway.wait_settled(100)
    few = len(list(Path(f"/proc/{here.gateway.pid}/fd").iterdir())) + 4
    resource.prlimit(here.gateway.pid, resource.RLIMIT_NOFILE, (few, few))
    with ExitStack() as clients:
        for _ in range(2 * few):
            clients.enter_context(socket.create_connection(("127.0.0.1", here.gateway.port), 10))
        here.device.publish(1_000)
        wait_for(lambda: here.count() >= 1_100, 60, "the readings in Kafka")
    verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


def test_run_writes_little_about_a_flood_of_bad_readings(site: StartSite) -> None:
    """Ten thousand dead letters for one reason are in the ledger, and in the log only as a few lines."""
    here = site()
    here.gateway.start()
    before = len(here.gateway.log)
    publish_bad(here.broker.port, 10_000)
    here.gateway.wait_settled(10_000)
    assert here.gateway.metric("gateway_dead_lettered_total", reason="wrong_type") == 10_000
    assert len(here.gateway.log) - before < 10_000, here.gateway.log[before:][:2_000]
    here.device.publish(10)
    verdict = here.verdict()
    assert verdict.is_clean, verdict


def test_run_writes_nothing_to_disk_at_one_reading_a_second(site: StartSite) -> None:
    """On a healthy link an SD card is not worn out: the process's own count of written bytes stays what it was."""
    here = site(rate=1)
    here.device._batch = 1  # noqa: SLF001 - the one test that wants single readings
    here.gateway.start()
    here.device.publish(1)
    here.gateway.wait_settled(1)
    before = _written_bytes(here.gateway.pid)
    with here.device:
        here.wait_for("gateway_delivered_total", 18)
        assert _written_bytes(here.gateway.pid) == before
        verdict = here.verdict()
    assert verdict.is_clean, verdict


def _written_bytes(pid: int) -> int:
    found = re.search(r"^write_bytes: (\d+)$", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    assert found, "the kernel counts them"
    return int(found[1])
