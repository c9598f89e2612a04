"""How many requests may be in flight to Kafka, by its distance."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from gateway.kafka.distance import FAR, NEAR, max_in_flight

if TYPE_CHECKING:
    from tests.conftest import FreePort


def test_a_broker_on_this_machine_is_near() -> None:
    """However busy this machine is: no connection over loopback takes a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert max_in_flight("localhost", port, near_seconds=1.0, measure_seconds=10.0) == NEAR


def test_a_broker_that_takes_longer_is_far() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert max_in_flight("127.0.0.1", server.getsockname()[1], near_seconds=0.0) == FAR


def test_a_broker_that_does_not_answer_is_far(free_port: FreePort) -> None:
    assert max_in_flight("127.0.0.1", free_port()) == FAR


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example"])
def test_a_name_that_leads_nowhere_is_far(host: str) -> None:
    assert max_in_flight(host, None) == FAR


def test_a_look_up_that_hangs_does_not_delay_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, ended = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> NoReturn:
        given_up.wait(60)
        ended.set()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert max_in_flight("kafka.example", 9092) == FAR
    assert not ended.is_set()
    given_up.set()
