"""Retained messages at a gateway whose link to the brokers breaks again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.link import Link
from tests.stack.gateway import Gateway, summed
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.conftest import FreePort, StartMosquitto

CONNECTS = 5
BROKERS = ("factoryBroker", "meterBroker")  # of the contract, at MQTT 5.0 and at 3.1.1
TOPICS = ("doors/dock", "sma")
STREAMS = ("receiveDoors", "receiveSmartMeter")
FIGURES = ("gateway_received_total", "gateway_dropped_total", "gateway_repeated_total")


@pytest.mark.parametrize(
    ("retained", "came", "taken"),
    [
        ("once", [1, CONNECTS], [1, 1]),  # in MQTT 3.1.1 a client cannot ask the broker to send none
        ("always", [CONNECTS, CONNECTS], [CONNECTS, CONNECTS]),
        ("never", [0, CONNECTS], [0, 0]),
    ],
)
def test_run_takes_retained_messages_as_the_setting_says(
    mosquitto: StartMosquitto, free_port: FreePort, retained: str, came: list[int], taken: list[int]
) -> None:
    """Retained messages that do not become readings are counted as dropped."""
    broker, nowhere = mosquitto(), f"127.0.0.1:{free_port()}"
    with Publisher(broker.port) as publisher:
        publisher.publish([(topic, b"{}") for topic in TOPICS], 1, retain=True)
    kafka = {"host": nowhere, "registry": {"url": f"http://{nowhere}"}}
    with Link(broker.port) as link:
        servers = {name: {"host": f"127.0.0.1:{link.port}"} for name in BROKERS} | {"kafka": kafka}
        with Gateway(servers, spool={"when": "always"}, mqtt={"retained": retained}) as gateway:
            gateway.start(ready=False)
            for number in range(1, CONNECTS + 1):
                wait_for(lambda: has_come(gateway, number, came), 30, gateway.metrics)  # noqa: B023 - asked at once
                if number < CONNECTS:
                    link.cut()
            page = gateway.metrics()
            gateway.kill()  # a clean stop would wait for Kafka
    received, dropped, repeated = (figures(page, name) for name in FIGURES)
    assert [all_of - again for all_of, again in zip(received, repeated, strict=True)] == came
    # A cut can hit an acknowledgement. What then comes again is not taken twice: the gateway drops it as a repeat of
    # what it holds, or stores it as a reading of its own, unless none shall be taken.
    recognised = [summed(page, "gateway_dropped_total", stream=stream, reason="repeated") for stream in STREAMS]
    again = [a - r for a, r in zip(repeated, recognised, strict=True)] if retained != "never" else [0, 0]
    assert [r - d - a for r, d, a in zip(received, dropped, again, strict=True)] == taken


def has_come(gateway: Gateway, number: int, came: list[int]) -> bool:
    """Whether both brokers were connected to so often, and have sent what they send at each connect."""
    page = gateway.metrics()
    received, _, repeated = (figures(page, name) for name in FIGURES)
    fresh = [all_of - again for all_of, again in zip(received, repeated, strict=True)]
    connects = [summed(page, "gateway_mqtt_connects_total", server=name) for name in BROKERS]
    return min(connects) >= number and all(have >= min(number, most) for have, most in zip(fresh, came, strict=True))


def figures(page: str, name: str) -> list[float]:
    """Sum a metric by stream."""
    return [summed(page, name, stream=stream) for stream in STREAMS]
