"""Health of a running gateway, where it depends on the machine's clock."""

from __future__ import annotations

from gateway.bridge.bridge import Bridge, Rules
from gateway.core.gateway_clock import GatewayClock
from gateway.core.ledger import Ledger
from gateway.core.retained import RetainedMessages
from gateway.core.topic_index import UNMAPPED
from gateway.kafka.sink import KafkaSink
from gateway.observe.health import HealthCheck
from gateway.spool.spool import Policy, Spool


def test_health_says_that_readings_wait_for_the_clock() -> None:
    """Not ready, with the reason, until the time has passed; no Kafka listens here, which is another state."""
    times = [0, 0]
    clock = GatewayClock(b"b" * 16, lambda: (times[0], times[1]), 120_000, is_synchronised=False)
    ledger, sink = Ledger([UNMAPPED]), KafkaSink({"bootstrap.servers": "127.0.0.1:1"})
    spool = Spool(Policy(2**20), ledger)
    bridge = Bridge([], spool, sink, ledger, Rules({UNMAPPED: "dead"}, 900, RetainedMessages("once"), clock=clock))
    check = HealthCheck(bridge, [], sink, spool, list, set(), clock=clock)
    details = []
    for clock.asked in ("", "chrony"):
        (state,) = [each for each in check().states if each.peer == "clock"]
        details.append(f"{state.state}: {state.detail}")
    rest = "readings wait in the spool for the right time, 120 s at most"
    assert details == [
        f"waiting: no time service answers; {rest}",
        f"waiting: not synchronised, according to chrony; {rest}",
    ]
    times[1] = 120_000
    assert bridge.run_once() is None  # type: ignore[func-returns-value]  # a turn notices it
    assert not [each for each in check().states if each.peer == "clock"]
    sink.close(0.1)
