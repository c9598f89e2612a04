"""The documentation is true and complete: steps are files, commands print what pages show, the reference lists all."""

from __future__ import annotations

import io
import json
import re
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
import typer

from gateway.cli import make_app
from gateway.contract.rules import EXTENSIONS
from gateway.core.codec.logical import LOGICAL_TYPES
from gateway.core.dead_letter import dead_letter_record
from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.errors import ExitCode
from release.manual import EXIT_CODES
from tests.stack.gateway import ROOT, Gateway
from tests.stack.reading_records import records
from tests.test_cli import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

DOCS = ROOT / "docs"
PAGE = (DOCS / "contract.md").read_text()
SECTIONS = {int(text.partition(".")[0]): text for text in re.split(r"^## (?=\d)", PAGE, flags=re.MULTILINE)[1:]}
SHOWN = "$ gateway check\n"
WITH_ALL_STREAMS = 13  # the last step that adds to the one before; later ones are contracts of their own


def blocks(section: str, language: str) -> list[str]:
    """The fenced blocks of a section."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def lines(text: str) -> str:
    """The text without what surrounds its lines, so that an excerpt may be cut out of something deeper."""
    return "\n".join(line.strip() for line in text.splitlines())


def test_reference_lists_every_logical_type() -> None:
    """Each of Avro's logical types is a row, or part of one."""
    section = (DOCS / "reference.md").read_text().partition("### Logical types")[2].partition("## ")[0]
    assert set(re.findall(r"`([a-z-]+)`", section.replace("`gateway check`", ""))) == LOGICAL_TYPES.keys()


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


PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "RELEASING.md")),
    *(ROOT / name for name in ("mosquitto/README.md", "tests/faults/README.md")),
]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        if not link.startswith("https://"):
            target = (page.parent / link) if link else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


def test_the_readme_is_a_page_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1_000


def test_the_table_of_faults_names_tests_and_files_that_exist() -> None:
    text = (ROOT / "tests" / "faults" / "README.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in sources] == []
    assert [path for path in re.findall(r"`(tests/[\w/.]+)`", text) if not (ROOT / path).exists()] == []


# --- the reference is complete ----------------------------------------------------------------------------------------

REFERENCE = (DOCS / "reference.md").read_text()


def section(title: str) -> str:
    """A section of the reference, without those below it."""
    text = REFERENCE.partition(f"\n{title}\n")[2]
    assert text, title
    return re.split(r"^#", text, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(title: str) -> str:
    """The first column of the tables of a section."""
    return "\n".join(re.findall(r"^\| (.+?) \|", section(title), flags=re.MULTILINE))


def command_names(group: Any, name: str) -> Iterator[str]:
    for word, each in group.commands.items():
        if getattr(each, "commands", None):
            yield from command_names(each, f"{name} {word}")
        else:
            yield f"{name} {word}"


def test_every_command_is_documented() -> None:
    documented = re.findall(r"`(gateway [a-z ]*[a-z])", first_cells("## Commands"))
    assert sorted(documented) == sorted(command_names(typer.main.get_command(make_app()), "gateway"))


def exit_codes(group: Any, name: str) -> Iterator[str]:
    """A row for each command, of the codes that its help names."""
    for word, each in group.commands.items():
        if getattr(each, "commands", None):
            yield from exit_codes(each, f"{name} {word}")
        else:
            codes = " ".join(each.help.partition("Exit codes:")[2].split()).rstrip(".")
            yield f"| `{name} {word}` | {codes} |"


def test_the_table_of_exit_codes_is_what_each_command_says() -> None:
    rows = re.findall(r"^\| `.*", section("### Exit codes"), flags=re.MULTILINE)
    assert rows == [*exit_codes(typer.main.get_command(make_app()), "gateway")]


def test_the_manual_page_has_every_exit_code() -> None:
    """2 is also what a command line that cannot be parsed ends with."""
    assert set(EXIT_CODES) == {str(int(code)) for code in ExitCode}


def test_every_extension_is_documented() -> None:
    assert set(re.findall(r"`(x-[a-z-]+)`", first_cells("## The contract"))) == set(EXTENSIONS)


def test_every_reason_and_header_of_a_dead_letter_is_documented() -> None:
    cells = re.findall(r"`([a-z0-9_.]+)`", first_cells("## Dead letters"))
    reading = Reading("receiveDoors", b"doors/dock-2", b"too long", 0, properties=b"p", is_unsynchronised=True)
    headers = dead_letter_record(reading, DeadLetter(Reason.TOO_LARGE, "", ""), "dead", 4).headers
    assert sorted(cells) == sorted([*Reason, *(name for name, _ in headers)])


def test_every_dependency_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[><=]", each)[0] for each in project["dependencies"]}
    assert set(re.split(r", |\n", first_cells("## Platforms and dependencies"))) - {"package", "---"} == needed


# --- a step runs ----------------------------------------------------------------------------------------------------


def test_the_step_with_all_streams_flows(
    mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, tmp_path: Path
) -> None:
    """The commands below it: the new stream is on the page, has its topic, is simulated, and arrives decoded."""
    shutil.copytree(DOCS / "steps" / str(WITH_ALL_STREAMS), tmp_path, dirs_exist_ok=True)
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
