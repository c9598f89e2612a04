"""`docs/change.md` is true: its commands print what it shows, for the bakery of `docs/steps/12`."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from gateway.installation import open_installation
from gateway.operate.listener import Terminal
from gateway.operate.record import Options, record
from gateway.operate.recording import Recording
from gateway.operate.shadow.comparison import ADDITIONS, KINDS
from gateway.signals import StopFlag
from tests.operate.shadow.rig import STEP, messages
from tests.stack.gateway import ROOT
from tests.stack.publisher import Publisher
from tests.test_cli import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto

PAGE = (ROOT / "docs" / "change.md").read_text()
SHOWN = [block.partition("\n") for block in re.findall(r"^```console\n\$ (.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
SENT = [one for one in messages(1_000) if one.kind not in {"motor", "lamp", "scales"}]
EDITS = {
    "door.avsc": (('["open", "shut"]', '["open", "shut", "ajar"]'),),
    "asyncapi.yaml": (
        ("[open, shut]", "[open, shut, ajar]"),
        ("payload: {type: number, description: Watts.}", "payload: {type: number, maximum: 35}"),
        ("payload: 43.5}", "payload: 33.5}"),
        ("power: 43.5}", "power: 33.5}"),
        ("x-location: $message.payload#/oven}}}", "x-location: $message.header#/mqtt.topic}}}"),
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the contract, its next version, and settings."""
    for place in (tmp_path, tmp_path / "next"):
        place.mkdir(exist_ok=True)
        for file in STEP.iterdir():
            text = file.read_text()
            for old, new in EDITS.get(file.name, ()) if place.name == "next" else ():
                assert old in text
                text = text.replace(old, new)
            (place / file.name).write_text(text)
    (tmp_path / "gateway.yaml").write_text("contract: asyncapi.yaml\n")
    return tmp_path


def test_record_prints_what_the_page_shows(mosquitto: StartMosquitto, folder: Path) -> None:
    broker, lines, stop = mosquitto(), list[str](), StopFlag()
    settings = {"contract": "asyncapi.yaml", "servers": {"broker": {"host": f"127.0.0.1:{broker.port}"}}}
    (folder / "gateway.yaml").write_text(json.dumps(settings))
    with Publisher(broker.port) as publisher:

        def say(line: str) -> None:
            lines.append(line)
            publisher.publish([(one.topic, one.reading.payload) for one in SENT])

        def progress(line: str) -> None:
            if line.startswith(f"{len(SENT)} messages"):
                stop.set()

        options = Options(folder / "traffic.db", 600)
        terminal = Terminal(say, progress, lambda: stop)
        lines.append(record(open_installation(folder / "gateway.yaml", {}), options, terminal))
    told = "\n".join(lines).replace(str(folder / "traffic.db"), "traffic.db")
    ((_, _, expected),) = [one for one in SHOWN if "gateway record" in one[0]]
    assert f"{told}\n" == expected


@pytest.mark.parametrize("shown", [one for one in SHOWN if "gateway shadow" in one[0]], ids=("first", "expected"))
def test_shadow_prints_what_the_page_shows(folder: Path, shown: tuple[str, str, str]) -> None:
    with Recording(folder / "traffic.db") as recording:
        for one in SENT:
            recording.add(one.reading)
    done = command(*shlex.split(shown[0])[1:], folder=folder)
    assert done.stdout == shown[2], done.stderr


def test_the_page_has_every_kind_of_difference() -> None:
    table = PAGE.partition("| kind |")[2].partition("\n\n")[0]
    rows = " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    assert re.findall(r"`(\w+)`", rows) == [*KINDS, *ADDITIONS]
