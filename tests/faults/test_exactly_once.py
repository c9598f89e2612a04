"""Exactly once under fault: a reader of committed records finds each reading once, in order."""

from __future__ import annotations

import json
import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from gateway.errors import ExitCode
from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from gateway.observe.health import WAITS_FOR_KAFKA
from tests.faults.failpoints import SuicidalGateway
from tests.faults.proof import places
from tests.faults.site import KEEP_ALIVE, KEEPS_AT_STOP, exit_code
from tests.faults.soak import Span
from tests.stack.mosquitto import OPEN_AND_PERSISTENT
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.faults.conftest import StartSite
    from tests.faults.ledger_verdict import Verdict
    from tests.faults.site import Site
    from tests.stack.kafka import Kafka

KILLS = 8
BACKLOGS = {1: 50_000, 2: 150_000}  # by QoS: several times the Receive Maximum; more than there are packet ids


@pytest.fixture
def exact(site: StartSite, away_kafka: Kafka) -> StartSite:
    """Make sites that deliver exactly once."""
    away_kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    impatient = {KEEP_ALIVE: "keepAlive: 2\n"}

    def make(**settings: object) -> Site:
        given = {"configuration": OPEN_AND_PERSISTENT, "edits": impatient, "rate": 300} | settings
        return site(delivery="exactly_once", **given)

    return make


def assert_exact(verdict: Verdict) -> None:
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


@pytest.mark.parametrize(("qos", "kills"), [pytest.param(1, 2, marks=pytest.mark.gate), (1, KILLS), (2, KILLS)])
def test_run_killed_again_and_again_delivers_each_reading_once(exact: StartSite, qos: int, kills: int) -> None:
    """Also while it starts, and while it sends what has queued up meanwhile."""
    chance = random.Random(22)
    here = exact(qos=qos, spool={"after": "50ms"})
    here.gateway.start()
    with here.device:
        for _ in range(kills):
            here.device.wait_for_more(chance.randrange(1, 200))
            here.gateway.kill()
            here.gateway.start(ready=chance.random() < 0.7)
        assert_exact(here.verdict(is_exact=False, dropped=None))


@pytest.mark.parametrize("qos", [1, 2])
def test_run_with_a_backlog_that_comes_at_once_delivers_each_reading_once(exact: StartSite, qos: int) -> None:
    """Mosquitto 2.0.11 ignores the Receive Maximum once messages wait: then all of them are in flight."""
    here = exact(qos=qos, configuration=KEEPS_AT_STOP)
    here.gateway.start()
    here.device.publish(100)
    here.wait_for("gateway_delivered_total", 100)
    here.gateway.kill()
    for _ in range(BACKLOGS[qos] // 5_000):
        here.device.publish(5_000)
    here.gateway.start(ready=False)
    for share, end in (0.1, here.link.cut), (0.3, here.link.cut), (0.6, here.gateway.kill):
        here.wait_for("gateway_delivered_total", share * BACKLOGS[qos], 60)
        end()
    here.gateway.start(ready=False)
    assert_exact(here.verdict(is_exact=False, dropped=None))


class KilledBeforeAcknowledgements(SuicidalGateway):
    """A gateway that kills itself when its readings are in Kafka."""

    place = "committed, not acknowledged"


def test_run_that_drops_messages_in_between_delivers_each_reading_once(exact: StartSite) -> None:
    """They are in no transaction: a new process does not know them when the broker sends them again with the others."""
    wide = {"    address: doors/{location}\n": "    address: doors/x-{location}\n"}  # subscribed to: doors/+
    wide |= {f"doors/{name}": f"doors/x-{name}" for name in ("dock-2", "gate-1")}  # of the examples
    here = exact(gateway=KilledBeforeAcknowledgements, edits=wide)
    here.gateway.start()
    is_over = Event()
    with ThreadPoolExecutor(1) as beside, here.device:
        doors = beside.submit(publish_doors, here.broker.port, is_over)
        places(here, Span(math.inf, 4), 0)
        is_over.set()
        assert doors.result() > 0
        assert_exact(here.verdict(is_exact=False, dropped=None))


def publish_doors(port: int, is_over: Event) -> int:
    """Publish messages that no address of the contract has; count them."""
    count = 0
    with Publisher(port, "doors") as publisher:
        while not is_over.wait(0.02):
            count += publisher.publish([("doors/d1", b"%d" % number) for number in range(3)])
    return count


@pytest.mark.parametrize("qos", [1, 2])
def test_run_with_a_contract_that_gets_another_broker_delivers_each_reading_once(exact: StartSite, qos: int) -> None:
    """The transactional id changes with each kill, as it is made of the client ids of all brokers."""
    here = exact(qos=qos, spool={"after": "50ms"})
    contract = Path(json.loads(here.gateway.settings_file.read_text())["contract"])
    meter = "clientId: iot-gateway-meter\n"
    here.gateway.start()
    with here.device:
        for client_id in ("a", "iot-gateway-meter", "z", "a"):
            here.device.wait_for_more(150)
            here.gateway.kill()
            contract.write_text(contract.read_text().replace(meter, meter := f"clientId: {client_id}\n"))
            here.gateway.start()
        assert_exact(here.verdict(is_exact=False, dropped=None))


@pytest.mark.parametrize("qos", [1, 2])
def test_run_with_a_link_and_a_kafka_that_break_delivers_each_reading_once(
    exact: StartSite, away_kafka: Kafka, qos: int
) -> None:
    """Killed in the outage as well: what is on disk is delivered once."""
    here = exact(qos=qos, spool={"after": "100ms"})
    here.gateway.start()
    with here.device:
        for _ in range(3):
            here.device.wait_for_more(100)
            here.link.cut()
            away_kafka.kill()
            here.device.wait_for_more(200)
            here.link.cut()
            here.gateway.kill()
            here.gateway.start(ready=False)
            here.device.wait_for_more(100)
            wait_for(lambda: WAITS_FOR_KAFKA in str(here.gateway.states()), 10, "the reason why no broker is connected")
            away_kafka.start()
            here.device.wait_for_more(300)
        assert_exact(here.verdict(is_exact=False, dropped=None, seconds=120))


def test_a_frozen_gateway_that_was_replaced_stops_and_nothing_is_there_twice(
    exact: StartSite, away_kafka: Kafka
) -> None:
    """It holds readings that the broker sends to the standby: when it works again, it must not have stored them."""
    here = exact(spool={"after": "1s"})
    first, standby = here.gateway.start(), here.another_gateway()
    with here.device:
        here.device.wait_for_more(300)
        away_kafka.freeze()
        here.wait_for("gateway_in_flight", 10)
        first.freeze()
        away_kafka.thaw()
        standby.start()
        here.device.wait_for_more(300)
        first.thaw()
        assert exit_code(first, 60) == ExitCode.SPOOL_TAKEN
        assert "taken over" in first.log
        assert "down" not in standby.log, "the first one must not connect again"
        first.stop()
        here.device.wait_for_more(300)
        standby.kill()
        first.start()
        assert_exact(here.verdict(is_exact=False, dropped=None, seconds=120))
