"""`gateway learn` at a real broker, and from recordings: what it proposes, writes and says, and when it refuses."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.operate.learn.heard import FILE, Recording
from tests.stack.publisher import Publisher
from tests.test_cli import command

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path

    from tests.conftest import StartMosquitto

NOW = 1_796_000_000_000


def learn(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return command("learn", "--into", "proposal", *map(str, arguments), folder=folder)


def recorded(folder: Path, messages: Iterable[tuple[str, Any]], *, retain: bool = False) -> Path:
    """Record messages a second apart; payloads are bytes, or values that become JSON."""
    (folder / "recorded").mkdir(exist_ok=True)
    with Recording(folder / "recorded") as recording:
        for number, (topic, payload) in enumerate(messages):
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            recording.add(topic.encode(), data, NOW + 1000 * number, retain=retain)
    return folder / "recorded" / FILE


def contract(folder: Path) -> Any:
    return yaml.safe_load((folder / "proposal" / "asyncapi.yaml").read_text())


def fields(folder: Path, name: str) -> dict[str, Any]:
    """The fields of a proposed record by their names."""
    return {one["name"]: one for one in json.loads((folder / "proposal" / f"{name}.avsc").read_text())["fields"]}


def test_learn_proposes_a_contract_from_what_a_broker_publishes(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """It passes the check, and each message that was heard fits it."""
    broker, ended = mosquitto(), threading.Event()

    def publish() -> None:
        with Publisher(broker.port) as publisher:
            while not ended.wait(0.02):
                publisher.publish([
                    (f"factory/m{machine}/temperature", b'{"machine": "m%d", "value": 21.5}' % machine)
                    for machine in range(3)
                ])  # fmt: skip

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        done = learn(tmp_path, "--broker", broker.address, "--for", "1s")
    finally:
        ended.set()
        thread.join()
    assert done.returncode == 0, done.stderr
    assert "receiveFactoryTemperature factory/{machine}/temperature: " in done.stdout
    assert " on 3 topics." in done.stdout
    assert " of these fit (100.0 %)." in done.stdout
    channel = contract(tmp_path)["channels"]["factoryTemperature"]
    assert channel["parameters"]["machine"]["location"] == "$message.payload#/machine"
    assert channel["tags"] == [{"name": "learned"}]
    assert fields(tmp_path, "factory_temperature").keys() == {"machine", "value"}
    assert command("check", "-c", "proposal/gateway.yaml", folder=tmp_path).returncode == 0


def test_learn_writes_nothing_when_nothing_was_heard(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    done = learn(tmp_path, "--broker", mosquitto().address, "--for", "0.2s")
    assert done.returncode == 1
    assert done.stderr.startswith("No message was heard, so nothing was written.")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name one source"),
        (("--broker", "http://x"), "This is not the address of a broker."),
        (("--broker", "x", "--for", "soon"), "Write a duration such as 30s, 10m or 1h."),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = learn(tmp_path, *arguments)
    assert done.returncode in {2, 78}
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    path = recorded(tmp_path, [("a", 1)])
    (tmp_path / "proposal").mkdir()
    (tmp_path / "proposal" / "mine").touch()
    done = learn(tmp_path, "--from", path)
    assert done.returncode == 78
    assert "The folder is not empty: it has mine. Name another folder with --into." in done.stderr


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    """Learning goes on in a folder that holds only what was heard."""
    messages = [(f"rooms/{room}", {"room": room, "t": 20 + number / 10}) for number in range(30) for room in "abc"]
    path, texts = recorded(tmp_path, messages), []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert learn(tmp_path / folder, "--from", path).returncode == 0
        written = tmp_path / folder / "proposal"
        texts.append({one.name: one.read_text() for one in written.iterdir() if not one.name.startswith(FILE)})
    assert texts[0] == texts[1]
    assert texts[0].keys() == {"asyncapi.yaml", "gateway.yaml", "rooms.avsc"}
