"""How a gateway is put together, as far as its servers can see it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from bench.contract import write_contract
from bench.load_broker import greeting, split
from gateway.errors import SpoolBrokenError
from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from gateway.service.service import run_each
from tests.stack.gateway import Gateway
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import FreePort
    from tests.stack.kafka import Kafka


@pytest.mark.parametrize(
    ("sensors", "given", "ahead"),
    [(48, {}, 8_192), (49, {}, 16_384), (49, {"receive_maximum": 700}, 700)],
    ids=["50 streams", "51 streams", "as set"],
)
def test_run_lets_a_broker_send_further_ahead_where_there_are_many_streams(
    tmp_path: Path, free_port: FreePort, sensors: int, given: dict[str, Any], ahead: int
) -> None:
    """Each lane then has more to send at once; doors and telegrams are two streams more."""
    contract = write_contract(tmp_path, "ahead", sensors)
    assert receive_maximum(contract, f"127.0.0.1:{free_port()}", given) == ahead


def test_run_lets_a_broker_send_further_ahead_with_exactly_once(tmp_path: Path, kafka: Kafka) -> None:
    """What arrives during a commit is in the next transaction; it connects when its first one is committed."""
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    contract = write_contract(tmp_path, "ahead", 1)
    assert receive_maximum(contract, kafka.bootstrap, {}, delivery="exactly_once") == 32_768


def receive_maximum(contract: Path, bootstrap: str, given: dict[str, Any], **settings: str) -> int:
    """Start a gateway, and read what it tells the broker."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(60)
        servers = {
            "broker": {"host": f"127.0.0.1:{broker.getsockname()[1]}", **given},
            "kafka": {"host": bootstrap},
        }
        with Gateway(servers, contract, **settings) as gateway:
            gateway.start(ready=False)
            link, _ = broker.accept()
            with link:
                link.settimeout(60)
                data = b""
                while not split(data)[0]:
                    chunk = link.recv(4_096)
                    assert chunk, gateway.log
                    data += chunk
            [(_, connect)], _ = split(data)
            return greeting(connect)[1]


def test_each_step_of_a_stop_is_done(caplog: pytest.LogCaptureFixture) -> None:
    """One that fails is logged; an error with an exit code of its own is raised in the end."""
    done = []

    def fail() -> None:
        raise OSError("no")

    def break_disk() -> None:
        raise SpoolBrokenError("The disk fails.")

    with pytest.raises(SpoolBrokenError):
        run_each(fail, lambda: done.append(1), break_disk, fail, lambda: done.append(2))
    assert done == [1, 2]
    assert [record.getMessage() for record in caplog.records] == 2 * [
        "A step of the stop failed. The next steps are done all the same."
    ]


def test_run_tells_what_librdkafka_says_where_it_is_asked_to(free_port: FreePort) -> None:
    """Every line, although librdkafka writes all of them alike."""
    servers: dict[str, dict[str, Any]] = {
        name: {"host": f"127.0.0.1:{free_port()}"} for name in ("factoryBroker", "meterBroker", "kafka")
    }
    servers["kafka"]["producer"] = {"debug": "broker"}
    with Gateway(servers, log={"level": "debug", "format": "text"}) as gateway:
        gateway.start(ready=False)
        wait_for(lambda: gateway.log.count("changed state CONNECT -> DOWN") > 2, 30, lambda: gateway.log)
