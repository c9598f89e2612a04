"""How many requests may be under way to Kafka, by how far away it is."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from gateway.kafka import distance as kafka_distance
from gateway.kafka.distance import FAR, NEAR, max_in_flight

if TYPE_CHECKING:
    from tests.conftest import FreePort


def test_a_broker_on_this_machine_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is: no connection over loopback takes a second."""
    monkeypatch.setattr(kafka_distance, "NEAR_SECONDS", 1.0)
    monkeypatch.setattr(kafka_distance, "PATIENCE_SECONDS", 10.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert max_in_flight("localhost", server.getsockname()[1]) == NEAR


def test_a_broker_that_takes_longer_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_distance, "NEAR_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert max_in_flight("127.0.0.1", server.getsockname()[1]) == FAR


def test_a_broker_that_does_not_answer_is_far(free_port: FreePort) -> None:
    assert max_in_flight("127.0.0.1", free_port()) == FAR


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example"])
def test_a_name_that_leads_nowhere_is_far(host: str) -> None:
    assert max_in_flight(host, None) == FAR


def test_a_look_up_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, ended = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> NoReturn:
        given_up.wait(60)
        ended.set()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert max_in_flight("kafka.example", 9092) == FAR
    assert not ended.is_set()
    given_up.set()
