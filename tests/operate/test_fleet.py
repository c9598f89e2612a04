"""`gateway fleet`: what gateways publish, what others may write there, and a broker that is not there."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.publish as paho_publish
import pytest

from gateway.observe.status_document import moment
from gateway.operate.fleet import Fleet
from tests.test_cli import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import FreePort, StartMosquitto

ONLINE = {
    "state": "online", "ready": True, "version": "0.1.0", "contract": {"version": "1.2.0"}, "every": 300,
    "rate": 1250.5, "delivered_rate": 1250, "waiting": 12, "hours_left": 30.5, "dead_letters": 3, "quarantined": 1,
    "workers": 1, "since": "2026-10-09T12:00:00+00:00", "problems": [],
}  # fmt: skip


def fleet(**gateways: Any) -> Fleet:
    """Gateways that have published something."""
    found = Fleet()
    for name, document in gateways.items():
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        found.take(f"gateway/{name}/status".encode(), payload)
    return found


def online(**members: Any) -> dict[str, Any]:
    """A status that was published now."""
    return {**ONLINE, "at": moment(time.time()), **members}


def test_table_shows_each_gateway_with_its_figures() -> None:
    lines = fleet(b=online(), a={"state": "offline", "version": "0.1.0"}, c=online(workers=3)).as_text().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["gateway", "state"],
        ["a", "offline"],
        ["b", "ready"],
        ["c", "(worker"],
    ]
    for shown in ("1.2.0", "1,250.5", "1,250 ", "12", "30.5 h", "3", "1", "2026-10-09T12:00:00+00:00"):
        assert shown in lines[2]
    assert "c (worker 1 of 3)" in lines[3]


@pytest.mark.parametrize(
    ("document", "state"),
    [
        ({}, "ready"),
        ({"ready": False, "problems": ["kafka: unreachable"]}, "not ready"),
        ({"every": 3600}, "ready"),
        ({"at": "2026-01-01T00:00:00"}, "stale"),
        ({"state": "offline", "ready": False}, "offline"),
        ({"state": 5}, "unreadable"),
        ({"at": "yesterday"}, "unreadable"),
        ({"every": "often"}, "unreadable"),
        ({"every": 10**400}, "unreadable"),
        (b"\xff", "unreadable"),
        (b"[" * 60_000, "unreadable"),
        (b"[]", "unreadable"),
        (b'{"state": "online", "every": NaN}', "unreadable"),
        (b" " * 70_000, "unreadable"),
    ],
    ids=range(14),
)  # fmt: skip
def test_state_is_that_of_the_document(document: Any, state: str) -> None:
    """Nothing that is written there ends the command; only what is ready gives exit code 0."""
    found = fleet(a=online(**document) if isinstance(document, dict) else document)
    [shown] = found.as_json()["gateways"]
    assert (shown["shown_as"], found.exit_code) == (state, 0 if state == "ready" else 1)
    assert state in found.as_text()


def test_text_from_outside_is_escaped_and_cut() -> None:
    """An id, a version and a problem of somebody who may write there reach no terminal as they are."""
    found = Fleet()
    document = online(version="\x1b[31mred", contract="text", problems=["\x07" * 5_000, {}], rate="many", since=None)
    found.take(b"gateway/\x1b[2J/status", json.dumps(document).encode())
    text = found.as_text()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\u001b[2J" in text
    assert len(text) < 5_000


def test_empty_message_removes_its_gateway() -> None:
    found = fleet(a=online(), b=online())
    found.take(b"gateway/a/status", b"")
    assert [one["id"] for one in found.as_json()["gateways"]] == ["b"]


def test_fleet_reads_what_a_broker_retains(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """As a table, as JSON, and with the exit code of the worst; without gateways it says what to set."""
    broker = mosquitto()
    done = command("fleet", "--broker", broker.address, "--once", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "status.publish" in done.stdout
    messages = [(f"gateway/plant-{n}/status", json.dumps(online()), 1, True) for n in range(3)]
    paho_publish.multiple([*messages], "127.0.0.1", broker.port)
    done = command("fleet", "--broker", broker.address, folder=tmp_path)
    assert (done.returncode, done.stdout.count(" ready ")) == (0, 3)
    paho_publish.single(
        "gateway/plant-1/status", '{"state": "offline"}', 1, retain=True, hostname="127.0.0.1", port=broker.port
    )
    done = command("fleet", "--broker", broker.address, "--format", "json", folder=tmp_path)
    assert done.returncode == 1
    assert [one["shown_as"] for one in json.loads(done.stdout)["gateways"]] == ["ready", "offline", "ready"]


def test_fleet_without_a_broker_says_so(free_port: FreePort, tmp_path: Path) -> None:
    done = command("fleet", "--broker", f"127.0.0.1:{free_port()}", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Cannot connect to 127.0.0.1:")
