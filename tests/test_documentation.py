"""What the pages in `docs/` say is so: their steps are files, and commands print what the pages show."""

from __future__ import annotations

import io
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from tests.stack.gateway import ROOT, Gateway
from tests.stack.reading_records import records
from tests.test_cli import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

DOCS = ROOT / "docs"
PAGE = (DOCS / "contract.md").read_text()
SECTIONS = {int(text.partition(".")[0]): text for text in re.split(r"^## (?=\d)", PAGE, flags=re.MULTILINE)[1:]}
SHOWN = "$ gateway check\n"


def blocks(section: str, language: str) -> list[str]:
    """The fenced blocks of a section."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def lines(text: str) -> str:
    """The text without what surrounds its lines, so that an excerpt may be cut out of something deeper."""
    return "\n".join(line.strip() for line in text.splitlines())


@pytest.mark.parametrize("step", SECTIONS)
def test_check_prints_what_the_page_shows(step: int) -> None:
    """Findings and verdict, word for word."""
    (shown,) = blocks(SECTIONS[step], "console")
    done = command("check", folder=DOCS / "steps" / str(step))
    assert SHOWN + done.stderr + done.stdout == shown
    assert done.returncode == (0 if "fit to run" in shown else 78)


@pytest.mark.parametrize("step", SECTIONS)
def test_the_page_shows_what_stands_in_the_files(step: int) -> None:
    """Each excerpt is a piece of its step's files."""
    folder = DOCS / "steps" / str(step)
    files = {"yaml": ["asyncapi.yaml"], "json": sorted(path.name for path in folder.glob("*.avsc"))}
    for language, names in files.items():
        texts = [lines((folder / name).read_text()) for name in names]
        for block in blocks(SECTIONS[step], language):
            assert any(lines(block) in text for text in texts), block


def test_every_step_has_its_section() -> None:
    assert {path.name for path in (DOCS / "steps").iterdir()} == {str(step) for step in SECTIONS}


@pytest.mark.parametrize(
    "page", [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name
)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_the_last_step_flows(mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, tmp_path: Path) -> None:
    """The commands below it: the new stream is on the page, has its topic, is simulated, and arrives decoded."""
    shutil.copytree(DOCS / "steps" / str(max(SECTIONS)), tmp_path, dirs_exist_ok=True)
    broker = mosquitto()
    told = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    with Gateway(told, tmp_path / "asyncapi.yaml") as gateway:
        config = str(gateway.settings_file)
        assert gateway.command("docs", str(tmp_path / "asyncapi.yaml"), "-o", "docs.html").returncode == 0
        assert "Highest velocity." in (gateway.folder / "docs.html").read_text()
        assert gateway.command("topics", "apply", "--yes", "-c", config).returncode == 0
        gateway.start(ready=False)
        gateway.wait_subscribed("broker")
        done = gateway.command("simulate", "-c", config, "--count", "20", "--rate", "0")
        assert done.returncode == 0, done.stderr
        gateway.wait_settled(20)
        received = int(gateway.metric("gateway_delivered_total", stream="receiveVibration"))
        assert received
        assert gateway.metric("gateway_dead_lettered_total") == 0
        tail = gateway.command("tail", "vibration", "-c", config, "--from", "beginning", "--count", str(received))
        assert '"radial": {"rms":' in tail.stdout, tail.stderr
        schema = fastavro.parse_schema(json.loads((tmp_path / "vibration.avsc").read_text()))
        for stored in records(kafka.bootstrap, "vibration", received):
            value: Any = fastavro.schemaless_reader(io.BytesIO((stored.value or b"")[5:]), schema, None)
            assert value["motor"].encode() == stored.key
        drift = gateway.command("drift", "-c", config, "--seconds", "0")
        assert drift.returncode == 0, drift.stdout
