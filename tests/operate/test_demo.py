"""`gateway demo`: the real broker and the real gateway, from sensor to Kafka, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    StartDemo = Callable[..., "Demo"]

ROOT = Path(__file__).parents[2]


class Demo:
    """A running demo."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / "output"
        self.folder = folder
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "demo", *arguments],
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(folder)},
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.output.read_text()

    def child(self, name: str) -> int:
        """Wait for a child's process id."""
        line = re.compile(rf"  {name} .* process (\d+)")
        found = wait_for(lambda: line.search(self.said), 30, lambda: f"{name}:\n{self.said}")
        assert found is not None
        return int(found[1])

    def wait_for_records(self) -> None:
        """Wait until a record is shown."""
        wait_for(lambda: "machine-sensors:" in self.said, 30, lambda: f"a record:\n{self.said}")

    def end(self) -> int:
        """Wait for the end and see that nothing is left behind."""
        code = self.process.wait(60)
        for pid in map(int, re.findall(r"process (\d+)", self.said)):
            assert not Path(f"/proc/{pid}").exists(), self.said
        assert list(self.folder.glob("gateway-demo-*")) == []
        assert "Traceback" not in self.said, self.said
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartDemo]:
    """Start a demo; one that a failed test leaves behind is killed, which ends its children."""
    with ExitStack() as started:

        def new(*arguments: str) -> Demo:
            demo = Demo(tmp_path, *arguments)
            started.callback(demo.process.wait)
            started.callback(demo.process.kill)
            return demo

        yield new


def number_of(said: str, line: str) -> int:
    found = re.search(rf"^  {line} +([0-9,]+)", said, re.MULTILINE)
    assert found, said
    return int(found[1].replace(",", ""))


def shape(line: str) -> str:
    """The line without its numbers and its widths."""
    return re.sub(r"\d[\d,.]*", "0", " ".join(line.split()))


def readme_lines() -> set[str]:
    """The shapes of the lines that README.md shows of a demo; records differ from run to run."""
    _, _, rest = (ROOT / "README.md").read_text().partition("$ make demo SECONDS=10\n")
    shown = rest.partition("```")[0].splitlines()
    assert len(shown) > 10
    return {shape(line) for line in shown if not re.search(r":\d+:\d+ |^  \.\.\.$", line)}


def test_demo_ends_with_a_balanced_ledger(start: StartDemo) -> None:
    """After the seconds asked for, all counts agree, every topic was shown, and the exit code is 0."""
    demo = start("--seconds", "3", "--broken", "0.1")
    assert demo.end() == 0, demo.said
    published = number_of(demo.said, "published")
    assert published > 300
    assert number_of(demo.said, "received") == published
    assert number_of(demo.said, "delivered") + number_of(demo.said, "dead letters") == published
    assert number_of(demo.said, "dead letters") > 10
    assert "The ledger balances" in demo.said
    for topic in ("machine-sensors", "door-sensors", "widget-readings", "smart-meter", "gateway-dead-letters"):
        assert f"  {topic}:" in demo.said
    assert readme_lines() <= set(map(shape, demo.said.splitlines()))


def test_demo_ends_with_a_balanced_ledger_where_readings_become_several_records(start: StartDemo) -> None:
    """Of an array each element becomes a record, so Kafka has more records than readings were delivered."""
    demo = start("docs/steps/11/asyncapi.yaml", "--seconds", "2")
    assert demo.end() == 0, demo.said
    assert number_of(demo.said, "delivered") < number_of(demo.said, ".*records in Kafka:")
    assert "The ledger balances" in demo.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_ends_with_a_balanced_ledger_when_interrupted(start: StartDemo, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM lead to the same end as time does."""
    demo = start()
    demo.wait_for_records()
    demo.process.send_signal(number)
    assert demo.end() == 0, demo.said
    assert "The ledger balances" in demo.said


def test_demo_says_that_the_gateway_died(start: StartDemo) -> None:
    """When the gateway dies the demo says so, stops the rest, and its exit code is not 0."""
    demo = start()
    demo.wait_for_records()
    os.kill(demo.child("gateway"), signal.SIGKILL)
    assert demo.end() == 1
    assert "The gateway ended with exit code -9" in demo.said


def test_demo_leaves_nothing_running_when_killed(start: StartDemo) -> None:
    """Even when the demo itself is killed, broker and gateway end."""
    demo = start()
    demo.wait_for_records()
    children = [demo.child("MQTT broker"), demo.child("gateway")]
    demo.process.kill()
    demo.process.wait(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children), 30, "the children's end")


def test_demo_refuses_a_contract_that_requires_tls(start: StartDemo, tmp_path: Path) -> None:
    """The demo has no certificates, and says so."""
    text = (ROOT / "asyncapi.yaml").read_text().replace("protocol: mqtt\n", "protocol: secure-mqtt\n", 1)
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    (tmp_path / "asyncapi.yaml").write_text(text)
    demo = start("--contract", str(tmp_path / "asyncapi.yaml"))
    assert demo.end() == 1
    assert "requires TLS for factoryBroker" in demo.said
