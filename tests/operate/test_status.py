"""`gateway status`: a gateway's state asked from outside, running, waiting, hung and stopped."""

from __future__ import annotations

import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import GatewayError
from gateway.observe.figures import Snapshot, figures
from gateway.operate.status import Status, status
from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics in the shared Kafka under names of this test's own."""
    return Topics(kafka, tmp_path)


def asked(gateway: Gateway) -> tuple[int, dict[str, Any]]:
    """Run `gateway status --format json`."""
    done = gateway.command("status", "-c", str(gateway.settings_file), "--format", "json")
    assert not done.stderr
    return done.returncode, json.loads(done.stdout)


def test_status_over_the_life_of_a_gateway(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """Ready is 0, a broker away is 1 with the peer's name, stopped is 69 with the books of the spool's file."""
    broker = mosquitto()
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        assert asked(gateway)[0] == 69
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/d", b'{"state":"open"}')] * 5 + [("doors/d", b'{"state":7}')] * 2)
        gateway.wait_settled(7)
        code, answer = asked(gateway)
        assert (code, answer["state"], answer["balanced"], answer["lag_seconds"]) == (0, "ready", True, 0)
        doors = answer["streams"]["receiveDoors"]
        assert (doors["received"], doors["delivered"], doors["dead_lettered"]) == (7, 5, {"wrong_type": 2})
        text = gateway.command("status", "-c", str(gateway.settings_file)).stdout
        assert re.search(r"^receiveDoors +7 +5 +2 +0 +0 +0  wrong_type 2$", text, re.MULTILINE), text
        assert "The ledger balances." in text
        assert "factoryBroker  ok" in text

        broker.stop()
        wait_for(lambda: not gateway.is_ready(), 30, "the gateway to notice")
        code, answer = asked(gateway)
        assert (code, answer["state"]) == (1, "not_ready")
        assert {peer["peer"] for peer in answer["peers"] if peer["state"] != "ok"} >= {"factoryBroker"}

        assert gateway.stop_and_read_ledger()["received"] == 7
        code, answer = asked(gateway)
        assert (code, answer["state"], answer["balanced"]) == (69, "stopped", True)
        assert answer["streams"]["receiveDoors"] == doors | {"lag_seconds": None}
        assert "Start it with `gateway run -c " in answer["text"]


def test_status_of_a_frozen_gateway_names_its_process(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """A gateway that holds its spool and does not answer is not called stopped."""
    with Gateway(servers(mosquitto(), kafka, registry), topics.contract) as gateway:
        gateway.start()
        gateway.freeze()
        try:
            answer = status(f"127.0.0.1:{gateway.port}", gateway.folder / "spool.db")
        finally:
            gateway.thaw()
        assert (answer.state, answer.exit_code) == ("silent", 69)
        assert f"process {gateway.pid} holds the spool" in answer.text


def test_status_without_http_and_spool(tmp_path: Path) -> None:
    """Without an HTTP port and before the first start there is nothing to show, and that is said."""
    answer = status(None, tmp_path / "spool.db")
    assert (answer.state, answer.figures.books) == ("stopped", {})
    assert "http.listen is off" in answer.text
    assert not list(tmp_path.iterdir()), "looking leaves nothing behind"


def test_status_of_a_damaged_spool_is_a_sentence(tmp_path: Path) -> None:
    """A spool that is no database is named, not repaired."""
    spool = tmp_path / "spool.db"
    spool.write_bytes(os.urandom(4096))
    with pytest.raises(GatewayError, match=r"the spool .* cannot be read"):
        status(None, spool)


@pytest.fixture
def stranger(free_port: FreePort) -> Iterator[int]:
    """Give the port of another program that speaks HTTP."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ready": true, "states": []}' if self.path == "/readyz" else b"\x1b[2Jhello")

        def log_message(self, *_: object) -> None:
            return

    HTTPServer.allow_reuse_address = True
    server = HTTPServer(("127.0.0.1", free_port()), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_status_of_another_program_is_a_sentence(stranger: int, tmp_path: Path) -> None:
    """What answers and is no gateway is said to be none."""
    with pytest.raises(GatewayError, match="is not a gateway of this version"):
        status(f"127.0.0.1:{stranger}", tmp_path / "spool.db")


def scraped(page: str) -> Snapshot:
    """Read the figures of a page of `/metrics`."""
    return figures(text_string_to_metric_families(page))


def test_figures_of_watched_streams_are_a_table_of_their_own() -> None:
    page = (
        'gateway_received_total{stream="a"} 5\ngateway_delivered_total{stream="a"} 5\n'
        'gateway_received_total{stream="b"} 0\ngateway_spool_disk_bytes 1\n'
        'gateway_sequence_gaps_total{stream="a"} 1\ngateway_sequence_missing_total{stream="a"} 3\n'
        'gateway_sequence_forgotten_keys_total{stream="a"} 0\ngateway_silent_keys{stream="a"} 2\n'
    )
    answer = Status("ready", "Running.", figures=scraped(page))
    assert re.search(r"^a +1 +3 +- +- +- +0 +2$", answer.as_text(), re.MULTILINE), answer.as_text()
    assert answer.as_json()["streams"]["a"]["continuity"] == {"gaps": 1, "missing": 3, "forgotten": 0}
    assert (
        answer.as_json()["streams"]["b"] | {"continuity": {}, "silent_keys": None} == answer.as_json()["streams"]["b"]
    )


def test_figures_that_do_not_balance_are_reported() -> None:
    """The sum of a stream's figures is compared with what it received."""
    page = 'gateway_received_total{stream="a"} 5\ngateway_delivered_total{stream="a"} 3\ngateway_spool_disk_bytes 1\n'
    snapshot = scraped(page)
    assert (snapshot.books["a"].missing, snapshot.missing, snapshot.gauges) == (2, 2, {"spool_disk_bytes": 1})
